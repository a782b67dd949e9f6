"""One image file: what its header says, its pixels, and how one is written.

Enters: a PNG, JPEG, TIFF or BMP file, 8 or 16 bits deep. Leaves: pixels in one of five forms (grey or RGB of 8 bits, each
with or without alpha, and 16-bit grey), or an `UnreadableImageError` that says why not. Writing is atomic.
"""

import io
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from augment_gen.errors import UnreadableImageError
from augment_gen.persistence import written_aside
from augment_gen.pipelines.provenance import KEY, png_chunk

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
FORMATS = ["PNG", "JPEG", "TIFF", "BMP"]  # no other decoder of Pillow is ever called
SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap height and width
DEEP = {"I;16", "I;16L", "I;16B", "I;16N", "I"}  # grey of more than 8 bits; "I" may hold 32, which is checked
GREY = {"1", "L"}
MAX_SCANS = 64  # of a progressive JPEG; encoders write about 10


@dataclass(frozen=True)
class ImageFile:
    """What the header of an image file says.

    Attributes
    ----------
    path : Path
    label : str
        Name of the class folder.
    height, width : int
        Upright: after the EXIF orientation.
    bands : {"L", "LA", "RGB", "RGBA"}
        The fewest that hold what is in the file. Palettes count as the colours in them, CMYK and YCbCr as RGB.
    bits : {8, 16}
    synthetic : bool
        Whether the file says that augment_gen drew it.
    """

    path: Path
    label: str
    height: int
    width: int
    bands: str
    bits: int
    synthetic: bool


def read_header(path, label):
    """The `ImageFile` at `path`; the pixels are not decoded.

    Raises
    ------
    UnreadableImageError
        No such image, or one of a kind that would lose something: 16 bits of colour, floats, several pages.
    """
    with _opened(path) as image:
        _refuse_lossy(image)
        width, height = image.size
        # looking for the EXIF block of a PNG that has none before its pixels would decode those
        if image.format != "PNG" or "exif" in image.info:
            if image.getexif().get(0x0112) in SIDEWAYS:
                width, height = height, width
        bits = 16 if image.mode in DEEP else 8
        return ImageFile(path, label, height, width, _bands(image), bits, KEY in image.info)


def read_pixels(file, bands, size):
    """Pixels of an `ImageFile`: uint8 (H, W) or (H, W, C) in the given bands, or uint16 (H, W) where it is 16 bits deep.

    Parameters
    ----------
    file : ImageFile
    bands : {"L", "LA", "RGB", "RGBA"}
    size : (int, int)
        (height, width) that an image of another size is resized to, antialiased.

    Raises
    ------
    UnreadableImageError
        The pixels are cut short or damaged.
    """
    with _opened(file.path) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
        if (image.height, image.width) != (file.height, file.width):
            raise UnreadableImageError("its EXIF orientation stands behind its pixels and turns it; save it upright")
        if file.bits == 16:
            return _resized(_deep(image), size)
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode not in ("1", "L", "LA", "RGB", "RGBA"):
            image = image.convert("RGB")
        image = image if image.mode == bands else image.convert(bands)
        if (image.height, image.width) != size:
            image = image.resize(size[::-1], Image.Resampling.BICUBIC)
        return np.asarray(image)


def write_png(path, image, record=None):
    """Write pixels, uint8 (H, W) or (H, W, C) or uint16 (H, W), as a PNG; `record` goes into its text chunk."""
    with written_aside(path) as aside:
        Path(aside).write_bytes(png_bytes(image, record))


def png_bytes(image, record=None):
    """The bytes that `write_png` writes."""
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, "PNG", pnginfo=None if record is None else png_chunk(record))
    return memory.getvalue()


@contextmanager
def _opened(path):
    """The image, and whatever Pillow trips over inside the with-block as an UnreadableImageError."""
    try:
        if not path.is_file():
            raise UnreadableImageError("no regular file, or a link to nothing")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
        with image:
            yield image
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("no PNG, JPEG, TIFF or BMP image, whatever its name says") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(f"too large: {error}") from error
    except Exception as error:  # decoders raise nearly anything for a damaged file: OSError, SyntaxError, struct.error, ...
        raise UnreadableImageError(f"damaged or cut short ({error})") from error


def _refuse_lossy(image):
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels; convert it to 8 or 16 bits")
    raw = "".join(str(tile[3]) for tile in image.tile)
    depth = getattr(image, "tag_v2", {}).get(258, (8,))  # a TIFF's bits per sample
    if image.mode not in DEEP and (";16" in raw or max(depth) > 8):
        raise UnreadableImageError(
            "more than 8 bits per colour channel, of which Pillow reads only 8; convert it to 8-bit colour or 16-bit grey"
        )
    if image.format == "TIFF" and _has_second_page(image):
        raise UnreadableImageError("several pages; save each as a file of its own")
    if image.info.get("progressive") and _n_scans(image.filename) > MAX_SCANS:
        raise UnreadableImageError(f"more than {MAX_SCANS} scans, which a JPEG that takes hours to decode has; save it again")
    if image.mode not in DEEP | GREY | {"LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}:
        raise UnreadableImageError(f"colour mode {image.mode}; convert it to grey or RGB")


def _has_second_page(image):
    """Whether there is one; to count them all takes seconds for a file that claims thousands."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _n_scans(path):
    """How often a progressive JPEG goes over all pixels: each pass costs as much as an image, and takes 100 bytes."""
    return Path(path).read_bytes().count(b"\xff\xda")


def _bands(image):
    if image.mode in DEEP | GREY:
        colour, alpha = False, False
    elif image.mode == "P":
        palette = np.reshape(image.getpalette(), (-1, 3))
        colour, alpha = bool((palette != palette[:, :1]).any()), False
    else:
        colour, alpha = image.mode != "LA", image.mode in ("LA", "RGBA")
    alpha = alpha or ("transparency" in image.info and image.mode not in DEEP)
    return ("RGB" if colour else "L") + ("A" if alpha else "")


def _deep(image):
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise UnreadableImageError(f"values from {pixels.min()} to {pixels.max()}, more than 16 bits hold; rescale it")
    return pixels.astype(np.uint16)


def _resized(pixels, size):
    if pixels.shape == size:
        return pixels
    image = Image.fromarray(pixels.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.rint(np.asarray(image)).clip(0, 65535).astype(np.uint16)
