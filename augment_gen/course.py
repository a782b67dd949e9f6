"""The course of a fit through its trainings: a killed one goes on where it was, and ends as if it had never been killed.

Enters: trainings, each a stage, and what is known of them from checkpoints. Leaves: checkpoints; stages put back to where
they were; and what became of a Ctrl-C.

A fit runs the same stages in the same order whenever its data, parameters and random stream are the same, and what it does
between them follows from these. Going on is therefore running it again: a stage that was finished gets its results back
instead of being trained, the next one goes on from its latest checkpoint.
"""

import warnings
from dataclasses import dataclass, field

import torch
from torch import nn

from augment_gen.checkpoints import CheckpointFolder
from augment_gen.errors import TrainingDivergedError, TrainingInterruptedWarning
from augment_gen.graphs import COARSE, Group
from augment_gen.interruption import Interruption


@dataclass
class Stage:
    """One training of a fit: everything that changes while it runs.

    Attributes
    ----------
    modules : list of nn.Module
    optimisers : list of AdamW
    average : WeightAverage
    fallback : BestWeights or SoundWeights
    memory : tuple of tensors
        What losses remember from step to step.
    generator : torch.Generator
    history : list of dict
        The curves.
    step : int
        Steps done.
    """

    modules: list[nn.Module]
    optimisers: list
    average: object
    fallback: object
    memory: tuple
    generator: torch.Generator
    history: list = field(default_factory=list)
    step: int = 0

    def result(self):
        """What is left of it when it is finished: JSON values, and tensors of its own."""
        return {
            "modules": [{name: t.detach().clone() for name, t in module.state_dict().items()} for module in self.modules],
            "generator": self.generator.get_state(),
            "history": list(self.history),
            "step": self.step,
        }

    def state(self):
        """What it goes on from: its `result` so far, and all that the next step depends on."""
        return {**self.result(), "parts": [part.state() for part in self._parts()], "memory": list(self.memory)}

    def restore(self, state):
        """Put back a `state` or a `result`."""
        for module, tensors in zip(self.modules, state["modules"], strict=True):
            module.load_state_dict(tensors)
        self.generator.set_state(state["generator"])
        self.history[:], self.step = state["history"], state["step"]
        if "parts" in state:
            for part, mine in zip(self._parts(), state["parts"], strict=True):
                part.restore(mine)
            for tensor, value in zip(self.memory, state["memory"], strict=True):
                tensor.copy_(value)

    def groups(self):
        """All tensors that a step changes, as a list of `Group`."""
        moved = [*(optimiser.parameters for optimiser in self.optimisers), self.average.average]
        moments = [tensors for optimiser in self.optimisers for tensors in optimiser.state().values()]
        buffers = [buffer for module in self.modules for buffer in module.buffers()]
        counts = [buffer for buffer in buffers if not buffer.is_floating_point()]
        others = [*moments, counts, [buffer for buffer in buffers if buffer.is_floating_point()], list(self.memory)]
        return [Group(tensors, COARSE) for tensors in moved] + [Group(tensors) for tensors in others]

    def _parts(self):
        return [*self.optimisers, self.average, self.fallback]


class Course:
    """What one fit takes along through its stages: their checkpoints, and whether Ctrl-C asked it to stop.

    Parameters
    ----------
    interruption : Interruption, optional

    Attributes
    ----------
    cut_short : str or None
        Which stage was ended by Ctrl-C, and where.
    """

    def __init__(self, interruption=None):
        self.interruption = interruption or Interruption()
        self.cut_short = None
        self._folder, self._rng = None, None
        self._finished, self._ahead, self._begun = [], [], None

    def keep_in(self, folder, fingerprint, rng):
        """Keep checkpoints in `folder`, and go on from those that are there; `rng` goes back to where their fit began.

        Raises
        ------
        CheckpointError
            As `CheckpointFolder`.
        """
        self._folder = CheckpointFolder(folder, fingerprint)
        self._rng = rng.bit_generator.state
        if self._folder.found is not None:
            with self._folder.blamed():
                self._rng = rng.bit_generator.state = self._folder.found["rng"]
                self._ahead, self._begun = list(self._folder.found["stages"]), self._folder.found["begun"]

    def begin(self, stage):
        """Bring a stage to where its checkpoint has it; returns whether it is finished.

        Raises
        ------
        TrainingDivergedError
            It was finished by one.
        """
        if not self._ahead and self._begun is None:
            return False
        finished = bool(self._ahead)
        with self._folder.blamed():
            state = self._ahead.pop(0) if finished else self._begun
            stage.restore(state)
            diverged = state["diverged"] if finished else None
        if not finished:
            self._begun = None
            return False
        self._finished.append(state)
        if diverged is not None:
            raise TrainingDivergedError(diverged)
        return True

    def passes(self, stage):
        """Write a checkpoint of a stage in the midst of it, where one is due."""
        if self._folder is not None and self.cut_short is None and stage.step and self._folder.is_due():
            self._write(stage.state())

    def finish(self, stage, diverged=None):
        """Note that a stage is finished, or has diverged for the reason given, and write a checkpoint."""
        if self._folder is not None and self.cut_short is None:  # what comes after a stage that was cut short is of no fit
            self._finished.append({**stage.result(), "diverged": diverged})
            self._write(None)

    def warn_if_interrupted(self, folder):
        """Say what a Ctrl-C has cost."""
        if self.interruption.asked:
            where = self.cut_short or "after the last network was trained"
            again = "fit again to train to the end" if folder is None else "the same call goes on from its checkpoints"
            warnings.warn(
                f"Interrupted ({where}). The generator can be used, with what it had learned so far; {again}.",
                TrainingInterruptedWarning,
                stacklevel=5,
            )

    def _write(self, begun):
        self._folder.write({"rng": self._rng, "stages": self._finished, "begun": begun})
