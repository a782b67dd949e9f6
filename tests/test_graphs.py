"""Steps that are recorded once and replayed: that they can be; that a wrong recording is found out; the rest needs a GPU.

Where there is no GPU a stand-in records: it runs the work again at every replay, right or with one fault.
"""

import warnings
from contextlib import contextmanager

import fits
import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile

from augment_gen import graphs, steps, training
from augment_gen.codecs import ImageCodec, TableCodec
from augment_gen.errors import TrainingWarning
from augment_gen.generators import gan_image, gan_table
from augment_gen.generators.vae_image import ImageVAERecipe
from augment_gen.generators.vae_table import TableVAERecipe
from augment_gen.networks.adversary_image import DiffAugmentation
from augment_gen.seeding import torch_generator
from augment_gen.steps import Moment, Phase
from augment_gen.training import Monitor, Plan, train
from augment_gen.weights import WeightAverage

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


class StandIn:
    """A recorder for the CPU."""

    def __init__(self, generator, fault=None):
        self.generator, self.fault, self.n_recorded, self.n_replayed = generator, fault, 0, 0

    def eagerly(self, work, *inputs):
        return work(*inputs)

    def record(self, work, *inputs):
        if self.fault == "refuses":
            work(*inputs)  # what a recording leaves behind when it breaks off is nobody's to keep
            for parameter in work.func.optimisers[0].parameters:
                parameter.grad = torch.full_like(parameter, 1e9)
            raise RuntimeError("operation not permitted when stream is capturing")
        self.n_recorded += 1
        frozen, stream, output = [each.clone() for each in inputs], self.generator.get_state(), []

        def replay():
            self.n_replayed += 1
            now = list(inputs)
            if self.fault == "old rows":
                now[0] = frozen[0]
            elif self.fault == "old numbers":
                now[1] = frozen[1]
            elif self.fault == "old noise":
                self.generator.set_state(stream)
            result = work(*now)
            output[:] = output or [torch.empty_like(result)]
            return output[0].copy_(result)

        return replay

    def recover(self):
        pass


@contextmanager
def recording_by(monkeypatch, fault=None, fewest=1, eager=2):
    """Trainings on the CPU are recorded by stand-ins, which come out as a list."""
    made = []

    def recorder_for(device, generator):
        made.append(StandIn(generator, fault))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(graphs, "recorder_for", recorder_for)
        patch.setattr(graphs, "FEWEST_STEPS", fewest)
        patch.setattr(graphs, "EAGER_STEPS", eager)
        yield made


def small_training(device=CPU, n_steps=120, seed=0, best=False):
    """A training with noise, two phases, variants, a schedule, memory and an average; returns its weights and curves."""
    first, second = (nn.Linear(4, 4).to(device) for _ in range(2))
    for i, model in enumerate((first, second)):
        nn.init.constant_(model.weight, 0.1 + i), nn.init.zeros_(model.bias)
    usual = torch.zeros((), device=device)

    def rough(rows, condition, now, generator):
        x = rows["x"] + torch.randn(rows["x"].shape, generator=generator, device=device)
        error = now.weight * (first(x) - 3 * rows["x"] - condition[:, None]).square().mean()
        if now.variant:
            error = error + 0.1 * first.weight.abs().mean()
        usual.lerp_(error.detach(), 0.1)
        return {"loss": error, "usual": usual.clone()}

    def fine(rows, condition, now, generator):
        return {"loss": (second(first(rows["x"]).detach()) - rows["x"]).square().mean()}

    phases = [
        Phase((first,), rough, 0.02, memory=(usual,), schedule=lambda step: 1 + step / 50, variant=lambda step: step % 3 == 0),
        Phase((second,), fine, 0.01),
    ]
    generator = torch.Generator(device).manual_seed(seed)
    x = torch.linspace(-1, 1, 800).view(200, 4)
    monitor = Monitor(lambda: float((first.weight.detach() - 3).square().sum()), every=30, patience=9) if best else None
    history = train(
        phases, {"x": x}, torch.arange(200) % 3, Plan(n_steps=n_steps, batch_size=32, device=device, ema_decay=0.9),
        n_classes=3, generator=generator, monitor=monitor,
    )  # fmt: skip
    weights = [p.detach().cpu().clone() for model in (first, second) for p in model.parameters()]
    return weights, history.to_numpy(), generator.get_state()


def same(one, other):
    return (
        all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))
        and np.array_equal(one[1], other[1])
        and torch.equal(one[2], other[2])
    )


# ------------------------------------------------------------------ the check
@pytest.mark.parametrize("best", [False, True])
def test_a_right_recording_is_trusted_and_changes_nothing(monkeypatch, best):
    with recording_by(monkeypatch, eager=10**9):
        eager = small_training(best=best)
    with recording_by(monkeypatch) as made, warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed = small_training(best=best)
    (recorder,) = made
    checked = 2 * 2  # replays, of which nothing stays
    assert recorder.n_recorded == 2 and recorder.n_replayed == 120 - 2 * graphs.EAGER_STEPS + checked
    assert same(eager, replayed)
    for one, other in zip(small_training(best=best)[0], eager[0], strict=True):  # by floats of the host, as on any CPU
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("old noise", "a replay differs from it by"),
        ("old numbers", "a replay differs from it by"),
        ("old rows", "a replay differs from it by"),
        ("refuses", "RuntimeError: operation not permitted when stream is capturing"),
    ],
)
def test_a_wrong_recording_is_found_out_and_nothing_is_lost(monkeypatch, fault, reason):
    with recording_by(monkeypatch, eager=10**9):
        eager = small_training()
    with recording_by(monkeypatch, fault), pytest.warns(TrainingWarning, match=f"as one CUDA graph: {reason}") as warned:
        fallen_back = small_training()
    assert len(warned) == 1 and same(eager, fallen_back)


def test_a_step_that_asks_the_device_is_not_recorded(monkeypatch):
    model = nn.Linear(1, 1)

    def loss(rows, condition, now, generator):
        error = model(rows["x"]).square().mean()
        return {"loss": error if float(error.detach()) > 0.5 else 2 * error}

    plan, index = Plan(n_steps=10, batch_size=4, device=CPU), torch.zeros(8, dtype=torch.int64)
    with recording_by(monkeypatch) as made, pytest.warns(TrainingWarning, match="needs the host .*_local_scalar_dense"):
        train([Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator())
    assert not made[0].n_recorded


def test_out_of_memory_behind_a_recording_goes_on_eagerly_with_half_the_rows(monkeypatch):
    model, seen = nn.Linear(1, 1), []

    def loss(rows, condition, now, generator):
        seen.append(len(condition))
        if len(seen) > 30 and len(condition) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"loss": model(rows["x"]).square().mean()}

    plan, index = Plan(n_steps=50, batch_size=4, device=CPU), torch.zeros(8, dtype=torch.int64)
    with recording_by(monkeypatch) as made, pytest.warns(TrainingWarning, match="batches of 4 rows: training goes on with 2"):
        train([Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator())
    assert made[0].n_recorded == 1 and seen[-1] == 2


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[[0, 2]],
        lambda x: x.new_tensor([1.0]),
        lambda x: torch.as_tensor(np.arange(3)),
        lambda x: x.unique(),
        lambda x: bool(x.any()),
    ],
)
def test_what_waits_for_a_device_is_seen(work):
    x = torch.arange(3.0)
    with graphs.Watch() as watch:
        x[torch.arange(2)] * 2 + x.mean()
    assert not watch.seen
    with graphs.Watch() as watch:
        work(x)
    assert watch.seen


# ----------------------------------------------------------- the real trainings
@pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning")
@pytest.mark.parametrize("kind", ["gan table", "gan images", "warp images"])
def test_every_training_can_be_recorded(monkeypatch, kind):
    """All steps are the same work at the same addresses, nothing in them waits, and replays are as good as eager steps."""
    waits, addresses = {}, {}
    take, one = steps.Step.__call__, training.Run._one

    def watched(self, index, numbers, variant):
        with graphs.Watch() as watch:
            output = take(self, index, numbers, variant)
        waits.setdefault(self.plan.description, []).append(watch.seen)
        return output

    def located(self, number):
        output = one(self, number)
        changed = [tensor.data_ptr() for group in self.stage.groups() for tensor in group.tensors]
        addresses.setdefault(self.plan.description, []).append(changed)
        return output

    for each in (gan_table, gan_image):
        monkeypatch.setattr(each, "R1_EVERY", 3)  # of 12 steps, so that every variant occurs often enough
    monkeypatch.setattr(steps.Step, "__call__", watched)
    monkeypatch.setattr(training.Run, "_one", located)
    with recording_by(monkeypatch) as made, warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*CUDA graph")
        generator, X, y = fits.make(kind, max_steps=12)
        generator.fit(X, y)
    assert {"gan table": {"autoencoder", "adversary"}, "warp images": {"judge 1", "deformations"}}.get(
        kind, {"label judge", "judge 1", "autoencoder", "adversary"}
    ) <= set(waits)
    for trained, seen in waits.items():
        assert not any(seen[1:]), (trained, seen)  # in the first, constants go to the device
        assert all(each == addresses[trained][0] for each in addresses[trained][:12]), trained
    assert all(recorder.n_recorded for recorder in made)


def fake(module, mode):
    """Put a network on a GPU that there is not."""
    with mode:
        for part in module.modules():
            for tensors in (part._parameters, part._buffers):
                for name, tensor in tensors.items():
                    if tensor is not None:
                        there = mode.from_tensor(tensor.detach()).to(CUDA)
                        tensors[name] = nn.Parameter(there) if tensor.requires_grad else there


def losses_of(codec, recipe, data, mode):
    """The phase of an autoencoder's training on a GPU that is none, and the encoded rows."""
    X, y = data
    recipe = recipe(codec.fit(X, y), np.bincount(y))
    network = recipe.network(recipe.settings, torch_generator(0))
    fake(network, mode)
    return recipe.phase(network, recipe.settings), codec.encode(X)


@pytest.mark.parametrize(
    ("codec", "recipe", "data"), [(TableCodec, TableVAERecipe, fits.TABLE), (ImageCodec, ImageVAERecipe, fits.IMAGES)]
)
def test_losses_bring_nothing_to_the_gpu_from_the_second_step_on(codec, recipe, data):
    """On tensors that only claim to be on a GPU: what they are asked for says where it would come from."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    phase, rows = losses_of(codec(), recipe, data, mode)
    average = WeightAverage(phase.modules, 0.9)
    with mode:
        rows = {name: mode.from_tensor(tensor[:32]).to(CUDA) for name, tensor in rows.items()}
        condition = torch.zeros(32, dtype=torch.int64, device=CUDA)
        weight, blend = torch.ones(2, device=CUDA).unbind()
        seen = []
        for step in (0, 0, 10**6):
            with graphs.Watch() as watch:
                found = phase.loss(rows, condition, Moment(weight, phase.variant(step)), torch.Generator())
                average.update(blend)
            assert all(value.device == CUDA and not value.ndim for value in found.values())
            seen.append(watch.seen)
    assert seen[1:] == [[], []]


def test_changes_of_images_bring_nothing_to_the_gpu():
    with FakeTensorMode():
        images = torch.rand(4, 1, 20, 12, device=CUDA)
        with graphs.Watch() as watch:
            DiffAugmentation(translate=0.1, cutout=0.5, brightness=0.1, contrast=0.1)(images, torch.Generator())
        assert not watch.seen
        with graphs.Watch() as watch:
            images + torch.ones(12).to(CUDA)
        assert watch.seen == ["aten._to_copy.default"]


def test_nothing_is_recorded_unasked():
    assert graphs.recorder_for(CUDA, None) is None
    with graphs.recorded_steps():
        assert graphs.recorder_for(CPU, None) is None


# -------------------------------------------------------------------- on a GPU
@pytest.fixture
def recorded():
    with graphs.recorded_steps():
        yield


@needs_gpu
@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("best", [False, True])
def test_a_recorded_fit_is_an_eager_one(monkeypatch, best):
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "EAGER_STEPS", 10**9)
        eager = small_training(CUDA, best=best)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replayed = small_training(CUDA, best=best)
    for one, other in zip(eager[0], replayed[0], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert torch.equal(eager[2], replayed[2])


@needs_gpu
@pytest.mark.usefixtures("recorded")
def test_a_recorded_step_is_one_launch():
    small_training(CUDA)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as record:
        small_training(CUDA, n_steps=200)
    launches = sum(event.count for event in record.key_averages() if event.key == "cudaGraphLaunch")
    assert launches == 200 - 2 * graphs.EAGER_STEPS + 2 * 2


@needs_gpu
@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("kind", fits.KINDS)
def test_every_fit_is_recorded_on_a_gpu(monkeypatch, kind):
    monkeypatch.setattr(graphs, "FEWEST_STEPS", 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*CUDA graph")
        generator, X, y = fits.make(kind, max_steps=40, device="cuda", **({"width": 24} if "images" in kind else {}))
        generator.fit(X, y)
    assert len(generator.sample(20)[0]) == 20


@needs_gpu
@pytest.mark.usefixtures("recorded")
def test_a_recording_that_breaks_off_leaves_a_gpu_that_works(monkeypatch):
    """The step is seen to wait only where it is recorded, so that the recording itself fails."""
    model = nn.Linear(1, 1).to(CUDA)
    monkeypatch.setattr(
        graphs.Watch, "__torch_dispatch__", lambda self, f, types, args=(), kwargs=None: f(*args, **(kwargs or {}))
    )

    def loss(rows, condition, now, generator):
        error = (model(rows["x"]) - torch.randn(rows["x"].shape, generator=generator, device=CUDA)).square().mean()
        return {"loss": error * (1 if float(error) else 2)}

    plan, index = Plan(n_steps=120, batch_size=4, device=CUDA), torch.zeros(8, dtype=torch.int64)
    generator = torch.Generator(CUDA).manual_seed(0)
    before = torch.cuda.get_rng_state()
    with pytest.warns(TrainingWarning, match="as one CUDA graph"):
        train([Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=generator)
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.rand(3, device=CUDA).isfinite().all() and torch.rand(3, generator=generator, device=CUDA).isfinite().all()
