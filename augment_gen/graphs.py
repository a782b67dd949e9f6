"""A training step as one CUDA graph: recorded once, checked against the step itself, and replayed from then on.

Enters: a step, the tensors that it changes, and the generator that it draws from. Leaves: a callable that does the same with
one launch. A step of small networks is some hundred short kernels, and a host that launches them one by one takes the time.

No recording is taken on trust. The step is first run as it is, the second time under a `Watch`; what was recorded has then to
leave every tensor as two eager steps leave it, with other rows and other numbers in the second, and to draw noise that goes on
as theirs does. Where any of that fails, a warning says so, and the training goes on eagerly from where it was.

Nothing is recorded outside of `recorded_steps`: this has been tested with stand-ins on a CPU, and not yet run on a GPU.
"""

import math
import threading
import warnings
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from augment_gen.errors import TrainingWarning

FEWEST_STEPS = 100  # of a training, from which on recording pays
EAGER_STEPS = 2  # of each variant before it is recorded, in which libraries set themselves up
FINE = 1e-3  # of what two steps change, a replay may be off by so much, beyond twice of what two eager runs differ by
COARSE = 0.1  # the same of what Adam moves: its steps make much of gradients that are nothing but rounding
REPEATABLE = {FINE: 1e-2, COARSE: 0.25}  # two eager runs that differ by more tell nothing about a third
SHRUNK = 8  # what the numbers of the second step in a check are divided by; old ones would be off by 0.8, not by COARSE
_wanted = ContextVar("recorded_steps", default=False)
_recording = threading.Lock()  # torch records one graph at a time


@dataclass(frozen=True)
class Group:
    """Tensors of one scale, that a step changes in place, and how closely a replay has to follow: `FINE` or `COARSE`."""

    tensors: list[torch.Tensor]
    tolerance: float = FINE


@contextmanager
def recorded_steps():
    """Inside the with-block, the steps of ``fit`` on a GPU of CUDA are recorded once and replayed from then on.

    Trainings of fewer than 100 steps, private fits and several processes that train together are left as they are, and on
    other devices the block changes nothing. Results are those of the same fit without the block but for rounding. Where a
    recording is not exact, a TrainingWarning says why, and the steps run one by one.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.graphs import recorded_steps
    >>> X, y = load_iris(return_X_y=True)
    >>> with recorded_steps():
    ...     gen = ConditionalVAE(max_steps=20, random_state=0).fit(X, y)
    """
    token = _wanted.set(True)
    try:
        yield
    finally:
        _wanted.reset(token)


def recorder_for(device, generator):
    """A `CudaRecorder` where steps are to be recorded and the device is a GPU of CUDA, else None."""
    return CudaRecorder(device, generator) if _wanted.get() and device.type == "cuda" else None


class CudaRecorder:
    """Records what is launched on a stream of its own; the recordings share one pool of memory.

    Parameters
    ----------
    device : torch.device
    generator : torch.Generator
        On it; what is recorded draws from wherever it stands at each replay.
    """

    def __init__(self, device, generator):
        self.device, self.generator = device, generator
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def eagerly(self, work, *inputs):
        """``work(*inputs)``, on the stream that will be recorded, in order with the current one."""
        here = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(here)
        try:
            with torch.cuda.stream(self.stream):
                return work(*inputs)
        finally:
            here.wait_stream(self.stream)

    def record(self, work, *inputs):
        """A callable that does ``work(*inputs)`` on whatever the inputs then hold; nothing is computed yet.

        It returns the same tensor each time.
        """
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        # other threads may use the GPU meanwhile: in the mode that is torch's default they would fail
        one = torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local")
        with _recording, one:
            output = work(*inputs)

        def replay():
            graph.replay()
            return output

        return replay

    def recover(self):
        """Take generators out of a recording that was broken off, where they would not draw; their streams do not move."""
        number = torch.cuda.current_device() if self.device.index is None else self.device.index
        for generator in (self.generator, torch.cuda.default_generators[number]):  # torch takes in its own without being asked
            stream = generator.get_state()
            try:
                torch.rand(1, generator=generator, device=self.device)
            except RuntimeError:
                fresh = torch.Generator(self.device)
                fresh.set_state(stream)
                generator.graphsafe_set_state(fresh)
            generator.set_state(stream)


class RecordedStep:
    """A step that is replayed as soon as a recording of its variant has proved to be right.

    Parameters
    ----------
    step : Step
        Called with (index, numbers, variant), it changes tensors in place and returns one; the same work at every call with
        the same variant. It can ``drop_gradients()``, after it was broken off.
    groups : list of Group
        All that it changes.
    generator : torch.Generator
        What it draws from.
    recorder : CudaRecorder
    """

    def __init__(self, step, groups, generator, recorder):
        self.step, self.groups, self.generator, self.recorder = step, groups, generator, recorder
        self.n_eager, self.recordings, self.inputs = Counter(), {}, None
        self.given_up = False

    def __call__(self, index, numbers, variant):
        work = partial(self.step, variant=variant)
        if self.given_up:
            return work(index, numbers)
        if variant not in self.recordings:
            self.n_eager[variant] += 1
            if self.n_eager[variant] < EAGER_STEPS:
                return self.recorder.eagerly(work, index, numbers)
            if self.n_eager[variant] == EAGER_STEPS:
                return self._watched(work, index, numbers)
            self._try_to_record(work, index, numbers, variant)
            if self.given_up:
                return work(index, numbers)
        self._fill(index, numbers)
        return self.recordings[variant]().clone()

    def _watched(self, work, *inputs):
        with Watch() as watch:
            output = self.recorder.eagerly(work, *inputs)
        if watch.seen:
            self._give_up(f"it needs the host ({', '.join(sorted(set(watch.seen)))})")
        return output

    def _try_to_record(self, work, index, numbers, variant):
        """Add a recording, or give up; everything else is as it was before."""
        before, reason = self._state(), None
        try:
            if self.inputs is None:
                self.inputs = index.clone(), numbers.clone()
            self._fill(index, numbers)
            recording = self.recorder.record(work, *self.inputs)
            self._put_back(before)
            reason = self._complaint(work, recording, before, index, numbers)
            self.recordings[variant] = recording
        except Exception as error:  # whatever it is, the training can do without
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            self.recorder.recover()
            self.step.drop_gradients()
        self._put_back(before)
        if reason is not None:
            self._give_up(reason)

    def _complaint(self, work, recording, before, index, numbers):
        """What is wrong with a recording, or None: two steps, twice eagerly and once replayed, each time from `before`."""

        def outcome(take):
            self._put_back(before)
            half = len(index) // 2
            others = torch.cat([index[:half], index[: len(index) - half]])
            curves = [take(index, numbers).clone(), take(others, numbers / SHRUNK).clone()]
            return self._state(curves)

        def replay(index, numbers):
            self._fill(index, numbers)
            return recording()

        eager, again, replayed = outcome(work), outcome(work), outcome(replay)
        tolerances = [group.tolerance for group in self.groups] + [FINE]
        for i, tolerance in enumerate(tolerances):
            start, one, two, other = (state[0][i] for state in (before, eager, again, replayed))
            own, gap = _gap(start, one, two), _gap(start, one, other)
            if not own <= REPEATABLE[tolerance]:
                return f"two runs of it differ by {own:.1g} of what they change, so that no replay can be checked"
            if not gap <= tolerance + 2 * own:
                return f"a replay differs from it by {gap:.1g} of what it changes"
        if not torch.equal(eager[1], replayed[1]):
            return "a replay does not leave the random stream where it does"
        return None

    def _fill(self, index, numbers):
        for mine, value in zip(self.inputs, (index, numbers), strict=True):
            mine.copy_(value)

    def _state(self, curves=()):
        """Copies of all that a step changes, in groups, with the curves as a last one; and where the random stream is."""
        groups = [[tensor.detach().clone() for tensor in group.tensors] for group in self.groups]
        return [*groups, list(curves)], self.generator.get_state()

    @torch.no_grad()
    def _put_back(self, state):
        groups, stream = state
        for group, values in zip(self.groups, groups[:-1], strict=True):
            for tensor, value in zip(group.tensors, values, strict=True):
                tensor.copy_(value)
        self.generator.set_state(stream)

    def _give_up(self, reason):
        self.given_up = True
        self.recordings.clear()
        warnings.warn(
            f"The steps of this training are not run as one CUDA graph: {reason}. They run one by one, as they would on any "
            "other device, with the same results and more slowly.",
            TrainingWarning,
            stacklevel=11,
        )


def _gap(start, one, other):
    """How far tensors are apart, as a share of how far the first ones have moved from the start; 0 where nothing moved."""
    start = start or [torch.zeros_like(tensor) for tensor in one]
    distance = lambda those: math.sqrt(
        sum(float((a.double() - b.double()).square().sum()) for a, b in zip(one, those, strict=True))
    )
    apart, moved = distance(other), distance(start)
    return apart / moved if moved else math.inf if apart else 0.0


class Watch(TorchDispatchMode):
    """Notes, inside the with-block, whatever makes a GPU and its host wait for each other.

    Attributes
    ----------
    seen : list of str
        The operations, in order: those whose result is a number or a shape that only the device knows, and those that bring
        values from one device, or from Python, to another.
    """

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, torch.Tensor)]
        copies = name in ("_to_copy", "copy_")
        devices = {tensor.device for tensor in tensors if tensor.ndim or copies}  # a number of the host may go along otherwise
        if _depends_on_values(function, args) or len(devices) > 1 or name == "lift_fresh":
            self.seen.append(str(function))
        return output


def _depends_on_values(function, args):
    """Whether only the values of its arguments say what shape or number comes out of a function of torch's."""
    if function.overloadpacket.__name__ == "index":  # where row numbers are told from masks by their dtype
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags))
