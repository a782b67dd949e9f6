"""Random changes of training images that leave their label true, drawn anew for every image on the device."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Augmentation:
    """A random rotation, shift, zoom and mirroring of each image; 0 or False switches a part off.

    Parameters
    ----------
    degrees : float
        Rotation by up to this angle either way.
    translate : float
        Shift by up to this share of the image's height and width.
    scale : float
        Zoom by a factor between ``1 - scale`` and ``1 + scale``.
    flip : bool
        Mirror half of the images left to right.
    brightness : float
        Multiply all values by a factor between ``1 - brightness`` and ``1 + brightness``.
    """

    degrees: float = 0.0
    translate: float = 0.0
    scale: float = 0.0
    flip: bool = False
    brightness: float = 0.0

    def __call__(self, images, generator):
        """Changed copies of `images`, float (n, C, H, W) in [0, 1]; `generator` is a torch.Generator on their device.

        What comes into view from outside an image is its mirror image.
        """
        if self.degrees or self.translate or self.scale or self.flip:
            grid = F.affine_grid(self._affine(images, generator), images.shape, align_corners=False)
            images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
        if self.brightness:
            factor = 1 + _between(self.brightness, len(images), images, generator)
            images = (images * factor[:, None, None, None]).clamp(0, 1)
        return images

    def _affine(self, images, generator):
        """(n, 2, 3): where each pixel of the result is looked up, in coordinates from -1 to 1 that keep the aspect ratio."""
        n_images, aspect = len(images), images.shape[3] / images.shape[2]
        angle = _between(math.radians(self.degrees), n_images, images, generator)
        zoom = 1 / (1 + _between(self.scale, n_images, images, generator))
        shift = _between(2 * self.translate, (2, n_images), images, generator)
        mirror = torch.ones_like(angle)
        if self.flip:
            mirror = torch.randint(2, (n_images,), generator=generator, device=images.device) * 2.0 - 1
        cosine, sine = zoom * angle.cos(), zoom * angle.sin()
        horizontal = torch.stack([mirror * cosine, -mirror * sine / aspect, shift[0]], 1)
        vertical = torch.stack([sine * aspect, cosine, shift[1]], 1)
        return torch.stack([horizontal, vertical], 1)


def _between(bound, shape, like, generator):
    """Uniform between -bound and bound, on the device and in the dtype of `like`."""
    shape = (shape,) if isinstance(shape, int) else shape
    return like.new_empty(shape).uniform_(-1, 1, generator=generator) * bound
