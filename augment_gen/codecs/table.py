"""Tables: a DataFrame, a 2-D array, a list of rows or a 2-D tensor, as codes and ranks, and back in the same form.

Memory: rows take 2 bytes a column as codes and 8 more a column with a continuous part, whatever the number of levels;
a column's model has at most 256 levels, 1,024 knots and max_atoms atoms.
"""

import warnings

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from augment_gen.codecs.base import Codec
from augment_gen.codecs.cells import holds_decimals, is_number_like, level_cells, number_cells
from augment_gen.codecs.declared import DeclaredNumbers
from augment_gen.codecs.fingerprints import fingerprints
from augment_gen.codecs.levels import LevelColumn
from augment_gen.codecs.numbers import DecimalColumn, NumberColumn
from augment_gen.dtypes import dtype_from_json, dtype_to_json, scalar_from_json, scalar_to_json, torch_dtype
from augment_gen.errors import IdentifierColumnWarning, InvalidDataError, InvalidTypeError, ModelFileError
from augment_gen.layout import Block, TableLayout
from augment_gen.schema import AnyOf, Every, Fields, Scalar, Text, Truth, Whole, check

COLUMNS = {column.kind: column for column in (LevelColumn, NumberColumn, DecimalColumn, DeclaredNumbers)}
MAX_VECTOR = 256  # dimensions of the vectors that distances are computed on
DECODED = 1024  # codes that are decoded at a time where a file is read
PROJECTED = 2**14  # dimensions that are projected at a time, which bounds the memory that takes (16 MB)
LARGE_TABLE = 20_000  # rows from which numeric columns are cut into bins
NAME = AnyOf((Scalar(), Fields({})))  # as `scalar_to_json` writes it
STATE = Fields(
    {
        "numeric": Text(("auto", "gaussian", "bins")),
        "container": Text(("DataFrame", "ndarray", "list", "Tensor")),
        "columns": Every(Fields({"kind": Text(tuple(COLUMNS))}), "n_columns"),
        "names": Every(NAME, "n_columns"),
        "active": Every(Whole()),
        "layout": Fields({"gaussian": Truth(), "blocks": Every(Fields({}))}),
    },
    {"names_names": Every(NAME)},
)


class TableCodec(Codec):
    """Mixed columns with missing values.

    Parameters
    ----------
    numeric : {"auto", "gaussian", "bins"}
        How the continuous part of a numeric column is predicted: as a normal score with a Gaussian, or as one of up to
        100 equal-mass bins. "auto" takes bins from 20,000 rows.

    Attributes
    ----------
    layout_ : TableLayout
        Blocks of the columns that carry information; constant columns have none.
    """

    modality = "table"

    def __init__(self, numeric="auto"):
        self.numeric = numeric

    @classmethod
    def accepts(cls, X):
        return isinstance(X, pd.DataFrame) or np.ndim(X) == 2

    def fit(self, X, class_index):
        frame = self._remember_container(X)
        n_rows = len(frame)
        weight = (np.bincount(class_index).astype(np.float64) ** -0.5)[class_index]
        bins = self.numeric == "bins" or (self.numeric == "auto" and n_rows >= LARGE_TABLE)
        options = {
            "weight": weight,
            "atom_share": 0.01 if bins else 0.05,
            "max_atoms": int(np.clip(n_rows // 32, 12, 256)) if n_rows >= 1000 else 12,
            "bins": int(np.clip(n_rows // 20, 8, 100)) if bins else None,
        }
        self.columns_ = [self._fit_column(frame.iloc[:, i], class_index, options) for i in range(frame.shape[1])]
        self._lay_out(gaussian=not bins)
        return self

    def _lay_out(self, gaussian):
        """Which columns carry information, and their blocks."""
        self.active_ = [i for i, column in enumerate(self.columns_) if column.size > 1 or column.scalar]
        blocks = [
            Block(str(self.names_[i]), c.size, c.scalar, c.first_continuous, c.n_continuous)
            for i in self.active_
            for c in (self.columns_[i],)
        ]
        self.layout_ = TableLayout(tuple(blocks), gaussian)

    def encode(self, X):
        frame = self._frame(X)
        codes = np.zeros((len(frame), len(self.active_)), dtype=np.int16)  # at most 512 a column
        low, high = np.empty((2, len(frame), len(self.layout_.scalar_blocks)), dtype=np.float32)
        n_scalars = 0
        for position, i in enumerate(self.active_):
            codes[:, position], ranks = self.columns_[i].encode(*self._cells(frame, i))
            if ranks is not None:
                low[:, n_scalars], high[:, n_scalars] = ranks
                n_scalars += 1
        return {"codes": torch.from_numpy(codes), "low": torch.from_numpy(low), "high": torch.from_numpy(high)}

    def inputs(self, rows, generator):
        """Adds "scalars": normal scores, drawn within each cell's rank interval; 0 where the cell is an atom."""
        low, high = rows["low"], rows["high"]
        rank = low + torch.rand(low.shape, generator=generator, device=low.device, dtype=low.dtype) * (high - low)
        scores = torch.special.ndtri(rank.clamp(1e-6, 1 - 1e-6)).clamp(-4, 4)
        codes = rows["codes"].long()
        known = self.layout_.indices.on(codes.device)
        mine = codes[:, known["scalar_blocks"]]
        continuous = (mine >= known["first"]) & (mine < known["behind"])
        return {"codes": codes, "scalars": torch.where(continuous, scores, 0.0), "continuous": continuous}

    def decode(self, outputs, class_index, rng):
        """`outputs`: "codes" int64 (n, n_blocks) and "ranks" float (n, n_scalars) in (0, 1)."""
        codes, ranks = outputs["codes"].numpy(), outputs["ranks"].numpy().astype(np.float64)
        position = {i: p for p, i in enumerate(self.active_)}
        scalar = {block: s for s, block in enumerate(self.layout_.scalar_blocks)}
        constant = np.zeros(len(class_index), dtype=np.int64)
        parts = []
        for i, column in enumerate(self.columns_):
            code = codes[:, position[i]] if i in position else constant
            rank = ranks[:, scalar[position[i]]] if position.get(i) in scalar else None
            parts.append(column.decode(code, rank, class_index, rng))
        return self._restore(parts)

    def vectors(self, X):
        """One-hot levels beside standardised numbers; beyond 256 dimensions, their random projection to 256.

        A projection keeps distances within a few per cent (Johnson and Lindenstrauss 1984), and memory bounded.
        """
        frame = self._frame(X)
        widths = [self.columns_[i].vector_width for i in self.active_]
        if sum(widths) <= MAX_VECTOR:
            parts = [self.columns_[i].vector(*self._cells(frame, i)) for i in self.active_]
            return np.concatenate(parts, axis=1) if parts else np.zeros((len(frame), 0), np.float32)
        out, directions = torch.zeros(len(frame), MAX_VECTOR), np.random.default_rng(0)
        groups = np.cumsum(widths) // PROJECTED
        for group in np.unique(groups):
            out += self._projected(frame, np.asarray(self.active_)[groups == group], directions)
        return out.numpy()

    def _projected(self, frame, columns, directions):
        """float32 tensor (n, 256): the share of some columns in the projection, as a weighted sum of rows of a matrix.

        Summed row by row in the order of the columns: equal rows have equal vectors, in whatever batch they come.
        """
        index, weight, start = [], [], 0
        for i in columns:
            places, values = self.columns_[i].entries(*self._cells(frame, i))
            index.append(places + start)
            weight.append(values)
            start += self.columns_[i].vector_width
        matrix = directions.standard_normal((start, MAX_VECTOR), dtype=np.float32) / np.float32(np.sqrt(MAX_VECTOR))
        index, weight = (torch.from_numpy(np.concatenate(parts, axis=1)) for parts in (index, weight))
        return F.embedding_bag(index, torch.from_numpy(matrix), mode="sum", per_sample_weights=weight)

    def fingerprints(self, X):
        """Of all cells, compared exactly; None for a table whose columns hold categories and few distinct numbers only."""
        if not any(column.scalar for column in self.columns_):
            return None
        frame = self._frame(X)
        words = [self.columns_[i].words(*self._cells(frame, i)) for i in self.active_]
        return fingerprints(np.stack(words, axis=1))

    def join(self, parts):
        if isinstance(parts[0], pd.DataFrame):
            return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        if isinstance(parts[0], list):
            return [row for part in parts for row in part]
        return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else np.concatenate(parts, dtype=parts[0].dtype)

    def take(self, X, index):
        if isinstance(X, pd.DataFrame):
            return X.iloc[index].reset_index(drop=True)
        return [X[i] for i in index] if isinstance(X, (list, tuple)) else X[index]

    def concatenate(self, X, X_new):
        if isinstance(X, pd.DataFrame):
            return pd.concat([X, X_new.set_axis(synthetic_index(X.index, len(X_new)), axis=0)])
        if isinstance(X, (list, tuple)):
            return [*X, *X_new]
        if isinstance(X, torch.Tensor):
            return torch.cat([X, X_new.to(X.device)])
        return np.concatenate([X, X_new], dtype=np.asarray(X).dtype)  # numpy would turn a foreign byte order into its own

    # ------------------------------------------------------------ containers
    def _remember_container(self, X):
        self.container_ = type(X).__name__ if isinstance(X, (pd.DataFrame, list, torch.Tensor)) else "ndarray"
        if isinstance(X, pd.DataFrame):
            self.dtype_, self.names_, self.columns_type_ = None, list(X.columns), X.columns
        elif isinstance(X, torch.Tensor):
            self.dtype_, self.names_ = str(X.dtype).removeprefix("torch."), list(range(X.shape[1]))
        else:
            self.dtype_, self.names_ = np.asarray(X).dtype, list(range(len(X[0])))
        return self._frame(X)

    def _frame(self, X):
        """X as a DataFrame (no copy where there is one), checked against the fitted columns."""
        if isinstance(X, torch.Tensor):
            X = X.detach().cpu().numpy()
        if isinstance(X, pd.DataFrame):
            if list(X.columns) != self.names_:
                raise InvalidDataError(f"X has columns {list(X.columns)[:8]}, but fit saw {self.names_[:8]}, in that order.")
            return X
        frame = pd.DataFrame(X) if isinstance(X, (list, tuple)) else pd.DataFrame(np.asarray(X), dtype=np.asarray(X).dtype)
        if frame.shape[1] != len(self.names_):
            raise InvalidDataError(f"X has {frame.shape[1]} features, but {len(self.names_)} were seen in fit.")
        return frame

    def _restore(self, parts):
        if self.container_ == "DataFrame":
            series = [pd.Series(part, dtype=column.dtype) for part, column in zip(parts, self.columns_, strict=True)]
            return pd.concat(series, axis=1).set_axis(self.columns_type_, axis=1)
        parts = [np.asarray(part) for part in parts]
        if self.container_ == "ndarray":
            return np.stack(parts, axis=1).astype(self.dtype_, copy=False)
        if self.container_ == "Tensor":
            return torch.from_numpy(np.stack(parts, axis=1)).to(getattr(torch, self.dtype_))
        return [list(row) for row in zip(*(part.tolist() for part in parts), strict=True)]

    # --------------------------------------------------------------- columns
    def _fit_column(self, series, class_index, options):
        name = series.name
        if is_number_like(series):
            values, missing = number_cells(series)
            column = DecimalColumn if holds_decimals(series) else NumberColumn
            return column().fit(values, missing, dtype=series.dtype, **options)
        values = level_cells(series)
        try:
            column = LevelColumn().fit(values, class_index)
        except TypeError as error:
            kinds = sorted({type(cell).__name__ for cell in series if not pd.api.types.is_hashable(cell)})
            raise InvalidTypeError(
                f"Column {name!r} holds {', '.join(kinds) or 'values'} that cannot be categories ({error}). Each cell must be "
                "a string or a number: expand nested values into columns of their own, or drop the column."
            ) from error
        if column.has_other and len(series) >= 50 and len(column.levels) > 0.9 * len(series):
            warnings.warn(
                f"Column {name!r} has another value in nearly every row, like an identifier. Its synthetic values are "
                "copies of real ones: drop the column if they must not be.",
                IdentifierColumnWarning,
                stacklevel=2,
            )
        return column

    def _cells(self, frame, i):
        series = frame.iloc[:, i]
        if self.columns_[i].kind == "levels":
            return (level_cells(series),)
        if not is_number_like(series) and not series.isna().all():
            raise InvalidDataError(f"Column {self.names_[i]!r} held numbers in fit, but is {series.dtype} now.")
        return number_cells(series)

    # ----------------------------------------------------------------- state
    def state(self):
        state = {
            "numeric": self.numeric,
            "container": self.container_,
            "names": [scalar_to_json(name) for name in self.names_],
            "columns": [column.state() for column in self.columns_],
            "active": self.active_,
            "layout": self.layout_.to_dict(),
        }
        if self.container_ == "DataFrame":
            state["names_dtype"] = dtype_to_json(self.columns_type_.dtype)
            state["names_names"] = [scalar_to_json(name) for name in self.columns_type_.names]
        else:
            state["dtype"] = self.dtype_ if self.container_ == "Tensor" else dtype_to_json(self.dtype_)
        return state

    @classmethod
    def from_state(cls, state):
        check(state, STATE, "the table codec")
        self = cls(state["numeric"])
        self.container_, self.names_ = state["container"], [scalar_from_json(name) for name in state["names"]]
        self.columns_ = [COLUMNS[column["kind"]].from_state(column) for column in state["columns"]]
        if self.container_ == "DataFrame":
            names = [scalar_from_json(name) for name in state["names_names"]]
            self.dtype_, dtype = None, dtype_from_json(state["names_dtype"])
            if len(names) > 1:
                self.columns_type_ = pd.MultiIndex.from_tuples(self.names_, names=names)
            else:
                self.columns_type_ = pd.Index(self.names_, dtype=dtype, name=names[0])
            self.names_ = list(self.columns_type_)
        else:
            self.dtype_ = state["dtype"] if self.container_ == "Tensor" else dtype_from_json(state["dtype"])
            if self.container_ == "Tensor":
                torch_dtype(self.dtype_)
        self._lay_out(state["layout"]["gaussian"])
        if (self.active_, self.layout_.to_dict()) != (state["active"], state["layout"]):
            raise ModelFileError("The table codec: its layout is not that of its columns.")
        self._decode_all()
        return self

    def _decode_all(self):
        """Decode every code of every column once, so that what has no meaning as a cell is found in reading, not in drawing."""
        n_rows = max(self.layout_.sizes, default=1)
        for start in range(0, n_rows, DECODED):
            codes = np.arange(start, min(start + DECODED, n_rows))
            ranks = np.linspace(0.01, 0.99, len(codes) * len(self.layout_.scalar_blocks)).reshape(len(codes), -1)
            outputs = {"codes": torch.from_numpy(codes[:, None] % self.layout_.sizes), "ranks": torch.from_numpy(ranks)}
            self.decode(outputs, np.zeros(len(codes), np.int64), np.random.default_rng(0))


def synthetic_index(index, n_rows):
    """An index of `n_rows` rows that continues `index`, of the same type.

    A RangeIndex goes on; integers go on after the largest, where there is room; text becomes "synthetic_0", ...; any other
    type (times, several levels) repeats its last entry, because a new one would have to be invented.
    """
    if isinstance(index, pd.RangeIndex) and abs(index.stop + n_rows * index.step) < 2**63:
        return pd.RangeIndex(index.stop, index.stop + n_rows * index.step, index.step, name=index.name)
    if pd.api.types.is_integer_dtype(index.dtype) and not isinstance(index, pd.MultiIndex) and not index.hasnans:
        start = int(index.max()) + 1
        if start + n_rows < 2**63:
            entries = pd.Index(np.arange(start, start + n_rows), name=index.name)
            fits = start + n_rows - 1 <= np.iinfo(pd.api.types.pandas_dtype(index.dtype).name.lower()).max
            return entries.astype(index.dtype) if fits else entries
    if pd.api.types.is_string_dtype(index.dtype) and not isinstance(index, pd.MultiIndex):
        return pd.Index([f"synthetic_{i}" for i in range(n_rows)], dtype=index.dtype, name=index.name)
    return index[np.full(n_rows, len(index) - 1)]
