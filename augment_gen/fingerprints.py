"""What tells one data set or one estimator from another: digests of values and descriptions of settings.

Enters: X, y and parameters in any form. Leaves: text, equal in every process.
"""

import hashlib

import numpy as np
import pandas as pd
import torch
from scipy.sparse import issparse


def data_fingerprint(X):
    """Hexadecimal digest of the values of X (or y), equal in every process."""
    digest = hashlib.sha256()
    if isinstance(X, pd.DataFrame):
        digest.update(repr([(str(name), str(dtype)) for name, dtype in X.dtypes.items()]).encode())
        for j in range(X.shape[1]):
            digest.update(data_fingerprint(X.iloc[:, j]).encode())
        return digest.hexdigest()
    if isinstance(X, (pd.Series, pd.Categorical)):
        return hashlib.sha256(pd.util.hash_pandas_object(_plain(X), index=False).to_numpy().tobytes()).hexdigest()
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    array = X.toarray() if issparse(X) else np.asarray(X)
    if array.dtype.kind == "O":
        return data_fingerprint(pd.Series(array.ravel()))
    digest.update(f"{array.shape} {array.dtype}".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # in place: X may be larger than the memory
    return digest.hexdigest()


def settings_fingerprint(thing, depth=6):
    """Text that tells one estimator, or any other object, from another with other settings."""
    inside = lambda value: settings_fingerprint(value, depth - 1)
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(map(inside, thing))}]"
    if isinstance(thing, dict):
        return str({str(name): inside(value) for name, value in thing.items()})
    if isinstance(thing, (np.ndarray, pd.DataFrame, pd.Series, torch.Tensor)):
        return data_fingerprint(thing)
    if callable(thing) and hasattr(thing, "__qualname__"):
        return f"{thing.__module__}.{thing.__qualname__}"
    shown = repr(thing)
    if hasattr(thing, "get_params") or " at 0x" in shown:
        state = thing.get_params(deep=False) if hasattr(thing, "get_params") else getattr(thing, "__dict__", {})
        settings = inside(dict(sorted(state.items()))) if depth else ""
        return f"{type(thing).__module__}.{type(thing).__qualname__}({settings})"
    return shown


def _plain(column):
    """A column whose cells can be hashed: categories as what they stand for, everything unusual as text."""
    series = pd.Series(column)
    if isinstance(series.dtype, pd.CategoricalDtype) or series.dtype == object:
        return series.astype(object).map(lambda cell: f"{type(cell).__name__} {cell}")
    return series
