"""Rows as 64-bit numbers that tell equal from unequal: what is kept of training rows so that none is given out again.

Enters: words of 8 bytes, or pixels. Leaves: uint64, of which two rows agree by chance once in 2**64 pairs. Who holds them and
guesses a row can find out whether it was there; the row itself is not in them.
"""

import hashlib

import numpy as np

MISSING = np.uint64(0x7FF8_0000_0000_0A06)  # word of a missing cell: a NaN that no number is stored as


def fingerprints(rows):
    """uint64 (n,) of an array (n, ...): equal bytes, equal numbers."""
    digests = b"".join(hashlib.blake2b(np.ascontiguousarray(row), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def number_words(values, missing):
    """uint64 (n,) of float64 or int64 cells and the mask of missing ones; 0.0 and -0.0 are one number."""
    return np.where(missing, MISSING, np.ascontiguousarray(values + 0).view(np.uint64))
