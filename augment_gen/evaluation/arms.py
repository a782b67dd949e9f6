"""What is compared: where training rows come from, and the classifiers that are trained on them.

Enters: the user's augmenters and estimator. Leaves: `Source` objects; rows are drawn once per source and split, and every
classifier of the source is trained on them, in every amount.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import _num_samples

from augment_gen.errors import InvalidParameterError
from augment_gen.evaluation.image_classifier import ImageClassifier
from augment_gen.evaluation.oversamplers import ClassicCopies, RandomCopies, TableSMOTE, classic_augmentation
from augment_gen.evaluation.table_classifier import table_classifier
from augment_gen.sampling.row_weights import weight_keyword

NONE, WEIGHTS, COPIES = "none", "class weights", "random oversampling"
SMOTE, CLASSIC, MIXUP = "SMOTE", "classic augmentation", "MixUp"


@dataclass(frozen=True)
class Learner:
    """A classifier, as one arm trains it.

    Attributes
    ----------
    arm : str
        Name of the arm.
    estimator : object
        Not fitted.
    balance : bool
        Whether it is given sample weights by which all classes weigh the same.
    """

    arm: str
    estimator: object
    balance: bool = False


@dataclass(frozen=True)
class Source:
    """Where training rows come from.

    Attributes
    ----------
    name : str
    augmenter : object or None
        None leaves the real rows as they are.
    learners : tuple of Learner
    is_baseline : bool
        Whether it does without a generator.
    """

    name: str
    augmenter: object | None
    learners: tuple[Learner, ...]
    is_baseline: bool


class CallableClassifier(ClassifierMixin, BaseEstimator):
    """A function ``f(X, y, X_test) -> probabilities`` as a classifier."""

    def __init__(self, function):
        self.function = function

    def fit(self, X, y):
        """Keep the training rows; returns self."""
        self.training_ = X, y
        self.classes_ = np.asarray(pd.unique(pd.Series(np.asarray(y).ravel())))
        self.classes_.sort()
        return self

    def predict_proba(self, X):
        """What the function gives for X: float (n, n_classes), classes sorted."""
        found = np.asarray(self.function(*self.training_, X), dtype=float)
        if found.shape != (_num_samples(X), len(self.classes_)):
            raise InvalidParameterError(
                f"estimator gave an array of shape {found.shape}; a callable must give one probability per row and class, "
                f"{(_num_samples(X), len(self.classes_))}."
            )
        return found

    def predict(self, X):
        """Labels (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def resolve_estimator(estimator, modality, device):
    """The classifier that every arm trains.

    Raises
    ------
    InvalidParameterError
        It is neither a classifier nor a callable.
    """
    if estimator is None:
        return table_classifier() if modality == "table" else ImageClassifier(device=device)
    if isinstance(estimator, type):
        raise InvalidParameterError(f"estimator must be an object; got the class {estimator.__name__}. Add ().")
    if hasattr(estimator, "fit") and hasattr(estimator, "predict"):
        return estimator
    if callable(estimator):
        return CallableClassifier(estimator)
    raise InvalidParameterError(
        f"estimator must be a classifier with fit and predict, a callable f(X, y, X_test) -> probabilities, or None; got "
        f"{type(estimator).__name__}."
    )


def make_sources(augmenters, estimator, modality, image_size, baselines):
    """All sources, baselines first, and notes on arms that cannot be had.

    Parameters
    ----------
    augmenters : dict {name: object}
    estimator : object
        As `resolve_estimator` gives it.
    modality : {"table", "image"}
    image_size : (height, width) or None
    baselines : "auto" or sequence of str

    Raises
    ------
    InvalidParameterError
        An unknown baseline, or an augmenter of the same name as one.
    """
    sources, notes = _baselines(estimator, modality, image_size)
    known = [learner.arm for source in sources for learner in source.learners]
    if baselines != "auto":
        unknown = [name for name in baselines if name not in known]
        if isinstance(baselines, str) or unknown:
            raise InvalidParameterError(
                f"baselines must be 'auto' or some of {', '.join(map(repr, known))} (which this estimator can have); got "
                f"{unknown[0] if unknown and not isinstance(baselines, str) else baselines!r}."
            )
        sources = [_only(source, {NONE, *baselines}) for source in sources]
        sources, notes = [source for source in sources if source.learners], []
    clash = sorted({f"{name}{ending}" for name in augmenters for ending in ("", f" + {CLASSIC}")} & set(known))
    if clash:
        raise InvalidParameterError(f"augmenters has the name {clash[0]!r}, which is that of a baseline. Choose another.")
    for name, augmenter in augmenters.items():
        learners = [Learner(name, estimator)]
        if isinstance(estimator, ImageClassifier) and estimator.augment is None:
            learners.append(Learner(f"{name} + {CLASSIC}", clone(estimator).set_params(augment="classic")))
        sources.append(Source(name, augmenter, tuple(learners), False))
    return sources, notes


def _baselines(estimator, modality, image_size):
    notes, plain = _already_weighted(estimator), [Learner(NONE, estimator)]
    weighted = _weighted(estimator)
    if weighted is None:
        notes.append(f"No arm {WEIGHTS!r}: {type(estimator).__name__} takes neither class_weight nor sample_weight.")
    else:
        plain.append(weighted)
    sources = [Source(NONE, None, tuple(plain), True)]
    copies = [Learner(COPIES, estimator)]
    if modality == "table":
        return [
            *sources,
            Source(COPIES, RandomCopies(), tuple(copies), True),
            Source(SMOTE, TableSMOTE(), (Learner(SMOTE, estimator),), True),
        ], notes
    if isinstance(estimator, ImageClassifier):
        if estimator.augment is None:
            copies.append(Learner(CLASSIC, clone(estimator).set_params(augment="classic")))
        if not estimator.mixup:
            copies.append(Learner(MIXUP, clone(estimator).set_params(mixup=True)))
        return [*sources, Source(COPIES, RandomCopies(), tuple(copies), True)], notes
    notes.append(f"No arm {MIXUP!r}: it needs the built-in classifier (estimator=None), or that your own does it.")
    changed = ClassicCopies(classic_augmentation(*image_size))
    return [
        *sources,
        Source(COPIES, RandomCopies(), tuple(copies), True),
        Source(CLASSIC, changed, (Learner(CLASSIC, estimator),), True),
    ], notes


def _already_weighted(estimator):
    """A note where the arm that does nothing does something after all."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    given = [
        f"{name}={params[name]!r}" for name in params if name.split("__")[-1] == "class_weight" and params[name] is not None
    ]
    return [f"The estimator weighs classes itself ({given[0]}), so that every arm does, {NONE!r} included."] if given else []


def _weighted(estimator):
    """The estimator with classes that weigh the same, by its own parameter or by sample weights; None if it has neither."""
    params = estimator.get_params() if hasattr(estimator, "get_params") else {}
    names = [name for name in params if name.split("__")[-1] == "class_weight"]
    if names:
        return Learner(WEIGHTS, clone(estimator).set_params(**dict.fromkeys(names, "balanced")))
    return Learner(WEIGHTS, estimator, balance=True) if weight_keyword(estimator) else None


def _only(source, names):
    learners = tuple(learner for learner in source.learners if learner.arm in names)
    return Source(source.name, source.augmenter, learners, source.is_baseline)
