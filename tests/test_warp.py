"""WarpVAE and ElasticWarp: the class asked for, in the format that came in, sharp, no copies, and images only."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.svm import SVC

import augment_gen
from augment_gen.errors import InvalidDataError, SmallClassWarning
from augment_gen.generators import ElasticWarp, WarpVAE
from augment_gen.generators.judging import folds
from augment_gen.networks.conv import Grid
from augment_gen.networks.warp import DeformationVAE, ElasticField, Warp, roughness, smoothed
from augment_gen.sampling.filters import LabelFilter

DIGITS, LABELS = load_digits(return_X_y=True)
BYTES = (DIGITS.reshape(-1, 8, 8) * 15).astype(np.uint8)
NAMES = np.array([f"digit {k}" for k in range(10)])

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.SmallClassWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning"),
]
BOTH = pytest.mark.parametrize("generator", [WarpVAE, ElasticWarp])


def few(n_rows=60):
    return np.flatnonzero(LABELS < 3)[:n_rows]


def quick(generator, **params):
    return generator(**{"max_steps": 4, "batch_size": 16, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def trained():
    """At a fifth of the usual length, on digits of which one class has 12 images."""
    rows = np.sort(np.concatenate([np.flatnonzero(LABELS == k)[: 12 if k == 3 else 60] for k in range(10)]))
    return WarpVAE(max_steps=250, random_state=0, device="cpu").fit(BYTES[rows], NAMES[LABELS[rows]]), rows


def test_an_independent_classifier_sees_the_label_asked_for(trained):
    generator, _ = trained
    classifier = SVC().fit(BYTES.reshape(len(BYTES), -1), NAMES[LABELS])
    X, y = generator.sample(dict.fromkeys(NAMES, 40))
    seen = classifier.predict(X.reshape(len(X), -1))
    assert (seen == y).mean() >= 0.95
    assert (seen == y)[y == "digit 3"].mean() >= 0.85


def test_samples_vary_and_are_no_copies(trained):
    generator, rows = trained
    drawn = generator.sample(200, "digit 3")[0].reshape(200, -1).astype(float)
    real = BYTES[rows][LABELS[rows] == 3].reshape(12, -1).astype(float)
    assert len(np.unique(drawn, axis=0)) == 200
    between = np.linalg.norm(real[:, None] - real, axis=2)[~np.eye(12, dtype=bool)].min()
    assert np.mean(np.linalg.norm(drawn[:, None] - real, axis=2).min(1) < 0.5 * between) < 0.1


def test_learning_brings_pairs_closer(trained):
    history = trained[0].history_
    assert history["reconstruction"].iloc[-1] < history["reconstruction"].iloc[0] - 10
    assert {"step", "loss", "kl", "roughness", "learning_rate"} <= set(history)


def test_report_says_what_the_filters_do(trained):
    report = trained[0].latent_report_.set_index("label")
    assert report.loc["digit 3", "n_real"] == report.loc["digit 3", "n_components"] == 12
    assert report["label_rejected_share"].between(0, 0.8).all() and report["label_rejected_share"].max() > 0
    assert 0 < trained[0].displacement_ < 0.3


def test_saved_loaded_and_pickled_generators_draw_the_same(trained, tmp_path):
    generator, _ = trained
    elastic = quick(ElasticWarp).fit(BYTES[few()], LABELS[few()])
    for one in (generator, elastic):
        one.save(tmp_path / "warp.safetensors")
        copies = [augment_gen.load(tmp_path / "warp.safetensors"), pickle.loads(pickle.dumps(one))]
        X = one.sample(40, random_state=5)[0]
        for copy in copies:
            np.testing.assert_array_equal(X, copy.sample(40, random_state=5)[0])
            assert copy.latent_report_.equals(one.latent_report_) and copy.get_params() == one.get_params()


WIDE = np.repeat(np.repeat(BYTES[few()], 3, axis=1), 2, axis=2)[:, :20, :13]  # 20 x 13
RGB = np.stack([WIDE, 255 - WIDE, WIDE // 2], axis=-1)


@BOTH
@pytest.mark.parametrize(
    "X",
    [
        WIDE, RGB, torch.from_numpy(RGB.transpose(0, 3, 1, 2).copy()), WIDE / np.float32(255), WIDE.astype(np.uint16) * 16,
        list(RGB),
    ],
    ids=["20x13", "RGB", "tensor", "float", "uint16", "list"],
)  # fmt: skip
def test_fit_resample_keeps_format_and_originals(generator, X):
    y = LABELS[few()]
    keep = np.flatnonzero((y != 2) | (np.arange(len(y)) % 3 == 0))
    X, y = ([X[i] for i in keep] if isinstance(X, list) else X[keep]), y[keep]
    fitted = quick(generator)
    X_all, y_all = fitted.fit_resample(X, y)
    assert type(X_all) is type(X) and X_all[-1].dtype == X[0].dtype and X_all[-1].shape == X[0].shape
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(X, X_all, strict=False))
    assert (y_all[~fitted.synthetic_mask_] == y).all() and len(set(np.bincount(y_all))) == 1
    drawn = np.stack([np.asarray(image) for image in X_all[len(y) :]])
    assert drawn.min() >= 0 and drawn.max() <= np.max([np.max(np.asarray(image)) for image in X]) + 1e-5


@pytest.mark.parametrize(
    ("generator", "params"),
    [
        (WarpVAE, {"label_threshold": 0}), (WarpVAE, {"augment": None, "latent_dim": 3, "width": 8, "roughness": 0}),
        (WarpVAE, {"precision": "float32", "novelty_filter": False, "strength": 0.5}),
        (ElasticWarp, {"displacement": 0.1, "label_threshold": 0.9}), (ElasticWarp, {"label_threshold": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_choices(generator, params, tmp_path):
    fitted = clone(quick(generator, **params)).fit(WIDE, LABELS[few()])
    X, y = fitted.sample(y=[2, 0, 1])
    assert X.shape == (3, 20, 13) and y.tolist() == [2, 0, 1]
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(augment_gen.load(tmp_path / "model").sample(5, 1)[0], fitted.sample(5, 1)[0])
    assert ("label_rejected_share" in fitted.latent_report_) == (params.get("label_threshold") != 0)


@BOTH
def test_same_seed_same_images_and_global_state_untouched(generator):
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state(), torch.get_num_threads()
    drawn = [quick(generator).fit(WIDE, LABELS[few()]).sample(20) for _ in range(2)]
    np.testing.assert_array_equal(drawn[0][0], drawn[1][0])
    assert (np.random.get_state()[1] == before[0]).all() and (torch.get_rng_state() == before[1]).all()
    assert torch.get_num_threads() == before[2]
    other = quick(generator, random_state=1).fit(WIDE, LABELS[few()]).sample(20)[0]
    assert (other != drawn[0][0]).any()


@BOTH
def test_tables_are_refused_with_a_way_out(generator):
    with pytest.raises(InvalidDataError, match=f"{generator.__name__} deforms images.*table.*use ConditionalVAE"):
        quick(generator).fit(*load_iris(return_X_y=True))


@pytest.mark.parametrize(
    ("generator", "params"),
    [
        (WarpVAE, {"strength": 0}), (WarpVAE, {"roughness": -1}), (WarpVAE, {"label_threshold": 1}),
        (ElasticWarp, {"displacement": 0}), (ElasticWarp, {"displacement": 0.6}), (WarpVAE, {"latent_dim": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_parameters_are_checked_at_fit_and_named(generator, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        quick(generator, **params).fit(WIDE, LABELS[few()])


def test_a_single_image_of_a_class_can_be_warped():
    rows = np.r_[few(), np.flatnonzero(LABELS == 5)[:1]]
    fitted = quick(WarpVAE, min_class_size=1).fit(BYTES[rows], LABELS[rows])
    assert fitted.sample(4, y=5)[0].shape == (4, 8, 8)


# ------------------------------------------------------------------ networks
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 40), (1, 33, 20), (4, 100, 9), (2, 256, 256)], ids=str)
def test_networks_take_any_size(size):
    images = torch.rand(2, *size)
    network = DeformationVAE(*size, n_classes=3, latent_dim=4, first_channels=4, n_judges=2)
    mean, log_variance = network.encode(images, images.flip(0))
    assert mean.shape == log_variance.shape == (2, 4)
    flow = network.flow(images, mean)
    assert network.warp(images, flow).shape == images.shape and roughness(flow).shape == (2,)
    assert network.judges(images).shape == (2, 3)
    elastic = ElasticField(*size, n_classes=3, first_channels=4, displacement=0.05)
    z = torch.randn(2, elastic.latent_dim)
    assert elastic.warp(images, elastic.flow(images, z)).shape == images.shape


def test_no_flow_changes_nothing_and_a_constant_one_shifts():
    images = torch.zeros(1, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 1
    warp, still = Warp(Grid(28, 28, 4)), torch.zeros(1, 2, 7, 7)
    assert torch.allclose(warp(images, still), images, atol=1e-5)
    shift = still.clone()
    shift[:, 0] = 2 * 3 / 28  # looked up three pixels to the right: the image moves to the left
    assert torch.allclose(warp(images, shift), images.roll(-3, dims=3), atol=1e-4)


def test_ripples_cost_more_than_zooms_that_move_as_far_and_shifts_nothing():
    down, across = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    zoom = torch.stack([across, down])[None]
    ripple = torch.stack([torch.cos(5 * across), torch.sin(5 * down)])[None]
    moved = lambda flow: smoothed(flow).square().mean()
    assert roughness(ripple) / moved(ripple) > 3 * roughness(zoom) / moved(zoom)
    assert roughness(torch.full((2, 2, 7, 7), 0.3)).abs().max() < 1e-10


def test_brightness_and_contrast_are_no_reason_to_warp():
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    network = DeformationVAE(1, 16, 16, n_classes=2, latent_dim=2, first_channels=4)
    same = network.negative_log_likelihood(images, images)
    assert torch.allclose(network.negative_log_likelihood(0.2 + 0.6 * images, images), same, atol=0.5)
    assert (network.negative_log_likelihood(images.roll(3, dims=3), images) > same + 100).all()


def test_elastic_displacement_is_what_was_asked_for():
    for displacement in (0.02, 0.08):
        fitted = quick(ElasticWarp, displacement=displacement, label_threshold=0).fit(WIDE, LABELS[few()])
        assert fitted.decoder_.displacement(400, np.random.default_rng(0)) == pytest.approx(displacement, rel=0.25)


def test_threshold_and_recall_decide_what_the_label_filter_keeps():
    probabilities, asked = np.array([[0.95, 0.05], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]]), np.array([0, 0, 1, 1])
    keep = lambda *params: LabelFilter(*params).fit(probabilities, asked).keep(probabilities, asked).tolist()
    assert keep(0.5, 0.5) == [True, True, True, False]
    assert keep(0.65, 0.5) == [True, False, True, False]
    assert keep(0.65, 0.6) == [True] * 4  # half of either class is not enough to decide about it


def test_folds_deal_every_class_out_evenly():
    fold = folds(LABELS, 3, np.random.default_rng(0))
    counts = np.array([np.bincount(fold[LABELS == k], minlength=3) for k in range(10)])
    assert (counts.max(1) - counts.min(1) <= 1).all() and counts.sum() == len(LABELS)
    assert len({tuple(np.argsort(row)) for row in counts}) > 1  # it is not always the first fold that gets the odd row


@BOTH
def test_scikit_learn_is_told_that_tables_are_not_taken(generator):
    tags = generator().__sklearn_tags__().input_tags
    assert tags.three_d_array and not tags.two_d_array and not tags.allow_nan


def test_one_image_of_each_class():
    with pytest.warns(SmallClassWarning):
        gen = ElasticWarp(min_class_size=1, max_steps=3, random_state=0, device="cpu").fit(BYTES[:3], [0, 1, 2])
    assert gen.sample(5, y=1)[1] == [1] * 5
