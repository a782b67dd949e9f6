"""How a ConditionalGAN learns images: an autoencoder first, then an adversary that polishes its decoder.

The decoder of a class-conditional VAE and the densities fitted to its latents are the generator that adversarial training
starts from, so no class can be lost from the start, and some hundred steps suffice. Enters: a `FittedDecoder`, and the
rows it was trained on. Leaves: the same, with a sharper decoder.

DEVIATION: latents are drawn from the densities of the classes instead of N(0, I) as in Goodfellow et al. (2014), and the
decoder goes on reconstructing the training images while it learns to deceive (as in Larsen et al. 2016, "Autoencoding
beyond pixels", arXiv:1512.09300, but with a fixed encoder): the densities stay those of what the decoder knows. Measured on
imbalanced MNIST, that term makes the difference between a stop score that falls throughout and one that soon rises.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.errors import InvalidParameterError
from augment_gen.generators.gan_table import discriminator_won
from augment_gen.networks.adversary_image import DiffAugmentation, ImageDiscriminator, bands
from augment_gen.networks.initialise import build
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.steps import Phase, warm_up
from augment_gen.training import Monitor, train

LATENTS = 50_000  # latents drawn beforehand, over all classes, that adversarial steps pick from
SCORE_IMAGES = 2000  # images in the stop score over all classes, at most 200 of each
SCORE_CLASSES = 20
N_SCORES = 8  # times that the stop score is computed
PATIENCE = N_SCORES  # training runs to its end: the score often rises at the peak rate, and falls again as that comes down
R1_EVERY = 8  # steps between two gradient penalties
LECAM_START = 0.1  # share of the steps after which LeCam counts: before, there are no typical scores to stay near to
LECAM_DECAY = 0.99  # of the moving averages of the discriminator's scores
RAMP = 0.1  # share of the steps over which the decoder comes to heed the discriminator, which starts out knowing nothing
LABEL_DOUBT = math.log(2)  # nats of cross-entropy below which the label asked for is likelier than all others together
DIFF_AUGMENTATION = DiffAugmentation(translate=0.125, cutout=0.5)  # brightness can be what tells medical classes apart


@dataclass(frozen=True)
class AdversarialImageSettings:
    """Settings of the adversarial stage by resolution and number of images.

    Attributes
    ----------
    n_steps, batch_size : int
    generator_learning_rate, discriminator_learning_rate : float
        Peak rates of one-cycle schedules (two time scales, Heusel et al. 2017).
    discriminator_channels : int
        At half the image's resolution.
    ema_decay : float
    r1_weight : float
        Of the gradient penalty, for values from 0 to 1.
    lecam_weight : float
    judge_weight : float
        Of the label judge's cross-entropy of drawn images, as far as it exceeds log 2: pressing on made every image a
        caricature of its class (on PneumoniaMNIST, Frechet distance per class 4.6 instead of 2.4, with all else equal).
    anchor_weight : float
        Of the mean squared error of reconstructed training images.
    diff_augment : DiffAugmentation, dict, "none" or None
    """

    n_steps: int
    batch_size: int
    generator_learning_rate: float
    discriminator_learning_rate: float
    discriminator_channels: int
    ema_decay: float
    r1_weight: float
    lecam_weight: float
    judge_weight: float
    anchor_weight: float
    diff_augment: DiffAugmentation | Mapping | str | None

    @classmethod
    def for_size(cls, n_images, side):
        """Defaults for `n_images` of a mean side of `side` pixels, measured on 28 x 28 digits and x-rays.

        A faster decoder outruns the discriminator, and ends in textures that only look right to it.
        """
        return cls(
            n_steps=800,
            batch_size=64 if side <= 96 else 32,
            generator_learning_rate=1e-4,
            discriminator_learning_rate=2e-3,
            discriminator_channels=24 if side <= 40 else 16,
            ema_decay=0.99,
            r1_weight=0.01,
            lecam_weight=0.1,
            judge_weight=0.2,
            anchor_weight=10.0,
            diff_augment=DIFF_AUGMENTATION,
        )


class ImageAdversary:
    """The adversarial stage for a fitted autoencoder of images.

    Parameters
    ----------
    decoder : FittedDecoder
        Its network's decoder is trained on, in place; the network has a judge.
    rows : dict of tensors
        As encoded by the codec.
    class_index : int64 array (n,)
    min_size : int
        The discriminator is not shown smaller classes: it would learn those images by heart. They keep their densities, and
        borrow from the others through the shared decoder, which still has to reconstruct their images and to please the
        judge with what it draws of them.

    Attributes
    ----------
    trained : int64 array
        The classes that the discriminator is shown.
    settings : AdversarialImageSettings
    """

    def __init__(self, decoder, rows, class_index, min_size):
        self.decoder, self.codec, self.network = decoder, decoder.codec, decoder.network
        self.counts = np.bincount(class_index)
        self.trained = np.flatnonzero(self.counts >= min_size)
        self.rows, self.class_index = rows, torch.from_numpy(class_index)
        self.size = self.codec.format_.size
        _, height, width = self.size
        self.settings = AdversarialImageSettings.for_size(len(class_index), (height * width) ** 0.5)

    def train(self, settings, plan, rng):
        """Train, keeping the weights with the lowest stop score; returns the curves."""
        generator = torch_generator(draw_seed(rng), plan.device)
        discriminator = self._discriminator(settings, rng).to(plan.device, memory_format=torch.channels_last)
        game = _Game(self, discriminator, settings, plan.device, rng)
        rate, memory = settings.discriminator_learning_rate, tuple(game.usual.values())
        phases = [
            Phase((discriminator,), game.discriminate, rate, betas=(0.0, 0.9), memory=memory, variant=game.terms),
            Phase(
                (FixedNorms(self.network.decoder),), game.generate, settings.generator_learning_rate, betas=(0.0, 0.9),
                schedule=warm_up(settings.n_steps, RAMP),
            ),
        ]  # fmt: skip
        mean, deviation = self.decoder.posterior(self.rows, self.class_index, generator)
        rows = {**self.rows, "mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)}
        plan = replace(plan, n_steps=settings.n_steps, batch_size=settings.batch_size, ema_decay=settings.ema_decay)
        every = max(1, settings.n_steps // N_SCORES)
        monitor = Monitor(self._stop_score(rng), every, PATIENCE, complaint=discriminator_won)
        return train(phases, rows, self.class_index, plan, n_classes=len(self.counts), generator=generator, monitor=monitor)

    def _discriminator(self, settings, rng):
        n_channels, height, width = self.size
        architecture = {
            "n_channels": n_channels,
            "height": height,
            "width": width,
            "n_classes": len(self.counts),
            "first_channels": settings.discriminator_channels,
            "spreads": self._spreads(rng),
        }
        return build(ImageDiscriminator, architecture, torch_generator(draw_seed(rng)))

    def _spreads(self, rng):
        """Standard deviations of the bands of real images, over as many of them as memory allows."""
        n_images = len(self.class_index)
        index = rng.choice(n_images, min(n_images, self._within_memory(1000)), replace=False)
        images = self.codec.inputs({"images": self.rows["images"][index]}, None)["images"]
        return [max(1e-3, float(band.std())) for band in bands(images)]  # flat images have empty bands

    def _within_memory(self, n_images):
        """So many images, or as many as have 2 ** 24 values (64 MB), but at least 50."""
        return min(n_images, max(50, 2**24 // math.prod(self.size)))

    def _stop_score(self, rng):
        """A function without arguments: how far images drawn now are from the real ones, averaged over classes.

        Of each class the unbiased kernel distance (Bińkowski et al. 2018), once in features of the judge, and once in those
        of a discriminator with random weights: the judge does not mind a texture that says nothing about the class, and
        the decoder is trained to please it. DEVIATION: compared with training images; rare classes have none to spare for
        validation.
        """
        untrained = self._discriminator(self.settings, rng).to(self.decoder.device).eval()
        judges = partial(_judge_features, self.network.judge), untrained.texture
        classes = self.trained[np.argsort(-self.counts[self.trained], kind="stable")][:SCORE_CLASSES]
        n_drawn = self._within_memory(int(np.clip(SCORE_IMAGES // len(classes), 50, 200)))
        real, seed = {}, draw_seed(rng)
        for k in classes:
            index = np.flatnonzero(self.class_index.numpy() == k)
            index = rng.choice(index, min(len(index), 2 * n_drawn), replace=False)
            images = self.codec.inputs({name: tensor[index] for name, tensor in self.rows.items()}, None)["images"]
            real[k] = [self._seen(judge, images) for judge in judges]
        everything = [torch.cat(parts) for parts in zip(*real.values(), strict=True)]
        scales = [(rows.mean(0), _spread(rows)) for rows in everything]

        def score():
            draws, distances = np.random.default_rng(seed), []
            for k, seen in real.items():
                images = self.decoder.draw(np.full(n_drawn, k), draws, 1.0)["images"].float()
                for judge, features, (middle, spread) in zip(judges, seen, scales, strict=True):
                    drawn = self._seen(judge, images)
                    distances.append(kernel_distance((features - middle) / spread, (drawn - middle) / spread))
            return float(torch.stack(distances).mean())

        return score

    @torch.no_grad()
    def _seen(self, judge, images):
        """float32 (n, p): features by `judge` of images (n, C, H, W) from 0 to 1, in passes of bounded size."""
        parts = []
        for part in images.split(self.decoder.max_rows):
            with self.decoder.autocasting():
                parts.append(judge(part.to(self.decoder.device)).float())
        return torch.cat(parts)


class _Game:
    """The two losses of adversarial training, and the little that they remember from step to step.

    Parameters
    ----------
    adversary : ImageAdversary
    discriminator : ImageDiscriminator
    settings : AdversarialImageSettings
    device : torch.device
    rng : numpy.random.Generator
    """

    def __init__(self, adversary, discriminator, settings, device, rng):
        self.network, self.codec = adversary.network, adversary.codec
        self.discriminator, self.settings = discriminator, settings
        self.look = resolve_diff_augmentation(settings.diff_augment)
        self.usual = {name: torch.zeros((), device=device, dtype=torch.float32) for name in ("real", "fake")}
        self.shown = torch.zeros(len(adversary.counts), device=device, dtype=torch.float32)
        self.shown[torch.from_numpy(adversary.trained)] = 1.0
        self.latents = _latents(adversary.decoder.density, len(adversary.counts), rng).to(device)

    def terms(self, step):
        """What `discriminate` counts in a step beside the hinge loss: whether the gradient penalty, and whether LeCam."""
        return step % R1_EVERY == 0, step / self.settings.n_steps >= LECAM_START

    def discriminate(self, rows, condition, now, generator):
        """Hinge loss (Lim and Ye 2017) with a lazy gradient penalty (R1, Mescheder et al. 2018) and LeCam (Tseng et al. 2021).

        Rows of the classes that the discriminator is not to be shown weigh nothing.
        """
        penalised, steadied = now.variant
        with torch.no_grad():
            real = self.look(self.codec.inputs(rows, generator)["images"], generator)
            fake = self.look(self.network.decode(self._draw(condition, generator), condition)["images"], generator)
        real = real.detach().requires_grad_(penalised)  # apart from the batch, which the other phase still uses
        weight = self._weight(condition)
        said_real, said_fake = self.discriminator(real, condition), self.discriminator(fake, condition)
        hinge = (weight * (F.relu(1 - said_real) + F.relu(1 + said_fake))).sum()
        loss = hinge
        if steadied:
            strayed = F.relu(said_real - self.usual["fake"]).square() + F.relu(self.usual["real"] - said_fake).square()
            loss = loss + self.settings.lecam_weight * (weight * strayed).sum()
        if penalised:
            loss = loss + R1_EVERY * self.settings.r1_weight * _gradient_penalty(said_real, real, weight)
        curves = {"real_score": (weight * said_real).sum(), "fake_score": (weight * said_fake).sum()}
        self.usual["real"].lerp_(curves["real_score"].detach(), 1 - LECAM_DECAY)
        self.usual["fake"].lerp_(curves["fake_score"].detach(), 1 - LECAM_DECAY)
        return {"loss": loss, "discriminator": hinge, **curves}

    def generate(self, rows, condition, now, generator):
        """Deceive the discriminator, show the judge the label that was asked for, and still know the training images."""
        half = max(1, len(condition) // 2)
        noise = torch.empty_like(rows["mean"][:half]).normal_(generator=generator)
        known = rows["mean"][:half] + rows["deviation"][:half] * noise
        z = torch.cat([self._draw(condition, generator), known])
        images = self.network.decode(z, torch.cat([condition, condition[:half]]))["images"]
        fake, again = images[: len(condition)], images[len(condition) :]
        adversarial = -(self._weight(condition) * self.discriminator(self.look(fake, generator), condition)).sum()
        doubt = F.cross_entropy(self.network.judge(fake).float(), condition, reduction="none")
        label = F.relu(doubt - LABEL_DOUBT).mean()
        real = self.codec.inputs({"images": rows["images"][:half]}, generator)["images"]
        anchor = F.mse_loss(again, real)
        loss = now.weight * adversarial + self.settings.judge_weight * label + self.settings.anchor_weight * anchor
        return {"loss": loss, "generator": adversarial, "label": label, "anchor": anchor}

    def _weight(self, condition):
        """(batch,): of each row in a mean over the rows of the classes that the discriminator is shown."""
        weight = self.shown[condition]
        return weight / weight.sum().clamp_min(1)

    def _draw(self, condition, generator):
        """Latents of the classes `condition`, (batch, latent_dim)."""
        number = torch.randint(self.latents.shape[1], condition.shape, generator=generator, device=condition.device)
        return self.latents[condition, number]


class FixedNorms(nn.Module):
    """A decoder that trains on without touching its batch-norm statistics.

    Each image is then drawn the same way in training and in sampling, whatever else is in the batch, and averaged weights
    need no new statistics.
    """

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def train(self, mode=True):
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def _spread(features):
    """(p,): standard deviations of features (n, p), none so small that its quotients get out of hand."""
    deviations = features.std(0)
    return deviations.clamp_min(max(1e-3, 0.1 * float(deviations.mean())))


def _judge_features(judge, images):
    """(n, p): what the last layer of a `Judge` decides by."""
    return judge.last(judge.trunk(judge.grid.pad(2 * images - 1))).float().mean((2, 3))


def _latents(density, n_classes, rng):
    """float32 (n_classes, n, latent_dim): latents of every class."""
    n_each = int(np.clip(LATENTS // n_classes, 100, 10_000))
    return torch.stack([torch.from_numpy(density.sample(np.full(n_each, k), rng)) for k in range(n_classes)])


def _gradient_penalty(scores, images, weight):
    """Half the squared gradient of the scores at real images, as a mean by `weight` (Mescheder et al. 2018, eq. 9)."""
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return 0.5 * (weight * gradient.square().flatten(1).sum(1)).sum()


def kernel_distance(a, b):
    """Unbiased squared distance of two samples under a cubic kernel (Bińkowski et al. 2018, "Demystifying MMD GANs").

    Shapes: (n, p) and (m, p), each of at least two rows. Around 0, and also below it, where they are of one distribution.
    """
    kernel = lambda u, v: (u @ v.T / u.shape[1] + 1) ** 3
    within = lambda gram: (gram.sum() - gram.trace()) / (len(gram) * (len(gram) - 1))
    return within(kernel(a, a)) + within(kernel(b, b)) - 2 * kernel(a, b).mean()


def resolve_diff_augmentation(diff_augment):
    """A `DiffAugmentation` from what ``ConditionalGAN(diff_augment=)`` takes, other than "auto".

    Raises
    ------
    InvalidParameterError
        A dict that names something else than the parts of a `DiffAugmentation`, or gives one a value out of range.
    """
    if isinstance(diff_augment, DiffAugmentation):
        return diff_augment
    if diff_augment is None or diff_augment == "none":
        return DiffAugmentation()
    known = [part.name for part in fields(DiffAugmentation)]
    unknown = [name for name in diff_augment if name not in known]
    if unknown:
        raise InvalidParameterError(f"diff_augment has no part {unknown[0]!r}. Its parts are {', '.join(known)}.")
    for name, value in diff_augment.items():
        if isinstance(value, (str, bool)) or not np.isscalar(value) or not 0 <= value <= 1:
            raise InvalidParameterError(f"diff_augment[{name!r}] must be a number from 0 to 1; got {value!r}.")
    return DiffAugmentation(**diff_augment)
