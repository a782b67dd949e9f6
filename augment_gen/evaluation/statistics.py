"""Figures that compare two sets of rows, and their intervals: arrays in, numbers out. No files, no models, no labels."""

import math

import numpy as np
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

Z95 = 1.959964  # normal quantile of a 95 % interval


def area_under_curve(positive, negative):
    """Probability that a `positive` score exceeds a `negative` one, ties counted half (the ROC AUC)."""
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def auc_interval(auc, n_positive, n_negative):
    """95 % interval of an AUC: Hanley and McNeil 1982, equation 2, clipped to [0, 1]."""
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (n_positive - 1) * (first - auc**2) + (n_negative - 1) * (second - auc**2)
    half = Z95 * math.sqrt(max(0.0, variance) / (n_positive * n_negative))
    return max(0.0, auc - half), min(1.0, auc + half)


def bootstrap_auc(positive, negative, rng, n_draws=500):
    """95 % percentile interval of the AUC over `n_draws` resamples of both sides."""
    draws = [area_under_curve(rng.choice(positive, len(positive)), rng.choice(negative, len(negative))) for _ in range(n_draws)]
    return tuple(float(bound) for bound in np.quantile(draws, [0.025, 0.975]))


def share_interval(share, n_rows):
    """95 % interval of a share among `n_rows` (which may be fractional): Wilson 1927."""
    if n_rows <= 0:
        return 0.0, 1.0
    centre = (share + Z95**2 / (2 * n_rows)) / (1 + Z95**2 / n_rows)
    half = Z95 / (1 + Z95**2 / n_rows) * math.sqrt(share * (1 - share) / n_rows + Z95**2 / (4 * n_rows**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def ks_distance(first, second):
    """Kolmogorov-Smirnov statistic: the largest gap between two empirical distribution functions; 0 = same."""
    first, second = np.sort(first), np.sort(second)
    points = np.concatenate([first, second])
    gap = np.searchsorted(first, points, "right") / len(first) - np.searchsorted(second, points, "right") / len(second)
    return float(np.abs(gap).max())


def total_variation(first, second):
    """Half the summed difference of how often each code occurs; 0 = same, 1 = nothing in common."""
    size = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(codes.astype(int), minlength=size) / len(codes) for codes in (first, second)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def frechet_distance(first, second):
    """Squared Frechet distance of two normal distributions fitted to feature rows (Heusel et al. 2017, equation 6).

    Biased upward where there are not many more rows than features: read it beside its ceiling, of the same sizes.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    mean = first.mean(axis=0) - second.mean(axis=0)
    a, b = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(max(0.0, mean @ mean + np.trace(a) + np.trace(b) - 2 * cross))


def kernel_distance(first, second, rng, subset_size=1000, n_subsets=20):
    """Unbiased squared maximum mean discrepancy under ``(x.y / d + 1)^3`` (Binkowski et al. 2018, section 4).

    `subset_size` is cut to the smaller side; where that takes all rows there is one subset. Being unbiased, it varies around
    0, and can be negative, for rows of one distribution.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    size = min(subset_size, len(first), len(second))
    whole = size == len(first) == len(second)
    estimates = []
    for _ in range(1 if whole else n_subsets):
        a = first if whole else first[rng.choice(len(first), size, replace=False)]
        b = second if whole else second[rng.choice(len(second), size, replace=False)]
        within = sum((_cubic(part, part).sum() - (_cubic_norms(part)).sum()) / (size * (size - 1)) for part in (a, b))
        estimates.append(within - 2 * _cubic(a, b).mean())
    return float(np.mean(estimates))


def _cubic(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def _cubic_norms(a):
    return ((a**2).sum(axis=1) / a.shape[1] + 1) ** 3


def manifold_figures(real, synthetic, k=5):
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020, equations 3 and 4).

    The manifold of a set is the union of balls around its rows that reach to the k-th nearest other row of the set.
    Precision: share of synthetic rows within the real manifold; recall: of real rows within the synthetic one. Density:
    in how many real balls a synthetic row lies, over k. Coverage: share of real balls that hold a synthetic row.

    Returns
    -------
    dict
        "precision", "recall", "density", "coverage".
    """
    real, synthetic = np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
    real_radius, synthetic_radius = _radii(real, k), _radii(synthetic, k)
    inside, within = np.zeros(len(synthetic)), np.zeros(len(real), dtype=bool)
    covered = np.zeros(len(real), dtype=bool)
    for start in range(0, len(synthetic), 1000):  # a block of distances at a time bounds the memory
        part = slice(start, start + 1000)
        distances = _distances(real, synthetic[part])
        in_real_ball = distances <= real_radius[:, None]
        inside[part] = in_real_ball.sum(axis=0)
        covered |= in_real_ball.any(axis=1)
        within |= (distances <= synthetic_radius[part]).any(axis=1)
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(within.mean()),
        "density": float(inside.mean() / k),
        "coverage": float(covered.mean()),
    }


def _radii(rows, k):
    return np.sort(_distances(rows, rows), axis=1)[:, k] if len(rows) <= 3000 else nearest(rows, rows, k + 1)[0][:, k]


def _distances(a, b):
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def nearest(rows, reference, k=1):
    """Distances and positions (n, k) of the nearest rows of `reference`; equal rows are exactly 0 apart."""
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference).kneighbors(rows, return_distance=False)
    difference = [np.linalg.norm(rows.astype(np.float64) - reference[found[:, i]], axis=1) for i in range(k)]
    return np.stack(difference, axis=1), found


def inception_score(probabilities):
    """exp of the mean KL divergence of ``p(y|x)`` from their mean (Salimans et al. 2016); 1 to the number of classes."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-12, 1)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1).mean()))
