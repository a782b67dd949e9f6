"""PIL images of one size and mode as a sequence over one array.

Enters: PIL images in any mode. Leaves: `PILImages`, which numpy reads as an array and Python as a list of PIL images.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from augment_gen.errors import InvalidDataError

# modes whose pixels are no intensities, and what shows the same picture in intensities
CONVERSIONS = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "I;16B": "I;16"}


def pixels(image, size=None):
    """ndarray (H, W) or (H, W, C) of a PIL image: uint8, or uint16, int32 and float32 for its deep grey modes.

    Resized to `size`, (height, width), where that is given, by antialiased bicubic interpolation.
    """
    mode = CONVERSIONS.get(image.mode, image.mode)
    if image.mode == "P" and "transparency" in image.info:
        mode = "RGBA"
    image = image if mode == image.mode else image.convert(mode)
    return np.asarray(image if size is None else image.resize(size[::-1], Image.Resampling.BICUBIC))


class PILImages(Sequence):
    """PIL images of one size and mode, kept as one array and made one by one when they are asked for.

    Parameters
    ----------
    array : ndarray (n, H, W) or (n, H, W, C)
        uint8, or for grey images also uint16, int32 or float32: what PIL can hold.

    Examples
    --------
    >>> import numpy as np
    >>> from augment_gen.codecs.pillow import PILImages
    >>> images = PILImages(np.zeros((3, 8, 9), np.uint8))
    >>> len(images), images[0].size, np.asarray(images).shape
    (3, (9, 8), (3, 8, 9))
    """

    def __init__(self, array):
        self.array = array

    @classmethod
    def stack(cls, images):
        """Of a list of PIL images.

        Raises
        ------
        InvalidDataError
            They differ in size or mode.
        """
        first = pixels(images[0])
        array = np.empty((len(images), *first.shape), first.dtype)
        for number, image in enumerate(images):
            array[number] = like_first(pixels(image), first, number)
        return cls(array)

    @property
    def shape(self):
        """Of the array."""
        return self.array.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype, copy=copy)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        """A PIL image that is the caller's own, or `PILImages` for a slice or an array of positions."""
        if isinstance(index, (int, np.integer)):
            return Image.fromarray(self.array[index].copy())
        return PILImages(self.array[index])


def like_first(image, first, number):
    """`image`, an array; raises where its shape or dtype is not that of `first`."""
    if image.shape != first.shape or image.dtype != first.dtype:
        raise InvalidDataError(
            f"Images differ, before any transform of their dataset: number {number} is {_describe(image)}, the first is "
            f"{_describe(first)}. Bring them to one size and mode before fit (`rebalance_dataset` resizes PIL images to "
            "image_size=, `read_image_folder` to size=)."
        )
    return image


def _describe(image):
    channels = image.shape[2] if image.ndim == 3 else 1
    return f"{image.shape[0]} x {image.shape[1]} pixels, {channels} channel{'s' if channels > 1 else ''}, {image.dtype}"
