"""The albumentations transforms: images of the class passed along, in the form they came, each worker drawing for itself."""

import copy
import json
import os
import pickle
import subprocess
import sys

import albumentations as A
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.svm import SVC
from torch.utils.data import DataLoader, Dataset

from augment_gen import ConditionalVAE
from augment_gen.errors import (
    InvalidDataError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTypeError,
    ModelFileError,
    UnknownLabelError,
)
from augment_gen.pipelines.albumentations import SyntheticMix, SyntheticReplace
from augment_gen.pipelines.pool import SyntheticPool

DIGITS, LABELS = load_digits(return_X_y=True)
IMAGES = (DIGITS.reshape(-1, 8, 8) * 15).astype(np.uint8)

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning"),  # a few steps teach nothing
]


@pytest.fixture(scope="module")
def pool(digit_generator):
    return SyntheticPool(digit_generator, dict.fromkeys(range(10), 40))


@pytest.fixture(scope="module")
def pool_file(pool, tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "digits.safetensors"
    pool.save(path)
    return path


@pytest.fixture(scope="module")
def classifier():
    return SVC().fit(IMAGES.reshape(len(IMAGES), -1), LABELS)


@pytest.fixture(params=[SyntheticReplace, SyntheticMix])
def kind(request):
    return request.param


def each(transform, rows=range(200)):
    """What becomes of the digits in `rows`; a transform outside a pipeline is seeded."""
    if not isinstance(transform, A.Compose):
        transform.set_random_seed(0)
    return np.stack([transform(image=IMAGES[row], label=LABELS[row])["image"] for row in rows])


def seen(classifier, images):
    return classifier.predict(images.reshape(len(images), -1))


# --------------------------------------------------------------- what comes out
def test_replaced_images_come_from_the_pool_and_show_their_class(pool, classifier):
    images = each(SyntheticReplace(pool=pool, p=1.0))
    assert all((pool.arrays(int(k)) == image).all((1, 2)).any() for image, k in zip(images, LABELS, strict=False))
    assert np.mean(seen(classifier, images) == LABELS[:200]) > 0.95
    assert len(np.unique(images[LABELS[:200] == 3], axis=0)) > 10


def test_mixed_images_lie_between_the_two_and_show_their_class(pool, classifier):
    rows = np.flatnonzero(LABELS == 8)[:100]
    mixed, real, synthetic = each(SyntheticMix(pool=pool, p=1.0), rows).astype(int), IMAGES[rows].astype(int), pool.arrays(8)
    low, high = np.minimum(real[:, None], synthetic), np.maximum(real[:, None], synthetic)
    between = ((mixed[:, None] >= low - 1) & (mixed[:, None] <= high + 1)).all((2, 3))
    assert between.any(1).all() and (mixed != real).any((1, 2)).all()
    assert np.mean(seen(classifier, mixed) == 8) > 0.95


def test_alpha_shapes_the_weights(pool):
    black, shares = np.zeros((8, 8), np.float32), {}
    for alpha in (0.05, 50.0):
        mix = A.Compose([SyntheticMix(pool=pool, alpha=alpha, p=1.0)], seed=1)
        shares[alpha] = np.std([mix(image=black, label=8)["image"].max() for _ in range(200)])
    assert shares[50.0] < 0.15 and shares[0.05] > 0.3


def test_p_and_labels_say_what_is_changed(kind, pool):
    changed = lambda **params: (each(kind(pool=pool, **params), range(400)) != IMAGES[:400]).any((1, 2))
    assert not changed(p=0.0).any()
    assert changed(p=0.3).mean() == pytest.approx(0.3, abs=0.08)
    named = np.isin(LABELS[:400], [3, 8])
    some = changed(p=1.0, labels=[3, 8])
    assert not some[~named].any() and some[named].mean() > 0.95


# ----------------------------------------------------------------------- forms
@pytest.mark.parametrize(
    "image",
    [
        IMAGES[4], IMAGES[4][..., None], np.repeat(IMAGES[4][..., None], 3, axis=2), (IMAGES[4] / 255).astype(np.float32),
        IMAGES[4].astype(np.uint16) * 257, IMAGES[4].T[::-1],
    ],
    ids=["H W", "H W 1", "RGB", "float32", "uint16", "strided"],
)  # fmt: skip
@pytest.mark.parametrize("label", [4, np.int64(4), np.array(4), torch.tensor(4), np.array([4])], ids=lambda x: type(x).__name__)
def test_image_keeps_shape_and_dtype_and_the_label_passes_through(kind, pool, image, label):
    before = image.copy()
    out = A.Compose([kind(pool=pool, p=1.0)], strict=True, seed=0)(image=image, label=label)
    assert (image == before).all() and out["label"] is label
    assert out["image"].shape == image.shape and out["image"].dtype == image.dtype
    assert (out["image"] != image).any() and out["image"].flags["C_CONTIGUOUS"]
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    assert 0.5 * top < out["image"].max() <= top


def test_resize_when_asked(kind, pool):
    image = np.zeros((20, 16), np.uint8)
    assert kind(pool=pool, resize=True, p=1.0)(image=image, label=3)["image"].shape == (20, 16)


def test_inside_a_usual_pipeline(kind, pool):
    pipeline = A.Compose([
        A.OneOf([kind(pool=pool, label_key="digit"), A.HorizontalFlip()], p=1.0), A.Rotate(limit=10), A.Normalize(0.5, 0.5),
    ])  # fmt: skip
    out = pipeline(image=IMAGES[0], digit=0, path="kept")
    assert out["image"].dtype == np.float32 and out["digit"] == 0 and out["path"] == "kept"


# ------------------------------------------------------------------ randomness
def test_seed_of_compose_repeats_the_draws(kind, pool):
    first, again, other = (each(A.Compose([kind(pool=pool)], seed=seed), range(60)) for seed in (7, 7, 8))
    assert (first == again).all() and (first != other).any()
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    each(kind(pool=pool), range(5))
    assert (np.random.get_state()[1] == state[0]).all() and (torch.get_rng_state() == state[1]).all()


class Same(Dataset):
    """One and the same digit, transformed."""

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return self.transform(image=IMAGES[3], label=3)["image"]


def run(transform, seed, how="fork"):
    torch.manual_seed(seed)
    loader = DataLoader(Same(transform), batch_size=4, num_workers=2, multiprocessing_context=how)
    return [torch.cat(list(loader)).numpy() for _ in range(2 if how == "fork" else 1)]


@pytest.mark.parametrize("seed_of_compose", [None, 7])
def test_every_worker_and_epoch_draws_for_itself(pool, seed_of_compose):
    """albumentations 2.0.8 by itself draws the same in each of the workers, and in each epoch again."""
    transform = A.Compose([SyntheticMix(pool=pool, p=1.0)], seed=seed_of_compose)
    epochs = run(transform, 0)
    assert len(np.unique(np.concatenate(epochs), axis=0)) == 32
    share = [
        (images != IMAGES[3]).any((1, 2)).mean() for images in run(A.Compose([SyntheticReplace(pool=pool, p=0.5)], seed=7), 0)
    ]
    assert 0.2 < np.mean(share) < 0.8, "whether to replace is drawn per worker, too"


def test_torchs_seed_repeats_the_draws_of_workers(kind, pool):
    transform = A.Compose([kind(pool=pool, p=0.7)], seed=7)
    first, again, other = (run(transform, seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()


def test_spawned_workers(pool_file):
    transform = A.Compose([SyntheticMix(pool=pool_file, p=1.0)], seed=7)
    assert len(np.unique(run(transform, 0, "spawn")[0], axis=0)) == 16


# --------------------------------------------------------------------- as text
def test_pipelines_go_through_text_by_the_path_of_the_pool(kind, pool_file, tmp_path):
    pipeline = A.Compose([kind(pool=pool_file, labels=[3, 8], p=0.8), A.HorizontalFlip()], seed=3)
    again = A.from_dict(json.loads(json.dumps(A.to_dict(pipeline))))
    A.save(pipeline, tmp_path / "pipeline.yaml", data_format="yaml")
    for one in (again, A.load(tmp_path / "pipeline.yaml", data_format="yaml")):
        one.set_random_seed(3)
        pipeline.set_random_seed(3)
        assert (each(one, range(60)) == each(pipeline, range(60))).all()
        assert repr(one) == repr(pipeline)


def test_a_pool_in_memory_is_not_written_but_printed_and_read_in_this_process(kind, pool, tmp_path):
    pipeline = A.Compose([kind(pool=pool)])
    assert "SyntheticPool(400 samples of 10 labels)" in repr(pipeline)
    assert A.from_dict(A.to_dict(pipeline))(image=IMAGES[0], label=0)["image"].shape == (8, 8)
    for write in (lambda: A.save(pipeline, tmp_path / "p.json"), lambda: json.dumps(A.to_dict(pipeline))):
        with pytest.raises(InvalidRequestError, match=r"pool.save\(path\)"):
            write()


@pytest.mark.filterwarnings("ignore:.*could work incorrectly in ReplayMode")
def test_replay_puts_in_what_was_recorded(kind, pool, pool_file):
    for source in (pool, pool_file):
        recorded = A.ReplayCompose([kind(pool=source, p=0.6), A.HorizontalFlip()])
        for row in range(12):
            out = recorded(image=IMAGES[row], label=LABELS[row])
            again = A.ReplayCompose.replay(out["replay"], image=IMAGES[row], label=LABELS[row])
            assert (again["image"] == out["image"]).all()


def test_pickled_and_copied_transforms_do_the_same(kind, pool):
    pipeline = A.Compose([kind(pool=pool)], seed=5)
    copies = pickle.loads(pickle.dumps(pipeline)), copy.deepcopy(pipeline)
    drawn = each(pipeline, range(40))
    assert all((each(one, range(40)) == drawn).all() for one in copies)


# ---------------------------------------------------------- bad input, by name
@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ({}, InvalidDataError, "call the pipeline with label=.*label_key=.*'image'"),
        ({"label": 77}, UnknownLabelError, r"pool has no label 77; it has 0, 1.*labels=\[...\]"),
        ({"label": "three"}, UnknownLabelError, "another type"),
        ({"label": np.eye(10)[3]}, InvalidDataError, "soft or one-hot"),
        ({"label": [3, 4]}, InvalidDataError, "one label a call; got 2"),
        ({"label": 3, "mask": np.zeros((8, 8))}, InvalidDataError, "not take 'mask'"),
        ({"label": 3, "masks": [np.zeros((8, 8))]}, InvalidDataError, "not take 'masks'"),
        ({"label": 3, "images": [IMAGES[0]]}, InvalidDataError, "not take 'images'"),
        ({"label": 3, "other": IMAGES[0]}, InvalidDataError, "not take 'other'"),
    ],
)
def test_what_cannot_be_changed_is_refused(kind, pool, targets, error, message):
    pipeline = A.Compose([kind(pool=pool, p=1.0)], additional_targets={"other": "image"})
    with pytest.raises(error, match=message):
        pipeline(image=IMAGES[0], **targets)


@pytest.mark.filterwarnings("ignore:Got processor for")
def test_boxes_and_keypoints_are_refused_whatever_p(kind, pool):
    boxes = A.Compose([kind(pool=pool, p=0.0)], bbox_params=A.BboxParams("pascal_voc", label_fields=["of"]))
    with pytest.raises(InvalidDataError, match="not take 'bboxes'"):
        boxes(image=IMAGES[0], label=0, bboxes=[[0, 0, 4, 4]], of=[1])
    points = A.Compose([kind(pool=pool, p=0.0)], keypoint_params=A.KeypointParams("xy"))
    with pytest.raises(InvalidDataError, match="not take 'keypoints'"):
        points(image=IMAGES[0], label=0, keypoints=[(2, 2)])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((9, 8), np.uint8), "9 x 8 pixels where its own have 8 x 8.*resize=True"),
        (np.zeros((8, 8, 2), np.uint8), "2 channel"),
        (np.linspace(-2, 2.6, 64, dtype=np.float32).reshape(8, 8), "before Normalize"),
    ],
)
def test_images_that_do_not_fit_are_refused(kind, pool, image, message):
    with pytest.raises(InvalidDataError, match=f"{kind.__name__}.*{message}"):
        kind(pool=pool, p=1.0)(image=image, label=3)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"p": 1.5}, InvalidParameterError, "p must be a number from 0 to 1"),
        ({"labels": [99]}, UnknownLabelError, "the pool has 0, 1"),
        ({"label_key": "image"}, InvalidParameterError, "label_key must be the name"),
        ({"pool": 3}, InvalidTypeError, "SyntheticPool or the path of one; got int"),
        ({"pool": "nowhere.safetensors"}, FileNotFoundError, "nowhere"),
    ],
)
def test_bad_parameters_at_construction(kind, pool, params, error, message):
    with pytest.raises(error, match=message):
        kind(**{"pool": pool, **params})


def test_bad_pools_at_construction(kind, tmp_path):
    table = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(*load_wine(return_X_y=True))
    with pytest.raises(InvalidTypeError, match="rows of a table"):
        kind(pool=SyntheticPool(table, {0: 3}))
    (tmp_path / "no pool").write_bytes(b"something else")
    with pytest.raises(ModelFileError):
        kind(pool=tmp_path / "no pool")


def test_bad_alpha(pool):
    with pytest.raises(InvalidParameterError, match="alpha must be a number above 0"):
        SyntheticMix(pool=pool, alpha=0)


# --------------------------------------------------------------------- imports
def test_without_albumentations_the_error_names_the_extra():
    code = "import sys; sys.modules['albumentations'] = None; import augment_gen.pipelines.albumentations"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in ran.stderr and 'pip install "augment-gen[albumentations]"' in ran.stderr


def test_importing_the_package_leaves_albumentations_and_the_environment_alone():
    code = (
        "import os, sys, augment_gen.pipelines; "
        "assert 'albumentations' not in sys.modules and 'NO_ALBUMENTATIONS_UPDATE' not in os.environ"
    )
    clean = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=clean)
