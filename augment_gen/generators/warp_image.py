"""How the warp generators learn: pairs of images of one class, and the judges of what is drawn.

Enters: the codec's rows and their classes. Leaves: a `FittedWarper`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from augment_gen.devices import resolve_autocast, resolve_device
from augment_gen.generators.judging import N_JUDGES, batches, fit_judges
from augment_gen.generators.settings import with_given
from augment_gen.generators.vae_image import SMALL_SIDE, WARM_UP, resolve_augmentation
from augment_gen.generators.warper import FittedWarper, PooledPosterior
from augment_gen.networks.augmentation import Augmentation
from augment_gen.networks.conv import recalibrate
from augment_gen.networks.initialise import build
from augment_gen.networks.warp import roughness
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.steps import Phase, warm_up
from augment_gen.training import ClassSampler, Plan, train

PAIRS = 2048  # pairs whose deformations are drawn from afterwards
BYTES_WARPED = 2**26


@dataclass(frozen=True)
class WarpSettings:
    """Settings by resolution and number of images; `for_size` holds the measured rules."""

    latent_dim: int
    width: int
    beta: float
    roughness: float
    n_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    ema_decay: float
    norm: str
    augment: Augmentation | Mapping | str | None

    @classmethod
    def for_size(cls, n_images, side):
        """Defaults for `n_images` of a mean side of `side` pixels."""
        gentle = min(1.0, side / 28)  # turning and moving a small image mostly blurs it
        return cls(
            latent_dim=12,
            width=24 if side <= 40 else 16 if side <= 160 else 12,
            beta=2.0 * min(1.0, (side / 28) ** 2),
            roughness=10.0,
            n_steps=1200,
            batch_size=64 if side <= 96 else 32,
            learning_rate=2e-3,
            weight_decay=1e-3,
            ema_decay=0.995,
            norm="batch",
            augment=Augmentation(degrees=10 * gentle, translate=0.08 * gentle, scale=0.08 * gentle),
        )


class WarpTraining:
    """One fit of a warp generator on the rows of its codec.

    Parameters
    ----------
    estimator : BaseGenerator
        Gives ``codec_``, ``conditions_`` and the parameters that it has set.
    rows : dict of tensors
        As encoded by the codec.
    class_index : int64 array (n,)
    rng : numpy.random.Generator
    course : Course
    """

    def __init__(self, estimator, rows, class_index, rng, course):
        self.estimator, self.codec, self.rng = estimator, estimator.codec_, rng
        channels, height, width = self.codec.format_.size
        self.n_values, self.n_classes = channels * height * width, len(estimator.conditions_.counts_)
        settings = WarpSettings.for_size(len(class_index), (height * width) ** 0.5)
        self.settings = with_given(settings, estimator, len(class_index))
        self.n_judges = N_JUDGES if estimator.label_threshold else 0
        self.architecture = {
            "n_channels": channels, "height": height, "width": width, "n_classes": self.n_classes,
            "first_channels": self.settings.width, "norm": self.settings.norm, "n_judges": self.n_judges,
        }  # fmt: skip
        self.rows, self.class_index = rows, torch.from_numpy(class_index)
        self.augment = resolve_augmentation(self.settings.augment)
        device = resolve_device(estimator.device)
        self.plan = Plan(
            n_steps=self.settings.n_steps,
            batch_size=self.settings.batch_size,
            device=device,
            class_tempering=estimator.class_tempering,
            ema_decay=self.settings.ema_decay,
            autocast=resolve_autocast(estimator.precision, device, worthwhile=True),
            verbose=estimator.verbose,
            max_threads=1 if max(height, width) <= SMALL_SIDE else None,
            description="deformations",
            course=course,
            interruptible=True,
        )

    def network(self, network_class, **architecture):
        """A network with initial weights, and judges that have been trained."""
        generator = torch_generator(draw_seed(self.rng))
        network = build(network_class, {**self.architecture, **architecture}, generator)
        network = network.to(self.plan.device, memory_format=torch.channels_last)
        if self.n_judges:
            images = self.rows["images"].to(self.plan.device)
            inputs = lambda numbers, generator: self._inputs(images[numbers], generator)
            fit_judges(network.judges, inputs, self.class_index, self.n_classes, self.plan, self.rng)
        return network.eval()

    def learn(self, network):
        """Train a `DeformationVAE`; returns its curves and the deformations of pairs of all classes."""
        generator = torch_generator(draw_seed(self.rng), self.plan.device)
        pairs = Pairs(self.rows, self.class_index, self.n_classes, self.plan.device)
        phase = self._phase(network, pairs)
        numbers, n_classes = torch.arange(len(self.class_index)), self.n_classes
        history = train([phase], {"number": numbers}, self.class_index, self.plan, n_classes=n_classes, generator=generator)
        recalibrate(network, batches(phase, {"number": numbers}, self.class_index, self.n_classes, self.plan, generator))
        return history, self._posterior(network, pairs, generator)

    def warper(self, network, posterior, strength=1.0):
        """What `fit` leaves behind to draw with."""
        max_rows = int(np.clip(BYTES_WARPED // (4 * 8 * self.n_values), 16, 1024))
        threshold, plan = self.estimator.label_threshold, self.plan
        warper = FittedWarper(network, self.codec, posterior, strength, threshold, plan.device, plan.autocast, max_rows)
        return warper.keep_exemplars(self.rows["images"], self.class_index, self.n_classes)

    def _inputs(self, images, generator):
        return self.augment(self.codec.inputs({"images": images}, generator)["images"], generator)

    def _phase(self, network, pairs):
        settings = self.settings

        def loss(rows, condition, now, generator):
            first = self._inputs(pairs.images[rows["number"]], generator)
            second = self._inputs(pairs.images[pairs.partners(condition, generator)], generator)
            mean, log_variance = network.encode(first, second)
            noise = mean.new_empty(mean.shape).normal_(generator=generator)
            flow = network.flow(first, mean + noise * (0.5 * log_variance).exp())
            reconstruction = network.negative_log_likelihood(network.warp(first, flow), second).mean()
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
            rough = roughness(flow).mean() * self.n_values
            total = reconstruction + now.weight * kl + settings.roughness * rough
            return {"loss": total / self.n_values, "reconstruction": reconstruction, "kl": kl, "roughness": rough}

        modules, beta = (network.encoder, network.head, network.decoder), warm_up(settings.n_steps, WARM_UP, settings.beta)
        return Phase(modules, loss, settings.learning_rate, settings.weight_decay, schedule=beta)

    @torch.no_grad()
    def _posterior(self, network, pairs, generator):
        """The deformations of pairs, drawn by class as in training."""
        sampler = ClassSampler(self.class_index, self.n_classes, self.plan.class_tempering, self.plan.device)
        condition, means, deviations = self.class_index.to(self.plan.device), [], []
        for _ in range(-(-PAIRS // 256)):
            first = sampler.draw(256, generator)
            second = pairs.partners(condition[first], generator)
            with torch.autocast(self.plan.device.type, dtype=torch.bfloat16, enabled=self.plan.autocast):
                images = [self._inputs(pairs.images[index], generator) for index in (first, second)]
                mean, log_variance = network.encode(*images)
            means.append(mean.cpu())
            deviations.append((0.5 * log_variance).exp().cpu())
        return PooledPosterior(torch.cat(means).numpy(), torch.cat(deviations).numpy())


class Pairs:
    """All images on the device, and partners of the same class for those of a batch."""

    def __init__(self, rows, class_index, n_classes, device):
        self.images = rows["images"].to(device)
        self.order = torch.argsort(class_index, stable=True).to(device)
        counts = torch.bincount(class_index, minlength=n_classes)
        self.start, self.counts = (counts.cumsum(0) - counts).to(device), counts.to(device)

    def partners(self, condition, generator):
        """int64 (batch,): numbers of rows of the classes `condition`, each at random."""
        noise = torch.rand(condition.shape, generator=generator, device=condition.device, dtype=torch.float32)
        counts = self.counts[condition]
        return self.order[self.start[condition] + (noise * counts).long().clamp_max(counts - 1)]
