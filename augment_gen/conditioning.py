"""The only place where labels become numbers and numbers become labels.

Enters: ``y`` in any form that scikit-learn's classifiers take. Leaves: int64 class indices, and labels again in the
container and dtype that ``y`` had.
"""

import numpy as np
import pandas as pd
import torch
from sklearn.utils.multiclass import check_classification_targets

from augment_gen.dtypes import (
    array_from_json,
    array_to_json,
    dtype_from_json,
    dtype_to_json,
    scalar_from_json,
    scalar_to_json,
    torch_dtype,
)
from augment_gen.errors import InvalidDataError, UnknownLabelError

DECODED = 256  # classes that are decoded at a time where a file is read


class ConditionEncoder:
    """Labels to class indices and back.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
        The labels, sorted, in y's own dtype (object where numpy has none for it).
    counts_ : int64 ndarray (n_classes,)
        Rows of each class.
    """

    def fit(self, y):
        """Learn the classes and the container of `y`; returns ``(self, index)`` with index int64 (n,).

        Raises
        ------
        InvalidDataError
            y is None, missing in places, not one label a row, or continuous.
        """
        if y is None:
            raise InvalidDataError("A generator requires y to be passed, but the target y is None.")
        self._remember_container(y)
        values = self._flat(y)
        missing = np.flatnonzero(pd.isna(values))
        if len(missing):
            raise InvalidDataError(
                f"y is missing (NaN or None) in {len(missing)} rows, first in row {missing[0]}. Every row needs a "
                "label: drop those rows, or give them a label of their own."
            )
        if values.dtype.kind in "mM":
            raise InvalidDataError("Unknown label type: y holds dates or times. Give class labels, such as y.astype(str).")
        try:
            check_classification_targets(np.asarray(values))
        except (ValueError, TypeError) as error:
            if not _is_text(values):
                raise InvalidDataError(
                    f"Unknown label type: y must hold class labels (str, int, bool or categorical). {error}"
                ) from error
        codes, uniques = pd.factorize(values, sort=True)
        self.classes_ = np.asarray(uniques, dtype=object) if _is_text(values) else np.asarray(uniques)
        self.counts_ = np.bincount(codes, minlength=len(self.classes_)).astype(np.int64)
        return self, codes.astype(np.int64)

    def encode(self, labels, parameter="y"):
        """Class index of each of the labels, int64 (n,).

        Raises
        ------
        UnknownLabelError
            A label is not among ``classes_``; the message lists those.
        """
        codes, uniques = pd.factorize(self._flat(labels), use_na_sentinel=False)
        known = {label: index for index, label in enumerate(self.classes_.tolist())}
        uniques = np.asarray(uniques, dtype=object).tolist() if len(uniques) else []
        unknown = [label for label in uniques if not _hashable(label) or label not in known]
        if unknown:
            shown = ", ".join(repr(label) for label in self.classes_.tolist()[:20])
            more = f" and {len(self.classes_) - 20} more" if len(self.classes_) > 20 else ""
            raise UnknownLabelError(
                f"{parameter} asks for {', '.join(map(repr, unknown[:5]))}, which was not seen in fit. "
                f"Known labels: {shown}{more}."
            )
        lookup = np.array([known[label] for label in uniques], dtype=np.int64)
        return lookup[codes] if len(codes) else np.zeros(0, dtype=np.int64)

    def decode(self, index, rows_index=None):
        """Labels (n,) of the class indices, in y's own container and dtype.

        Parameters
        ----------
        index : int array (n,)
        rows_index : pandas.Index, optional
            The index of a Series or DataFrame that comes out.
        """
        values = self.classes_[index]
        kind = self._kind
        if kind == "indicator":
            return (np.asarray(index)[:, None] == np.arange(len(self.classes_))).astype(self._dtype)
        if kind == "tensor":
            return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, self._dtype))
        if kind == "list":
            return values.tolist()
        if kind == "categorical":
            return pd.Categorical(values, dtype=self._dtype)
        if kind == "array":
            return values.astype(self._dtype, copy=False)
        series = pd.Series(pd.array(values, dtype=self._dtype), index=rows_index, name=self._name)
        return series.to_frame() if kind == "frame" else series

    def concatenate(self, y, y_new):
        """`y` as given, then `y_new` as `decode` gave it."""
        if self._kind in ("series", "frame"):
            return pd.concat([y, y_new])
        if self._kind == "list":
            return [*y, *y_new]
        if self._kind == "tensor":
            return torch.cat([y, y_new.to(y.device)])
        if self._kind == "categorical":
            return pd.Categorical.from_codes(np.concatenate([y.codes, y_new.codes]), dtype=y.dtype)
        y = np.asarray(y)
        return np.concatenate([y, y_new if self._kind == "indicator" else y_new.reshape(-1, *y.shape[1:])])

    def __len__(self):
        return len(self.classes_)

    def state(self):
        """JSON-able state; `from_state` is its inverse."""
        dtype = {"torch": self._dtype} if self._kind == "tensor" else dtype_to_json(self._dtype)
        return {
            "classes": array_to_json(self.classes_),
            "counts": self.counts_,
            "kind": self._kind,
            "dtype": dtype,
            "name": scalar_to_json(self._name),
        }

    @classmethod
    def from_state(cls, state):
        self = cls()
        self.classes_, self.counts_ = array_from_json(state["classes"]), np.asarray(state["counts"])
        self._kind, self._name = state["kind"], scalar_from_json(state["name"])
        self._dtype = state["dtype"]["torch"] if "torch" in state["dtype"] else dtype_from_json(state["dtype"])
        if self._kind == "tensor":
            torch_dtype(self._dtype)
        for start in range(0, len(self.classes_), DECODED):  # what cannot be a label is found in reading, not in drawing
            self.decode(np.arange(start, min(start + DECODED, len(self.classes_))))
        return self

    def _remember_container(self, y):
        self._name = None
        if isinstance(y, pd.Series):
            self._kind, self._dtype, self._name = "series", y.dtype, y.name
        elif isinstance(y, pd.DataFrame) and y.shape[1] == 1:
            self._kind, self._dtype, self._name = "frame", y.dtypes.iloc[0], y.columns[0]
        elif isinstance(y, pd.Categorical):
            self._kind, self._dtype = "categorical", y.dtype
        elif isinstance(y, torch.Tensor):
            self._kind, self._dtype = "tensor", str(y.dtype).removeprefix("torch.")
        else:
            array = np.asarray(y)
            indicator = array.ndim == 2 and array.shape[1] > 1
            self._kind, self._dtype = "list" if isinstance(y, list) else "array", array.dtype
            if indicator:
                self._kind = "indicator"

    def _flat(self, y):
        """`y` as a 1-D array of labels; a one-vs-all indicator matrix as the column number of its one."""
        if isinstance(y, torch.Tensor):
            y = y.detach().cpu().numpy()
        if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
            y = y.iloc[:, 0]
        if isinstance(y, (pd.Series, pd.Categorical, pd.api.extensions.ExtensionArray)):
            return _native(np.asarray(y, dtype=object))
        values = np.asarray(y)
        if values.ndim == 2 and values.shape[1] > 1:
            if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
                raise InvalidDataError(
                    f"y must be one label a row; got an array of shape {values.shape} that is no one-vs-all indicator. "
                    "Multilabel and multi-output targets are not supported."
                )
            return values.argmax(axis=1)
        if values.ndim > 2 or values.ndim == 0:
            raise InvalidDataError(f"y should be a 1d array of labels, got an array of shape {values.shape} instead.")
        return values.ravel()


def _is_text(values):
    return values.dtype.kind in "OUS" and all(isinstance(value, (str, bytes)) for value in pd.unique(values.astype(object)))


def _native(values):
    """An object array of numbers, or of booleans, in numpy's own dtype; any other as it is."""
    return np.array(values.tolist()) if pd.api.types.infer_dtype(values) in ("integer", "floating", "boolean") else values


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True
