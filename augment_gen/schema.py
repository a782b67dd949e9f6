"""What a file has to hold, said as a value and checked before anything is built from it.

Enters: a state that `persistence.read_state` read, JSON values and arrays, and a schema. Leaves: nothing, or a `ModelFileError`
that names the place. Sizes have names: what is called "n_classes" in one place must be as large wherever it is named again,
so that no number that a file claims is believed unless an array of that size is there.
"""

import math
import sys
from collections import ChainMap
from dataclasses import dataclass

import numpy as np
import torch

from augment_gen.errors import ModelFileError


def check(value, schema, where="the state", sizes=None):
    """Raise a `ModelFileError` unless `value` is what `schema` says; returns the named sizes that were found.

    Parameters
    ----------
    value
        Dicts, lists, JSON scalars, ndarrays and tensors.
    schema : Whole, Real, Truth, Scalar, Text, Maybe, Every, Fields, Array or AnyOf
    where : str
        What to call the place in a message.
    sizes : dict {str: int}, optional
        Named sizes that are known already; those that are found join them.

    Examples
    --------
    >>> import numpy as np
    >>> from augment_gen.schema import Array, Fields, Whole, check
    >>> schema = Fields({"n_classes": Whole(1, 10**6, size="k"), "counts": Array("i", "k", low=0)})
    >>> check({"n_classes": 3, "counts": np.array([5, 2, 9])}, schema)
    {'k': 3}
    >>> check({"n_classes": 10**5, "counts": np.array([5, 2, 9])}, schema)
    Traceback (most recent call last):
    augment_gen.errors.ModelFileError: the state/counts: expected shape (k=100000), found (3).
    """
    sizes = {} if sizes is None else sizes
    schema.check(value, where, sizes)
    return sizes


def refuse(where, expected, found):
    """Raise a `ModelFileError` that says what was expected at a place, and what is there."""
    shown = repr(found) if isinstance(found, (bool, int, float, type(None))) else f"a {type(found).__name__}"
    shown = f"{found[:40]!r}" if isinstance(found, str) else shown if len(shown) < 60 else "a number of many digits"
    raise ModelFileError(f"{where}: expected {expected}, found {shown}.")


def _match(where, size, n, sizes):
    """Remember `n` as the size of that name; raise where it was another."""
    if sizes.setdefault(size, n) != n:
        raise ModelFileError(f"{where}: expected {size}={sizes[size]}, found {n}.")


@dataclass(frozen=True)
class Whole:
    """An int from `low` to `high`, both included; the size of that name where one is given."""

    low: int = 0
    high: int = 2**62
    size: str | None = None

    def check(self, value, where, sizes):
        if type(value) is not int or not self.low <= value <= self.high:
            refuse(where, f"a whole number from {self.low} to {self.high}", value)
        if self.size:
            _match(where, self.size, value, sizes)


@dataclass(frozen=True)
class Real:
    """A number from `low` to `high`, by default a finite one."""

    low: float = -sys.float_info.max
    high: float = sys.float_info.max

    def check(self, value, where, sizes):
        if type(value) not in (int, float) or not self.low <= value <= self.high:
            refuse(where, f"a number from {self.low:g} to {self.high:g}", value)


@dataclass(frozen=True)
class Truth:
    """True or false."""

    def check(self, value, where, sizes):
        if type(value) is not bool:
            refuse(where, "true or false", value)


@dataclass(frozen=True)
class Scalar:
    """None, a str, a bool, or any number, NaN and infinity included."""

    def check(self, value, where, sizes):
        if value is not None and type(value) not in (str, bool, int, float):
            refuse(where, "a single value", value)


@dataclass(frozen=True)
class Text:
    """A str, one of those in `among` where there are any."""

    among: tuple[str, ...] = ()

    def check(self, value, where, sizes):
        if type(value) is not str or (self.among and value not in self.among):
            refuse(where, f"one of {', '.join(self.among)}" if self.among else "text", value)


@dataclass(frozen=True)
class Maybe:
    """None, or what `schema` says."""

    schema: object

    def check(self, value, where, sizes):
        if value is not None:
            self.schema.check(value, where, sizes)


@dataclass(frozen=True)
class AnyOf:
    """What at least one of the schemas says."""

    schemas: tuple

    def check(self, value, where, sizes):
        for schema in self.schemas[:-1]:
            trial = dict(sizes)
            try:
                schema.check(value, where, trial)
            except ModelFileError:
                continue
            sizes.update(trial)
            return
        self.schemas[-1].check(value, where, sizes)


@dataclass(frozen=True)
class Every:
    """A list of which every item is as `schema` says. Sizes that only its items name may differ between them."""

    schema: object
    size: str | None = None

    def check(self, value, where, sizes):
        if type(value) is not list:
            refuse(where, "a list", value)
        if self.size:
            _match(where, self.size, len(value), sizes)
        for number, item in enumerate(value):
            self.schema.check(item, f"{where}/{number}", ChainMap({}, sizes))


@dataclass(frozen=True)
class Fields:
    """A dict with these names, checked in their order; further names are let pass, and no reader asks for them.

    `optional` names may be absent.
    """

    required: dict
    optional: dict | None = None

    def check(self, value, where, sizes):
        if type(value) is not dict:
            refuse(where, "a dict", value)
        missing = [name for name in self.required if name not in value]
        if missing:
            raise ModelFileError(f"{where}: {', '.join(missing)} not there.")
        for name, schema in {**self.required, **(self.optional or {})}.items():
            if name in value:
                schema.check(value[name], f"{where}/{name}", sizes)


@dataclass(frozen=True, init=False)
class Array:
    """An ndarray, or a tensor where that is said.

    Parameters
    ----------
    kinds : str
        Allowed kinds of its dtype, as numpy's ``dtype.kind``: of "b", "i", "u", "f".
    *shape : int or str
        One per axis: its length, or the name of that.
    low : number, optional
        The least value.
    below : int or str, optional
        What every value is less than, or the name of that size.
    finite : bool
        Whether NaN and infinity are refused.
    tensor : bool
        Whether it has to be a tensor instead of an ndarray.
    """

    kinds: str
    shape: tuple
    low: float | None
    below: int | str | None
    finite: bool
    tensor: bool

    def __init__(self, kinds, *shape, low=None, below=None, finite=True, tensor=False):
        given = {"kinds": kinds, "shape": shape, "low": low, "below": below, "finite": finite, "tensor": tensor}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def check(self, value, where, sizes):
        if not isinstance(value, torch.Tensor if self.tensor else np.ndarray):
            refuse(where, "a tensor" if self.tensor else "an array", value)
        if dtype_kind(value) not in self.kinds:
            refuse(where, f"an array of kind {self.kinds!r}", str(value.dtype))
        expected = [sizes.setdefault(side, n) if isinstance(side, str) else side for side, n in zip(self.shape, value.shape)]  # noqa: B905
        if list(value.shape) != expected or len(value.shape) != len(self.shape):
            names = [f"{side}={sizes[side]}" if side in sizes else str(side) for side in self.shape]
            raise ModelFileError(f"{where}: expected shape ({', '.join(names)}), found ({', '.join(map(str, value.shape))}).")
        if not math.prod(value.shape):
            return
        if self.finite and dtype_kind(value) == "f" and not bool((torch if _is_tensor(value) else np).isfinite(value).all()):
            raise ModelFileError(f"{where}: holds NaN or infinity.")
        below = sizes[self.below] if isinstance(self.below, str) else self.below
        if (self.low is not None and value.min() < self.low) or (below is not None and value.max() >= below):
            raise ModelFileError(f"{where}: values from {value.min()} to {value.max()}, of which some cannot be.")


def dtype_kind(array):
    """numpy's ``dtype.kind`` of an ndarray or tensor."""
    if not _is_tensor(array):
        return array.dtype.kind
    if array.dtype == torch.bool:
        return "b"
    if array.dtype.is_complex:
        return "c"
    return "f" if array.dtype.is_floating_point else "i" if array.dtype.is_signed else "u"


def _is_tensor(array):
    return isinstance(array, torch.Tensor)
