"""ConditionalVAE on images: the class asked for, in the format that came in, and the same at every turn."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import augment_gen
from augment_gen import ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.networks.augmentation import Augmentation
from augment_gen.networks.conv import ConvVAE

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = DIGITS.reshape(-1, 8, 8).astype(np.uint8)
BYTES = DIGITS * 15
NAMES = np.array([f"digit {k}" for k in range(10)])

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.SmallClassWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning"),  # a few steps teach nothing
]


def imbalanced(rare=3, n_rare=10, n_others=80):
    """Row numbers of the digits with `n_rare` rows of the class `rare` and `n_others` of each other."""
    rows = [np.flatnonzero(LABELS == k)[: n_rare if k == rare else n_others] for k in range(10)]
    return np.sort(np.concatenate(rows))


def few(n_rows=60):
    """A few zeros, ones and twos."""
    return np.flatnonzero(LABELS < 3)[:n_rows]


def quick(**params):
    return ConditionalVAE(**{"max_steps": 6, "batch_size": 16, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def trained():
    """A generator at a real training length, on digits of which one class has 10 rows."""
    rows = imbalanced()
    return ConditionalVAE(random_state=0, device="cpu").fit(BYTES[rows], NAMES[LABELS[rows]])


def test_an_independent_classifier_sees_the_label_asked_for(trained):
    classifier = SVC().fit(BYTES.reshape(len(BYTES), -1), NAMES[LABELS])
    X, y = trained.sample(dict.fromkeys(NAMES, 60))
    seen = classifier.predict(X.reshape(len(X), -1))
    share = {name: (seen == y)[y == name].mean() for name in NAMES}
    assert (seen == y).mean() >= 0.95
    assert share["digit 3"] >= 0.9  # the class of ten rows
    assert min(share.values()) >= 0.8


def test_samples_vary_and_are_no_copies(trained):
    rare = BYTES[imbalanced()][LABELS[imbalanced()] == 3].reshape(10, -1).astype(float)
    drawn = trained.sample(200, "digit 3")[0].reshape(200, -1).astype(float)
    real = BYTES[LABELS == 3].reshape(-1, 64).astype(float)
    assert len(np.unique(drawn, axis=0)) == 200
    assert drawn.std(0).mean() > 0.5 * real.std(0).mean()
    between = np.linalg.norm(rare[:, None] - rare, axis=2)[~np.eye(10, dtype=bool)].min()
    assert np.mean(np.linalg.norm(drawn[:, None] - rare, axis=2).min(1) < 0.5 * between) < 0.1


def test_decode_obeys_the_label_whatever_the_latent(trained):
    """A latent of one class, decoded as another, shows that other class."""
    rows = np.flatnonzero(LABELS == 0)[:100]
    z = trained.encode(BYTES[rows], NAMES[LABELS[rows]])
    assert z.shape == (100, trained.decoder_.density.dim) and z.dtype == np.float32
    own, other = trained.decode(z, ["digit 0"] * 100), trained.decode(z, ["digit 6"] * 100)
    classifier = SVC().fit(BYTES.reshape(len(BYTES), -1), LABELS)
    assert np.mean(classifier.predict(own.reshape(100, -1)) == 0) > 0.9
    assert np.mean(classifier.predict(other.reshape(100, -1)) == 6) > 0.6


def test_report_says_what_the_filters_do(trained):
    report = trained.latent_report_.set_index("label")
    assert report.loc["digit 3", "n_real"] == 10
    assert report["label_rejected_share"].between(0, 0.5).all()
    assert report["near_share"].between(0, 1).all()


def test_saved_loaded_and_pickled_generators_draw_the_same(trained, tmp_path):
    trained.save(tmp_path / "digits.safetensors")
    copies = [augment_gen.load(tmp_path / "digits.safetensors"), pickle.loads(pickle.dumps(trained))]
    X, y = trained.sample(40, random_state=5)
    for copy in copies:
        X_copy, y_copy = copy.sample(40, random_state=5)
        np.testing.assert_array_equal(X, X_copy)
        np.testing.assert_array_equal(y, y_copy)
        assert copy.latent_report_.equals(trained.latent_report_)
    following = [generator.sample(3, "digit 1")[0] for generator in (trained, *copies)]
    assert (following[0] == following[1]).all() and (following[0] == following[2]).all()


WIDE = np.repeat(np.repeat(BYTES[few()], 3, axis=1), 2, axis=2)[:, :20, :13]  # 20 x 13
RGB = np.stack([WIDE, 255 - WIDE, WIDE // 2], axis=-1)
SIXTEEN = np.repeat(np.repeat(DIGITS[few()], 2, axis=1), 2, axis=2) / np.float32(16)


@pytest.mark.parametrize(
    "X",
    [
        WIDE, RGB, RGB.transpose(0, 3, 1, 2), SIXTEEN, torch.from_numpy(RGB.transpose(0, 3, 1, 2).copy()),
        WIDE.astype(np.uint16) * 16, list(RGB),
    ],
    ids=["20x13", "RGB", "channels first", "16x16 float", "tensor", "uint16", "list"],
)  # fmt: skip
def test_fit_resample_keeps_format_and_originals(X):
    y = LABELS[few()]
    keep = np.flatnonzero((y != 2) | (np.arange(len(y)) % 3 == 0))
    X, y = ([X[i] for i in keep] if isinstance(X, list) else X[keep]), y[keep]
    generator = quick()
    X_all, y_all = generator.fit_resample(X, y)
    mask = generator.synthetic_mask_
    assert generator.n_features_in_ == np.prod(X[0].shape)
    assert type(X_all) is type(X) and X_all[-1].dtype == X[0].dtype and X_all[-1].shape == X[0].shape
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(X, X_all, strict=False))
    assert (y_all[~mask] == y).all() and len(set(np.bincount(y_all))) == 1
    drawn = np.stack([np.asarray(image) for image in X_all[len(y) :]])
    assert drawn.min() >= 0 and drawn.max() <= np.max([np.max(np.asarray(image)) for image in X])


@pytest.mark.parametrize(
    "params",
    [
        {"norm": "group"}, {"augment": None}, {"augment": "none"}, {"label_weight": 0}, {"precision": "float32"},
        {"augment": {"degrees": 5, "flip": True, "brightness": 0.1}}, {"latent_dim": 3, "width": 8, "beta": 1.0},
        {"novelty_filter": False},
    ],
    ids=str,
)  # fmt: skip
def test_choices(params, tmp_path):
    generator = clone(quick(**params)).fit(WIDE, LABELS[few()])
    X, y = generator.sample(y=[2, 0, 1])
    assert X.shape == (3, 20, 13) and y.tolist() == [2, 0, 1]
    generator.save(tmp_path / "model")
    np.testing.assert_array_equal(augment_gen.load(tmp_path / "model").sample(5, 1)[0], generator.sample(5, 1)[0])
    assert ("label_rejected_share" in generator.latent_report_) == (params.get("label_weight") != 0)


def test_same_seed_same_images_and_global_state_untouched():
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()
    drawn = [quick().fit(WIDE, LABELS[few()]).sample(20) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    np.testing.assert_array_equal(drawn[0][1], drawn[1][1])
    assert (np.random.get_state()[1] == before[0]).all() and (torch.get_rng_state() == before[1]).all()
    assert torch.get_num_threads() == before[2]
    other = quick(random_state=1).fit(WIDE, LABELS[few()]).sample(20)[0]
    assert (other != drawn[0][0]).any()


@pytest.mark.parametrize("augment", [{"rotate": 5}, {"degrees": 400}, {"scale": -0.1}, {"flip": "yes"}])
def test_bad_augmentations_are_named(augment):
    with pytest.raises(InvalidParameterError, match=r"augment.*(parts are degrees, translate|must be from 0 to)"):
        quick(augment=augment).fit(WIDE, LABELS[few()])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((60, 8, 8), np.nan), "NaN"),
        (np.zeros((60, 4, 4)), "8 to 256 a side"),
        ([np.zeros((8, 8)), np.zeros((9, 9))] * 30, "different shapes.*Resize"),
    ],
)
def test_bad_images_are_refused(X, message):
    with pytest.raises(InvalidDataError, match=message):
        quick().fit(X, LABELS[few()])


def test_encode_refuses_images_of_another_size():
    generator = quick().fit(WIDE, LABELS[few()])
    with pytest.raises(InvalidDataError, match="20 x 13 pixels"):
        generator.encode(BYTES[:2], LABELS[:2] * 0)


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 40), (1, 33, 20), (4, 100, 9), (2, 256, 256)], ids=str)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_network_takes_any_size(size, norm):
    network = ConvVAE(*size, n_classes=3, latent_dim=4, first_channels=4, norm=norm, judge_channels=4)
    images, condition = torch.rand(2, *size), torch.tensor([0, 2])
    mean, log_variance = network.encode({"images": images}, condition)
    assert mean.shape == log_variance.shape == (2, 4)
    decoded = network.decode(mean, condition)
    assert decoded["images"].shape == images.shape
    assert network.negative_log_likelihood(decoded, {"images": images}).shape == (2,)
    assert network.judge(images).shape == (2, 3)


def test_augmentation_moves_as_little_as_it_says():
    images = torch.rand(200, 1, 20, 40, generator=torch.Generator().manual_seed(0))
    draws = torch.Generator().manual_seed(1)
    assert Augmentation()(images, draws) is images
    mirrored = Augmentation(flip=True)(images, draws)
    flipped = (mirrored - images.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    kept = (mirrored - images).abs().amax((1, 2, 3)) < 1e-4
    assert (flipped ^ kept).all() and 60 < flipped.sum() < 140
    square = torch.zeros(100, 1, 20, 40)
    square[:, :, 5:15, 15:25] = 1
    turned = Augmentation(degrees=9)(square, draws)[:, 0]
    mass, columns, rows = turned.sum((1, 2)), torch.arange(40.0) - 19.5, torch.arange(20.0) - 9.5
    assert mass == pytest.approx(torch.full((100,), 100.0), rel=0.01)
    spread_across = (turned.sum(1) * columns**2).sum(1) / mass
    spread_down = (turned.sum(2) * rows**2).sum(1) / mass
    assert spread_across == pytest.approx(spread_down, rel=0.02)  # a square stays one, whatever the image's aspect ratio
