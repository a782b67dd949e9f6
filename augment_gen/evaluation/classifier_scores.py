"""How good a classifier's answers are, and where its threshold is best: arrays in, numbers out.

Enters: class indices, decisions, scores. Leaves: figures by name, of which `SCORES` says what each is.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

N_BINS = 10  # of the calibration error


@dataclass(frozen=True)
class Score:
    """What a figure is.

    Attributes
    ----------
    title : str
        In words.
    better : {1, -1}
        1 where higher is better.
    from_ : {"decisions", "ranks", "probabilities"}
        What it is computed from; only the first depends on a threshold.
    tunable : bool
        Whether a threshold may be chosen to make it best: recall alone would be best if everything were called rare.
    """

    title: str
    better: int
    from_: str
    tunable: bool = False


SCORES = {
    "balanced_accuracy": Score("balanced accuracy: mean of the recalls of all classes", 1, "decisions", True),
    "macro_f1": Score("macro-F1: mean of the F1 of all classes", 1, "decisions", True),
    "g_mean": Score("G-mean: geometric mean of the recalls of all classes (Kubat and Matwin 1997)", 1, "decisions", True),
    "minority_recall": Score("recall of the rare classes, mean", 1, "decisions"),
    "minority_precision": Score("precision of the rare classes, mean; 0 where none is predicted", 1, "decisions"),
    "average_precision": Score("average precision of the rare classes against the rest, mean", 1, "ranks"),
    "roc_auc": Score("ROC AUC; for more than two classes the mean of each against the rest", 1, "ranks"),
    "brier": Score("Brier score; for more than two classes summed over them (0 to 2)", -1, "probabilities"),
    "calibration_error": Score(
        "expected calibration error, 10 bins: of the rare class's probability; for more classes, of the predicted class's",
        -1,
        "probabilities",
    ),
}


def decision_scores(confusion, rare):
    """Figures of one confusion matrix.

    Parameters
    ----------
    confusion : int array (n_classes, n_classes)
        Rows are actual, columns predicted; every class has rows.
    rare : int array
        The rare classes.

    Returns
    -------
    dict
    """
    confusion = np.asarray(confusion, dtype=float)
    hits, actual, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    recall = hits / actual
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    return {
        "balanced_accuracy": float(recall.mean()),
        "macro_f1": float((2 * hits / (actual + predicted)).mean()),
        "g_mean": float(recall.prod() ** (1 / len(recall))),
        "minority_recall": float(recall[rare].mean()),
        "minority_precision": float(precision[rare].mean()),
    }


def ranking_scores(scores, class_index, rare):
    """Figures that only depend on the order of `scores`, float (n, n_classes)."""
    n_classes = scores.shape[1]
    against_rest = lambda k: class_index == k
    precision = np.mean([average_precision_score(against_rest(k), scores[:, k]) for k in rare])
    areas = [roc_auc_score(against_rest(k), scores[:, k]) for k in (range(n_classes) if n_classes > 2 else rare[:1])]
    return {"average_precision": float(precision), "roc_auc": float(np.mean(areas))}


def probability_scores(probabilities, class_index, rare):
    """Figures of `probabilities`, float (n, n_classes)."""
    n_classes = probabilities.shape[1]
    squares = (probabilities - np.eye(n_classes)[class_index]) ** 2
    if n_classes == 2:
        said, came = probabilities[:, rare[0]], class_index == rare[0]
    else:
        said, came = probabilities.max(axis=1), probabilities.argmax(axis=1) == class_index
    return {
        "brier": float(squares.sum(axis=1).mean() / (2 if n_classes == 2 else 1)),
        "calibration_error": calibration_error(said, came),
    }


def calibration_error(said, came):
    """Mean gap between what was said and how often it came true, over 10 equal bins weighted by rows (Naeini et al. 2015).

    Parameters
    ----------
    said : float array (n,)
        Probabilities.
    came : bool array (n,)
    """
    bins = np.minimum((np.asarray(said) * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, said, N_BINS) - np.bincount(bins, came, N_BINS)
    return float(np.abs(gaps).sum() / len(bins))


def confusion_matrix(class_index, predicted, n_classes):
    """int array (n_classes, n_classes): rows are actual, columns predicted."""
    return np.bincount(class_index * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def best_threshold(score, is_rare, metric):
    """From which score of the rare class on it should be predicted, for the best `metric` on these rows.

    Parameters
    ----------
    score : float array (n,)
    is_rare : bool array (n,)
    metric : {"balanced_accuracy", "macro_f1", "g_mean"}

    Returns
    -------
    float
        Halfway between two scores. Of several that are equally good the middle one.
    """
    order = np.argsort(-score, kind="stable")
    ranked, hit = score[order], is_rare[order]
    cut = np.flatnonzero(np.diff(ranked) < 0)  # the last row on the rare side of each possible threshold
    if not len(cut):
        return float(ranked[0])
    true, called = np.cumsum(hit)[cut], cut + 1
    n_rare, n = hit.sum(), len(hit)
    recall, specificity = true / n_rare, 1 - (called - true) / (n - n_rare)
    value = {
        "balanced_accuracy": lambda: (recall + specificity) / 2,
        "g_mean": lambda: np.sqrt(recall * specificity),
        "macro_f1": lambda: (
            true / (n_rare + called) + (n - n_rare - called + true) / (n - n_rare + n - called)  # half of each F1
        ),
    }[metric]()
    best = cut[np.flatnonzero(value >= value.max() - 1e-12)]
    chosen = best[(len(best) - 1) // 2]
    return float((ranked[chosen] + ranked[chosen + 1]) / 2)
