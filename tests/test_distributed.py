"""Several processes that train one model, started by the real torchrun, with gloo on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from two_processes import draw, generator, line, table

from augment_gen import load
from augment_gen.distributed import Share, current_share, data_parallel

TESTS = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What the two processes saw, and the folder with the model that rank 0 saved."""
    folder = tmp_path_factory.mktemp("two")
    done = subprocess.run([*TORCHRUN, str(TESTS / "two_processes.py"), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)], folder


def test_all_end_with_the_same_weights_bit_for_bit(two):
    (first, second), _ = two
    assert (first.pop("share"), second.pop("share")) == ([0, 2], [1, 2])
    for name in first:  # weights, buffers, densities, curves, and what is drawn from them
        assert first[name] == second[name], name


def test_batches_are_shared_out_so_that_the_steps_are_those_of_one_process(two):
    (end, curve), (alone, alone_curve) = two[0][0]["line"], line()
    np.testing.assert_allclose(end, alone, atol=1e-5)
    np.testing.assert_allclose(curve, alone_curve, rtol=0.05)  # a mean of the means of 17 and 16 rows


def test_the_quality_is_that_of_one_process(two):
    (found, _), folder = two
    X, y = table(0)
    X_test, y_test = table(1)
    alone = generator().fit(X, y)

    def score(gen, seed):
        X_new, y_new = gen.sample(400, random_state=seed)
        trees = RandomForestClassifier(50, random_state=0).fit(X_new, y_new)
        return balanced_accuracy_score(y_test, trees.predict(X_test))

    together = load(folder / "vae.safetensors")
    scores = np.array([[score(gen, seed) for seed in range(3)] for gen in (alone, together)])
    assert scores.min() > 0.85 and abs(np.subtract(*scores.mean(axis=1))) < 0.03, scores
    last = pd.DataFrame(found["history"])["reconstruction"].tail(3).mean()
    assert last == pytest.approx(alone.history_["reconstruction"].tail(3).mean(), rel=0.05)


def test_workers_at_the_same_time_write_what_one_alone_would(two):
    _, folder = two
    assert draw(folder, "alone", (0, 1))["rows"].tolist() == [10] * 4
    shared, alone = ({file.name: file.read_bytes() for file in (folder / out).iterdir()} for out in ("shards", "alone"))
    assert len(alone) == 5 and shared == alone


def test_different_data_and_batches_too_small_are_refused_by_all(two):
    for found in two[0]:
        assert "InvalidDataError: X and y must be the same in all 2 processes" in found["other rows"]
        assert "143, 142 rows" in found["other rows"] or "142, 142 rows" in found["other rows"], found["other rows"]
        assert "InvalidParameterError: batch_size=3 is shared out among 2" in found["small batch"]


def test_without_torchrun_a_process_does_all_of_the_work(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with data_parallel() as share:
        assert share == current_share() == Share()
    monkeypatch.setenv("RANK", "1")
    assert current_share() == Share(), "a fit in a larger job waits for nobody unless it is asked to"


@pytest.mark.long
def test_the_command_under_torchrun_writes_one_model(tmp_path):
    X, y = table(0)
    pd.DataFrame(X).assign(target=y).to_csv(tmp_path / "rows.csv", index=False)
    fit = ["-m", "augment_gen", "fit", str(tmp_path / "rows.csv"), "--target", "target", "--steps", "5", "--device", "cpu"]
    done = subprocess.run([*TORCHRUN, *fit, "--out", str(tmp_path / "m.safetensors")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("ConditionalVAE of 285 samples") == 1, done.stderr
    assert load(tmp_path / "m.safetensors").sample(3, y=0)[0].shape == (3, 30)
