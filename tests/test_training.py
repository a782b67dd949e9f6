"""The training loop and what it is made of."""

import numpy as np
import pytest
import torch
from torch import nn

from augment_gen.devices import resolve_autocast, resolve_device
from augment_gen.errors import TrainingDivergedError, TrainingWarning
from augment_gen.steps import Phase, one_cycle
from augment_gen.training import ClassSampler, Monitor, Plan, train
from augment_gen.weights import WeightAverage

CPU = torch.device("cpu")


@pytest.mark.parametrize(("tempering", "expected"), [(1.0, 0.01), (0.5, 0.0913), (0.0, 0.5)])
def test_classes_are_drawn_by_their_tempered_share(tempering, expected):
    index = torch.tensor([0] * 990 + [1] * 10)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    rows = ClassSampler(index, 2, tempering, CPU).draw(40_000, torch.Generator().manual_seed(1))
    assert abs((index[rows] == 1).float().mean().item() - expected) < 0.01
    assert rows.min() == 0 and rows.max() == 999 and len(rows.unique()) > 950


def test_classes_without_rows_are_never_drawn():
    index = torch.tensor([0, 2, 2])
    rows = ClassSampler(index, 4, 0.5, CPU).draw(1000, torch.Generator().manual_seed(0))
    assert set(index[rows].tolist()) == {0, 2}


def line_fit(n_steps, **plan):
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    x = torch.linspace(-1, 1, 200)[:, None]

    def loss(rows, condition, now, generator):
        assert len(condition) == len(rows["x"]) == 32
        error = (model(rows["x"]) - 3 * rows["x"] - 1).square().mean()
        return {"loss": error, "twice": 2 * error}

    plan = Plan(n_steps=n_steps, batch_size=32, device=CPU, **plan)
    rows, index = {"x": x}, torch.zeros(200, dtype=torch.int64)
    history = train([Phase((model,), loss, 0.1)], rows, index, plan, n_classes=1, generator=torch.Generator().manual_seed(0))
    return model, history


def test_a_line_is_learned_and_the_curves_say_so():
    model, history = line_fit(300)
    assert abs(model.weight.item() - 3) < 0.05 and abs(model.bias.item() - 1) < 0.05
    assert history["loss"].iloc[-1] < 0.01 * history["loss"].iloc[0]
    np.testing.assert_allclose(history["twice"], 2 * history["loss"], rtol=1e-5)
    assert history["step"].tolist() == list(range(25, 301, 25)) and not model.training


@pytest.mark.parametrize("n_steps", [1, 2, 26])
def test_any_number_of_steps(n_steps):
    _, history = line_fit(n_steps)
    assert history["step"].iloc[-1] == n_steps


def test_averaged_weights_lag_behind_and_end_up_in_the_module():
    last, averaged = (line_fit(40, ema_decay=decay)[0].weight.item() for decay in (0.0, 0.99))
    assert 0 < averaged < last
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = WeightAverage([model], 0.9)
    nn.init.constant_(model.weight, 2.0)
    with average.in_place():
        assert model.weight.item() == 1.0
    assert model.weight.item() == 2.0, "live again behind the block"


def test_device_and_precision():
    assert resolve_device("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == best
    assert resolve_autocast("bfloat16", CPU, False) and not resolve_autocast("float32", CPU, True)
    assert not resolve_autocast("auto", CPU, worthwhile=False)


def test_thread_limit_ends_with_training_even_where_it_fails():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []
        model = nn.Linear(1, 1)

        def loss(rows, condition, now, generator):
            seen.append(torch.get_num_threads())
            return {"loss": model(rows["x"]).sum() * float("nan")}

        plan = Plan(n_steps=3, batch_size=4, device=CPU, max_threads=1)
        index = torch.zeros(8, dtype=torch.int64)
        with pytest.raises(TrainingDivergedError, match="loss became NaN"):
            train([Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator())
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("fault", ["loss", "weights"])
def test_a_training_that_diverges_starts_again_from_the_last_sound_weights_at_a_third_of_the_rate(fault):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 5.0)
    weights = []

    def loss(rows, condition, now, generator):
        weights.append(model.weight.item())
        error = (model(rows["x"]) - 3 * rows["x"]).square().mean()
        if len(weights) == 40:
            if fault == "loss":
                return {"loss": error * float("nan")}
            model.weight.data.fill_(float("inf"))
        return {"loss": error}

    plan = Plan(n_steps=50, batch_size=4, device=CPU)
    rows, index = {"x": torch.ones(8, 1)}, torch.zeros(8, dtype=torch.int64)
    with pytest.warns(TrainingWarning, match="Training diverged: .*before step 50.*Starting again"):
        history = train([Phase((model,), loss, 0.3)], rows, index, plan, n_classes=1, generator=torch.Generator())
    assert weights[50] == weights[25], "as they were at the last point of the curves where all was well"
    assert history["step"].tolist() == [25, 50] and abs(model.weight.item() - 3) < abs(weights[50] - 3)
    assert history["learning_rate"].iloc[0] == pytest.approx(one_cycle(24, 50, 0.1))


def test_the_best_weights_are_kept_not_the_last():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    scores = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    weights = []

    def score():
        weights.append(model.weight.item())
        return next(scores)

    loss = lambda rows, condition, now, generator: {"loss": model(rows["x"]).mean()}
    plan = Plan(n_steps=100, batch_size=4, device=CPU)
    index = torch.zeros(8, dtype=torch.int64)
    history = train(
        [Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator(),
        monitor=Monitor(score, every=10, patience=2),
    )  # fmt: skip
    assert model.weight.item() == weights[1] != weights[2] and history["step"].iloc[-1] == 30


def test_weights_behind_the_last_step_are_scored_too_and_a_loss_is_told_of_every_step():
    model, told, weights = nn.Linear(1, 1, bias=False), [], []
    nn.init.constant_(model.weight, 1.0)

    def loss(rows, condition, now, generator):
        told.append((now.weight, now.variant))
        return {"loss": model(rows["x"]).mean()}

    def score():
        weights.append(model.weight.item())
        return -len(weights)

    plan, index = Plan(n_steps=25, batch_size=4, device=CPU), torch.zeros(8, dtype=torch.int64)
    phase = Phase((model,), loss, 0.1, schedule=float, variant=lambda step: step % 3)
    monitor = Monitor(score, every=10, patience=2)
    train([phase], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator(), monitor=monitor)
    assert told == [(step, step % 3) for step in range(25)]
    assert len(weights) == 4 and model.weight.item() == weights[3] != weights[2]


def test_out_of_memory_halves_the_batch_goes_on_and_says_so():
    model, seen = nn.Linear(1, 1), []
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)

    def loss(rows, condition, now, generator):
        seen.append(len(condition))
        error = (model(rows["x"]) - 3 * rows["x"] - 1).square().mean()
        if len(condition) > 10 and now.weight >= 20:  # what a GPU raises, also in the middle of a training
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"loss": error}

    plan, index = Plan(n_steps=200, batch_size=32, device=CPU), torch.zeros(200, dtype=torch.int64)
    rows, generator = {"x": torch.linspace(-1, 1, 200)[:, None]}, torch.Generator().manual_seed(0)
    with pytest.warns(TrainingWarning, match="batches of (32|16) rows: training goes on with (16|8)") as warned:
        phase = Phase((model,), loss, 0.1, schedule=float)
        history = train([phase], rows, index, plan, n_classes=1, generator=generator)
    assert len(warned) == 2 and seen == [32] * 21 + [16] + [8] * 180
    assert abs(model.weight.item() - 3) < 0.1 and history["step"].iloc[-1] == 200


def test_out_of_memory_with_the_smallest_batch_is_the_users_to_solve():
    model = nn.Linear(1, 1)

    def loss(rows, condition, now, generator):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    plan, index = Plan(n_steps=2, batch_size=4, device=CPU), torch.zeros(8, dtype=torch.int64)
    with pytest.warns(TrainingWarning, match="goes on with 2"), pytest.raises(torch.OutOfMemoryError):
        train([Phase((model,), loss, 0.1)], {"x": torch.ones(8, 1)}, index, plan, n_classes=1, generator=torch.Generator())
