"""From what a user asks for to one class index per wanted row."""

import numbers
from collections.abc import Mapping

import numpy as np
import pandas as pd
from imblearn.utils import check_sampling_strategy

from augment_gen.errors import InvalidDataError, InvalidRequestError

STRATEGIES = ("auto", "not majority", "minority", "not minority", "all")  # imbalanced-learn's words


def rows_wanted(n_samples, y, conditions, rng):
    """int64 (n,): the class of each wanted row, in the order in which rows are to come out.

    Parameters
    ----------
    n_samples : None, int or dict {label: int}
    y : None, a label, or an array of labels
    conditions : ConditionEncoder
    rng : numpy.random.Generator
        Shuffles classes drawn by their frequency.

    Raises
    ------
    InvalidRequestError
        Numbers that are negative or no integers, or `n_samples` and `y` that contradict each other.
    UnknownLabelError
        A label that was not seen in fit.
    """
    if isinstance(n_samples, Mapping):
        if y is not None:
            raise InvalidRequestError("Give either a dict {label: number} as n_samples, or y, not both.")
        counts = [_count(n, f"n_samples[{label!r}]") for label, n in n_samples.items()]
        return np.repeat(conditions.encode(list(n_samples), "n_samples"), counts)
    if n_samples is not None:
        n_samples = _count(n_samples, "n_samples")
    if y is None:
        return _by_frequency(1 if n_samples is None else n_samples, conditions.counts_, rng)
    if _is_one_label(y):
        return np.repeat(conditions.encode([y]), 1 if n_samples is None else n_samples)
    wanted = conditions.encode(y)
    if n_samples is not None and n_samples != len(wanted):
        raise InvalidRequestError(
            f"n_samples={n_samples}, but y has {len(wanted)} labels. Leave n_samples out: y already says how many."
        )
    return wanted


def rows_missing(sampling_strategy, class_index, conditions):
    """What `fit_resample` has to add: ``(int64 (n,) class of each new row, {label: number to add})``.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable
        As in imbalanced-learn.
    class_index : int64 array
        Classes of the rows at hand.

    Raises
    ------
    ValueError
        As imbalanced-learn does, for a strategy that asks for fewer rows than there are, or for unknown labels.
    """
    labels = conditions.classes_[class_index]
    if isinstance(sampling_strategy, Mapping):
        conditions.encode(list(sampling_strategy), "sampling_strategy")
        for label, n in sampling_strategy.items():
            _count(n, f"sampling_strategy[{label!r}]")
    if isinstance(sampling_strategy, str) and sampling_strategy not in STRATEGIES:
        words = ", ".join(map(repr, STRATEGIES))
        raise InvalidRequestError(f"sampling_strategy must be one of {words}; got {sampling_strategy!r}.")
    try:
        to_add = check_sampling_strategy(sampling_strategy, labels, "over-sampling")
    except ValueError as error:
        raise InvalidDataError(str(error)) from error
    return np.repeat(conditions.encode(list(to_add), "sampling_strategy"), list(to_add.values())), dict(to_add)


def _count(n, parameter):
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise InvalidRequestError(f"{parameter} must be an integer, the number of rows; got {n!r}.")
    if n < 0:
        raise InvalidRequestError(f"{parameter} must not be negative; got {n}.")
    return int(n)


def _is_one_label(y):
    return isinstance(y, (str, bytes)) or (np.ndim(y) == 0 and not isinstance(y, pd.Categorical))


def _by_frequency(n_samples, counts, rng):
    """Classes as often as in training, by largest remainders, in random order."""
    exact = n_samples * counts / counts.sum()
    rows = np.floor(exact).astype(np.int64)
    left = n_samples - rows.sum()
    rows[np.argsort(rows - exact, kind="stable")[:left]] += 1
    return rng.permutation(np.repeat(np.arange(len(counts)), rows))
