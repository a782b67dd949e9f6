"""What can be learned from synthetic rows, as figures: from class probabilities to recalls, AUCs and consistency.

Enters: `Parts`, and probabilities that some classifier gave. Leaves: `Figure` objects. Tables and images share it.
"""

import numpy as np

from augment_gen.evaluation.metrics import ALL, METRICS, Figure, too_small
from augment_gen.evaluation.statistics import area_under_curve


def learned_figures(parts, prefix, by_synthetic, by_real, of_synthetic):
    """Figures from class probabilities.

    Parameters
    ----------
    parts : Parts
    prefix : {"tstr", "cas"}
    by_synthetic, by_real : float arrays (n_test, n_classes)
        For the held-out rows, by classifiers trained on synthetic and on as many real rows.
    of_synthetic : float array (n_synthetic, n_classes)
        For the synthetic rows, by a classifier trained on real rows.
    """
    K, n, chance = parts.n_classes, len(parts.test_class), 1 / parts.n_classes
    per_class = np.bincount(parts.test_class, minlength=K)
    mine, theirs = (recalls(p.argmax(axis=1), parts.test_class, K) for p in (by_synthetic, by_real))
    name, figures = f"{prefix}_balanced_accuracy", []
    if n < METRICS[name].min_rows:
        figures.append(too_small(name, ALL, n))
    else:
        figures.append(Figure(name, ALL, _mean(mine), chance, _mean(theirs), n))
    if prefix == "tstr":
        areas = mean_auc(by_synthetic, parts.test_class), 0.5, mean_auc(by_real, parts.test_class)
        figures.append(too_small("tstr_roc_auc", ALL, n) if n < 30 else Figure("tstr_roc_auc", ALL, *areas, n))
    name = f"{prefix}_recall"
    for k, label in enumerate(parts.labels):
        few = per_class[k] < METRICS[name].min_rows
        figures.append(
            too_small(name, label, per_class[k]) if few else Figure(name, label, mine[k], chance, theirs[k], int(per_class[k]))
        )
    return figures + _consistency(parts, of_synthetic.argmax(axis=1), by_real.argmax(axis=1))


def _consistency(parts, seen, seen_real):
    K, name, figures = parts.n_classes, "class_consistency", []
    drawn, held_out = (np.bincount(index, minlength=K) for index in (parts.synthetic_class, parts.test_class))
    value = recalls(seen, parts.synthetic_class, K)
    ceiling, floor = recalls(seen_real, parts.test_class, K), named_shares(seen_real, parts.test_class, K)
    enough = np.minimum(drawn, held_out) >= METRICS[name].min_rows
    if not enough.any():
        figures.append(too_small(name, ALL, min(drawn.sum(), held_out.sum())))
    else:
        means = (_mean(numbers[enough]) for numbers in (value, floor, ceiling))
        note = "" if enough.all() else f"over the {enough.sum()} classes with rows enough"
        figures.append(Figure(name, ALL, *means, int(min(drawn[enough].sum(), held_out[enough].sum())), note=note))
    for k, label in enumerate(parts.labels):
        n = int(min(drawn[k], held_out[k]))
        figures.append(Figure(name, label, value[k], floor[k], ceiling[k], n) if enough[k] else too_small(name, label, n))
    return figures


def recalls(predicted, class_index, n_classes):
    """Per class, the share of its rows in which it is predicted; NaN for a class without rows."""
    counts = np.bincount(class_index, minlength=n_classes)
    hits = np.bincount(class_index, predicted == class_index, minlength=n_classes)
    return np.divide(hits, counts, out=np.full(n_classes, np.nan), where=counts > 0)


def named_shares(predicted, class_index, n_classes):
    """Per class, the share of rows in which it is predicted, every class that has rows counting alike."""
    counts = np.bincount(class_index, minlength=n_classes)
    weights = 1 / (counts[class_index] * (counts > 0).sum())
    return np.bincount(predicted, weights, minlength=n_classes)


def mean_auc(probabilities, class_index):
    """ROC AUC of each class against the rest, averaged over the classes that have rows, and others that have."""
    present = np.unique(class_index)
    if len(present) < 2:
        return np.nan
    areas = [area_under_curve(probabilities[class_index == k, k], probabilities[class_index != k, k]) for k in present]
    return float(np.mean(areas))


def _mean(values):
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan
