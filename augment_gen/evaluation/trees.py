"""Boosted trees as judges: whether synthetic rows can be told from real ones, and which class a row is of.

Enters: code matrices with NaN, and class indices. Leaves: AUCs and probabilities.
"""

from itertools import islice

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import RepeatedStratifiedKFold

from augment_gen.evaluation.statistics import area_under_curve
from augment_gen.seeding import draw_seed

N_FOLDS = 3
REPEAT_BELOW = 500  # rows a side under which the cross-validation is repeated, because one is noisy
N_REPEATS = 3
SMALL_TREES = {"max_iter": 50, "max_leaf_nodes": 15}  # for up to FEW_ROWS rows: as telling there, at a third of the time
FEW_ROWS = 2000
MANY_CLASSES = 20  # above which fewer rounds of boosting are run: each round grows a tree per class


def _fitted(X, target, categorical, rng, **options):
    """``(classes, predict_proba)`` of boosted trees; columns without any value, which they cannot bin, are left out."""
    filled = ~np.isnan(X).all(axis=0)
    seed = draw_seed(rng) % 2**31
    model = HistGradientBoostingClassifier(
        categorical_features=categorical[filled], early_stopping=False, random_state=seed, **options
    )
    model.fit(X[:, filled], target)
    return model.classes_, lambda rows: model.predict_proba(rows[:, filled])


def two_sample_auc(first, second, categorical, rng, n_fits=N_FOLDS * N_REPEATS):
    """Cross-validated AUC of boosted trees that tell `second` from `first` (a classifier two-sample test, C2ST).

    Lopez-Paz and Oquab 2017, with the AUC instead of accuracy. Trees, because a linear classifier is blind to dependence.

    Parameters
    ----------
    first, second : float64 arrays (n, p), (m, p)
        NaN where missing.
    categorical : bool array (p,)
    rng : numpy.random.Generator
    n_fits : int
        Folds that are run, at most: of three, or of three times three where there are fewer than 500 rows a side.

    Returns
    -------
    float
        Mean over folds; about .5 for rows of one distribution.
    """
    X, side = np.concatenate([first, second]), np.repeat([0, 1], [len(first), len(second)])
    options = SMALL_TREES if len(X) <= FEW_ROWS else {}
    n_repeats, areas = N_REPEATS if min(len(first), len(second)) < REPEAT_BELOW else 1, []
    folds = RepeatedStratifiedKFold(n_splits=N_FOLDS, n_repeats=n_repeats, random_state=draw_seed(rng) % 2**31)
    for fit, held_out in islice(folds.split(X, side), n_fits):
        scores = _fitted(X[fit], side[fit], categorical, rng, **options)[1](X[held_out])[:, 1]
        areas.append(area_under_curve(scores[side[held_out] == 1], scores[side[held_out] == 0]))
    return float(np.mean(areas))


def class_trees(X, class_index, n_classes, categorical, rng):
    """Fit boosted trees with balanced class weights to rows; returns ``predict(X) -> (m, n_classes)``.

    A class without rows has probability 0; with one class only, that class has all of it.
    """
    present = np.unique(class_index)
    if len(present) == 1:
        return lambda rows: np.tile(np.eye(n_classes)[present[0]], (len(rows), 1))
    rounds = 50 if len(present) > MANY_CLASSES else 100
    classes, probabilities = _fitted(X, class_index, categorical, rng, max_iter=rounds, class_weight="balanced")

    def predict(rows):
        out = np.zeros((len(rows), n_classes))
        out[:, classes] = probabilities(rows)
        return out

    return predict
