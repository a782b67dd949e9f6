"""Synthetic samples as torch datasets, alone and behind real ones.

Enters: a generator or a pool, and for `RebalancedDataset` a map-style dataset and what to put beside it. Leaves: map-style
datasets whose item i is always the same, however many workers read it.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from augment_gen.codecs.dataset import plain_label, sample_and_label, untransformed
from augment_gen.errors import InvalidRequestError
from augment_gen.pipelines.forms import SampleForm, labels_like
from augment_gen.pipelines.pool import SyntheticPool


class SyntheticDataset(Dataset):
    """Synthetic samples as a map-style dataset, in torchvision's manner.

    All samples are drawn when the dataset is made. Workers look them up, so that they need neither the generator nor a GPU.

    Parameters
    ----------
    source : fitted generator or SyntheticPool
    counts : dict {label: int}, optional
        How many samples of each label. With a pool: its first ones of each label, and all of them by default.
    transform, target_transform : callable, optional
        Applied to each sample and to each label, as in torchvision.
    seed : int, default=0
        For drawing from a generator.

    Attributes
    ----------
    classes : list of str
        Names of all labels that the generator knows, sorted as those are.
    class_to_idx : dict {str: int}
    targets : list
        The label of each item, before `target_transform`: integer labels as they are, other labels by their position in
        `classes`.
    pool : SyntheticPool

    Notes
    -----
    Samples have the form that the generator was fitted on: PIL images after a dataset of those, tensors after tensors, arrays
    after arrays, and a dict {column: value} for each row of a DataFrame.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticDataset
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> dataset = SyntheticDataset(gen, {3: 20, 8: 50})
    >>> len(dataset), dataset.classes, dataset[25][0].shape, dataset[25][1]
    (70, ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], (8, 8), 8)
    """

    def __init__(self, source, counts=None, transform=None, target_transform=None, seed=0):
        if not isinstance(source, SyntheticPool):
            if counts is None:
                raise InvalidRequestError("Give counts, a dict {label: number}: how many samples of each label to draw.")
            source = SyntheticPool(source, counts, seed=seed)
        counts = source.counts if counts is None else _counts_in(source, counts)
        self.pool, self.transform, self.target_transform = source, transform, target_transform
        self.classes, self.class_to_idx = _names(source.classes)
        self.targets = [self.class_to_idx[str(label)] for label, n in counts.items() for _ in range(n)]
        self._places = [(label, number) for label, n in counts.items() for number in range(n)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        index = range(len(self))[index]  # an IndexError past the end, and negative numbers from there
        return _transformed(self.pool.item(*self._places[index]), self.targets[index], self.transform, self.target_transform)

    def __getitems__(self, indices):
        return [self[index] for index in indices]


class RebalancedDataset(Dataset):
    """What `rebalance_dataset` returns: all real items in their order, repeats of some, and synthetic ones behind them.

    Attributes
    ----------
    dataset : Dataset
        The real one, as given.
    rows : int64 ndarray
        The item of `dataset` that each real item is.
    targets : list
        The label of each item, before any ``target_transform``.
    is_synthetic : bool ndarray (n,)
        Which items are synthetic.
    classes, class_to_idx
        The real dataset's, or made from its labels where it has none.
    pool : SyntheticPool or None
        None where nothing had to be added.
    choice : MixChoice or None
        What was chosen, where that was asked for.
    """

    def __init__(self, dataset, labels, repeats, pool, label_of, transform, target_transform, same_size, choice=None):
        self.dataset, self.pool, self.transform, self.target_transform = dataset, pool, transform, target_transform
        self.choice, self.rows = choice, np.concatenate([np.arange(len(labels)), repeats])
        counts = {} if pool is None else pool.counts
        added = [label_of[label] for label, n in counts.items() for _ in range(n)]
        self.targets = [*labels, *(labels[row] for row in repeats), *added]
        self.is_synthetic = np.arange(len(self.targets)) >= len(self.rows)
        classes, class_to_idx = _names(list(dict.fromkeys(labels)))
        self.classes = attribute(dataset, "classes", classes)
        self.class_to_idx = attribute(dataset, "class_to_idx", class_to_idx)
        sample, label = sample_and_label(untransformed(dataset), 0)
        self._form = None if pool is None else SampleForm(sample, pool, same_size)
        self._added = labels_like(added, label)
        untouched = transform is None and target_transform is None and not hasattr(dataset, "__getitems__")
        self._plain, self._rows = untouched and pool is not None and self._form.gives_views, self.rows.tolist()

    @property
    def generator(self):
        """The fitted generator; None where nothing was added, and in worker processes."""
        return None if self.pool is None else self.pool.generator

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices):
        n_real = len(self.rows)
        if self._plain:  # two look-ups an item, as in a TensorDataset: batches would cost more than they save
            dataset, rows, samples, labels = self.dataset, self._rows, self._form.all(), self._added
            return [
                dataset[rows[index]] if index < n_real else (samples[index - n_real], labels[index - n_real])
                for index in indices
            ]
        real = iter(self._real([index for index in indices if index < n_real]))
        synthetic = iter(self._synthetic([index - n_real for index in indices if index >= n_real]))
        return [next(real) if index < n_real else next(synthetic) for index in indices]

    def _real(self, indices):
        indices = [self._rows[index] for index in indices]
        if hasattr(self.dataset, "__getitems__") and indices:
            return self.dataset.__getitems__(indices)
        return map(self.dataset.__getitem__, indices)

    def _synthetic(self, numbers):
        if not numbers:
            return ()
        if isinstance(self._added, torch.Tensor):
            labels = self._added[numbers].unbind()
        else:
            labels = [self._added[number] for number in numbers]
        pairs = zip(self._form.items(numbers), labels, strict=True)
        return [_transformed(sample, label, self.transform, self.target_transform) for sample, label in pairs]


def _names(labels):
    """``(classes, class_to_idx)`` as torchvision has them: integer labels keep their number, others get their position."""
    labels = sorted(labels) if len({type(label) for label in labels}) == 1 else sorted(labels, key=str)
    whole = all(isinstance(label, int) for label in labels)
    return [str(label) for label in labels], {str(one): int(one) if whole else place for place, one in enumerate(labels)}


def attribute(dataset, name, default):
    """An attribute of the dataset, or of what it is a subset of."""
    while not hasattr(dataset, name) and isinstance(dataset, Subset):
        dataset = dataset.dataset
    return getattr(dataset, name, default)


def _counts_in(pool, counts):
    """`counts` by plain labels; raises where the pool holds fewer."""
    if not isinstance(counts, Mapping):
        raise InvalidRequestError(f"counts must be a dict {{label: number}}; got {counts!r}.")
    counts = {plain_label(label): n for label, n in counts.items()}
    for label, n in counts.items():
        held = len(pool.rows(label))
        if n > held:
            raise InvalidRequestError(
                f"counts asks for {n} samples of {label!r}, but the pool holds {held}. Draw a larger pool, or ask for fewer."
            )
    return counts


def _transformed(sample, target, transform, target_transform):
    sample = sample if transform is None else transform(sample)
    return sample, target if target_transform is None else target_transform(target)
