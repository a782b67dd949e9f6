"""How strongly two columns of any kinds go together.

Enters: code matrices with NaN for missing cells. Leaves: a matrix of associations.
"""

import numpy as np
from scipy.stats import rankdata


def association_matrix(codes, categorical):
    """float array (p, p): association of every pair of columns over the rows in which both are present; NaN where undefined.

    Two numeric columns: Spearman's rank correlation (-1 to 1). Two categories: Cramer's V (0 to 1). One of each: the
    correlation ratio of the number's ranks (0 to 1), the square root of the share of variance that lies between levels.
    """
    p = codes.shape[1]
    out = np.full((p, p), np.nan)
    ranks = np.stack([_ranks(values) for values in codes.T], axis=1) if p else codes
    for i in range(p):
        for j in range(i):
            present = ~(np.isnan(codes[:, i]) | np.isnan(codes[:, j]))
            if present.sum() < 2:
                continue
            if categorical[i] and categorical[j]:
                value = _cramers_v(codes[present, i], codes[present, j])
            elif categorical[i] or categorical[j]:
                level, number = (i, j) if categorical[i] else (j, i)
                value = _correlation_ratio(codes[present, level], ranks[present, number])
            else:
                value = _correlation(ranks[present, i], ranks[present, j])
            out[i, j] = out[j, i] = value
    return out


def _ranks(values):
    out = np.full(len(values), np.nan)
    present = ~np.isnan(values)
    out[present] = rankdata(values[present])
    return out


def _correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else np.nan


def _cramers_v(a, b):
    a, b = (np.unique(codes, return_inverse=True)[1] for codes in (a, b))
    shape = a.max() + 1, b.max() + 1
    if min(shape) < 2:
        return np.nan
    seen = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1]).reshape(shape)
    expected = seen.sum(axis=1, keepdims=True) * seen.sum(axis=0) / len(a)
    return float(np.sqrt(((seen - expected) ** 2 / expected).sum() / len(a) / (min(shape) - 1)))


def _correlation_ratio(levels, numbers):
    levels = np.unique(levels, return_inverse=True)[1]
    counts = np.bincount(levels)
    means = np.bincount(levels, numbers) / counts
    total = ((numbers - numbers.mean()) ** 2).sum()
    return float(np.sqrt((counts * (means - numbers.mean()) ** 2).sum() / total)) if total > 0 and len(counts) > 1 else np.nan
