"""Does it help: augmenters beside everything that costs less, on the same splits.

Enters: augmenters, a classifier, X and y. Leaves: a `ComparisonResult`.
"""

import hashlib
from collections.abc import Iterable
from numbers import Integral, Real

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.utils.validation import _num_samples
from tqdm.auto import tqdm

from augment_gen.codecs import infer_codec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError
from augment_gen.evaluation.arms import make_sources, resolve_estimator
from augment_gen.evaluation.assembly import assemble
from augment_gen.evaluation.cells import Setting, run_cell
from augment_gen.evaluation.checkpoint import Checkpoint
from augment_gen.evaluation.classifier_scores import SCORES
from augment_gen.evaluation.comparison import ComparisonResult
from augment_gen.fingerprints import data_fingerprint, settings_fingerprint
from augment_gen.sampling.resampled import named_augmenters
from augment_gen.seeding import draw_seed, numpy_generator

MANY_ROWS = 5000  # from which one round of cross-validation is run instead of two
OFTEN = 0.5  # of the largest class: smaller classes are rare where there are more than two


def compare(
    augmenters,
    estimator,
    X,
    y,
    *,
    cv=5,
    n_repeats="auto",
    inner_cv=3,
    scoring="balanced_accuracy",
    amounts=(0.25, 0.5, 1.0),
    baselines="auto",
    rare=None,
    device="auto",
    random_state=0,
    n_jobs=None,
    checkpoint=None,
    verbose=0,
):
    """Find out whether synthetic rows help a classifier more than what costs less.

    Every arm trains the same classifier on the same splits: on the real rows alone ("none"), with class weights, with random
    oversampling, with SMOTE (tables; SMOTENC for columns that are categories), with classic augmentation and MixUp (images),
    and with each of the augmenters. Augmenters see only the training part of a split, and all figures are computed on real
    rows that no arm has seen.

    Parameters
    ----------
    augmenters : dict {name: object}, list or object
        Objects with ``fit_resample`` that return the given rows first: `ConditionalVAE`, SMOTE's variants, or your own.
    estimator : classifier, callable or None
        Any scikit-learn classifier; a function ``f(X, y, X_test)`` that gives probabilities (n_test, n_classes), classes
        sorted; or None: boosted trees for tables, which take text, dates and missing cells, and for images a small CNN with
        the same number of steps in every arm (`ImageClassifier`). With that, each augmenter has a second arm
        in which classic augmentation is added. A classifier of your own sees X as it is: put what encodes columns into it.
    X : DataFrame, array or tensor
        A table or images, as for the generators.
    y : array-like (n,)
        Labels.
    cv : int, splitter or iterable of (train, test), default=5
        An int is the number of folds, stratified and shuffled.
    n_repeats : "auto" or int
        Rounds of cross-validation, where `cv` is an int; "auto" is 2 below 5,000 rows, else 1.
    inner_cv : int or None, default=3
        Folds into which each training part is split again, augmenters trained anew in each, to choose what can be chosen: the
        threshold (two classes) and the amount, for every arm alike. It makes up most of the time. None: default thresholds,
        full amounts.
    scoring : str, default="balanced_accuracy"
        The figure that the verdict is about: a key of ``augment_gen.evaluation.SCORES``. Thresholds are chosen for it where
        it is balanced accuracy, macro-F1 or G-mean, otherwise for balanced accuracy.
    amounts : tuple of float in (0, 1], default=(0.25, 0.5, 1.0)
        Shares of the rows that an augmenter (or oversampler) returns, which by default are those that balance the classes.
    baselines : "auto" or list of str
        Which arms without a generator to run; "none" always is one.
    rare : label or list of labels, optional
        Of which recall, precision and average precision are given. By default the smallest class, or for more than two
        classes those with less than half the rows of the largest.
    device : str or torch.device, default="auto"
        For the built-in classifier of images.
    random_state : None, int, RandomState or Generator, default=0
        For splits, and wherever an estimator's or augmenter's own ``random_state`` is None.
    n_jobs : int, optional
        Processes, as in joblib.
    checkpoint : str or path-like, optional
        A file to which finished cells are written. Called again with the same data and settings, `compare` goes on from it;
        another augmenter may have been added.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    ComparisonResult
        ``verdict`` says in words, and ``str()`` with the figures, for each augmenter: "helps", "no measurable gain over ...",
        "harms", or that it failed. ``frame()`` has everything.

    Raises
    ------
    InvalidDataError
        A class has fewer rows than the folds need, or lacks in a split.
    InvalidParameterError, InvalidTypeError
        The message names the parameter.

    Notes
    -----
    No number that the verdict rests on was picked by looking at test rows: amount and threshold of an arm are chosen anew in
    each training part by inner cross-validation, for baselines and augmenters alike. An augmenter "helps" only where it beats
    every arm without a generator, so that it does not matter which of them is best on these splits; it "harms" where it is
    worse than the real rows alone. Intervals of differences are corrected for overlapping training parts (Nadeau and Bengio
    2003), and widened when several augmenters are compared at once (Bonferroni), each arm of theirs counted. "No measurable
    gain" does not say that there is none: look at the interval.

    References
    ----------
    Nadeau and Bengio (2003), "Inference for the generalization error", Machine Learning 52; Bouckaert and Frank (2004),
    "Evaluating the replicability of significance tests for comparing learning algorithms".

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from augment_gen.evaluation import compare
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> result = compare({"my SMOTE": SMOTE()}, GaussianNB(), X, y, cv=3, n_repeats=1)
    >>> result.verdict.startswith("my SMOTE: no measurable gain over ")
    True
    """
    if isinstance(X, (str, bytes)) or not isinstance(X, (pd.DataFrame, np.ndarray, torch.Tensor, list, tuple)):
        raise InvalidTypeError(f"X must be a DataFrame, an array, a tensor or a list of images; got {type(X).__name__}.")
    if _num_samples(X) != _num_samples(y):
        raise InvalidDataError(f"X has {_num_samples(X)} rows, but y {_num_samples(y)} labels.")
    modality = infer_codec(X).modality
    conditions, class_index = ConditionEncoder().fit(y)
    rng = numpy_generator(random_state)
    base_seed = draw_seed(rng) % 2**31
    _check(scoring, amounts, inner_cv, conditions)
    splits = _splits(cv, n_repeats, class_index, base_seed)
    _check_splits(splits, class_index, conditions, inner_cv)
    augmenters, estimator = named_augmenters(augmenters), resolve_estimator(estimator, modality, device)
    sources, notes = make_sources(augmenters, estimator, modality, _image_size(X, modality), baselines)
    setting = Setting(
        conditions=conditions,
        rare=_rare(rare, conditions),
        amounts=tuple(sorted(map(float, amounts), reverse=True)),
        inner_cv=inner_cv,
        tune_for=scoring if SCORES[scoring].tunable else "balanced_accuracy",
    )
    kept = Checkpoint(checkpoint, {} if checkpoint is None else _fingerprint(X, y, splits, setting, base_seed))
    records = _run(sources, X, y, class_index, splits, setting, base_seed, kept, n_jobs, verbose)
    n_train, n_test = (float(np.mean([len(split[part]) for split in splits])) for part in (0, 1))
    return ComparisonResult(
        scoring=scoring,
        labels=conditions.classes_.tolist(),
        rare=conditions.classes_[setting.rare].tolist(),
        n_splits=len(splits),
        n_train=round(n_train),
        n_test=round(n_test),
        **assemble(records, sources, notes, setting, scoring, n_test / n_train),
    )


def _run(sources, X, y, class_index, splits, setting, base_seed, kept, n_jobs, verbose):
    """{(split, source name): record}: those that the checkpoint holds, and all others."""
    described = {source.name: settings_fingerprint([source.augmenter, *map(vars, source.learners)]) for source in sources}
    signatures = {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in described.items()}
    keys = [(split, source.name, signatures[source.name]) for split in range(len(splits)) for source in sources]
    by_name = {source.name: source for source in sources}
    left = [key for key in keys if key not in kept.records]

    def cell(key):
        split, name, _ = key
        arguments = by_name[name], X, y, class_index, *splits[split], setting, base_seed + 100 * split
        return joblib.delayed(_keyed_cell)(key, *arguments)

    bar = tqdm(total=len(keys), initial=len(keys) - len(left), desc="comparing", unit="cell", disable=not verbose)
    with bar:
        for key, record in joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(map(cell, left)):
            kept.add(key, record)
            bar.set_postfix_str(key[1])
            bar.update()
    return {(split, name): kept.records[split, name, signature] for split, name, signature in keys}


def _keyed_cell(key, *arguments):
    return key, run_cell(*arguments)


def _fingerprint(X, y, splits, setting, base_seed):
    """What finished cells depend on, by names that an error can use."""
    return {
        "X": data_fingerprint(X),
        "y": data_fingerprint(np.asarray(setting.conditions.encode(y))) + str(setting.conditions.classes_.tolist()),
        "cv": data_fingerprint(np.concatenate([np.r_[-1, train, -1, test] for train, test in splits])),
        "inner_cv": repr(setting.inner_cv),
        "amounts": repr(setting.amounts),
        "rare": repr(setting.rare.tolist()),
        "scoring": setting.tune_for,
        "random_state": repr(base_seed),
    }


# ------------------------------------------------------------------- checks
def _check(scoring, amounts, inner_cv, conditions):
    if len(conditions) < 2:
        raise InvalidDataError(f"y has 1 class ({conditions.classes_.tolist()[0]!r}); at least two are needed.")
    if scoring not in SCORES:
        raise InvalidParameterError(f"scoring must be one of {', '.join(map(repr, SCORES))}; got {scoring!r}.")
    is_share = lambda amount: isinstance(amount, Real) and not isinstance(amount, bool) and 0 < amount <= 1
    if not isinstance(amounts, (tuple, list)) or not amounts or not all(map(is_share, amounts)):
        raise InvalidParameterError(f"amounts must be numbers above 0 and up to 1, such as (0.25, 0.5, 1.0); got {amounts!r}.")
    if inner_cv is not None and not _is_count(inner_cv, 2):
        raise InvalidParameterError(f"inner_cv must be an integer of at least 2, or None; got {inner_cv!r}.")


def _splits(cv, n_repeats, class_index, seed):
    """List of (train, test), int arrays."""
    if n_repeats != "auto" and not _is_count(n_repeats, 1):
        raise InvalidParameterError(f'n_repeats must be "auto" or an integer of at least 1; got {n_repeats!r}.')
    if isinstance(cv, Integral) and not isinstance(cv, bool):
        if cv < 2:
            raise InvalidParameterError(f"cv must be at least 2 folds; got {cv}.")
        smallest = np.bincount(class_index).min()
        if smallest < cv:
            raise InvalidDataError(
                f"The smallest class has {smallest} rows, fewer than the {cv} folds of cv. Lower cv, or merge or drop that "
                "class."
            )
        repeats = (2 if len(class_index) < MANY_ROWS else 1) if n_repeats == "auto" else n_repeats
        cv = RepeatedStratifiedKFold(n_splits=cv, n_repeats=repeats, random_state=seed)
    if hasattr(cv, "split"):
        cv = cv.split(class_index, class_index)
    if not isinstance(cv, Iterable) or isinstance(cv, (str, bytes)):
        raise InvalidParameterError(f"cv must be a number of folds, a splitter, or pairs (train, test) of rows; got {cv!r}.")
    splits = [(np.asarray(train), np.asarray(test)) for train, test in cv]
    if len(splits) < 2:
        raise InvalidParameterError(f"cv gives {len(splits)} split; at least 2 are needed for an interval.")
    return splits


def _check_splits(splits, class_index, conditions, inner_cv):
    """Refuse splits in which a class is missing, or too small for the inner folds."""
    needed = 2 if inner_cv is None else max(2, inner_cv)
    for split, (train, test) in enumerate(splits):
        if np.isin(train, test).any():
            raise InvalidParameterError(f"Split {split} of cv trains on rows that it tests on.")
        for k, label in enumerate(conditions.classes_.tolist()):
            n_train, n_test = (class_index[train] == k).sum(), (class_index[test] == k).sum()
            if n_train < needed or n_test < 1:
                raise InvalidDataError(
                    f"Class {label!r} has {n_train} training and {n_test} test rows in split {split} of cv; at least {needed} "
                    f"(for inner_cv={inner_cv}) and 1 are needed. Use fewer folds, or merge or drop the class."
                )


def _rare(rare, conditions):
    """Class indices of the rare classes."""
    counts = conditions.counts_
    if rare is None:
        few = np.flatnonzero(counts < OFTEN * counts.max())
        return few if len(counts) > 2 and len(few) else np.array([counts.argmin()])
    labels = list(rare) if isinstance(rare, (list, tuple, np.ndarray)) else [rare]
    found = conditions.encode(labels, "rare")
    if len(conditions) == 2 and len(found) != 1:
        raise InvalidParameterError(f"rare must be one of two classes; got {rare!r}.")
    return np.unique(found)


def _is_count(value, least):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _image_size(X, modality):
    return infer_codec(X)().fit(X, None).format_.size[1:] if modality == "image" else None
