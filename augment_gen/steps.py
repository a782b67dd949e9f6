"""One step of a training, from row numbers to new weights, which asks the device for nothing.

Enters: phases, optimisers, an average of the weights; for each step the numbers of the batch's rows, and the few numbers that
change from step to step. Leaves: changed weights, and the curves, still on the device.

The host decides beforehand which form each loss takes (`Phase.variant`); whatever else depends on the step is a float, or on a
GPU an entry of a tensor. So all steps of one variant are the same work at the same addresses, and can be recorded.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim.adamw import adamw


@dataclass(frozen=True)
class Moment:
    """What a loss is told of the step that it is computed in.

    Attributes
    ----------
    weight : float or scalar tensor
        By ``Phase.schedule``; nothing that a loss may branch on.
    variant : hashable
        By ``Phase.variant``.
    """

    weight: float | torch.Tensor
    variant: Hashable


@dataclass(frozen=True)
class Phase:
    """A loss and the modules that it trains.

    Attributes
    ----------
    modules : tuple of nn.Module
        What the phase's optimiser updates.
    loss : callable (rows, condition, now, generator) -> dict of scalar tensors
        ``rows`` is a batch of the resident rows, ``condition`` int64 (batch,), ``now`` a `Moment`. The entry "loss" is
        minimised; the others are curves. It reads nothing back from the device.
    learning_rate, weight_decay : float
    betas : tuple of float
    memory : tuple of tensors
        What the loss remembers from step to step, and changes in place.
    schedule : callable (step) -> float
        A weight in the loss that changes from step to step.
    variant : callable (step) -> hashable
        Which of several forms the loss takes; few of them over a training.
    """

    modules: tuple[nn.Module, ...]
    loss: Callable
    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    memory: tuple[torch.Tensor, ...] = ()
    schedule: Callable[[int], float] = field(default=lambda step: 1.0)
    variant: Callable[[int], Hashable] = field(default=lambda step: None)

    def moment(self, step):
        """The `Moment` of a step."""
        return Moment(self.schedule(step), self.variant(step))


class Step:
    """Every phase's loss, backward pass, clipping and optimiser in turn, and the average of the weights.

    Parameters
    ----------
    phases : list of Phase
    stage : Stage
        Of these phases.
    batches : Batches
    plan : Plan
    share : Share
    noise : torch.Generator
        What the losses draw from.

    Attributes
    ----------
    curves : list of str
        Names of what a call returns; known from the first one on.
    """

    def __init__(self, phases, stage, batches, plan, share, noise):
        self.phases, self.optimisers, self.average = phases, stage.optimisers, stage.average
        self.batches, self.plan, self.share, self.noise = batches, plan, share, noise
        self.curves = []

    def numbers(self, step):
        """What a step reads of its place in the training, as floats: learning rates, weights, and the average's `blend`."""
        rates = [one_cycle(step, self.plan.n_steps, phase.learning_rate) for phase in self.phases]
        return [*rates, *(phase.schedule(step) for phase in self.phases), self.average.blend(step)]

    def variant(self, step):
        """Which forms the losses take in a step."""
        return tuple(phase.variant(step) for phase in self.phases)

    def __call__(self, index, numbers, variant):
        """Change the weights.

        Parameters
        ----------
        index : int64 tensor (batch,)
            Row numbers.
        numbers : list of float, or float32 tensor of the same length on the device
            As `numbers` gives them.
        variant : tuple

        Returns
        -------
        float32 tensor (len(curves),), on the device
        """
        *numbers, blend = numbers.unbind() if isinstance(numbers, torch.Tensor) else numbers
        rates, weights = numbers[: len(self.phases)], numbers[len(self.phases) :]
        rows, condition = self.batches.take(index)
        curves = {}
        for phase, optimiser, rate, weight, form in zip(self.phases, self.optimisers, rates, weights, variant, strict=True):
            curves |= self._update(phase, optimiser, rows, condition, rate, Moment(weight, form))
        self.average.update(blend)
        self.curves = list(curves)
        return torch.stack(list(curves.values())).float()

    def _update(self, phase, optimiser, rows, condition, rate, now):
        """The part of one phase; returns its curves."""
        plan = self.plan
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.autocast):
            losses = phase.loss(rows, condition, now, self.noise)
        losses["loss"].backward(inputs=optimiser.parameters)  # and not into the modules of other phases
        self.share.average_gradients(optimiser.parameters, len(condition), plan.batch_size)
        nn.utils.clip_grad_norm_(optimiser.parameters, plan.gradient_clip)
        optimiser.step(rate)
        return {name: value.detach() for name, value in losses.items()}

    def drop_gradients(self):
        """Forget what a step that was broken off has left."""
        for optimiser in self.optimisers:
            for parameter in optimiser.parameters:
                parameter.grad = None


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
        """Update the parameters that have a gradient, and drop the gradients.

        ``learning_rate`` is a float, or a float32 scalar tensor on the device.
        """
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


def warm_up(n_steps, share, full=1.0):
    """A ``Phase.schedule`` that rises evenly to `full` over a `share` of the steps, and stays there."""
    return lambda step: full * min(1.0, step / n_steps / share)
