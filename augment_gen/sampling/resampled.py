"""Any augmenter's rows: checked against what it was given, and cut down to a part of the synthetic ones.

Enters: objects with ``fit_resample``, X and y in the user's format, and what was made of them. Leaves: the same, in the same
containers.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import _num_samples

from augment_gen.errors import InvalidDataError, InvalidParameterError


def take(X, index):
    """Rows of X (or of y) at the positions in the int array `index`, in X's own container."""
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return X.iloc[index]
    if isinstance(X, (list, tuple)):
        return [X[i] for i in index]
    if isinstance(X, torch.Tensor):
        return X[torch.as_tensor(index)]
    return (X.tocsr() if issparse(X) else X if hasattr(X, "dtype") else np.asarray(X))[index]


def named_augmenters(augmenters):
    """dict {name: object} from a dict, a list, or a single augmenter.

    Raises
    ------
    InvalidParameterError
        One of them has no ``fit_resample``, or there are none.
    """
    if hasattr(augmenters, "fit_resample") or isinstance(augmenters, type):
        augmenters = [augmenters]
    if not isinstance(augmenters, Mapping):
        names = [type(each).__name__ for each in augmenters]
        seen = Counter()
        for i, name in enumerate(names):
            seen[name] += 1
            names[i] = name if seen[name] == 1 else f"{name} {seen[name]}"
        augmenters = dict(zip(names, augmenters, strict=True))
    if not augmenters:
        raise InvalidParameterError("augmenters is empty: give at least one object with fit_resample.")
    for name, each in augmenters.items():
        if isinstance(each, type) or not callable(getattr(each, "fit_resample", None)):
            got = f"the class {each.__name__}. Add ()" if isinstance(each, type) else type(each).__name__
            raise InvalidParameterError(f"augmenters[{name!r}] must be an object with fit_resample; got {got}.")
    return dict(augmenters)


def check_same_columns(augmenter, X, X_all):
    """Refuse rows that differ from X in form, on which a classifier could be trained but not asked to predict.

    Raises
    ------
    InvalidDataError
    """
    given, returned = _row_shape(X), _row_shape(X_all)
    if given != returned:
        raise InvalidDataError(
            f"{type(augmenter).__name__}.fit_resample returned rows of shape {returned}, but was given rows of shape "
            f"{given}. Put what changes columns before the augmenter, or into the estimator."
        )


def originals_come_first(X, y, X_all, y_all):
    """Whether `X_all` and `y_all` begin with the rows of X and y, untouched and in their order."""
    n = _num_samples(X)
    if _num_samples(X_all) < n:
        return False
    rows = np.arange(n)
    return _equal(y, take(y_all, rows)) and _equal(X, take(X_all, rows))


def kept_rows(labels, n_real, fraction, rng):
    """Which rows remain where of the synthetic ones only a part is wanted.

    Parameters
    ----------
    labels : array (n,)
        Of all rows; the first `n_real` are real.
    n_real : int
    fraction : float in [0, 1]
        Of the m synthetic rows of each class, ``round(fraction * m)`` remain, drawn without replacement. With generators of
        one seed, those of a smaller fraction are among those of a larger one.
    rng : numpy.random.Generator

    Returns
    -------
    int64 array
        Positions in ascending order: all real rows, and what remains of the synthetic ones.
    """
    synthetic, kept = np.asarray(labels)[n_real:], [np.arange(n_real)]
    for label in pd.unique(synthetic):
        rows = rng.permutation(np.flatnonzero(synthetic == label))
        kept.append(n_real + np.sort(rows[: int(np.floor(fraction * len(rows) + 0.5))]))
    return np.sort(np.concatenate(kept))


def flat_labels(y):
    """`y` in any container as an ndarray (n,) of labels."""
    values = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    return values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values


def _equal(left, right):
    if isinstance(left, pd.DataFrame):
        columns = range(left.shape[1])
        return isinstance(right, pd.DataFrame) and all(_equal(left.iloc[:, j], right.iloc[:, j]) for j in columns)
    if issparse(left):
        return left.shape == right.shape and (left != right).nnz == 0
    if isinstance(left, (list, tuple)) and np.ndim(left[0]) > 1:
        return all(_equal(np.asarray(a), np.asarray(b)) for a, b in zip(left, right, strict=True))
    left, right = flat_labels(left), flat_labels(right)
    if left.shape != right.shape:
        return False
    missing = pd.isna(left)
    return bool((missing == pd.isna(right)).all() and (left[~missing] == right[~missing]).all())


def _row_shape(X):
    return tuple(map(int, (X if hasattr(X, "shape") else np.asarray(X)).shape[1:]))
