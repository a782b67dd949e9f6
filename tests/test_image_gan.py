"""ConditionalGAN on images: what adversarial training adds to the contract that the image VAE's tests hold."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import augment_gen
from augment_gen import ConditionalGAN
from augment_gen.errors import InvalidParameterError, TrainingDivergedError, TrainingWarning
from augment_gen.generators import gan_image
from augment_gen.generators.gan_image import AdversarialImageSettings, FixedNorms, kernel_distance
from augment_gen.networks.adversary_image import DiffAugmentation, ImageDiscriminator, bands
from augment_gen.networks.conv import ConvVAE
from augment_gen.networks.initialise import build

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS = (DIGITS.reshape(-1, 8, 8) * 15).astype(np.uint8)
CURVES = ["discriminator", "real_score", "fake_score", "generator", "label", "anchor", "stop_score"]

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning"),
]


def imbalanced(rare=3, n_rare=15, n_others=80):
    """Row numbers of the digits 0 to 4, with `n_rare` of `rare` and `n_others` of each other."""
    return np.concatenate([np.flatnonzero(LABELS == k)[: n_rare if k == rare else n_others] for k in range(5)])


def quick(**params):
    return ConditionalGAN(**{"max_steps": 8, "batch_size": 16, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def trained():
    """A generator at a quarter of the default length, on digits of which one class has 15 rows."""
    rows = imbalanced()
    return ConditionalGAN(max_steps=200, random_state=0, device="cpu").fit(DIGITS[rows], LABELS[rows])


# ------------------------------------------------------------------ estimator
def test_an_independent_classifier_sees_the_label_asked_for(trained):
    classifier = SVC().fit(DIGITS.reshape(len(DIGITS), -1), LABELS)
    X, y = trained.sample(dict.fromkeys(range(5), 80))
    right = classifier.predict(X.reshape(len(X), -1)) == y
    assert right.mean() >= 0.95 and min(right[y == k].mean() for k in range(5)) >= 0.85


def test_classes_vary_as_real_ones_do_and_rare_ones_borrow(trained):
    report = trained.latent_report_.set_index("label")
    assert report["adversarial"].to_dict() == {0: True, 1: True, 2: True, 3: False, 4: True}
    assert (report["diversity"] > 0.6).all()
    assert len(np.unique(trained.sample(200, y=3)[0], axis=0)) == 200


def test_polish_sharpens_every_class(trained):
    """Drawn images have about the contrast between neighbouring pixels that real ones have."""
    edges = lambda images: np.abs(np.diff(images.astype(float), axis=2)).mean()
    for label in range(5):
        assert edges(trained.sample(200, y=label)[0]) > 0.8 * edges(DIGITS[LABELS == label])


def test_curves_and_the_best_weights(trained):
    curves = trained.history_[trained.history_["stage"] == "adversarial"]
    assert curves[CURVES].notna().all().all()
    assert curves["stop_score"].min() < curves["stop_score"].iloc[0]


def test_saved_loaded_and_pickled_generators_draw_the_same(trained, tmp_path):
    trained.save(tmp_path / "digits.safetensors")
    copies = [augment_gen.load(tmp_path / "digits.safetensors"), pickle.loads(pickle.dumps(trained))]
    for copy in copies:
        np.testing.assert_array_equal(copy.sample(40, random_state=5)[0], trained.sample(40, random_state=5)[0])
        assert copy.latent_report_.equals(trained.latent_report_)


def test_two_fits_with_one_seed_draw_the_same_and_leave_global_streams_alone():
    rows = imbalanced()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    drawn = [quick().fit(DIGITS[rows], LABELS[rows]).sample(30)[0] for _ in range(2)]
    np.testing.assert_array_equal(*drawn)
    assert (torch.get_rng_state() == before).all()
    assert (quick(random_state=1).fit(DIGITS[rows], LABELS[rows]).sample(30)[0] != drawn[0]).any()


@pytest.mark.parametrize(
    "params",
    [
        {"diff_augment": None}, {"diff_augment": "none"}, {"diff_augment": {"cutout": 0.3, "brightness": 0.2, "contrast": 0.2}},
        {"augment": None}, {"precision": "float32"}, {"min_adversarial_size": 1000}, {"class_tempering": 0.0},
    ],
    ids=str,
)  # fmt: skip
def test_choices(params):
    rows = imbalanced()
    colour = np.stack([DIGITS, 255 - DIGITS, DIGITS], axis=-1)[rows][:, :, :-1]  # RGB, 8 x 7 would be too small
    colour = np.repeat(colour, 2, axis=2)[:, :, :11]
    X, y = quick(**params).fit(colour, LABELS[rows]).sample(y=[2, 0, 1])
    assert X.shape == (3, 8, 11, 3) and y.tolist() == [2, 0, 1]


@pytest.mark.filterwarnings("ignore")
def test_images_that_do_not_vary_are_no_accident():
    X, y = quick().fit(np.full((120, 9, 9), 7, np.uint8), np.arange(120) % 2).sample(4, y=1)
    assert X.shape == (4, 9, 9) and y.tolist() == [1] * 4


@pytest.mark.parametrize("diff_augment", [{"rotate": 0.1}, {"cutout": 2}, {"translate": -0.1}, {"contrast": "yes"}])
def test_bad_diff_augmentations_are_named(diff_augment):
    rows = imbalanced()
    with pytest.raises(InvalidParameterError, match=r"diff_augment.*(parts are translate, cutout|from 0 to 1)"):
        quick(diff_augment=diff_augment).fit(DIGITS[rows], LABELS[rows])


def test_divergence_restarts_once_from_the_best_weights_then_names_the_remedy():
    rows, rates = imbalanced(), []
    original = gan_image.ImageAdversary.train

    def watched(self, settings, plan, rng):
        rates.append(settings.generator_learning_rate)
        return original(self, settings, plan, rng)

    gan_image.ImageAdversary.train = watched
    try:
        with pytest.warns(TrainingWarning, match="halved rates"), pytest.raises(TrainingDivergedError, match="learning rate"):
            quick(max_steps=60, generator_learning_rate=1e30).fit(DIGITS[rows], LABELS[rows])
    finally:
        gan_image.ImageAdversary.train = original
    assert rates == [1e30, 5e29]


# ------------------------------------------------------------------- networks
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 40), (1, 33, 20), (4, 100, 9), (2, 256, 256)], ids=str)
def test_discriminator_takes_any_size(size):
    architecture = {"n_channels": size[0], "height": size[1], "width": size[2], "n_classes": 3, "first_channels": 4}
    discriminator = build(ImageDiscriminator, architecture, torch.Generator().manual_seed(0))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in discriminator.modules())
    images = torch.rand(2, *size, requires_grad=True)
    scores = discriminator(images, torch.tensor([0, 2]))
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert scores.shape == (2,) and all(p.grad is None or p.grad.isfinite().all() for p in discriminator.parameters())


def test_discriminator_sees_a_collapsed_batch():
    """Equal images get other scores together than each gets in a batch that varies."""
    architecture = {"n_channels": 1, "height": 8, "width": 8, "n_classes": 1, "first_channels": 4}
    discriminator = build(ImageDiscriminator, architecture, torch.Generator().manual_seed(0)).eval()
    images, condition = torch.rand(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)
    assert abs(discriminator(images, condition)[0] - discriminator(images[:1].expand(4, -1, -1, -1), condition)[0]) > 1e-4


def test_bands_tell_fine_from_coarse():
    flat, finest = torch.full((1, 1, 12, 12), 0.3), (torch.arange(12) % 2.0).expand(1, 1, 12, 12)
    assert all(band.abs().max() < 1e-6 for band in bands(flat)[1:])
    _, fine, coarse = bands(finest)
    assert fine.std() > 3 * coarse.std()
    assert sum(bands(finest)).shape == finest.shape


def test_texture_of_an_untrained_discriminator_tells_a_checkerboard():
    """The stop score's other half sees what a classifier of digits might not mind."""
    images = torch.from_numpy(DIGITS[LABELS == 0][:100, None] / 255).float()
    images = torch.nn.functional.interpolate(images, scale_factor=3, mode="bilinear")
    board = 0.03 * (-1.0) ** (torch.arange(24)[:, None] + torch.arange(24))
    spreads = [float(band.std()) for band in bands(images)]
    architecture = {"n_channels": 1, "height": 24, "width": 24, "n_classes": 2, "first_channels": 8, "spreads": spreads}
    texture = build(ImageDiscriminator, architecture, torch.Generator().manual_seed(0)).eval().texture
    with torch.no_grad():
        real, same, other = (texture(part) for part in (images[:50], images[50:], images[50:] + board))
    scaled = lambda features: (features - real.mean(0)) / real.std(0)
    distances = [float(kernel_distance(scaled(real), scaled(features))) for features in (same, other)]
    assert distances[1] > 10 * abs(distances[0])


def test_fixed_norms_keep_their_statistics():
    decoder = ConvVAE(1, 8, 8, n_classes=2, latent_dim=3, first_channels=4)
    before = {name: tensor.clone() for name, tensor in decoder.decoder.state_dict().items()}
    FixedNorms(decoder.decoder).train()
    decoder.decode(torch.randn(16, 3), torch.zeros(16, dtype=torch.long))
    assert all((tensor == before[name]).all() for name, tensor in decoder.decoder.state_dict().items())


# ----------------------------------------------------------------- augmentation
def test_diff_augmentation_without_parts_changes_nothing():
    images = torch.rand(5, 3, 9, 12)
    assert DiffAugmentation()(images, torch.Generator()) is images


@pytest.mark.parametrize("part", ["translate", "cutout", "brightness", "contrast"])
def test_gradients_pass_through_every_part(part):
    images = torch.rand(8, 1, 12, 9, requires_grad=True)
    changed = DiffAugmentation(**{part: 0.4})(images, torch.Generator().manual_seed(0))
    changed.square().sum().backward()
    assert changed.shape == images.shape and (changed != images).any()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_translation_moves_whole_pixels_and_cutout_takes_its_share():
    ramp = torch.arange(1.0, 13)[:, None] * 100 + torch.arange(1.0, 21)
    images = ramp.expand(300, 1, 12, 20)
    moved = DiffAugmentation(translate=0.25)(images, torch.Generator().manual_seed(0))
    assert np.isin(moved.numpy(), [0.0, *ramp.flatten().tolist()]).all()
    kept = (moved > 0).float().mean((1, 2, 3))
    assert kept.min() == pytest.approx(0.75**2) and kept.max() == 1 and kept.mean() > 0.7
    cut = DiffAugmentation(cutout=0.5)(torch.ones(300, 1, 12, 20), torch.Generator().manual_seed(0))
    share = (cut == 0).float().mean((1, 2, 3))
    assert share.max() == pytest.approx(0.25, abs=0.06) and share.min() >= 0.04


# ------------------------------------------------------------------------ score
def test_kernel_distance_is_unbiased_and_sees_a_difference():
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(100, 16, generator=generator)
    same = torch.stack([kernel_distance(draw(), draw()) for _ in range(200)])
    assert abs(same.mean()) < 3 * same.std() / 200**0.5
    assert kernel_distance(draw(), draw() + 0.5) > 5 * same.std()


def test_defaults_scale_with_the_images():
    small, large = AdversarialImageSettings.for_size(1000, 28), AdversarialImageSettings.for_size(6000, 200)
    assert small.batch_size > large.batch_size and small.discriminator_channels > large.discriminator_channels
