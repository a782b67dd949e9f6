"""How a ConditionalVAE learns images: network, losses, and defaults that scale with the data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch.nn import functional as F

from augment_gen.errors import InvalidParameterError
from augment_gen.generators.judging import N_JUDGES, batches, fit_judge, fit_judges
from augment_gen.latent import DensityRule
from augment_gen.networks.augmentation import Augmentation
from augment_gen.networks.conv import ConvVAE, recalibrate
from augment_gen.networks.initialise import build
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.steps import Phase, warm_up

WARM_UP = 0.2  # share of the steps over which beta rises to its full weight
LABEL_START = 0.3  # share of the steps after which the label term counts: before, there are no images to be judged
SWAPPED_SHARE = 0.5  # swapped rows as a share of the batch
SMALL_SIDE = 16  # pixels, up to which a convolution is too little work for two threads
JUDGE_STEPS = 500  # of the judge that sees all images
BYTES_DECODED = 2**26  # of activations at half resolution


@dataclass(frozen=True)
class ImageSettings:
    """Settings by resolution and number of images; `for_size` holds the measured rules."""

    latent_dim: int
    width: int
    beta: float
    n_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    ema_decay: float
    label_weight: float
    norm: str
    augment: Augmentation | Mapping | str | None

    @classmethod
    def for_size(cls, n_images, channels, side):
        """Defaults for `n_images` of a mean side of `side` pixels, measured on 700 to 4,700 images of 8 to 64 pixels.

        With 32 latents instead of 16, 1,300 digits followed their labels less often and missed the classes by more, while
        4,700 x-rays were met more closely; less beta suits more images, too, and small ones, whose likelihood adds up over
        fewer pixels and would be drowned out.
        """
        beta = min(1.0, (side / 28) ** 2) * float(np.clip(4 * (1500 / n_images) ** 0.5, 1, 4))
        gentle = min(1.0, side / 28)  # turning and moving a small image mostly blurs it
        return cls(
            latent_dim=16 if n_images < 3000 and channels == 1 else 32,
            width=24 if side <= 40 else 16 if side <= 160 else 12,
            beta=beta,
            n_steps=int(1500 * np.clip((n_images / 5000) ** 0.5, 1, 3)),
            batch_size=64 if side <= 96 else 32,
            learning_rate=2e-3,
            weight_decay=1e-3,
            ema_decay=0.995,
            label_weight=max(5.0, 20 * (side / 28) ** 2),
            norm="batch",
            augment=Augmentation(degrees=10 * gentle, translate=0.08 * gentle, scale=0.08 * gentle),
        )


class ImageVAERecipe:
    """What `ConditionalVAE` asks of a modality, for images.

    Parameters
    ----------
    codec : ImageCodec
        Fitted.
    class_counts : int64 array (n_classes,)
    """

    worth_autocast = True

    def __init__(self, codec, class_counts):
        self.codec, self.class_counts = codec, class_counts
        channels, height, width = codec.format_.size
        self.n_values = channels * height * width
        self.settings = ImageSettings.for_size(int(class_counts.sum()), channels, (height * width) ** 0.5)
        self.max_threads = 1 if max(height, width) <= SMALL_SIDE else None
        self.density_rule = DensityRule(interpolation=None, rows_per_component=30, shrinkage=1.0, mean_shrinkage=0.3)

    def network(self, settings, generator):
        """A `ConvVAE` with initial weights; it has judges where the label term has weight."""
        channels, height, width = self.codec.format_.size
        architecture = {
            "n_channels": channels,
            "height": height,
            "width": width,
            "n_classes": len(self.class_counts),
            "latent_dim": settings.latent_dim,
            "first_channels": settings.width,
            "norm": settings.norm,
            "judge_channels": settings.width if settings.label_weight else 0,
            "n_judges": N_JUDGES if settings.label_weight else 0,
        }
        return build(ConvVAE, architecture, generator).to(memory_format=torch.channels_last)

    def prepare(self, network, settings, rows, class_index, plan, rng):
        """Train the judges on all classes alike, and fix them."""
        if network.judge is None:
            return
        augment, images = resolve_augmentation(settings.augment), rows["images"].to(plan.device)
        inputs = lambda numbers, generator: augment(
            self.codec.inputs({"images": images[numbers]}, generator)["images"], generator
        )
        numbers, n_classes = torch.arange(len(class_index)), len(self.class_counts)
        first = replace(plan, n_steps=min(JUDGE_STEPS, plan.n_steps), description="label judge")
        generator = torch_generator(draw_seed(rng), plan.device)
        fit_judge(network.judge, inputs, numbers, class_index, n_classes, first, generator)
        network.judge.requires_grad_(False)
        fit_judges(network.judges, inputs, class_index, n_classes, plan, rng)

    def phase(self, network, settings):
        """The negative evidence lower bound and the label term, in nats per pixel value.

        The reconstruction is the analytic-sigma likelihood of Rybkin et al. (2021); beta (Higgins et al. 2017) is warmed up.
        The label term decodes latents of images of the batch with labels drawn at random, and asks the judge for those
        labels: without it the class can be read from z, and the decoder learns to ignore the label it is given.
        """
        augment = resolve_augmentation(settings.augment)

        def loss(rows, condition, now, generator):
            inputs = {"images": augment(self.codec.inputs(rows, generator)["images"], generator)}
            mean, log_variance = network.encode(inputs, condition)
            noise = mean.new_empty(mean.shape).normal_(generator=generator)
            z = mean + noise * (0.5 * log_variance).exp()
            judged = now.variant
            swapped, asked = self._swap(z, generator) if judged else (z[:0], condition[:0])
            images = network.decode(torch.cat([z, swapped]), torch.cat([condition, asked]))["images"]
            reconstruction = network.negative_log_likelihood({"images": images[: len(z)]}, inputs).mean()
            kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
            total = reconstruction + now.weight * kl
            label = F.cross_entropy(network.judge(images[len(z) :]).float(), asked) if judged else torch.zeros_like(kl)
            total = total + settings.label_weight * label
            return {"loss": total / self.n_values, "reconstruction": reconstruction, "kl": kl, "label": label}

        return Phase(
            (network,), loss, settings.learning_rate, settings.weight_decay,
            schedule=warm_up(settings.n_steps, WARM_UP, settings.beta),
            variant=lambda step: network.judge is not None and step / settings.n_steps >= LABEL_START,
        )  # fmt: skip

    def _swap(self, z, generator):
        """Latents of half the batch, which the term must not move, and a label drawn for each from all classes alike."""
        swapped = z[: max(1, int(SWAPPED_SHARE * len(z)))].detach()
        asked = torch.randint(len(self.class_counts), (len(swapped),), generator=generator, device=z.device)
        return swapped, asked

    def finish(self, network, settings, rows, class_index, plan, generator):
        """Recompute the batch-norm statistics under the averaged weights."""
        phase = self.phase(network, settings)
        recalibrate(network, batches(phase, rows, class_index, len(self.class_counts), plan, generator))

    def worth_drawing_in_bfloat16(self, settings, device):
        """As in training."""
        return self.worth_autocast

    def max_rows_decoded(self):
        """Images whose activations fit into a bounded amount of memory (64 MB)."""
        return int(np.clip(BYTES_DECODED // (4 * 8 * self.n_values), 16, 1024))


def resolve_augmentation(augment):
    """An `Augmentation` from what ``ConditionalVAE(augment=)`` takes, other than "auto".

    Raises
    ------
    InvalidParameterError
        A dict that names something else than the parts of an `Augmentation`, or gives one a value out of range.
    """
    if isinstance(augment, Augmentation):
        return augment
    if augment is None or augment == "none":
        return Augmentation()
    known = {part.name: part.type for part in fields(Augmentation)}
    unknown = [name for name in augment if name not in known]
    if unknown:
        raise InvalidParameterError(f"augment has no part {unknown[0]!r}. Its parts are {', '.join(known)}.")
    for name, value in augment.items():
        upper = 180 if name == "degrees" else 1
        if isinstance(value, str) or not np.isscalar(value) or not 0 <= value <= upper:
            raise InvalidParameterError(f"augment[{name!r}] must be from 0 to {upper}; got {value!r}.")
    return Augmentation(**augment)
