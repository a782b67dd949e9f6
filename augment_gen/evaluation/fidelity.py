"""How like real rows the rows of a synthetic table are, and what can be learned from them.

Enters: `Parts` with DataFrames. Leaves: `Figure` objects, and tables per column and per pair of columns. Every comparison is
of held-out real rows with as many synthetic ones, class by class; the ceiling puts training rows, and the floor worthless
rows, in the place of the synthetic ones.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from augment_gen.evaluation.associations import association_matrix
from augment_gen.evaluation.inputs import class_rows, matched
from augment_gen.evaluation.metrics import ALL, METRICS, Figure, too_small
from augment_gen.evaluation.statistics import auc_interval, ks_distance, total_variation
from augment_gen.evaluation.trees import class_trees, two_sample_auc
from augment_gen.evaluation.usefulness import learned_figures

MATCHED_ROWS = 5000  # of each part that are compared
CLASS_ROWS = 1500  # of each part and class that the trees tell apart
MAX_COLUMNS = 50  # whose pairs are looked at; more are thinned at random


@dataclass(frozen=True)
class TableFidelity:
    """What `table_fidelity` found.

    Attributes
    ----------
    figures : list of Figure
    columns : DataFrame
        One row per column: its kind, its distance to held-out rows beside floor and ceiling, its shares of missing cells.
    pairs : DataFrame
        One row per pair of columns: their association among held-out, synthetic and training rows.
    """

    figures: list
    columns: pd.DataFrame
    pairs: pd.DataFrame


@dataclass(frozen=True)
class _Quartet:
    """Codes of as many held-out, training and synthetic rows, and of worthless ones, class by class."""

    test: np.ndarray
    train: np.ndarray
    synthetic: np.ndarray
    shuffled: np.ndarray
    spread: np.ndarray
    counts: np.ndarray

    def of_class(self, k):
        rows = class_rows(self.counts, k)
        names = ("test", "train", "synthetic", "shuffled", "spread")
        return _Quartet(*(getattr(self, name)[rows] for name in names), counts=self.counts[k : k + 1])

    def shortened(self, limit):
        return (
            self
            if len(self.test) <= limit
            else _Quartet(
                self.test[:limit],
                self.train[:limit],
                self.synthetic[:limit],
                self.shuffled[:limit],
                self.spread[:limit],
                self.counts,
            )
        )

    @property
    def sides(self):
        """What is put beside the held-out rows, in the order value, floor, ceiling."""
        return self.synthetic, self.shuffled, self.train


def table_fidelity(parts, rng, step):
    """Figures for a table.

    Parameters
    ----------
    parts : Parts
    rng : numpy.random.Generator
    step : callable (str)
        Called before each piece of work, with its name.

    Returns
    -------
    TableFidelity
    """
    reader = parts.reader
    codes = {name: reader.codes(getattr(parts, name)) for name in ("train", "test", "synthetic")}
    test, train, synthetic, counts = matched(parts, MATCHED_ROWS, rng)
    quartet = _Quartet(
        test=codes["test"][test],
        train=codes["train"][train],
        synthetic=codes["synthetic"][synthetic],
        shuffled=_shuffled(codes["train"][train], counts, rng),
        spread=_spread(codes["train"], reader.n_levels, len(train), rng),
        counts=counts,
    )
    step("column shapes")
    columns = _columns(quartet, reader)
    chosen = np.sort(rng.permutation(len(reader.names))[:MAX_COLUMNS])
    figures = [_shapes(quartet, reader, ALL), *_missing(columns, len(test))]
    step("associations")
    matrices, association = _associations(quartet, reader, chosen, ALL)
    figures.append(association)
    step("two-sample test")
    figures.append(_two_sample(_with_class(quartet), np.append(reader.categorical, len(counts) <= 60), rng, ALL))
    for k, label in enumerate(parts.labels):
        step(f"class {label!r}")
        one = quartet.of_class(k)
        figures.append(_shapes(one, reader, label))
        figures.append(_associations(one, reader, chosen, label)[1])
        figures.append(_two_sample(one.shortened(CLASS_ROWS), reader.categorical, rng, label))
    figures += _usefulness(parts, codes, rng, step)
    return TableFidelity(figures, columns, _pairs(matrices, [reader.names[i] for i in chosen]))


# ------------------------------------------------------------------ worthless rows
def _shuffled(codes, counts, rng):
    """The rows with every column permuted by itself within each class: right columns, no dependence but on the class."""
    out = codes.copy()
    for k in range(len(counts)):
        rows = class_rows(counts, k)
        out[rows] = rng.permuted(out[rows], axis=0)
    return out


def _spread(codes, n_levels, n_rows, rng):
    """Rows whose every column is drawn evenly over its range or levels among the training rows."""
    columns = []
    for values, levels in zip(codes.T, n_levels, strict=True):
        seen = values[np.isfinite(values)]
        if not len(seen):
            columns.append(np.full(n_rows, np.nan))
        elif levels:
            columns.append(rng.choice(np.unique(seen), n_rows))
        else:
            columns.append(rng.uniform(seen.min(), seen.max(), n_rows))
    return np.stack(columns, axis=1) if columns else np.zeros((n_rows, 0))


# ------------------------------------------------------------------ columns and pairs
def _distances(first, second, categorical):
    """float array (p,): per column the distance of the present cells; NaN where neither side has any, 1 where one has none."""
    out = np.full(first.shape[1], np.nan)
    for i, is_category in enumerate(categorical):
        a, b = (values[~np.isnan(values)] for values in (first[:, i], second[:, i]))
        if len(a) and len(b):
            out[i] = total_variation(a, b) if is_category else ks_distance(a, b)
        elif len(a) or len(b):
            out[i] = 1.0
    return out


def _columns(quartet, reader):
    shares = lambda codes: np.isnan(codes).mean(axis=0)
    beside = (quartet.synthetic, quartet.spread, quartet.train)
    value, floor, ceiling = (_distances(quartet.test, side, reader.categorical) for side in beside)
    return pd.DataFrame(
        {
            "column": pd.Series(reader.names, dtype=object),
            "kind": reader.kinds,
            "distance": np.where(reader.categorical, "total variation", "Kolmogorov-Smirnov"),
            "value": value,
            "floor": floor,
            "ceiling": ceiling,
            "missing_real": shares(quartet.test),
            "missing_synthetic": shares(quartet.synthetic),
            "missing_train": shares(quartet.train),
        }
    )


def _shapes(quartet, reader, label):
    n = len(quartet.test)
    if n < METRICS["column_shapes"].min_rows:
        return too_small("column_shapes", label, n)
    beside = (quartet.synthetic, quartet.spread, quartet.train)
    means = [_mean(_distances(quartet.test, side, reader.categorical)) for side in beside]
    return Figure("column_shapes", label, *means, n)


def _missing(columns, n):
    """The figure on missing cells; none where no cell is missing anywhere."""
    real = columns["missing_real"]
    if not columns[["missing_real", "missing_synthetic", "missing_train"]].to_numpy().any():
        return []
    if n < METRICS["missing_rates"].min_rows:
        return [too_small("missing_rates", ALL, n)]
    gap = lambda name: float((columns[name] - real).abs().max())
    worst = columns.loc[(columns["missing_synthetic"] - real).abs().idxmax(), "column"]
    return [
        Figure("missing_rates", ALL, gap("missing_synthetic"), float(real.max()), gap("missing_train"), n, note=f"at {worst!r}")
    ]


def _associations(quartet, reader, chosen, label):
    """``({"real", "synthetic", "train"}: matrices, the figure)``; associations that one side lacks count as 0 there."""
    n, categorical = len(quartet.test), reader.categorical[chosen]
    if n < METRICS["associations"].min_rows:
        return {}, too_small("associations", label, n)
    if len(chosen) < 2:
        return {}, Figure("associations", label, np.nan, np.nan, np.nan, n, note="there is one column only")
    real = association_matrix(quartet.test[:, chosen], categorical)
    sides = [association_matrix(side[:, chosen], categorical) for side in quartet.sides]
    lower = np.tril_indices(len(chosen), -1)
    gaps = [_mean(np.abs(np.where(np.isnan(side), 0, side) - real)[lower]) for side in sides]
    return {"real": real, "synthetic": sides[0], "train": sides[2]}, Figure("associations", label, *gaps, n)


def _pairs(matrices, names):
    if not matrices:
        return pd.DataFrame(columns=["column", "other", "real", "synthetic", "train"])
    i, j = np.tril_indices(len(names), -1)
    named = pd.Series(names, dtype=object)
    pairs = {"column": named[i].to_numpy(), "other": named[j].to_numpy()}
    return pd.DataFrame({**pairs, **{name: matrix[i, j] for name, matrix in matrices.items()}})


# ------------------------------------------------------------------ trees
def _with_class(quartet):
    """The quartet with the class as one more column, so that labels which do not fit the row tell it from real ones."""
    index = np.repeat(np.arange(len(quartet.counts)), quartet.counts)[:, None].astype(float)
    names = ("test", "train", "synthetic", "shuffled", "spread")
    return _Quartet(*(np.hstack([getattr(quartet, name), index]) for name in names), counts=quartet.counts)


def _two_sample(quartet, categorical, rng, label):
    n = len(quartet.test)
    if n < METRICS["c2st_auc"].min_rows:
        return too_small("c2st_auc", label, n)
    told = lambda side, **options: two_sample_auc(quartet.test, side, categorical, rng, **options)
    value, floor, ceiling = told(quartet.synthetic), told(quartet.shuffled, n_fits=1), told(quartet.train)
    return Figure("c2st_auc", label, value, floor, ceiling, n, *auc_interval(value, n, n))


def _usefulness(parts, codes, rng, step):
    """What a classifier learns from synthetic rows alone, and whether one that learned from real rows sees the labels."""
    step("classifier on real rows")
    fit = lambda rows, index: class_trees(rows, index, parts.n_classes, parts.reader.categorical, rng)
    real = fit(codes["train"][parts.twin], parts.train_class[parts.twin])
    step("classifier on synthetic rows")
    synthetic = fit(codes["synthetic"], parts.synthetic_class)
    return learned_figures(parts, "tstr", synthetic(codes["test"]), real(codes["test"]), real(codes["synthetic"]))


def _mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan
