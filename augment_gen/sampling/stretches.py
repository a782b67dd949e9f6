"""Drawn rows, which come stretch by stretch, in batches of the size that was asked for."""

import numpy as np
from sklearn.utils.validation import _num_samples


def rebatched(parts, codec, batch_rows):
    """Yields the rows of `parts` in their order, `batch_rows` at a time; the last batch may have fewer, and none is empty.

    Parameters
    ----------
    parts : iterable of X
        In the user's format. One is held at a time, beside the rows that do not fill a batch yet.
    codec : Codec
    batch_rows : int
    """
    held, n_held = [], 0
    for part in parts:
        held.append(part)
        n_held += _num_samples(part)
        if n_held < batch_rows:
            continue
        whole, full = codec.join(held), n_held - n_held % batch_rows
        for start in range(0, full, batch_rows):
            yield codec.take(whole, np.arange(start, start + batch_rows))
        held, n_held = [codec.take(whole, np.arange(full, n_held))] if full < n_held else [], n_held - full
    if n_held:
        yield codec.join(held)
