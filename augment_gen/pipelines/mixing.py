"""How many real and how many synthetic rows of each class a rebalanced set holds.

Enters: the classes of the real rows. Leaves: numbers of real rows, some of them several times, and how many synthetic rows
each class gets. Nothing is drawn from a generator here.
"""

from numbers import Integral, Real

import numpy as np

from augment_gen.errors import InvalidParameterError

MIXES = ("all", "minority")


def mixed_plan(class_index, n_classes, mix, synthetic_share, rng, n_each=None):
    """Which real rows, and how many synthetic ones of each class, make a balanced set.

    With "all", every class has as many real rows as the largest, by repeating them as evenly as possible, and synthetic ones
    beside them that make up `synthetic_share` of the class. Where only minorities are filled up with synthetic images, a
    classifier can learn the generator's artefacts as the label; where all classes have the same share of them, it cannot.
    With "minority", every class has as many rows in total as the largest has, and `synthetic_share` of the missing ones are
    synthetic; the others repeat real rows.

    Parameters
    ----------
    class_index : int64 array (n,)
        Class of each real row.
    n_classes : int
    mix : {"all", "minority"}
    synthetic_share : float
        From 0, which is random oversampling, to below 1; with "minority" to 1.
    rng : numpy.random.Generator
        Decides which rows are repeated once more than others.
    n_each : int, optional
        What every class is brought up to, at least the size of the largest, which it is by default: real rows with "all", rows
        in total with "minority". Where even the largest class is small, more leave room for more different synthetic ones.

    Returns
    -------
    rows : int64 array
        Numbers of real rows, ordered by class; each real row is there at least once.
    n_synthetic : int64 array (n_classes,)

    Raises
    ------
    InvalidParameterError
        An unknown `mix`, a share out of range, or `n_each` below the largest class.

    Examples
    --------
    >>> rows, n_synthetic = mixed_plan(np.array([0, 0, 0, 0, 1, 1]), 2, "all", 0.5, np.random.default_rng(0))
    >>> rows.tolist(), n_synthetic.tolist()
    ([0, 1, 2, 3, 4, 4, 5, 5], [4, 4])
    >>> rows, n_synthetic = mixed_plan(np.array([0, 0, 0, 0, 1, 1]), 2, "minority", 0.5, np.random.default_rng(0))
    >>> len(rows), n_synthetic.tolist()
    (7, [0, 1])
    """
    check_mix(mix, synthetic_share)
    class_index = np.asarray(class_index, dtype=np.int64)
    counts = np.bincount(class_index, minlength=n_classes)
    most, present = _checked(n_each, int(counts.max(initial=0))), counts > 0
    if mix == "all":
        n_synthetic = np.where(present, round(most * synthetic_share / (1 - synthetic_share)), 0)
        n_real = np.where(present, most, 0)
    else:
        n_synthetic = np.where(present, np.round((most - counts) * synthetic_share), 0)
        n_real = np.where(present, most - n_synthetic, 0)
    own = [np.flatnonzero(class_index == k) for k in range(n_classes)]
    rows = [_repeated(own[k], int(n_real[k]), rng) for k in np.flatnonzero(present)]
    return np.concatenate([np.empty(0, dtype=np.int64), *rows]), n_synthetic.astype(np.int64)


def check_mix(mix, synthetic_share):
    """Refuse an unknown `mix`, and shares that are out of range for it."""
    if not isinstance(mix, str) or mix not in MIXES:
        raise InvalidParameterError(f'mix must be "all" or "minority"; got {mix!r}.')
    usual = isinstance(synthetic_share, Real) and not isinstance(synthetic_share, bool) and 0 <= synthetic_share <= 1
    if not usual or (mix == "all" and synthetic_share == 1):
        upper = 'below 1 (real rows stay in the set; with mix="minority" also 1)' if mix == "all" else "1"
        raise InvalidParameterError(f"synthetic_share must be a number from 0 to {upper}; got {synthetic_share!r}.")


def _checked(n_each, largest):
    if n_each is None:
        return largest
    if isinstance(n_each, bool) or not isinstance(n_each, Integral) or n_each < largest:
        raise InvalidParameterError(f"n_each must be an integer of at least {largest}, the largest class; got {n_each!r}.")
    return int(n_each)


def _repeated(rows, n, rng):
    """`n` of `rows`, at least as many as there are: each as often as the others, or once more."""
    extra = rng.choice(rows, n % len(rows), replace=False)
    return np.sort(np.concatenate([np.tile(rows, n // len(rows)), extra]))
