"""Codecs: between a user's format and tensors. `infer_codec` picks the one for X."""

import numpy as np
from PIL import Image

from augment_gen.codecs.base import Codec
from augment_gen.codecs.dataset import is_dataset, read_dataset
from augment_gen.codecs.image import ImageCodec
from augment_gen.codecs.pillow import PILImages
from augment_gen.codecs.table import TableCodec
from augment_gen.errors import InvalidDataError, InvalidRequestError

CODECS = {codec.modality: codec for codec in (TableCodec, ImageCodec)}

__all__ = ["CODECS", "Codec", "ImageCodec", "TableCodec", "infer_codec", "read"]


def infer_codec(X):
    """The codec class for X, by its type and number of axes."""
    for codec in CODECS.values():
        if codec.accepts(X):
            return codec
    raise InvalidDataError(f"X of shape {np.shape(X)} is no table and no set of images.")


def read(X, y):
    """X and y as they are; a dataset as its samples and labels, a list of PIL images as `PILImages`.

    Raises
    ------
    InvalidRequestError
        A dataset, and labels beside it.
    """
    if is_dataset(X):
        if y is not None:
            raise InvalidRequestError("Give either a dataset, which has its own labels, or X and y, not both.")
        return read_dataset(X)
    if isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], Image.Image):
        return PILImages.stack(X), y
    return X, y
