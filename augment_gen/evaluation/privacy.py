"""Whether synthetic rows are copies of training rows, and whether they tell who was in the training set.

Enters: vectors of training, held-out and synthetic rows in which Euclidean distance means something. Leaves: `Figure`
objects and a gallery of the nearest pairs. None of this proves privacy: sets that pass every distance test have been shown
to give their members away (Yao et al. 2025, "The DCR delusion", arXiv:2505.01524). Only failing says something for sure.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from augment_gen.evaluation.metrics import ALL, METRICS, Figure, too_small
from augment_gen.evaluation.statistics import (
    area_under_curve,
    auc_interval,
    bootstrap_auc,
    nearest,
    share_interval,
)

NEAR = 0.05  # share of held-out rows below whose distance a synthetic row counts as near
MAX_TRAINING_ROWS = 50_000  # that distances are computed to; exact copies are looked for among all
MAX_VALUES = 2**28  # numbers in the vectors of these
MAX_ATTACKED = 2000  # rows that are, and that are not, in the training set, on which the attack is run
GALLERY_ROWS = 24
GALLERY_NEIGHBOURS = 3


@dataclass(frozen=True)
class Copies:
    """What `copy_figures` found: ``figures``, a list of Figure, and ``gallery``, a DataFrame."""

    figures: list
    gallery: pd.DataFrame


@dataclass(frozen=True)
class _Distances:
    """Distances of rows to their nearest training row, and of that one to its own nearest; the rows' classes."""

    near: np.ndarray
    own: np.ndarray
    class_index: np.ndarray

    def of_class(self, k):
        mine = self.class_index == k
        return _Distances(self.near[mine], self.own[mine], self.class_index[mine])

    def __len__(self):
        return len(self.near)


def copy_figures(parts, vectors, rng, step):
    """Figures on copies.

    Parameters
    ----------
    parts : Parts
    vectors : callable (name, int array (n,)) -> float32 array (n, p)
        Vectors of the rows at these positions of the part "train", "test" or "synthetic".
    rng : numpy.random.Generator
    step : callable (str)

    Returns
    -------
    Copies
    """
    step("distances to training rows")
    drawn, held_out = (vectors(name, np.arange(len(getattr(parts, name)))) for name in ("synthetic", "test"))
    n_kept = min(MAX_TRAINING_ROWS, MAX_VALUES // max(1, drawn.shape[1]))
    kept = np.sort(rng.permutation(len(parts.train_class))[:n_kept])
    reference = vectors("train", kept)
    k = min(GALLERY_NEIGHBOURS, len(kept))
    distances, found = nearest(drawn, reference, k)
    held_out_distances, found_held_out = nearest(held_out, reference)
    own = _own_distances(reference, np.concatenate([found[:, 0], found_held_out[:, 0]]))
    synthetic = _Distances(distances[:, 0], own[found[:, 0]], parts.synthetic_class)
    test = _Distances(held_out_distances[:, 0], own[found_held_out[:, 0]], parts.test_class)
    figures = _exact(parts)
    figures += _near_copies(parts, synthetic, test)
    figures += _for_each(parts, "nearer_to_train", synthetic, test, _nearer)
    figures += _for_each(parts, "authenticity", synthetic, test, _authentic)
    step("membership attack")
    figures += _membership(parts, lambda rows: vectors("train", rows), held_out, drawn, rng)
    return Copies(figures, _gallery(parts, distances, kept[found], held_out_distances[:, 0]))


def _own_distances(reference, wanted):
    """float array (n_reference,): distance of the `wanted` training rows to the nearest other one; NaN for the rest."""
    out = np.full(len(reference), np.nan)
    rows = np.unique(wanted)
    if len(reference) > 1:
        distances, found = nearest(reference[rows], reference, 2)
        out[rows] = np.where(found[:, 0] == rows, distances[:, 1], distances[:, 0])  # of equal rows either may come first
    return out


# ------------------------------------------------------------------ figures
def _exact(parts):
    copied, natural = (np.isin(keys, parts.train_keys) for keys in (parts.synthetic_keys, parts.test_keys))
    figures = []
    for label, mine, theirs in [(ALL, slice(None), slice(None)), *_by_class(parts)]:
        a, b = copied[mine], natural[theirs]
        if not len(a):
            figures.append(too_small("exact_copies", label, 0))
            continue
        ceiling = float(b.mean()) if len(b) else np.nan
        figures.append(Figure("exact_copies", label, float(a.mean()), 1.0, ceiling, len(a), *share_interval(a.mean(), len(a))))
    return figures


def _by_class(parts):
    return [(label, parts.synthetic_class == k, parts.test_class == k) for k, label in enumerate(parts.labels)]


def _near_copies(parts, synthetic, test):
    """Each row is compared with held-out rows of its own class; rows of classes too small for a 5 % quantile are left out."""
    name, figures, flags = "near_copies", [], []
    for k, label in enumerate(parts.labels):
        mine, theirs = synthetic.of_class(k), test.of_class(k)
        n = min(len(mine), len(theirs))
        if n < METRICS[name].min_rows:
            figures.append(too_small(name, label, n))
            continue
        threshold = np.quantile(theirs.near, NEAR)
        flags.append((mine.near <= threshold, theirs.near <= threshold))
        figures.append(_near_figure(name, label, [flags[-1]]))
    if flags:
        return [_near_figure(name, ALL, flags), *figures]
    n = min(len(synthetic), len(test))
    if n < METRICS[name].min_rows:
        return [too_small(name, ALL, n), *figures]
    threshold = np.quantile(test.near, NEAR)
    return [_near_figure(name, ALL, [(synthetic.near <= threshold, test.near <= threshold)]), *figures]


def _near_figure(name, label, flags):
    drawn, held_out = (np.concatenate(sides) for sides in zip(*flags, strict=True))
    weights = [len(mine) for mine, _ in flags]
    ceiling = float(np.average([theirs.mean() for _, theirs in flags], weights=weights))
    n = 1 / (1 / len(drawn) + 1 / len(held_out))  # the threshold, too, is estimated
    smaller = min(len(drawn), len(held_out))
    return Figure(name, label, float(drawn.mean()), 1.0, ceiling, smaller, *share_interval(drawn.mean(), n))


def _for_each(parts, name, synthetic, test, compute):
    """The figure per class, and over all classes as their mean weighted by synthetic rows."""
    figures, n_least = [], METRICS[name].min_rows
    for k, label in enumerate(parts.labels):
        mine, theirs = synthetic.of_class(k), test.of_class(k)
        n = min(len(mine), len(theirs))
        figures.append(too_small(name, label, n) if n < n_least else compute(name, label, mine, theirs))
    given = [(figure, (synthetic.class_index == k).sum()) for k, figure in enumerate(figures) if not np.isnan(figure.value)]
    if not given:
        return [too_small(name, ALL, min(len(synthetic), len(test))), *figures]
    mean = lambda field: float(np.average([getattr(figure, field) for figure, _ in given], weights=[n for _, n in given]))
    value, n_held_out = mean("value"), sum(figure.n for figure, _ in given)
    interval = (
        auc_interval(value, sum(n for _, n in given), n_held_out)
        if name == "nearer_to_train"
        else share_interval(value, 1 / (1 / sum(n for _, n in given) + 1 / n_held_out))
    )
    return [Figure(name, ALL, value, mean("floor"), mean("ceiling"), n_held_out, *interval), *figures]


def _nearer(name, label, mine, theirs):
    value = area_under_curve(-mine.near, -theirs.near)
    floor = area_under_curve(np.zeros(1), -theirs.near)
    n = min(len(mine), len(theirs))
    return Figure(name, label, value, floor, 0.5, n, *auc_interval(value, len(mine), len(theirs)))


def _authentic(name, label, mine, theirs):
    share = lambda one: float((one.near > one.own).mean())
    n = min(len(mine), len(theirs))
    return Figure(name, label, share(mine), 0.0, share(theirs), n, *share_interval(share(mine), n))


# ------------------------------------------------------------------ attack
def _membership(parts, train, test, synthetic, rng):
    """DOMIAS (van Breugel et al. 2023, equation 2) with nearest-neighbour densities.

    The attacker has the synthetic rows and real rows from elsewhere: half of the held-out ones. A row is called a member
    where synthetic rows are denser than those: by log(distance to the nearest of those) - log(distance to the nearest
    synthetic row). The other half of the held-out rows are the non-members; members are as many training rows of each class.

    DEVIATION: nearest-neighbour distances instead of kernel or flow densities, which mixed columns and few rows do not allow.
    """
    order = rng.permutation(len(parts.test_class))
    outsiders, elsewhere = order[: len(order) // 2][:MAX_ATTACKED], order[len(order) // 2 :]
    outsiders = np.sort(outsiders)
    wanted = np.bincount(parts.test_class[outsiders], minlength=parts.n_classes)
    pools = [rng.permutation(np.flatnonzero(parts.train_class == k))[:n] for k, n in enumerate(wanted)]
    members = np.concatenate(pools)
    n_least, n = METRICS["membership_auc"].min_rows, min(len(members), len(outsiders))
    if n < n_least:
        return [too_small("membership_auc", label, n) for label in (ALL, *parts.labels)]
    known, attacked = test[elsewhere], train(members)
    exposed = np.concatenate([attacked, train(parts.twin)])[: len(parts.twin)]  # copies, as many as synthetic rows
    attacks = []
    for released in (synthetic, exposed):
        score = lambda rows, released=released: np.log(_distance(rows, known)) - np.log(_distance(rows, released))
        attacks.append((score(attacked), score(test[outsiders])))
    figures = []
    classes = [
        (label, parts.train_class[members] == k, parts.test_class[outsiders] == k) for k, label in enumerate(parts.labels)
    ]
    for label, inside, outside in [(ALL, slice(None), slice(None)), *classes]:
        (a, b), (worst, best) = ((scores[0][inside], scores[1][outside]) for scores in attacks)
        n = min(len(a), len(b))
        if n < n_least:
            figures.append(too_small("membership_auc", label, n))
            continue
        value, floor = area_under_curve(a, b), area_under_curve(worst, best)
        figures.append(Figure("membership_auc", label, value, floor, 0.5, n, *bootstrap_auc(a, b, rng)))
    return figures


def _distance(rows, reference):
    return nearest(rows, reference)[0][:, 0] + 1e-6


# ------------------------------------------------------------------ gallery
def _gallery(parts, distances, found, held_out):
    """The synthetic rows that lie nearest to training rows, a few of each class, with their neighbours.

    Columns: "synthetic" and "train" are positions in the drawn rows and in X_train; "rank" 1 is the nearest training row;
    "held_out" is the median distance of held-out rows of the class to their nearest training row.
    """
    rows, each = [], max(1, GALLERY_ROWS // parts.n_classes)
    for k, label in enumerate(parts.labels):
        mine = np.flatnonzero(parts.synthetic_class == k)
        theirs = held_out[parts.test_class == k]
        for i in mine[np.argsort(distances[mine, 0], kind="stable")][:each]:
            for rank, (distance, j) in enumerate(zip(distances[i], found[i], strict=True), start=1):
                rows.append(
                    {
                        "synthetic": int(i),
                        "class": label,
                        "rank": rank,
                        "train": int(j),
                        "train_class": parts.labels[parts.train_class[j]],
                        "distance": float(distance),
                        "held_out": float(np.median(theirs)) if len(theirs) else np.nan,
                    }
                )
    columns = ["synthetic", "class", "rank", "train", "train_class", "distance", "held_out"]
    return pd.DataFrame(rows, columns=columns)
