"""A pool holds what was asked for, keeps it in memory or in a file, and travels light."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.svm import SVC
from torch.utils.data import DataLoader, Dataset

import augment_gen
from augment_gen import ConditionalVAE
from augment_gen.errors import InvalidRequestError, InvalidTypeError, ModelFileError, UnknownLabelError
from augment_gen.pipelines import SyntheticPool

COUNTS = {8: 40, 3: 12}


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    return (digits.images * 255 / 16).astype(np.uint8), digits.target


@pytest.fixture(scope="module")
def generator(digits):
    return ConditionalVAE(max_steps=150, random_state=0, device="cpu").fit(*digits)


def test_samples_are_of_the_labels_asked_for(generator, digits):
    pool = SyntheticPool(generator, COUNTS)
    judge = SVC().fit(digits[0].reshape(len(digits[0]), -1), digits[1])
    for label, n in COUNTS.items():
        images = pool.rows(label)
        assert images.shape == (n, 8, 8) and images.dtype == np.uint8
        assert (judge.predict(images.reshape(n, -1)) == label).mean() > 0.8
    assert len(pool) == 52 and pool.labels == [8, 3] and 3 in pool and np.int64(8) in pool and 5 not in pool


def test_views_of_images_show_the_same_pixels(generator):
    pool = SyntheticPool(generator, COUNTS)
    rows = pool.rows(3)
    assert pool.tensors(3).shape == (12, 1, 8, 8) and pool.value_range == (0, 255)
    np.testing.assert_array_equal(pool.tensors(3)[:, 0].numpy(), rows)
    np.testing.assert_array_equal(pool.arrays(3), rows)
    one = pool.item(3, 4)
    np.testing.assert_array_equal(one, rows[4])
    one[:] = 0
    assert pool.rows(3)[4].any(), "an item is the caller's own"


def test_same_seed_same_pool(generator):
    first, again, other = (SyntheticPool(generator, COUNTS, seed=seed).rows(8) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("in_file", [False, True])
def test_refresh_draws_anew_and_repeatably(generator, tmp_path, in_file):
    path = tmp_path / "pool.safetensors" if in_file else None
    pool, twin = SyntheticPool(generator, COUNTS, path=path), SyntheticPool(generator, COUNTS)
    before = pool.rows(8).copy()
    assert pool.refresh() is pool and (pool.rows(8) != before).any()
    np.testing.assert_array_equal(pool.rows(8), twin.refresh().rows(8))
    second = pool.rows(8).copy()
    assert (pool.refresh().rows(8) != second).any(), "every refresh draws other samples"
    np.testing.assert_array_equal(pool.refresh(seed=0).rows(8), before)


class Mean(Dataset):
    """The mean pixel of each image of a pool, as whoever holds the pool sees it."""

    def __init__(self, pool):
        self.pool = pool

    def __len__(self):
        return len(self.pool)

    def __getitem__(self, index):
        return self.pool.tensors()[index].float().mean()


@pytest.mark.parametrize(("method", "in_file"), [("fork", False), ("fork", True), ("spawn", True)])
def test_workers_see_the_samples_and_after_a_refresh_the_new_ones(generator, tmp_path, in_file, method):
    pool = SyntheticPool(generator, COUNTS, path=tmp_path / "pool.safetensors" if in_file else None)
    loader = DataLoader(Mean(pool), batch_size=52, num_workers=1, multiprocessing_context=method)
    first = next(iter(loader))
    assert torch.equal(first, pool.tensors().float().mean((1, 2, 3)))
    if method == "fork":  # a spawned worker takes seconds to start: once is enough
        pool.refresh()
        assert torch.equal(next(iter(loader)), pool.tensors().float().mean((1, 2, 3))) and not torch.equal(
            first, next(iter(loader))
        )


def test_a_pool_whose_file_became_another_pool_is_refused(generator, tmp_path):
    path = tmp_path / "pool.safetensors"
    sent = pickle.dumps(SyntheticPool(generator, {8: 10, 3: 2}, path=path))
    SyntheticPool(generator, {3: 10, 8: 2}, path=path)
    with pytest.raises(ModelFileError, match="holds another pool.*a file of its own"):
        pickle.loads(sent)


def test_a_saved_pool_names_the_seed_it_was_drawn_from(generator, tmp_path):
    pool = SyntheticPool(generator, COUNTS, seed=3).refresh(seed=99)
    pool.save(tmp_path / "pool.safetensors")
    seed = SyntheticPool.open(tmp_path / "pool.safetensors").seed
    assert seed == 99
    np.testing.assert_array_equal(SyntheticPool(generator, COUNTS, seed=seed).rows(8), pool.rows(8))


class Bare:
    """Anything with `sample`."""

    def sample(self, counts, random_state):
        labels = np.repeat(list(counts), list(counts.values()))
        return np.random.default_rng(random_state).integers(0, 256, (len(labels), 9, 8), dtype=np.uint8), labels


def test_a_pool_of_any_object_that_samples():
    pool = SyntheticPool(Bare(), {"b": 3, "a": 2})
    assert pool.tensors("a").shape == (2, 1, 9, 8) and pool.classes == ["a", "b"]


def test_file_comes_back_mapped_and_alike(generator, tmp_path):
    pool = SyntheticPool(generator, COUNTS, seed=3)
    pool.save(tmp_path / "pool.safetensors")
    opened = SyntheticPool.open(tmp_path / "pool.safetensors")
    assert opened.counts == pool.counts and opened.format == pool.format and opened.path == str(tmp_path / "pool.safetensors")
    for label in COUNTS:
        np.testing.assert_array_equal(opened.rows(label), pool.rows(label))
    with pytest.raises(InvalidRequestError, match="no generator.*main process"):
        opened.refresh()


def test_what_is_pickled_is_small_and_holds_no_generator(generator, tmp_path):
    kept = SyntheticPool(generator, {8: 5000}, path=tmp_path / "pool.safetensors")
    sent = pickle.dumps(kept)
    assert len(sent) < 1000, "the name of the file, not its contents"
    received = pickle.loads(sent)
    np.testing.assert_array_equal(received.rows(8), kept.rows(8))
    assert received.generator is None and kept.generator is generator
    in_memory = pickle.loads(pickle.dumps(SyntheticPool(generator, COUNTS)))
    assert in_memory.generator is None and len(in_memory) == 52


def test_file_of_a_pool_says_that_it_is_synthetic_and_is_no_model(generator, tmp_path):
    path = tmp_path / "pool.safetensors"
    SyntheticPool(generator, COUNTS, path=path)
    assert b"trainedAlgorithmicMedia" in path.read_bytes()
    with pytest.raises(ModelFileError, match=r"holds a pool.*SyntheticPool\.open"):
        augment_gen.load(path)
    generator.save(path)
    with pytest.raises(ModelFileError, match=r"holds a model.*augment_gen\.load"):
        SyntheticPool.open(path)
    with pytest.raises(FileNotFoundError, match="no pool file"):
        SyntheticPool.open(tmp_path / "nothing.safetensors")


def test_damaged_pool_files_are_refused(generator, tmp_path):
    path = tmp_path / "pool.safetensors"
    SyntheticPool(generator, COUNTS).save(path)
    whole = path.read_bytes()
    for cut in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ModelFileError):
            SyntheticPool.open(path)
    path.write_bytes(whole.replace(rb"\"counts\": [40, 12]", rb"\"counts\": [40, 99]"))
    with pytest.raises(ModelFileError, match="counts and samples differ"):
        SyntheticPool.open(path)


@pytest.mark.parametrize("in_file", [False, True])
def test_tables_keep_their_dtypes(tmp_path, in_file):
    frame = load_iris(as_frame=True).data.iloc[:, :2]
    frame["kind"] = pd.Categorical(np.tile(["x", "y", None], 50), categories=["x", "y", "unused"])
    frame["whole"] = pd.array(np.tile([1, 2, None], 50), dtype="Int64")
    frame["seen"] = pd.date_range("2020-01-01", periods=150)
    frame["text"] = np.tile(["ä", "", "c"], 50)
    gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(frame, np.repeat(["a", "b", "c"], 50))
    pool = SyntheticPool(gen, {"b": 7, "a": 5}, path=tmp_path / "rows.safetensors" if in_file else None)
    assert not pool.is_image and pool.rows("b").shape == (7, 6)
    pd.testing.assert_series_equal(pool.rows("b").dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(
        pool.rows("a"), gen.sample({"b": 7, "a": 5}, random_state=0)[0].iloc[7:].reset_index(drop=True)
    )
    assert list(pool.item("a", 1)) == list(frame.columns)
    with pytest.raises(InvalidTypeError, match="rows of a table"):
        pool.tensors("a")


@pytest.mark.parametrize("make", [np.asarray, torch.tensor, lambda X: X.tolist()])
def test_tables_without_columns(make, tmp_path):
    X = make(load_iris().data)
    gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(X, load_iris().target)
    pool = SyntheticPool(gen, {1: 6, 0: 2})
    assert len(pool.rows(1)) == 6 and type(pool.rows(1)) is type(X) and len(pool.item(0, 1)) == 4
    with pytest.raises(IndexError):
        pool.item(0, 2)


def test_what_cannot_be_met_is_said(generator):
    with pytest.raises(UnknownLabelError, match="11.*not seen in fit"):
        SyntheticPool(generator, {11: 3})
    with pytest.raises(UnknownLabelError, match=r"holds no samples of 5. Its labels: 8, 3"):
        SyntheticPool(generator, COUNTS).rows(5)
    for counts in ({}, 40, [8, 8], None):
        with pytest.raises(InvalidRequestError, match="counts must be a dict"):
            SyntheticPool(generator, counts)
    for seed in (None, -1, 1.5):
        with pytest.raises(InvalidRequestError, match="seed must be a non-negative int"):
            SyntheticPool(generator, COUNTS, seed=seed)
    with pytest.raises(InvalidRequestError, match="integer"):
        SyntheticPool(generator, {8: 2.5})
    with pytest.raises(ValueError, match="not fitted"):
        SyntheticPool(ConditionalVAE(), COUNTS)
