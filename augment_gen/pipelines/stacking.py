"""Images of a folder as one array: what form it has, and which of them cannot be decoded.

Enters: a list of `ImageFile`. Leaves: an ndarray, and why files cannot be decoded.
"""

from collections import Counter

import numpy as np
from tqdm.auto import tqdm

from augment_gen.codecs.dataset import IN_MEMORY, empty_samples
from augment_gen.errors import InvalidDataError, UnreadableImageError
from augment_gen.pipelines.image_files import read_pixels


def decode(files, size=None, verbose=0, in_memory=IN_MEMORY):
    """All pixels as one array, and {path: why} of the files that cannot be decoded.

    Parameters
    ----------
    size : (int, int), optional
        (height, width) to resize to; without it the files must have one size.
    verbose : int
        1 shows a progress bar.
    in_memory : int
        Bytes of pixels above which they are kept in a temporary file.
    """
    colour, alpha = any("RGB" in file.bands for file in files), any(file.bands.endswith("A") for file in files)
    bands = ("RGB" if colour else "L") + ("A" if alpha else "")
    channels = () if bands == "L" else (len(bands),)
    size = size or _one_size(files)
    dtype = np.dtype(np.uint16 if _one_depth(files) == 16 else np.uint8)
    images, failed = empty_samples((len(files), *size, *channels), dtype, in_memory), {}
    for number, file in enumerate(tqdm(files, desc="reading", unit="image", disable=not verbose)):
        try:
            images[number] = read_pixels(file, bands, size)
        except UnreadableImageError as error:
            failed[file.path] = str(error)
    if alpha and (images[..., -1] == 255).all():
        images = images[..., :-1] if colour else images[..., 0]
    return images, failed


def damaged(files):
    """{path: why} of the files that cannot be decoded."""
    failed = {}
    for file in files:
        try:
            read_pixels(file, file.bands, (file.height, file.width))
        except UnreadableImageError as error:
            failed[file.path] = str(error)
    return failed


def form(file, size):
    """What must be the same in all images that become one array."""
    return (file.bits,) if size else (file.bits, file.height, file.width)


def _one_size(files):
    sizes = Counter((file.height, file.width) for file in files)
    if len(sizes) > 1:
        shown = ", ".join(f"{height} x {width} ({n} images)" for (height, width), n in sizes.most_common(5))
        more = f" and {len(sizes) - 5} more" if len(sizes) > 5 else ""
        height, width = sizes.most_common(1)[0][0]
        raise InvalidDataError(
            f"The images have {len(sizes)} sizes (height x width): {shown}{more}. Resize all of them with, say, "
            f"size=({height}, {width})."
        )
    return next(iter(sizes))


def _one_depth(files):
    depths = {file.bits: file.path for file in files}
    if len(depths) > 1:
        raise InvalidDataError(
            f"Some images are 8 bits deep ({depths[8]}) and some 16 ({depths[16]}), which have no common range of values. "
            "Convert them to one depth."
        )
    return next(iter(depths))
