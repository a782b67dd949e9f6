"""One training loop for every generator.

Enters: rows resident on the device, class indices, and one or more *phases* (a loss and the modules it trains). Leaves:
trained modules holding their averaged weights, and the curves. A VAE is one phase; a GAN is two that alternate.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from torch import nn
from torch.optim.adamw import adamw
from tqdm.auto import tqdm

from augment_gen.course import Course, Stage
from augment_gen.devices import at_most_threads
from augment_gen.distributed import current_share
from augment_gen.errors import TrainingDivergedError, TrainingWarning
from augment_gen.weights import BestWeights, SoundWeights, WeightAverage

LOG_EVERY = 25  # steps between two points of the curves; the only moments when the device is waited for
SLOWER = 1 / 3  # of the learning rate, after a training has diverged


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
    memory : tuple of tensors
        What the loss remembers from step to step, and changes in place.
    """

    modules: tuple[nn.Module, ...]
    loss: Callable
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    memory: tuple[torch.Tensor, ...] = ()


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
    max_threads : int, optional
        Threads of the CPU to use at most. More make small layers hardly faster, and many times slower where other work
        keeps a core busy, since all threads wait for the slowest.
    course : Course
        Of the fit that the training is a stage of.
    interruptible : bool
        Whether what was learned until a Ctrl-C is of use, at least from the first point of the curves on.
    """

    n_steps: int
    batch_size: int
    device: torch.device
    class_tempering: float = 0.5
    ema_decay: float = 0.0
    gradient_clip: float = 5.0
    autocast: bool = False
    verbose: int = 0
    max_threads: int | None = None
    description: str = "training"
    course: Course = field(default_factory=Course)
    interruptible: bool = False


@dataclass(frozen=True)
class Monitor:
    """A score of what the averaged weights produce, and when to stop because it gets no better.

    Attributes
    ----------
    score : callable () -> float
        Lower is better; called with the averaged weights in place and the modules in evaluation mode.
    every : int
        Steps between two scores. The weights before the first step are scored too.
    patience : int
        Training stops after so many scores in a row that are no better than the best.
    complaint : callable (list of dict) -> str or None, optional
        Looks at the curves so far, and says what is wrong with them if training should be given up.
    """

    score: Callable
    every: int
    patience: int
    complaint: Callable = field(default=lambda history: None)


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
        noise = torch.rand((2, n_rows), generator=generator, device=self.rows.device, dtype=torch.float32)
        classes = torch.searchsorted(self.cumulative, noise[0], right=True).clamp_max(len(self.counts) - 1)
        count = self.counts[classes]
        return self.rows[self.start[classes] + (noise[1] * count).long().clamp_max(count - 1)]


def train(phases, rows, class_index, plan, *, n_classes, generator, monitor=None):
    """Run `plan.n_steps` steps of every phase in turn.

    Where that diverges without a monitor, it is done once more, from the last sound weights and with a lower learning rate.

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
    monitor : Monitor, optional
        The weights with the best score are kept, instead of the last ones.

    Returns
    -------
    pandas.DataFrame
        One line per ``LOG_EVERY`` steps: "step", the curves of every phase (means over those steps), "learning_rate"; and
        "stop_score", the latest score of the monitor, where there is one.

    Raises
    ------
    TrainingDivergedError
        A loss is NaN or infinite; the message says what to change. The modules hold the best weights, or the last sound ones.

    Warns
    -----
    TrainingWarning
        It is done once more; or the device's memory did not suffice for a batch, and batches are half as large from then on.
    """
    with at_most_threads(plan.max_threads), torch.inference_mode(False), torch.enable_grad():
        try:
            return _train(phases, rows, class_index, plan, n_classes, generator, monitor)
        except TrainingDivergedError as error:
            if monitor:  # whoever watches a training knows better how to go on
                raise
            again = "Starting again from the last weights without such values, at a third of the learning rate."
            warnings.warn(f"{error} {again}", TrainingWarning, stacklevel=2)
            slower = [replace(phase, learning_rate=phase.learning_rate * SLOWER) for phase in phases]
            return _train(slower, rows, class_index, plan, n_classes, generator, None)


def _train(phases, rows, class_index, plan, n_classes, generator, monitor):
    modules = list(dict.fromkeys(module for phase in phases for module in phase.modules))
    share = current_share()  # all of the work, unless several processes train together
    noise, monitor = share.joined(modules, plan.batch_size, generator), share.monitoring(monitor)
    average = WeightAverage(modules, plan.ema_decay)
    fallback = BestWeights(monitor, average, modules) if monitor else SoundWeights(average, modules)
    memory = sum((phase.memory for phase in phases), ())
    stage = Stage(modules, [AdamW(phase) for phase in phases], average, fallback, memory, generator)
    try:
        if not plan.course.begin(stage):
            _run(stage, phases, rows, class_index, plan, n_classes, monitor, share, noise)
            share.equalise(modules)
    finally:
        for module in modules:
            module.eval()
    return pd.DataFrame(stage.history)


def _run(stage, phases, rows, class_index, plan, n_classes, monitor, share, noise):
    """The steps of a stage, from where it stands to its end."""
    rows = {name: tensor.to(plan.device) for name, tensor in rows.items()}
    condition = class_index.to(plan.device)
    sampler = ClassSampler(class_index, n_classes, plan.class_tempering, plan.device)
    optimisers, average, generator = stage.optimisers, stage.average, stage.generator
    best = stage.fallback if monitor else None
    history, pending, course, batch_size = stage.history, [], plan.course, plan.batch_size
    if best and not stage.step:
        best.check()
    for module in stage.modules:
        module.train()
    steps = range(stage.step, plan.n_steps)
    for step in tqdm(steps, desc=plan.description, initial=stage.step, total=plan.n_steps, disable=not plan.verbose):
        if step % LOG_EVERY == 0:  # one draw for many steps: fewer, larger operations
            course.passes(stage)
            picks = sampler.draw(plan.batch_size * min(LOG_EVERY, plan.n_steps - step), generator).split(plan.batch_size)
        curves = None
        while curves is None:
            index = picks[step % LOG_EVERY][share.rows][:batch_size]
            batch, curves = {name: tensor[index] for name, tensor in rows.items()}, {}
            try:
                for phase, optimiser in zip(phases, optimisers, strict=True):
                    curves |= _update(phase, optimiser, batch, condition[index], step, plan, noise, share)
            except torch.OutOfMemoryError:
                if batch_size < 4 or share.n_processes > 1:  # batch norm needs two rows; processes would have to agree
                    raise
                curves = None
            if curves is None:  # behind the except, whose traceback holds on to the tensors of the step
                batch_size = _halved(batch_size, optimisers)
        average.update()
        pending.append(curves)
        cut_short = plan.interruptible and course.interruption.asked
        done = step == plan.n_steps - 1 or (best is not None and (step + 1) % monitor.every == 0 and not best.check())
        if len(pending) == LOG_EVERY or done or cut_short:
            rate = one_cycle(step, plan.n_steps, phases[0].learning_rate)
            history.append({"step": step + 1, **_means(pending, share), "learning_rate": rate})
            stage.step, pending = step + 1, []
            _check_health(stage, best, course)
            course.interruption.usable |= plan.interruptible
        if done or cut_short:
            break
    average.copy_into_modules()
    if best:
        best.copy_into_modules()
    if done:
        course.finish(stage)
    else:
        course.cut_short = f"{plan.description}, after {stage.step} of {plan.n_steps} steps"


def _update(phase, optimiser, batch, condition, step, plan, generator, share):
    """One step of one phase; returns its curves, still on the device."""
    with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.autocast):
        losses = phase.loss(batch, condition, step / plan.n_steps, generator)
    losses["loss"].backward(inputs=optimiser.parameters)  # and not into the modules of other phases
    share.average_gradients(optimiser.parameters, len(condition), plan.batch_size)
    nn.utils.clip_grad_norm_(optimiser.parameters, plan.gradient_clip)
    optimiser.step(one_cycle(step, plan.n_steps, phase.learning_rate))
    return {name: value.detach() for name, value in losses.items()}


def _halved(batch_size, optimisers):
    """Half the batch size, after a step that ran out of memory: what it left behind is dropped, and the user is told."""
    for optimiser in optimisers:
        for parameter in optimiser.parameters:
            parameter.grad = None
    warnings.warn(
        f"The device has too little memory for batches of {batch_size} rows: training goes on with {batch_size // 2}. Set "
        f"batch_size={batch_size // 2} to start there, or a smaller width.",
        TrainingWarning,
        stacklevel=9,
    )
    return batch_size // 2


def _means(pending, share):
    """Means of the curves of several steps: the one moment when the device is waited for."""
    means = torch.stack([torch.stack(list(curves.values())).float() for curves in pending]).mean(0)
    return dict(zip(pending[0], share.mean(means).tolist(), strict=True))


def _check_health(stage, best, course):
    """Note the latest stop score, or the weights that are sound; give up on NaN or infinity, or on the monitor's complaint."""
    entry = stage.history[-1]
    bad = [name for name, value in entry.items() if not math.isfinite(value)]
    complaint = f"{', '.join(bad)} became NaN or infinite" if bad else None
    if best:
        entry["stop_score"] = best.latest
        complaint = complaint or best.monitor.complaint(stage.history)
    elif not complaint and not stage.fallback.keep():
        complaint = "the weights became NaN or infinite"
    if not complaint:
        return
    stage.fallback.copy_into_modules()
    diverged = (
        f"Training diverged: {complaint}, before step {entry['step']}. Lower the learning rate (a third of it, say), raise "
        'batch_size, or set precision="float32"; check X for extreme values.'
    )
    course.finish(stage, diverged)
    raise TrainingDivergedError(diverged)


class AdamW:
    """AdamW (Loshchilov and Hutter 2019) on torch's fused kernel, over the parameters of a phase.

    ``torch.optim.AdamW`` does the same, but constructing it imports torch's compiler: one to two seconds, which is a
    third of a fit on a small table.
    """

    def __init__(self, phase):
        self.parameters = [p for module in phase.modules for p in module.parameters() if p.requires_grad]
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.n_steps = [torch.zeros((), device=p.device, dtype=torch.float32) for p in self.parameters]
        self.betas, self.weight_decay = phase.betas, phase.weight_decay

    @torch.no_grad()
    def step(self, learning_rate):
        """Update the parameters that have a gradient, and drop the gradients."""
        used = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        pick = lambda tensors: [tensors[i] for i in used]
        parameters = pick(self.parameters)
        adamw(
            parameters, [p.grad for p in parameters], pick(self.first), pick(self.second), [], pick(self.n_steps),
            fused=True, amsgrad=False, maximize=False, lr=learning_rate, weight_decay=self.weight_decay, eps=1e-8,
            beta1=self.betas[0], beta2=self.betas[1],
        )  # fmt: skip
        for parameter in parameters:
            parameter.grad = None

    def state(self):
        """Tensors; `restore` is its inverse."""
        return {"first": self.first, "second": self.second, "n_steps": self.n_steps}

    def restore(self, state):
        for name, tensors in self.state().items():
            for tensor, value in zip(tensors, state[name], strict=True):
                tensor.copy_(value)


def one_cycle(step, n_steps, peak):
    """The learning rate of a step: up along a cosine for a tenth of the steps, then down to almost nothing.

    Smith and Topin (2019), "Super-convergence".
    """
    start, end, summit = peak / 25, peak / 2.5e5, max(1.0, 0.1 * n_steps)
    if step < summit:
        return peak + (start - peak) * (1 + math.cos(math.pi * step / summit)) / 2
    return end + (peak - end) * (1 + math.cos(math.pi * (step - summit) / max(1.0, n_steps - summit))) / 2
