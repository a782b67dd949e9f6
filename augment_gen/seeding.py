"""From ``random_state`` to random generators: the only place that makes one.

Enters: what a user passes as ``random_state``. Leaves: ``numpy.random.Generator`` and ``torch.Generator`` objects.
Nothing here reads or moves numpy's or torch's global state. A numpy generator locks itself for each draw, so threads that
share one get different numbers.
"""

import numpy as np
import torch
from sklearn.utils import check_random_state

from augment_gen.errors import InvalidRequestError


def numpy_generator(random_state):
    """A generator from None (fresh entropy), an int, a ``RandomState`` or a ``Generator`` (itself).

    Raises
    ------
    InvalidRequestError
        For anything else.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    try:
        if isinstance(random_state, np.random.RandomState):
            return np.random.default_rng(random_state.randint(2**31, size=4))
        check_random_state(random_state)
        return np.random.default_rng(int(random_state))
    except (ValueError, TypeError) as error:
        raise InvalidRequestError(
            f"random_state must be None, a non-negative int, a RandomState or a Generator; got {random_state!r}."
        ) from error


def draw_seed(rng):
    """An int below 2**63 from a numpy generator, to seed another generator with."""
    return int(rng.integers(2**63))


def torch_generator(seed, device="cpu"):
    """A ``torch.Generator`` on `device`, seeded with the int `seed`."""
    return torch.Generator(device=device).manual_seed(seed)


def blocks(n_rows, seed, stage, block_rows):
    """Cut `n_rows` into blocks and give each its own generator, so that memory is bounded and no batch size matters.

    Yields ``(slice, numpy.random.Generator)``. The stream of a block depends on `seed`, `stage` and its number only.
    """
    for number, start in enumerate(range(0, n_rows, block_rows)):
        yield slice(start, min(start + block_rows, n_rows)), np.random.default_rng([seed, stage, number])


def stage_generator(seed, stage):
    """A generator for what is decided about the rows of one stage as a whole."""
    return np.random.default_rng([seed, stage, 2**32 - 1])  # numpy takes [seed, stage] for [seed, stage, 0], the first block


def stretches(n_rows, seed, stretch_rows):
    """Cut `n_rows` into stretches that are drawn one after the other, each from a seed of its own.

    Yields ``(slice, seed)``; the first seed is `seed` itself. At least one stretch comes out, if only of no rows.
    """
    for number, start in enumerate(range(0, max(1, n_rows), stretch_rows)):
        words = np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1, np.uint64)
        yield slice(start, min(start + stretch_rows, n_rows)), seed if number == 0 else int(words[0] >> np.uint64(1))
