"""Which drawn rows are kept: one function or class per reason to reject.

A filter is fitted on real rows and then says, row by row and from noise of its own, what to keep; the generator draws
rejected rows again under the same label.
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

NEAR_SHARE = 0.05  # share of fresh real rows that lie nearer to a training row than the threshold, by its definition
MIN_RECALL = 0.5  # of classifiers on the real rows of a class, one of which has not seen each, for them to decide about it
MAX_ROWS = 5000  # rows of a class that distances are computed to; larger classes are checked for exact copies only


class NoveltyFilter:
    """Thins rows that lie nearer to a training row than training rows lie to each other.

    Of each class, the threshold is the 5 % quantile of the distances from a training row to the nearest other one. Fresh
    rows of the class would fall below it about 5 % of the time. Where drawn rows do so more often, each such row is kept
    only with the probability that brings their share down to 5 % (or to the share among the real rows, where more of
    those coincide). Classes of more than 5,000 rows are thinned against exact copies alone.

    Attributes
    ----------
    near_share_ : float array (n_classes,)
        Share of near rows before the filter, from a trial draw; NaN where there was none.
    keep_probability_ : float array (n_classes,)
        With which a near row is kept.
    """

    def fit(self, vectors, class_index, n_classes):
        """`vectors` float32 (n, p) of the training rows; returns self."""
        return self.fit_pieces([(vectors, class_index)], np.bincount(class_index, minlength=n_classes))

    def fit_pieces(self, pieces, counts):
        """As `fit`, to pieces (vectors, class_index) of the training rows; `counts` int64 (n_classes,) are of all of them."""
        n_classes, parts = len(counts), {}
        for vectors, class_index in pieces:
            for k in np.unique(class_index):
                rows = vectors[class_index == k]
                # where nothing varies, nothing can be copied
                parts.setdefault(k, []).append(row_hashes(rows) if counts[k] > MAX_ROWS and rows.shape[1] else rows)
        self.reference_ = [np.concatenate(parts[k]) for k in range(n_classes)]
        self.threshold_, self.natural_share_ = np.zeros(n_classes), np.full(n_classes, NEAR_SHARE)
        for k, rows in enumerate(self.reference_):
            if rows.ndim == 1:
                self.natural_share_[k] = 1 - len(np.unique(rows)) / len(rows)
            elif len(rows) > 1 and rows.shape[1]:
                nearest = self._search(k).kneighbors(n_neighbors=1)[0][:, 0]
                self.threshold_[k] = max(np.quantile(nearest, NEAR_SHARE), 1e-6)
                self.natural_share_[k] = max(NEAR_SHARE, np.mean(nearest <= self.threshold_[k]))
        self.near_share_, self.keep_probability_ = np.full(n_classes, np.nan), np.ones(n_classes)
        return self

    def calibrate(self, vectors, class_index):
        """Set how strongly to thin, from a trial draw that went through no filter."""
        near = self.near(vectors, class_index)
        for k in np.unique(class_index):
            share, natural = near[class_index == k].mean(), self.natural_share_[k]
            self.near_share_[k] = share
            if share > natural:
                self.keep_probability_[k] = natural * (1 - share) / max((1 - natural) * share, 1e-12)
        return self

    def needed_for(self, class_index):
        """bool (n,): rows of classes that are thinned at all; only their vectors are worth computing."""
        return self.keep_probability_[class_index] < 1

    def near(self, vectors, class_index):
        """bool (n,): rows at most the threshold away from a training row of their class."""
        out = np.zeros(len(vectors), dtype=bool)
        for k in np.unique(class_index):
            rows = class_index == k
            if not vectors.shape[1]:
                continue
            if self.reference_[k].ndim == 1:
                out[rows] = np.isin(row_hashes(vectors[rows]), self.reference_[k])
            else:
                out[rows] = self._search(k).kneighbors(vectors[rows], n_neighbors=1)[0][:, 0] <= self.threshold_[k]
        return out

    def keep(self, vectors, class_index, noise):
        """bool (n,): what to keep; `noise` is uniform (n,)."""
        return ~self.near(vectors, class_index) | (noise < self.keep_probability_[class_index])

    def _search(self, k):
        return NearestNeighbors(n_neighbors=1).fit(self.reference_[k])

    def state(self):
        names = ("reference_", "threshold_", "natural_share_", "near_share_", "keep_probability_")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(cls, state):
        self = cls()
        for name in ("reference_", "threshold_", "natural_share_", "near_share_", "keep_probability_"):
            setattr(self, name, state[name])
        return self


class LabelFilter:
    """Rejects rows in which a classifier trained on the real rows does not see the label that was asked for.

    Classes whose real rows the classifier itself does not recognise are let through.

    Parameters
    ----------
    threshold : float
        Probability of the label from which a row is kept.
    min_recall : float
        Share of a class's real rows that have to be kept for the filter to apply to that class.

    Attributes
    ----------
    applies_ : bool array (n_classes,)
        Whether a class is filtered.
    rejected_share_ : float array (n_classes,)
        Share of rows rejected in a trial draw.
    """

    def __init__(self, threshold=0.5, min_recall=MIN_RECALL):
        self.threshold, self.min_recall = threshold, min_recall

    def fit(self, probabilities, class_index):
        """`probabilities` float (n, n_classes) are the classifier's for the real rows; returns self."""
        recalls = _share_per_class(self._agrees(probabilities, class_index), class_index, probabilities)
        self.applies_ = recalls >= self.min_recall
        return self

    def calibrate(self, probabilities, class_index):
        """Note the share of rejected rows in a trial draw that went through no filter; returns what `keep` does."""
        keep = self.keep(probabilities, class_index)
        self.rejected_share_ = _share_per_class(~keep, class_index, probabilities)
        return keep

    def keep(self, probabilities, class_index):
        """bool (n,): rows whose label is as likely as the threshold."""
        return self._agrees(probabilities, class_index) | ~self.applies_[class_index]

    def _agrees(self, probabilities, class_index):
        return probabilities[np.arange(len(class_index)), class_index] >= self.threshold

    def state(self):
        names = ("threshold", "min_recall", "applies_", "rejected_share_")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_state(cls, state):
        self = cls(float(state.get("threshold", 0.5)), float(state.get("min_recall", MIN_RECALL)))
        self.applies_, self.rejected_share_ = state["applies_"], state["rejected_share_"]
        return self


def _share_per_class(mask, class_index, probabilities):
    counts = np.bincount(class_index, minlength=probabilities.shape[1])
    return np.bincount(class_index, mask, minlength=len(counts)) / np.maximum(counts, 1)


def row_hashes(rows):
    """uint64 (n,): equal rows have equal hashes. Keeps 8 bytes of a row instead of the row."""
    words = np.ascontiguousarray(rows + 0.0, dtype=np.float32).view(np.uint32).astype(np.uint64)  # + 0.0: no -0.0
    factors = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    mixed = (words ^ (words >> np.uint64(15))) * factors
    return (mixed ^ (mixed >> np.uint64(29))).sum(axis=1, dtype=np.uint64)
