"""Exact copies of training rows: remembered as 64-bit fingerprints, and recognised in what is drawn."""

import numpy as np


class Copies:
    """Recognises drawn rows that equal a training row, of whatever class, in every cell or pixel as they are written.

    Only rows that occur once in training are held against: a row that several of them share (heaps, blank images) betrays
    none of them. Tables of categories and few distinct numbers hold no such rows, since a combination may occur again.

    Attributes
    ----------
    fingerprints_ : uint64 array, sorted
        Of the training rows that occur once; 8 bytes each, and nothing else, are kept of them.
    """

    def fit(self, codec, pieces):
        """Remember the training rows, which come in pieces, in the user's format; returns self."""
        numbers = [codec.fingerprints(piece) for piece in pieces]
        numbers = np.concatenate([np.zeros(0, np.uint64), *(one for one in numbers if one is not None)])
        seen, counts = np.unique(numbers, return_counts=True)
        self.fingerprints_ = seen[counts == 1]
        return self

    def find(self, codec, X):
        """bool (n,): which rows of X are copies."""
        if not len(self.fingerprints_) or not len(X):
            return np.zeros(len(X), dtype=bool)
        numbers = codec.fingerprints(X)
        place = np.searchsorted(self.fingerprints_, numbers).clip(max=len(self.fingerprints_) - 1)
        return self.fingerprints_[place] == numbers

    def state(self):
        return {"fingerprints_": self.fingerprints_}

    @classmethod
    def from_state(cls, state):
        self = cls()
        self.fingerprints_ = np.asarray(state["fingerprints_"]).astype(np.uint64, copy=False)
        return self
