"""Datasets: generators learn from them, and synthetic samples join them in their own form."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_iris
from sklearn.svm import SVC
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp
from augment_gen.codecs.dataset import read_dataset, read_labels, untransformed
from augment_gen.codecs.pillow import PILImages
from augment_gen.errors import (
    InvalidDataError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTypeError,
    UnknownLabelError,
)
from augment_gen.pipelines import SyntheticDataset, SyntheticPool, rebalance_dataset
from augment_gen.pipelines.choice import choose_mix

pytestmark = pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning")  # five steps learn little

COUNTS = (60, 40, 12)
NAMES = ("nought", "one", "two")
TO_TENSOR = v2.Compose([v2.Grayscale(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])


def tiny(generator=ConditionalVAE, **params):
    return generator(**{"max_steps": 5, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def digits():
    digits = load_digits(n_class=3)
    keep = np.concatenate([np.flatnonzero(digits.target == k)[:n] for k, n in enumerate(COUNTS)])
    return (digits.images[keep] * 255 / 16).astype(np.uint8), digits.target[keep]


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("digits")
    for number, (image, label) in enumerate(zip(*digits, strict=True)):
        (path / NAMES[label]).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / NAMES[label] / f"{number:03}.png")
    return path


@pytest.fixture(scope="module")
def tensors(digits):
    return TensorDataset(torch.from_numpy(digits[0] / 255).float()[:, None], torch.from_numpy(digits[1]))


class Arrays(Dataset):
    """A user's own dataset: arrays with text labels, and its own transforms under torchvision's names."""

    def __init__(self, images, labels, transform=None, target_transform=None):
        self.images, self.labels_, self.transform, self.target_transform = images, labels, transform, target_transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, label = self.images[index], self.labels_[index]
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)


# ---------------------------------------------------------------- rebalancing
@pytest.mark.parametrize("generator", [ConditionalVAE, ConditionalGAN])
def test_image_folder_is_rebalanced_behind_the_real_images(folder, generator):
    real = ImageFolder(folder, transform=TO_TENSOR)
    balanced = rebalance_dataset(real, tiny(generator), mix="minority")
    assert len(balanced) == 3 * COUNTS[0] and np.bincount(balanced.targets).tolist() == [60, 60, 60]
    assert balanced.classes == real.classes == list(NAMES) and balanced.class_to_idx == real.class_to_idx
    assert balanced.is_synthetic.tolist() == [False] * sum(COUNTS) + [True] * 68
    assert isinstance(balanced.generator, generator)
    for number in (0, 57, 111):
        assert torch.equal(balanced[number][0], real[number][0]) and balanced[number][1] == real[number][1]
    for number in (-1, 112):
        image, label = balanced[number]
        assert type(image) is tv_tensors.Image and image.shape == (1, 8, 8) and image.dtype == torch.float32
        assert type(label) is int and label == balanced.targets[number]
    with pytest.raises(IndexError):
        balanced[180]


def test_synthetic_images_show_their_label(folder, digits):
    balanced = rebalance_dataset(ImageFolder(folder, transform=TO_TENSOR), tiny(max_steps=150), mix="minority")
    judge = SVC().fit(digits[0].reshape(len(digits[0]), -1) / 255, digits[1])
    images = np.stack([balanced[i][0].numpy().ravel() for i in np.flatnonzero(balanced.is_synthetic)])
    assert (judge.predict(images) == np.array(balanced.targets)[balanced.is_synthetic]).mean() > 0.9


def test_the_datasets_own_transform_is_for_items_and_not_for_fitting(folder):
    real = ImageFolder(folder, transform=lambda image: torch.full((1,), 7.0), target_transform=lambda label: label + 10)
    balanced = rebalance_dataset(real, tiny())
    assert balanced[-1] == (torch.full((1,), 7.0), 12), "synthetic items went through both transforms"
    assert real.transform is not None and balanced.generator.codec_.format_.size == (3, 8, 8)
    other = rebalance_dataset(real, balanced.generator, transform=np.asarray)
    assert other[-1][0].shape == (8, 8, 3) and other[-1][1] == 12 and other[0][1] == 10, "each is replaced by itself"


def test_tensor_dataset_keeps_tensor_labels(tensors):
    balanced = rebalance_dataset(tensors, tiny(), mix="minority")
    images, labels = next(iter(DataLoader(balanced, batch_size=180, shuffle=True)))
    assert images.shape == (180, 1, 8, 8) and images.dtype == torch.float32 and torch.bincount(labels).tolist() == [60, 60, 60]
    assert 0 <= images.min() and images.max() <= 1


def test_arrays_with_text_labels(digits):
    names = np.array(NAMES)[digits[1]]
    balanced = rebalance_dataset(Arrays(digits[0], names), tiny(), {"two": 20})
    image, label = balanced[-1]
    assert len(balanced) == 120 and type(image) is np.ndarray and image.shape == (8, 8) and image.dtype == np.uint8
    assert label == "two" and type(label) is type(names[0]) and balanced.targets[-8:] == ["two"] * 8
    image[:] = 0
    assert balanced[-1][0].any(), "an item is the caller's own"


def test_rows_of_a_table():
    X, y = load_iris(return_X_y=True)
    real = TensorDataset(torch.tensor(X)[:120], torch.tensor(y)[:120])
    balanced = rebalance_dataset(real, tiny())
    assert len(balanced) == 150 and balanced[-1][0].shape == (4,) and balanced[-1][0].dtype == torch.float64
    assert balanced[-1][1].dtype == torch.int64 and balanced[-1][1] == 2


def test_images_are_mixed_in_every_class_by_default(tensors):
    balanced = rebalance_dataset(tensors, tiny())
    per_class = [np.bincount(np.array(balanced.targets)[mask]) for mask in (~balanced.is_synthetic, balanced.is_synthetic)]
    assert [list(counts) for counts in per_class] == [[60, 60, 60], [60, 60, 60]]
    assert balanced.rows[:112].tolist() == list(range(112)), "all real items first, in their order"
    assert np.bincount(balanced.rows)[100:].tolist() == [5] * 12 and np.bincount(balanced.rows)[:60].tolist() == [1] * 60
    for number in (3, 130, 179):
        row = balanced.rows[number]
        assert torch.equal(balanced[number][0], tensors[row][0]) and balanced.targets[number] == tensors[row][1]
    images, labels = next(iter(DataLoader(balanced, 360)))
    assert torch.bincount(labels).tolist() == [120, 120, 120] and images.shape == (360, 1, 8, 8)


def test_shares(tensors):
    gen = rebalance_dataset(tensors, tiny()).generator
    third = rebalance_dataset(tensors, gen, synthetic_share=1 / 3)
    assert np.bincount(third.targets).tolist() == [90] * 3 and third.is_synthetic.sum() == 90
    none = rebalance_dataset(tensors, gen, synthetic_share=0)
    assert np.bincount(none.targets).tolist() == [60] * 3 and not none.is_synthetic.any() and none.pool is None
    half = rebalance_dataset(tensors, gen, mix="minority", synthetic_share=0.5)
    assert np.bincount(half.targets).tolist() == [60] * 3 and half.is_synthetic.sum() == 10 + 24
    with pytest.raises(InvalidRequestError, match=r'\{2: 30\} says which classes.*mix="minority"'):
        rebalance_dataset(tensors, gen, {2: 30}, mix="all")
    for wrong in ({"mix": "some"}, {"synthetic_share": 1.0}, {"synthetic_share": "half"}):
        with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
            rebalance_dataset(tensors, gen, **wrong)


def test_what_was_chosen_is_carried_out(tensors):
    images, labels = (part.numpy() for part in tensors.tensors)
    candidates = {"elastic": (ElasticWarp(label_threshold=0, random_state=0, device="cpu"), 0.5)}

    def classifier(X, y, held, seed):  # surer of what it sees the more images there are
        model, sure = SVC().fit(X.reshape(len(X), -1), y), 0.9 if len(y) > 120 else 0.5
        return sure * np.eye(3)[model.predict(held.reshape(len(held), -1))] + (1 - sure) / 3

    for error, share in ((0.0, 0.5), (1e9, 0.0)):
        choice = choose_mix(images[:, 0], labels, candidates, classifier=classifier, n_folds=2, n_errors=error, random_state=0)
        balanced = rebalance_dataset(tensors, choice, seed=1)
        assert balanced.choice is choice and balanced.is_synthetic.mean() == choice.synthetic_share == share
        assert len(np.unique(np.bincount(balanced.targets))) == 1
        assert (balanced.generator is None) == (share == 0)  # nothing is fitted that nothing is drawn from
    for wrong in ({"mix": "minority"}, {"synthetic_share": 0.3}, {"sampling_strategy": {2: 100}}):
        with pytest.raises(InvalidRequestError, match=r"Leave .* out"):
            rebalance_dataset(tensors, "choose", **wrong)
    with pytest.raises(InvalidRequestError, match=r"a MixChoice or \"choose\"; got 'auto'"):
        rebalance_dataset(tensors, "auto")


def test_only_the_subset_is_looked_at(tensors):
    poisoned = TensorDataset(tensors.tensors[0].clone(), tensors.tensors[1])
    train = Subset(poisoned, [i for i in range(len(tensors)) if i % 4])
    held_out = np.setdiff1d(np.arange(len(tensors)), train.indices)
    clean = rebalance_dataset(train, tiny(), mix="minority")
    poisoned.tensors[0][held_out] = float("nan")
    balanced = rebalance_dataset(train, tiny(), mix="minority")
    assert np.bincount(balanced.targets).tolist() == [45, 45, 45]
    assert torch.equal(balanced[-1][0], clean[-1][0])


class Part(Subset):
    """A split with a transform of its own, as users write them."""

    def __init__(self, dataset, indices, transform):
        super().__init__(dataset, indices)
        self.transform = transform

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return self.transform(image), label

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def test_a_subset_with_a_transform_of_its_own(folder, tensors):
    train = Part(tensors, range(0, 112, 2), v2.Normalize([0.5], [0.1]))
    balanced = rebalance_dataset(train, tiny())
    assert balanced.generator.codec_.format_.low == 0, "fitted on what lies under the transform"
    images, _ = next(iter(DataLoader(balanced, len(balanced))))
    assert images[balanced.is_synthetic].min() < -1 and torch.equal(balanced[0][0], train[0][0])
    both = rebalance_dataset(Part(ImageFolder(folder, TO_TENSOR), range(112), v2.Normalize([0.5], [0.1])), tiny())
    assert both[-1][0].shape == (1, 8, 8) and both[-1][0].min() < -1, "first that of the folder, then that of the part"


def test_of_a_subset_nothing_else_is_read(digits):
    class Watched(Arrays):
        read = []

        def __getitem__(self, index):
            self.read.append(index)
            return super().__getitem__(index)

    real = Watched(digits[0], digits[1])
    train = Subset(real, [*range(50), *range(60, 90), *range(100, 110)])
    gen = rebalance_dataset(train, tiny()).generator
    rebalance_dataset(train, gen)
    assert set(real.read) == set(train.indices)


def test_class_names_that_look_like_other_labels(digits, tmp_path):
    """Folders "1", "3" and "8" have the labels 0, 1 and 2, of which the generator knows 1 for something else."""
    for number, (image, label) in enumerate(zip(*digits, strict=True)):
        path = tmp_path / "138"[label]
        path.mkdir(exist_ok=True)
        Image.fromarray(image).save(path / f"{number}.png")
    real = ImageFolder(tmp_path, loader=Image.open)
    with pytest.raises(UnknownLabelError):
        rebalance_dataset(real, tiny().fit(digits[0], np.array([1, 3, 8])[digits[1]]))
    by_name = rebalance_dataset(real, tiny().fit(digits[0], np.array(["1", "3", "8"])[digits[1]]), mix="minority")
    assert by_name.pool.counts == {"3": 20, "8": 48} and by_name.targets[-1] == 2


def test_labels_that_items_do_not_have_are_not_believed(digits):
    class Misleading(Arrays):
        labels = tuple("two" for _ in range(112))

    assert read_labels(Misleading(*digits)) == digits[1].tolist()


def test_transforms_that_are_called_without_asking(digits):
    class Eager(Arrays):
        def __getitem__(self, index):
            return self.transform(self.images[index]), int(self.labels_[index])

    balanced = rebalance_dataset(Eager(*digits, transform=lambda image: image / 255), tiny())
    assert balanced[-1][0].max() <= 1 and balanced.generator.codec_.format_.is_byte


def test_palettes_are_resized_as_colours():
    ramp = Image.fromarray(np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))).convert("P")
    (small,), _ = read_dataset(Arrays([ramp], [0]), image_size=(10, 10))
    wanted = ramp.convert("RGB").resize((10, 10), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(small), np.asarray(wanted))


def test_joined_datasets(folder, tensors):
    balanced = rebalance_dataset(ConcatDataset([tensors, tensors]), tiny(), "not majority")
    assert np.bincount(balanced.targets).tolist() == [120, 120, 120]
    with pytest.raises(InvalidRequestError, match=r"different transforms.*transform="):
        rebalance_dataset(ConcatDataset([ImageFolder(folder), ImageFolder(folder, TO_TENSOR)]), tiny())


def test_nothing_to_add(tensors):
    even = Subset(tensors, [*range(12), *range(60, 72), *range(100, 112)])
    balanced = rebalance_dataset(even, tiny(), mix="minority")
    assert len(balanced) == 36 and not balanced.is_synthetic.any() and balanced.pool is None and balanced.generator is None


def test_strategy_and_fitted_generator_may_speak_of_class_names(folder, digits):
    real = ImageFolder(folder, transform=TO_TENSOR, loader=Image.open)
    assert np.bincount(rebalance_dataset(real, tiny(), {"two": 30}).targets).tolist() == [60, 40, 30]
    by_name = tiny().fit(digits[0], np.array(NAMES)[digits[1]])
    balanced = rebalance_dataset(real, by_name, mix="minority")
    assert np.bincount(balanced.targets).tolist() == [60, 60, 60] and balanced[-1][1] == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_items_are_the_same_whatever_the_workers(folder, tmp_path, method):
    balanced = rebalance_dataset(ImageFolder(folder, transform=TO_TENSOR), tiny())
    mapped = SyntheticPool(balanced.generator, {2: 20, 1: 10}, path=tmp_path / "pool.safetensors")
    both = ConcatDataset([balanced, SyntheticDataset(mapped, transform=TO_TENSOR)])
    loaders = [DataLoader(both, 45), DataLoader(both, 45, num_workers=2, multiprocessing_context=method)]
    for (images, labels), (same_images, same_labels) in zip(*loaders, strict=True):
        assert torch.equal(images, same_images) and torch.equal(labels, same_labels)


# ------------------------------------------------------------ synthetic alone
def test_synthetic_dataset_is_like_torchvisions(digits):
    gen = tiny().fit(digits[0], np.array(NAMES)[digits[1]])
    dataset = SyntheticDataset(gen, {"two": 5, "nought": 3}, transform=v2.ToImage(), target_transform=lambda label: label * 10)
    assert dataset.classes == list(NAMES) and dataset.class_to_idx == {"nought": 0, "one": 1, "two": 2}
    assert dataset.targets == [2] * 5 + [0] * 3 and len(dataset) == 8, "as an ImageFolder of these classes would number them"
    assert dataset[0][0].shape == (1, 8, 8) and dataset[0][1] == 20 and dataset[-1][1] == 0
    assert torch.equal(dataset.__getitems__([2, 6])[1][0], dataset[6][0])
    again = SyntheticDataset(gen, {"two": 5, "nought": 3}, transform=v2.ToImage())
    assert torch.equal(dataset[3][0], again[3][0])


def test_synthetic_dataset_of_a_pool_takes_its_first_samples(digits):
    pool = SyntheticPool(tiny().fit(*digits), {2: 9, 1: 4})
    dataset = SyntheticDataset(pool, {1: 3})
    assert dataset.targets == [1, 1, 1] and np.array_equal(dataset[2][0], pool.rows(1)[2])
    assert len(SyntheticDataset(pool)) == 13
    with pytest.raises(InvalidRequestError, match="asks for 5 samples of 1, but the pool holds 4"):
        SyntheticDataset(pool, {1: 5})
    with pytest.raises(UnknownLabelError):
        SyntheticDataset(pool, {0: 1})
    with pytest.raises(InvalidRequestError, match="Give counts"):
        SyntheticDataset(pool.generator)


# ----------------------------------------------------------- fit on a dataset
def test_fit_takes_a_dataset_and_draws_what_it_held(folder, digits):
    gen = tiny().fit(ImageFolder(folder, transform=TO_TENSOR))
    images, labels = gen.sample(4, y=2)
    assert isinstance(images, PILImages) and images[0].mode == "RGB" and images[0].size == (8, 8) and labels == [2] * 4
    array, _ = tiny().fit(np.repeat(digits[0][..., None], 3, axis=3), digits[1]).sample(4, y=2)
    np.testing.assert_array_equal(np.asarray(images), array)


def test_fit_takes_a_list_of_pil_images(digits):
    images = [Image.fromarray(image) for image in digits[0]]
    gen = tiny()
    X, y = gen.fit_resample(images, digits[1])
    assert X[:112] == images and len(X) == len(y) == 180 and X[-1].mode == "L"
    deep = [Image.fromarray(image.astype(np.uint16) * 256) for image in digits[0]]
    assert tiny().fit(deep, digits[1]).sample(1, y=0)[0][0].mode == "I;16"


def test_samples_beyond_memory_are_kept_in_a_file(folder):
    in_file, labels = read_dataset(ImageFolder(folder), in_memory=0)
    in_memory, same_labels = read_dataset(ImageFolder(folder))
    assert isinstance(in_file.array, np.memmap) and not isinstance(in_memory.array, np.memmap) and labels == same_labels
    np.testing.assert_array_equal(in_file.array, in_memory.array)
    drawn = [tiny().fit(X, labels).sample(3, y=2, random_state=0)[0] for X in (in_file, in_memory)]
    np.testing.assert_array_equal(*map(np.asarray, drawn))


def test_labels_are_read_without_decoding_images(folder):
    def fail(path):
        raise AssertionError("an image was opened")

    real = ImageFolder(folder, loader=fail)
    assert read_labels(real) == [0] * 60 + [1] * 40 + [2] * 12 == real.targets
    assert read_labels(Subset(real, [3, 111])) == [0, 2]
    assert read_labels(ConcatDataset([Subset(real, [3, 111]), Subset(real, [61])])) == [0, 2, 1]


def test_removing_transforms_leaves_the_dataset_alone(folder):
    real = ImageFolder(folder, transform=TO_TENSOR)
    bare = untransformed(Subset(real, [0]))
    assert isinstance(bare[0][0], Image.Image) and isinstance(real[0][0], torch.Tensor)


# ------------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        (TensorDataset(torch.zeros(4, 1, 8, 8)), InvalidTypeError, r"Item 0 of the dataset is a tuple of 1.*\(sample, label\)"),
        (TensorDataset(torch.zeros(0, 1, 8, 8), torch.zeros(0)), InvalidDataError, "dataset is empty"),
        (Arrays([np.zeros((8, 8)), np.zeros((9, 8))], [0, 1]), InvalidDataError, "number 1 is 9 x 8 pixels.*first is 8 x 8"),
        (Arrays(["a", "b"], [0, 1]), InvalidTypeError, "samples are of type str"),
    ],
)
def test_datasets_that_cannot_be_learned_from(dataset, error, message):
    with pytest.raises(error, match=message):
        tiny().fit(dataset)


def test_iterable_datasets_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(InvalidTypeError, match="map-style"):
        tiny().fit(Stream())


def test_what_does_not_go_together(folder, tensors, digits):
    with pytest.raises(InvalidRequestError, match="not both"):
        tiny().fit(tensors, digits[1])
    with pytest.raises(InvalidTypeError, match="rebalance_dataset"):
        tiny().fit_resample(tensors, digits[1])
    with pytest.raises(InvalidRequestError, match=r"\(8, 8, 3\) and uint8, but the generator draws \(8, 8, 1\).*not fitted"):
        rebalance_dataset(ImageFolder(folder), tiny().fit(*digits))
    with pytest.raises(InvalidRequestError, match="float32, but the generator draws .* uint8"):
        rebalance_dataset(tensors, tiny().fit(*digits))
    for real in (Arrays(list(tensors.tensors[0]), digits[1]), tensors):
        with pytest.raises(InvalidRequestError, match="resizes PIL images.*type Tensor"):
            rebalance_dataset(real, tiny(), image_size=(8, 8))
    one_hot = TensorDataset(tensors.tensors[0], torch.eye(3)[tensors.tensors[1]])
    with pytest.raises(InvalidDataError, match=r"shape \(112, 3\); each item needs one label.*one-hot"):
        rebalance_dataset(one_hot, tiny(max_steps=10**9))
    with pytest.raises(UnknownLabelError, match="asks for 'nine', which no item.* 0, 1, 2, or by name 'nought', 'one'"):
        rebalance_dataset(ImageFolder(folder), tiny(), {"nine": 100})
    with pytest.raises(InvalidTypeError, match=r"DataLoader. Give the dataset that it reads, loader\.dataset"):
        rebalance_dataset(DataLoader(tensors), tiny())
    for size in (0, (8,), (8, 2.5)):
        with pytest.raises(InvalidRequestError, match="image_size must be a side or"):
            rebalance_dataset(ImageFolder(folder), tiny(), image_size=size)


@pytest.mark.parametrize(
    "wrong", [{"mix": "minorities"}, {"sampling_strategy": {9: 100}}, {"sampling_strategy": "minorty"}, {"synthetic_share": 2}]
)
def test_mistakes_are_found_before_anything_is_fitted(tensors, wrong):
    gen = tiny(max_steps=10**9)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rebalance_dataset(tensors, gen, **wrong)
    assert not hasattr(gen, "classes_")


def test_images_of_different_sizes_are_resized_when_asked(folder, tmp_path):
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        target = tmp_path / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        image = Image.open(path)
        image.resize((9, 12) if number % 2 else (10, 10)).save(target)
    real = ImageFolder(tmp_path, transform=v2.Compose([TO_TENSOR, v2.Resize((16, 16))]))
    with pytest.raises(InvalidDataError, match="number 1 is 12 x 9 pixels, 3 channels.*first is 10 x 10.*image_size"):
        rebalance_dataset(real, tiny())
    balanced = rebalance_dataset(real, tiny(), image_size=(12, 11))
    assert rebalance_dataset(real, tiny(), image_size=12).generator.codec_.format_.size == (3, 12, 12)
    assert balanced.generator.codec_.format_.size == (3, 12, 11) and balanced[0][0].shape == balanced[-1][0].shape == (
        1,
        16,
        16,
    )
