"""The discriminator of images, and the random changes through which it looks at them."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.networks.conv import Grid
from augment_gen.networks.spectral import SpectralConv2d, SpectralLinear


@dataclass(frozen=True)
class DiffAugmentation:
    """Random changes of real and drawn images alike, through which gradients pass; 0 switches a part off.

    A discriminator that never sees an image twice the same way cannot learn few images by heart, and because drawn images
    are changed too, the changes do not leak into what the generator learns (Zhao et al. 2020, "Differentiable augmentation
    for data-efficient GAN training", arXiv:2006.10738).

    Parameters
    ----------
    translate : float
        Shift by up to this share of the height and of the width, in whole pixels; what comes into view is 0.
    cutout : float
        Height and width, as shares of the image's, of a rectangle set to 0, centred anywhere.
    brightness : float
        Add a number between minus and plus this to all values of an image.
    contrast : float
        Stretch the values about their mean by a factor between 1 minus and 1 plus this.
    """

    translate: float = 0.0
    cutout: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0

    def __call__(self, images, generator):
        """Changed `images`, float (n, C, H, W) in [0, 1]; `generator` is a torch.Generator on their device."""
        draw = lambda *shape: torch.rand(shape, generator=generator, device=images.device, dtype=torch.float32)
        if self.brightness:
            images = images + self.brightness * (2 * draw(len(images), 1, 1, 1) - 1)
        if self.contrast:
            mean = images.mean((1, 2, 3), keepdim=True)
            images = mean + (images - mean) * (1 + self.contrast * (2 * draw(len(images), 1, 1, 1) - 1))
        if self.translate:
            images = _shifted(images, self.translate, draw(2, len(images)))
        if self.cutout:
            images = images * _outside_rectangle(images.shape[2:], self.cutout, draw(2, len(images)))
        return images


def _shifted(images, share, noise):
    """`images` moved by whole pixels; `noise` (2, n) from 0 to 1 says how far across and down."""
    moves = torch.eye(2, 3, device=noise.device, dtype=torch.float32).repeat(len(images), 1, 1)
    for axis, side in enumerate((images.shape[3], images.shape[2])):
        pixels = ((2 * noise[axis] - 1) * round(share * side)).round()
        moves[:, axis, 2] = 2 * pixels / side
    grid = F.affine_grid(moves, images.shape, align_corners=False)
    return F.grid_sample(images, grid.to(images.dtype), mode="nearest", align_corners=False)


def _outside_rectangle(sides, share, noise):
    """(n, 1, H, W): 0 inside a rectangle centred where `noise` (2, n) from 0 to 1 says, 1 outside."""
    far = []
    for side, centre in zip(sides, noise, strict=True):
        pixels = torch.arange(side, device=noise.device, dtype=torch.float32) + 0.5
        far.append((pixels - side * centre[:, None]).abs() > 0.5 * share * side)
    return (far[0][:, None, :, None] | far[1][:, None, None, :]).to(noise.dtype)


def bands(images):
    """Three views of images (batch, C, H, W) from 0 to 1: all of it, its finest texture, and its next coarser structure.

    The last two are the differences between an image, its means over 3 x 3 pixels, and those over 7 x 7: the finest levels
    of a Laplacian pyramid, as in Denton et al. (2015, arXiv:1506.05751), at full resolution.
    """
    fine, coarse = _smoothed(images, 3), _smoothed(images, 7)
    return images - 0.5, images - fine, fine - coarse


def _smoothed(images, size):
    return F.avg_pool2d(F.pad(images, (size // 2,) * 4, mode="replicate"), size, 1)


def activate(hidden):
    """Leaky ReLU that keeps the scale of what it is given.

    With spectral norms of 1 throughout, scores would shrink with every layer, and never come near the hinge.
    """
    return 2**0.5 * F.leaky_relu(hidden, 0.2)


class ImageDiscriminator(nn.Module):
    """Projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637) of residual blocks with spectral normalisation.

    Sees how much the images of a batch differ from each other (minibatch standard deviation, Karras et al. 2018,
    arXiv:1710.10196), so that a collapsed generator is easily told. There is no batch normalisation: it would let images be
    told by what else is in their batch.

    Parameters
    ----------
    n_channels, height, width : int
        Of the images; any size of at least 8 pixels a side.
    n_classes : int
    first_channels : int
        Channels at half the image's resolution; they double with every halving, up to 128.
    spreads : sequence of 3 floats
        Standard deviations of the real images' `bands`, which are shown beside each other in units of these. Spectral norms
        bound how much a small difference can count: shown the x-rays of PneumoniaMNIST as they are, a discriminator did not
        see within hundreds of steps that drawn ones had no texture.
    """

    def __init__(self, n_channels, height, width, n_classes, first_channels, spreads=(0.5, 0.5, 0.5)):
        super().__init__()
        self.grid, self.spreads = Grid(height, width, first_channels), spreads
        channels = [len(spreads) * n_channels, *self.grid.channels]
        self.blocks = nn.ModuleList([Halving(n_in, n_out) for n_in, n_out in pairwise(channels)])
        self.blocks[0].sees_pixels = True
        coarse = channels[-1]
        self.last = SpectralConv2d(coarse + 1, 2 * coarse, 3, 1, 1)
        self.score = SpectralLinear(2 * coarse, 1)
        self.classes = nn.Embedding(n_classes, 2 * coarse)
        self.classes.embedding_scale = 0.05

    def forward(self, images, condition):
        """(batch,) float32: higher means more likely real; `images` float (batch, C, H, W) in [0, 1]."""
        hidden = self._hidden(images)[-1]
        spread = (hidden.float().var(0, correction=0) + 1e-8).sqrt().mean().to(hidden.dtype)
        hidden = torch.cat([hidden, spread.expand(len(hidden), 1, *hidden.shape[2:])], dim=1)
        hidden = activate(self.last(activate(hidden))).float().mean((2, 3))
        return self.score(hidden).squeeze(1).float() + (self.classes(condition) * hidden).sum(1)

    def texture(self, images):
        """(batch, p) float32: how strongly each channel of each block answers, on average over the image."""
        return torch.cat([activate(hidden).float().mean((2, 3)) for hidden in self._hidden(images)], dim=1)

    def _hidden(self, images):
        shown = torch.cat([band / spread for band, spread in zip(bands(images), self.spreads, strict=True)], dim=1)
        outputs = [self.grid.pad(shown.contiguous(memory_format=torch.channels_last))]
        for block in self.blocks:
            outputs.append(block(outputs[-1]))
        return outputs[1:]


class Halving(nn.Module):
    """A residual block that halves the resolution: (batch, n_in, h, w) -> (batch, n_out, h / 2, w / 2)."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.sees_pixels = False
        self.halve = SpectralConv2d(n_in, n_out, 4, 2, 1)
        self.refine = SpectralConv2d(n_out, n_out, 3, 1, 1)
        self.skip = SpectralConv2d(n_in, n_out, 1)

    def forward(self, hidden):
        changed = self.halve(hidden if self.sees_pixels else activate(hidden))
        return self.refine(activate(changed)) + self.skip(F.avg_pool2d(hidden, 2))
