"""The filters of one fitted generator together: fitted on real rows and a trial draw, asked row by row in sampling."""

import warnings

import numpy as np

from augment_gen.errors import CollapseWarning
from augment_gen.sampling.copies import Copies
from augment_gen.sampling.diversity import class_diversity, evenly
from augment_gen.sampling.filters import LabelFilter, NoveltyFilter

TRIAL_ROWS = 20_000  # rows of the trial draw, over all classes
PIECE = 4  # blocks of the codec that are looked at at a time, which bounds the memory that takes
COLLAPSED = 0.5  # of the spread of real rows, below which a class has collapsed


class Screening:
    """Which drawn rows are kept, and how drawn rows compare with real ones.

    Parameters
    ----------
    codec : Codec
        Gives the vectors that distances are computed on.
    decoder : FittedDecoder
        Gives label probabilities, where it has a judge.
    """

    def __init__(self, codec, decoder):
        self.codec, self.decoder = codec, decoder
        self.novelty = self.label = self.copies = None

    def fit(self, X, class_index, n_classes, draw, novelty):
        """Fit the filters to X, and find out in a trial draw what they would reject.

        Parameters
        ----------
        X
            The training rows in the user's format.
        class_index : int64 array (n,)
        n_classes : int
        draw : callable (int64 array (m,)) -> m rows of those classes in the user's format
        novelty : bool
            Whether to thin rows that lie close to training rows.

        Returns
        -------
        self
        """
        trial = np.repeat(np.arange(n_classes), int(np.clip(TRIAL_ROWS // n_classes, 50, 500)))
        drawn = draw(trial)
        self.copies = Copies().fit(self.codec, (part for part, _ in self._pieces(X, len(class_index))))
        self.copied_share = _share(self.copies.find(self.codec, drawn), trial, n_classes)
        probabilities = self.decoder.label_probabilities(drawn)
        if probabilities is not None:
            real = [self.decoder.label_probabilities(part) for part, _ in self._pieces(X, len(class_index))]
            self.label = LabelFilter(self.decoder.label_threshold).fit(np.concatenate(real), class_index)
            agreed = np.flatnonzero(self.label.calibrate(probabilities, trial))
            drawn, trial = self.codec.take(drawn, agreed), trial[agreed]
        vectors, counts = self.codec.vectors(drawn), np.bincount(class_index, minlength=n_classes)
        if novelty:
            pieces = ((self.codec.vectors(part), class_index[rows]) for part, rows in self._pieces(X, len(class_index)))
            self.novelty = NoveltyFilter().fit_pieces(pieces, counts).calibrate(vectors, trial)
        places = [start + evenly(n) for start, n in zip(counts.cumsum() - counts, counts, strict=True)]
        compared = np.argsort(class_index, kind="stable")[np.concatenate(places)]
        real = self.codec.vectors(self.codec.take(X, compared))
        self.diversity = class_diversity(real, class_index[compared], vectors, trial, n_classes)
        return self

    def without_rows(self, n_classes):
        """Rejects nothing, and has compared nothing with real rows; returns self."""
        self.diversity = self.copied_share = np.full(n_classes, np.nan)
        return self

    def _pieces(self, X, n_rows):
        """Yields the rows of X piece by piece, each with its positions, so that what is made of them needs little memory."""
        for start in range(0, n_rows, PIECE * self.codec.block_rows):
            rows = np.arange(start, min(start + PIECE * self.codec.block_rows, n_rows))
            yield self.codec.take(X, rows), rows

    def keep(self, drawn, class_index, rng):
        """bool (n,): which of the drawn rows, of the classes int64 (n,), pass every filter."""
        keep, noise = np.ones(len(class_index), dtype=bool), rng.random(len(class_index))
        if not len(class_index):
            return keep
        if self.label is not None:
            keep = self.label.keep(self.decoder.label_probabilities(drawn), class_index)
        if self.novelty is not None:
            rows = np.flatnonzero(keep & self.novelty.needed_for(class_index))
            if len(rows):
                vectors = self.codec.vectors(self.codec.take(drawn, rows))
                keep[rows] = self.novelty.keep(vectors, class_index[rows], noise[rows])
        return keep

    def copied(self, drawn):
        """bool (n,): which of the drawn rows are exact copies of training rows."""
        return np.zeros(len(drawn), dtype=bool) if self.copies is None else self.copies.find(self.codec, drawn)

    def report(self):
        """Columns of the report, each an array (n_classes,)."""
        columns = {"diversity": self.diversity, "copied_share": self.copied_share}
        if self.novelty is not None:
            columns["near_share"] = self.novelty.near_share_
            columns["rejected_share"] = self.novelty.near_share_ * (1 - self.novelty.keep_probability_)
        if self.label is not None:
            columns["label_rejected_share"] = self.label.rejected_share_
        return columns

    def warn_of_collapse(self, labels):
        """Warn of classes whose drawn rows vary less than half as much as the real ones."""
        flat = [f"{label!r} ({ratio:.2f})" for label, ratio in zip(labels, self.diversity, strict=True) if ratio < COLLAPSED]
        if flat:
            warnings.warn(
                f"Synthetic rows vary less than half as much as real ones in {', '.join(flat[:5])}. Look at them before you "
                "use them; more steps (max_steps), a smaller beta, or more rows of the class may help.",
                CollapseWarning,
                stacklevel=6,
            )

    def state(self):
        """JSON values and arrays; `from_state` is its inverse."""
        filters = {"novelty": self.novelty, "label": self.label, "copies": self.copies}
        state = {name: None if one is None else one.state() for name, one in filters.items()}
        return {**state, "diversity": self.diversity}

    @classmethod
    def from_state(cls, state, codec, decoder):
        self = cls(codec, decoder)
        self.novelty = None if state["novelty"] is None else NoveltyFilter.from_state(state["novelty"])
        self.label = None if state["label"] is None else LabelFilter.from_state(state["label"])
        self.copies = None if state.get("copies") is None else Copies.from_state(state["copies"])  # None in older files
        self.diversity = np.asarray(state["diversity"])
        return self


def _share(mask, class_index, n_classes):
    return np.bincount(class_index, mask, n_classes) / np.bincount(class_index, minlength=n_classes)
