"""The cells of a DataFrame's column, of any dtype, as the arrays that `levels` and `numbers` take."""

from contextlib import suppress

import numpy as np
import pandas as pd

from augment_gen.errors import InvalidDataError


def is_number_like(series):
    """Whether a column holds numbers and times, by dtype; an object column by what is in it."""
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return False
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        return inferred in ("integer", "floating", "mixed-integer-float", "decimal") and len(series) > 0
    return pd.api.types.is_numeric_dtype(dtype) or dtype.kind in "mM"


def holds_decimals(series):
    """Whether the cells of an object column are `decimal.Decimal`."""
    return series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) == "decimal"


def number_cells(series):
    """Values (int64 where all of X's are whole, else float64; 0 where missing) and the mask of missing cells."""
    dtype, name = series.dtype, series.name
    if pd.api.types.is_complex_dtype(dtype):
        raise InvalidDataError(f"Complex data not supported: column {name!r}. Give its real and imaginary parts as columns.")
    if isinstance(dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    missing = series.isna().to_numpy()
    if dtype.kind in "mM":
        ticks = _ticks(series, dtype)
        ticks[missing] = ticks[~missing].min() if (~missing).any() else 0
        return ticks, missing
    if pd.api.types.is_integer_dtype(dtype):
        exact = np.uint64 if dtype.kind == "u" and dtype.itemsize == 8 else np.int64
        return series.to_numpy(dtype=exact, na_value=0) if missing.any() else series.to_numpy(exact), missing
    if dtype.kind == "O" and isinstance(dtype, np.dtype) and pd.api.types.infer_dtype(series, skipna=True) == "integer":
        with suppress(OverflowError):  # beyond 64 bits they are floats
            return np.where(missing, 0, series).astype(np.int64), missing
    values = series.to_numpy(dtype=np.float64, na_value=np.nan) if missing.any() else series.to_numpy(np.float64)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise InvalidDataError(
            f"Input X contains infinity: column {name!r}, first in row {row}. Replace it by NaN (missing) or by a large number."
        )
    return np.where(missing, 0, values) if missing.any() else values, missing


def _ticks(series, dtype):
    """int64 (n,), the caller's own: times in the units of their dtype, in UTC."""
    if isinstance(dtype, pd.ArrowDtype):
        import pyarrow

        times = pyarrow.array(series.array)
        whole = pyarrow.int32() if times.type.bit_width == 32 else pyarrow.int64()
        return times.cast(whole).cast(pyarrow.int64()).fill_null(0).to_numpy(zero_copy_only=False).copy()
    if isinstance(dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    return series.to_numpy().view(np.int64).copy()


def level_cells(series):
    if isinstance(series.dtype, pd.SparseDtype):
        series = series.sparse.to_dense()
    return series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array
