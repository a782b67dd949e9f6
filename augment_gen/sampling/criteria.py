"""Filters that a user fits on real rows and passes to ``sample`` or ``fit_resample``: their ``keep`` says what stays.

Each compares a synthetic row with the real rows of its class, and sets its threshold by how these compare with each other.
"""

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from augment_gen.codecs import infer_codec, read
from augment_gen.conditioning import ConditionEncoder
from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.sampling.filters import row_hashes

FOLDS = 5
MAX_ROWS = 10_000  # real rows of a class that are compared with; of more, these many are drawn


class _Criterion(BaseEstimator):
    """Rows as vectors, and one threshold a class, from the share of real rows that may be lost."""

    def fit(self, X, y=None):
        """Learn from real rows X, in any format that a generator takes, and their labels y; returns self.

        Raises
        ------
        InvalidDataError, InvalidParameterError
        """
        if not 0 <= self.loss < 1:
            raise InvalidParameterError(f"loss must lie in [0, 1): the share of real rows to reject; got {self.loss!r}.")
        X, y = read(X, y)
        self.conditions_, class_index = ConditionEncoder().fit(y)
        self.classes_ = self.conditions_.classes_
        codec = infer_codec(X)
        self.codec_ = codec().fit(X, class_index)
        small = self.conditions_.counts_ < 2
        if small.any():
            raise InvalidDataError(
                f"{type(self).__name__} needs two rows of each class, but {self.classes_[small].tolist()[:5]} have one."
            )
        vectors = self.codec_.vectors(X)
        self._remember(vectors)
        rows = _at_most(MAX_ROWS, class_index, len(self.classes_))
        vectors, class_index = vectors[rows], class_index[rows]
        scores = self._fit_vectors(vectors, class_index)
        self.thresholds_ = np.array([np.quantile(scores[class_index == k], self.loss) for k in range(len(self.classes_))])
        return self

    def _remember(self, vectors):
        """Note what is needed of all real rows, also where only some are compared with."""

    def keep(self, X, y):
        """bool ndarray (n,): which rows of X, whose labels are y, stay.

        Raises
        ------
        NotFittedError, UnknownLabelError
        """
        check_is_fitted(self)
        class_index = self.conditions_.encode(y)
        return self._score(self.codec_.vectors(X), class_index) >= self.thresholds_[class_index]


class _Distance(_Criterion):
    """By the distance to the nearest real row of the same class; of a real row, to the nearest other one."""

    def _fit_vectors(self, vectors, class_index):
        self.search_ = [NearestNeighbors(n_neighbors=1).fit(vectors[class_index == k]) for k in range(len(self.classes_))]
        distances = np.empty(len(vectors))
        for k, search in enumerate(self.search_):
            distances[class_index == k] = search.kneighbors()[0][:, 0]
        return self.sign * distances

    def _score(self, vectors, class_index):
        distances = np.empty(len(vectors))
        for k in np.unique(class_index):
            distances[class_index == k] = self.search_[k].kneighbors(vectors[class_index == k])[0][:, 0]
        return self.sign * distances


class WithinSupport(_Distance):
    """Keeps rows that lie as near to a real row of their class as real rows lie to each other.

    Parameters
    ----------
    loss : float, default=0.05
        Share of the real rows that would be rejected: those that lie farthest from any other row of their class.

    References
    ----------
    The support of a class as a union of balls around its rows: Kynkäänniemi et al. (2019), "Improved precision and recall
    metric for assessing generative models", with one radius a class.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.sampling import WithinSupport
    >>> X, y = load_iris(return_X_y=True)
    >>> gen = ConditionalVAE(max_steps=100, random_state=0, device="cpu").fit(X, y)
    >>> X_new, y_new = gen.sample(50, y=1, filters=WithinSupport().fit(X, y), random_state=0)
    >>> X_new.shape, gen.filter_report_["filter"].tolist()
    ((50, 4), ['generator', 'WithinSupport'])
    """

    sign = -1

    def __init__(self, loss=0.05):
        self.loss = loss


class NotACopy(_Distance):
    """Keeps rows that lie farther from every real row of their class than the nearest real rows lie from each other.

    Stricter than a generator's own ``novelty_filter``, which lets as many near rows through as fresh real rows would have.
    Exact copies of any real row are always rejected. Distance says nothing about privacy.

    Parameters
    ----------
    loss : float, default=0.05
        Share of the real rows that would be rejected: those that lie nearest to another row of their class.
    """

    sign = 1

    def __init__(self, loss=0.05):
        self.loss = loss

    def _remember(self, vectors):
        self.real_ = np.unique(row_hashes(vectors))

    def _score(self, vectors, class_index):
        distances = super()._score(vectors, class_index)
        return np.where((distances > 1e-6) & ~np.isin(row_hashes(vectors), self.real_), distances, -1.0)


class ClassConsistent(_Criterion):
    """Keeps rows in which classifiers of the real rows see the label as clearly as in real rows that they were not shown.

    Five classifiers are trained, each without a fifth of the real rows. The threshold of a class is a low quantile of the
    probability that its real rows get from the one classifier that did not see them; a synthetic row gets the mean of all.

    Parameters
    ----------
    estimator : classifier with predict_proba, optional
        Of vectors that the rows are turned into; by default a random forest.
    loss : float, default=0.1
        Share of the real rows that would be rejected: those that look least like their label.
    random_state : int, default=0
        For the folds and the default estimator.
    """

    def __init__(self, estimator=None, *, loss=0.1, random_state=0):
        self.estimator = estimator
        self.loss = loss
        self.random_state = random_state

    def _fit_vectors(self, vectors, class_index):
        default = RandomForestClassifier(100, min_samples_leaf=2, class_weight="balanced", random_state=self.random_state)
        estimator = default if self.estimator is None else self.estimator
        counts = np.bincount(class_index, minlength=len(self.classes_))
        folds = StratifiedKFold(int(max(2, min(FOLDS, counts.min()))), shuffle=True, random_state=self.random_state)
        self.estimators_, scores = [], np.empty(len(vectors))
        for train, judged in folds.split(vectors, class_index):
            fitted = clone(estimator).fit(vectors[train], class_index[train])
            self.estimators_.append(fitted)
            scores[judged] = self._probability(fitted, vectors[judged], class_index[judged])
        return scores

    def _score(self, vectors, class_index):
        return np.mean([self._probability(one, vectors, class_index) for one in self.estimators_], axis=0)

    def _probability(self, estimator, vectors, class_index):
        probabilities = np.zeros((len(vectors), len(self.classes_)))
        probabilities[:, estimator.classes_] = estimator.predict_proba(vectors)
        return probabilities[np.arange(len(vectors)), class_index]


def _at_most(n, class_index, n_classes):
    """Positions, ascending, of all rows of classes with up to `n`, and of `n` random ones of each larger class."""
    rng, kept = np.random.default_rng(0), []
    for k in range(n_classes):
        own = np.flatnonzero(class_index == k)
        kept.append(own if len(own) <= n else rng.choice(own, n, replace=False))
    return np.sort(np.concatenate(kept))
