"""How a ConditionalVAE learns a table: network, loss, and defaults that scale with the data."""

from dataclasses import dataclass

import numpy as np

from augment_gen.codecs.table import LARGE_TABLE
from augment_gen.latent import DensityRule
from augment_gen.networks.initialise import build
from augment_gen.networks.mlp import TableVAE, swap_cells
from augment_gen.steps import Phase, warm_up

WIDE = 256  # units of a layer from which a CPU with AVX512-BF16 draws in bfloat16: there 1.3 to 1.7 times as fast
WARM_UP = 0.1  # share of the steps over which beta rises to its full weight
KL_FLOOR = 0.01  # nats per latent dimension that cost nothing, so that no dimension is switched off early


@dataclass(frozen=True)
class TableSettings:
    """Settings by size of the table; `for_size` holds the measured rules."""

    latent_dim: int
    width: int
    n_layers: int
    beta: float
    n_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    ema_decay: float
    input_noise: float

    @classmethod
    def for_size(cls, n_rows, n_columns):
        """Measured on ten tables of 131 to 32,561 rows: see benchmarks/RESULTS.md."""
        latent_dim = 8 if n_columns < 8 else 16 if n_columns < 20 else 24
        if n_rows >= LARGE_TABLE:
            narrow = n_columns < 8
            return cls(
                latent_dim=8 if narrow else 32, width=256, n_layers=4, beta=0.5, n_steps=800, batch_size=512,
                learning_rate=6e-3, weight_decay=1e-5, ema_decay=0.99, input_noise=0.0,
            )  # fmt: skip
        small = n_rows < 2000
        return cls(
            latent_dim=latent_dim,
            width=128,
            n_layers=2,
            beta=0.5,
            n_steps=300 if small else 600,
            batch_size=256,
            learning_rate=4e-3,
            weight_decay=1e-2 if small else 1e-4,
            ema_decay=0.0,
            input_noise=0.1 if small else 0.0,  # against learning rows by heart
        )


class TableVAERecipe:
    """What `ConditionalVAE` asks of a modality, for tables.

    Parameters
    ----------
    codec : TableCodec
        Fitted.
    class_counts : int64 array (n_classes,)
    """

    worth_autocast = False  # in training: on Adult half the time, but a C2ST score of .854 instead of .869

    def __init__(self, codec, class_counts):
        self.codec, self.layout, self.class_counts = codec, codec.layout_, class_counts
        self.settings = TableSettings.for_size(int(class_counts.sum()), len(codec.columns_))
        self.density_rule = DensityRule()
        self.max_threads = 1 if self.settings.width <= 128 else None

    def network(self, settings, generator):
        """A `TableVAE` with initial weights."""
        architecture = {
            "layout": self.layout.to_dict(),
            "n_classes": len(self.class_counts),
            "latent_dim": settings.latent_dim,
            "width": settings.width,
            "n_layers": settings.n_layers,
        }
        return build(TableVAE, architecture, generator)

    def phase(self, network, settings):
        """The negative evidence lower bound, with the KL term weighted by beta and warmed up over a tenth of the steps."""

        def loss(rows, condition, now, generator):
            inputs = self.codec.inputs(rows, generator)
            seen = inputs
            if settings.input_noise:
                seen = swap_cells(inputs, settings.input_noise, self.layout, generator)
            mean, log_variance = network.encode(seen, condition)
            noise = mean.new_empty(mean.shape).normal_(generator=generator)
            outputs = network.decode(mean + noise * (0.5 * log_variance).exp(), condition)
            reconstruction = network.negative_log_likelihood(outputs, inputs).mean()
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
            kl = divergence.clamp_min(KL_FLOOR).sum()
            return {"loss": reconstruction + now.weight * kl, "reconstruction": reconstruction, "kl": divergence.sum()}

        beta = warm_up(settings.n_steps, WARM_UP, settings.beta)
        return Phase((network,), loss, settings.learning_rate, settings.weight_decay, schedule=beta)

    def prepare(self, network, settings, rows, class_index, plan, rng):
        """Nothing is trained before the network."""

    def finish(self, network, settings, rows, class_index, plan, generator):
        """Nothing is left to do after training."""

    def worth_drawing_in_bfloat16(self, settings, device):
        """Whether a trained network is. On Adult it moved the distribution of a cell by .001 in total variation."""
        return device.type == "cpu" and settings.width >= WIDE

    def max_rows_decoded(self):
        """Rows whose logits fit into a bounded amount of memory (64 MB)."""
        return int(np.clip(2**24 // max(1, 2 * int(self.layout.sizes.sum())), 16, 4096))
