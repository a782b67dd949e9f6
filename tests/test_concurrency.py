"""Several callers at once: threads, processes and forks each get what they would have got alone."""

import multiprocessing
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris, load_wine

from augment_gen import ConditionalVAE, WarpVAE
from augment_gen.errors import AugmentGenError

TINY = {"max_steps": 2, "width": 8, "random_state": 0, "device": "cpu"}
WINE, IRIS = load_wine(return_X_y=True), load_iris(return_X_y=True)
DIGITS, LABELS = load_digits(return_X_y=True)
IMAGES, TARGETS = DIGITS[LABELS < 2][:60].reshape(-1, 8, 8).astype(np.uint8), LABELS[LABELS < 2][:60]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def table():
    return ConditionalVAE(**TINY).fit(*WINE)


@pytest.fixture(scope="module")
def image():
    return WarpVAE(**TINY, label_threshold=0, novelty_filter=False).fit(IMAGES, TARGETS)


def draw(gen, seed, n=12):
    """Rows of one class from one seed; a class and a length of its own for each seed."""
    return np.asarray(gen.sample(n + seed, y=gen.classes_[seed % len(gen.classes_)], random_state=seed)[0])


def assert_as_alone(gen, found):
    for seed, rows in enumerate(found):
        np.testing.assert_array_equal(rows, draw(gen, seed), f"seed {seed}")


@pytest.mark.parametrize("kind", ["table", "image"])
def test_eight_threads_draw_what_each_would_alone(kind, request):
    gen = request.getfixturevalue(kind)
    with ThreadPoolExecutor(8) as pool:
        assert_as_alone(gen, pool.map(lambda seed: draw(gen, seed), range(16)))


def test_the_stream_gives_every_thread_other_rows(table):
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: np.asarray(table.sample(5, y=0)[0]).tobytes(), range(64)))
            z, y = np.zeros((5, table.decoder_.density.dim)), [0] * 5
            found += list(pool.map(lambda _: np.asarray(table.decode(z, y)).tobytes(), range(32)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(found)) == 96, "no two calls drew the same"


def test_each_thread_reads_the_report_of_its_own_call(table):
    def report(n):
        table.sample(n, y=int(n % 3), random_state=0)
        return table.filter_report_

    with ThreadPoolExecutor(8) as pool:
        reports = list(pool.map(report, range(20, 60)))
    for n, found in zip(range(20, 60), reports, strict=True):
        assert set(found["label"]) == {n % 3} and found["seen"].iloc[0] >= n
    assert len(table.filter_report_), "a thread that has drawn nothing reads the latest of any"


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.long)])
def test_four_processes_draw_what_each_would_alone(table, image, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork")
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(4 if method == "fork" else 2, mp_context=context) as pool:
        for gen in (table, image):
            work = [pool.submit(draw, gen, seed) for seed in range(8)]
            assert_as_alone(gen, [one.result(timeout=120) for one in work])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(table, backend):
    assert_as_alone(table, joblib.Parallel(n_jobs=4, backend=backend)(joblib.delayed(draw)(table, seed) for seed in range(8)))


def test_a_copy_goes_on_where_the_original_stood(table):
    copied = pickle.loads(pickle.dumps(table))
    np.testing.assert_array_equal(copied.sample(7)[0], table.sample(7)[0])


def fitted(dataset):
    X, y = {"wine": WINE, "iris": IRIS, "digits": (IMAGES, TARGETS)}[dataset]
    gen = ConditionalVAE(**{**TINY, "max_steps": 20}).fit(X, y)
    return gen.history_, np.asarray(gen.sample(30, random_state=0)[0])


def test_fits_in_threads_give_what_they_give_alone():
    work = ["wine", "digits", "iris", "wine"]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fitted, work))
    for dataset, (history, rows) in zip(work, found, strict=True):
        alone = fitted(dataset)
        pd.testing.assert_frame_equal(history, alone[0])
        np.testing.assert_array_equal(rows, alone[1])


def fork_and_draw(gen, answers):
    try:
        answers.put(("rows", draw(gen, 1).shape))
    except (AugmentGenError, RuntimeError) as error:
        answers.put(("error", str(error)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fork_after_cuda_was_used_ends_with_rows_or_an_error():
    gen = ConditionalVAE(**{**TINY, "device": "cuda"}).fit(*WINE)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=fork_and_draw, args=(gen, answers))
    child.start()
    kind, what = answers.get(timeout=120)
    child.join(timeout=60)
    assert child.exitcode == 0 and (kind == "rows" or "CUDA" in what), (kind, what)
