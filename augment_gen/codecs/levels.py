"""One table column of categories at a time: cells to codes, and back. A missing cell is a code too."""

import numpy as np
import pandas as pd

from augment_gen.dtypes import array_from_json, array_to_json, dtype_from_json, dtype_to_json
from augment_gen.errors import ModelFileError
from augment_gen.schema import Array, Fields, Truth, Whole, check

MAX_LEVELS = 256  # category levels with a code of their own; rarer ones share the code "other"
LEVELS = Fields(
    {
        "levels": Fields({"dtype": Fields({})}),
        "dtype": Fields({}),
        "has_missing": Truth(),
        "missing_is_none": Truth(),
        "n_own": Whole(0, MAX_LEVELS + 1),
        "other_class": Array("i", "n_other", low=0),
        "other_level": Array("i", "n_other", low=0, below="n_levels"),
        "other_count": Array("i", "n_other", low=1),
    }
)


class LevelColumn:
    """A column of category levels: strings, booleans, categoricals, any hashable objects.

    Codes: one per frequent level, then "other" where there are rare levels, then "missing" where cells are missing.
    """

    kind = "levels"
    scalar = False
    first_continuous = n_continuous = 0

    def fit(self, values, class_index, **_):
        codes, uniques = pd.factorize(values)
        counts = np.bincount(codes[codes >= 0], minlength=len(uniques))
        order = np.argsort(-counts, kind="stable")
        smallest = max(2, len(values) / 2000)
        keep = order[:MAX_LEVELS][counts[order[:MAX_LEVELS]] >= smallest]
        rest = order[~np.isin(order, keep)]
        if len(rest) == 1:  # one rare level needs no shared code
            keep, rest = order, rest[:0]
        self.levels = values[:0] if not len(uniques) else uniques.take(np.r_[keep, rest])
        self.n_own, self.has_missing, self.dtype = len(keep), bool((codes < 0).any()), values.dtype
        self.missing_is_none = self.has_missing and values[np.argmin(codes)] is None
        # "other" is decoded by the frequency of its levels in the class: triples sorted by class
        position = np.empty(len(uniques), np.int64)
        position[np.r_[keep, rest]] = np.arange(len(uniques))
        cell = position[codes] if len(uniques) else codes
        rare = (codes >= 0) & (cell >= self.n_own)
        pairs, pair_counts = np.unique(np.stack([class_index[rare], cell[rare]]), axis=1, return_counts=True)
        self.other_class, self.other_level, self.other_count = pairs[0], pairs[1], pair_counts
        return self

    @property
    def has_other(self):
        return len(self.levels) > self.n_own

    @property
    def size(self):
        return self.n_own + self.has_other + self.has_missing

    def encode(self, values):
        """Codes int64 (n,), and no ranks. A level never seen becomes "other", or else missing, or else the commonest."""
        index = self._positions(values)
        missing = np.asarray(pd.isna(values))
        unseen = self.n_own if self.has_other else self.size - 1 if self.has_missing else 0
        codes = np.where(index >= 0, np.minimum(index, self.n_own), unseen)
        if self.has_missing:
            codes[missing] = self.size - 1
        return codes.astype(np.int64), None

    def decode(self, codes, ranks, class_index, rng):
        cell = codes.copy()
        if self.has_missing:
            cell[codes == self.size - 1] = -1
        if self.has_other:
            rows = np.flatnonzero(codes == self.n_own)
            cell[rows] = self._draw_other(class_index[rows], rng)
        if not len(self.levels):  # nothing but missing cells
            return pd.array([None] * len(codes), dtype=self.dtype)
        if not self.has_missing:
            return self.levels.take(cell)
        out = pd.api.extensions.take(self.levels, cell, allow_fill=True)
        if self.missing_is_none:
            out[cell < 0] = None
        return out

    def words(self, values):
        """uint64 (n,): which level, rare ones too; the same for all that were never seen, or are missing."""
        return self._positions(values).astype(np.int64).view(np.uint64)

    def _positions(self, values):
        return pd.Index(self.levels).get_indexer(pd.Index(values)) if len(self.levels) else np.full(len(values), -1)

    def _draw_other(self, class_index, rng):
        out, noise = np.empty(len(class_index), np.int64), rng.random(len(class_index))
        for label in np.unique(class_index):
            rows, mine = class_index == label, self.other_class == label
            mine = mine if mine.any() else np.ones_like(mine)
            edges = np.cumsum(self.other_count[mine]) / self.other_count[mine].sum()
            out[rows] = self.other_level[mine][np.searchsorted(edges, noise[rows], side="right").clip(0, mine.sum() - 1)]
        return out

    @property
    def vector_width(self):
        return self.size

    def vector(self, values):
        """float32 (n, vector_width): one-hot."""
        return np.eye(self.size, dtype=np.float32)[self.encode(values)[0]]

    def entries(self, values):
        """Where `vector` is not 0, and what it is there: int32 and float32 (n, 1)."""
        codes = self.encode(values)[0][:, None].astype(np.int32)
        return codes, np.ones(codes.shape, np.float32)

    def state(self):
        levels = np.asarray(self.levels, dtype=object) if isinstance(self.dtype, pd.CategoricalDtype) else self.levels
        return {
            "kind": self.kind, "levels": array_to_json(levels), "dtype": dtype_to_json(self.dtype),
            "n_own": self.n_own, "has_missing": self.has_missing, "missing_is_none": self.missing_is_none,
            "other_class": self.other_class, "other_level": self.other_level, "other_count": self.other_count,
        }  # fmt: skip

    @classmethod
    def from_state(cls, state):
        check(state, Fields({"levels": LEVELS.required["levels"]}), "a column of levels")
        self = cls()
        self.dtype = dtype_from_json(state["dtype"])
        levels = array_from_json(state["levels"])
        check(state, LEVELS, "a column of levels", {"n_levels": len(levels)})
        if state["n_own"] > len(levels) or (state["n_own"] < len(levels) and not len(state["other_level"])):
            raise ModelFileError(
                f"A column of levels: {state['n_own']} of {len(levels)} levels have a code, the others no counts."
            )
        self.levels = pd.array(levels, dtype=self.dtype) if isinstance(self.dtype, pd.CategoricalDtype) else levels
        self.n_own, self.has_missing = int(state["n_own"]), bool(state["has_missing"])
        self.missing_is_none = bool(state["missing_is_none"])
        for name in ("other_class", "other_level", "other_count"):
            setattr(self, name, np.asarray(state[name]))
        return self
