"""Oversamplers without a generator, for tables with columns of any kinds and for images.

Enters and leaves: X and y in the user's containers, the originals first and untouched, as with every augmenter.
"""

import numpy as np
import pandas as pd
import torch
from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC
from sklearn.base import BaseEstimator

from augment_gen.codecs import infer_codec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import ClassTooSmallError
from augment_gen.evaluation.table_rows import TableRows
from augment_gen.networks.augmentation import Augmentation
from augment_gen.sampling.plan import rows_missing
from augment_gen.sampling.resampled import take
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator

NEIGHBOURS = 5


class RandomCopies(BaseEstimator):
    """Random oversampling: rows of the smaller classes again, drawn evenly, until all classes are as large."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit_resample(self, X, y):
        """X and y, then the copies."""
        rows, _ = _rows_to_copy(y, numpy_generator(self.random_state))
        return take(X, rows), take(y, rows)


class ClassicCopies(BaseEstimator):
    """Random oversampling of images whose copies are turned, shifted and zoomed a little.

    Parameters
    ----------
    augmentation : Augmentation
    """

    def __init__(self, augmentation, random_state=None):
        self.augmentation = augmentation
        self.random_state = random_state

    def fit_resample(self, X, y):
        """X and y, then the changed copies."""
        rng = numpy_generator(self.random_state)
        rows, n = _rows_to_copy(y, rng)
        if len(rows) == n:
            return X, y
        copies = take(X, rows[n:])
        codec = infer_codec(X)().fit(X, None)
        images = codec.inputs(codec.encode(copies), None)["images"]
        changed = self.augmentation(images, torch_generator(draw_seed(rng)))
        return codec.concatenate(X, codec.decode({"images": changed}, None, rng)), take(y, rows)


class TableSMOTE(BaseEstimator):
    """SMOTE (Chawla et al. 2002) for columns of any kinds: SMOTENC where some are categories, SMOTEN where all are.

    For the search of neighbours, numbers are standardised and their missing cells filled with the median, and a missing
    category is a level of its own. New rows have X's columns and dtypes; columns of floats are interpolated, all other
    numbers and dates take the nearest value that occurs, and only categories can be missing. Five neighbours, fewer where a
    class has no more.
    """

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit_resample(self, X, y):
        """X and y, then the new rows."""
        rng = numpy_generator(self.random_state)
        _, class_index = ConditionEncoder().fit(y)
        reader = TableRows().fit(X)
        frame = reader.read(X, "X")
        values = reader.codes(frame)
        sampler = self._sampler(reader.categorical, class_index, draw_seed(rng) % 2**31)
        filled, centre, scale = _filled(values, reader.categorical)
        mixed, index = sampler.fit_resample((filled - centre) / scale, class_index)
        drawn, labels = mixed[len(values) :] * scale + centre, index[len(values) :]
        first = np.array([np.flatnonzero(class_index == k)[0] for k in range(class_index.max() + 1)])
        rows = np.concatenate([np.arange(len(values)), first[labels]]).astype(int)
        usable = [reader.categorical[j] | ~np.isnan(values[:, j]) for j in range(frame.shape[1])]
        columns = [_column(frame.iloc[:, j], filled[:, j], usable[j], drawn[:, j]) for j in range(frame.shape[1])]
        new = pd.concat(columns, axis=1) if len(drawn) else frame.iloc[:0]
        return _appended(X, new), take(y, rows)

    def _sampler(self, categorical, class_index, seed):
        counts = np.bincount(class_index)
        smallest = counts[counts < counts.max()].min(initial=counts.max())
        if smallest < 2:
            raise ClassTooSmallError("SMOTE needs at least two rows of each class; a class has one.")
        settings = {"k_neighbors": int(min(NEIGHBOURS, smallest - 1)), "random_state": seed}
        if categorical.all():
            return SMOTEN(**settings)
        return SMOTENC(np.flatnonzero(categorical).tolist(), **settings) if categorical.any() else SMOTE(**settings)


def _rows_to_copy(y, rng):
    """Positions of all rows and then of the rows to copy, and the number of all rows."""
    conditions, class_index = ConditionEncoder().fit(y)
    wanted, _ = rows_missing("auto", class_index, conditions)
    copies = [rng.choice(np.flatnonzero(class_index == k), (wanted == k).sum()) for k in np.unique(wanted)]
    return np.concatenate([np.arange(len(class_index)), *copies]).astype(int), len(class_index)


def _filled(values, categorical):
    """Codes without gaps, and what to subtract and divide by to standardise them (categories stay as they are)."""
    filled, centre, scale = values.copy(), np.zeros(values.shape[1]), np.ones(values.shape[1])
    for j, is_category in enumerate(categorical):
        cells, missing = filled[:, j], np.isnan(filled[:, j])
        if is_category:
            cells[missing] = 0 if missing.all() else np.nanmax(cells) + 1
            continue
        cells[missing] = 0 if missing.all() else np.nanmedian(cells)
        centre[j], spread = cells.mean(), cells.std()
        scale[j] = spread if spread > 0 else 1.0
    return filled, centre, scale


def _column(given, values, usable, drawn):
    """New cells of a column: `drawn` where it holds floats, else the usable given cell whose value is nearest."""
    if given.dtype.kind == "f" and usable.any():
        return pd.Series(drawn, name=given.name).astype(given.dtype)
    usable = np.flatnonzero(usable) if usable.any() else np.arange(len(values))
    order = usable[np.argsort(values[usable], kind="stable")]
    ranked = values[order]
    right = np.searchsorted(ranked, drawn).clip(0, len(ranked) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(drawn - ranked[left] <= ranked[right] - drawn, left, right)
    return given.iloc[order[nearest]].reset_index(drop=True)


def _appended(X, new):
    if isinstance(X, pd.DataFrame):
        return pd.concat([X, new], ignore_index=True)
    if isinstance(X, torch.Tensor):
        return torch.cat([X, torch.as_tensor(new.to_numpy()).to(X.dtype)])
    X = np.asarray(X)
    return np.concatenate([X, new.to_numpy(dtype=X.dtype)])


def classic_augmentation(height, width):
    """Small turns, shifts and zooms; smaller for small images, in which they mostly blur."""
    gentle = min(1.0, (height * width) ** 0.5 / 28)
    return Augmentation(degrees=10 * gentle, translate=0.08 * gentle, scale=0.08 * gentle)
