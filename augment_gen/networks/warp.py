"""Networks that deform images: floats (batch, C, H, W) from 0 to 1 and a latent in, the same images, warped, out.

A deformation is a flow on a coarse grid of at most 8 cells a side: smoothed, brought to full resolution, and looked up in the
image (Jaderberg et al. 2015, "Spatial transformer networks", arXiv:1506.02025). What comes out is as sharp as what went in.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.networks.conv import EMBEDDING, LOG_VARIANCE, VARIANCE_FLOOR, Grid, Judges, ResidualBlock, image_norm

SMOOTHED_DEVIATION = 1 / 3  # of noise of variance 1, averaged over 3 x 3 cells
FLOW_START = 0.1  # of a convolution's usual initial weights: training starts from almost no deformation
FAR = 1e4  # half images from its middle, beyond which there is nothing new to see


class Warp(nn.Module):
    """Applies flows on a coarse grid to images.

    Flows are (batch, 2, h, w), across and down, as shares of half the image's width and height. Beyond its edges an image
    goes on as it ends.
    """

    def __init__(self, grid):
        super().__init__()
        left, right, top, bottom = grid.padding
        height, width = (cells * 2 ** len(grid.channels) for cells in grid.coarsest)
        self.register_buffer("down", finer(grid.coarsest[0], height)[top : height - bottom])
        self.register_buffer("across", finer(grid.coarsest[1], width)[left : width - right])

    def forward(self, images, flow):
        """(batch, C, H, W): `images` deformed."""
        identity = torch.eye(2, 3, device=images.device, dtype=torch.float32).expand(len(images), 2, 3)
        places = F.affine_grid(identity, images.shape, align_corners=False)
        places = places + self.field(flow).permute(0, 2, 3, 1)
        places = places.nan_to_num(0.0).clamp(-FAR, FAR)  # on a CPU torch reads outside the image, and crashes, where NaN says
        return F.grid_sample(images, places, padding_mode="border", align_corners=False)

    def field(self, flow):
        """(batch, 2, H, W) float32: a flow, smoothed and at the images' resolution."""
        with torch.autocast(flow.device.type, enabled=False):  # places need more digits than bfloat16 has
            return self.down @ smoothed(flow.float()) @ self.across.T


def finer(n_cells, n_pixels):
    """(n_pixels, n_cells): the bicubic interpolation of a line of cells, as a matrix, which is faster than torch's own."""
    cells = torch.eye(n_cells, dtype=torch.float32)[:, None, :, None]
    fine = F.interpolate(cells, size=(n_pixels, 1), mode="bicubic", align_corners=False)
    return fine[:, 0, :, 0].T.contiguous()


def smoothed(flow):
    """Means over 3 x 3 cells, at the edges over those that there are."""
    return F.avg_pool2d(flow, 3, 1, 1, count_include_pad=False)


def roughness(flow):
    """(batch,): mean square of the first and second differences of a smoothed flow between cells, across, down and mixed.

    Shifts cost nothing, turns and zooms little; stretching, which smears what it stretches, costs more, and ripples most.
    """
    flow = smoothed(flow)
    total = flow.new_zeros(len(flow))
    for axes in ((2,), (3,), (2, 2), (3, 3), (2, 3), (3, 2)):
        bent = flow
        for axis in axes:
            bent = bent.diff(dim=axis) if bent.shape[axis] > 1 else bent[:, :, :0]
        if bent.numel():
            total = total + bent.square().flatten(1).mean(1)
    return total


def matched(drawn, wanted):
    """`drawn` (batch, n), each row stretched and shifted to be nearest to that of `wanted`, by up to twice its contrast."""
    centred, mean = drawn - drawn.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    contrast = (centred * (wanted - mean)).sum(1, keepdim=True) / (centred.square().sum(1, keepdim=True) + 1e-3)
    return mean + contrast.clamp(0.5, 2.0) * centred


def strided(n_channels, grid, norm):
    """Halvings from the image to the coarsest grid."""
    layers, before = [], n_channels
    for channels in grid.channels:
        layers += [nn.Conv2d(before, channels, 4, 2, 1), image_norm(norm, channels), nn.SiLU()]
        before = channels
    return nn.Sequential(*layers)


class FlowDecoder(nn.Module):
    """An exemplar and a latent to the flow that deforms this exemplar, (batch, 2, h, w)."""

    def __init__(self, n_channels, grid, latent_dim, norm):
        super().__init__()
        coarse = grid.channels[-1]
        self.grid, self.start = grid, (coarse, *grid.coarsest)
        self.trunk = strided(n_channels, grid, norm)
        self.mix = nn.Conv2d(coarse, coarse, 3, 1, 1)
        self.latent_start = nn.Linear(latent_dim, math.prod(self.start))
        self.latent_embedding = nn.Linear(latent_dim, EMBEDDING)
        self.blocks = nn.ModuleList([ResidualBlock(coarse, norm) for _ in range(2)])
        self.flow = nn.Conv2d(coarse, 2, 3, 1, 1)

    @torch.no_grad()
    def after_initialise(self):
        self.flow.weight.mul_(FLOW_START)
        self.flow.bias.zero_()

    def forward(self, images, z):
        hidden = self.mix(self.trunk(self.grid.pad(2 * images - 1))) + self.latent_start(z).view(len(z), *self.start)
        embedding = self.latent_embedding(z)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        return self.flow(F.silu(hidden))


class DeformationVAE(nn.Module):
    """Conditional variational autoencoder of the deformation from one image to another of the same class.

    The encoder sees both images of a pair, the decoder only the first and the latent: what the latent holds is the change
    (Krebs et al. 2019, "Learning a probabilistic model for diffeomorphic registration", arXiv:1812.07460; Schwartz et al.
    2018, "Delta-encoder", arXiv:1806.04734). No layer sees the class, so that deformations are shared by all.

    Parameters
    ----------
    n_channels, height, width : int
        Of the images.
    n_classes, latent_dim : int
    first_channels : int
        Channels at half the image's resolution; they double with every halving, up to 128.
    norm : {"batch", "group"}
    n_judges : int
        Classifiers of the drawn images; see `Judges`.
    """

    def __init__(self, n_channels, height, width, n_classes, latent_dim, first_channels, norm="batch", n_judges=0):
        super().__init__()
        self.architecture = {
            "n_channels": n_channels, "height": height, "width": width, "n_classes": n_classes, "latent_dim": latent_dim,
            "first_channels": first_channels, "norm": norm, "n_judges": n_judges,
        }  # fmt: skip
        self.latent_dim, grid = latent_dim, Grid(height, width, first_channels)
        self.grid, self.warp = grid, Warp(grid)
        self.encoder = strided(2 * n_channels, grid, norm)
        self.head = nn.Linear(grid.channels[-1] * math.prod(grid.coarsest), 2 * latent_dim)
        self.decoder = FlowDecoder(n_channels, grid, latent_dim, norm)
        self.judges = Judges(n_channels, grid, n_classes, n_judges, norm)

    def encode(self, first, second):
        """Mean and log variance, each (batch, latent_dim), of the deformation from `first` to `second`."""
        pair = self.grid.pad(torch.cat([2 * first - 1, 2 * second - 1], dim=1))
        hidden = self.encoder(pair.contiguous(memory_format=torch.channels_last)).flatten(1)
        mean, log_variance = self.head(hidden).float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def flow(self, images, z):
        """(batch, 2, h, w): the deformation of `images` that the latent asks for, on the coarse grid."""
        return self.decoder(images, z).float()

    def negative_log_likelihood(self, drawn, wanted):
        """(batch,) nats, up to a constant, of Gaussian pixels whose one variance is the batch's mean squared error.

        Rybkin et al. (2021), "Simple and effective VAE training with calibrated decoders", eq. 5. DEVIATION: errors are those
        left after the best change of brightness and contrast. Otherwise a dark x-ray is warped until it is a bright one.
        """
        drawn, wanted = drawn.flatten(1), wanted.flatten(1)
        squares = (matched(drawn, wanted) - wanted).square()
        variance = squares.detach().mean() + VARIANCE_FLOOR
        return 0.5 * (squares.sum(1) / variance + squares.shape[1] * variance.log())

    def train(self, mode=True):
        """As in every module, except that the judges, trained beforehand, stay as they are."""
        super().train(mode)
        self.judges.eval()
        return self


class ElasticField(nn.Module):
    """Random flows that nothing was learned for: Gaussian noise on the coarse grid (after Simard et al. 2003).

    Parameters
    ----------
    n_channels, height, width, n_classes, first_channels, norm, n_judges
        As in `DeformationVAE`, whose grid and judges these are.
    displacement : float
        Root mean square of how far pixels move, across and down each, as a share of the image's width and height.
    """

    def __init__(self, n_channels, height, width, n_classes, first_channels, displacement, norm="batch", n_judges=0):
        super().__init__()
        self.architecture = {
            "n_channels": n_channels, "height": height, "width": width, "n_classes": n_classes,
            "first_channels": first_channels, "displacement": displacement, "norm": norm, "n_judges": n_judges,
        }  # fmt: skip
        grid = Grid(height, width, first_channels)
        self.warp, self.coarsest = Warp(grid), grid.coarsest
        self.latent_dim = 2 * math.prod(self.coarsest)
        self.scale = 2 * displacement / SMOOTHED_DEVIATION
        self.judges = Judges(n_channels, grid, n_classes, n_judges, norm)

    def flow(self, images, z):
        """(batch, 2, h, w): `z`, standard normal (batch, latent_dim), as a flow of the strength that was asked for."""
        return self.scale * z.view(len(z), 2, *self.coarsest)
