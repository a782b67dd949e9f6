"""Numbers beyond the usual: ten rows in a million, a thousand classes, two thousand columns, images without content."""

import resource
import time

import numpy as np
import pandas as pd
import pytest

from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE

TINY = {"max_steps": 2, "width": 8, "random_state": 0, "device": "cpu"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("generator", [ConditionalVAE, WarpVAE, ElasticWarp])
@pytest.mark.parametrize("value", [0, 255])
def test_images_that_are_all_alike(generator, value):
    X, y = np.full((24, 8, 8), value, np.uint8), np.repeat([0, 1], [18, 6])
    X_all, y_all = generator(**TINY).fit_resample(X, y)
    assert X_all.shape == (36, 8, 8) and X_all.dtype == np.uint8 and np.bincount(y_all).tolist() == [18, 18]


def test_labels_that_carry_no_information():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 4)), rng.integers(0, 2, 300)
    gen = ConditionalVAE(max_steps=100, random_state=0, device="cpu").fit(X, y)
    means = [gen.sample(2000, y=label, random_state=0)[0].mean(axis=0) for label in (0, 1)]
    assert np.abs(means[0] - means[1]).max() < 0.6, "no difference is made up"


def test_a_thousand_classes():
    y = np.repeat(np.arange(1000), 3)
    X = np.random.default_rng(0).normal(size=(3000, 3))
    gen = ConditionalVAE(**TINY).fit(X, y)
    assert len(gen.latent_report_) == 1000
    assert gen.sample(y=y[::3])[1].tolist() == list(range(1000))


@pytest.mark.long
@pytest.mark.parametrize("generator", [ConditionalVAE, ConditionalGAN])
def test_two_thousand_columns(generator):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2000))).add_prefix("c")
    X_all, _ = generator(**TINY).fit_resample(X, np.repeat([0, 1], [45, 15]))
    assert X_all.shape == (90, 2000) and np.isfinite(X_all.to_numpy()).all()


@pytest.mark.long
def test_ten_rows_in_a_million(record_property):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({f"x{i}": rng.normal(size=1_000_000).astype(np.float32) for i in range(8)})
    X["kind"] = pd.Categorical(rng.choice(list("abc"), len(X)))
    y = np.zeros(len(X), dtype=np.int8)
    y[::100_000] = 1
    X.iloc[::100_000, :8] += 4
    start = time.perf_counter()
    gen = ConditionalVAE(max_steps=100, random_state=0, device="cpu").fit(X, y)
    seconds, megabytes = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record_property("seconds", round(seconds))
    record_property("peak megabytes", round(megabytes))
    X_new, y_new = gen.sample(1000, y=1)
    assert (y_new == 1).all() and X_new.dtypes.equals(X.dtypes)
    report = gen.latent_report_.set_index("label")
    assert report.loc[1, "n_real"] == 10 and report.loc[0, "n_real"] == 999_990
    assert seconds < 600 and megabytes < 8000
