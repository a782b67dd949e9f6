"""Every figure that `evaluate` gives: what it means, how many rows it needs, and from where it counts as good.

A figure is judged by where it lies between its floor (0: as bad as a generator that knows nothing of this) and its ceiling
(1: as good as real rows): evenly, or, for distances that span orders of magnitude, on a logarithmic scale.
"""

import math
from dataclasses import dataclass


class Everything(str):
    """The text "(all)", told from a class of that name by identity, which pickling and copying keep."""

    __slots__ = ()

    def __reduce__(self):
        return "ALL"


ALL = Everything("(all)")  # stands in the column "class" where a figure is over all classes


@dataclass(frozen=True)
class Metric:
    """One kind of figure.

    Attributes
    ----------
    title : str
        In words, to be followed by the value.
    group : {"fidelity", "diversity", "usefulness", "copies"}
    better : {"lower", "higher"}
        Which way is good.
    min_rows : int
        Rows of the smaller side below which no figure is given, but "n too small".
    floor : str
        What the floor is.
    ceiling : str
        What the ceiling is.
    scale : {"linear", "log"}
        How the way from floor to ceiling is measured.
    good, fair : float or None
        Share of that way from which the figure counts as good or fair; None: not judged.
    why : str
        Why these thresholds.
    """

    title: str
    group: str
    better: str
    min_rows: int
    floor: str
    ceiling: str
    scale: str = "linear"
    good: float | None = None
    fair: float | None = None
    why: str = ""


_TRAIN = "training rows in the place of synthetic ones, as many"

METRICS = {
    # tables
    "column_shapes": Metric(
        "mean difference of a column's distribution (KS or total variation)",
        "fidelity",
        "lower",
        30,
        "values drawn evenly over each column's range or levels",
        _TRAIN,
        good=0.85,
        fair=0.6,
        why="The easiest thing to get right: independent columns get 1. Below .6 a marginal histogram is visibly wrong.",
    ),
    "associations": Metric(
        "mean difference of pairwise association",
        "fidelity",
        "lower",
        50,
        "training columns shuffled independently within each class",
        _TRAIN,
        good=0.6,
        fair=0.2,
        why="0 is what knowing no dependence costs. Associations are noisy, so that a little is lost even by good models.",
    ),
    "missing_rates": Metric(
        "largest difference of a column's share of missing cells",
        "fidelity",
        "lower",
        30,
        "no cell missing",
        _TRAIN,
    ),
    "c2st_auc": Metric(
        "a tree classifier tells synthetic rows from real ones with AUC",
        "fidelity",
        "lower",
        50,
        "training columns (or pixels) shuffled independently within each class",
        _TRAIN,
        good=0.6,
        fair=0.2,
        why="On Adult .6 of the way is AUC .67; published table generators lie at .58 to .99, CTGAN and TVAE behind the floor.",
    ),
    "tstr_balanced_accuracy": Metric(
        "a classifier trained on synthetic rows alone reaches a balanced accuracy on real ones of",
        "usefulness",
        "higher",
        30,
        "chance",
        "the same classifier trained on as many real rows",
        good=0.85,
        fair=0.5,
        why="Below half of the way the synthetic rows teach less than half of what real ones do; a few hundredths are noise.",
    ),
    "tstr_roc_auc": Metric(
        "ROC AUC (mean of one class against the rest) of that classifier",
        "usefulness",
        "higher",
        30,
        "chance",
        "the same classifier trained on as many real rows",
    ),
    "tstr_recall": Metric(
        "recall on real rows of a classifier trained on synthetic rows alone",
        "usefulness",
        "higher",
        20,
        "chance",
        "the same classifier trained on as many real rows",
    ),
    "class_consistency": Metric(
        "share of synthetic rows in which a classifier trained on real rows sees the label asked for",
        "usefulness",
        "higher",
        20,
        "real rows of any class, whatever the one asked for",
        "held-out real rows",
        good=0.85,
        fair=0.6,
        why="Below .6 of the way two rows in five that would be right if real carry a wrong label, which harms a classifier.",
    ),
    # images
    "frechet_distance": Metric(
        "Frechet distance of features",
        "fidelity",
        "lower",
        50,
        "training pixels shuffled independently within each class; of one class: images of the others",
        _TRAIN,
        "log",
        good=0.5,
        fair=0.2,
        why="Log scale: .5 is the geometric mean of ceiling and floor. It ranks generators unlike usefulness does: lenient.",
    ),
    "kernel_distance": Metric(
        "kernel distance of features (unbiased, so around 0 for real rows)",
        "fidelity",
        "lower",
        20,
        "as for the Frechet distance",
        _TRAIN,
    ),
    "precision": Metric(
        "share of synthetic images among the real ones in feature space",
        "fidelity",
        "higher",
        50,
        "as for the Frechet distance",
        _TRAIN,
        good=0.75,
        fair=0.5,
        why="Below half of the way most images lie where no real one is.",
    ),
    "density": Metric(
        "how densely real images lie around synthetic ones (1: as among real ones)",
        "fidelity",
        "higher",
        50,
        "as for the Frechet distance",
        _TRAIN,
    ),
    "recall": Metric(
        "share of real images among the synthetic ones in feature space",
        "diversity",
        "higher",
        50,
        "as for the Frechet distance",
        _TRAIN,
    ),
    "coverage": Metric(
        "share of real images that have a synthetic one among their neighbours",
        "diversity",
        "higher",
        50,
        "as for the Frechet distance",
        _TRAIN,
        good=0.75,
        fair=0.4,
        why="Coverage misses modes that were dropped; half the classes dropped is half the way.",
    ),
    "diversity": Metric(
        "mean feature distance between two synthetic images of a class, over that between two real ones",
        "diversity",
        "higher",
        20,
        "one image, repeated",
        _TRAIN,
        good=0.75,
        fair=0.5,
        why="Below .5 counts as collapsed in the generators' own check, too.",
    ),
    "inception_score": Metric(
        "Inception score by the classifier (1 to the number of classes)",
        "diversity",
        "higher",
        50,
        "one class only",
        "held-out real images",
    ),
    "cas_balanced_accuracy": Metric(
        "a CNN trained on synthetic images alone reaches a balanced accuracy on real ones (CAS) of",
        "usefulness",
        "higher",
        30,
        "chance",
        "the same CNN trained on as many real images",
        good=0.85,
        fair=0.5,
        why="The figure that best agrees with usefulness (Ravuri and Vinyals 2019), noisy by a few hundredths.",
    ),
    "cas_recall": Metric(
        "recall on real images of a CNN trained on synthetic images alone",
        "usefulness",
        "higher",
        20,
        "chance",
        "the same CNN trained on as many real images",
    ),
    # copies
    "exact_copies": Metric(
        "share of synthetic rows that equal a training row",
        "copies",
        "lower",
        1,
        "every row a training row",
        "held-out real rows that do",
    ),
    "near_copies": Metric(
        "share of synthetic rows nearer to a training row than the nearest 5 % of held-out rows",
        "copies",
        "lower",
        40,
        "every row a training row",
        "held-out real rows (5 %, or more where they repeat)",
    ),
    "nearer_to_train": Metric(
        "probability that a synthetic row lies nearer to a training row than a held-out row does",
        "copies",
        "lower",
        20,
        "every row a training row",
        "held-out real rows",
    ),
    "authenticity": Metric(
        "share of synthetic rows farther from the nearest training row than that one from its own nearest (Alaa et al. 2022)",
        "copies",
        "higher",
        20,
        "every row a training row",
        "held-out real rows",
    ),
    "membership_auc": Metric(
        "AUC with which a density-ratio attack tells training rows from held-out ones (.5: not at all)",
        "copies",
        "lower",
        25,
        "the attack on training rows passed off as synthetic",
        "chance",
    ),
}


@dataclass(frozen=True)
class Figure:
    """One figure with what it is to be read beside; NaN where there is none.

    Attributes
    ----------
    metric : str
        A key of ``METRICS``.
    label : object
        The class, or ``ALL``.
    value, floor, ceiling : float
    n : int
        Rows of the smaller side it was computed from.
    low, high : float
        95 % interval of the value.
    note : str
    """

    metric: str
    label: object
    value: float
    floor: float
    ceiling: float
    n: int
    low: float = math.nan
    high: float = math.nan
    note: str = ""

    @property
    def score(self):
        """Where the value lies from the floor (0) to the ceiling (1), clipped; NaN where these coincide or lack."""
        return position(self.metric, self.value, self.floor, self.ceiling)


def position(metric, value, floor, ceiling):
    """See `Figure.score`. A two-sample AUC below chance is chance."""
    if metric == "c2st_auc":
        value, ceiling = max(0.5, value), max(0.5, ceiling)
    if METRICS[metric].scale == "log":
        value, floor, ceiling = (math.log(max(number, 1e-12)) for number in (value, floor, ceiling))
    way = ceiling - floor
    right_way = way > 0 if METRICS[metric].better == "higher" else way < 0
    if not right_way or abs(way) < 1e-9:  # False, too, where one of them is NaN
        return math.nan
    return min(1.0, max(0.0, (value - floor) / way))


def too_small(metric, label, n):
    """The figure that is not given, because `n` rows are too few."""
    note = f"n too small: {n} rows, {METRICS[metric].min_rows} needed"
    return Figure(metric, label, math.nan, math.nan, math.nan, int(n), note=note)
