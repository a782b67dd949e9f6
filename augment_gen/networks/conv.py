"""Networks for images: floats (batch, C, H, W) from 0 to 1 in, and the same out.

An image is halved until its longer side has at most 8 cells, with 4 x 4 convolutions of stride 2 that keep the cost of the
fine resolutions low; sizes that do not divide are padded inside, and cropped back.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

CELLS = 8  # cells of the coarsest grid along the image's longer side, at most
MAX_CHANNELS = 128
EMBEDDING = 32  # numbers that describe a class to every block
LOG_VARIANCE = (-8.0, 4.0)  # range of the posterior's log variance
VARIANCE_FLOOR = 1e-4  # of a pixel: a hundredth of the range, so that flat images cannot make the likelihood unbounded


def image_norm(kind, channels, affine=True):
    """Batch or group normalisation. Batch norm made a step 1.7 times as fast on a CPU; group norm sees one image only."""
    if kind == "batch":
        return nn.BatchNorm2d(channels, affine=affine)
    return nn.GroupNorm(math.gcd(8, channels), channels, affine=affine)


class FiLM(nn.Module):
    """Normalise, then scale and shift each channel as the class demands (Perez et al. 2018), then SiLU.

    Shapes: hidden (batch, channels, h, w), embedding (batch, EMBEDDING) -> (batch, channels, h, w).
    """

    def __init__(self, channels, norm):
        super().__init__()
        self.norm = image_norm(norm, channels, affine=False)
        self.modulation = nn.Linear(EMBEDDING, 2 * channels)

    def after_initialise(self):
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, hidden, embedding):
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, 1)
        return F.silu(self.norm(hidden) * (1 + scale) + shift)


class Grid:
    """The resolutions that images of `height` x `width` pass through, and the channels of each.

    Attributes
    ----------
    channels : list of int
        From the finest resolution, half the image's, to the coarsest.
    coarsest : tuple of int
        Height and width of the coarsest grid.
    padding : tuple of int
        Pixels added on the left, right, top and bottom to make the size divisible.
    """

    def __init__(self, height, width, first_channels):
        n_halvings = max(1, math.ceil(math.log2(max(height, width) / CELLS)))
        stride = 2**n_halvings
        self.channels = [min(first_channels * 2**i, max(first_channels, MAX_CHANNELS)) for i in range(n_halvings)]
        self.coarsest = math.ceil(height / stride), math.ceil(width / stride)
        down, right = self.coarsest[0] * stride - height, self.coarsest[1] * stride - width
        self.padding = (right // 2, right - right // 2, down // 2, down - down // 2)

    def pad(self, images):
        """Images whose size divides: their edges are continued."""
        return F.pad(images, self.padding, mode="replicate") if any(self.padding) else images

    def crop(self, images):
        """What `pad` added, taken off."""
        left, right, top, bottom = self.padding
        return images[:, :, top : images.shape[2] - bottom, left : images.shape[3] - right]


def _halvings(n_channels, grid, norm, activation):
    layers, before = [], n_channels
    for channels in grid.channels:
        layers += [nn.Conv2d(before, channels, 4, 2, 1), image_norm(norm, channels), activation()]
        before = channels
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Images and classes to the mean and log variance of the posterior, (batch, 2 * latent_dim).

    Only the last block sees the class, so that the features before it are shared.
    """

    def __init__(self, n_channels, grid, n_classes, latent_dim, norm):
        super().__init__()
        coarse = grid.channels[-1]
        self.grid = grid
        self.trunk = _halvings(n_channels, grid, norm, nn.SiLU)
        self.last = nn.Conv2d(coarse, coarse, 3, 1, 1)
        self.embedding = nn.Embedding(n_classes, EMBEDDING)
        self.film = FiLM(coarse, norm)
        self.head = nn.Linear(coarse * math.prod(grid.coarsest), 2 * latent_dim)

    def forward(self, images, condition):
        hidden = self.last(self.trunk(self.grid.pad(2 * images - 1)))
        return self.head(self.film(hidden, self.embedding(condition)).flatten(1))


class Decoder(nn.Module):
    """Latents and classes to the logits of images, (batch, n_channels, height, width). Every block is told the class."""

    def __init__(self, n_channels, grid, n_classes, latent_dim, norm):
        super().__init__()
        coarse, fine_to_coarse = grid.channels[-1], grid.channels
        self.grid, self.start = grid, (coarse, *grid.coarsest)
        self.embedding = nn.Embedding(n_classes, EMBEDDING)
        self.class_start = nn.Embedding(n_classes, math.prod(self.start))
        self.embedding.embedding_scale, self.class_start.embedding_scale = 0.5, 0.2
        self.latent_start = nn.Linear(latent_dim, math.prod(self.start))
        self.blocks = nn.ModuleList([ResidualBlock(channels, norm) for channels in reversed(fine_to_coarse)])
        self.films = nn.ModuleList([FiLM(channels, norm) for channels in reversed(fine_to_coarse)])
        outputs = [*reversed(fine_to_coarse[:-1]), n_channels]
        self.doublings = nn.ModuleList(
            [nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in zip(reversed(fine_to_coarse), outputs, strict=True)]
        )

    def forward(self, z, condition):
        embedding = self.embedding(condition)
        hidden = (self.latent_start(z) + self.class_start(condition)).view(len(z), *self.start)
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        for block, film, double in zip(self.blocks, self.films, self.doublings, strict=True):
            hidden = double(film(block(hidden, embedding), embedding))
        return self.grid.crop(hidden)


class ResidualBlock(nn.Module):
    """A convolution of its input, normalised and modulated by the class, added to it."""

    def __init__(self, channels, norm):
        super().__init__()
        self.film = FiLM(channels, norm)
        self.convolution = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, hidden, embedding):
        return hidden + self.convolution(self.film(hidden, embedding))


class Judge(nn.Module):
    """A small classifier of images: (batch, C, H, W) from 0 to 1 -> logits (batch, n_classes)."""

    def __init__(self, n_channels, grid, n_classes, norm):
        super().__init__()
        coarse = grid.channels[-1]
        self.grid = grid
        self.trunk = _halvings(n_channels, grid, norm, nn.ReLU)
        self.last = nn.Sequential(nn.Conv2d(coarse, 2 * coarse, 3, 1, 1), image_norm(norm, 2 * coarse), nn.ReLU())
        self.head = nn.Linear(2 * coarse, n_classes)

    def features(self, images):
        """What the logits are linear in: (batch, features), each the mean of a channel."""
        return self.last(self.trunk(self.grid.pad(2 * images - 1))).mean((2, 3))

    def forward(self, images):
        return self.head(self.features(images))


class Judges(nn.Module):
    """Classifiers of images, each of which was trained without one fold of the real images.

    What is drawn around a real image resembles it, so a classifier that had seen that image would judge too kindly. An image
    passes when all judges agree, among them the one that has not seen its exemplar.
    """

    def __init__(self, n_channels, grid, n_classes, n_judges, norm):
        super().__init__()
        self.judges = nn.ModuleList([Judge(n_channels, grid, n_classes, norm) for _ in range(n_judges)])

    def __len__(self):
        return len(self.judges)

    def forward(self, images):
        """(batch, n_classes): the least probability of each class that any judge sees."""
        return torch.stack([judge(images).float().softmax(1) for judge in self.judges]).amin(0)


class ConvVAE(nn.Module):
    """Class-conditional variational autoencoder of images (Kingma and Welling 2014; Sohn et al. 2015).

    Parameters
    ----------
    n_channels, height, width : int
        Of the images.
    n_classes, latent_dim : int
    first_channels : int
        Channels at half the image's resolution; they double with every halving, up to 128.
    norm : {"batch", "group"}
    judge_channels : int
        The same of the `Judge` and the `Judges`; 0 for none of them.
    n_judges : int

    Attributes
    ----------
    judge : Judge or None
        Classifier that says in training whether an image shows its label. It and the judges are trained before the rest and
        fixed from then on.
    judges : Judges
        Classifiers that say so of what is drawn.
    """

    def __init__(
        self, n_channels, height, width, n_classes, latent_dim, first_channels, norm="batch", judge_channels=0, n_judges=0
    ):
        super().__init__()
        self.architecture = {
            "n_channels": n_channels, "height": height, "width": width, "n_classes": n_classes, "latent_dim": latent_dim,
            "first_channels": first_channels, "norm": norm, "judge_channels": judge_channels, "n_judges": n_judges,
        }  # fmt: skip
        self.latent_dim, grid = latent_dim, Grid(height, width, first_channels)
        self.encoder = Encoder(n_channels, grid, n_classes, latent_dim, norm)
        self.decoder = Decoder(n_channels, grid, n_classes, latent_dim, norm)
        judged = Grid(height, width, judge_channels or first_channels)
        self.judge = Judge(n_channels, judged, n_classes, norm) if judge_channels else None
        self.judges = Judges(n_channels, judged, n_classes, n_judges if judge_channels else 0, norm)

    def train(self, mode=True):
        """As in every module, except that the judges are never switched to training along with the rest."""
        super().train(mode)
        self.judges.eval()
        if self.judge is not None:
            self.judge.eval()
        return self

    def encode(self, inputs, condition):
        """Mean and log variance, each (batch, latent_dim), of the posterior; `condition` int64 (batch,)."""
        mean, log_variance = self.encoder(inputs["images"], condition).float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, z, condition):
        """Dict of "images": the mean of every pixel, float32 (batch, C, H, W) in (0, 1)."""
        return {"images": torch.sigmoid(self.decoder(z, condition).float())}

    def negative_log_likelihood(self, outputs, inputs):
        """(batch,) nats, up to a constant, of Gaussian pixels of one variance: its optimum, the batch's mean squared error.

        Rybkin et al. (2021), "Simple and effective VAE training with calibrated decoders", eq. 5. At that optimum its
        derivative is zero, so it may be held constant.
        """
        squares = (outputs["images"] - inputs["images"]).square().flatten(1)
        variance = squares.detach().mean() + VARIANCE_FLOOR
        return 0.5 * (squares.sum(1) / variance + squares.shape[1] * variance.log())

    def noise(self, n_rows, rng):
        """No noise: pixels are drawn at their mean, because independent noise on each would only look like grain."""
        return {}

    def realise(self, outputs, noise, temperature):
        """Dict of "images" as `decode` gave them."""
        return outputs


@torch.no_grad()
def recalibrate(module, run_batch, n_batches=30):
    """Batch-norm statistics as they are under the module's present weights, which may be averages never trained with.

    Parameters
    ----------
    module : nn.Module
        Left in evaluation mode.
    run_batch : callable () -> anything
        Runs the module on a fresh batch.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    if norms:
        module.train()
        momenta = [(norm, norm.momentum) for norm in norms if norm.training]
        for norm, _ in momenta:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over the batches
        for _ in range(n_batches):
            run_batch()
        for norm, momentum in momenta:
            norm.momentum = momentum
    module.eval()
