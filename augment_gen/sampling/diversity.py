"""Whether a class has collapsed: how far its synthetic rows lie from each other, beside its real ones."""

import numpy as np

MAX_ROWS = 200  # rows of a class that are compared with each other


def class_diversity(real, real_class, drawn, drawn_class, n_classes):
    """Mean distance between two drawn rows of a class, over that between two real ones.

    Parameters
    ----------
    real, drawn : float32 arrays (n, p) and (m, p)
    real_class, drawn_class : int64 arrays (n,) and (m,)
    n_classes : int

    Returns
    -------
    float array (n_classes,)
        About 1 where rows vary as real ones do, near 0 where a class has collapsed; NaN where the real rows do not vary or
        there are fewer than two.
    """
    ratio = np.full(n_classes, np.nan)
    for k in range(n_classes):
        mine, given = _spread(drawn[drawn_class == k]), _spread(real[real_class == k])
        if given > 0:
            ratio[k] = mine / given
    return ratio


def evenly(n_rows):
    """int64 (m,): the positions, at most 200, of the rows of a class that are compared with each other."""
    return np.linspace(0, n_rows - 1, min(n_rows, MAX_ROWS)).astype(int)


def _spread(rows):
    """Mean distance of rows to each other, over evenly chosen rows; NaN for fewer than two."""
    rows = rows[evenly(len(rows))].astype(np.float64)
    if len(rows) < 2:
        return np.nan
    squares = (rows**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0))
    return distances.sum() / (len(rows) * (len(rows) - 1))
