"""Spectral normalisation (Miyato et al. 2018, arXiv:1802.05957, algorithm 1) as layers that pickle and take a generator."""

import torch
from torch import nn
from torch.nn import functional as F


class SpectralNorm(nn.Module):
    """Divides a weight by an estimate of its largest singular value, one power iteration a training forward pass.

    A weight of shape (out, ...) is seen as a matrix (out, rest).
    """

    def __init__(self, n_out):
        super().__init__()
        self.register_buffer("left", F.normalize(torch.ones(n_out), dim=0))

    def forward(self, weight):
        matrix = weight.flatten(1)
        with torch.no_grad():
            right = F.normalize(matrix.T @ self.left, dim=0)
            left = F.normalize(matrix @ right, dim=0)
            if self.training:
                self.left.copy_(left)
        return weight / torch.dot(left, matrix @ right)


class SpectralLinear(nn.Linear):
    """A linear layer with Lipschitz constant of about 1. Shapes: (batch, n_in) -> (batch, n_out)."""

    def __init__(self, n_in, n_out, bias=True):
        super().__init__(n_in, n_out, bias)
        self.norm = SpectralNorm(n_out)

    def forward(self, x):
        return F.linear(x, self.norm(self.weight), self.bias)


class SpectralConv2d(nn.Conv2d):
    """A 2-D convolution with a spectrally normalised kernel. Shapes as in ``torch.nn.Conv2d``."""

    def __init__(self, n_in, n_out, kernel_size, stride=1, padding=0, bias=True):
        super().__init__(n_in, n_out, kernel_size, stride, padding, bias=bias)
        self.norm = SpectralNorm(n_out)

    def forward(self, x):
        return self._conv_forward(x, self.norm(self.weight), self.bias)
