"""`evaluate` on images where the truth is known, and its figures against independent implementations."""

import numpy as np
import pytest
import torch
from samplers import Copier, Rows
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from augment_gen import ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.evaluation import ALL, METRICS, evaluate, features
from augment_gen.evaluation.features import RandomNet, class_probabilities, make_extractors, train_classifier
from augment_gen.evaluation.statistics import frechet_distance, inception_score, kernel_distance, manifold_figures
from augment_gen.networks.initialise import build
from augment_gen.seeding import torch_generator


@pytest.fixture(scope="module", autouse=True)
def short_training():
    """A hundred steps are enough to tell digits apart."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "N_STEPS", 100)
        yield


@pytest.fixture(scope="module")
def thirds():
    """Training digits, held-out ones, and fresh ones for a perfect sampler: zeros to fours, 300 each."""
    digits = load_digits(n_class=5)
    X, y = (digits.images * 15).astype(np.uint8), digits.target
    X, rest, y, y_rest = train_test_split(X, y, test_size=2 / 3, stratify=y, random_state=0)
    X_test, X_fresh, y_test, y_fresh = train_test_split(rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0)
    return (X, y), (X_test, y_test), (X_fresh, y_fresh)


class Noise:
    def sample(self, n, y):
        return np.random.default_rng(int(y)).integers(256, size=(n, 8, 8), dtype=np.uint8)


class OneImage(Rows):
    """The same fresh image of the class, again and again, a little noisy."""

    def sample(self, n, y):
        image = super().sample(1, y).astype(int)
        return np.clip(image + np.random.default_rng(0).integers(-3, 4, size=(n, 8, 8)), 0, 255).astype(np.uint8)


def assess(sampler, thirds, **options):
    (X, y), (X_test, y_test), _ = thirds
    return evaluate(sampler, X_test, y_test, X_train=X, y_train=y, random_state=0, device="cpu", **options)


def figure(result, metric, label=ALL):
    return next(f for f in result.figures if f.metric == metric and f.label == label)


@pytest.fixture(scope="module")
def results(thirds):
    train, _, fresh = thirds
    vae = ConditionalVAE(max_steps=100, random_state=0, device="cpu").fit(*train)
    return {
        "perfect": assess(Rows(*fresh), thirds),
        "copies": assess(Copier(*train), thirds),
        "noise": assess(Noise(), thirds),
        "vae": assess(vae, thirds),
    }


# ------------------------------------------------------------------ the truth is said
def test_a_perfect_sampler_is_at_the_ceiling(results):
    result = results["perfect"]
    assert result.judgement.level == "good" and not result.judgement.copies
    for metric in ("precision", "recall", "density", "coverage", "cas_balanced_accuracy", "class_consistency", "diversity"):
        one = figure(result, metric)
        assert abs(one.value - one.ceiling) < 0.12, metric
    assert figure(result, "frechet_distance").value < 1.6 * figure(result, "frechet_distance").ceiling
    assert abs(figure(result, "kernel_distance").value) < 0.1 * figure(result, "kernel_distance").floor + 0.05


def test_training_images_passed_off_as_synthetic_are_flagged_as_copies(results):
    result = results["copies"]
    assert result.judgement.copies and "Copies: 100% of the synthetic rows equal a training row" in result.verdict
    assert figure(result, "authenticity").value == 0 and figure(result, "membership_auc").low > 0.6
    nearest = result.gallery[result.gallery["rank"] == 1]
    assert (nearest["distance"] == 0).all() and (nearest["class"] == nearest["train_class"]).all()


def test_the_gallery_points_at_the_rows(results, thirds):
    (X, _), _, _ = thirds
    result = results["copies"]
    for line in result.gallery[result.gallery["rank"] == 1].itertuples():
        assert np.array_equal(result.X_synthetic[line.synthetic], X[line.train])


def test_noise_is_flagged_as_bad(results):
    result = results["noise"]
    assert result.judgement.level == "poor" and not result.judgement.copies
    for metric in ("frechet_distance", "precision", "coverage", "cas_balanced_accuracy"):
        assert figure(result, metric).score < 0.5, metric
    assert figure(result, "c2st_auc").value > 0.95 and "Class 3" in result.verdict


def test_a_briefly_trained_vae_lies_in_between(results):
    for metric in ("frechet_distance", "c2st_auc"):
        perfect, vae, noise = (figure(results[name], metric).value for name in ("perfect", "vae", "noise"))
        assert perfect < vae < noise, metric


def test_a_collapsed_class_is_seen(thirds):
    _, _, fresh = thirds
    result = assess(OneImage(*fresh), thirds, features="random")
    assert figure(result, "diversity").value < 0.3 and figure(result, "coverage").score < 0.4
    assert result.judgement.level == "poor"


def test_wrong_labels_are_seen(thirds):
    _, _, (X, y) = thirds
    result = assess(Rows(X, (y + 1) % 5), thirds, features="random")
    assert figure(result, "class_consistency").value < 0.1 and figure(result, "cas_balanced_accuracy").value < 0.2
    assert figure(result, "frechet_distance").score > 0.7, "over all classes the images are right"
    assert result.judgement.level == "poor"


def test_form(results):
    result, frame = results["vae"], results["vae"].frame()
    assert result.modality == "image" and result.features == "classifier"
    assert set(frame["group"]) == {"fidelity", "diversity", "usefulness", "copies"}
    assert set(frame["metric"]) <= set(METRICS) and not frame.duplicated(["class", "metric"]).any()
    assert figure(result, "precision", 0).note.startswith("n too small"), "half of 60 training images"
    assert "n too small in every class" in str(result) and "<table" in result._repr_html_()
    assert result.X_synthetic.shape == (300, 8, 8) and result.X_synthetic.dtype == np.uint8


# ------------------------------------------------------------------ features
@pytest.mark.parametrize("kind", ["random", "callable", "module"])
def test_features_of_other_sources(kind, thirds):
    _, _, fresh = thirds
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8)).train()
    given = {"random": "random", "callable": lambda images: images.flatten(1).numpy(), "module": module}[kind]
    result = assess(Rows(*fresh), thirds, features=given)
    assert figure(result, "frechet_distance").score > 0.7 and np.isfinite(figure(result, "coverage").value)
    assert module.training


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("vgg", "must be one of classifier, random, inception, dinov2"),
        ("inception", r"needs the weights inception_v3_google-\*.pth in .*nothing is downloaded"),
        ("dinov2", "needs the weights dinov2_vits14_pretrain.pth"),
        (lambda images: images.flatten(1)[1:], "must map n images to a finite array"),
        (lambda images: images, "must map n images to a finite array"),
        (lambda images: images.flatten(1) * float("nan"), "must map n images to a finite array"),
        (7, "must be a name, a callable or an nn.Module; got 7"),
    ],
)
def test_features_that_cannot_be_used(given, message, thirds, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InvalidParameterError, match=message):
        assess(Rows(*thirds[2]), thirds, features=given)


def test_features_whose_length_changes_are_refused(thirds):
    lengths = iter(range(3, 100))
    with pytest.raises(InvalidParameterError, match="as many features"):
        assess(Rows(*thirds[2]), thirds, features=lambda images: images.flatten(1)[:, : next(lengths)])


def test_inception_from_weights_on_this_machine(tmp_path, monkeypatch):
    models = pytest.importorskip("torchvision.models")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = models.inception_v3(weights=None, init_weights=False)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "inception_v3_google-0.pth")
    images, rng = torch.zeros((2, 1, 8, 8), dtype=torch.uint8), np.random.default_rng(0)
    (extractor,) = make_extractors("inception", images, np.array([0, 1]), torch.device("cpu"), rng, print)
    assert extractor.extract(images).shape == (2, 2048)


def test_classifier_features_are_cross_fitted(thirds):
    (X, y), _, _ = thirds
    images = torch.from_numpy(X[:, None])
    made = make_extractors("classifier", images, y, torch.device("cpu"), np.random.default_rng(0), lambda name: None)
    unseen = [extractor.unseen for extractor in made]
    assert np.array_equal(np.sort(np.concatenate(unseen)), np.arange(len(X)))
    assert all(abs(np.bincount(y[rows]) - np.bincount(y) / 2).max() <= 0.5 for rows in unseen)
    assert made[0].extract(images).shape == (len(X), 32)


def test_the_classifier_learns_and_repeats(thirds):
    (X, y), (X_test, y_test), _ = thirds
    images, test = (torch.from_numpy(part[:, None]) for part in (X, X_test))
    state = torch.get_rng_state()
    networks = [train_classifier(images, y, torch.device("cpu"), np.random.default_rng(0)) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), state)
    first, second = (class_probabilities(network, test, 5) for network in networks)
    assert np.array_equal(first, second) and (first.argmax(axis=1) == y_test).mean() > 0.9


@pytest.mark.parametrize("shape", [(20, 9, 13, 3), (20, 3, 32, 24)])
def test_sizes_and_channels(shape):
    rng = np.random.default_rng(0)
    X = rng.random((80, *shape[1:]), dtype=np.float32)
    X = torch.from_numpy(X) if shape[1] == 3 else X
    y = np.tile([0, 1], 40)
    result = evaluate(Rows(X[40:], y[40:]), X[20:40], y[20:40], X_train=X[:20], y_train=y[:20], features="random", device="cpu")
    assert result.judgement.level in ("unclear", "poor", "fair", "good") and len(result.X_synthetic) == 20


def test_images_of_another_size_are_refused(thirds):
    (X, y), (X_test, y_test), fresh = thirds
    with pytest.raises(InvalidDataError, match="X_test: X holds images of 9 x 9 pixels"):
        evaluate(Rows(*fresh), np.pad(X_test, [(0, 0), (0, 1), (0, 1)]), y_test, X_train=X, y_train=y)
    with pytest.raises(InvalidDataError, match="generator.sample gave: X holds images of 9 x 9"):
        evaluate(Rows(np.pad(fresh[0], [(0, 0), (0, 1), (0, 1)]), fresh[1]), X_test, y_test, X_train=X, y_train=y)


# ------------------------------------------------------------------ against independent implementations
@pytest.fixture(scope="module")
def two_sets():
    rng = np.random.default_rng(0)
    images = rng.random((2, 160, 3, 16, 16), dtype=np.float32)
    images[1] = images[1] ** 1.2
    network = build(RandomNet, {"n_channels": 3}, torch_generator(0)).eval()
    network.num_features = 64
    with torch.no_grad():
        return torch.from_numpy(images), network, [network(torch.from_numpy(part)).numpy() for part in images]


@pytest.mark.filterwarnings("ignore:Metric", "ignore:std")
@pytest.mark.parametrize("name", ["frechet", "kernel", "inception"])
def test_torchmetrics_agrees(name, two_sets):
    pytest.importorskip("torchmetrics")
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    (real, drawn), network, (a, b) = two_sets
    if name == "inception":
        theirs = InceptionScore(feature=network, splits=1)
        theirs.update(drawn)
        assert inception_score(torch.from_numpy(b).softmax(1)) == pytest.approx(float(theirs.compute()[0]), abs=1e-3)
        return
    if name == "frechet":
        theirs = FrechetInceptionDistance(feature=network)
        ours = frechet_distance(a, b)
    else:
        theirs = KernelInceptionDistance(feature=network, subsets=1, subset_size=len(a))
        ours = kernel_distance(a, b, np.random.default_rng(0))
    theirs.update(real, real=True)
    theirs.update(drawn, real=False)
    value = theirs.compute()
    value = float(value[0] if isinstance(value, tuple) else value)
    assert ours == pytest.approx(value, abs=1e-3) and ours > 1e-3


def test_kernel_distance_is_unbiased_and_subsets_agree():
    rng = np.random.default_rng(0)
    estimates = [kernel_distance(rng.normal(size=(40, 6)), rng.normal(size=(40, 6)), rng) for _ in range(200)]
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / 200**0.5
    a, b = rng.normal(size=(900, 6)), rng.normal(0.3, size=(700, 6))
    small, large = (kernel_distance(a, b, rng, subset_size=size, n_subsets=60) for size in (100, 700))
    assert small == pytest.approx(large, rel=0.3)


def test_manifold_figures_equal_brute_force():
    rng = np.random.default_rng(0)
    real, drawn, k = rng.normal(size=(60, 3)), rng.normal(0.5, 0.8, size=(50, 3)), 5
    distance = lambda a, b: float(np.sqrt(((a - b) ** 2).sum()))
    radius = lambda rows, i: sorted(distance(rows[i], other) for j, other in enumerate(rows) if j != i)[k - 1]
    real_radius, drawn_radius = [radius(real, i) for i in range(60)], [radius(drawn, j) for j in range(50)]
    hits = [[distance(real[i], drawn[j]) <= real_radius[i] for j in range(50)] for i in range(60)]
    expected = {
        "precision": np.mean([any(hits[i][j] for i in range(60)) for j in range(50)]),
        "recall": np.mean([any(distance(real[i], drawn[j]) <= drawn_radius[j] for j in range(50)) for i in range(60)]),
        "density": sum(map(sum, hits)) / (k * 50),
        "coverage": np.mean([any(row) for row in hits]),
    }
    assert manifold_figures(real, drawn, k) == pytest.approx(expected)


def test_frechet_distance_of_two_normals_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(200_000, 2)), rng.normal([1, 0], [2, 1], size=(200_000, 2))
    assert frechet_distance(a, b) == pytest.approx(1 + (2 - 1) ** 2, abs=0.03)
