"""One training loop for every generator.

Enters: rows resident on the device, class indices, and one or more *phases* (a loss and the modules it trains). Leaves:
trained modules holding their averaged weights, and the curves. A VAE is one phase; a GAN is two that alternate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from augment_gen.errors import TrainingDivergedError

LOG_EVERY = 25  # steps between two points of the curves; the only moments when the device is waited for


@dataclass(frozen=True)
class Phase:
    """A loss and the modules that it trains.

    Attributes
    ----------
    modules : tuple of nn.Module
        What the phase's optimiser updates.
    loss : callable (rows, condition, progress, generator) -> dict of scalar tensors
        ``rows`` is a batch of the resident rows, ``condition`` int64 (batch,), ``progress`` a float from 0 to 1. The
        entry "loss" is minimised; the others are curves.
    learning_rate, weight_decay : float
    betas : tuple of float
    """

    modules: tuple[nn.Module, ...]
    loss: Callable
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class Plan:
    """How long and on what a training runs.

    Attributes
    ----------
    n_steps, batch_size : int
    device : torch.device
    class_tempering : float
        A class of n rows is drawn with probability proportional to ``n ** class_tempering``.
    ema_decay : float
        Weights are averaged exponentially with this decay; 0 keeps the last ones.
    gradient_clip : float
        Largest norm of a phase's gradient.
    autocast : bool
        Run networks in bfloat16 where torch deems it safe.
    verbose : int
        1 shows a progress bar.
    """

    n_steps: int
    batch_size: int
    device: torch.device
    class_tempering: float = 0.5
    ema_decay: float = 0.0
    gradient_clip: float = 5.0
    autocast: bool = False
    verbose: int = 0
    description: str = field(default="training")


class ClassSampler:
    """Row numbers drawn on the device: a class by its tempered share, then one of its rows, uniformly.

    Classes are kept as a permutation of the rows sorted by class and where each class starts, so that drawing a batch is
    three tensor operations whatever the number of classes.
    """

    def __init__(self, class_index, n_classes, tempering, device):
        counts = torch.bincount(class_index, minlength=n_classes)
        self.rows = torch.argsort(class_index, stable=True).to(device)
        self.start = (counts.cumsum(0) - counts).to(device)
        self.counts = counts.to(device)
        share = torch.where(counts > 0, counts.double() ** tempering, 0.0)
        self.cumulative = (share.cumsum(0) / share.sum()).float().to(device)

    def draw(self, n_rows, generator):
        """int64 (n_rows,): row numbers."""
        noise = torch.rand((2, n_rows), generator=generator, device=self.rows.device)
        classes = torch.searchsorted(self.cumulative, noise[0], right=True).clamp_max(len(self.counts) - 1)
        count = self.counts[classes]
        return self.rows[self.start[classes] + (noise[1] * count).long().clamp_max(count - 1)]


def train(phases, rows, class_index, plan, *, n_classes, generator):
    """Run `plan.n_steps` steps of every phase in turn.

    Parameters
    ----------
    phases : list of Phase
    rows : dict of tensors
        First axis n; moved to ``plan.device`` once.
    class_index : int64 tensor (n,)
    plan : Plan
    n_classes : int
    generator : torch.Generator
        On ``plan.device``; the only source of randomness.

    Returns
    -------
    pandas.DataFrame
        One line per ``LOG_EVERY`` steps: "step", the curves of every phase (means over those steps), "learning_rate".

    Raises
    ------
    TrainingDivergedError
        A loss is NaN or infinite; the message says what to change.
    """
    rows = {name: tensor.to(plan.device) for name, tensor in rows.items()}
    condition = class_index.to(plan.device)
    sampler = ClassSampler(class_index, n_classes, plan.class_tempering, plan.device)
    modules = list(dict.fromkeys(module for phase in phases for module in phase.modules))
    optimisers = [_optimiser(phase, plan) for phase in phases]
    average = WeightAverage(modules, plan.ema_decay)
    history, pending = [], []
    for module in modules:
        module.train()
    for step in tqdm(range(plan.n_steps), desc=plan.description, disable=not plan.verbose):
        if step % LOG_EVERY == 0:  # one draw for many steps: fewer, larger operations
            picks = sampler.draw(plan.batch_size * min(LOG_EVERY, plan.n_steps - step), generator).split(plan.batch_size)
        index = picks[step % LOG_EVERY]
        batch = {name: tensor[index] for name, tensor in rows.items()}
        curves = {}
        for phase, (optimiser, schedule, parameters) in zip(phases, optimisers, strict=True):
            with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.autocast):
                losses = phase.loss(batch, condition[index], step / plan.n_steps, generator)
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(parameters, plan.gradient_clip)
            optimiser.step()
            schedule.step()
            curves |= {name: value.detach() for name, value in losses.items()}
        average.update()
        pending.append(curves)
        if len(pending) == LOG_EVERY or step == plan.n_steps - 1:
            history.append(_log(pending, step + 1, optimisers[0][0]))
            pending = []
    average.copy_into_modules()
    for module in modules:
        module.eval()
    return pd.DataFrame(history)


class WeightAverage:
    """Exponential moving average of the weights of several modules, with a bias-corrected start."""

    def __init__(self, modules, decay):
        self.decay, self.n_updates = decay, 0
        self.live = [p for module in modules for p in module.parameters()] if decay else []
        self.average = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self):
        if self.live:
            self.n_updates += 1
            decay = min(self.decay, self.n_updates / (self.n_updates + 10))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.live], 1 - decay)

    @torch.no_grad()
    def copy_into_modules(self):
        for parameter, mean in zip(self.live, self.average, strict=True):
            parameter.copy_(mean)


def _optimiser(phase, plan):
    parameters = [p for module in phase.modules for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, phase.learning_rate, betas=phase.betas, weight_decay=phase.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, phase.learning_rate, total_steps=plan.n_steps + 1, pct_start=0.1, cycle_momentum=False
    )
    return optimiser, schedule, parameters


def _log(pending, step, optimiser):
    means = torch.stack([torch.stack(list(curves.values())).float() for curves in pending]).mean(0).tolist()
    entry = {"step": step, **dict(zip(pending[0], means, strict=True)), "learning_rate": optimiser.param_groups[0]["lr"]}
    bad = [name for name, value in zip(pending[0], means, strict=True) if not math.isfinite(value)]
    if bad:
        raise TrainingDivergedError(
            f"Training diverged: {', '.join(bad)} became NaN or infinite before step {step}. Lower learning_rate (a third "
            'of it, say), raise batch_size, or set precision="float32"; check X for extreme values.'
        )
    return entry


def resolve_device(device):
    """A torch.device from "auto" (CUDA, else Apple's MPS, else the CPU), a string or a torch.device."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_autocast(precision, device, worthwhile):
    """Whether to run in bfloat16: `precision` is "auto", "float32" or "bfloat16".

    "auto" says yes where the processor multiplies bfloat16 in hardware and the network is `worthwhile` (convolutions:
    measured 1.6 to 2.3 times faster on a CPU with AVX512-BF16; small dense layers gain nothing).
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return worthwhile and torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return worthwhile and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
