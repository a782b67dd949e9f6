"""Torch datasets of (sample, label) as X and y.

Enters: a map-style dataset, torchvision's included. Leaves: its samples as they are before its transform, decoded once
into one array, and their labels. What would fill the memory is kept in a nameless temporary file and read from there.
"""

import copy
import tempfile
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from augment_gen.codecs.pillow import PILImages, like_first, pixels
from augment_gen.errors import InvalidDataError, InvalidRequestError, InvalidTypeError

IN_MEMORY = 2**31  # bytes of samples above which they are kept in a file
TRANSFORMS = ("transform", "target_transform", "transforms")  # torchvision's names for what a dataset does to its items


def is_dataset(X):
    """Whether X is a dataset of items rather than an array, frame or list of them."""
    if isinstance(X, Dataset):
        return True
    plain = isinstance(X, (list, tuple, str, bytes, dict, PILImages)) or hasattr(X, "__array__") or hasattr(X, "shape")
    return not plain and hasattr(X, "__getitem__") and hasattr(X, "__len__")


def untransformed(dataset):
    """The dataset with nothing done by its transforms, which are found where torchvision's datasets keep them.

    The given dataset is left as it is: what comes back is a shallow copy, or itself where it has none.
    """
    if isinstance(dataset, ConcatDataset):
        return ConcatDataset([untransformed(part) for part in dataset.datasets])
    own = [name for name in TRANSFORMS if getattr(dataset, name, None) is not None]
    if not own and not isinstance(dataset, Subset):
        return dataset
    bare = copy.copy(dataset)
    for name in own:  # not None: some datasets call what they have without asking
        setattr(bare, name, _same_pair if name == "transforms" else _same)
    if isinstance(dataset, Subset):
        bare.dataset = untransformed(dataset.dataset)
    return bare


def transforms_of(dataset):
    """``(transform, target_transform)`` that the dataset applies to its items; None for what it does not.

    Raises
    ------
    InvalidRequestError
        Joined datasets that transform their items differently, or a transform of sample and label together.
    """
    if isinstance(dataset, ConcatDataset):
        found = [transforms_of(part) for part in dataset.datasets]
        if any(one != found[0] for one in found[1:]):
            raise InvalidRequestError(
                "The joined datasets have different transforms, so it is unclear which one synthetic samples should go "
                "through. Give transform= and target_transform=."
            )
        return found[0]
    own = getattr(dataset, "transform", None), getattr(dataset, "target_transform", None)
    if own == (None, None) and getattr(dataset, "transforms", None) is not None:
        raise InvalidRequestError(
            "The dataset has `transforms`, which take sample and label together. Give it `transform` and "
            "`target_transform` instead, or give both here."
        )
    if not isinstance(dataset, Subset):
        return own
    inner = transforms_of(dataset.dataset)
    return tuple(
        outer if before is None else before if outer is None else InTurn(before, outer)
        for before, outer in zip(inner, own, strict=True)
    )


@dataclass(frozen=True)
class InTurn:
    """Two transforms, one after the other: that of a dataset, and that of a subset of it."""

    first: object
    second: object

    def __call__(self, value):
        return self.second(self.first(value))


def read_labels(dataset):
    """The labels of all items, untransformed: a list, or the tensor of a ``TensorDataset``.

    Taken from ``targets`` where there are as many as items, or from ``labels`` where these begin with the label of the first
    item; otherwise every item is read.
    """
    labels = _known_labels(dataset)
    if labels is not None:
        return labels
    bare = untransformed(dataset)
    return [plain_label(sample_and_label(bare, number)[1]) for number in range(len(bare))]


def _known_labels(dataset):
    """Labels that can be had without reading items, or None."""
    if isinstance(dataset, Subset):
        labels = _known_labels(dataset.dataset)
        if isinstance(labels, torch.Tensor):
            return labels[torch.as_tensor(dataset.indices)]
        return None if labels is None else [labels[position] for position in dataset.indices]
    if isinstance(dataset, ConcatDataset):
        parts = [_known_labels(part) for part in dataset.datasets]
        return None if any(part is None for part in parts) else [label for part in parts for label in _as_list(part)]
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return dataset.tensors[1]
    for name in ("targets", "labels"):
        labels = getattr(dataset, name, None)
        if labels is not None and np.ndim(labels) == 1 and len(labels) == len(dataset):
            labels = _as_list(labels)
            if name == "targets" or labels[0] == plain_label(sample_and_label(untransformed(dataset), 0)[1]):
                return labels
    return None


def sample_and_label(dataset, number):
    """Item `number`, checked to be a pair.

    Raises
    ------
    InvalidTypeError
    """
    item = dataset[number]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        what = f"a {type(item).__name__}" + (f" of {len(item)}" if isinstance(item, (tuple, list)) else "")
        raise InvalidTypeError(
            f"Item {number} of the dataset is {what}; each must be a pair (sample, label). Wrap the dataset in one whose "
            "__getitem__ returns such pairs."
        )
    return item


def read_dataset(dataset, image_size=None, in_memory=IN_MEMORY):
    """All samples and labels of a map-style dataset, without its transforms.

    Parameters
    ----------
    dataset : Dataset, or any object with ``__len__`` and ``__getitem__``
        Of pairs (sample, label): a sample is a PIL image, an ndarray or a tensor, all of one shape.
    image_size : int or (int, int), optional
        Side, or (height, width), that PIL images are resized to, by antialiased bicubic interpolation.
    in_memory : int
        Bytes of samples above which they are kept in a temporary file, which goes when nothing refers to it any more.

    Returns
    -------
    X : PILImages, ndarray or tensor (n, ...)
        By what the samples are.
    y : list, or tensor (n,)
        Labels: plain Python values where they are a list.

    Raises
    ------
    InvalidDataError, InvalidTypeError
        No items, items that are no pairs, samples that differ in size; the message says which.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise InvalidTypeError("The dataset is iterable-style. Give a map-style one, with __len__ and __getitem__.")
    if len(dataset) == 0:
        raise InvalidDataError("The dataset is empty. Give one that holds at least two items of each of two classes.")
    bare = untransformed(dataset)
    if isinstance(bare, TensorDataset) and len(bare.tensors) == 2 and image_size is None:
        return bare.tensors
    first = sample_and_label(bare, 0)[0]
    as_array = _reader(first, image_size)
    example = as_array(first)
    samples = empty_samples((len(bare), *example.shape), example.dtype, in_memory)
    labels = []
    for number in range(len(bare)):
        sample, label = sample_and_label(bare, number)
        samples[number] = like_first(as_array(sample), example, number)
        labels.append(plain_label(label))
    if isinstance(first, Image.Image):
        return PILImages(samples), labels
    return (torch.from_numpy(samples) if isinstance(first, torch.Tensor) else samples), labels


def _reader(first, image_size):
    """What turns a sample like `first` into an ndarray."""
    if isinstance(first, Image.Image):
        if image_size is None:
            return pixels
        size = _size(image_size)
        return lambda image: pixels(image, size)
    if image_size is not None:
        raise InvalidRequestError(
            f"image_size resizes PIL images, but the dataset's samples are of type {type(first).__name__}. Resize them in "
            "the dataset."
        )
    if isinstance(first, torch.Tensor):
        return lambda tensor: tensor.detach().cpu().numpy()
    if isinstance(first, np.ndarray):
        return np.asarray
    raise InvalidTypeError(
        f"The dataset's samples are of type {type(first).__name__}; PIL images, arrays and tensors can be learned from."
    )


def _size(image_size):
    sides = (image_size, image_size) if isinstance(image_size, Integral) else tuple(image_size)
    if len(sides) != 2 or not all(isinstance(side, Integral) and side > 0 for side in sides):
        raise InvalidRequestError(f"image_size must be a side or (height, width), in pixels; got {image_size!r}.")
    return tuple(map(int, sides))


def empty_samples(shape, dtype, in_memory):
    if np.prod(shape, dtype=float) * dtype.itemsize <= in_memory:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:  # the mapping outlives the file's name and handle
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def _same(value):
    return value


def _same_pair(sample, label):
    return sample, label


def _as_list(labels):
    return labels.tolist() if isinstance(labels, (torch.Tensor, np.ndarray)) else [plain_label(label) for label in labels]


def plain_label(label):
    """A label as a plain Python value."""
    return label.item() if isinstance(label, (torch.Tensor, np.generic)) and np.ndim(label) == 0 else label
