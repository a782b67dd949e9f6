"""A classifier that finds out in its own training rows whether, with what and by how much to augment them.

Enters: X and y as the estimator and the augmenters take them. Leaves: a scikit-learn classifier.
"""

import warnings
from numbers import Integral, Real

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

from augment_gen.errors import EvaluationWarning, InvalidDataError, InvalidParameterError
from augment_gen.pipelines.sklearn import AugmentedClassifier
from augment_gen.sampling.resampled import flat_labels, named_augmenters, take
from augment_gen.seeding import draw_seed, numpy_generator

NONE = "none"


def _estimator_has(name):
    def check(self):
        return hasattr(self.classifier_ if hasattr(self, "classifier_") else self.estimator, name)

    return check


class AugmentedClassifierCV(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Classifier that chooses augmenter and amount, none included, by cross-validation on its training rows.

    Each augmenter is trained once per fold, and each share of its rows tried with the estimator. The best of these is taken if
    it beats training on the real rows alone by more than one standard error, and nothing otherwise: as augmentation often does
    not help, it has to show that it does. Rows are then drawn anew for all training rows.

    Parameters
    ----------
    estimator : classifier
        As for `AugmentedClassifier`.
    augmenters : dict {name: object}, list or object
        Objects with ``fit_resample`` that return the given rows first.
    keep_fractions : tuple of float in (0, 1], default=(0.25, 0.5, 1.0)
        Shares of an augmenter's rows to try.
    scoring : str or callable, default="balanced_accuracy"
        As in scikit-learn, higher is better.
    cv : int or splitter, default=5
        An int is the number of stratified, shuffled folds.
    synthetic_weight, prior_correction
        As for `AugmentedClassifier`, of every candidate.
    n_jobs : int, optional
        Processes, as in joblib.
    random_state : None, int, RandomState or Generator
        For the folds and the draw of the shares; the augmenters and the estimator have their own.

    Attributes
    ----------
    best_augmenter_ : str
        "none", or the name of the augmenter; that of its class where `augmenters` is no dict.
    best_fraction_ : float
        Share of its rows; 0 for "none".
    cv_results_ : DataFrame
        One row per candidate: "augmenter", "keep_fraction", "score" (mean over folds), "difference" (to none), and its
        "standard_error", corrected for folds that share training rows (Nadeau and Bengio 2003), "error" of one that failed.
    classifier_ : AugmentedClassifier
        Fitted on all training rows.
    classes_ : ndarray (n_classes,)
    n_features_in_, feature_names_in_
        The estimator's, where it has them.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from augment_gen import AugmentedClassifierCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = AugmentedClassifierCV(GaussianNB(), SMOTE(random_state=0), random_state=0).fit(X, y)
    >>> model.best_augmenter_, len(model.cv_results_)
    ('none', 4)
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "augmenters": [HasMethods(["fit_resample"]), dict, list, tuple, type],
        "keep_fractions": [tuple, list],
        "scoring": [str, callable],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods(["split"])],
        "synthetic_weight": [Interval(Real, 0, None, closed="left")],
        "prior_correction": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimator,
        augmenters,
        *,
        keep_fractions=(0.25, 0.5, 1.0),
        scoring="balanced_accuracy",
        cv=5,
        synthetic_weight=1.0,
        prior_correction=False,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.augmenters = augmenters
        self.keep_fractions = keep_fractions
        self.scoring = scoring
        self.cv = cv
        self.synthetic_weight = synthetic_weight
        self.prior_correction = prior_correction
        self.n_jobs = n_jobs
        self.random_state = random_state

    # ------------------------------------------------------------------- fit
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Choose on X and y by cross-validation, and train on all of them.

        Parameters
        ----------
        X : DataFrame, array, tensor or list, n rows
        y : array-like (n,)
            Class labels.

        Returns
        -------
        self

        Raises
        ------
        InvalidDataError
            A class has fewer rows than there are folds.

        Warns
        -----
        EvaluationWarning
            An augmenter raised an error; the others were compared without it.
        """
        augmenters = named_augmenters(self.augmenters)
        self._check(augmenters, y)
        seed = draw_seed(numpy_generator(self.random_state)) % 2**31
        folds = self._folds(X, y, seed)
        found = self._scores(X, y, augmenters, folds, seed)
        self.cv_results_ = self._table(found, augmenters, folds)
        self.best_augmenter_, self.best_fraction_ = _choice(self.cv_results_)
        chosen = augmenters.get(self.best_augmenter_)
        self.classifier_ = self._candidate(chosen, self.best_fraction_ or 1.0, seed).fit(X, y)
        self.classes_ = self.classifier_.classes_
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(self.classifier_, name):
                setattr(self, name, getattr(self.classifier_, name))
        return self

    def _check(self, augmenters, y):
        if y is None:
            raise InvalidDataError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        if NONE in augmenters:
            raise InvalidParameterError(f"augmenters must not be named {NONE!r}: that is the name of doing nothing.")
        is_share = lambda share: isinstance(share, Real) and not isinstance(share, bool) and 0 < share <= 1
        if not self.keep_fractions or not all(map(is_share, self.keep_fractions)):
            raise InvalidParameterError(
                f"keep_fractions must be numbers above 0 and up to 1, such as (0.25, 0.5, 1.0); got {self.keep_fractions!r}."
            )

    def _folds(self, X, y, seed):
        """List of (train, test), int arrays."""
        labels = flat_labels(y)
        check_classification_targets(labels)
        if _num_samples(X) != len(labels):
            raise InvalidDataError(
                f"Found input variables with inconsistent numbers of samples: X has {_num_samples(X)} rows, y has "
                f"{len(labels)} labels. Every row needs one label."
            )
        classes, counts = np.unique(labels, return_counts=True)
        if len(classes) < 2:
            raise InvalidDataError(f"y has 1 class (n_samples={len(labels)}); a classifier needs at least two.")
        if not isinstance(self.cv, Integral):
            return [(np.asarray(train), np.asarray(test)) for train, test in self.cv.split(X, labels)]
        if counts.min() < self.cv:
            raise InvalidDataError(
                f"Class {classes[counts.argmin()]!r} has {counts.min()} rows, fewer than the {self.cv} folds of cv. Lower cv, "
                "or merge or drop the class."
            )
        folds = StratifiedKFold(self.cv, shuffle=True, random_state=seed)
        return list(folds.split(labels, labels))

    def _candidate(self, augmenter, fraction, seed):
        return AugmentedClassifier(
            self.estimator,
            augmenter,
            keep_fraction=fraction,
            synthetic_weight=self.synthetic_weight,
            prior_correction=self.prior_correction,
            random_state=seed,
        )

    def _scores(self, X, y, augmenters, folds, seed):
        """{(name, fold): dict of score by fraction, or text of an error}."""
        scorer = check_scoring(self.estimator, scoring=self.scoring)
        cells = [(name, fold) for fold in range(len(folds)) for name in (NONE, *augmenters)]
        cell = joblib.delayed(_score_fold)
        found = joblib.Parallel(n_jobs=self.n_jobs)(
            cell(self, augmenters.get(name), X, y, *folds[fold], scorer, seed + fold) for name, fold in cells
        )
        return dict(zip(cells, found, strict=True))

    def _table(self, found, augmenters, folds):
        n_folds, rows = len(folds), []
        share = np.mean([len(test) / len(train) for train, test in folds])
        alone = np.array([found[NONE, fold][None] for fold in range(n_folds)])
        rows.append((NONE, 0.0, alone.mean(), 0.0, 0.0, ""))
        for name in augmenters:
            errors = [found[name, fold] for fold in range(n_folds) if isinstance(found[name, fold], str)]
            if errors:
                warnings.warn(f"The augmenter {name!r} failed and was left out: {errors[0]}", EvaluationWarning, stacklevel=4)
            for fraction in self.keep_fractions:
                if errors:
                    rows.append((name, fraction, np.nan, np.nan, np.nan, errors[0]))
                    continue
                scores = np.array([found[name, fold][fraction] for fold in range(n_folds)])
                gap = scores - alone
                error = np.sqrt(1 / n_folds + share) * gap.std(ddof=1)  # Nadeau and Bengio 2003
                rows.append((name, fraction, scores.mean(), gap.mean(), error, ""))
        columns = ["augmenter", "keep_fraction", "score", "difference", "standard_error", "error"]
        return pd.DataFrame(rows, columns=columns)

    # --------------------------------------------------------------- predict
    def predict(self, X):
        """Labels (n,) of the rows of X."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Probability of each class, float (n, n_classes), in the order of ``classes_``."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_proba(X)

    @available_if(_estimator_has("predict_proba"))
    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.predict_log_proba(X)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X):
        """As `AugmentedClassifier.decision_function`."""
        check_is_fitted(self, "classifier_")
        return self.classifier_.decision_function(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.classifier_tags = inner.classifier_tags
        for name in ("sparse", "allow_nan", "string", "categorical"):
            setattr(tags.input_tags, name, getattr(inner.input_tags, name))
        return tags


class _Drawn:
    """Rows that an augmenter has drawn already, as an augmenter: shares of them need no second training."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def fit_resample(self, X, y):
        return self.X, self.y

    def __deepcopy__(self, memo):
        return self  # scikit-learn clones what it is given; the rows are only read


def _score_fold(model, augmenter, X, y, train, test, scorer, seed):
    """{fraction: score} on the test rows of one augmenter (None: {None: score}); the text of the error where it raises."""
    X_train, y_train, X_test, y_test = (take(each, rows) for rows in (train, test) for each in (X, y))
    if augmenter is None:
        return {None: scorer(model._candidate(None, 1.0, seed).fit(X_train, y_train), X_test, y_test)}
    try:
        drawn = _Drawn(*clone(augmenter, safe=False).fit_resample(X_train, y_train))
        candidates = {fraction: model._candidate(drawn, fraction, seed) for fraction in model.keep_fractions}
        return {fraction: scorer(each.fit(X_train, y_train), X_test, y_test) for fraction, each in candidates.items()}
    except InvalidParameterError:  # what no augmenter can mend
        raise
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _choice(table):
    """Name and share of the best candidate, if it beats "none" by more than a standard error; else ("none", 0)."""
    usable = table[table["error"] == ""].iloc[1:]
    if len(usable):
        best = usable.loc[usable["score"].idxmax()]
        if best["difference"] > best["standard_error"]:
            return best["augmenter"], float(best["keep_fraction"])
    return NONE, 0.0
