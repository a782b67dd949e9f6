"""One cell of a comparison: everything about one source of training rows in one split.

Enters: the data, a `Source`, and which rows to train and to test on. Leaves: a JSON-able record of confusion matrices and
figures, which does not depend on other cells.
"""

import time
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.validation import _num_samples

from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidDataError
from augment_gen.evaluation.classifier_scores import (
    best_threshold,
    confusion_matrix,
    decision_scores,
    probability_scores,
    ranking_scores,
)
from augment_gen.sampling.resampled import check_same_columns, flat_labels, kept_rows, originals_come_first, take
from augment_gen.sampling.row_weights import weight_keyword

FULL = 1.0


@dataclass(frozen=True)
class Setting:
    """What all cells have in common.

    Attributes
    ----------
    conditions : ConditionEncoder
        Fitted on y.
    rare : int array
        The rare classes.
    amounts : tuple of float
        Shares of an augmenter's rows, descending.
    inner_cv : int or None
        Folds within the training part.
    tune_for : str
        What a threshold is made best for.
    """

    conditions: ConditionEncoder
    rare: np.ndarray
    amounts: tuple[float, ...]
    inner_cv: int | None
    tune_for: str


@dataclass(frozen=True)
class Answers:
    """What a classifier says of some rows.

    Attributes
    ----------
    predicted : int array (n,)
        Class indices.
    scores : float array (n, n_classes) or None
        Higher for likelier classes.
    are_probabilities : bool
    """

    predicted: np.ndarray
    scores: np.ndarray | None
    are_probabilities: bool


def run_cell(source, X, y, class_index, train, test, setting, seed):
    """The record of one cell.

    Parameters
    ----------
    source : Source
    X, y
        All rows, in the user's format.
    class_index : int64 array (n,)
    train, test : int arrays
        Positions.
    setting : Setting
    seed : int
        The same for all sources of a split.

    Returns
    -------
    dict
        "error": text, where the source failed. Else "arms": a list with an entry per arm and amount: confusion matrices
        "default" and "tuned" (where thresholds are tuned), "inner" figures of each from inner cross-validation, "any":
        figures without threshold, "threshold", "seconds". And "seconds" that drawing rows took, "notes".
    """
    try:
        return _run_cell(source, X, y, class_index, train, test, setting, seed)
    except Exception as error:
        if source.augmenter is None:
            raise  # without the arm that does nothing there is nothing to compare with
        return {"error": f"{type(error).__name__}: {error}"}


def _run_cell(source, X, y, class_index, train, test, setting, seed):
    outer, notes, seconds = _answers(source, X, y, class_index, train, test, setting, seed)
    inner = _inner_answers(source, X, y, class_index, train, setting, seed) if setting.inner_cv else {}
    entries = []
    for (arm, amount), (answers, took) in outer.items():
        entry = {"arm": arm, "amount": amount, "seconds": took, "threshold": None, "inner": {}, "any": {}}
        entry["default"] = confusion_matrix(class_index[test], answers.predicted, len(setting.conditions)).tolist()
        if answers.scores is not None:
            entry["any"] = _scores(answers, class_index[test], setting.rare)
        if (arm, amount) in inner:
            _tune(entry, answers, class_index[test], inner[arm, amount], class_index[train], setting)
        entries.append(entry)
    return {"arms": entries, "seconds": seconds, "notes": notes}


def _tune(entry, answers, actual, inner, inner_actual, setting):
    """Add to the entry what inner cross-validation says: its figures, and for two classes a threshold and its decisions."""
    n_classes, rare = len(setting.conditions), setting.rare
    figures = lambda predicted: decision_scores(confusion_matrix(inner_actual, predicted, n_classes), rare)
    entry["inner"]["default"] = figures(inner.predicted)
    if inner.scores is None:
        return
    entry["inner"]["any"] = _scores(inner, inner_actual, rare)
    if n_classes == 2:
        threshold = best_threshold(inner.scores[:, rare[0]], inner_actual == rare[0], setting.tune_for)
        call = lambda scores: np.where(scores[:, rare[0]] >= threshold, rare[0], 1 - rare[0])
        entry["threshold"] = threshold
        entry["tuned"] = confusion_matrix(actual, call(answers.scores), n_classes).tolist()
        entry["inner"]["tuned"] = figures(call(inner.scores))


def _scores(answers, actual, rare):
    """Figures that need no threshold."""
    found = ranking_scores(answers.scores, actual, rare)
    return found | probability_scores(answers.scores, actual, rare) if answers.are_probabilities else found


def _inner_answers(source, X, y, class_index, train, setting, seed):
    """{(arm, amount): Answers} for all rows of the training part, each from a model (and augmenter) that did not see it."""
    folds = StratifiedKFold(setting.inner_cv, shuffle=True, random_state=seed).split(train, class_index[train])
    pieces, places = [], []
    for fold, (fit, held_out) in enumerate(folds, 1):
        answers, _, _ = _answers(source, X, y, class_index, train[fit], train[held_out], setting, seed + fold)
        pieces.append(answers)
        places.append(held_out)
    order = np.argsort(np.concatenate(places))
    return {key: _joined([piece[key][0] for piece in pieces if key in piece], order) for key in pieces[0]}


def _joined(parts, order):
    scores = None if parts[0].scores is None else np.concatenate([part.scores for part in parts])[order]
    return Answers(np.concatenate([part.predicted for part in parts])[order], scores, parts[0].are_probabilities)


def _answers(source, X, y, class_index, train, test, setting, seed):
    """Draw rows once, train every learner on every amount of them, and ask it about the test rows.

    Returns
    -------
    dict {(arm, amount): (Answers, seconds)}, list of notes, seconds that drawing took
    """
    X_train, y_train, X_test = take(X, train), take(y, train), take(X, test)
    start, notes = time.perf_counter(), []
    X_all, y_all, amounts = X_train, y_train, (None,)
    if source.augmenter is not None:
        augmenter = seeded(source.augmenter, seed)
        X_all, y_all = augmenter.fit_resample(X_train, y_train)
        check_same_columns(augmenter, X_train, X_all)
        amounts = setting.amounts
        if not originals_come_first(X_train, y_train, X_all, y_all):
            amounts = (FULL,)
            notes.append(f"{source.name} does not return the original rows first: it is compared in full amount only.")
    drawing, found = time.perf_counter() - start, {}
    for amount in amounts:
        rows = None
        if amount is not None and amount != FULL:
            rows = kept_rows(flat_labels(y_all), len(train), amount, np.random.default_rng(seed))
        X_some, y_some = (X_all, y_all) if rows is None else (take(X_all, rows), take(y_all, rows))
        for learner in source.learners:
            start = time.perf_counter()
            model = _fitted(learner, X_some, y_some, class_index[train], seed)
            found[learner.arm, amount] = ask(model, X_test, setting.conditions), time.perf_counter() - start
    return found, notes, drawing


def _fitted(learner, X, y, class_index, seed):
    model = seeded(learner.estimator, seed)
    if not learner.balance:
        return model.fit(X, y)
    counts = np.bincount(class_index)
    return model.fit(X, y, **{weight_keyword(model): (len(class_index) / (len(counts) * counts))[class_index]})


def ask(model, X, conditions):
    """`Answers` of a fitted classifier about X."""
    predicted = conditions.encode(flat_labels(model.predict(X)), "what the estimator predicts")
    n_classes = len(conditions)
    if hasattr(model, "predict_proba"):
        scores, are_probabilities = np.asarray(model.predict_proba(X), dtype=float), True
    elif hasattr(model, "decision_function"):
        scores, are_probabilities = np.asarray(model.decision_function(X), dtype=float), False
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
    else:
        return Answers(predicted, None, False)
    columns = conditions.encode(flat_labels(model.classes_), "the estimator's classes_")
    if scores.shape != (_num_samples(X), n_classes) or len(columns) != n_classes:
        raise InvalidDataError(
            f"The estimator gave scores of shape {scores.shape} for {_num_samples(X)} rows of {n_classes} classes. It must "
            "give one column per class, and no decision_function_shape='ovo'."
        )
    ordered = np.empty_like(scores)
    ordered[:, columns] = scores
    return Answers(predicted, ordered, are_probabilities)


def seeded(thing, seed):
    """A clone in which each ``random_state`` that is None is `seed`, so that the same cell gives the same result."""
    copy = clone(thing, safe=False)
    if hasattr(copy, "get_params"):
        params = copy.get_params(deep=True)
        unset = [name for name, value in params.items() if name.split("__")[-1] == "random_state" and value is None]
        copy.set_params(**dict.fromkeys(unset, seed))
    return copy
