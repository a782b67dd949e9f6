"""Dtypes and 1-D values as JSON, without pickle.

Enters: numpy and pandas dtypes, arrays of labels or category levels, and frames. Leaves: JSON-able objects, and back. What JSON
cannot hold (a level that is a tuple, say) is refused by name.
"""

import datetime
import re

import numpy as np
import pandas as pd
import torch

from augment_gen.errors import ModelFileError
from augment_gen.schema import Array, check

# dtype.str of bool, numbers, objects, text and times; nothing structured, which could ask for any amount of memory
NUMPY = r"[<>|=]([biuf]\d{1,2}|O|[SU]\d{1,5}|[mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
PANDAS = r"[A-Za-z]\w{0,30}(\[[\w ,:<>+/-]{1,100}\])?"  # Int64, datetime64[ns, Europe/Berlin], double[pyarrow], ...
TEXT_BYTES = 2**28  # of an array of fixed-width text
LONGEST = 200  # characters of a time, a period or a number in words


def dtype_to_json(dtype):
    """A JSON-able description of a numpy or pandas dtype."""
    if isinstance(dtype, pd.CategoricalDtype):
        return {"categories": array_to_json(dtype.categories.array), "ordered": bool(dtype.ordered)}
    if isinstance(dtype, pd.SparseDtype):
        return {"sparse": dtype_to_json(dtype.subtype), "fill": scalar_to_json(dtype.fill_value)}
    if isinstance(dtype, np.dtype):
        return {"numpy": dtype.str}
    if isinstance(dtype, pd.StringDtype):
        return {"string": dtype.storage, "nan": dtype.na_value is not pd.NA}
    return {"pandas": str(dtype)}


def dtype_from_json(state):
    """The dtype that `dtype_to_json` described."""
    if type(state) is not dict:
        raise ModelFileError(f"{state!r} describes no dtype.")
    if "categories" in state:
        return pd.CategoricalDtype(array_from_json(state["categories"]), ordered=state["ordered"])
    if "sparse" in state:
        return pd.SparseDtype(dtype_from_json(state["sparse"]), scalar_from_json(state["fill"]))
    if "numpy" in state:
        return numpy_dtype(state["numpy"])
    if "string" in state:
        return pd.StringDtype(state["string"], na_value=np.nan if state["nan"] else pd.NA)
    dtype = pd.api.types.pandas_dtype(_matching(state["pandas"], PANDAS))
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":  # of categories, where pandas has a name of its own for numpy's
        return dtype
    if isinstance(dtype, np.dtype) or "dateutil" in state["pandas"]:  # dateutil would read whatever file it is told to
        raise ModelFileError(f"{state['pandas']!r} describes no dtype of pandas.")
    return dtype


def numpy_dtype(name):
    """The dtype of a ``dtype.str``; raises a `ModelFileError` for what no file of ours holds."""
    return np.dtype(_matching(name, NUMPY))


def torch_dtype(name):
    """The dtype that `name` is the name of in torch, and nothing else that torch has."""
    dtype = getattr(torch, name, None) if type(name) is str else None
    if not isinstance(dtype, torch.dtype):
        raise ModelFileError(f"{str(name)[:40]!r} is the name of no dtype of torch.")
    return dtype


def scalar_to_json(value):
    """A label, level or column name as JSON: str, int, float and bool as they are, times and pairs under a tag."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NaT:
        return {"missing": "NaT"}
    if value is pd.NA:
        return {"missing": "NA"}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, pd.Timedelta):
        return {"timedelta": value.isoformat()}
    if isinstance(value, (pd.Timestamp, datetime.datetime)):
        return {"timestamp": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    if isinstance(value, pd.Interval):
        return {"interval": [scalar_to_json(value.left), scalar_to_json(value.right), value.closed]}
    if isinstance(value, pd.Period):
        return {"period": [str(value), value.freqstr]}
    if isinstance(value, tuple):
        return {"tuple": [scalar_to_json(item) for item in value]}
    raise ModelFileError(
        f"The value {value!r} of type {type(value).__name__} cannot be written to a model file. Use str, int, float, "
        "bool or dates as labels and category levels, or keep the fitted generator with joblib."
    )


def scalar_from_json(state):
    """The value that `scalar_to_json` wrote."""
    if not isinstance(state, dict):
        if isinstance(state, list):
            raise ModelFileError("A list stands where a label or level should.")
        return state
    ((kind, value),) = state.items()
    if isinstance(value, str) and len(value) > LONGEST:
        raise ModelFileError(f"{value[:20]!r} ... is too long to be a {kind}.")
    read = {
        "missing": {"NaT": pd.NaT, "NA": pd.NA}.get,
        "float": lambda text: float(_matching(text, "nan|-?inf")),
        "timedelta": lambda text: pd.Timedelta(_matching(text, ".*")),
        "timestamp": lambda text: pd.Timestamp(_matching(text, ".*")),
        "date": datetime.date.fromisoformat,
        "interval": lambda parts: pd.Interval(scalar_from_json(parts[0]), scalar_from_json(parts[1]), parts[2]),
        "period": lambda parts: pd.Period(_matching(parts[0], ".*"), freq=_matching(parts[1], ".*")),
        "tuple": lambda parts: tuple(scalar_from_json(part) for part in parts),
    }
    return read[kind](value)


def array_to_json(array):
    """A 1-D numpy or pandas array as JSON: its dtype and its values."""
    if isinstance(array.dtype, np.dtype) and array.dtype.kind in "mM":
        return {"dtype": dtype_to_json(array.dtype), "ticks": np.asarray(array).view(np.int64).tolist()}
    return {"dtype": dtype_to_json(array.dtype), "values": [scalar_to_json(value) for value in array]}


def array_from_json(state):
    """The array that `array_to_json` wrote."""
    dtype = dtype_from_json(state["dtype"])
    if "ticks" in state:
        if not isinstance(dtype, np.dtype) or dtype.kind not in "mM":
            raise ModelFileError(f"Ticks stand where values of {dtype} should.")
        return np.array(state["ticks"], dtype=np.int64).view(dtype)
    values = [scalar_from_json(value) for value in state["values"]]
    if isinstance(dtype, np.dtype):
        if dtype.kind in "SU" and len(values) * dtype.itemsize > TEXT_BYTES:
            raise ModelFileError(f"{len(values)} values of {dtype} are more text than a file holds.")
        array = np.empty(len(values), dtype=dtype)
        for position, value in enumerate(values):  # one by one: a tuple is a value here, not a row
            array[position] = value
        return array
    return pd.array(values, dtype=dtype)


def frame_to_state(frame):
    """A DataFrame with a plain index as JSON and arrays: numbers as they are, all else as codes and distinct values."""
    columns = []
    for name, column in frame.items():
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
            content = {"values": column.to_numpy()}
        else:
            codes, levels = pd.factorize(column)
            content = {"codes": codes.astype(np.int32), "levels": array_to_json(np.asarray(levels.astype(object)))}
        columns.append({"name": scalar_to_json(name), "dtype": dtype_to_json(column.dtype), **content})
    return {"columns": columns}


def frame_from_state(state):
    """The frame that `frame_to_state` wrote."""
    columns, sizes = [], {}
    for column in state["columns"]:
        dtype = dtype_from_json(column["dtype"])
        if "values" in column:
            check(column["values"], Array("biuf", "n_rows", finite=False), "a column", sizes)
            values = pd.Series(column["values"], dtype=dtype)
        else:
            levels = [*array_from_json(column["levels"]), None]  # code -1: missing
            check(column["codes"], Array("i", "n_rows", low=-1, below=len(levels) - 1), "a column", sizes)
            values = pd.Series([levels[code] for code in column["codes"]], dtype=object).astype(dtype)
        columns.append(values)
    names = [scalar_from_json(column["name"]) for column in state["columns"]]
    return pd.concat(columns, axis=1, keys=range(len(columns))).set_axis(names, axis=1)


def _matching(text, pattern):
    if type(text) is not str or len(text) > LONGEST or not re.fullmatch(pattern, text, re.DOTALL):
        raise ModelFileError(f"{str(text)[:40]!r} is not what a file of augment_gen holds there.")
    return text
