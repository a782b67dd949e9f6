"""Data as bad as it comes, for hypothesis: tables, images and labels of every dtype, container and memory layout.

A column takes its cells from a handful of values that hypothesis chooses, extremes among them, so that a failure shrinks to
a few values and generating costs little.
"""

# ruff: noqa: E501
import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.extra import pandas as hpd
from PIL import Image

NUMPY_DTYPES = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64", "bool",
)  # fmt: skip
NULLABLE = (
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "boolean",
)  # fmt: skip
STRINGS = ("str", "string", "string[pyarrow]")
TIMES = (
    "datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]", "timedelta64[s]", "timedelta64[ms]",
    "timedelta64[ns]", "datetime64[ns, UTC]", "datetime64[us, Asia/Kolkata]", "datetime64[s, America/New_York]",
)  # fmt: skip
OTHERS = ("period[M]", "period[D]", "interval", "Sparse[int64, 0]", "Sparse[float64]", "complex128")
ARROW = {
    "int8": st.integers(-128, 127), "uint64": st.integers(0, 2**64 - 1), "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_infinity=False, allow_nan=False), "float": st.floats(width=32, allow_infinity=False, allow_nan=False),
    "bool": st.booleans(), "string": st.text(max_size=5), "large_string": st.text(max_size=5), "binary": st.binary(max_size=4),
    "date32": st.dates(), "time64[us]": st.times(),
    "timestamp[us]": st.datetimes(), "timestamp[ns]": st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
    "timestamp[s, tz=UTC]": st.datetimes().map(lambda t: t.replace(microsecond=0, tzinfo=datetime.UTC)),
    "duration[us]": st.timedeltas(datetime.timedelta(-9999), datetime.timedelta(9999)),
    "decimal128(12, 3)": st.decimals(-99999, 99999, places=3),
}  # fmt: skip
ARROW_TYPES = {
    "timestamp[s, tz=UTC]": pa.timestamp("s", tz="UTC"), "decimal128(12, 3)": pa.decimal128(12, 3), "double": pa.float64(),
    "float": pa.float32(), "bool": pa.bool_(), "timestamp[us]": pa.timestamp("us"), "timestamp[ns]": pa.timestamp("ns"),
    "time64[us]": pa.time64("us"), "duration[us]": pa.duration("us"),
}  # fmt: skip
WORDS = st.one_of(
    st.text(max_size=6), st.sampled_from(["", " ", "nan", "None", "👩‍🔬", "ß", "Ünïcödé", "a\x00b", "0", "1", "\n"])
)
SCALARS = st.one_of(
    WORDS, st.integers(-(10**20), 10**20), st.floats(allow_infinity=False), st.booleans(), st.none(), st.dates(), st.binary(max_size=3),
    st.tuples(st.integers(0, 3), WORDS), st.decimals(allow_nan=False, allow_infinity=False), st.just(pd.NA), st.just(pd.NaT),
)  # fmt: skip
MISSING = ("none", "none", "some", "column", "row", "class")


@st.composite
def columns(draw, kind, n_rows, missing):
    """A Series of a kind of KINDS; cells where the bool array `missing` says so are missing, if the dtype can say that."""
    pool = draw(_pools(kind))
    picks = np.array(draw(st.lists(st.integers(0, len(pool) - 1), min_size=n_rows, max_size=n_rows)))
    series = pd.Series(pool).take(picks).reset_index(drop=True)
    return blanked(series, missing)


def blanked(series, missing):
    """The Series with missing cells where `missing` says so; as it is where its dtype cannot say that."""
    dtype = series.dtype
    if not missing.any() or isinstance(dtype, pd.SparseDtype) or (isinstance(dtype, np.dtype) and dtype.kind in "iub"):
        return series
    return series.mask(missing).astype(dtype)


def _pools(kind):
    """Arrays of one to nine values, of the dtype that columns of a kind have."""
    if kind in NUMPY_DTYPES:
        return _arrays(hnp.from_dtype(np.dtype(kind), allow_nan=False, allow_infinity=kind == "float32"), kind)
    if kind in NULLABLE:
        return _arrays(
            hnp.from_dtype(np.dtype(kind.lower().replace("boolean", "bool")), allow_nan=False, allow_infinity=False), kind
        )
    if kind in STRINGS:
        return _arrays(WORDS, kind)
    if kind in TIMES:
        number = st.one_of(
            st.integers(-(10**6), 10**9), st.sampled_from([-(2**62), 2**62, 0]) if "ns" in kind else st.just(10**9)
        )
        return st.lists(number, min_size=1, max_size=9).map(lambda ticks: _times(ticks, kind))
    if kind.startswith("category"):
        levels = st.one_of(st.lists(WORDS, min_size=1, unique=True, max_size=6), st.lists(st.integers(), min_size=1, unique=True, max_size=6),
                           st.lists(st.floats(allow_nan=False), min_size=1, unique=True, max_size=5), st.lists(st.booleans(), min_size=1, unique=True),
                           st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=1, unique=True, max_size=4))  # fmt: skip
        ordered = "unordered" not in kind
        return levels.map(lambda given: pd.Categorical(given[: max(1, len(given) - 1)], pd.Index(given), ordered=ordered))
    if kind == "object":
        return st.lists(SCALARS, min_size=1, max_size=9).map(_objects)
    if kind == "numbers as objects":
        return st.lists(st.one_of(st.integers(), st.floats(allow_infinity=False)), min_size=1, max_size=9).map(_objects)
    if kind in ARROW:
        dtype = ARROW_TYPES[kind] if kind in ARROW_TYPES else pa.type_for_alias(kind)
        return st.lists(ARROW[kind], min_size=1, max_size=9).map(lambda v: pd.array(v, dtype=pd.ArrowDtype(dtype)))
    return {
        "period[M]": st.lists(st.integers(-500, 500), min_size=1, max_size=9).map(lambda v: pd.PeriodIndex.from_ordinals(v, freq="M").array),
        "period[D]": st.lists(st.integers(-9999, 9999), min_size=1, max_size=9).map(lambda v: pd.PeriodIndex.from_ordinals(v, freq="D").array),
        "interval": st.lists(st.integers(-99, 99), min_size=1, max_size=9).map(lambda v: pd.arrays.IntervalArray.from_arrays(np.array(v, float), np.array(v) + 1.0)),
        "Sparse[int64, 0]": st.lists(st.integers(-5, 5), min_size=1, max_size=9).map(lambda v: pd.arrays.SparseArray(v, fill_value=0)),
        "Sparse[float64]": st.lists(st.floats(-5, 5), min_size=1, max_size=9).map(pd.arrays.SparseArray),
        "complex128": _arrays(st.complex_numbers(max_magnitude=9), "complex128"),
    }[kind]  # fmt: skip


def _arrays(values, dtype):
    return st.lists(values, min_size=1, max_size=9).map(lambda given: pd.array(given, dtype=dtype))


def _objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _times(ticks, kind):
    zone = kind.partition(", ")[2].rstrip("]")
    array = np.array(ticks, dtype=np.int64).view(kind.partition(",")[0].rstrip("]") + "]")
    return pd.DatetimeIndex(array).tz_localize("UTC").tz_convert(zone).array if zone else array


KINDS = (
    *NUMPY_DTYPES, *NULLABLE, *STRINGS, *TIMES, *OTHERS, *ARROW, "category, ordered", "category, unordered", "object",
    "numbers as objects",
)  # fmt: skip


@st.composite
def class_indices(draw, n_rows, smallest=2):
    """int64 (n_rows,): two to four classes, in any order, each at least `smallest` rows, most of the rows in one."""
    n_classes = draw(st.integers(2, 4))
    index = np.zeros(n_rows, dtype=np.int64)
    for k in range(1, n_classes):
        size = draw(st.integers(smallest, max(smallest, n_rows // n_classes)))
        index[(k - 1) * (n_rows // n_classes) :][:size] = k
    return index if draw(st.booleans()) else np.sort(index)


LABEL_KINDS = {
    "words": st.lists(WORDS, unique=True, min_size=4, max_size=4),
    "words of numpy": st.lists(st.text("äß👩a ", max_size=3), unique=True, min_size=4, max_size=4).map(
        lambda words: [word.rstrip("\x00") for word in words]
    ),
    "integers": st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, min_size=4, max_size=4),
    "small": st.permutations([0, 1, 2, 3]),
    "unsigned": st.lists(st.integers(0, 255), unique=True, min_size=4, max_size=4),
    "whole floats": st.permutations([0.0, -1.0, 7.0, 2.0**40]),
    "mixed": st.permutations(["1", 1, "a", 2]),
    "bytes": st.permutations([b"a", b"", b"\xff", b"b"]),
    "dates": st.permutations([np.datetime64(day, "D") for day in range(4)]),
    "booleans": st.just([False, True, False, True]),
}


@st.composite
def labels(draw, class_index, index):
    """y for a class index: words, numbers, both, in every container."""
    kind = draw(st.sampled_from(list(LABEL_KINDS)))
    names = _objects(list(draw(LABEL_KINDS[kind])))
    values = names[class_index % 2 if kind == "booleans" else class_index]
    dtype = {
        "words of numpy": str, "integers": np.int64, "small": np.int8, "unsigned": np.uint8, "whole floats": np.float32,
        "booleans": bool, "dates": "M8[ns]",
    }.get(kind, object)  # fmt: skip
    values = values.astype(dtype)
    containers = {
        "array": lambda: values, "list": values.tolist, "series": lambda: pd.Series(values, index=index, name=draw(WORDS)),
        "categorical": lambda: pd.Categorical(values, categories=pd.unique(values)),
        "categorical series": lambda: pd.Series(pd.Categorical(values, categories=[*pd.unique(values), "never seen"]), index=index),
        "frame": lambda: pd.DataFrame({"y": values}, index=index), "read only": lambda: _read_only(values),
        "every other": lambda: np.repeat(values, 2)[::2],
        "tensor": lambda: torch.from_numpy(values), "nullable": lambda: pd.Series(values, index=index).convert_dtypes(),
    }  # fmt: skip
    if kind in ("words", "words of numpy", "mixed", "bytes", "dates"):
        del containers["tensor"]
    if kind in ("mixed", "bytes", "dates"):
        del containers["nullable"]
    return containers[draw(st.sampled_from(list(containers)))]()


@st.composite
def missing_cells(draw, class_index):
    """bool (n,): the missing cells of a column."""
    kind, n_rows = draw(st.sampled_from(MISSING)), len(class_index)
    if kind == "some":
        return np.arange(n_rows) % draw(st.integers(2, 7)) == 0
    if kind == "class":
        return class_index == draw(st.integers(0, class_index.max()))
    return np.full(n_rows, kind == "column") | ((np.arange(n_rows) == 0) & (kind == "row"))


@st.composite
def frames(draw):
    """``(X, y)``: a DataFrame of any columns, and labels."""
    n_rows = draw(st.integers(8, 24))
    class_index = draw(class_indices(n_rows, draw(st.sampled_from([2, 2, 2, 1]))))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    parts = [draw(columns(kind, n_rows, draw(missing_cells(class_index)))) for kind in kinds]
    if draw(st.booleans()):
        parts.append(parts[0])  # a column twice
    if draw(st.integers(0, 5)) == 0:
        parts = [blanked(part, np.arange(n_rows) == n_rows // 2) for part in parts]  # a whole row
    unique = draw(st.integers(0, 9)) > 0
    names = draw(_names(len(parts), unique))
    index = draw(_indices(n_rows))
    X = pd.concat(parts, axis=1, keys=range(len(parts))).set_axis(names, axis=1).set_axis(index, axis=0)
    return X, draw(labels(class_index, index))


def _names(n, unique):
    one = st.one_of(
        st.lists(WORDS, min_size=n, max_size=n, unique=unique),
        st.just(list(range(n))),
        st.just([f"c{i}" for i in range(n)]),
        st.permutations(["a", 1, 2.5, ("x", "y"), None, pd.Timestamp(2020, 1, 1)]).map(lambda names: names[:n]),
    )
    two = st.just(pd.MultiIndex.from_product([["one"], range(n)], names=["upper", None]))
    return st.one_of(one, one, two)


def _indices(n_rows):
    return st.one_of(
        st.sampled_from(
            [
                pd.RangeIndex(n_rows), pd.RangeIndex(5, 5 - n_rows, -1), pd.RangeIndex(n_rows, name="row"),
                pd.Index(np.zeros(n_rows, dtype=np.int64)), pd.Index(np.arange(n_rows)[::-1] * 7),
                pd.date_range("2020-03-28", periods=n_rows, freq="h", tz="Europe/Berlin"),
                pd.period_range("2020-01", periods=n_rows, freq="M"), pd.timedelta_range("1h", periods=n_rows),
                pd.MultiIndex.from_product([range(n_rows), ["a"]], names=["i", None]),
                pd.Index([f"row {i % 3}" for i in range(n_rows)]), pd.CategoricalIndex(list("ab") * n_rows)[:n_rows],
                pd.interval_range(0, n_rows), pd.Index([None, *range(n_rows - 1)], dtype=object),
                pd.Index(np.arange(n_rows, dtype=np.uint8)), pd.Index(np.arange(n_rows, dtype=np.int64) + (2**63 - 1 - n_rows)),
            ]
        ),
        hpd.range_indexes(min_size=n_rows, max_size=n_rows),
        hpd.indexes(dtype=float, min_size=n_rows, max_size=n_rows),
    )  # fmt: skip


@st.composite
def arrays(draw):
    """``(X, y)``: a 2-D array in any order of memory, a list of lists, or a tensor, and labels."""
    n_rows, n_columns = draw(st.integers(8, 24)), draw(st.integers(1, 5))
    dtype = np.dtype(
        draw(st.sampled_from([*NUMPY_DTYPES, "longdouble", ">f4", ">i2", "<U3", "S3", "object", "M8[s]", "complex64"]))
    )
    inside = SCALARS if dtype.kind == "O" else hnp.from_dtype(dtype)
    X = draw(hnp.arrays(dtype, (n_rows, n_columns), elements=inside, fill=inside if dtype.kind != "O" else None))
    class_index = draw(class_indices(n_rows))
    layout = draw(st.sampled_from(["as is", "fortran", "read only", "strided", "reversed", "list", "tensor"]))
    return layouts(X, layout), draw(labels(class_index, None))


def layouts(X, layout):
    """An array in another order of memory or container."""
    if layout == "tensor" and X.dtype.kind in "iufb" and X.dtype.isnative and X.dtype != np.longdouble:
        return torch.from_numpy(X)
    return {
        "fortran": lambda: np.asfortranarray(X), "read only": lambda: _read_only(X), "strided": lambda: np.repeat(X, 2, axis=0)[::2],
        "reversed": lambda: X[::-1, ::-1], "list": X.tolist,
    }.get(layout, lambda: X)()  # fmt: skip


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@st.composite
def images(draw):
    """``(X, y)``: images of any size from 1 pixel, dtype and container, black and constant ones among them."""
    n_images = draw(st.integers(6, 12))
    sides = st.one_of(st.integers(8, 13), st.integers(8, 13), st.integers(1, 40))
    height, width, channels = draw(sides), draw(sides), draw(st.sampled_from([None, 1, 2, 3, 4, 5]))
    dtype = np.dtype(
        draw(
            st.sampled_from(
                ["uint8", "uint8", "uint16", "int16", "int32", "int64", "uint64", "float16", "float32", "float64", "bool"]
            )
        )
    )
    shape = (n_images, height, width) if channels is None else (n_images, height, width, channels)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    content = draw(st.sampled_from(["noise", "noise", "black", "constant", "extremes", "one pixel", "nan", "a value"]))
    X = np.zeros(shape)
    if content == "noise":
        X = rng.random(shape) * (255 if dtype.kind in "iu" else 1)
    X = X.astype(dtype)
    if content in ("constant", "a value", "one pixel"):
        value = draw(hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False))
        X[{"constant": ..., "a value": rng.random(shape) < 0.5, "one pixel": (0,) * len(shape)}[content]] = value
    if content == "extremes" and dtype.kind in "iuf":
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        X[rng.random(shape) < 0.3], X[0] = limits.min, limits.max
    if content == "nan" and dtype.kind == "f":
        X.flat[0] = np.nan
    class_index = draw(class_indices(n_images))
    layout = draw(
        st.sampled_from(["as is", "fortran", "read only", "reversed", "list of arrays", "tensor", "channels first", "pil"])
    )
    if layout in ("tensor", "channels first") and channels is not None:
        X = np.moveaxis(X, -1, 1)
    if layout == "list of arrays":
        X = list(X)
    elif layout == "pil" and dtype == np.uint8 and channels in (None, 3, 4):
        X = [Image.fromarray(image) for image in X]
    else:
        X = layouts(X, layout)
    return X, draw(labels(class_index, None))
