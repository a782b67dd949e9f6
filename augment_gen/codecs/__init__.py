"""Codecs: between a user's format and tensors. `infer_codec` picks the one for X."""

import numpy as np

from augment_gen.codecs.base import Codec
from augment_gen.codecs.image import ImageCodec
from augment_gen.codecs.table import TableCodec
from augment_gen.errors import InvalidDataError

CODECS = {codec.modality: codec for codec in (TableCodec, ImageCodec)}

__all__ = ["CODECS", "Codec", "ImageCodec", "TableCodec", "infer_codec"]


def infer_codec(X):
    """The codec class for X, by its type and number of axes."""
    for codec in CODECS.values():
        if codec.accepts(X):
            return codec
    raise InvalidDataError(f"X of shape {np.shape(X)} is no table and no set of images.")
