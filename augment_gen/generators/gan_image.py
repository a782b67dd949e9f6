"""How a ConditionalGAN learns images: an autoencoder first, then an adversary that polishes its decoder."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.generators.vae_image import resolve_augmentation
from augment_gen.networks.adversary_image import DiffAugmentation, ImageDiscriminator
from augment_gen.networks.conv import Grid, Judge
from augment_gen.networks.initialise import build
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.training import Monitor, Phase, train

LATENTS = 50_000
SCORE_IMAGES = 300
SCORE_CLASSES = 20
R1_EVERY = 8


@dataclass(frozen=True)
class AdversarialImageSettings:
    n_steps: int = 1000
    batch_size: int = 64
    generator_learning_rate: float = 4e-4
    discriminator_learning_rate: float = 1e-3
    discriminator_channels: int = 32
    ema_decay: float = 0.99
    r1_weight: float = 0.01
    lecam_weight: float = 0.1
    label_weight: float = 1.0
    anchor_weight: float = 0.0
    spare_share: float = 0.25
    spare_adv: float = 0.0
    class_tempering_adv: float = 0.5
    train_norm: bool = False
    augment: object = None
    noise: float = 0.0
    adv: float = 1.0
    pixel: float = 1.0
    feature: float = 0.0
    diff_augment: object = DiffAugmentation(translate=0.125, cutout=0.5)


class FixedNorms(nn.Module):
    def __init__(self, decoder, live=False):
        super().__init__()
        self.decoder = decoder
        self.live = live

    def train(self, mode=True):
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.BatchNorm2d) and not self.live:
                part.eval()
        return self


class ImageAdversary:
    def __init__(self, decoder, rows, class_index, min_size):
        self.decoder, self.codec, self.network = decoder, decoder.codec, decoder.network
        counts = np.bincount(class_index)
        self.trained = np.flatnonzero(counts >= min_size)
        self.borrowing = np.flatnonzero(counts < min_size)
        self.counts = counts
        self.all_rows, self.all_index = rows, torch.from_numpy(class_index)
        keep = torch.from_numpy(np.flatnonzero(np.isin(class_index, self.trained)))
        self.rows = {name: tensor[keep] for name, tensor in rows.items()}
        self.class_index, self.n_classes = torch.from_numpy(class_index)[keep], len(counts)
        self.settings = AdversarialImageSettings()

    def train(self, settings, plan, rng):
        generator = torch_generator(draw_seed(rng), plan.device)
        network = self.network
        c, h, w = self.codec.format_.size
        arch = dict(n_channels=c, height=h, width=w, n_classes=self.n_classes, first_channels=settings.discriminator_channels)
        discriminator = build(ImageDiscriminator, arch, torch_generator(draw_seed(rng))).to(plan.device, memory_format=torch.channels_last)
        latents = self._latents(rng).to(plan.device)
        augment = resolve_augmentation(settings.augment)
        diff = settings.diff_augment
        steps = itertools.count()
        ema = {"real": None, "fake": None}
        borrowing = torch.from_numpy(self.borrowing).to(plan.device)
        posterior = None
        if settings.anchor_weight:
            mean, dev = self.decoder.posterior(self.all_rows, self.all_index, generator)
            posterior = torch.from_numpy(mean).to(plan.device), torch.from_numpy(dev).to(plan.device)
            from augment_gen.training import ClassSampler
            sampler = ClassSampler(self.all_index, self.n_classes, 0.5, plan.device)
            everything = {k: v.to(plan.device) for k, v in self.all_rows.items()}
            everyclass = self.all_index.to(plan.device)

        def judge_trunk(x):
            j = network.judge
            return j.trunk(j.grid.pad(2 * x - 1))

        def draw(condition, generator):
            number = torch.randint(latents.shape[1], condition.shape, generator=generator, device=condition.device)
            z = latents[condition, number]
            return network.decode(z, condition)["images"]

        def discriminate(rows, condition, progress, generator):
            real = diff(augment(self.codec.inputs(rows, generator)["images"], generator), generator)
            with torch.no_grad():
                fake = diff(draw(condition, generator), generator)
            lazy = next(steps) % R1_EVERY == 0
            said_real, said_fake = discriminator(real.requires_grad_(lazy), condition), discriminator(fake, condition)
            loss = F.relu(1 - said_real).mean() + F.relu(1 + said_fake).mean()
            total = loss
            for name, said in (("real", said_real), ("fake", said_fake)):
                m = said.detach().mean()
                ema[name] = m if ema[name] is None else 0.99 * ema[name] + 0.01 * m
            if settings.lecam_weight and progress > 0.1:
                total = total + settings.lecam_weight * (F.relu(said_real - ema["fake"]).square().mean() + F.relu(ema["real"] - said_fake).square().mean())
            if lazy and settings.r1_weight:
                (gradient,) = torch.autograd.grad(said_real.sum(), real, create_graph=True)
                total = total + R1_EVERY * settings.r1_weight * 0.5 * gradient.square().flatten(1).sum(1).mean()
            return {"loss": total, "discriminator": loss, "real_score": said_real.mean(), "fake_score": said_fake.mean()}

        def generate(rows, condition, progress, generator):
            asked, n = condition, len(condition)
            if len(borrowing) and settings.spare_share:
                spare = borrowing[torch.randint(len(borrowing), (int(settings.spare_share * n),), generator=generator, device=condition.device)]
                asked = torch.cat([condition, spare])
            fake = draw(asked, generator)
            adversarial = -discriminator(diff(fake[:n], generator), condition).mean()
            label = F.cross_entropy(network.judge(fake).float(), asked)
            loss = settings.adv * adversarial + settings.label_weight * label
            curves = {"generator": adversarial, "label": label}
            if posterior is not None:
                index = sampler.draw(n // 2, generator)
                x = self.codec.inputs({k: v[index] for k, v in everything.items()}, generator)["images"]
                z = posterior[0][index] + posterior[1][index] * torch.randn(posterior[0][index].shape, generator=generator, device=index.device)
                back = network.decode(z, everyclass[index])["images"]
                anchor = settings.pixel * (back - x).square().mean() * 10
                if settings.feature:
                    anchor = anchor + settings.feature * (judge_trunk(back) - judge_trunk(x)).float().square().mean()
                loss = loss + settings.anchor_weight * anchor
                curves["anchor"] = anchor
            return {"loss": loss, **curves}

        half = FixedNorms(network.decoder, settings.train_norm)
        phases = [
            Phase((discriminator,), discriminate, settings.discriminator_learning_rate, betas=(0.0, 0.9)),
            Phase((half,), generate, settings.generator_learning_rate, betas=(0.0, 0.9)),
        ]
        plan = replace(plan, n_steps=settings.n_steps, batch_size=settings.batch_size, ema_decay=settings.ema_decay, class_tempering=settings.class_tempering_adv)
        every = max(1, settings.n_steps // 10)
        monitor = Monitor(self._stop_score(rng), every, patience=20)
        return train(
            phases, self.rows, self.class_index, plan, n_classes=self.n_classes, generator=generator, monitor=monitor
        )

    def _latents(self, rng):
        n_each = int(np.clip(LATENTS // self.n_classes, 100, 10_000))
        density = self.decoder.density
        return torch.stack([torch.from_numpy(density.sample(np.full(n_each, k), rng)) for k in range(self.n_classes)])

    @torch.no_grad()
    def _features(self, images):
        out = []
        judge = self.network.judge
        for x in images.split(256):
            with self.decoder._autocast():
                hidden = judge.last(judge.trunk(judge.grid.pad(2 * x.contiguous(memory_format=torch.channels_last) - 1)))
            out.append(hidden.float().mean((2, 3)))
        return torch.cat(out)

    def _stop_score(self, rng):
        classes = self.trained[np.argsort(-self.counts[self.trained], kind="stable")][:SCORE_CLASSES]
        real = {}
        for k in classes:
            rows = np.flatnonzero(self.class_index.numpy() == k)
            rows = rng.choice(rows, min(len(rows), SCORE_IMAGES), replace=False)
            x = self.codec.inputs({n: t[rows] for n, t in self.rows.items()}, None)["images"].to(self.decoder.device)
            real[k] = self._features(x)
        seed = draw_seed(rng)

        def score():
            out = []
            for k, features in real.items():
                drawn = self.decoder.draw(np.full(SCORE_IMAGES, k), np.random.default_rng(seed), 1.0)["images"].float()
                out.append(kernel_distance(features, self._features(drawn.to(self.decoder.device))))
            return float(torch.stack(out).mean())

        return score


def kernel_distance(a, b):
    kernel = lambda u, v: (u @ v.T / u.shape[1] + 1) ** 3
    off = lambda m: (m.sum() - m.trace()) / (len(m) * (len(m) - 1))
    return off(kernel(a, a)) + off(kernel(b, b)) - 2 * kernel(a, b).mean()
