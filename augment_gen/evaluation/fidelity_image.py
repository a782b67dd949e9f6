"""How like real images synthetic ones are, and what can be learned from them.

Enters: `Parts` with image tensors. Leaves: `Figure` objects, and features and pixel vectors, from which maps are made and
copies found. Held-out images are compared with as many synthetic ones, class by class; ceiling and floor put training images,
and worthless ones, in their place.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from augment_gen.devices import resolve_device
from augment_gen.errors import InvalidParameterError
from augment_gen.evaluation.features import PIECE, class_probabilities, make_extractors, train_classifier
from augment_gen.evaluation.inputs import class_rows, matched
from augment_gen.evaluation.metrics import ALL, METRICS, Figure, too_small
from augment_gen.evaluation.statistics import (
    auc_interval,
    frechet_distance,
    inception_score,
    kernel_distance,
    manifold_figures,
    share_interval,
)
from augment_gen.evaluation.trees import two_sample_auc
from augment_gen.evaluation.usefulness import learned_figures
from augment_gen.sampling.diversity import class_diversity

MATCHED_ROWS = 3000  # images of each part that are compared
TREE_ROWS = 1500  # of each part that trees tell apart
TREE_FEATURES = 32  # principal components of the features that these see
VECTOR_SIDE = 16  # images are averaged down to at most this side where copies are looked for
SHARES = ("precision", "recall", "coverage")  # of images, so that they have an interval


@dataclass(frozen=True)
class ImageFidelity:
    """What `image_fidelity` found.

    Attributes
    ----------
    figures : list of Figure
    features : dict of float32 arrays
        "test" and "synthetic", by the first extractor.
    name : str
        Of the features.
    columns, pairs : DataFrame
        Empty: images have no columns.
    """

    figures: list
    features: dict
    name: str
    columns: pd.DataFrame
    pairs: pd.DataFrame


def image_fidelity(parts, features, device, rng, step):
    """Figures for images; parameters as for `table_fidelity`, and `features` and `device` as for `evaluate`."""
    device = resolve_device(device)
    extractors = make_extractors(features, parts.train, parts.train_class, device, rng, step)
    views, mapped = [], None
    for extractor in extractors:
        step("comparing features")
        figures, seen = _compare(parts, extractor, rng)
        views.append(figures)
        mapped = mapped or seen
    figures = _averaged(views)
    step("classifier on real images")
    real = train_classifier(parts.train[parts.twin], parts.train_class[parts.twin], device, rng)
    step("classifier on synthetic images")
    synthetic = train_classifier(parts.synthetic, parts.synthetic_class, device, rng)
    by_synthetic, by_real = (class_probabilities(one, parts.test, parts.n_classes) for one in (synthetic, real))
    of_synthetic = class_probabilities(real, parts.synthetic, parts.n_classes)
    figures += learned_figures(parts, "cas", by_synthetic, by_real, of_synthetic)
    figures.append(_inception(parts, of_synthetic, by_real, rng))
    return ImageFidelity(figures, mapped, extractors[0].name, columns=pd.DataFrame(), pairs=pd.DataFrame())


def pixel_vectors(images):
    """float32 (n, p): every channel averaged down to at most 16 x 16, from 0 to 1."""
    side = tuple(min(VECTOR_SIDE, length) for length in images.shape[2:])
    scale = 255 if images.dtype == torch.uint8 else 1
    return torch.cat([F.adaptive_avg_pool2d(part.float() / scale, side).flatten(1) for part in images.split(PIECE)]).numpy()


def _shuffled(images, counts, rng):
    """The images with every pixel exchanged at random among those of a class: right pixels, no shapes."""
    flat = images.reshape(len(images), -1).numpy().copy()
    for k in range(len(counts)):
        rows = class_rows(counts, k)
        flat[rows] = rng.permuted(flat[rows], axis=0)
    return torch.from_numpy(flat).reshape(images.shape)


def _compare(parts, extractor, rng):
    """``({(metric, label): Figure}, features of the matched held-out and all synthetic images)`` by one extractor."""
    test, train, synthetic, counts = matched(parts, MATCHED_ROWS, rng, extractor.unseen)
    seen = {"test": extractor.extract(parts.test), "synthetic": extractor.extract(parts.synthetic)}
    train_features = extractor.extract(parts.train[train])
    shuffled = extractor.extract(_shuffled(parts.train[train], counts, rng))
    if len({array.shape[1] for array in (*seen.values(), train_features, shuffled)}) > 1:
        raise InvalidParameterError("features must give every image as many features.")
    real, drawn = seen["test"][test], seen["synthetic"][synthetic]
    figures = _two_sets(real, (drawn, shuffled, train_features), ALL, rng)
    for k, label in enumerate(parts.labels):
        rows = class_rows(counts, k)
        others = np.delete(train_features, np.arange(len(train_features))[rows], axis=0)
        others = others[rng.permutation(len(others))[: counts[k]]]
        figures += _two_sets(real[rows], (drawn[rows], others, train_features[rows]), label, rng)
    index = np.repeat(np.arange(parts.n_classes), counts)
    figures += _diversity(parts, real, drawn, train_features, index, counts)
    return {(figure.metric, figure.label): figure for figure in figures}, seen


def _two_sets(real, sides, label, rng):
    """Figures on held-out features beside, in this order, synthetic, worthless and training ones."""
    n, n_features = len(real), real.shape[1]
    least = min(n, *(len(side) for side in sides))
    figures = []
    if n >= METRICS["frechet_distance"].min_rows and n <= n_features:
        note = f"n too small: {n} rows, more than the {n_features} features needed"
        figures.append(Figure("frechet_distance", label, np.nan, np.nan, np.nan, n, note=note))
    else:
        figures.append(_figure("frechet_distance", label, least, [frechet_distance], real, sides))
    kernel = lambda a, b: kernel_distance(a, b, rng)
    figures.append(_figure("kernel_distance", label, least, [kernel], real, sides))
    if least < METRICS["precision"].min_rows:
        figures += [too_small(name, label, least) for name in ("precision", "density", "recall", "coverage")]
    else:
        found = [manifold_figures(real, side) for side in sides]
        for name in ("precision", "density", "recall", "coverage"):
            numbers = [one[name] for one in found]
            interval = share_interval(numbers[0], least) if name in SHARES else ()
            figures.append(Figure(name, label, *numbers, least, *interval))
    figures.append(_told_apart(real, sides, label, least, rng))
    return figures


def _figure(name, label, n, compute, real, sides):
    if n < METRICS[name].min_rows:
        return too_small(name, label, n)
    return Figure(name, label, *(compute[0](real, side) for side in sides), n)


def _told_apart(real, sides, label, n, rng):
    if n < METRICS["c2st_auc"].min_rows:
        return too_small("c2st_auc", label, n)
    areas = []
    for n_fits, side in zip((3, 1, 3), sides, strict=True):
        a, b = (rows[rng.permutation(len(rows))[:TREE_ROWS]] for rows in (real, side))
        a, b = _shortened(a, b)
        areas.append(two_sample_auc(a, b, np.zeros(a.shape[1], dtype=bool), rng, n_fits))
    n = min(n, TREE_ROWS)
    return Figure("c2st_auc", label, *areas, n, *auc_interval(areas[0], n, n))


def _shortened(a, b):
    """Both on their first principal components in common, where there are more features than trees look through quickly."""
    if a.shape[1] <= TREE_FEATURES:
        return a, b
    both = np.concatenate([a, b]).astype(np.float64)
    both -= both.mean(axis=0)
    axes = np.linalg.eigh(both.T @ both)[1][:, -TREE_FEATURES:]
    return both[: len(a)] @ axes, both[len(a) :] @ axes


def _diversity(parts, real, drawn, train, index, counts):
    K, name = parts.n_classes, "diversity"
    mine, theirs = (class_diversity(real, index, side, index, K) for side in (drawn, train))
    enough = counts >= METRICS[name].min_rows
    figures = []
    if enough.any():
        n = int(counts[enough].sum())
        figures.append(Figure(name, ALL, float(np.nanmean(mine[enough])), 0.0, float(np.nanmean(theirs[enough])), n))
    else:
        figures.append(too_small(name, ALL, counts.max()))
    for k, label in enumerate(parts.labels):
        n = int(counts[k])
        figures.append(
            Figure(name, label, float(mine[k]), 0.0, float(theirs[k]), n) if enough[k] else too_small(name, label, n)
        )
    return figures


def _inception(parts, of_synthetic, of_test, rng):
    test, _, synthetic, counts = matched(parts, MATCHED_ROWS, rng)
    n, name = int(counts.sum()), "inception_score"
    if n < METRICS[name].min_rows:
        return too_small(name, ALL, n)
    return Figure(name, ALL, inception_score(of_synthetic[synthetic]), 1.0, inception_score(of_test[test]), n)


def _averaged(views):
    """The figures of several extractors as their means; one that a single extractor could not give is not given."""
    if len(views) == 1:
        return list(views[0].values())
    figures = []
    for key, first in views[0].items():
        all_of_them = [view[key] for view in views]
        lacking = next((figure for figure in all_of_them if np.isnan(figure.value)), None)
        if lacking is not None:
            figures.append(lacking)
            continue
        mean = lambda field, given=all_of_them: float(np.mean([getattr(figure, field) for figure in given]))
        numbers = (mean(field) for field in ("value", "floor", "ceiling"))
        n = min(figure.n for figure in all_of_them)
        figures.append(Figure(first.metric, first.label, *numbers, n, mean("low"), mean("high"), first.note))
    return figures
