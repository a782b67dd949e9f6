"""How a ConditionalGAN learns a table: an autoencoder first, then an adversary that polishes its decoder.

The decoder of a class-conditional VAE and the densities fitted to its latents are the generator that adversarial
training starts from, so a few hundred steps suffice and a class cannot be lost from the start.

DEVIATION: latents are drawn from the autoencoder's class densities, not from N(0, I) as in Goodfellow et al. (2014): those
are where the decoder has been trained, so its rows are close to real ones before the first adversarial step.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from augment_gen.codecs.table import LARGE_TABLE
from augment_gen.networks.adversary import TableDiscriminator, real_rows, relaxed_rows
from augment_gen.networks.initialise import build
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.steps import Phase
from augment_gen.training import Monitor, train

LATENTS = 100_000  # latents drawn beforehand, over all classes, that adversarial steps pick from
SCORE_ROWS = 2000  # rows of a class in the stop score
SCORE_GROUPS = 8  # groups of codes or ranks a column is cut into for the stop score
SCORE_COLUMNS = 64
SCORE_CLASSES = 20
R1_EVERY = 8


@dataclass(frozen=True)
class AdversarialSettings:
    """Settings of the adversarial stage, by size of the table."""

    n_steps: int
    batch_size: int
    generator_learning_rate: float
    discriminator_learning_rate: float
    discriminator_width: int
    ema_decay: float
    r1_weight: float
    moment_weight: float
    gumbel_temperature: float

    @classmethod
    def for_size(cls, n_rows):
        large = n_rows >= LARGE_TABLE
        return cls(
            n_steps=400 if large else 150 if n_rows >= 2000 else 100,
            batch_size=512 if large else 256,
            generator_learning_rate=2e-4,
            discriminator_learning_rate=8e-4,
            discriminator_width=256,
            ema_decay=0.99,
            r1_weight=0.5,
            moment_weight=1.0,
            gumbel_temperature=0.7,
        )


class TableAdversary:
    """The adversarial stage for a fitted autoencoder of a table.

    Parameters
    ----------
    decoder : FittedDecoder
        Its network's decoding half is trained on, in place.
    rows : dict of tensors
        As encoded by the codec.
    class_index : int64 array (n,)
    min_size : int
        Classes of fewer rows are left out: a discriminator would learn those rows by heart. They keep the densities and
        the shared decoder, and so borrow from the others.
    """

    def __init__(self, decoder, rows, class_index, min_size):
        self.decoder, self.codec, self.network = decoder, decoder.codec, decoder.network
        counts = np.bincount(class_index)
        varies = len(decoder.codec.layout_.blocks) > 0
        self.trained = np.flatnonzero((counts >= min_size) & varies)
        keep = torch.from_numpy(np.flatnonzero(np.isin(class_index, self.trained)))
        self.rows = {name: tensor[keep] for name, tensor in rows.items()}
        self.class_index, self.n_classes = torch.from_numpy(class_index)[keep], len(counts)
        self.settings = AdversarialSettings.for_size(len(class_index))

    def train(self, settings, plan, rng):
        """Train, keeping the weights with the lowest stop score; returns the curves."""
        generator = torch_generator(draw_seed(rng), plan.device)
        network, head = self.network, self.network.decoder[-1]
        architecture = {
            "layout": self.codec.layout_.to_dict(), "n_classes": self.n_classes, "width": settings.discriminator_width,
        }  # fmt: skip
        discriminator = build(TableDiscriminator, architecture, torch_generator(draw_seed(rng))).to(plan.device)
        latents = self._latents(rng).to(plan.device)
        shared = {}

        def draw(condition, generator):
            number = torch.randint(latents.shape[1], condition.shape, generator=generator, device=condition.device)
            outputs = network.decode(latents[condition, number], condition)
            return relaxed_rows(head, outputs, settings.gumbel_temperature, generator)

        def discriminate(rows, condition, now, generator):
            real = shared["real"] = real_rows(head, self.codec.inputs(rows, generator))
            with torch.no_grad():
                fake = draw(condition, generator)
            penalised = now.variant
            both = torch.cat([real.requires_grad_(penalised), fake])
            said_real, said_fake = discriminator(both, condition.repeat(2), n_groups=2).chunk(2)
            loss = F.relu(1 - said_real).mean() + F.relu(1 + said_fake).mean()
            if penalised:
                loss = loss + R1_EVERY * settings.r1_weight * gradient_penalty(said_real, real)
            return {"loss": loss, "discriminator": loss, "real_score": said_real.mean(), "fake_score": said_fake.mean()}

        def generate(rows, condition, now, generator):
            fake = draw(condition, generator)
            adversarial = -discriminator(fake, condition).mean()
            moments = class_moment_distance(shared["real"].detach(), fake, condition, self.n_classes)
            loss = adversarial + settings.moment_weight * moments
            return {"loss": loss, "generator": adversarial, "moments": moments}

        half = (network.decoder, network.decoder_input, network.decoder_class)
        phases = [
            Phase(
                (discriminator,), discriminate, settings.discriminator_learning_rate, betas=(0.0, 0.9),
                variant=lambda step: step % R1_EVERY == 0,
            ),
            Phase(half, generate, settings.generator_learning_rate, betas=(0.0, 0.9)),
        ]  # fmt: skip
        plan = replace(plan, n_steps=settings.n_steps, batch_size=settings.batch_size, ema_decay=settings.ema_decay)
        every = max(1, settings.n_steps // 8)
        monitor = Monitor(self._stop_score(rng), every, patience=3, complaint=discriminator_won)
        return train(phases, self.rows, self.class_index, plan, n_classes=self.n_classes, generator=generator, monitor=monitor)

    def _latents(self, rng):
        """float32 (n_classes, n, latent_dim): latents of every class."""
        n_each = int(np.clip(LATENTS // self.n_classes, 100, 20_000))
        density = self.decoder.density
        return torch.stack([torch.from_numpy(density.sample(np.full(n_each, k), rng)) for k in range(self.n_classes)])

    def _stop_score(self, rng):
        """A function without arguments: how far rows drawn now are from the real ones, averaged over classes.

        Of each class the total variation distance of the joint distribution of every pair of columns, cut into groups,
        averaged over pairs. DEVIATION: compared with training rows; rare classes have none to spare for validation.
        """
        counts = np.bincount(self.class_index.numpy(), minlength=self.n_classes)
        classes = self.trained[np.argsort(-counts[self.trained], kind="stable")][:SCORE_CLASSES]
        groups = _Groups(self.codec.layout_, self.rows, rng)
        real = {}
        for k in classes:
            rows = np.flatnonzero(self.class_index.numpy() == k)
            rows = rng.choice(rows, min(len(rows), SCORE_ROWS), replace=False)
            middle = (self.rows["low"][rows] + self.rows["high"][rows]) / 2
            real[k] = groups.pair_shares(self.rows["codes"][rows], middle)
        seed = draw_seed(rng)

        def score():
            distances = []
            for k, shares in real.items():
                drawn = self.decoder.draw(np.full(SCORE_ROWS, k), np.random.default_rng(seed), 1.0)
                distances.append(0.5 * (groups.pair_shares(drawn["codes"], drawn["ranks"]) - shares).abs().mean())
            return float(torch.stack(distances).mean())

        return score


class _Groups:
    """Cuts every column into at most 8 ordered groups of codes and ranks, of about equal mass."""

    def __init__(self, layout, rows, rng):
        n_blocks = len(layout.blocks)
        self.columns = np.sort(rng.choice(n_blocks, min(n_blocks, SCORE_COLUMNS), replace=False))
        self.scalar = {int(block): i for i, block in enumerate(layout.scalar_blocks)}
        self.edges = {c: self._edges(self._position(rows["codes"], rows["low"], c)) for c in self.columns}

    def _position(self, codes, ranks, column):
        """Code plus rank: one number by which the cells of a column are ordered."""
        rank = ranks[:, self.scalar[column]].double() if column in self.scalar else 0.0
        return codes[:, column].double() + rank

    def _edges(self, position):
        quantiles = torch.linspace(0, 1, SCORE_GROUPS + 1, dtype=torch.double)[1:-1]
        return torch.quantile(position[:100_000], quantiles).unique()

    def pair_shares(self, codes, ranks):
        """float32 (n_groups, n_groups): share of rows in each pair of groups, over all pairs of columns."""
        parts = []
        for column in self.columns:
            group = torch.searchsorted(self.edges[column], self._position(codes, ranks, column), right=True)
            parts.append(F.one_hot(group, len(self.edges[column]) + 1).float())
        one_hot = torch.cat(parts, dim=1)
        return one_hot.T @ one_hot / len(one_hot)


def discriminator_won(history):
    """A complaint, where the discriminator told everything apart for 100 steps on end; None otherwise."""
    lately = [entry["discriminator"] for entry in history[-4:]]
    if len(lately) == 4 and max(lately) < 0.02:
        return "the discriminator tells every row apart, so the generator learns nothing more"
    return None


def gradient_penalty(scores, rows):
    """R1: half the mean squared gradient of the scores at real rows (Mescheder et al. 2018, equation 9)."""
    (gradient,) = torch.autograd.grad(scores.sum(), rows, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def class_moment_distance(real, fake, condition, n_classes):
    """Squared distance of the class means of real and drawn rows, averaged over the rows' classes.

    Keeps a generator from dropping what a class consists of. Shapes: (batch, p), (batch, p), int64 (batch,).
    """
    member = (condition[:, None] == torch.arange(n_classes, device=condition.device)).to(real.dtype)  # one_hot would wait
    counts = member.sum(0)
    gap = member.T @ (real - fake) / counts.clamp_min(1)[:, None]
    weight = counts / counts.sum()  # the noise of a class mean falls with its count, and so does its weight
    return (weight[:, None] * gap.square()).sum()
