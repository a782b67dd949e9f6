"""Images go through the codec and come back in their own container, layout, dtype and range."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits

from augment_gen.codecs import ImageCodec, TableCodec, infer_codec
from augment_gen.errors import InvalidDataError
from augment_gen.sampling.filters import NoveltyFilter

DIGITS = load_digits().images[:60]  # float64 (60, 8, 8), 0 to 16
BYTES = (DIGITS * 15.9).astype(np.uint8)
RGB = np.stack([BYTES, BYTES // 2, 255 - BYTES], axis=-1)
OBLONG = np.repeat(np.repeat(RGB, 3, axis=1), 2, axis=2)[:, :20, :13]
TWELVE_BIT = (DIGITS * 255).astype(np.uint16)

IMAGES = {
    "uint8 nhw": BYTES,
    "uint8 nhwc": RGB,
    "uint8 nhw1": BYTES[..., None],
    "uint8 nchw": RGB.transpose(0, 3, 1, 2),
    "20 x 13": OBLONG,
    "RGBA": np.concatenate([RGB, RGB[..., :1]], axis=-1),
    "reversed view": RGB[::-1, :, ::-1],
    "list of arrays": list(RGB),
    "uint16": TWELVE_BIT,
    "big-endian": TWELVE_BIT.astype(">u2"),
    "int64": DIGITS.astype(np.int64),
    "float64 0..16": DIGITS,
    "float64 0..0.9": DIGITS / 16 * 0.9,
    "float32 -1..1": (DIGITS / 8 - 1).astype(np.float32),
    "float16": (DIGITS / 16).astype(np.float16),
    "float64 far from 0": DIGITS * 1e9 + 1e12,
    "constant": np.full((10, 8, 8), 7.0),
    "tensor uint8 nchw": torch.from_numpy(RGB.transpose(0, 3, 1, 2).copy()),
    "tensor uint8 nhw": torch.from_numpy(BYTES),
    "tensor uint8 nhwc": torch.from_numpy(RGB),
    "tensor uint16": torch.from_numpy(TWELVE_BIT),
    "tensor bfloat16": torch.from_numpy(DIGITS / 16).bfloat16(),
}


def there_and_back(X):
    codec = ImageCodec().fit(X, None)
    codec = ImageCodec.from_state(json.loads(json.dumps(codec.state())))
    return codec, codec.decode(codec.inputs(codec.encode(X), None), None, None)


def as_floats(X):
    return np.stack([image.double().numpy() if isinstance(image, torch.Tensor) else np.float64(image) for image in X])


def test_images_and_tables_are_told_apart():
    assert infer_codec(BYTES) is infer_codec(RGB) is infer_codec(torch.from_numpy(RGB)) is infer_codec(list(RGB)) is ImageCodec
    assert infer_codec(BYTES.reshape(60, -1)) is TableCodec


@pytest.mark.parametrize("name", IMAGES)
def test_round_trip(name):
    X = IMAGES[name]
    codec, back = there_and_back(X)
    assert type(back) is type(X) and len(back) == len(X)
    assert back[0].shape == X[0].shape and back[0].dtype == X[0].dtype
    given, returned = as_floats(X), as_floats(back)
    tolerance = 0 if codec.format_.is_integer else 1e-6 * np.ptp(given)
    assert np.abs(given - returned).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("uint8 nhw", 0, 255),
        ("uint16", 0, 4080),
        ("int64", 0, 16),
        ("float64 0..16", 0, 16),
        ("float64 0..0.9", 0, 1),
        ("float32 -1..1", -1, 1),
    ],
)
def test_values_stay_within_their_range(name, low, high):
    X = IMAGES[name]
    codec = ImageCodec().fit(X, None)
    edges = codec.decode({"images": torch.tensor([-1.0, 2.0]).expand(3, 1, 8, 2).repeat(1, 1, 1, 4)}, None, None)
    assert edges.dtype == X.dtype
    assert (edges.min(), edges.max()) == (low, high)


def test_bytes_are_read_where_they_lie():
    rows = ImageCodec().fit(RGB, None).encode(RGB)["images"]
    assert rows.data_ptr() == RGB.__array_interface__["data"][0]
    frozen = RGB.copy()
    frozen.setflags(write=False)
    assert ImageCodec().fit(frozen, None).encode(frozen)["images"].shape == (60, 3, 8, 8)


def test_vectors_are_small_and_keep_distances():
    large = np.repeat(np.repeat(RGB, 16, axis=1), 16, axis=2)
    vectors = ImageCodec().fit(large, None).vectors(large)
    assert vectors.shape == (60, 16 * 16 * 3) and vectors.dtype == np.float32
    np.testing.assert_allclose(pdist(vectors), 2 * pdist(RGB.reshape(60, -1) / 255), rtol=1e-5)


def test_vectors_show_copies():
    X, y = load_digits(return_X_y=True)
    X, y = (X.reshape(-1, 8, 8) * 15).astype(np.uint8), y.astype(np.int64)
    codec = ImageCodec().fit(X[:900], y[:900])
    novelty = NoveltyFilter().fit(codec.vectors(X[:900]), y[:900], 10)
    noisy = np.clip(X[:900] + np.random.default_rng(0).normal(0, 4, (900, 8, 8)), 0, 255).astype(np.uint8)
    assert novelty.near(codec.vectors(noisy), y[:900]).mean() > 0.95
    assert novelty.near(codec.vectors(X[900:]), y[900:]).mean() < 0.1


@pytest.mark.parametrize("name", ["uint8 nhwc", "list of arrays", "tensor uint8 nchw"])
def test_originals_come_first_and_untouched(name):
    X = IMAGES[name]
    codec, back = there_and_back(X)
    both = codec.concatenate(X, codec.take(codec.join([back, back]), np.arange(5)))
    assert len(both) == 65
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(X, both, strict=False))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (BYTES > 3, "bool images.*threshold"),
        (BYTES.astype(complex), "complex128.*Convert X to uint8"),
        (BYTES.astype(str), "Convert X to uint8"),
        (np.where(DIGITS > 15, np.nan, DIGITS), "NaN or infinity.*Fill them in"),
        (np.where(DIGITS > 15, np.inf, DIGITS), "NaN or infinity"),
        (torch.full((5, 8, 8), torch.nan), "NaN or infinity"),
        (BYTES[:, :7], "7 x 8 pixels; 8 to 256 a side.*Resize"),
        (np.zeros((2, 257, 300), np.uint8), "257 x 300 pixels"),
        (np.zeros((2, 100, 3)), "100 x 3 pixels.*give X as 2-D"),
        (np.zeros((2, 20, 20, 5)), "neither the last nor the second"),
        (np.zeros((2, 9, 9, 9, 1)), "5 axes.*Volumes"),
    ],
)
def test_what_are_no_images_is_refused(X, message):
    with pytest.raises((InvalidDataError, TypeError), match=message):
        ImageCodec().fit(X, None)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (OBLONG, r"20 x 13 pixels and 3 channels, but fit saw 8 x 8 pixels and 3 channels"),
        (BYTES, "1 channel, but fit saw"),
        (RGB / 255, "float64 values, but fit saw uint8.*0 to 255"),
    ],
)
def test_images_unlike_those_of_fit_are_refused(X, message):
    with pytest.raises(InvalidDataError, match=message):
        ImageCodec().fit(RGB, None).encode(X)
