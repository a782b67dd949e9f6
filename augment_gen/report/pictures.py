"""Images of the report: grids of real and synthetic ones, and nearest neighbours, as small PNGs.

Enters: images in the user's format. Leaves: `Picture` objects.
"""

import base64
import io
import json
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch.nn import functional as F

from augment_gen.codecs import infer_codec
from augment_gen.report.card import SYNTHETIC

MAX_CLASSES, MAX_IMAGES = 12, 8  # of a grid: classes, and images of each kind
MAX_SIDE = 64  # pixels; larger images are averaged down
MIN_SHOWN = 56  # pixels of the page that the side of an image takes at least


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes
    ----------
    content : bytes
    alt : str
    width, height : int
        Pixels that it takes on the page.
    """

    content: bytes
    alt: str
    width: int
    height: int

    @property
    def uri(self):
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"


class Images:
    """Images in any format of `ImageCodec`, of which some are looked at.

    Parameters
    ----------
    X : images
        What the range of values is taken from, where it is not fixed by the dtype.
    """

    def __init__(self, X):
        self.codec = infer_codec(X)().fit(X, None)

    def pixels(self, X, rows):
        """uint8 (len(rows), H, W, C): the images at those positions, at most 64 pixels a side."""
        images = self.codec.encode(self.codec.take(X, np.asarray(rows, dtype=np.int64)))["images"]
        images = images.float() / (255 if images.dtype == torch.uint8 else 1)
        scale = MAX_SIDE / max(images.shape[2:])
        if scale < 1:
            side = tuple(max(1, round(length * scale)) for length in images.shape[2:])
            images = F.interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)
        return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def picture(pixels, alt, synthetic=False):
    """A `Picture` of one image, uint8 (H, W, C), scaled up to be seen; the PNG says of itself whether it is `synthetic`."""
    height, width, channels = pixels.shape
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    buffer = io.BytesIO()
    mark = PngInfo() if synthetic else None
    if synthetic:
        mark.add_itxt("augment_gen", json.dumps({"digitalSourceType": SYNTHETIC}))
    image.save(buffer, "PNG", optimize=True, pnginfo=mark)
    scale = max(1, round(MIN_SHOWN / max(height, width)))
    return Picture(buffer.getvalue(), alt, width * scale, height * scale)


def strip(pixels, alt, synthetic=False):
    """A `Picture` of several images side by side."""
    n, height, width, channels = pixels.shape
    gap = max(1, round(width / 16))
    sheet = np.full((height, n * (width + gap) - gap, channels), 128, np.uint8)
    for i, image in enumerate(pixels):
        sheet[:, i * (width + gap) : i * (width + gap) + width] = image
    whole = picture(sheet, alt, synthetic)
    scale = max(1, round(MIN_SHOWN / max(height, width)))
    return Picture(whole.content, alt, sheet.shape[1] * scale, height * scale)


def class_strips(X_train, y_train, X_synthetic, y_synthetic, labels):
    """Images of each class, the rarest first.

    Parameters
    ----------
    X_train, y_train
        X_train is None for a grid without real images, y_train where the classes' sizes are not known.
    X_synthetic, y_synthetic
    labels : list
        The classes.

    Returns
    -------
    strips : list of (label, number of real images, Picture of real ones or None, Picture of synthetic ones)
    n_left_out : int
        Classes that are not shown.
    """
    index = {label: k for k, label in enumerate(labels)}
    places = lambda y: np.array([index.get(label, -1) for label in np.asarray(y, dtype=object).tolist()])
    drawn = places(y_synthetic)
    real = drawn if y_train is None else places(y_train)
    counts = np.bincount(real[real >= 0], minlength=len(labels))
    images, rng, strips = Images(X_synthetic if X_train is None else X_train), np.random.default_rng(0), []
    order = [k for k in np.argsort(counts, kind="stable") if (drawn == k).any()]
    for k in order[:MAX_CLASSES]:
        pictures = []
        for X, mine, kind in ((X_train, real, "real"), (X_synthetic, drawn, "synthetic")):
            rows = rng.permutation(np.flatnonzero(mine == k))[:MAX_IMAGES]
            shown = X is not None and len(rows) > 0
            alt = f"{len(rows)} {kind} images of class {labels[k]}"
            pictures.append(strip(images.pixels(X, rows), alt, kind == "synthetic") if shown else None)
        strips.append((labels[k], int(counts[k]), *pictures))
    return strips, max(0, len(order) - MAX_CLASSES)
