"""Weights other than the last: their running average, the best of them, and the latest that were sound."""

import math
from contextlib import contextmanager

import torch


class WeightAverage:
    """Exponential moving average of the weights of several modules, with a bias-corrected start."""

    def __init__(self, modules, decay):
        self.decay = decay
        self.live = [p for module in modules for p in module.parameters() if p.requires_grad] if decay else []
        self.average = [p.detach().clone() for p in self.live]

    @contextmanager
    def in_place(self):
        """The modules hold the averaged weights inside the with-block, and the live ones again behind it."""
        live = [p.detach().clone() for p in self.live]
        self.copy_into_modules()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.live, live, strict=True):
                    parameter.copy_(value)

    def blend(self, step):
        """How much the live weights count in the average after a step; the first is number 0."""
        return 1 - min(self.decay, (step + 1) / (step + 11))

    @torch.no_grad()
    def update(self, blend):
        """Move the average towards the live weights; `blend` is a float, or a scalar tensor on their device."""
        live = [p.detach() for p in self.live]
        if not live:
            return
        if not isinstance(blend, torch.Tensor):
            torch._foreach_lerp_(self.average, live, blend)
            return
        change = torch._foreach_sub(live, self.average)  # lerp takes no scalar of the device for many tensors at once
        torch._foreach_mul_(change, blend)
        torch._foreach_add_(self.average, change)

    @torch.no_grad()
    def copy_into_modules(self):
        for parameter, mean in zip(self.live, self.average, strict=True):
            parameter.copy_(mean)

    def state(self):
        """Tensors; `restore` is its inverse."""
        return {"average": self.average}

    def restore(self, state):
        for mean, value in zip(self.average, state["average"], strict=True):
            mean.copy_(value)


class BestWeights:
    """The averaged weights with the lowest score so far; the first to be checked are those before training."""

    def __init__(self, monitor, average, modules):
        self.monitor, self.average, self.modules = monitor, average, modules
        self.lowest, self.misses, self.latest, self.states = math.inf, 0, math.nan, None

    def check(self):
        """Score the averaged weights; returns whether to go on."""
        with self.average.in_place():
            for module in self.modules:
                module.eval()
            self.latest = float(self.monitor.score())
            if self.latest < self.lowest or self.states is None:  # the first, whatever its score
                self.lowest, self.misses = self.latest, 0
                self.states = _copies(self.modules)
            else:
                self.misses += 1
            for module in self.modules:
                module.train()
        return self.misses < self.monitor.patience

    def copy_into_modules(self):
        for module, state in zip(self.modules, self.states, strict=True):
            module.load_state_dict(state)

    def state(self):
        """JSON values and tensors; `restore` is its inverse."""
        return {"lowest": self.lowest, "misses": self.misses, "latest": self.latest, "states": self.states}

    def restore(self, state):
        self.lowest, self.misses, self.latest, self.states = (state[k] for k in ("lowest", "misses", "latest", "states"))


class SoundWeights:
    """The latest averaged weights without a NaN or an infinity, to fall back on."""

    def __init__(self, average, modules):
        self.average, self.modules, self.states = average, modules, _copies(modules)

    def keep(self):
        """Take the present ones, if they are sound; returns whether they are."""
        with self.average.in_place():
            sound = bool(torch.stack([p.isfinite().all() for module in self.modules for p in module.parameters()]).all())
            if sound:
                self.states = _copies(self.modules)
        return sound

    def copy_into_modules(self):
        for module, state in zip(self.modules, self.states, strict=True):
            module.load_state_dict(state)

    def state(self):
        """Tensors; `restore` is its inverse."""
        return {"states": self.states}

    def restore(self, state):
        self.states = state["states"]


def _copies(modules):
    return [{name: t.detach().clone() for name, t in module.state_dict().items()} for module in modules]
