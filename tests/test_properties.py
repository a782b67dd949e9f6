"""Whatever X and y are: the contract of fit, sample and fit_resample holds, or an error of ours says why it cannot.

`make test` runs a short slice, the same every time; `make test-long` generates thousands of cases anew.
"""

import copy
import warnings
from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from generated import arrays, frames, images
from hypothesis import HealthCheck, given, settings
from PIL import Image

from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE
from augment_gen.errors import AugmentGenError

SHORT = settings(max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
TINY = {"max_steps": 2, "width": 8, "random_state": 0, "device": "cpu"}
outcomes = Counter()


def tiny(generator, **params):
    latent = {} if generator is ElasticWarp else {"latent_dim": 2}
    return generator(**TINY, **latent, **params)


def keeps_its_word(gen, X, y):
    """Fit and draw; fails where the contract is broken."""
    before = copy.deepcopy((X, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # the package's own
        try:
            X_all, y_all = gen.fit_resample(X, y)
        except AugmentGenError as error:
            outcomes[type(error).__name__] += 1
            assert str(error), "an error says what is wrong"
            assert_same(before[0], X)
            assert_same(before[1], y)
            return
        outcomes["kept"] += 1
        label = gen.classes_.tolist()[-1]
        X_new, y_new = gen.sample(3, y=label, random_state=0)
        again, _ = gen.sample(3, y=label, random_state=0)
    n, n_new = len(before[1]), sum(gen.sampling_strategy_.values())
    assert_same(before[0], X)
    assert_same(before[1], y)
    assert_same(again, X_new)
    assert_same(rows(X_all, slice(n)), X, whole=False)
    assert_same(rows(y_all, slice(n)), y, whole=False)
    assert size(X_all) == size(y_all) == n + n_new and size(X_new) == 3
    assert flat(y_new) == [label] * 3
    assert flat(rows(y_all, slice(n, None))) == [k for k, m in gen.sampling_strategy_.items() for _ in range(m)]
    assert len(set(Counter(flat(y_all)).values())) == 1, "every class is as large as the largest"
    assert gen.synthetic_mask_.tolist() == [False] * n + [True] * n_new
    assert_like(X_new, X)
    if n_new:
        assert_like(rows(X_all, slice(n, None)), X)


def assert_like(drawn, X):
    """Drawn rows have X's container, dtypes, columns and range, and nothing is missing where X misses nothing."""
    if isinstance(X, pd.DataFrame):
        assert drawn.columns.equals(X.columns) and drawn.columns.names == X.columns.names
        assert drawn.dtypes.tolist() == X.dtypes.tolist()
        for i in range(X.shape[1]):
            assert_within(drawn.iloc[:, i], X.iloc[:, i])
        return
    assert type(drawn) is type(X) or isinstance(X[0], Image.Image)
    if isinstance(X, list):
        drawn, X = ([np.asarray(row) for row in given] for given in (drawn, X))
        if X[0].ndim == 1:
            X, drawn = np.array(X, dtype=object), np.array(drawn, dtype=object)
        else:
            X, drawn = np.stack(X), np.stack(drawn)
    assert drawn.dtype == X.dtype and drawn.shape[1:] == X.shape[1:]
    X, drawn = np.asarray(X), np.asarray(drawn)
    if X.ndim > 2:
        assert np.isfinite(drawn).all()
        low, high = (X.min(), X.max()) if X.dtype != np.uint8 else (0, 255)
        if X.dtype.kind == "f" and X.min() >= -1 and X.max() <= 1:
            low, high = -1, 1
        assert (drawn >= low).all() and (drawn <= high).all()
        return
    for i in range(X.shape[1]):
        assert_within(pd.Series(drawn[:, i]), pd.Series(X[:, i]))


def assert_within(drawn, real):
    """A drawn column has no missing cells but where the real one has, and lies within it: its levels, or its range."""
    assert real.isna().any() or not drawn.isna().any()
    drawn, real = drawn.dropna(), real.dropna()
    if not len(drawn):
        return
    dtype = real.dtype
    numeric = pd.api.types.is_numeric_dtype(dtype) or dtype.kind in "mM"
    if numeric and not pd.api.types.is_bool_dtype(dtype):
        assert drawn.min() >= real.min() and drawn.max() <= real.max()
    elif all(isinstance(cell, (int, float, Decimal)) for cell in real):
        assert float(min(drawn)) >= float(min(real)) and float(max(drawn)) <= float(max(real))
        assert not all(isinstance(cell, Decimal) for cell in real) or all(isinstance(cell, Decimal) for cell in drawn)
    else:
        assert set(map(repr, drawn)) <= set(map(repr, real))


def assert_same(one, other, whole=True):
    """The same container and values; with `whole`, the same dtype and index too."""
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_freq=whole)
    elif isinstance(other, pd.Series):
        pd.testing.assert_series_equal(one, other, check_freq=whole)
    elif isinstance(other, pd.Categorical):
        pd.testing.assert_extension_array_equal(one, other)
    elif isinstance(other, torch.Tensor):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    elif isinstance(other, np.ndarray) and other.dtype == object:
        assert one.dtype == other.dtype and one.shape == other.shape
        assert list(map(repr, one.flat)) == list(map(repr, other.flat))  # repr: neither NA nor NaN equals itself
    elif isinstance(other, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            if isinstance(theirs, list):
                assert repr(mine) == repr(theirs)
            else:
                np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def rows(X, part):
    return X.iloc[part] if isinstance(X, (pd.DataFrame, pd.Series)) else X[part]


def size(X):
    return len(X)


def flat(y):
    return np.asarray(y.iloc[:, 0] if isinstance(y, pd.DataFrame) else y).tolist()


@SHORT
@given(frames())
def test_frames(case):
    keeps_its_word(tiny(ConditionalVAE), *case)


@SHORT
@given(arrays())
def test_arrays(case):
    keeps_its_word(tiny(ConditionalVAE), *case)


@settings(SHORT, max_examples=8)
@given(images())
def test_images(case):
    keeps_its_word(tiny(ConditionalVAE), *case)


@settings(SHORT, max_examples=4)
@given(frames())
def test_frames_and_the_gan(case):
    keeps_its_word(tiny(ConditionalGAN), *case)


@settings(SHORT, max_examples=3)
@given(images())
def test_images_and_the_warps(case):
    keeps_its_word(tiny(WarpVAE), *case)
    keeps_its_word(tiny(ElasticWarp), *case)


LONG = {
    "frames, ConditionalVAE": (frames, ConditionalVAE, 1000), "arrays, ConditionalVAE": (arrays, ConditionalVAE, 600),
    "images, ConditionalVAE": (images, ConditionalVAE, 200), "frames, ConditionalGAN": (frames, ConditionalGAN, 100),
    "images, ConditionalGAN": (images, ConditionalGAN, 50), "images, WarpVAE": (images, WarpVAE, 50),
    "images, ElasticWarp": (images, ElasticWarp, 50),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("kind", LONG)
def test_thousands_of_cases(kind, record_property):
    strategy, generator, n_cases = LONG[kind]
    outcomes.clear()

    @settings(SHORT, max_examples=n_cases, derandomize=False, print_blob=True)
    @given(strategy())
    def test(case):
        keeps_its_word(tiny(generator), *case)

    test()
    record_property("cases", dict(outcomes))
    assert sum(outcomes.values()) >= n_cases
    assert outcomes["kept"] >= 0.3 * sum(outcomes.values()), "most of what is tried must not be refused"
