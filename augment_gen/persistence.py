"""One file for a fitted generator or a pool: safetensors with a JSON header, and no pickle.

Enters: a nested dict of JSON values and arrays. Leaves: that dict again. Arrays become tensors of the file, named by
their path in the dict; the rest is JSON in the file's metadata. Reading executes nothing.
"""

import json
import os
import re
import secrets
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from augment_gen.errors import ModelFileError

FORMAT = "augment_gen"
FORMAT_VERSION = 1
NUMBERS = r"[<>|][biuf]\d{1,2}"  # dtype.str of what is written as it is
TIMES = r"[<>][mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"  # dtypes that are written as int64
MODEL = "model"  # the kind of a file that does not name one
LONGEST_HEADER = 90_000_000  # bytes of JSON; safetensors refuses to read files with headers above 100 MB
ASIDE = ".augment_gen-"  # what names of unfinished files begin with; short, so that any name that fits is written


def write_state(path, state, kind=MODEL):
    """Write `state` to `path`: aside first, then renamed over it, so that a crash leaves the old file or the new one."""
    tensors = {}
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "state": _split(state, "", tensors)}
    text = json.dumps(header, allow_nan=False)
    if len(text) > LONGEST_HEADER:
        raise ModelFileError(
            f"The state has {len(text):,} bytes of text, such as names and distinct values; a file holds {LONGEST_HEADER:,}. "
            "Drop columns in which nearly every row has another text."
        )
    metadata = {"augment_gen": text}
    with written_aside(path) as aside:
        try:
            save_file(tensors, aside, metadata=metadata)
        except SafetensorError as error:  # a full disk, as it is called there
            raise OSError(f"{str(path)!r} could not be written: {error}") from error


@contextmanager
def written_aside(path):
    """The name of a file beside `path` to write to; it takes the place of `path` at the end of the with-block, or is gone.

    It is flushed to the disk first, so that a crash leaves the old file or the whole new one.
    """
    path = Path(path)
    aside = str(path.parent / f"{ASIDE}{secrets.token_hex(8)}.part")
    os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield aside
        _flush(aside)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def read_state(path, kind=MODEL, mapped=False):
    """The state that `write_state` wrote, arrays as numpy arrays and tensors where they were.

    Parameters
    ----------
    path : str or path-like
    kind : str
        What the file has to hold.
    mapped : bool
        Leave tensors in the file, mapped into memory, rather than copy them.

    Raises
    ------
    FileNotFoundError
    ModelFileError
        Truncated, foreign, damaged, of another kind, or written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {kind} file {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "augment_gen" not in metadata:
                raise ModelFileError(f"{path.name} is a safetensors file, but not one that augment_gen wrote.")
            header = json.loads(metadata["augment_gen"], parse_constant=_refuse_constant)
            _check_header(header, path, kind)
            # a copy lies aligned in memory as it did before saving, so that products round alike, to the last bit
            tensors = {name: file.get_tensor(name) if mapped else file.get_tensor(name).clone() for name in file.keys()}
            return _join(header["state"], "", tensors)
    except (SafetensorError, json.JSONDecodeError, RecursionError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{path.name} is no {kind} file of augment_gen, or it is damaged or cut short ({type(error).__name__}: {error})."
        ) from error


def _check_header(header, path, kind):
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"{path.name} does not carry augment_gen's header.")
    version = header.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelFileError(f"{path.name} names no format version that can be read: {str(version)[:40]!r}.")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path.name} has format version {version}; this augment_gen reads up to {FORMAT_VERSION}. Upgrade augment_gen."
        )
    found = header.get("kind", MODEL)
    if found != kind:
        found = str(found)[:40]
        openers = {MODEL: "augment_gen.load", "pool": "SyntheticPool.open"}
        raise ModelFileError(f"{path.name} holds a {found}, not a {kind}. Read it with {openers.get(found, 'what wrote it')}.")


def _split(value, name, tensors):
    """JSON for `value`; arrays go to `tensors` and leave {"$": kind} behind."""
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key == "$":
                raise ModelFileError(f"The key {key!r} of {name or 'the state'} cannot be written to a model file.")
        return {key: _split(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"$": "tensor"}
    if isinstance(value, np.ndarray):
        dtype = value.dtype.str
        if value.dtype.kind not in "biufmM":
            raise ModelFileError(
                f"The array {name.strip('/')} of dtype {value.dtype} cannot be written: give numbers or times."
            )
        value = value.astype(value.dtype.newbyteorder("="))
        tensors[name] = torch.from_numpy(np.array(value.view(np.int64) if value.dtype.kind in "mM" else value, order="C"))
        return {"$": "array", "dtype": dtype}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"$": "float", "value": repr(value)}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ModelFileError(
        f"{name.strip('/').split('/')[-1]}={value!r} of type {type(value).__name__} cannot be written to a model file."
    )


def _join(value, name, tensors):
    if isinstance(value, list):
        return [_join(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: _join(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if value["$"] == "float" and value["value"] in ("nan", "inf", "-inf"):
        return float(value["value"])
    if value["$"] == "tensor":
        return tensors[name]
    if value["$"] != "array":
        raise ModelFileError(f"{name.strip('/')} is marked as something that no file of augment_gen holds.")
    return _as_written(tensors[name].numpy(), value["dtype"], name)


def _as_written(array, dtype, name):
    """`array` in the dtype that the header names, which holds the same numbers: other bytes in order, or times for ticks."""
    if re.fullmatch(NUMBERS, dtype) and np.dtype(dtype).newbyteorder("=") == array.dtype:
        return array.astype(dtype, copy=False)
    if array.dtype == np.int64 and re.fullmatch(TIMES, dtype):
        return array.view(dtype)
    raise ModelFileError(f"{name.strip('/')} is of dtype {array.dtype}, but the header says {dtype[:40]!r}.")


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def _flush(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
