"""A pool's samples and labels in the form that a dataset's own have."""

import sys

import numpy as np
import torch
from PIL import Image

from augment_gen.codecs.image import CHANNELS
from augment_gen.codecs.pillow import pixels
from augment_gen.errors import InvalidRequestError


class SampleForm:
    """Makes samples like one of a dataset out of a pool's.

    Parameters
    ----------
    example : PIL image, ndarray or tensor
        A sample of the dataset; an image, or a row of a table with one axis.
    pool : SyntheticPool
    same_size : bool
        Whether images must have the example's height and width.

    Raises
    ------
    InvalidRequestError
        The pool's samples differ in shape or dtype.
    """

    def __init__(self, example, pool, same_size=True):
        self.pool = pool
        array = pixels(example) if isinstance(example, Image.Image) else example
        self.kind = "pil" if isinstance(example, Image.Image) else "tensor" if isinstance(example, torch.Tensor) else "array"
        self.wrap_like = example if type(example) is not torch.Tensor and self.kind == "tensor" else None
        self.dtype = str(array.dtype).removeprefix("torch.")
        self.layout = _layout(tuple(array.shape), self.kind)
        found = self.all()[0]
        shapes = [tuple(one.shape) for one in (array, found)]
        if not same_size and self.layout != "row":
            shapes = [[side for axis, side in zip(self.layout, shape, strict=True) if axis == "c"] for shape in shapes]
        found_dtype = str(found.dtype).removeprefix("torch.")
        if shapes[0] != shapes[1] or found_dtype != self.dtype:
            raise InvalidRequestError(
                f"The dataset's samples are of shape {tuple(array.shape)} and {self.dtype}, but the generator draws "
                f"{tuple(found.shape)} and {found_dtype}. Fit a generator on the dataset itself: give one that is not fitted."
            )

    @property
    def gives_views(self):
        """Whether the samples are plain tensors, of which `all` can be indexed as a ``TensorDataset`` indexes its own."""
        return self.kind == "tensor" and self.wrap_like is None

    def items(self, numbers):
        """List of the pool's samples at these positions, in its order; the caller's own, to change at will."""
        batch = self.all()[numbers]  # a copy, gathered at once
        if self.kind == "pil":
            return [Image.fromarray(image) for image in batch.numpy()]
        if self.kind == "array":
            return list(batch)
        samples = batch.unbind()
        return list(samples) if self.wrap_like is None else [_wrapped(sample, self.wrap_like) for sample in samples]

    def all(self):
        """All samples, a view: a tensor, or an ndarray where the dataset holds those."""
        if self.layout == "row":
            rows = self.pool.rows()
            return torch.as_tensor(rows) if self.kind == "tensor" else np.asarray(rows)
        images = self.pool.tensors()
        if self.layout == "hwc":
            images = images.permute(0, 2, 3, 1)
        elif self.layout == "hw" and images.shape[1] == 1:
            images = images[:, 0]
        return images.numpy() if self.kind == "array" else images


def labels_like(labels, example):
    """`labels`, plain Python values, in the type of the label `example`, so that they collate: a list, or a tensor of them."""
    if isinstance(example, torch.Tensor):
        return torch.tensor(labels, dtype=example.dtype).reshape(len(labels), *example.shape)
    return [type(example)(label) for label in labels] if isinstance(example, np.generic) else list(labels)


def _layout(shape, kind):
    if len(shape) < 2:
        return "row"
    if len(shape) == 2:
        return "hw"
    first = kind == "tensor" if shape[0] in CHANNELS and shape[2] in CHANNELS else shape[0] in CHANNELS
    return "chw" if first else "hwc"


def _wrapped(tensor, like):
    """A tensor of torchvision's own types, which must have been imported for `like` to exist."""
    if "torchvision" not in sys.modules:
        return tensor
    from torchvision import tv_tensors

    return tv_tensors.wrap(tensor, like=like) if isinstance(like, tv_tensors.TVTensor) else tensor
