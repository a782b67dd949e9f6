"""One table column of numbers or times at a time: cells to codes and ranks, and back.

The recipe is a rank transform with atoms: a value that many rows share is a code of its own, the rest is ranked (ties and
gaps are dequantised uniformly, Uria et al. 2013, arXiv:1306.0186) and mapped to normal scores or cut into equal-mass bins.
Ranks are weighted so that a rare class shapes them as much as a large one. A missing cell is a code too.
"""

from decimal import Decimal

import numpy as np
import pandas as pd

from augment_gen.codecs.fingerprints import number_words
from augment_gen.dtypes import dtype_from_json, dtype_to_json
from augment_gen.errors import ModelFileError
from augment_gen.schema import AnyOf, Array, Fields, Maybe, Real, Truth, Whole, check

NUMBERS = Fields(
    {
        "dtype": Fields({}),
        "atoms": Array("iuf", "n_atoms"),
        "knots": Array("f", "n_knots"),
        "low": AnyOf((Array("f", "n_knots"), Array("f", 1))),  # one without knots too
        "high": Array("f", "n_knots"),
        "decimals": Maybe(Whole(0, 8)),
        "step": Real(1e-300),
        "mean": Real(-np.inf, np.inf),
        "scale": Real(0, np.inf),
        "snap": Truth(),
        "n_bins": Whole(0, 2**16),
        "has_missing": Truth(),
    }
)
MAX_KNOTS = 1024  # points that describe the rank function of a column with more distinct values than this


class NumberColumn:
    """A column of numbers or times, as a float64 or int64 array and a mask of missing cells.

    Codes: one per atom, then the continuous part (one code, or `n_bins` ordered bins), then "missing".
    """

    kind = "numbers"

    def fit(self, values, missing, weight, *, atom_share, max_atoms, bins, dtype):
        """Learn atoms and ranks.

        Parameters
        ----------
        values : float64 or int64 ndarray (n,)
        missing : bool ndarray (n,)
        weight : float64 ndarray (n,)
            Weight of each row in the ranks.
        atom_share : float
            Values with at least this share of the rows are atoms.
        max_atoms : int
            With at most this many distinct values, all of them are atoms.
        bins : int or None
            Equal-mass bins of the continuous part; None leaves it one code with a normal score.
        dtype : numpy or pandas dtype
            What `decode` returns.
        """
        self.dtype, self.has_missing = dtype, bool(missing.any())
        seen, inverse, count = np.unique(values[~missing], return_inverse=True, return_counts=True)
        mass = np.bincount(inverse, weight[~missing], minlength=len(seen))
        mass = mass / mass.sum() if len(seen) else mass
        share = count / max(1, len(values))
        atom = (share >= atom_share) | ((mass >= atom_share) & (count >= 5))
        if len(seen) <= max_atoms:
            atom[:] = True
        self.atoms, rest = seen[atom], seen[~atom]
        self.decimals, self.step = _resolution(seen, dtype)
        self.mean, self.scale = _moments(seen, count)
        self.snap = 0 < len(rest) <= min(MAX_KNOTS, len(values) / 4)
        high = np.cumsum(mass[~atom]) / max(mass[~atom].sum(), 1e-300)
        low = np.r_[0.0, high[:-1]]
        if len(rest) > MAX_KNOTS:
            pick = np.unique(np.linspace(0, len(rest) - 1, MAX_KNOTS).round().astype(int))
            width = (high - low)[pick]
            middle = ((low + high) / 2)[pick]
            rest, low, high = rest[pick], middle - width / 2, middle + width / 2
        self.knots, self.low, self.high = _as_floats_within(rest), low, high
        self.n_bins = min(bins, len(rest)) if bins and len(rest) else 0
        return self

    @property
    def scalar(self):
        return len(self.knots) > 0

    @property
    def first_continuous(self):
        return len(self.atoms)

    @property
    def n_continuous(self):
        return self.n_bins or int(self.scalar)

    @property
    def size(self):
        return len(self.atoms) + self.n_continuous + self.has_missing

    def encode(self, values, missing):
        """Codes int64 (n,); and the rank interval (low, high), each float32 (n,), that a cell's rank is drawn from."""
        codes = np.full(len(values), len(self.atoms), dtype=np.int64)
        low = high = None
        if self.scalar:
            clipped = values.astype(np.float64).clip(self.knots[0], self.knots[-1])
            if self.snap or len(self.knots) < MAX_KNOTS:
                nearest = _nearest(self.knots, clipped)
                low, high = self.low[nearest], self.high[nearest]
            else:
                low, high = (np.interp(clipped, self.knots, edge) for edge in (self.low, self.high))
            if self.n_bins:
                codes += ((low + high) / 2 * self.n_bins).astype(np.int64).clip(0, self.n_bins - 1)
        if len(self.atoms):
            nearest = _nearest(self.atoms, values)
            is_atom = (self.atoms[nearest] == values) | (not self.scalar)
            codes = np.where(is_atom, nearest, codes)
        if self.has_missing:
            codes[missing] = self.size - 1
        if not self.scalar:
            return codes, None
        return codes, (low.astype(np.float32), high.astype(np.float32))

    def decode(self, codes, ranks, class_index, rng):
        """Values of X's own dtype. `ranks` float64 (n,) in (0, 1), read where the code is the continuous part."""
        integral = self.atoms.dtype.kind in "iu"
        out = np.zeros(len(codes), dtype=self.atoms.dtype if integral else np.float64)
        is_atom = codes < len(self.atoms)
        out[is_atom] = self.atoms[codes[is_atom]]
        middle = ~is_atom & (codes < self.size - self.has_missing)
        if middle.any():
            rank = ranks[middle]
            if self.n_bins:
                rank = (codes[middle] - len(self.atoms) + rank) / self.n_bins
            out[middle] = self._value(rank, integral)
        missing = codes == self.size - 1 if self.has_missing else np.zeros(len(codes), bool)
        return _cast(out, missing, self.dtype)

    def _value(self, rank, integral):
        if self.snap:
            return self.knots[np.searchsorted(self.high, rank).clip(0, len(self.knots) - 1)]
        unit = _unit(self.knots)
        value = np.interp(rank, (self.low + self.high) / 2, self.knots / unit) * unit
        if integral:
            start = np.float64(self.knots[0])
            value = np.round((value - start) / self.step) * self.step + start
            return value.clip(self.knots[0], self.knots[-1]).astype(self.atoms.dtype)
        return value if self.decimals is None else np.round(value, self.decimals)

    def words(self, values, missing):
        """uint64 (n,): the exact value, whatever type a batch of cells came in."""
        return number_words(values.astype(self.atoms.dtype), missing)

    @property
    def vector_width(self):
        return 1 + self.has_missing

    def vector(self, values, missing):
        """float32 (n, vector_width): standardised value (0 where missing), and whether it is missing."""
        values, unit, scale = values.astype(np.float64), _unit(np.array([self.mean, self.scale])), self.scale or 1.0
        z = np.where(missing, 0.0, (values / unit - self.mean / unit) / (scale / unit))
        columns = [z, missing] if self.has_missing else [z]
        return np.stack(columns, axis=1).astype(np.float32)

    def entries(self, values, missing):
        """Every place of `vector`, and what it is there: int32 and float32 (n, vector_width)."""
        vector = self.vector(values, missing)
        return np.broadcast_to(np.arange(self.vector_width, dtype=np.int32), vector.shape), vector

    def state(self):
        names = ("atoms", "knots", "low", "high", "decimals", "step", "mean", "scale", "snap", "n_bins", "has_missing")
        return {"kind": self.kind, "dtype": dtype_to_json(self.dtype), **{name: getattr(self, name) for name in names}}

    @classmethod
    def from_state(cls, state):
        check(state, NUMBERS, "a column of numbers")
        if state["n_bins"] > len(state["knots"]) or len(state["low"]) != max(1, len(state["knots"])):
            raise ModelFileError("A column of numbers: other bins or ranks than knots.")
        self = cls()
        for name in NUMBERS.required:
            setattr(self, name, state[name])
        self.dtype = dtype_from_json(state["dtype"])
        return self


class DecimalColumn(NumberColumn):
    """A column of `decimal.Decimal`, as databases give them: numbers that come back with the digits behind the point of X's."""

    kind = "decimals"

    def decode(self, codes, ranks, class_index, rng):
        """Object array (n,) of Decimal, NaN where missing."""
        numbers = super().decode(codes, ranks, class_index, rng)
        digits = "" if self.decimals is None else f".{self.decimals}f"
        out = [number if number != number else Decimal(format(number, digits)) for number in numbers]
        return np.array([*out, None], dtype=object)[:-1]


def _nearest(grid, values):
    """Index of the nearest entry of the sorted `grid` for each value."""
    right = np.searchsorted(grid, values).clip(0, len(grid) - 1)
    left = (right - 1).clip(0)
    grid_, values_ = grid.astype(np.float64), values.astype(np.float64)  # differences of large integers would overflow
    unit = _unit(grid_)
    closer = np.abs(values_ / unit - grid_[left] / unit) < np.abs(grid_[right] / unit - values_ / unit)
    return np.where(closer & (grid[right] != values), left, right)


def _unit(values):
    """What to divide floats by so that their differences, squares and slopes stay finite: 1 but for enormous ones."""
    return 2.0**600 if len(values) and np.abs(values).max() > 1e120 else 1.0


def _moments(values, count):
    """Mean and standard deviation of values that occur `count` times."""
    if not len(values):
        return 0.0, 0.0
    values = values.astype(np.float64)
    unit = _unit(values)
    mean = np.average(values / unit, weights=count)
    return float(mean * unit), float(np.sqrt(np.average((values / unit - mean) ** 2, weights=count)) * unit)


def _as_floats_within(values):
    """Sorted numbers as float64, none of them beyond the first or last: integers above 2**53 would be rounded outwards."""
    floats = values.astype(np.float64)
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values[0]), int(values[-1])
        floats = floats.clip(
            floats[0] if int(floats[0]) >= low else np.nextafter(floats[0], np.inf),
            floats[-1] if int(floats[-1]) <= high else np.nextafter(floats[-1], -np.inf),
        )
    return floats


def _resolution(values, dtype):
    """Decimals that floats are written with (None: all of them), and the step that integers lie on."""
    if values.dtype.kind in "iu":
        steps = (values[1:] - values[:-1]).view(np.uint64)  # sorted, so what overflows int64 is right in uint64
        return None, float(max(1, np.gcd.reduce(steps))) if len(steps) else 1.0
    single = values.astype(dtype) if isinstance(dtype, np.dtype) and dtype.kind == "f" else values
    with np.errstate(over="ignore"):  # enormous values have no decimals
        for decimals in range(9):
            if np.array_equal(np.round(values, decimals).astype(single.dtype), single):
                return decimals, 1.0
    return None, 1.0


def _cast(values, missing, dtype):
    """`values` as `dtype`, with missing cells in that dtype's own way."""
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        out = values.astype(np.int64)
        out[missing] = np.iinfo(np.int64).min  # NaT
        return out.view(dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        ticks = values.astype(np.int64)
        ticks[missing] = np.iinfo(np.int64).min
        return pd.DatetimeIndex(ticks.view(f"M8[{dtype.unit}]")).tz_localize("UTC").tz_convert(dtype.tz).array
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind in "mM":
        return _arrow_times(values.astype(np.int64), missing, dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        return values.astype(dtype)
    if isinstance(dtype, np.dtype):  # floats, and objects that hold numbers
        out = values.astype(dtype)
        out[missing] = np.nan
        return out
    if isinstance(dtype, pd.SparseDtype):
        dense = values.astype(np.float64) if missing.any() else values
        dense = np.where(missing, np.nan, dense) if missing.any() else dense
        return pd.arrays.SparseArray(dense.astype(dtype.subtype), dtype=dtype)
    return pd.Series(values).astype(dtype).mask(missing).astype(dtype).array


def _arrow_times(ticks, missing, dtype):
    """Ticks of dates, times or durations in Arrow's memory as what they were."""
    import pyarrow

    ticks = pyarrow.array(ticks, mask=missing)
    if dtype.pyarrow_dtype.bit_width == 32:  # days
        ticks = ticks.cast(pyarrow.int32())
    return pd.array(ticks.cast(dtype.pyarrow_dtype), dtype=dtype)
