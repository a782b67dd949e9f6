"""What `fit` refuses before anything is trained, whatever the modality and the generator."""

import os
import warnings
from numbers import Real

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse
from sklearn.utils.validation import _num_samples, check_array, validate_data

from augment_gen.errors import ClassTooSmallError, InvalidDataError, InvalidRequestError, InvalidTypeError, SmallClassWarning

WARN_BELOW = 5  # rows of a class under which its synthetic rows can only be small variations of the real ones


def check_X(estimator, X, y):
    """Refuse what no modality can use; sets n_features_in_ and feature_names_in_ of the estimator, as scikit-learn does."""
    if issparse(X):
        raise InvalidTypeError("Sparse data was passed for X, but dense data is required: give X.toarray().")
    if y is None:
        raise InvalidDataError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    if isinstance(X, torch.Tensor):
        validate_data(estimator, X, skip_check_array=True)
        estimator.n_features_in_ = int(np.prod(X.shape[1:]))
        if X.ndim < 2 or 0 in X.shape:
            raise InvalidDataError(f"X must have rows and features; got a tensor of shape {tuple(X.shape)}.")
    elif isinstance(X, pd.DataFrame):
        repeated = X.columns[X.columns.duplicated()].unique().tolist()
        if repeated:
            raise InvalidDataError(f"X has duplicate column names: {repeated[:5]}. Give every column its own name.")
        _remember_names(estimator, X)
        if 0 in X.shape:
            what = "0 sample(s)" if len(X) == 0 else "0 feature(s)"
            raise InvalidDataError(f"Found array with {what} (shape={X.shape}) while a minimum of 1 is required.")
    else:
        try:
            finite = "allow-nan" if np.ndim(X) <= 2 else False  # of images the codec looks at the extremes
            array = check_array(X, dtype=None, allow_nd=True, ensure_all_finite=finite, input_name="X")
        except ValueError as error:
            if "inhomogeneous" in str(error):
                raise InvalidDataError(
                    "X holds images or rows of different shapes. Resize all images to one size (or give all rows the "
                    "same number of values), and stack them into one array."
                ) from error
            message = str(error)  # sklearn's, which callers know; but of complex numbers it shows the whole of X
            if "Complex" in message:
                message = "Complex data not supported: give the real and imaginary parts of X as columns of their own."
            raise InvalidDataError(message) from error
        except TypeError as error:
            raise InvalidTypeError(f"X holds what cannot be used: {error}") from error
        estimator.n_features_in_ = int(np.prod(array.shape[1:]))
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    if _num_samples(X) != _num_samples(y):
        raise InvalidDataError(
            f"Found input variables with inconsistent numbers of samples: X has {_num_samples(X)} rows, y has "
            f"{_num_samples(y)} labels. Every row needs one label."
        )


def _remember_names(estimator, frame):
    """Set n_features_in_ and feature_names_in_; refuses column names of which some are text and some are not."""
    try:
        validate_data(estimator, frame, skip_check_array=True)
    except TypeError as error:
        kinds = ", ".join(sorted({type(name).__name__ for name in frame.columns}))
        raise InvalidTypeError(
            f"X has column names of several types: {kinds}. Feature names are only supported if all input features have "
            "string names, or none has: rename them with X.columns = X.columns.astype(str)."
        ) from error


def check_temperature(temperature):
    """Refuse what is no finite number above 0."""
    if isinstance(temperature, bool) or not isinstance(temperature, Real) or not 0 < temperature < np.inf:
        raise InvalidRequestError(f"temperature must be a number above 0; got {temperature!r}.")


def check_checkpoint_dir(checkpoint_dir):
    """Refuse what names no folder."""
    if not isinstance(checkpoint_dir, (str, os.PathLike)) or not os.fspath(checkpoint_dir):
        raise InvalidRequestError(f"checkpoint_dir must be the path of a folder of its own; got {checkpoint_dir!r}.")


def check_allow_copies(allow_copies):
    """Refuse what is no bool."""
    if not isinstance(allow_copies, (bool, np.bool_)):
        raise InvalidRequestError(f"allow_copies must be True or False; got {allow_copies!r}.")


def check_classes(conditions, min_class_size):
    """Refuse a single class and classes that are too small; warn of tiny ones."""
    labels, counts = conditions.classes_.tolist(), conditions.counts_
    if len(labels) < 2:
        raise InvalidDataError(
            f"y has 1 class ({labels[0]!r}, in n_samples={counts.sum()}), but the number of classes has to be "
            "greater than one: a class-conditional generator learns each class beside the others."
        )
    small = np.flatnonzero(counts < min_class_size)
    if len(small):
        shown = ", ".join(f"{labels[k]!r} ({counts[k]})" for k in small[:5])
        raise ClassTooSmallError(
            f"{len(small)} class(es) have fewer than min_class_size={min_class_size} rows: {shown}. Collect more "
            "rows, merge the class with another, or drop its rows; a single row says nothing about how a class varies."
        )
    tiny = np.flatnonzero(counts < WARN_BELOW)
    if len(tiny):
        shown = ", ".join(f"{labels[k]!r} ({counts[k]})" for k in tiny[:5])
        warnings.warn(
            f"Classes with fewer than {WARN_BELOW} rows: {shown}. Their synthetic rows will be variations of those "
            "few; look at them before you use them.",
            SmallClassWarning,
            stacklevel=5,
        )
