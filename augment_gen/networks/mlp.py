"""Networks for tables: codes and normal scores in, logits and means out.

No per-column work: columns are grouped by their number of codes (rounded up to a power of two), and a group is one
tensor of shape (batch, columns, codes), so a table of 500 columns costs a handful of operations.
"""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.constants import Constants
from augment_gen.layout import TableLayout

MASKED = -1e9  # logit of a code that a column does not have
LOG_VARIANCE = (-8.0, 2.0)  # range of the posterior's log variance


class CodeHead(nn.Module):
    """From hidden units to one distribution per column.

    Shapes: hidden (batch, width) -> per group logits (batch, columns, codes), and means (batch, n_scalars).
    """

    def __init__(self, width, layout, sigma_floor):
        super().__init__()
        sizes, scalars = layout.sizes, layout.scalar_blocks if layout.gaussian else np.zeros(0, dtype=np.int64)
        self.groups, masks = [], []
        padded = 2 ** np.ceil(np.log2(sizes)).astype(int)
        for size in np.unique(padded[padded > 1]):  # a column with one code needs no logit
            columns = np.flatnonzero(padded == size)
            self.groups.append((columns.tolist(), int(size)))
            masks.append(np.where(np.arange(size) < sizes[columns][:, None], 0.0, MASKED).ravel())
        self.columns = Constants({size: columns for columns, size in self.groups})  # the same, for the device to look up by
        self.n_logits = sum(size * len(columns) for columns, size in self.groups)
        self.n_scalars, self.n_blocks = len(scalars), len(sizes)
        self.linear = nn.Linear(width, max(1, self.n_logits + self.n_scalars))
        mask = torch.tensor(np.concatenate(masks) if masks else np.zeros(0), dtype=torch.float32)
        self.register_buffer("mask", mask)
        positions = self._continuous_positions(layout)[: self.n_scalars]
        self.register_buffer("continuous_at", torch.tensor(positions))
        self.always_continuous = max(positions, default=-1) < 0
        self.log_sigma = nn.Parameter(torch.empty(self.n_scalars))
        self.log_sigma_floor = math.log(sigma_floor)

    def _continuous_positions(self, layout):
        """Where, among the logits, each scalar's "continuous" code stands; -1 in columns that are always continuous."""
        start, position = 0, {}
        for columns, size in self.groups:
            position |= {column: start + i * size for i, column in enumerate(columns)}
            start += size * len(columns)
        first = layout.continuous_codes[0]
        return [position[b] + int(f) if b in position else -1 for b, f in zip(layout.scalar_blocks, first, strict=True)]

    def continuous(self, codes):
        """(batch, n_scalars): 1 where one-hot `codes` (batch, n_logits) say that a cell is continuous."""
        if self.always_continuous:  # known beforehand: asking the device would wait for it
            return codes.new_ones(len(codes), self.n_scalars)
        known = self.continuous_at >= 0
        return torch.where(known, codes[:, self.continuous_at.clamp_min(0)], 1.0)

    def after_initialise(self):
        nn.init.constant_(self.log_sigma, -0.7)

    def forward(self, hidden):
        out = self.linear(hidden)  # the module itself is called: a private fit listens to what goes through it
        logits, means, _ = out.tensor_split([self.n_logits, self.n_logits + self.n_scalars], 1)
        logits = logits + self.mask if torch.is_grad_enabled() else logits.add_(self.mask)
        return {"logits": logits, "means": means.float()}

    def sigma(self):
        """(n_scalars,): standard deviation of each scalar, at least the floor."""
        return self.log_sigma.clamp(self.log_sigma_floor, 1.0).exp()

    def grouped(self, logits):
        """Yields (columns, float32 logits (batch, columns, codes)) of each group."""
        parts = logits.split([size * len(columns) for columns, size in self.groups], dim=1) if self.groups else ()
        for (columns, size), part in zip(self.groups, parts, strict=True):
            yield columns, part.float().unflatten(1, (len(columns), size))

    def negative_log_likelihood(self, outputs, inputs):
        """(batch,) nats: cross-entropy of the codes, plus the Gaussian of the scalars where cells are continuous."""
        codes = inputs["codes"]
        loss, columns = outputs["means"].new_zeros(len(codes)), self.columns.on(codes.device)
        for _, logits in self.grouped(outputs["logits"]):
            mine = codes[:, columns[logits.shape[2]]]
            flat = F.cross_entropy(logits.flatten(0, 1), mine.flatten(), reduction="none")
            loss = loss + flat.view(len(codes), -1).sum(1)
        if self.n_scalars:
            sigma = self.sigma()
            z = (inputs["scalars"] - outputs["means"]) / sigma
            nats = 0.5 * z.square() + sigma.log() + 0.5 * math.log(2 * math.pi)
            loss = loss + (nats * inputs["continuous"]).sum(1)
        return loss

    def realise(self, outputs, noise, temperature):
        """Draw every column from its own distribution, by inverse CDF from given uniform and normal noise.

        Returns codes int64 (batch, n_blocks) and ranks (batch, n_scalar_noise) in (0, 1).
        """
        codes = torch.zeros(noise["codes"].shape, dtype=torch.int64, device=noise["codes"].device)
        for columns, logits in self.grouped(outputs["logits"]):
            cumulative = (logits if temperature == 1 else logits / temperature).softmax(-1).cumsum(-1)
            threshold = noise["codes"][:, columns, None] * cumulative[..., -1:]
            drawn = torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
            codes[:, columns] = drawn.clamp_max(logits.shape[-1] - 1)
        if self.n_scalars:
            scores = outputs["means"] + temperature * self.sigma() * noise["scalars"]
            return {"codes": codes, "ranks": torch.special.ndtr(scores.double()).clamp(1e-7, 1 - 1e-7)}
        return {"codes": codes, "ranks": noise["positions"]}


class TableVAE(nn.Module):
    """Class-conditional variational autoencoder of a table's rows (Kingma and Welling 2014; Sohn et al. 2015).

    Parameters
    ----------
    layout : dict
        ``TableLayout.to_dict()``.
    n_classes, latent_dim, width, n_layers : int
        ``n_layers`` hidden layers of ``width`` units each way.
    sigma_floor : float
        Least standard deviation of a scalar, in normal scores.
    """

    def __init__(self, layout, n_classes, latent_dim, width, n_layers=2, sigma_floor=0.05):
        super().__init__()
        self.architecture = {
            "layout": layout, "n_classes": n_classes, "latent_dim": latent_dim, "width": width,
            "n_layers": n_layers, "sigma_floor": sigma_floor,
        }  # fmt: skip
        self.layout = TableLayout.from_dict(layout)
        self.latent_dim, n_scalars = latent_dim, len(self.layout.scalar_blocks)
        self.register_buffer("offsets", torch.tensor(self.layout.offsets))
        self.code_embedding = nn.EmbeddingBag(max(1, int(self.layout.sizes.sum())), width, mode="sum")
        self.code_embedding.embedding_scale = 1 / math.sqrt(max(1, len(self.layout.blocks)))
        self.scalar_embedding = nn.Linear(max(1, n_scalars), width)
        self.encoder_class = nn.Embedding(n_classes, width)
        self.decoder_class = nn.Embedding(n_classes, width)
        self.encoder_class.embedding_scale = self.decoder_class.embedding_scale = 0.3
        self.encoder = _hidden(width, n_layers, nn.Linear(width, 2 * latent_dim))
        self.decoder_input = nn.Linear(latent_dim, width)
        self.decoder = _hidden(width, n_layers, CodeHead(width, self.layout, sigma_floor))

    def encode(self, inputs, condition):
        """Mean and log variance, each (batch, latent_dim), of the posterior; `condition` int64 (batch,)."""
        hidden = self.encoder_class(condition)
        if self.layout.blocks:
            hidden = hidden + self.code_embedding(inputs["codes"] + self.offsets)
        if len(self.layout.scalar_blocks):
            hidden = hidden + self.scalar_embedding(inputs["scalars"])
        mean, log_variance = self.encoder(hidden).float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    def decode(self, z, condition):
        """Distribution of every column: see `CodeHead.forward`."""
        return self.decoder(self.decoder_input(z) + self.decoder_class(condition))

    def negative_log_likelihood(self, outputs, inputs):
        """(batch,) nats."""
        return self.decoder[-1].negative_log_likelihood(outputs, inputs)

    def noise(self, n_rows, rng):
        """float32 tensors of the noise that `realise` turns into cells, from a numpy generator."""
        head = self.decoder[-1]
        noise = {"codes": rng.random((n_rows, head.n_blocks), dtype=np.float32)}
        if head.n_scalars:
            noise["scalars"] = rng.standard_normal((n_rows, head.n_scalars), dtype=np.float32)
        else:
            noise["positions"] = rng.random((n_rows, len(self.layout.scalar_blocks)), dtype=np.float32)
        return {name: torch.from_numpy(values) for name, values in noise.items()}

    def realise(self, outputs, noise, temperature):
        """Codes and ranks: see `CodeHead.realise`."""
        return self.decoder[-1].realise(outputs, noise, temperature)


class ResidualLayer(nn.Module):
    """``x + linear(silu(x))`` (He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027).

    What a row says reaches the latents and comes back from the first step on: a third of the steps lead to a lower loss than
    layers without the sum end with.
    """

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(F.silu(x))


def _hidden(width, n_layers, last):
    return nn.Sequential(*(ResidualLayer(width) for _ in range(n_layers - 1)), nn.SiLU(), last)


def swap_cells(inputs, share, layout, generator):
    """Noise for the encoder: each cell is, with probability `share`, that of another row of the batch.

    A row's code and scalar move together. Lowers memorisation on small tables.
    """
    codes, scalars = inputs["codes"], inputs["scalars"]
    swap = torch.rand(codes.shape, generator=generator, device=codes.device, dtype=torch.float32) < share
    other = torch.randint(len(codes), codes.shape, generator=generator, device=codes.device)
    columns = layout.indices.on(codes.device)["scalar_blocks"]
    return {
        "codes": torch.where(swap, codes.gather(0, other), codes),
        "scalars": torch.where(swap[:, columns], scalars.gather(0, other[:, columns]), scalars),
    }
