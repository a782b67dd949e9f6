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
from tqdm.auto import tqdm

from augment_gen import graphs
from augment_gen.course import Course, Stage
from augment_gen.devices import at_most_threads
from augment_gen.distributed import current_share
from augment_gen.errors import TrainingDivergedError, TrainingWarning
from augment_gen.steps import AdamW, Step, one_cycle
from augment_gen.weights import BestWeights, SoundWeights, WeightAverage

LOG_EVERY = 25  # steps between two points of the curves; the only moments when the device is waited for
SLOWER = 1 / 3  # of the learning rate, after a training has diverged


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
        Steps between two scores. The weights before the first step and behind the last are scored too.
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
            batches = Batches(rows, class_index, n_classes, plan)
            Run(stage, Step(phases, stage, batches, plan, share, noise), monitor).to_the_end()
            share.equalise(modules)
    finally:
        for module in modules:
            module.eval()
    return pd.DataFrame(stage.history)


class Batches:
    """The rows, resident on the device, and batches of them."""

    def __init__(self, rows, class_index, n_classes, plan):
        self.rows = {name: tensor.to(plan.device) for name, tensor in rows.items()}
        self.condition = class_index.to(plan.device)
        self.sampler = ClassSampler(class_index, n_classes, plan.class_tempering, plan.device)
        self.batch_size = plan.batch_size

    def draw(self, n_batches, generator):
        """Row numbers of several batches, each int64 (batch_size,): one draw for many steps, fewer and larger operations."""
        return self.sampler.draw(self.batch_size * n_batches, generator).split(self.batch_size)

    def take(self, index):
        """The rows of these numbers, a dict of tensors, and their classes."""
        return {name: tensor[index] for name, tensor in self.rows.items()}, self.condition[index]


class Run:
    """The steps of a stage, from where it stands to its end.

    Parameters
    ----------
    stage : Stage
    step : Step
    monitor : Monitor or None
    """

    def __init__(self, stage, step, monitor):
        self.stage, self.step, self.plan, self.monitor = stage, step, step.plan, monitor
        self.best = stage.fallback if monitor else None
        self.batch_size, self.pending = step.plan.batch_size, []
        alone = step.share.n_processes == 1
        enough = self.plan.n_steps >= graphs.FEWEST_STEPS  # all of them, so that a killed fit goes on with the same numbers
        recorder = graphs.recorder_for(self.plan.device, stage.generator) if alone and enough else None
        self.by_tensors = recorder is not None  # what a recording reads must be on the device
        self.take_step = graphs.RecordedStep(step, stage.groups(), stage.generator, recorder) if recorder else step

    def to_the_end(self):
        """Take the steps, until there are no more, the monitor has seen enough, or Ctrl-C asks to stop."""
        stage, plan, course = self.stage, self.plan, self.plan.course
        if self.best and not stage.step:
            self.best.check()
        for module in stage.modules:
            module.train()
        steps = range(stage.step, plan.n_steps)
        for number in tqdm(steps, desc=plan.description, initial=stage.step, total=plan.n_steps, disable=not plan.verbose):
            if number % LOG_EVERY == 0:
                course.passes(stage)
                self._prepare(number)
            self.pending.append(self._one(number))
            cut_short = plan.interruptible and course.interruption.asked
            last = number == plan.n_steps - 1
            done = self._has_seen_enough(number, last) or last
            if len(self.pending) == LOG_EVERY or done or cut_short:
                self._log(number)
                course.interruption.usable |= plan.interruptible
            if done or cut_short:
                break
        stage.average.copy_into_modules()
        if self.best:
            self.best.copy_into_modules()
        if done:
            course.finish(stage)
        else:
            course.cut_short = f"{plan.description}, after {stage.step} of {plan.n_steps} steps"

    def _prepare(self, number):
        """What the steps up to the next point of the curves need: row numbers, and the numbers of `Step.numbers`."""
        coming = range(number, min(number + LOG_EVERY, self.plan.n_steps))
        self.picks = self.step.batches.draw(len(coming), self.stage.generator)
        self.numbers = [self.step.numbers(each) for each in coming]
        if self.by_tensors:
            self.numbers = torch.tensor(self.numbers, dtype=torch.float32).to(self.plan.device)

    def _one(self, number):
        """Take a step, with as many rows as there is memory for; returns its curves."""
        place, share = number % LOG_EVERY, self.step.share
        while True:
            index = self.picks[place][share.rows][: self.batch_size]
            try:
                return self.take_step(index, self.numbers[place], self.step.variant(number))
            except torch.OutOfMemoryError:
                if self.batch_size < 4 or share.n_processes > 1:  # batch norm needs two rows; processes would have to agree
                    raise
            self._halve()  # behind the except, whose traceback holds on to the tensors of the step

    def _halve(self):
        """Halve the batches: what the step that ran out of memory left behind is dropped, and the user is told."""
        self.step.drop_gradients()
        self.take_step = self.step  # what was recorded is for batches of one size
        warnings.warn(
            f"The device has too little memory for batches of {self.batch_size} rows: training goes on with "
            f"{self.batch_size // 2}. Set batch_size={self.batch_size // 2} to start there, or a smaller width.",
            TrainingWarning,
            stacklevel=10,
        )
        self.batch_size //= 2

    def _has_seen_enough(self, number, last):
        """Score the weights where that is due, behind the last step too; returns whether to stop for it."""
        due = self.best is not None and (last or (number + 1) % self.monitor.every == 0)
        return due and not self.best.check()

    def _log(self, number):
        """Add a point to the curves: the one moment when the device is waited for."""
        means = self.step.share.mean(torch.stack(self.pending).mean(0)).tolist()
        rate = one_cycle(number, self.plan.n_steps, self.step.phases[0].learning_rate)
        curves = dict(zip(self.step.curves, means, strict=True))
        self.stage.history.append({"step": number + 1, **curves, "learning_rate": rate})
        self.stage.step, self.pending = number + 1, []
        _check_health(self.stage, self.best, self.plan.course)


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
