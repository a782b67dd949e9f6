"""What the image transforms share: labels as plain values, images picked by label, and made like those beside them.

Enters: labels in whatever form a batch carries them, a pool, images as tensors (n, C, H, W). Leaves: synthetic images of
those labels with the channels, size, dtype and range of values of the images beside them. Whoever calls draws the noise.

Ranges: integers go from 0 to the largest value of their dtype, floats from 0 to 1, as in torchvision and albumentations;
but floats beside a pool (or generator) of floats are taken to have that pool's range.
"""

from collections import defaultdict
from numbers import Real

import numpy as np
import torch
from torch.nn import functional as F

from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError, UnknownLabelError
from augment_gen.pipelines.pool import SyntheticPool

LABEL_TYPES = (int, str, bytes, bool)
OPEN_END = 0.5  # of the range of values, by which resized or brightened images may overshoot before they are refused


# ------------------------------------------------------------------ parameters
def check_number(value, name, low, high, open_low=False):
    """`value` as a float; raises where it is no number from `low` (exclusive where `open_low`) to `high`."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (open_low and value == low):
        limits = f"above {low:g}" if open_low else f"from {low:g} to {high:g}"
        raise InvalidParameterError(f"{name} must be a number {limits}; got {value!r}.")
    return float(value)


def check_pool(pool):
    """`pool`; raises where it is no `SyntheticPool` of images."""
    if not isinstance(pool, SyntheticPool):
        raise InvalidTypeError(
            f"pool must be a SyntheticPool; got {type(pool).__name__}. Draw one: SyntheticPool(generator, {{label: number}})."
        )
    if not pool.is_image:
        raise InvalidTypeError("pool holds rows of a table; this transform needs a pool of images.")
    return pool


def check_labels(labels, known, holder):
    """`labels` as a list of plain values, or None; raises where one is not among the `known` labels of the `holder`."""
    if labels is None:
        return None
    if isinstance(labels, (str, bytes)) or np.ndim(labels) == 0:
        raise InvalidParameterError(f"labels must be a list of labels, or None; got {labels!r}.")
    labels = plain_labels(list(labels))
    unknown = [label for label in labels if label not in known]
    if unknown or not labels:
        raise UnknownLabelError(f"labels={labels!r}, but {holder} has {_listed(known)}. Name one or more of those.")
    return labels


# ---------------------------------------------------------------------- labels
def plain_labels(labels):
    """A list of plain Python values from a label, or from a list, tuple, array or tensor of labels, (n,) or (n, 1).

    Raises
    ------
    InvalidDataError
        Floats or a matrix: soft or one-hot labels, which name no one class.
    InvalidTypeError
        Anything else that is no int, string or bool.
    """
    if isinstance(labels, (torch.Tensor, np.ndarray, np.generic)):
        floating = labels.is_floating_point() if isinstance(labels, torch.Tensor) else labels.dtype.kind == "f"
        if floating or labels.ndim > 2 or (labels.ndim == 2 and labels.shape[1] != 1):
            raise InvalidDataError(
                f"Labels of shape {tuple(labels.shape)} and {labels.dtype} are soft or one-hot: they name no one class. Put "
                "this transform before MixUp, CutMix and one-hot encoding, while labels are integers (n,) or strings; or, if "
                "these are no labels at all, say where those are: labels_getter=a function of the sample."
            )
        return [_checked(label) for label in labels.reshape(-1).tolist()]
    if isinstance(labels, (list, tuple)):
        return [_one(label) for label in labels]
    return [_checked(labels)]


def wanted(labels, only, known, holder):
    """list of bool: whether an image of each of the `labels` may be changed.

    Raises
    ------
    UnknownLabelError
        `only` is None, so that all may be, and a label is not among the `known` ones of the `holder`.
    """
    if only is not None:
        only = set(only)
        return [label in only for label in labels]
    among = set(known)
    unknown = [label for label in dict.fromkeys(labels) if label not in among]
    if unknown:
        hint = ""
        if {type(label) for label in unknown}.isdisjoint(type(label) for label in known):
            hint = " They are of another type: let a labels_getter turn yours into those, or fit the generator on yours."
        raise UnknownLabelError(
            f"{holder.capitalize()} has no label {_listed(unknown)}; it has {_listed(known)}.{hint} To leave images of other "
            "labels as they are, name those to be changed: labels=[...]."
        )
    return [True] * len(labels)


def _one(label):
    values = plain_labels(label)
    if len(values) != 1:
        raise InvalidDataError(f"Every image needs one label; got {label!r}.")
    return values[0]


def _checked(label):
    if not isinstance(label, LABEL_TYPES):
        raise InvalidTypeError(f"A label must be an int, a string or a bool; got {type(label).__name__}.")
    return label


def _listed(labels):
    labels = list(labels)
    return ", ".join(map(repr, labels[:20])) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")


# ---------------------------------------------------------------------- images
def pick(pool, labels, fractions):
    """Images of the pool, (n, C, H, W) in its dtype: for each of n `labels` the one that lies that `fraction` down its list.

    Parameters
    ----------
    fractions : float64 tensor or array (n,)
        From 0, and below 1.
    """
    places, images = defaultdict(list), None
    for place, label in enumerate(labels):
        places[label].append(place)
    fractions = torch.as_tensor(fractions, dtype=torch.float64)
    for label, mine in places.items():
        of_label = pool.tensors(label)
        if images is None:
            images = of_label.new_empty((len(labels), *of_label.shape[1:]))
        rows = (fractions[mine] * len(of_label)).long().clamp_(max=len(of_label) - 1)
        _bits(images)[mine] = _bits(of_label)[rows]
    return images


def take(images, rows):
    """The images at the positions `rows`."""
    return _bits(images)[rows].view(images.dtype)


def with_rows(images, rows, changed):
    """A copy of `images` in which those at the positions `rows` are the `changed` ones."""
    out = images.clone()
    _bits(out)[rows] = _bits(changed)
    return out


def make_like(synthetic, images, form, resize, name):
    """The `synthetic` images, of the format `form`, with the channels, size, dtype, range and device of `images`.

    Parameters
    ----------
    synthetic, images : tensors (n, C, H, W)
    form : ImageFormat
    resize : bool
        Whether images of another size may be resized.
    name : str
        The transform, for errors.
    """
    check_values(images, form, name)
    synthetic = _with_channels(synthetic, images.shape[1], name)
    check_size(images, synthetic.shape[2:], resize, name)
    synthetic = resized(synthetic, images.shape[2:])
    ends = (form.low, form.high)
    return rescaled(synthetic, images.dtype, source=ends).to(images.device, non_blocking=True)


def check_values(images, form, name):
    """Refuse bool and complex images, and floats far outside the range that they are taken to have."""
    if images.dtype == torch.bool or images.is_complex():
        raise InvalidTypeError(f"{name} needs images of integers or floats; got {images.dtype}.")
    low, high = (0.0, 1.0) if form.is_integer else (form.low, form.high)
    if not images.is_floating_point() or (low, high) not in ((0.0, 1.0), (-1.0, 1.0)):
        return
    least, most = (value.item() for value in images.aminmax())
    slack = OPEN_END * (high - low)
    if least < low - slack or most > high + slack:
        raise InvalidDataError(
            f"{name} takes float images to range from {low:g} to {high:g}, as its {form.dtype_name} images do once they are "
            f"floats; these range from {least:.3g} to {most:.3g}. Put it before Normalize, and scale images to that range."
        )


def rescaled(images, dtype, *, source=(0.0, 1.0), target=(0.0, 1.0)):
    """`images` in another `dtype`; between floats and integers the values are scaled.

    Parameters
    ----------
    source, target : (float, float)
        The range that the values of `images`, and of what comes out, have where they are floats.
    """
    if images.dtype == dtype or (images.is_floating_point() and dtype.is_floating_point):
        return images.to(dtype)
    low, high = source if images.is_floating_point() else (0, torch.iinfo(images.dtype).max)
    new_low, new_high = target if dtype.is_floating_point else (0, torch.iinfo(dtype).max)
    values = (images.to(torch.float32) - low) * ((new_high - new_low) / ((high - low) or 1)) + new_low
    return values.to(dtype) if dtype.is_floating_point else _rounded(values, dtype)


def blended(images, synthetic, weights):
    """``weights * images + (1 - weights) * synthetic``, in the dtype of `images`; weights float (n,)."""
    weights = weights.to(images.device, torch.float32)[:, None, None, None]
    values = torch.lerp(synthetic.float(), images.float(), weights)
    return values.to(images.dtype) if images.is_floating_point() else _rounded(values, images.dtype)


def check_size(images, own, resize, name):
    """Refuse `images` of another size than `own`, (height, width), unless they may be resized."""
    size = tuple(images.shape[2:])
    if size != tuple(own) and not resize:
        raise InvalidDataError(
            f"{name} got images of {size[0]} x {size[1]} pixels where its own have {own[0]} x {own[1]}. Pass resize=True, or "
            "put it where images have that size."
        )


def resized(images, size):
    """`images` at `size`, (height, width), by antialiased bilinear interpolation."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    values = F.interpolate(images.float(), size=tuple(size), mode="bilinear", antialias=True)
    return values.to(images.dtype) if images.is_floating_point() else _rounded(values, images.dtype)


def _with_channels(images, n_channels, name):
    own = images.shape[1]
    if own == n_channels:
        return images
    if own == 1 and n_channels == 3:
        return images.expand(-1, 3, -1, -1)
    raise InvalidDataError(
        f"{name} got images of {n_channels} channel(s) where its own have {own}. Grey ones fit RGB images, no others do: "
        f"convert yours to {own} channel(s), or fit the generator on images of {n_channels}."
    )


def _rounded(values, dtype):
    limits = torch.iinfo(dtype)
    return values.round_().clamp_(limits.min, limits.max).to(dtype)


def _bits(images):
    """A view in a dtype that torch can index: it has few operations for uint16 and wider."""
    other = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}.get(images.dtype)
    return images if other is None else images.view(other)
