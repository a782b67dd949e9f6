"""Tables described by what a user declares: nothing about the rows is learned before the network is trained."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from augment_gen.codecs.cells import is_number_like, number_cells
from augment_gen.codecs.declared import DeclaredNumbers, declared_levels
from augment_gen.codecs.table import TableCodec
from augment_gen.errors import InvalidDataError, InvalidParameterError


class DeclaredTableCodec(TableCodec):
    """A `TableCodec` whose columns come from dtypes and declarations.

    Parameters
    ----------
    bounds : dict {column name: (low, high) or edges} or one such pair
        Of the columns of numbers and times; one pair holds for all of them. See `DeclaredNumbers.declare`.
    missing : collection of column names
        Columns in which cells may be missing.
    """

    def __init__(self, bounds, missing=()):
        super().__init__("bins")
        self.bounds, self.missing = bounds, missing

    def fit(self, X, class_index):
        """Note the form of X, and check it against the declarations. `class_index` is not looked at.

        Raises
        ------
        InvalidDataError
            A column of text, or missing cells where there may be none.
        InvalidParameterError
            Bounds that are not there, or no bounds.
        """
        frame = self._remember_container(X)
        self._check_names("bounds", self.bounds if isinstance(self.bounds, Mapping) else ())
        self._check_names("missing", self.missing)
        self.columns_ = [self._declared(frame.iloc[:, i], self.names_[i]) for i in range(frame.shape[1])]
        self._lay_out(gaussian=False)
        return self

    def _declared(self, series, name):
        may_miss = name in self.missing
        if not may_miss and series.isna().any():
            raise InvalidDataError(
                f"Column {name!r} has missing cells. List it in privacy['missing'], if that may be known, or fill them in."
            )
        levels = declared_levels(series.dtype, may_miss)
        if levels is not None:
            return levels
        if series.dtype == object or not is_number_like(series):
            raise InvalidDataError(
                f"Column {name!r} is {series.dtype}, whose levels would be read off the rows. Convert it to a "
                "pandas.CategoricalDtype with all levels that are known to exist, or to numbers."
            )
        if isinstance(self.bounds, Mapping) and name not in self.bounds:
            raise InvalidParameterError(
                f"privacy['bounds'] has no entry for the column {name!r}. Give (low, high) that is known without the rows: the "
                "range of a form, a scale or a law, and not their minimum and maximum."
            )
        edges = self.bounds[name] if isinstance(self.bounds, Mapping) else self.bounds
        return DeclaredNumbers().declare(_edges(edges, series.dtype, name), may_miss=may_miss, dtype=series.dtype)

    def _check_names(self, part, names):
        unknown = [name for name in names if name not in self.names_]
        if unknown:
            raise InvalidParameterError(f"privacy[{part!r}] names {unknown[0]!r}, but X has the columns {self.names_[:8]}.")


def _edges(edges, dtype, name):
    try:
        numbers, missing = number_cells(pd.Series(list(edges)).astype(dtype))
        exact = dtype.kind not in "iu" or np.array_equal(numbers, np.asarray(edges, np.float64))  # 0.5 is no edge of integers
    except (TypeError, ValueError, OverflowError):
        exact = False
    if not exact or missing.any() or len(numbers) < 2 or (np.diff(numbers) <= 0).any():
        raise InvalidParameterError(
            f"The bounds of the column {name!r} must be (low, high), or more edges, increasing and of its dtype {dtype}; got "
            f"{edges!r}."
        )
    return numbers
