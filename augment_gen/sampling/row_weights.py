"""Sample weights of real and synthetic rows, and under which name an estimator takes them."""

import numpy as np
from sklearn import get_config
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import _check_sample_weight, has_fit_parameter

from augment_gen.errors import InvalidDataError


def weight_keyword(estimator):
    """What ``sample_weight`` is called in the estimator's fit; None where there is no place for it.

    A Pipeline takes it for its last step, and a search for the estimator inside. So do wrappers that hand on what they are
    given (`TunedThresholdClassifierCV`), but only where scikit-learn's metadata routing is enabled.
    """
    if has_fit_parameter(estimator, "sample_weight"):
        return "sample_weight"
    routed = get_config()["enable_metadata_routing"]
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_keyword(last)
        return inner if inner is None or routed else f"{name}__{inner}"
    inside = getattr(estimator, "estimator", None)
    return weight_keyword(inside) if hasattr(inside, "fit") and (routed or isinstance(estimator, BaseSearchCV)) else None


def checked_weights(sample_weight, y):
    """float (n,) from what a user gave, and int (m,), the positions of the rows that weigh something at all.

    Raises
    ------
    ValueError
        As scikit-learn does, for weights of the wrong length, negative or not finite.
    InvalidDataError
        All weights are zero.
    """
    weights = _check_sample_weight(sample_weight, y, dtype=float)
    if weights.min() < 0:
        raise InvalidDataError(f"sample_weight must not be negative; got {weights.min():g}.")
    rows = np.flatnonzero(weights)
    if not len(rows):
        raise InvalidDataError("sample_weight is zero for every row. Give at least the rows of two classes weight.")
    return weights[rows], rows


def all_weights(labels, n_real, sample_weight, synthetic_weight):
    """float (n,): the weight of every row to train on.

    Parameters
    ----------
    labels : array (n,)
        The first `n_real` are of real rows.
    n_real : int
    sample_weight : float array (n_real,), optional
        Of the real rows; 1 otherwise.
    synthetic_weight : float
        Of a synthetic row, in units of the mean weight of its class's real rows.
    """
    weights = np.ones(len(labels))
    if sample_weight is not None:
        weights[:n_real] = sample_weight
    synthetic = np.arange(len(labels)) >= n_real
    for label in np.unique(labels[n_real:]):
        real = weights[(labels == label) & ~synthetic]
        weights[(labels == label) & synthetic] = synthetic_weight * (real.mean() if len(real) else 1.0)
    return weights


def class_totals(labels, classes, weights=None):
    """float (n_classes,): rows of each class, or the sum of their weights."""
    weights = np.ones(len(labels)) if weights is None else weights
    return np.array([weights[labels == label].sum() for label in classes])
