"""Tables as numbers, for the figures: learned from the training rows, never from the generator.

Enters: a table in any form that pandas reads, with columns of any kinds and missing cells. Leaves: codes for trees and
associations, vectors for distances, and keys by which equal rows are found. Foreign dtypes of a synthetic table (a float
where there was an int, text where there was a category) are read as the training column's kind.
"""

import numpy as np
import pandas as pd
import torch

from augment_gen.errors import InvalidDataError

MAX_LEVELS = 60  # levels of a text column that are told apart; rarer ones count as one


class TableRows:
    """What training rows say about columns: their kinds, levels and ranks.

    Numbers, dates and durations are numeric, booleans count as 0 and 1; everything else is a category, of which the 60
    commonest levels are told apart.

    Attributes
    ----------
    names : list
        Of the columns.
    categorical : bool array (n_columns,)
    n_levels : list of int
        Per column the codes that are possible; 0 for numeric ones. The last code is "any other value".
    """

    def fit(self, X):
        """Learn from `X`, the training rows; returns self."""
        frame = _frame(X)
        self.names = list(frame.columns)
        self.kinds = [_kind(frame.iloc[:, i]) for i in range(frame.shape[1])]
        self.categorical = np.array([kind == "category" for kind in self.kinds], dtype=bool)
        self.levels, self.ranks = [], []
        for i, kind in enumerate(self.kinds):
            cells = _cells(frame.iloc[:, i], kind)
            if kind == "category":
                self.levels.append(cells.value_counts().index[:MAX_LEVELS])
                self.ranks.append(None)
            else:
                self.levels.append(None)
                self.ranks.append(np.sort(cells[~np.isnan(cells)]))
        self.n_levels = [0 if levels is None else len(levels) + 1 for levels in self.levels]
        self.has_missing = frame.isna().any().to_numpy()
        return self

    def read(self, X, where):
        """`X` as a DataFrame with the training columns in their order; raises where that cannot be.

        Raises
        ------
        InvalidDataError
            Columns are missing or foreign; `where` names the table in the message.
        """
        frame = _frame(X)
        if not isinstance(X, pd.DataFrame) and frame.shape[1] == len(self.names):
            frame = frame.set_axis(self.names, axis=1)
        lacking = [name for name in self.names if name not in frame.columns]
        foreign = [name for name in frame.columns if name not in self.names]
        if lacking or foreign:
            raise InvalidDataError(
                f"{where} must have the columns of X_train; it has {frame.shape[1]} columns and X_train {len(self.names)}. "
                f"Lacking: {lacking[:5]}. Not in X_train: {foreign[:5]}. Give the same columns as in training."
            )
        return frame[self.names]

    def codes(self, frame):
        """float64 (n, n_columns): numbers as they are, categories as 0, 1, ...; NaN where a cell is missing."""
        columns = [self._code(_cells(frame.iloc[:, i], kind), i) for i, kind in enumerate(self.kinds)]
        return np.stack(columns, axis=1) if columns else np.zeros((len(frame), 0))

    def _code(self, cells, i):
        if self.levels[i] is None:
            return cells
        codes = self.levels[i].get_indexer(cells).astype(float)
        codes[codes < 0] = len(self.levels[i])
        codes[cells.isna().to_numpy()] = np.nan
        return codes

    def vectors(self, codes):
        """float32 (n, p): numbers as their rank among training values, from 0 to 1; categories one-hot over sqrt(2).

        So two rows that differ in one category, or by the whole range of one number, are 1 apart. A missing number counts
        as the median, with a column of its own that says so.
        """
        parts = []
        for i, (values, ranks) in enumerate(zip(codes.T, self.ranks, strict=True)):
            missing = np.isnan(values)
            if ranks is None:
                levels = np.where(missing, self.n_levels[i], values).astype(int)
                parts.append(np.eye(self.n_levels[i] + 1, dtype=np.float32)[levels] / np.sqrt(np.float32(2)))
                continue
            middle = np.searchsorted(ranks, values, "left") + np.searchsorted(ranks, values, "right")
            score = np.where(missing, 0.5, middle / max(1, 2 * len(ranks)))
            parts.append(score[:, None].astype(np.float32))
            if self.has_missing[i]:
                parts.append(missing[:, None].astype(np.float32))
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(codes), 0), np.float32)

    def keys(self, frame):
        """uint64 (n,): equal for rows whose cells are all equal, levels beyond the commonest included."""
        plain = pd.DataFrame({i: _cells(frame.iloc[:, i], kind) for i, kind in enumerate(self.kinds)})
        numeric = plain.columns[~self.categorical]
        plain[numeric] = plain[numeric] + 0.0  # no -0.0
        return pd.util.hash_pandas_object(plain, index=False).to_numpy()


def _frame(X):
    if isinstance(X, pd.DataFrame):
        return X
    frame = pd.DataFrame(X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else X)
    return frame.infer_objects()


def _kind(series):
    """ "number", "moment", "duration" or "category"."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "moment"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "duration"
    inferred = pd.api.types.infer_dtype(series, skipna=True)
    if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "boolean"):
        return "number"
    return {"datetime": "moment", "datetime64": "moment", "date": "moment", "timedelta": "duration"}.get(inferred, "category")


def _cells(series, kind):
    """A column as float64 with NaN where missing; a category as a Series of text with None."""
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    if kind == "category":
        return series.astype(object).map(str, na_action="ignore").reset_index(drop=True)
    if kind == "moment":
        moments = pd.to_datetime(series.astype(object), errors="coerce", utc=True).reset_index(drop=True)
        return ((moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float, na_value=np.nan)
    if kind == "duration":
        return (pd.to_timedelta(series, errors="coerce") / pd.Timedelta(seconds=1)).to_numpy(float, na_value=np.nan)
    if isinstance(series.dtype, pd.CategoricalDtype) or series.dtype == object:
        series = pd.to_numeric(series.astype(object), errors="coerce")
    if not pd.api.types.is_numeric_dtype(series.dtype):
        series = pd.to_numeric(series, errors="coerce")
    return series.astype("Float64").to_numpy(float, na_value=np.nan) if series.dtype != float else series.to_numpy(float)
