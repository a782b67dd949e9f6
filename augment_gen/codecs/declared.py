"""Columns that are described by what a user declares, and not by the rows: for a fit that must not leak from the codec.

Enters: bounds or edges, and dtypes that name their levels. Leaves: columns as in `levels` and `numbers`, which have
looked at no cell.
"""

import numpy as np
import pandas as pd

from augment_gen.codecs.levels import LevelColumn
from augment_gen.codecs.numbers import NumberColumn

BINS = 32  # bins between a lower and an upper bound


class DeclaredNumbers(NumberColumn):
    """Numbers or times between declared edges: one code per bin, then "missing". Values beyond the edges are cut to them."""

    kind = "declared numbers"

    def declare(self, edges, *, may_miss, dtype):
        """Describe the column.

        Parameters
        ----------
        edges : float64 or int64 ndarray (m,), increasing
            Two are the least and the largest value, between which there are 32 bins of like width, or one for each whole
            number where there are fewer; more are the edges of the bins. A bin of whole numbers ends before the next one's
            edge, the last one at its own.
        may_miss : bool
            Whether cells may be missing.
        dtype : numpy or pandas dtype
        """
        integral = edges.dtype.kind in "iu"
        low, high = edges[0], edges[-1]
        if integral:
            edges = np.r_[edges[:-1], high + 1]
        if len(edges) == 2:
            edges = np.linspace(*edges.astype(np.float64), BINS + 1)
            edges = np.unique(edges.round().astype(np.int64)) if integral else edges
        self.knots, self.n_bins = edges.astype(np.float64), len(edges) - 1
        self.atoms = np.zeros(0, np.int64 if integral else np.float64)
        self.low = self.high = np.zeros(len(self.knots))
        self.decimals, self.step, self.snap = None, 1.0, False
        self.mean, self.scale = (float(low) + float(high)) / 2, (float(high) - float(low)) / 4
        self.dtype, self.has_missing = dtype, may_miss
        return self

    def encode(self, values, missing):
        """Codes int64 (n,); and twice the place between the edges, in bins and as a share of all, float32 (n,)."""
        whole = self.atoms.dtype.kind == "i"
        values = values.astype(np.float64).clip(self.knots[0], self.knots[-1] - whole)
        codes = (np.searchsorted(self.knots, values, side="right") - 1).clip(0, self.n_bins - 1)
        inside = (values + 0.5 * whole - self.knots[codes]) / (self.knots[codes + 1] - self.knots[codes])
        place = ((codes + inside) / self.n_bins).astype(np.float32)
        return np.where(missing, self.size - 1, codes).astype(np.int64), (place, place)

    def _value(self, rank, integral):
        bins = (rank * self.n_bins).astype(np.int64).clip(0, self.n_bins - 1)
        value = self.knots[bins] + (rank * self.n_bins - bins) * (self.knots[bins + 1] - self.knots[bins])
        value = value.clip(self.knots[0], self.knots[-1])
        return np.floor(value).clip(max=self.knots[-1] - 1).astype(np.int64) if integral else value


def declared_levels(dtype, may_miss):
    """The `LevelColumn` of a categorical or boolean dtype, whose levels are what the dtype says; None for any other dtype."""
    if isinstance(dtype, pd.CategoricalDtype):
        levels = pd.Categorical(dtype.categories, dtype=dtype)
    elif pd.api.types.is_bool_dtype(dtype) and not isinstance(dtype, pd.SparseDtype):
        levels = np.array([False, True]) if isinstance(dtype, np.dtype) else pd.array([False, True], dtype=dtype)
    else:
        return None
    column = LevelColumn()
    column.levels, column.n_own, column.dtype = levels, len(levels), dtype
    column.has_missing, column.missing_is_none = may_miss, False
    column.other_class = column.other_level = column.other_count = np.zeros(0, np.int64)
    return column
