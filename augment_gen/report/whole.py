"""Everything in one call: hold rows out, train, evaluate, compare, and write the report.

Enters: a generator that is not fitted, and data. Leaves: the file, and `Findings`.
"""

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import _num_samples

from augment_gen.codecs import infer_codec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.evaluation import compare, evaluate
from augment_gen.report.findings import Findings
from augment_gen.report.page import check_ready, report
from augment_gen.sampling.resampled import take
from augment_gen.seeding import draw_seed, numpy_generator

MIN_ROWS = 6  # of a class, to train on some, choose on some, and test on some
KEPT_ROWS = 30  # of a class that stay, if it has them, where the comparison is thinned
# what the comparison costs is bounded by these: rows, folds, folds within for amounts and thresholds, amounts
BUDGETS = {
    "table": {"rows": 4000, "n_splits": 5, "inner_cv": 2, "amounts": (0.25, 0.5, 1.0)},
    "image": {"rows": 1000, "n_splits": 3, "inner_cv": None, "amounts": (0.5, 1.0)},
}


def full_report(
    path,
    generator,
    X,
    y,
    *,
    X_test=None,
    y_test=None,
    test_share=0.3,
    estimator=None,
    scoring="balanced_accuracy",
    with_comparison=True,
    n_splits=None,
    max_rows=None,
    n_jobs=None,
    checkpoint=None,
    title="Synthetic data report",
    intended_use=None,
    limits=(),
    show_real_rows=True,
    plots=None,
    device="auto",
    random_state=0,
    verbose=0,
):
    """Find out whether a generator's rows are good, and whether they help, and write it down.

    Holds out a part of the rows, trains a copy of the generator on the others, evaluates it, compares rebalancing by it with
    what costs less, and writes the report. For more say in any of these call `evaluate`, `compare` and `report` yourself.

    Parameters
    ----------
    path : str or path-like
        HTML file to write.
    generator : ConditionalVAE or ConditionalGAN
        Not fitted.
    X, y
        A table or images, and labels, as for ``generator.fit``.
    X_test, y_test : optional
        Rows to evaluate on. By default a stratified `test_share` of X is held out.
    test_share : float in (0, 1), default=0.3
    estimator, scoring, n_jobs, checkpoint
        Of the comparison, as for `compare`.
    with_comparison : bool, default=True
        False evaluates only.
    n_splits : int, optional
        Folds of the comparison; by default 5 for tables, 3 for images.
    max_rows : int, optional
        Rows of X that are compared on, thinned by class; by default 4,000 of a table, 1,000 images. The generator is trained
        anew in every fold.
    title, intended_use, limits, show_real_rows, plots
        As for `report`.
    device : str or torch.device, default="auto"
        For the networks of the evaluation.
    random_state : None, int, RandomState or Generator, default=0
    verbose : int, default=0
        1 shows progress.

    Returns
    -------
    Findings
        With ``generation``, ``comparison`` and the fitted ``generator``.

    Raises
    ------
    InvalidDataError
        A class has fewer than 6 rows; or as `evaluate` and `compare` do.
    InvalidParameterError
        A parameter cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.report import full_report
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gen = ConditionalVAE(max_steps=20, device="cpu")
    ...     found = full_report(f"{folder}/r.html", gen, *load_iris(return_X_y=True), with_comparison=False)
    >>> found.generation.n_test
    45
    """
    check_ready(path, title, intended_use, limits)
    if (X_test is None) != (y_test is None):
        raise InvalidDataError("Give both X_test and y_test, or neither.")
    if not 0 < test_share < 1:
        raise InvalidParameterError(f"test_share must lie between 0 and 1; got {test_share!r}.")
    if _num_samples(X) != _num_samples(y):
        raise InvalidDataError(f"X has {_num_samples(X)} rows, but y {_num_samples(y)} labels.")
    modality, rng = infer_codec(X).modality, numpy_generator(random_state)
    class_index = _class_index(y)
    budget = {**BUDGETS[modality], **_given(n_splits=n_splits, rows=max_rows)}
    train = np.arange(len(class_index))
    if X_test is None:
        test = _share(class_index, test_share, rng)
        train = np.setdiff1d(train, test)
        X_test, y_test = take(X, test), take(y, test)
    X_train, y_train = take(X, train), take(y, train)
    fitted = clone(generator).fit(X_train, y_train)
    options = {"device": device, "random_state": draw_seed(rng) % 2**31, "verbose": verbose}
    generation = evaluate(fitted, X_test, y_test, X_train=X_train, y_train=y_train, **options)
    comparison = None
    if with_comparison:
        chosen = _thinned(class_index, budget["rows"], rng)
        splitting = {"cv": budget["n_splits"], "n_repeats": 1, "inner_cv": budget["inner_cv"], "amounts": budget["amounts"]}
        comparison = compare(
            {type(generator).__name__: clone(generator).set_params(**_quiet(generator))}, estimator, take(X, chosen),
            take(y, chosen), scoring=scoring, n_jobs=n_jobs, checkpoint=checkpoint, **splitting, **options,
        )  # fmt: skip
    report(
        path, generation=generation, comparison=comparison, generator=fitted, X_train=X_train, y_train=y_train, title=title,
        intended_use=intended_use, limits=limits, show_real_rows=show_real_rows, plots=plots,
    )  # fmt: skip
    return Findings(generation, comparison, fitted, X_train, y_train, show_real_rows)


def _given(**parameters):
    """Those that are not None; counts, which `compare` or `_thinned` checks no further."""
    for name, value in parameters.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 2):
            raise InvalidParameterError(
                f"{'max_rows' if name == 'rows' else name} must be an int above 1, or None; got {value!r}."
            )
    return {name: value for name, value in parameters.items() if value is not None}


def _quiet(generator):
    """A bar for each of dozens of trainings would hide that of the comparison."""
    return {"verbose": 0} if "verbose" in generator.get_params(deep=False) else {}


def _class_index(y):
    conditions, class_index = ConditionEncoder().fit(y)
    counts = np.bincount(class_index)
    if counts.min() < MIN_ROWS:
        label = conditions.classes_.tolist()[counts.argmin()]
        raise InvalidDataError(
            f"Class {label!r} has {counts.min()} rows; a full report needs {MIN_ROWS} of each class, to train on some and test "
            "on others. Merge or drop it, or call evaluate() with rows of your own."
        )
    return class_index


def _share(class_index, share, rng):
    """Sorted positions: that share of each class, at least one row and not all."""
    picked = []
    for k in np.unique(class_index):
        rows = rng.permutation(np.flatnonzero(class_index == k))
        picked.append(rows[: int(np.clip(round(share * len(rows)), 1, len(rows) - 2))])
    return np.sort(np.concatenate(picked))


def _thinned(class_index, limit, rng):
    """Sorted positions of about `limit` rows, all classes thinned alike but not below 30 rows."""
    share, picked = min(1.0, limit / len(class_index)), []
    for k in np.unique(class_index):
        rows = rng.permutation(np.flatnonzero(class_index == k))
        picked.append(rows[: max(round(share * len(rows)), KEPT_ROWS)])
    return np.sort(np.concatenate(picked))
