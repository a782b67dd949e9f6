"""Images: arrays or tensors of one size, as floats from 0 to 1 in (n, C, H, W), and back in the same form.

Memory: uint8 images are read where they lie, without a copy; any other dtype is kept as one float32 copy.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.nn import functional as F

from augment_gen.codecs.base import Codec
from augment_gen.codecs.fingerprints import fingerprints
from augment_gen.codecs.pillow import PILImages
from augment_gen.dtypes import numpy_dtype, torch_dtype
from augment_gen.errors import InvalidDataError, InvalidTypeError, ModelFileError
from augment_gen.schema import Fields, Real, Text, Whole, check

SIDES = (8, 256)  # smallest and largest height or width, in pixels
CHANNELS = (1, 2, 3, 4)  # grey, grey and alpha, RGB, RGBA
VECTOR_SIDE = 16  # images are averaged down to at most this side where copies are looked for
BLOCK_VALUES = 2**24  # pixel values drawn at a time
PIECE = 256  # images worked on at a time where copies are made, which bounds the memory that takes
LARGEST = 1e30  # of an image's values, so that float32 holds their range
NUMBERS = ("uint", "int", "float", "bfloat")  # what the names of dtypes of pixels begin with
PIL_GREY = ("uint8", "uint16", "int32", "float32")  # dtypes of grey images that PIL holds
FORMAT = Fields(  # what a file says of an `ImageFormat`
    {
        "container": Text(("ndarray", "Tensor", "list", "pil")),
        "layout": Text(("nhw", "nhwc", "nchw")),
        "dtype": Text(),
        "channels": Whole(CHANNELS[0], CHANNELS[-1], size="channels"),
        "height": Whole(*SIDES, size="height"),
        "width": Whole(*SIDES, size="width"),
        "low": Real(),
        "high": Real(),
    }
)
PLANES = {"nhw": "(n, height, width)", "nhwc": "(n, height, width, channels)", "nchw": "(n, channels, height, width)"}


@dataclass(frozen=True)
class ImageFormat:
    """The form in which images came and have to go out.

    Attributes
    ----------
    container : {"ndarray", "Tensor", "list", "pil"}
        A list holds one ndarray per image; "pil" are PIL images.
    layout : {"nhw", "nhwc", "nchw"}
    dtype : str
        numpy's ``dtype.str``, or the name of a torch dtype.
    channels, height, width : int
    low, high : float
        The values that become 0 and 1; nothing outside them goes out.
    """

    container: str
    layout: str
    dtype: str
    channels: int
    height: int
    width: int
    low: float = 0.0
    high: float = 255.0

    @classmethod
    def from_state(cls, state):
        """Of the fields that a file gives; raises a `ModelFileError` where no images could have that format."""
        check(state, FORMAT, "the image format")
        self = cls(**{name: state[name] for name in FORMAT.required})
        if self.container == "Tensor":
            learnable = torch_dtype(self.dtype).itemsize and self.dtype.startswith(NUMBERS)
        else:
            learnable = numpy_dtype(self.dtype).kind in "iuf"
        if self.container == "pil":
            learnable = learnable and (self.is_byte if self.layout != "nhw" else self.dtype_name in PIL_GREY)
        if not learnable or self.low > self.high:
            raise ModelFileError(f"The image format: {self} is one that no images have.")
        if self.layout == "nhw" and self.channels != 1:
            raise ModelFileError(f"The image format: {self.channels} channels, but the layout has no axis for them.")
        return self

    @property
    def size(self):
        """``(channels, height, width)``."""
        return self.channels, self.height, self.width

    @property
    def dtype_name(self):
        """As a person would write it: "uint8"."""
        return self.dtype if self.container == "Tensor" else np.dtype(self.dtype).name

    @property
    def is_integer(self):
        return "int" in self.dtype_name

    @property
    def is_byte(self):
        """Whether the pixels are uint8, which are kept as they are."""
        return self.dtype_name == "uint8"


class ImageCodec(Codec):
    """Grey or colour images of one size, 8 to 256 pixels a side.

    ndarrays are (n, H, W) or (n, H, W, C), tensors (n, H, W) or (n, C, H, W); the other order of axes is recognised, since
    only channels can be fewer than 8. A list may hold arrays or PIL images; the latter go out as `PILImages`. uint8 ranges
    from 0 to 255. Floats range over [0, 1], else [-1, 1], where they lie within; those beyond, and all other integers, keep
    the range that was observed: 12-bit images in uint16 stay 12-bit.

    Attributes
    ----------
    format_ : ImageFormat
    """

    modality = "image"

    @property
    def block_rows(self):
        """As many images as make 64 MB of float32, and at most 4,096."""
        channels, height, width = self.format_.size
        return max(16, min(Codec.block_rows, BLOCK_VALUES // (channels * height * width)))

    @classmethod
    def accepts(cls, X):
        return not isinstance(X, pd.DataFrame) and (_is_pil(X) or np.ndim(X) >= 3)

    def fit(self, X, class_index):
        form, images = _read(X)
        low, high = (0.0, 255.0) if form.is_byte else _value_range(images, form.is_integer)
        self.format_ = replace(form, low=low, high=high)
        return self

    def encode(self, X):
        """Rows: "images" (n, C, H, W), uint8 as it came, or else float32 scaled to [0, 1]."""
        form, images = _read(X)
        self._check_like_fitted(form)
        if form.is_byte:
            return {"images": _as_tensor(images)}
        _value_range(images, form.is_integer)  # refuses NaN and infinity
        return {"images": self._scaled(images)}

    def inputs(self, rows, generator):
        """Dict of "images": float32 (batch, C, H, W) in [0, 1], laid out as convolutions on this device like it."""
        images = rows["images"]
        images = images.float().div_(255) if images.dtype == torch.uint8 else images
        return {"images": images.contiguous(memory_format=torch.channels_last)}

    def decode(self, outputs, class_index, rng):
        """`outputs`: "images" float (n, C, H, W) in [0, 1]."""
        return self.join([self._restored(images) for images in outputs["images"].split(PIECE)])

    def _restored(self, images):
        form = self.format_
        values = images.float() if form.is_byte else images.double()
        values = (form.low + values * (form.high - form.low)).clamp_(form.low, form.high)
        if form.is_integer:
            values = values.round_()
        if form.layout == "nhw":
            values = values[:, 0]
        elif form.layout == "nhwc":
            values = values.permute(0, 2, 3, 1)
        if form.container == "Tensor":
            return values.to(getattr(torch, form.dtype)).contiguous()
        array = np.ascontiguousarray(values.numpy().astype(form.dtype))
        if form.container == "pil":
            return PILImages(array)
        return list(array) if form.container == "list" else array

    def vectors(self, X):
        """float32 (n, p): every channel averaged down to at most 16 x 16, with values from 0 to 1."""
        images = self.encode(X)["images"]
        side = tuple(min(VECTOR_SIDE, length) for length in images.shape[2:])
        small = [
            F.adaptive_avg_pool2d(self.inputs({"images": part}, None)["images"], side).flatten(1)
            for part in images.split(PIECE)
        ]
        return torch.cat(small).numpy() if small else np.zeros((0, images.shape[1] * side[0] * side[1]), np.float32)

    def fingerprints(self, X):
        """Of all pixels in X's own dtype, compared exactly."""
        images = _read(X)[1]
        zero = images.dtype.type(0)  # turns -0.0 to 0.0
        return np.concatenate([fingerprints(images[i : i + PIECE] + zero) for i in range(0, len(images), PIECE)])

    def join(self, parts):
        if isinstance(parts[0], list):
            return [image for part in parts for image in part]
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], PILImages):
            return PILImages(np.concatenate([part.array for part in parts]))
        return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else np.concatenate(parts, dtype=parts[0].dtype)

    def take(self, X, index):
        return [X[i] for i in index] if isinstance(X, (list, tuple)) else X[index]

    def concatenate(self, X, X_new):
        if isinstance(X, (list, tuple, PILImages)):
            return [*X, *X_new]
        if isinstance(X, torch.Tensor):
            return torch.cat([X, X_new.to(X.device)])
        return np.concatenate([X, X_new], dtype=np.asarray(X).dtype)  # numpy would turn a foreign byte order into its own

    def state(self):
        return asdict(self.format_)

    @classmethod
    def from_state(cls, state):
        self = cls()
        self.format_ = ImageFormat.from_state(state)
        return self

    def _check_like_fitted(self, form):
        seen = self.format_
        if form.size != seen.size:
            raise InvalidDataError(
                f"X holds images of {_describe(form)}, but fit saw {_describe(seen)}. Resize or convert them to that."
            )
        if form.is_byte != seen.is_byte or form.is_integer != seen.is_integer:
            raise InvalidDataError(
                f"X holds {form.dtype_name} values, but fit saw {seen.dtype_name}. Convert X to that dtype and its range, "
                f"{seen.low:g} to {seen.high:g}."
            )

    def _scaled(self, images):
        """float32 tensor in [0, 1]; computed piecewise by numpy, so that the result is the only copy."""
        low, span = np.float64(self.format_.low), np.float64(self.format_.high) - self.format_.low or 1.0
        out = np.empty(images.shape, np.float32)
        np.subtract(images, low, out=out, casting="unsafe")
        out /= np.float32(span)
        return torch.from_numpy(out.clip(0, 1, out=out))


def _read(X):
    """The format of X (without its range), and X as an ndarray (n, C, H, W): a view, for all dtypes that numpy has."""
    if isinstance(X, (list, tuple)) and _is_pil(X):
        X = PILImages.stack(X)
    container = _container(X)
    images = X.detach().cpu() if container == "Tensor" else np.asarray(X)
    dtype = str(images.dtype).removeprefix("torch.") if container == "Tensor" else images.dtype.str
    if container == "Tensor":
        images = images.float().numpy() if images.dtype == torch.bfloat16 else images.numpy()
    _check_dtype(images.dtype)
    layout = _layout(images.shape)
    if layout == "nhw":
        images = images[:, None]
    elif layout == "nhwc":
        images = images.transpose(0, 3, 1, 2)
    return ImageFormat(container, layout, dtype, *images.shape[1:]), images


def _container(X):
    if isinstance(X, PILImages):
        return "pil"
    return "Tensor" if isinstance(X, torch.Tensor) else "list" if isinstance(X, (list, tuple)) else "ndarray"


def _is_pil(X):
    return isinstance(X, PILImages) or (isinstance(X, (list, tuple)) and len(X) > 0 and isinstance(X[0], Image.Image))


def _check_dtype(dtype):
    if dtype.kind == "b":
        raise InvalidTypeError(
            "X holds bool images, whose in-between values cannot be written. Give X * 255 as uint8, and threshold the "
            "synthetic images at 128."
        )
    if dtype.kind not in "iuf":
        raise InvalidTypeError(f"X holds {dtype} values, but images need integers or floats. Convert X to uint8 or float32.")


def _layout(shape):
    """Which axes are which: "nhw", "nhwc" or "nchw". Raises where `shape` is no set of images of a size that can be learned."""
    if len(shape) == 4:
        layout = next((name for name, axis in (("nhwc", 3), ("nchw", 1)) if shape[axis] in CHANNELS), None)
        if layout is None:
            raise InvalidDataError(
                f"X of shape {shape} has 4 axes, but neither the last nor the second is one of 1 to 4 channels. Give images "
                f"as {PLANES['nhwc']} in numpy or {PLANES['nchw']} in torch."
            )
        sides = shape[1:3] if layout == "nhwc" else shape[2:]
    elif len(shape) == 3:
        layout, sides = "nhw", shape[1:]
    else:
        raise InvalidDataError(
            f"X of shape {shape} has {len(shape)} axes; images have 3 or 4. Volumes and videos are not supported: give slices."
        )
    if min(sides) < SIDES[0] or max(sides) > SIDES[1]:
        raise InvalidDataError(
            f"X of shape {shape}, read as {PLANES[layout]}, has images of {sides[0]} x {sides[1]} pixels; "
            f"{SIDES[0]} to {SIDES[1]} a side can be learned. Resize or crop the images; if these are no images but tables, "
            "give X as 2-D (n, features)."
        )
    return layout


def _value_range(images, is_integer):
    """The values that become 0 and 1. Raises where there are NaN or infinity (both show in the extremes)."""
    low, high = float(images.min()), float(images.max())
    if not np.isfinite([low, high]).all():
        raise InvalidDataError(
            "X contains NaN or infinity, which images must not. Fill them in (with 0, say), or drop those images."
        )
    if max(-low, high) > LARGEST:
        raise InvalidDataError(f"X holds values from {low:g} to {high:g}; {LARGEST:g} is the most. Scale the images down.")
    if is_integer or high > 1 or low < -1:
        return low, high
    return (0.0, 1.0) if low >= 0 else (-1.0, 1.0)


def _as_tensor(array):
    """A tensor over the array's own memory where torch can use it; it is only ever read."""
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """A read-only array's memory, said to be writable: torch warns of any other, and would have to be silenced process-wide."""

    def __init__(self, array):
        pointer, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (pointer, False)}
        self.array = array  # whose memory it is


def _describe(form):
    return f"{form.height} x {form.width} pixels and {form.channels} channel{'s' if form.channels > 1 else ''}"
