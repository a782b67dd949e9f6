"""A torch dataset with its rare classes filled up: which generator, how many of each class, and in what form.

Enters: a map-style dataset, and a generator that is fitted or not. Leaves: a `RebalancedDataset`, whose items look like the
real dataset's.
"""

from collections.abc import Mapping

import numpy as np
from torch.utils.data import DataLoader

from augment_gen.codecs import infer_codec
from augment_gen.codecs.dataset import plain_label, read_dataset, read_labels, transforms_of
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidDataError, InvalidRequestError, InvalidTypeError, UnknownLabelError
from augment_gen.generators import ConditionalVAE
from augment_gen.pipelines.choice import MixChoice, choose_mix
from augment_gen.pipelines.datasets import RebalancedDataset, attribute
from augment_gen.pipelines.mixing import check_mix, mixed_plan
from augment_gen.pipelines.pool import SyntheticPool
from augment_gen.sampling.plan import rows_missing
from augment_gen.seeding import numpy_generator

SHARES = {"all": 0.5, "minority": 1.0}  # of synthetic samples, where none is given


def rebalance_dataset(
    dataset,
    generator=None,
    sampling_strategy="auto",
    transform=None,
    *,
    mix="auto",
    synthetic_share="auto",
    target_transform=None,
    image_size=None,
    seed=0,
):
    """A dataset with synthetic samples behind the real ones, so that its rare classes are rare no more.

    Give it the *training* part only: a validation or test part must stay as it is, or it says nothing about real data.
    Of a ``Subset``, nothing but that subset is looked at.

    Parameters
    ----------
    dataset : map-style dataset of (sample, label)
        torchvision's datasets, such as ``ImageFolder``; ``TensorDataset``; ``Subset`` and ``ConcatDataset`` of those; or any
        object with ``__len__`` and ``__getitem__``. Samples are PIL images, arrays or tensors, all of one size.
    generator : generator, MixChoice or "choose", optional
        Fitted: it must have been fitted on samples of the same form. Not yet fitted: it is fitted to `dataset`, without the
        dataset's transform. By default a new `ConditionalVAE`. For images also what `augment_gen.pipelines.choice.choose_mix`
        found, which says how large the share is, too; "choose" asks it here, in minutes, whether any synthetic images help.
    sampling_strategy : str, float, dict or callable, default="auto"
        As in imbalanced-learn, over labels (or class names, where the dataset has ``class_to_idx``): "auto" brings every class
        up to the largest.
    mix : {"auto", "all", "minority"}, default="auto"
        "all" repeats the real samples of every class until all classes have as many as the largest, and puts synthetic ones
        beside them in every class, the largest too. "minority" fills up the classes that `sampling_strategy` names. "auto"
        takes "all" for images where `sampling_strategy` is "auto": a network that sees synthetic images in rare classes alone
        learns to take what gives them away for the label. See `augment_gen.pipelines.mixing.mixed_plan`.
    synthetic_share : "auto" or float from 0 to 1
        With "all" the share of synthetic samples in each class; "auto" is .5. With "minority" their share of what is filled up,
        the rest being repeats; "auto" is 1.
    transform, target_transform : callable, optional
        For synthetic samples and their labels. By default, each by itself, that of the dataset, so that synthetic and real
        items go through the same.
    image_size : int or (int, int), optional
        Side, or (height, width), that PIL images are resized to before a generator is fitted on them; synthetic ones have that
        size before `transform`. Needed where images differ in size, or exceed 256 pixels a side, before the dataset's
        transform; a resize in that transform brings real and synthetic items to one size.
    seed : int, default=0
        For a generator made here, and for the samples.

    Returns
    -------
    RebalancedDataset
        Items in the form of `dataset`: first all of its own, then repeats, then the synthetic ones. Its ``choice`` says what
        was chosen, and why.

    Raises
    ------
    InvalidDataError, InvalidTypeError
        Items that cannot be learned from.
    InvalidRequestError
        A fitted generator whose samples differ from the dataset's in form or size.
    UnknownLabelError
        A fitted generator that does not know a label.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from torch.utils.data import TensorDataset
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import rebalance_dataset
    >>> digits = load_digits(n_class=3)
    >>> images, labels = torch.tensor(digits.images / 16).float()[:, None][:-150], torch.tensor(digits.target)[:-150]
    >>> train = TensorDataset(images, labels)
    >>> balanced = rebalance_dataset(train, ConditionalVAE(max_steps=5, random_state=0, device="cpu"), mix="minority")
    >>> len(train), len(balanced), balanced.is_synthetic.sum().item()
    (387, 393, 6)
    >>> balanced[-1][0].shape, balanced[-1][1].dtype
    (torch.Size([1, 8, 8]), torch.int64)
    """
    if isinstance(dataset, DataLoader):
        raise InvalidTypeError("dataset is a DataLoader. Give the dataset that it reads, loader.dataset.")
    if transform is None or target_transform is None:
        own, own_target = transforms_of(dataset)
        transform = own if transform is None else transform
        target_transform = own_target if target_transform is None else target_transform
    is_fitted = hasattr(generator, "classes_")
    samples, labels = (None, read_labels(dataset)) if is_fitted else read_dataset(dataset, image_size)
    codec = type(generator.codec_) if is_fitted else infer_codec(samples)
    conditions, class_index = ConditionEncoder().fit(_one_each(labels))
    class_to_idx = attribute(dataset, "class_to_idx", {})
    strategy = _by_label(sampling_strategy, class_to_idx, conditions.classes_.tolist())
    choice = _choice(generator, samples, labels, strategy, mix, synthetic_share, seed)
    if choice is not None:
        generator, mix, synthetic_share = choice.generator, choice.mix, choice.synthetic_share
    generator = ConditionalVAE(random_state=seed) if generator is None else generator
    if mix == "auto":
        mix = "all" if codec.modality == "image" and isinstance(strategy, str) and strategy == "auto" else "minority"
    if synthetic_share == "auto":
        synthetic_share = SHARES.get(mix)
    repeats, to_add = _amounts(strategy, mix, synthetic_share, class_index, conditions, numpy_generator(seed))
    label_of, pool = {label: label for label in to_add}, None
    if any(to_add.values()):
        if not is_fitted:
            generator.fit(samples, labels)
        # a generator may have been fitted on the names of the classes, where the dataset's labels are their numbers
        known, names = set(generator.classes_.tolist()), {target: name for name, target in class_to_idx.items()}
        if not known.issuperset(to_add) and known.issuperset(names.get(label) for label in to_add):
            label_of = {names[label]: label for label in to_add}
        counts = {name: n for name, n in zip(label_of, to_add.values(), strict=True) if n}
        pool = SyntheticPool(generator, counts, seed=seed)
    labels, same_size = conditions.classes_[class_index].tolist(), image_size is None
    return RebalancedDataset(dataset, labels, repeats, pool, label_of, transform, target_transform, same_size, choice)


def _choice(generator, samples, labels, strategy, mix, share, seed):
    """The `MixChoice` that `generator` is or asks for; None where it is a generator."""
    asked = isinstance(generator, str)
    if asked and generator != "choose":
        raise InvalidRequestError(f'generator must be a generator, a MixChoice or "choose"; got {generator!r}.')
    if not asked and not isinstance(generator, MixChoice):
        return None
    if share != "auto" or (mix != "auto" and (asked or mix != generator.mix)):
        raise InvalidRequestError(
            f"mix={mix!r} and synthetic_share={share!r} are what choose_mix chooses. Leave both out, or give a generator."
        )
    if asked and strategy != "auto":
        raise InvalidRequestError(
            f'generator="choose" tries sets in which all classes have one size, but sampling_strategy={strategy!r} asks for '
            "others. Leave it out, or give a generator."
        )
    return choose_mix(samples, labels, random_state=seed) if asked else generator


def _one_each(labels):
    """`labels`; raises where an item has several, or one-hot ones."""
    if np.ndim(labels) != 1:
        raise InvalidDataError(
            f"The dataset's labels have the shape {tuple(np.shape(labels))}; each item needs one label, an integer or a "
            "string. Turn one-hot labels into integers, and let target_transform turn these into one-hot labels."
        )
    return labels


def _amounts(strategy, mix, share, class_index, conditions, rng):
    """Numbers of the real rows that are repeated, in ascending order, and {label: number of synthetic rows}."""
    check_mix(mix, share)
    labels = conditions.classes_.tolist()
    if mix == "all":
        if strategy != "auto":
            raise InvalidRequestError(
                f'sampling_strategy={strategy!r} says which classes to fill up, but mix="all" brings all of them to one size. '
                'Leave sampling_strategy out, or give mix="minority".'
            )
        rows, n_synthetic = mixed_plan(class_index, len(labels), mix, share, rng)
        repeats = np.repeat(np.arange(len(class_index)), np.bincount(rows, minlength=len(class_index)) - 1)
        return repeats, dict(zip(labels, n_synthetic.tolist(), strict=True))
    _, missing = rows_missing(strategy, class_index, conditions)
    to_add = {plain_label(label): round(n * share) for label, n in missing.items()}
    repeats = [np.empty(0, dtype=np.int64)]
    for label, n in missing.items():
        own = rng.permutation(np.flatnonzero(class_index == labels.index(plain_label(label))))
        repeats.append(np.resize(own, n - to_add[plain_label(label)]))
    return np.sort(np.concatenate(repeats)), to_add


def _by_label(sampling_strategy, class_to_idx, labels):
    """A strategy given by class names, by labels."""
    if not isinstance(sampling_strategy, Mapping):
        return sampling_strategy
    known, unknown = set(labels), [one for one in sampling_strategy if one not in labels and one not in class_to_idx]
    if unknown:
        names = f", or by name {', '.join(map(repr, list(class_to_idx)[:20]))}" if class_to_idx else ""
        raise UnknownLabelError(
            f"sampling_strategy asks for {unknown[0]!r}, which no item of the dataset has. Its labels: "
            f"{', '.join(map(repr, labels[:20]))}{names}."
        )
    return {one if one in known else class_to_idx[one]: n for one, n in sampling_strategy.items()}
