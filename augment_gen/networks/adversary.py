"""The discriminator of tables, and the differentiable draw that lets it teach a decoder of codes."""

import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.layout import TableLayout
from augment_gen.networks.mlp import CodeHead
from augment_gen.networks.spectral import SpectralLinear


def relaxed_rows(head, outputs, temperature, generator):
    """Rows as the discriminator reads them: hard codes forward, soft ones backward (straight-through Gumbel softmax).

    Jang et al. 2017, arXiv:1611.01144. All columns of a group are drawn in one operation.

    Returns
    -------
    (batch, n_logits + n_scalars) float
    """
    parts = []
    for _, logits in head.grouped(outputs["logits"]):
        noise = -torch.empty_like(logits).exponential_(generator=generator).log()
        soft = ((logits + noise) / temperature).softmax(-1)
        hard = one_hot(soft.argmax(-1), soft.shape[-1])
        parts.append((hard - soft.detach() + soft).flatten(1))
    codes = torch.cat(parts, dim=1) if parts else outputs["logits"]
    if not head.n_scalars:
        return codes
    noise = torch.empty_like(outputs["means"]).normal_(generator=generator)
    scalars = outputs["means"] + head.sigma() * noise
    return torch.cat([codes, scalars * head.continuous(codes)], dim=1)


def real_rows(head, inputs):
    """The same form for real rows: one-hot codes, and scalars where cells are continuous."""
    parts, columns = [], head.columns.on(inputs["codes"].device)
    for _, size in head.groups:
        parts.append(one_hot(inputs["codes"][:, columns[size]], size).flatten(1))
    if head.n_scalars:
        parts.append(inputs["scalars"] * inputs["continuous"])
    return torch.cat(parts, dim=1)


def one_hot(codes, size):
    """float32 (..., size): 1 at each code, int64 (...), 0 elsewhere; torch's own may look at the codes, and wait for them."""
    return (codes[..., None] == torch.arange(size, device=codes.device)).float()


class TableDiscriminator(nn.Module):
    """Projection discriminator (Miyato and Koyama 2018, arXiv:1802.05637) with spectral normalisation.

    Sees how much the rows of a batch differ from each other (minibatch standard deviation, Karras et al. 2018), so that a
    collapsed generator is easily told.

    Parameters
    ----------
    layout : dict
        ``TableLayout.to_dict()``.
    n_classes, width : int
    """

    def __init__(self, layout, n_classes, width=256):
        super().__init__()
        head = CodeHead(1, TableLayout.from_dict(layout), 0.05)
        n_in = head.n_logits + head.n_scalars
        self.first = SpectralLinear(max(1, n_in), width)
        self.second = SpectralLinear(width + 1, width)
        self.score = SpectralLinear(width, 1)
        self.classes = nn.Embedding(n_classes, width)
        self.classes.embedding_scale = 0.05

    def forward(self, rows, condition, n_groups=1):
        """(batch,): higher means more likely real. Rows are compared within each of `n_groups` equal parts of the batch."""
        hidden = F.leaky_relu(self.first(rows), 0.2)
        spread = hidden.unflatten(0, (n_groups, -1)).std(1, correction=0).mean(1)
        spread = spread.repeat_interleave(len(rows) // n_groups)[:, None]
        hidden = F.leaky_relu(self.second(torch.cat([hidden, spread], dim=1)), 0.2)
        return self.score(hidden).squeeze(1) + (self.classes(condition) * hidden).sum(1)
