"""What work costs, in figures that no busy machine can change: operations and waits per step, and bytes at the peak."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from torch.profiler import ProfilerActivity, profile

from augment_gen import ConditionalGAN, ConditionalVAE, training
from augment_gen.codecs import TableCodec
from augment_gen.generators import base

STEPS = 10
WAITS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero")  # what makes a GPU's host wait


def events(work):
    """Every operation of torch's that was asked for by Python or by the backward pass, not by another operation; by name."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        work()
    mine = [event for event in record.events() if event.name.startswith("aten::")]
    return Counter(event.name for event in mine if event.cpu_parent is None or not event.cpu_parent.name.startswith("aten::"))


def per_step(monkeypatch, generator, X, y):
    """{what is trained: (operations, waits) of a step of it}, of all that is trained in a fit; without stop scores."""
    found, original = {}, training._train

    def watched(phases, rows, class_index, plan, n_classes, generator, monitor):
        returned = []
        counts = events(lambda: returned.append(original(phases, rows, class_index, plan, n_classes, generator, None)))
        found[plan.description] = counts.total() / STEPS, sum(counts[name] for name in WAITS)
        return returned[0]

    with monkeypatch.context() as patch:
        patch.setattr(training, "_train", watched)
        generator.set_params(max_steps=STEPS, random_state=0, device="cpu", novelty_filter=False).fit(X, y)
    return found


def table(n_columns, n_rows=300):
    """Numbers, few numbers, flags and levels in turn."""
    rng = np.random.default_rng(0)
    kinds = [rng.normal(size=n_rows), rng.integers(0, 9, n_rows), rng.random(n_rows) < 0.3, rng.choice(list("abcde"), n_rows)]
    return pd.DataFrame({f"x{i}": rng.permutation(kinds[i % 4]) for i in range(n_columns)}), rng.integers(0, 2, n_rows)


def images():
    digits = load_digits()
    return (digits.images[:200] * 15).astype(np.uint8), digits.target[:200]


def test_a_step_on_a_table_takes_as_many_operations_for_a_hundred_columns_as_for_ten(monkeypatch):
    narrow, wide = (per_step(monkeypatch, ConditionalGAN(min_adversarial_size=10), *table(n)) for n in (10, 100))
    assert narrow == wide, (narrow, wide)
    for trained, most in {"autoencoder": 360, "adversary": 740}.items():  # measured: 322 and 682
        assert wide[trained][0] < most and wide[trained][1] <= 1, "waits for the device more than once in LOG_EVERY steps"


def test_a_step_on_images(monkeypatch):
    found = per_step(monkeypatch, ConditionalGAN(min_adversarial_size=10), *images())
    for trained, most in {"judge 1": 165, "autoencoder": 530, "adversary": 1360}.items():  # measured: 149, 489 and 1259
        assert found[trained][0] < most and found[trained][1] <= 1, "waits for the device more than once in LOG_EVERY steps"


def test_drawing_calls_the_network_once_a_block(monkeypatch):
    monkeypatch.setattr(TableCodec, "block_rows", 64)
    monkeypatch.setattr(base, "STRETCH_BLOCKS", 4)
    gen = ConditionalVAE(max_steps=2, novelty_filter=False, random_state=0, device="cpu").fit(*table(10))
    one, ten = (events(lambda n=n: gen.sample(n, random_state=0)) for n in (64, 640))
    assert ten["aten::linear"] == 10 * one["aten::linear"]


PEAK = """
import resource, sys, warnings
import numpy as np
from sklearn.datasets import load_breast_cancer
from augment_gen import ConditionalVAE
from augment_gen.codecs import TableCodec
from augment_gen.generators import base

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""


def printed(code):
    """What a process of its own prints, as numbers."""
    return [float(word) for word in subprocess.check_output([sys.executable, "-c", PEAK + code], text=True).split()]


STREAM = """
base.STRETCH_BLOCKS = 2
gen = ConditionalVAE(max_steps=3, random_state=0, device="cpu").fit(*load_breast_cancer(return_X_y=True))
for n in ({few}, {many}):
    rows = sum(len(X) for X, y in gen.sample_iter(n, batch_rows=4096))
    print(rows, peak())
"""


@pytest.mark.parametrize(("few", "many"), [(30_000, 200_000), pytest.param(30_000, 10_000_000, marks=pytest.mark.long)])
def test_any_number_of_rows_can_be_drawn_in_bounded_memory(few, many):
    first, before, second, after = printed(STREAM.format(few=few, many=many))
    assert (first, second) == (few, many)
    of_one_row = 30 * 8
    assert after - before < 2**24 + 20 * (many - few) < 0.9 * of_one_row * (many - few)


FIT = """
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
for n in (50_000, 500_000):
    X, y = rng.normal(size=(n, 20)).astype(np.float32), np.arange(n) % 2
    small = {"max_steps": 2, "width": 32, "latent_dim": 4, "batch_size": 64, "latent_density": "gaussian"}
    gen = ConditionalVAE(**small, random_state=0, device="cpu")
    gen.fit(X, y)
    print(X.nbytes, sum(tensor.nbytes for tensor in gen.codec_.encode(X[:1]).values()) * n, peak())
"""


def test_peak_memory_of_fit_is_bounded_by_the_encoded_rows():
    raw, encoded, peak, raw_2, encoded_2, peak_2 = printed(FIT)
    assert peak_2 - peak - (raw_2 - raw) < 2 * (encoded_2 - encoded)  # measured: 1.64
