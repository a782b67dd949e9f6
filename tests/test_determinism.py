"""Same seed, same rows, however the work is cut; and nothing that belongs to the whole process is moved by any public call."""

# ruff: noqa: E501
import os
import random
import signal
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

import augment_gen
from augment_gen import AugmentedClassifier, AugmentedClassifierCV, ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE
from augment_gen.errors import AugmentGenError
from augment_gen.evaluation import compare, evaluate
from augment_gen.networks.initialise import build
from augment_gen.networks.mlp import TableVAE
from augment_gen.pipelines import (
    Provenance,
    SyntheticDataset,
    SyntheticPool,
    read_image_folder,
    rebalance_dataset,
    write_image_folder,
)
from augment_gen.pipelines.choice import choose_mix
from augment_gen.pipelines.tables import rebalance_table
from augment_gen.sampling import ClassConsistent, NotACopy, WithinSupport
from augment_gen.seeding import torch_generator

TINY = {"max_steps": 2, "width": 8, "random_state": 0, "device": "cpu"}
WINE = load_wine(return_X_y=True)
DIGITS, LABELS = load_digits(return_X_y=True)
KEPT = np.r_[np.flatnonzero(LABELS == 3)[:30], np.flatnonzero(LABELS == 8)[:14]]
IMAGES, TARGETS = DIGITS[KEPT].reshape(-1, 8, 8).astype(np.uint8), LABELS[KEPT]
HELD_OUT = WINE[0] * 1.01, WINE[1]
FITTED = [
    (generator, modality)
    for generator, modalities in {
        ConditionalVAE: ("table", "image"), ConditionalGAN: ("table", "image"), WarpVAE: ("image",), ElasticWarp: ("image",),
    }.items()
    for modality in modalities
]  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def training_set(modality):
    return WINE if modality == "table" else (IMAGES, TARGETS)


def drawn(gen, label, **how):
    return np.asarray(gen.sample(50, y=label, random_state=1, **how)[0])


# ---------------------------------------------------------- same seed, same rows
@pytest.mark.parametrize(("generator", "modality"), FITTED)
def test_same_seed_same_rows_however_they_are_batched(generator, modality):
    X, y = training_set(modality)
    gen, twin = (generator(**TINY).fit(X, y) for _ in range(2))
    label, other = gen.classes_[:2].tolist()
    rows = drawn(gen, label)
    np.testing.assert_array_equal(drawn(twin, label), rows)
    np.testing.assert_array_equal(np.asarray(gen.sample(9)[0]), np.asarray(twin.sample(9)[0]), "streams go on alike")
    assert (drawn(gen, other) != rows).any()
    gen.decoder_.max_rows = 7  # matrix products of another height may round in another way
    np.testing.assert_allclose(drawn(gen, label), rows, rtol=1e-6)


@pytest.mark.parametrize(("generator", "modality"), FITTED)
@pytest.mark.parametrize("mode", ["float64 by default", "no_grad", "inference_mode", "deterministic"])
def test_the_callers_modes_change_nothing(generator, modality, mode):
    X, y = training_set(modality)
    rows = drawn(generator(**TINY).fit(X, y), y[0])
    try:
        torch.set_default_dtype(torch.float64 if mode.startswith("float64") else torch.float32)
        torch.use_deterministic_algorithms(mode == "deterministic")
        with torch.set_grad_enabled(mode != "no_grad"), torch.inference_mode(mode == "inference_mode"):
            np.testing.assert_array_equal(drawn(generator(**TINY).fit(X, y), y[0]), rows)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.use_deterministic_algorithms(False)


def test_initial_weights_come_from_their_generator_alone():
    architecture = ConditionalVAE(**TINY).fit(*WINE).decoder_.network.architecture
    torch.manual_seed(0)
    first = build(TableVAE, architecture, torch_generator(5)).state_dict()
    again = build(TableVAE, architecture, torch_generator(5)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    undrawn = [name for name, weight in first.items() if name.endswith("weight") and not weight.any()]
    assert not undrawn, "every weight that torch would draw is drawn by build"


SCRIPT = """
import sys, numpy as np
from sklearn.datasets import load_wine
from augment_gen import ConditionalVAE
X, y = load_wine(return_X_y=True)
gen = ConditionalVAE(max_steps=40, random_state=0, device="cpu").fit(X, y)
np.save(sys.argv[1], gen.sample(200, random_state=1)[0])
"""


def test_another_process_and_hash_seed_give_the_same_rows(tmp_path):
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / seed)], check=True, env=environment)
    np.testing.assert_array_equal(np.load(tmp_path / "1.npy"), np.load(tmp_path / "2.npy"))


def test_the_number_of_workers_changes_nothing():
    pool = SyntheticPool(ConditionalVAE(**TINY).fit(IMAGES, TARGETS), {3: 8, 8: 8}, seed=1)
    read = [[x for x, _ in DataLoader(SyntheticDataset(pool), batch_size=4, num_workers=n)] for n in (0, 2)]
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*read, strict=True))
    search = {"cv": 2, "random_state": 0}
    grids = [
        AugmentedClassifierCV(LogisticRegression(max_iter=50), ConditionalVAE(**TINY), n_jobs=n, **search)
        .fit(*WINE)
        .cv_results_
        for n in (1, 2)
    ]
    pd.testing.assert_frame_equal(*(pd.DataFrame(grid).filter(regex="^(?!.*time)") for grid in grids))


def test_a_limit_of_threads_ends_with_the_training_also_where_that_fails():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ConditionalVAE(**TINY).fit(*WINE)
        refused(lambda: ConditionalVAE(max_steps=60, learning_rate=1e30, device="cpu").fit(*WINE))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# ------------------------------------------------- what belongs to the process
def process_state():
    """All that a call could leave changed for everybody else."""
    name, keys, *rest = np.random.get_state()
    return {
        "random": random.getstate(),
        "numpy.random": (name, keys.tolist(), *rest),
        "torch stream": torch.get_rng_state().tolist(),
        "default dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark,
            torch.get_float32_matmul_precision(), torch.backends.mkldnn.enabled,
        ),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "warnings": list(warnings.filters),
        "numpy errors": np.geterr(),
        "printing": np.get_printoptions()["precision"],
        "pandas": pd.get_option("mode.copy_on_write"),
        "folder": os.getcwd(),
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "ctrl-c": signal.getsignal(signal.SIGINT),
    }  # fmt: skip


@pytest.fixture
def untouched():
    """Fails where a test leaves anything of the process other than it was."""
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    before = process_state()
    yield
    after = process_state()
    changed = {what: (before[what], after[what]) for what in before if before[what] != after[what]}
    assert not changed


def fitted(modality="table", generator=ConditionalVAE):
    return generator(**TINY).fit(*training_set(modality))


def refused(call):
    with pytest.raises((AugmentGenError, ValueError, TypeError)):
        call()


def interrupted(call, after=0.3):
    """Ctrl-C in the middle of a call, as the terminal sends it."""

    def press(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, press)
    signal.setitimer(signal.ITIMER_REAL, after)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def interrupting(X, y):
    raise KeyboardInterrupt


def filtered(gen):
    filters = [one.fit(*WINE) for one in (ClassConsistent(), WithinSupport(), NotACopy())]
    gen.sample(20, filters=filters)


CALLS = {
    **{f"fit, sample {g.__name__} {m}": (lambda _, g=g, m=m: g(**TINY).fit(*training_set(m)).sample(5)) for g, m in FITTED},
    "fit_resample": lambda _: ConditionalVAE(**TINY).fit_resample(*WINE),
    "a mixture that stops early": lambda _: ConditionalVAE(**TINY, latent_density="mixture").fit(*WINE),
    "read-only images": lambda _: ConditionalVAE(**TINY).fit(np.broadcast_to(IMAGES, IMAGES.shape), TARGETS),
    "encode, decode": lambda _: (gen := fitted()).decode(gen.encode(*WINE), WINE[1]),
    "filters": lambda _: filtered(fitted()),
    "save, load": lambda path: (fitted("image").save(path / "m.safetensors"), augment_gen.load(path / "m.safetensors").sample(3)),
    "AugmentedClassifier": lambda _: AugmentedClassifier(LogisticRegression(max_iter=20), ConditionalVAE(**TINY)).fit(*WINE).predict(WINE[0]),
    "AugmentedClassifierCV": lambda _: AugmentedClassifierCV(LogisticRegression(max_iter=20), ConditionalVAE(**TINY), cv=2).fit(*WINE),
    "pool, dataset": lambda _: list(SyntheticDataset(SyntheticPool(fitted("image"), {3: 4}))),
    "rebalance_dataset": lambda _: rebalance_dataset(
        TensorDataset(torch.from_numpy(IMAGES)[:, None], torch.from_numpy(TARGETS)), ConditionalVAE(**TINY)
    ),
    "read_image_folder": lambda path: read_image_folder(written(path)),
    "choose_mix": lambda _: choose_mix(
        IMAGES, TARGETS, {"warp": (ElasticWarp(**TINY, label_threshold=0), 0.5)}, classifier=even_odds, random_state=0
    ),
    "rebalance_table": lambda path: rebalance_table(
        write_wine(path), path / "out.csv", ConditionalVAE(**TINY), "y"
    ),
    "evaluate": lambda _: evaluate(fitted(), *HELD_OUT, X_train=WINE[0], y_train=WINE[1], random_state=0, device="cpu"),
    "evaluate images": lambda _: evaluate(
        fitted("image"), 15 - IMAGES[::2], TARGETS[::2], X_train=IMAGES, y_train=TARGETS, features="random", device="cpu"
    ),
    "compare": lambda _: compare(
        ConditionalVAE(**TINY), LogisticRegression(max_iter=20), *WINE, cv=2, n_repeats=1, inner_cv=None, amounts=(1.0,)
    ),
    "bad X": lambda _: refused(lambda: ConditionalVAE(**TINY).fit(np.full((9, 2), np.inf), [0, 1, 0] * 3)),
    "bad y": lambda _: refused(lambda: ConditionalVAE(**TINY).fit(WINE[0], WINE[1][:5])),
    "bad parameter": lambda _: refused(lambda: ConditionalVAE(**TINY, device="cpuu").fit(*WINE)),
    "bad request": lambda _: refused(lambda: fitted().sample(3, y="unknown")),
    "bad file": lambda path: ((path / "x").write_bytes(b"x" * 99), refused(lambda: augment_gen.load(path / "x"))),
    "diverged": lambda _: refused(lambda: ConditionalVAE(max_steps=60, learning_rate=1e30, device="cpu").fit(*WINE)),
    "diverged images": lambda _: refused(
        lambda: WarpVAE(max_steps=60, width=8, learning_rate=1e30, label_threshold=0, device="cpu").fit(IMAGES, TARGETS)
    ),
    "Ctrl-C in fit": lambda _: interrupted(lambda: ConditionalVAE(max_steps=10**6, device="cpu").fit(*WINE)),
    "Ctrl-C in fit of images": lambda _: interrupted(lambda: ConditionalGAN(max_steps=10**6, width=8, device="cpu").fit(IMAGES, TARGETS)),
    "Ctrl-C in sample": lambda _: interrupted(lambda: fitted().sample(9, filters=interrupting), after=60),
}  # fmt: skip


def even_odds(X, y, X_held_out, seed):
    return np.full((len(X_held_out), 2), 0.5)


def written(path):
    write_image_folder(path / "out", IMAGES, TARGETS, provenance=Provenance.of(fitted("image"), seed=0))
    return path / "out"


def write_wine(path):
    pd.DataFrame(WINE[0]).add_prefix("x").assign(y=WINE[1]).to_csv(path / "in.csv", index=False)
    return path / "in.csv"


LONG = ("evaluate", "evaluate images", "compare", "filters", "choose_mix", "AugmentedClassifierCV", "rebalance_dataset")


@pytest.mark.parametrize(
    "call", [pytest.param(call, id=name, marks=[pytest.mark.long] if name in LONG else []) for name, call in CALLS.items()]
)
def test_public_calls_leave_the_process_as_it_was(call, untouched, tmp_path):
    call(tmp_path)


def test_fits_side_by_side_leave_the_process_as_it_was(untouched):
    work = [joblib.delayed(fitted)(modality) for modality in ("table", "image") * 4]
    joblib.Parallel(4, backend="threading")(work)
