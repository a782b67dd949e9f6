"""Exact copies of training rows: not handed out, counted, and told from rows that may repeat."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris

import augment_gen
from augment_gen import ConditionalVAE, ElasticWarp
from augment_gen.codecs import ImageCodec, TableCodec
from augment_gen.errors import InvalidRequestError, NoveltyWarning, ShortfallError, SmallClassWarning
from augment_gen.persistence import read_state
from augment_gen.sampling.copies import Copies


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return X.round(1), y


@pytest.fixture(scope="module")
def generator(iris):
    return ConditionalVAE(max_steps=60, random_state=0, device="cpu").fit(*iris)


def small(**params):
    return ConditionalVAE(**{"max_steps": 5, "random_state": 0, "device": "cpu", "novelty_filter": False, **params})


def copies_in(X_new, X):
    """How many rows of X_new equal a row that occurs once in X, compared by pandas."""
    return len(X_new.merge(X.drop_duplicates(keep=False)))


def test_copies_are_drawn_again_and_counted(generator, iris):
    X, _ = iris
    allowed, _ = generator.sample(600, random_state=1, allow_copies=True)
    found = copies_in(allowed, X)
    assert found > 0 and generator.filter_report_["copies"].sum() == 0
    X_new, y_new = generator.sample(600, random_state=1)
    assert copies_in(X_new, X) == 0 and len(X_new) == 600 and np.bincount(y_new).tolist() == [200] * 3
    report = generator.filter_report_
    assert report["copies"].sum() >= found and (report["copies"] <= report["rejected_share"] * report["seen"] + 1e-9).all()
    assert generator.latent_report_["copied_share"].between(0, 0.2).all() and generator.latent_report_["copied_share"].any()


def test_a_saved_generator_refuses_them_too_and_holds_eight_bytes_a_row(generator, iris, tmp_path):
    X, _ = iris
    generator.save(tmp_path / "iris.safetensors")
    X_new, _ = augment_gen.load(tmp_path / "iris.safetensors").sample(600, random_state=1)
    pd.testing.assert_frame_equal(X_new, generator.sample(600, random_state=1)[0])
    assert copies_in(X_new, X) == 0
    kept = read_state(tmp_path / "iris.safetensors")["screening"]["copies"]["fingerprints_"]
    assert kept.dtype == np.uint64 and kept.shape == (len(X.drop_duplicates(keep=False)),)


def test_fit_resample_and_its_rows(iris):
    X, y = iris
    gen = small(max_steps=60, sampling_strategy={0: 450})
    X_all, _ = gen.fit_resample(X, y)
    assert copies_in(X_all[150:], X) == 0 and gen.filter_report_["copies"].sum() > 0
    assert copies_in(gen.fit_resample(X, y, allow_copies=True)[0][150:], X) > 0


def test_combinations_of_categories_may_occur_again():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.choice(["x", "y", "z"], 60), "b": rng.random(60) < 0.5, "c": rng.integers(0, 5, 60)})
    gen = small().fit(X, np.arange(60) % 2)
    X_new, _ = gen.sample(100)
    assert len(X_new.merge(X.drop_duplicates())) > 0 and gen.filter_report_["copies"].sum() == 0


def test_rows_that_training_rows_share_are_no_copies_of_one_and_those_of_another_class_are():
    X = np.random.default_rng(0).normal(size=(100, 2)).round(1)
    X[:30] = X[0]  # a heap
    codec = TableCodec().fit(X, np.arange(100) % 2)
    copies = Copies().fit(codec, [X])
    assert not copies.find(codec, X[:30]).any() and not copies.find(codec, X[:0]).size
    single = ~pd.DataFrame(X).duplicated(keep=False).to_numpy()
    assert (copies.find(codec, X) == single).all() and single.sum() > 50
    assert not copies.find(codec, X + 0.04).any()


@pytest.mark.parametrize("row", [0, 1, 2, 3])
def test_a_row_is_recognised_alone_whatever_its_type(row):
    X = pd.DataFrame(
        {
            "object": pd.Series([None, 1.5, 2.5, 3.5] * 30, dtype=object),
            "uint64": np.arange(2**63, 2**63 + 120 * 4096, 4096, dtype=np.uint64),
            "when": pd.date_range("2020-01-01", periods=120).where(np.arange(120) % 4 != 1),
            "text": pd.Series([None, "é", "", "x"] * 30).astype("string"),
            "zero": np.r_[0.0, -0.0, np.linspace(0.1, 1, 118)],
        }
    )
    codec = TableCodec().fit(X, np.arange(120) % 2)
    copies = Copies().fit(codec, [X])
    assert copies.find(codec, X).all() and copies.find(codec, X.iloc[[row]]).all()
    changed = X.iloc[[row]].assign(text="é" if row != 1 else "x")
    assert not copies.find(codec, changed).any()
    assert codec.fingerprints(X.assign(zero=-X["zero"]))[0] == codec.fingerprints(X)[0]


def test_a_sample_of_missing_cells_alone_is_no_error():
    X = pd.DataFrame({"a": pd.Series([None] * 80 + [1.5] * 20, dtype=object), "b": np.linspace(0, 1, 100)})
    gen = small().fit(X, np.arange(100) % 2)
    for seed in range(10):
        assert len(gen.sample(1, random_state=seed)[0]) == 1


@pytest.mark.parametrize("form", ["nhw", "nhwc", "nchw", "list", "float32"])
def test_images_are_compared_pixel_by_pixel(form):
    images = (load_digits().images[:50] * 15.9).astype("uint8")
    changes = {
        "nhw": lambda X: X,
        "nhwc": lambda X: X[..., None].repeat(3, -1),
        "nchw": lambda X: torch.from_numpy(X[:, None]),
        "list": list,
        "float32": lambda X: X.astype(np.float32) / 255,
    }
    X, change = changes[form](images), images.copy()
    codec = ImageCodec().fit(X, np.arange(50) % 2)
    copies = Copies().fit(codec, [X])
    change[::2, 4, 4] ^= 1
    assert copies.find(codec, X).all() and len(copies.fingerprints_) == 50
    assert copies.find(codec, changes[form](change)).tolist() == [False, True] * 25


def warp(**params):
    return ElasticWarp(label_threshold=0, novelty_filter=False, random_state=0, device="cpu", **params)


def blank_and_digits(n_blank):
    digits = load_digits(n_class=2)
    images = np.concatenate([np.zeros((n_blank, 8, 8)), digits.images[:40]]).astype("uint8")
    return images, np.r_[["blank"] * n_blank, ["digit"] * 40]


def test_where_every_draw_is_a_copy_it_ends_and_says_so():
    with pytest.warns(SmallClassWarning), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*vary less")
        gen = warp(min_class_size=1).fit(*blank_and_digits(1))
    with pytest.warns(NoveltyWarning, match="3 rows of 'blank' are exact copies of training rows, as in all of 20 draws"):
        X_new, _ = gen.sample(3, y="blank")
    assert X_new.shape == (3, 8, 8) and not X_new.any()
    assert gen.filter_report_[["seen", "copies"]].to_numpy().tolist() == [[60, 60]]
    with pytest.raises(ShortfallError, match="3 rows of 'blank' were rejected in all of 10 draws"):
        gen.sample(3, y="blank", on_shortfall="raise")
    with pytest.raises(InvalidRequestError, match="allow_copies must be True or False; got 'no'"):
        gen.sample(3, y="blank", allow_copies="no")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gen.sample(3, y="blank", on_shortfall="raise", allow_copies=True)
        assert gen.sample(20, y="digit")[0].shape == (20, 8, 8)


def test_a_class_of_blank_images_repeats_them_freely():
    gen = warp().fit(*blank_and_digits(6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not gen.sample(10, y="blank")[0].any() and gen.filter_report_["copies"].sum() == 0


def test_near_rows_are_preferred_to_copies_and_filters_still_counted(generator, iris):
    X, _ = iris
    nothing = lambda X, y: np.zeros(len(X), dtype=bool)
    with pytest.warns(UserWarning, match="150 rows of 0, 1, 2 were still rejected after 10 draws, by <lambda>"):
        X_new, _ = generator.sample(150, filters=nothing, random_state=0)
    assert copies_in(X_new, X) == 0
