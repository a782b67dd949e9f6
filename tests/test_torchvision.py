"""The v2 transforms: images of the class asked for, in the form of those they stand beside, and nothing else changed."""

import copy
import operator
import pickle
import subprocess
import sys
from collections import namedtuple
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.svm import SVC
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from augment_gen import ConditionalGAN, ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError, UnknownLabelError
from augment_gen.pipelines.pool import SyntheticPool
from augment_gen.pipelines.torchvision import LatentJitter, SyntheticMix, SyntheticReplace, _cpu_twin

DIGITS, LABELS = load_digits(return_X_y=True)
IMAGES = torch.from_numpy((DIGITS.reshape(-1, 1, 8, 8) * 15).astype(np.uint8))
TARGETS = torch.from_numpy(LABELS)
Pair = namedtuple("Pair", "image label")

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning"),  # a few steps teach nothing
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def pool(digit_generator):
    return SyntheticPool(digit_generator, dict.fromkeys(range(10), 40))


@pytest.fixture(scope="module")
def classifier():
    return SVC().fit(IMAGES.flatten(1).numpy(), LABELS)


@pytest.fixture(params=["replace", "mix", "jitter"])
def make(request, pool, digit_generator):
    """A transform of each kind, from the parameters that all share."""
    kinds = {"replace": (SyntheticReplace, pool), "mix": (SyntheticMix, pool), "jitter": (LatentJitter, digit_generator)}
    return partial(*kinds[request.param])


def changed_rows(before, after):
    return (before != after).flatten(1).any(1)


def in_pool(images, labels, pool):
    """Whether each of the uint8 images is one of the pool's, of its own label."""
    return torch.tensor([
        bool((pool.tensors(int(k)) == image).flatten(1).all(1).any()) for image, k in zip(images, labels, strict=True)
    ])  # fmt: skip


# --------------------------------------------------------------- what comes out
def test_replaced_images_come_from_the_pool_and_show_their_class(pool, classifier):
    torch.manual_seed(0)
    images, labels = SyntheticReplace(pool, p=1.0)(IMAGES[:500], TARGETS[:500])
    assert in_pool(images, labels, pool).all() and labels is not None and (labels == TARGETS[:500]).all()
    assert np.mean(classifier.predict(images.flatten(1).numpy()) == LABELS[:500]) > 0.95
    assert len(torch.unique(images[labels == 3], dim=0)) > 20, "different rows of the pool, not one over and over"


def test_p_is_the_share_of_images(make):
    torch.manual_seed(0)
    assert (make(p=0.0)(IMAGES, TARGETS)[0] == IMAGES).all()
    assert changed_rows(IMAGES, make(p=1.0)(IMAGES, TARGETS)[0]).float().mean() > 0.97
    assert changed_rows(IMAGES, make(p=0.3)(IMAGES, TARGETS)[0]).float().mean() == pytest.approx(0.3, abs=0.04)


def test_images_given_are_not_written_to(make, pool):
    given, of_pool = IMAGES[:50].clone(), pool.tensors(3).clone()
    make(p=1.0)(given, TARGETS[:50])
    assert (given == IMAGES[:50]).all() and (pool.tensors(3) == of_pool).all()


def test_mixed_images_lie_between_the_two_and_show_their_class(pool, classifier):
    torch.manual_seed(0)
    rows = TARGETS == 8
    mixed = SyntheticMix(pool, p=1.0)(IMAGES[rows], TARGETS[rows])[0].int()
    real, synthetic = IMAGES[rows].int(), pool.tensors(8).int()
    low, high = torch.minimum(real[:, None], synthetic), torch.maximum(real[:, None], synthetic)
    between = ((mixed[:, None] >= low - 1) & (mixed[:, None] <= high + 1)).flatten(2).all(2)
    assert between.any(1).all()
    assert np.mean(classifier.predict(mixed.flatten(1).numpy()) == 8) > 0.95


def test_alpha_shapes_the_weights(pool):
    black, labels = torch.zeros(400, 1, 8, 8), torch.full((400,), 8)
    shares = {}
    for alpha in (0.05, 50.0):
        torch.manual_seed(1)
        shares[alpha] = SyntheticMix(pool, alpha=alpha, p=1.0)(black, labels)[0].amax((1, 2, 3))
    assert shares[50.0].std() < 0.15 and shares[0.05].std() > 0.3


def test_jitter_moves_with_strength_within_the_class(digit_generator, classifier):
    rows = torch.arange(600)
    X, y = IMAGES[rows], TARGETS[rows]
    rebuilt = digit_generator.decode(digit_generator.encode(X[:, 0].numpy(), y.numpy()), y.numpy(), random_state=0)
    torch.manual_seed(0)
    varied = {strength: LatentJitter(digit_generator, strength, p=1.0)(X, y)[0] for strength in (0.0, 0.4, 1.0)}
    assert (varied[0.0][:, 0].int() - torch.from_numpy(rebuilt).int()).abs().max() <= 1
    moved = [(varied[s].float() - varied[0.0].float()).abs().mean().item() for s in (0.4, 1.0)]
    assert 2 < moved[0] < moved[1]
    near = [(varied[s].float() - X.float()).abs().mean().item() for s in (0.4, 1.0)]
    assert near[0] < 0.8 * near[1], "a jittered image stays like the one it was made from"
    for images in varied.values():
        assert np.mean(classifier.predict(images.flatten(1).numpy()) == y.numpy()) > 0.95


def test_jitter_leaves_the_spread_of_a_class_as_it_is(digit_generator):
    rows = TARGETS == 3
    X, y = IMAGES[rows], TARGETS[rows]
    torch.manual_seed(0)
    spread = [LatentJitter(digit_generator, s, p=1.0)(X, y)[0].float().std(0).mean().item() for s in (0.0, 0.5, 1.0)]
    assert spread[1] == pytest.approx(spread[0], rel=0.15) and spread[2] == pytest.approx(spread[0], rel=0.2)


# ----------------------------------------------------------------------- forms
@pytest.mark.parametrize(
    "sample",
    [
        (IMAGES[:6], TARGETS[:6]),
        [IMAGES[:6], TARGETS[:6]],
        (tv_tensors.Image(IMAGES[:6]), TARGETS[:6]),
        (IMAGES[:6].float() / 255, TARGETS[:6].numpy()),
        (IMAGES[:6].half() / 255, LABELS[:6].tolist()),
        (IMAGES[:6].to(torch.uint16) * 257, TARGETS[:6].to(torch.uint8)),
        (IMAGES[:6].float().div(255).contiguous(memory_format=torch.channels_last), TARGETS[:6, None]),
        (IMAGES[4], 4),
        (IMAGES[4], np.int64(4), "kept"),
        (tv_tensors.Image(IMAGES[4]), torch.tensor(4)),
        (Image.fromarray(IMAGES[4, 0].numpy()), 4),
        Pair(IMAGES[4], 4),
        {"label": TARGETS[:6], "image": IMAGES[:6], "path": ["a"] * 6},
        {"image": IMAGES[4], "weights": torch.ones(3), "Labels": 4, "label_of_something_else": 7},
        (IMAGES[4], {"labels": torch.tensor([4]), "id": 17}),
    ],
    ids=lambda sample: f"{type(sample).__name__}-{type(next(iter(sample))).__name__}",
)
def test_any_sample_keeps_its_structure_and_types(make, sample):
    leaves = lambda sample: sample.values() if isinstance(sample, dict) else sample
    after = make(p=1.0)(sample)
    assert type(after) is type(sample)
    changed = 0
    for one, other in zip(leaves(sample), leaves(after), strict=True):
        assert type(one) is type(other)
        if isinstance(one, Image.Image):
            assert (one.mode, one.size) == (other.mode, other.size)
            changed += np.asarray(one).tobytes() != np.asarray(other).tobytes()
        elif isinstance(one, torch.Tensor):
            assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
            assert one.ndim < 4 or one.stride() == other.stride()
            changed += bool((one.float() != other.float()).any())
        else:
            assert one is other or one == other
    assert changed == 1, "the image, and nothing else"


def test_arguments_and_a_tuple_do_the_same(make):
    torch.manual_seed(3)
    apart = make()(IMAGES[:30], TARGETS[:30])
    torch.manual_seed(3)
    together = make()((IMAGES[:30], TARGETS[:30]))
    assert type(apart) is tuple and (apart[0] == together[0]).all() and (apart[1] == together[1]).all()


def test_values_follow_the_range_of_the_dtype(pool):
    drawn = []
    for images in (IMAGES[:40], IMAGES[:40].float() / 255, IMAGES[:40].to(torch.uint16) * 257):
        torch.manual_seed(0)
        drawn.append(SyntheticReplace(pool, p=1.0)(images, TARGETS[:40])[0])
    torch.testing.assert_close(drawn[1], drawn[0].float() / 255)
    assert (drawn[2].int() == drawn[0].int() * 257).all()


@pytest.fixture(scope="module")
def float_generator():
    images = (IMAGES[:200].float() / 127.5 - 1).numpy()  # -1 to 1
    return ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(images, LABELS[:200])


def test_a_pool_of_floats_has_the_range_of_float_images(float_generator):
    pool = SyntheticPool(float_generator, {3: 5})
    assert pool.value_range == (-1, 1)
    labels = torch.full((20,), 3)
    torch.manual_seed(0)
    floats = SyntheticReplace(pool, p=1.0)(torch.zeros(20, 1, 8, 8), labels)[0]
    torch.manual_seed(0)
    integers = SyntheticReplace(pool, p=1.0)(torch.zeros(20, 1, 8, 8, dtype=torch.uint8), labels)[0]
    assert floats.min() < -0.5
    torch.testing.assert_close(integers.float(), (floats + 1) * 127.5, atol=0.51, rtol=0)
    varied = LatentJitter(float_generator, p=1.0)(IMAGES[:20], TARGETS[:20])[0]
    assert varied.dtype == torch.uint8 and varied.float().mean() > 10


def test_grey_pool_serves_rgb_images(pool):
    images, labels = SyntheticReplace(pool, p=1.0)(IMAGES[:9].expand(-1, 3, -1, -1), TARGETS[:9])
    assert images.shape == (9, 3, 8, 8) and (images == images[:, :1]).all()
    assert in_pool(images[:, :1], labels, pool).all()


def test_colour_generators_of_any_layout():
    for rgb in (
        torch.cat([IMAGES, 255 - IMAGES, IMAGES // 2], 1)[:100],
        IMAGES[:100].repeat(1, 3, 1, 1).permute(0, 2, 3, 1).numpy(),
    ):
        generator = ConditionalVAE(max_steps=3, random_state=0, device="cpu").fit(rgb, LABELS[:100])
        real = torch.cat([IMAGES, 255 - IMAGES, IMAGES // 2], 1)[:20]
        for transform in (
            SyntheticReplace(SyntheticPool(generator, dict.fromkeys(range(10), 3)), 1.0),
            LatentJitter(generator, p=1.0),
        ):
            images = transform(real, TARGETS[:20])[0]
            assert images.shape == real.shape and changed_rows(real, images).all()


def test_resize_when_asked(make, classifier):
    large = v2.functional.resize(IMAGES[:200], [20, 16])
    images, _ = make(p=1.0, resize=True)(large, TARGETS[:200])
    assert images.shape == large.shape and images.dtype == torch.uint8
    small = v2.functional.resize(images, [8, 8])
    assert np.mean(classifier.predict(small.flatten(1).numpy()) == LABELS[:200]) > 0.9


# ---------------------------------------------------------------------- labels
def test_only_the_labels_named_are_changed(make):
    images, _ = make(p=1.0, labels=[3, np.int64(8)])(IMAGES, TARGETS)
    named = (TARGETS == 3) | (TARGETS == 8)
    changed = changed_rows(IMAGES, images)
    assert not changed[~named].any() and changed[named].float().mean() > 0.95


def test_string_labels(digit_generator):
    names = np.array([f"digit {k}" for k in LABELS[:200]])
    generator = ConditionalVAE(max_steps=3, random_state=0, device="cpu").fit(IMAGES[:200, 0].numpy(), names)
    pool = SyntheticPool(generator, {"digit 3": 5})
    batch = default_collate([(IMAGES[k], name) for k, name in enumerate(names[:20])])
    images, _ = SyntheticReplace(pool, p=1.0, labels=pool.labels)(batch)
    assert changed_rows(IMAGES[:20], images).tolist() == (names[:20] == "digit 3").tolist()
    assert LatentJitter(generator, p=1.0)(batch)[0].shape == images.shape
    with pytest.raises(UnknownLabelError, match=r"no label 3; it has 'digit 3'.*another type: let a labels_getter"):
        SyntheticReplace(pool)(IMAGES[3], 3)


def test_labels_getters(make):
    sample = {"x": IMAGES[:30], "y": TARGETS[:30]}
    assert changed_rows(IMAGES[:30], make(p=1.0, labels_getter=operator.itemgetter("y"))(sample)["x"]).all()
    zeros = IMAGES[TARGETS == 0][:10]
    assert changed_rows(zeros, make(p=1.0, labels=[0], labels_getter=None)(zeros)).all()


# ---------------------------------------------------------- bad input, by name
@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (IMAGES[:4], InvalidDataError, "Tensor of shape .4, 1, 8, 8. without labels.*after the DataLoader.*labels_getter"),
        ({"x": IMAGES[:4], "y": TARGETS[:4]}, InvalidDataError, "keys 'x', 'y'.*labels_getter=operator.itemgetter"),
        ((IMAGES[:4], torch.eye(10)[TARGETS[:4]]), InvalidDataError, r"\(4, 10\).*soft or one-hot.*before MixUp"),
        ((IMAGES[:4], torch.rand(4)), InvalidDataError, "soft or one-hot"),
        ((IMAGES[:4], [1.5, 2, 3, 4]), InvalidTypeError, "int, a string or a bool; got float"),
        ((IMAGES[:4], [[1, 2], [3], [4], [5]]), InvalidDataError, "one label"),
        ((IMAGES[:4], TARGETS[:3]), InvalidDataError, "3 labels for 4 image"),
        ((IMAGES[:4, 0], TARGETS[:4]), InvalidDataError, "4 labels for 1 image.*unsqueeze"),
        ((IMAGES[:4], torch.tensor([1, 2, 77, 3])), UnknownLabelError, r"no label 77; it has 0, 1, 2.*labels=\[\.\.\.\]"),
        ((IMAGES[0, 0].numpy(), 3), InvalidDataError, "no image among ndarray of shape .8, 8., int.*ToImage"),
        ((tv_tensors.Image(IMAGES[None, :4]), TARGETS[:4]), InvalidDataError, r"among Image of shape \(1, 4, 1, 8, 8\)"),
        ((torch.zeros(4, 1, 9, 8), TARGETS[:4]), InvalidDataError, "9 x 8 pixels.* 8 x 8.*resize=True"),
        ((torch.zeros(4, 2, 8, 8), TARGETS[:4]), InvalidDataError, "2 channel"),
        ((torch.zeros(4, 1, 8, 8, dtype=torch.bool), TARGETS[:4]), InvalidTypeError, "integers or floats; got torch.bool"),
        ((v2.functional.normalize(IMAGES / 255, [0.3], [0.2]), TARGETS), InvalidDataError, "from 0 to 1.*before Normalize"),
        ((Image.new("P", (8, 8)), 3), InvalidTypeError, r"mode 'P'.*convert\(\"RGB\"\)"),
        ((Image.new("L", (8, 8)), tv_tensors.Image(IMAGES[0]), 3), InvalidDataError, "2 images"),
        ((tv_tensors.Image(IMAGES[0]), {"labels": 3, "masks": tv_tensors.Mask(IMAGES[0])}), InvalidDataError, "not take Mask"),
        (
            (tv_tensors.Image(IMAGES[0]), 3, tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(8, 8))),
            InvalidDataError,
            "not take BoundingBoxes",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused(make, sample, error, message):
    with pytest.raises(error, match=message):
        make(p=1.0)(sample)


def test_colour_pool_and_grey_images():
    generator = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(IMAGES[:100].repeat(1, 3, 1, 1), LABELS[:100])
    with pytest.raises(InvalidDataError, match=r"1 channel\(s\) where its own have 3.*convert yours"):
        SyntheticReplace(SyntheticPool(generator, {0: 2}), p=1.0)(IMAGES[0], 0)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"p": 1.5}, InvalidParameterError, "p must be a number from 0 to 1; got 1.5"),
        ({"p": "often"}, InvalidParameterError, "p must be"),
        ({"labels": [3, 99]}, UnknownLabelError, r"labels=\[3, 99\], but the (pool|generator) has 0, 1, 2"),
        ({"labels": []}, UnknownLabelError, "Name one or more"),
        ({"labels": "3"}, InvalidParameterError, "labels must be a list"),
        ({"labels_getter": "second"}, InvalidParameterError, "labels_getter must be 'default', a function"),
        ({"labels_getter": None}, InvalidParameterError, "no labels.*there are 10"),
    ],
)
def test_bad_parameters_at_construction(make, params, error, message):
    with pytest.raises(error, match=message):
        make(**params)


def test_bad_sources_at_construction(pool, digit_generator):
    table = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(*load_wine(return_X_y=True))
    for transform in (SyntheticReplace, SyntheticMix):
        with pytest.raises(InvalidTypeError, match=r"pool must be a SyntheticPool; got ConditionalVAE.*SyntheticPool\("):
            transform(digit_generator)
        with pytest.raises(InvalidTypeError, match="table"):
            transform(SyntheticPool(table, {0: 3}))
    with pytest.raises(InvalidTypeError, match="fitted ConditionalVAE.*got ConditionalGAN"):
        LatentJitter(ConditionalGAN())
    with pytest.raises(InvalidTypeError, match="fitted on a table"):
        LatentJitter(table)
    with pytest.raises(NotFittedError):
        LatentJitter(ConditionalVAE())
    with pytest.raises(InvalidParameterError, match="strength must be a number from 0 to 1"):
        LatentJitter(digit_generator, strength=-0.1)
    with pytest.raises(InvalidParameterError, match="alpha must be a number above 0"):
        SyntheticMix(pool, alpha=0)


def test_without_torchvision_the_error_names_the_extra():
    code = "import sys; sys.modules['torchvision'] = None; import augment_gen.pipelines.torchvision"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in run.stderr and 'pip install "augment-gen[torchvision]"' in run.stderr


# ------------------------------------------------------------------ randomness
def test_torchs_global_generator_rules_and_no_other(make):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    transform, drawn = make(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(transform(IMAGES[:60], TARGETS[:60])[0])
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    assert (transform(IMAGES[:60], TARGETS[:60])[0] != drawn[2]).any(), "the next call draws anew"
    assert (np.random.get_state()[1] == before).all()


# ------------------------------------------------- as a part of other pipelines
def test_pickled_and_copied_transforms_do_the_same(make):
    transform, drawn = make(labels_getter=operator.itemgetter(1)), []
    for one in (transform, pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        torch.manual_seed(0)
        drawn.append(one(IMAGES[:60], TARGETS[:60])[0])
    assert (drawn[0] == drawn[1]).all() and (drawn[0] == drawn[2]).all()


def test_in_compose_before_normalize_and_mixup(make):
    pipeline = v2.Compose([
        make(p=1.0), v2.RandomRotation(5), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5]),
        v2.MixUp(num_classes=10),
    ])  # fmt: skip
    images, labels = pipeline(IMAGES[:16], TARGETS[:16])
    assert images.shape == (16, 1, 8, 8) and labels.shape == (16, 10)
    assert type(make()).__name__ in repr(pipeline)


def test_repr(pool, digit_generator):
    assert repr(SyntheticReplace(pool, 0.2, labels=[3])) == (
        "SyntheticReplace(SyntheticPool(400 samples of 10 labels), p=0.2, labels=[3], resize=False)"
    )
    assert "alpha=0.4, p=0.5" in repr(SyntheticMix(pool, 0.4))
    assert "8 x 8 images, strength=0.5" in repr(LatentJitter(digit_generator))


def test_a_transform_inside_a_model_adds_nothing_to_it(make):
    model = torch.nn.Sequential(make(), torch.nn.Flatten())
    assert not list(model.parameters()) and not list(model.buffers()) and not model.state_dict()
    model.to(torch.float64).eval()


class Digits(Dataset):
    """The first `n` digits, each through a joint transform, or untouched."""

    def __init__(self, n, transform=None):
        self.n, self.transform = n, transform

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        sample = IMAGES[index], LABELS[index]
        return sample if self.transform is None else self.transform(*sample)


class Collate:
    """What a user writes for transforms of batches; a lambda would not reach a spawned worker."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, samples):
        return self.transform(default_collate(samples))


def run(dataset, n_workers=2, seed=0, **params):
    torch.manual_seed(seed)
    batches = list(DataLoader(dataset, batch_size=20, num_workers=n_workers, **params))
    return torch.cat([images for images, _ in batches])


@pytest.mark.parametrize("where", ["dataset", "collate"])
def test_workers(make, where):
    """As in the main process: other draws in each worker and epoch, the same for the same seed."""
    transform = make(p=1.0)
    dataset = Digits(80, transform if where == "dataset" else None)
    params = {"multiprocessing_context": "fork"} | ({"collate_fn": Collate(transform)} if where == "collate" else {})
    first, again, other = (run(dataset, seed=seed, **params) for seed in (0, 0, 1))
    assert (first == again).all() and changed_rows(first, other).float().mean() > 0.9
    assert changed_rows(IMAGES[:80], first).float().mean() > 0.95


def test_workers_draw_differently_from_each_other(pool):
    same = Digits(40, Zeroth(SyntheticReplace(pool, p=1.0)))
    images = run(same, multiprocessing_context="fork")
    assert (images[:20] != images[20:]).any(), "the batches came from two workers"


class Zeroth:
    """Shows the transform one and the same image."""

    def __init__(self, transform):
        self.transform = transform

    def __call__(self, image, label):
        return self.transform(IMAGES[0], LABELS[0])


def test_spawned_workers_do_as_forked_ones(pool, digit_generator):
    both = v2.Compose([SyntheticReplace(pool, p=0.5), LatentJitter(digit_generator, p=0.5)])
    params = {"collate_fn": Collate(both)}
    forked, spawned = (run(Digits(80), multiprocessing_context=how, **params) for how in ("fork", "spawn"))
    assert (forked == spawned).all()


# ------------------------------------------------------------------------ CUDA
def test_a_twin_on_the_cpu_draws_the_same(digit_generator):
    twin = _cpu_twin(digit_generator)
    assert twin.decoder_ is not digit_generator.decoder_ and twin.decoder_.device.type == "cpu"
    z = digit_generator.encode(IMAGES[:20, 0].numpy(), LABELS[:20])
    np.testing.assert_array_equal(twin.encode(IMAGES[:20, 0].numpy(), LABELS[:20]), z)
    np.testing.assert_array_equal(
        twin.decode(z, LABELS[:20], random_state=0), digit_generator.decode(z, LABELS[:20], random_state=0)
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_the_gpu_and_in_workers_of_a_generator_on_the_gpu(pool):
    generator = ConditionalVAE(max_steps=5, random_state=0, device="cuda").fit(IMAGES[:200, 0].numpy(), LABELS[:200])
    for transform in (SyntheticReplace(pool, p=1.0), SyntheticMix(pool, p=1.0), LatentJitter(generator, p=1.0)):
        images, labels = transform(IMAGES[:20].cuda(), TARGETS[:20].cuda())
        assert images.is_cuda and labels.is_cuda and changed_rows(IMAGES[:20], images.cpu()).all()
        assert run(Digits(80, transform), multiprocessing_context="fork").shape == (80, 1, 8, 8)
