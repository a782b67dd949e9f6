"""Intervals for differences between two classifiers on the same splits."""

import math

import numpy as np
from scipy.stats import t


def corrected_interval(differences, test_share, level):
    """Mean of paired differences, and its interval: the corrected resampled t (Nadeau and Bengio 2003).

    Training parts of different splits overlap, so that differences are not independent and their plain standard error is
    several times too small. The variance of the mean is taken as ``(1/J + n_test/n_train) * S**2`` instead, with J - 1 degrees
    of freedom. The same is used for repeated cross-validation (Bouckaert and Frank 2004).

    Parameters
    ----------
    differences : float array (J,)
        One per split, J at least 2.
    test_share : float
        Rows tested on, divided by rows trained on.
    level : float
        Of the two-sided interval, below 1.

    Returns
    -------
    mean, low, high : float
    """
    differences = np.asarray(differences, dtype=float)
    n_splits = len(differences)
    half = t.ppf((1 + level) / 2, n_splits - 1) * corrected_error(differences, test_share)
    mean = float(differences.mean())
    return mean, mean - half, mean + half


def corrected_error(differences, test_share):
    """The corrected standard error of the mean of paired differences; see `corrected_interval`."""
    differences = np.asarray(differences, dtype=float)
    return math.sqrt(1 / len(differences) + test_share) * float(differences.std(ddof=1))
