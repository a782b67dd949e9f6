"""A classifier that augments its own training rows, and nothing else, in every ``fit``.

Enters: X and y as the estimator and the augmenter take them. Leaves: a scikit-learn classifier.
"""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _num_samples, check_is_fitted

from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.sampling.resampled import check_same_columns, flat_labels, kept_rows, originals_come_first, take
from augment_gen.sampling.row_weights import all_weights, checked_weights, class_totals, weight_keyword
from augment_gen.seeding import numpy_generator


def _estimator_has(*methods):
    def check(self):
        return all(hasattr(getattr(self, "estimator_", self.estimator), name) for name in methods)

    return check


def _decides(self):
    """Corrected decisions are made from probabilities, others come from the estimator as they are."""
    return _estimator_has("predict_proba" if self.prior_correction else "decision_function")(self)


class AugmentedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Classifier that is trained on augmented rows, and predicts like any other.

    Every `fit` clones the augmenter, trains it on the rows of that call alone, and trains a clone of the estimator on what
    it returns. In cross-validation, in a search, in a wrapper that calibrates or tunes a threshold, synthetic rows therefore
    never know the rows that a score is computed on, and no score is computed on synthetic rows.

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier or Pipeline. It sees X as it is given, and the augmenter's rows in the same container.
    augmenter : object with ``fit_resample``, "passthrough" or None, default=None
        `ConditionalVAE`, `ConditionalGAN`, SMOTE, or any other. It sees X as it is given too: what scales or encodes columns
        belongs into `estimator`, or before the whole. "passthrough" and None augment nothing.
    keep_fraction : float in [0, 1], default=1.0
        Share of the synthetic rows that are kept: of the m of each class ``round(keep_fraction * m)``, drawn at random. The
        augmenter is trained and sampled as for 1.
    synthetic_weight : float, default=1.0
        Sample weight of a synthetic row, in units of the mean weight of its class's real rows (1, where no weights are
        given). The estimator has to take ``sample_weight``; of a Pipeline, its last step does.
    prior_correction : bool, default=False
        Map probabilities back to the class frequencies of the rows given to `fit`. A classifier trained on balanced rows
        takes rare classes for frequent ones, and overstates their probability. The corrected one is proportional to
        ``p * frequency in y / frequency in the augmented rows`` (Saerens, Latinne and Decaestecker 2002, for known priors);
        `predict` and `decision_function` follow from it, so that the gain in recall of balanced training at the default
        threshold is given back: choose a threshold with `TunedThresholdClassifierCV`. Needs ``predict_proba`` and an
        estimator without class weights of its own.
    random_state : None, int, RandomState or Generator
        For the draw of `keep_fraction` only; the augmenter and the estimator have their own.

    Attributes
    ----------
    estimator_ : classifier
        Fitted.
    augmenter_ : object or None
        Fitted: ``augmenter_.latent_report_``, for instance.
    classes_ : ndarray (n_classes,)
    n_synthetic_ : dict {label: int}
        Rows of each class by which the training rows became more (or fewer, below 0, with an under-sampler).
    prior_ratio_ : float ndarray (n_classes,)
        Frequency of each class in y, divided by that in the rows that the estimator was trained on, both weighted.
    n_features_in_, feature_names_in_
        The estimator's, where it has them.

    Notes
    -----
    `keep_fraction`, `synthetic_weight` and `sample_weight` need to know which rows are synthetic: the augmenter must return
    the original rows first and in their order, as all of imbalanced-learn's over-samplers and this package's generators do.
    An augmenter that drops or reorders rows is used as it is without those, and refused with them.

    References
    ----------
    Saerens, Latinne and Decaestecker (2002), "Adjusting the outputs of a classifier to new a priori probabilities: a simple
    procedure", Neural Computation 14.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from augment_gen import AugmentedClassifier, ConditionalVAE
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> augmented = AugmentedClassifier(model, ConditionalVAE(max_steps=50, random_state=0), synthetic_weight=0.5)
    >>> bool(cross_val_score(augmented, X, y, cv=2, scoring="balanced_accuracy").mean() > 0.9)
    True
    >>> augmented.fit(X, y).n_synthetic_
    {0: 145, 1: 0}
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict"])],
        "augmenter": [HasMethods(["fit_resample"]), StrOptions({"passthrough"}), None],
        "keep_fraction": [Interval(Real, 0, 1, closed="both")],
        "synthetic_weight": [Interval(Real, 0, None, closed="left")],
        "prior_correction": ["boolean"],
        "random_state": ["random_state", np.random.Generator],
    }

    def __init__(
        self,
        estimator,
        augmenter=None,
        *,
        keep_fraction=1.0,
        synthetic_weight=1.0,
        prior_correction=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.augmenter = augmenter
        self.keep_fraction = keep_fraction
        self.synthetic_weight = synthetic_weight
        self.prior_correction = prior_correction
        self.random_state = random_state

    # ------------------------------------------------------------------- fit
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, sample_weight=None):
        """Train the augmenter on X and y, and the estimator on what it returns.

        Parameters
        ----------
        X : DataFrame, array, tensor or list, n rows
            Whatever both the augmenter and the estimator take; it reaches both as it is.
        y : array-like (n,)
            Class labels.
        sample_weight : array-like (n,), optional
            Of the real rows; see `synthetic_weight` for the others. Rows of weight 0 are left out altogether. The augmenter
            sees no weights.

        Returns
        -------
        self

        Raises
        ------
        InvalidParameterError
            Weights for an estimator that takes none, or `prior_correction` for one without probabilities or with class
            weights.
        InvalidDataError
            The augmenter returned rows that cannot be used as asked.
        """
        X, y = self._checked(X, y)
        weighted = sample_weight is not None
        keyword = self._weight_keyword() if weighted or (self.synthetic_weight != 1 and self._augments) else None
        if weighted:
            sample_weight, rows = checked_weights(sample_weight, flat_labels(y))
            X, y = (X, y) if len(rows) == _num_samples(X) else (take(X, rows), take(y, rows))
        X_all, y_all, augmenter = self._augmented(X, y, weighted)
        labels, weights = flat_labels(y_all), None
        if keyword is not None:
            weights = all_weights(labels, _num_samples(X), sample_weight, self.synthetic_weight)
        self.estimator_ = clone(self.estimator).fit(X_all, y_all, **({} if keyword is None else {keyword: weights}))
        self.augmenter_ = augmenter
        self._describe(flat_labels(y), sample_weight, labels, weights)
        return self

    def _describe(self, real, real_weights, trained, trained_weights):
        """The fitted attributes that follow from the labels that were given, and those that were trained on."""
        self.classes_ = self.estimator_.classes_
        added = class_totals(trained, self.classes_) - class_totals(real, self.classes_)
        self.n_synthetic_ = dict(zip(self.classes_.tolist(), added.astype(int).tolist(), strict=True))
        before, after = class_totals(real, self.classes_, real_weights), class_totals(trained, self.classes_, trained_weights)
        self.prior_ratio_ = (before / before.sum()) / (after / after.sum())
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))

    @property
    def _augments(self):
        return not (self.augmenter is None or isinstance(self.augmenter, str))

    def _checked(self, X, y):
        if y is None:
            raise InvalidDataError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        X, y = (np.asarray(each) if _is_bare(each) else each for each in (X, y))
        if not isinstance(y, torch.Tensor) and np.asarray(y).ndim == 2:
            y = column_or_1d(np.asarray(y), warn=True)
        check_classification_targets(flat_labels(y))
        if _num_samples(X) != _num_samples(y):
            raise InvalidDataError(
                f"Found input variables with inconsistent numbers of samples: X has {_num_samples(X)} rows, y has "
                f"{_num_samples(y)} labels. Every row needs one label."
            )
        if isinstance(self.augmenter, type):
            raise InvalidParameterError(f"augmenter must be an object; got the class {self.augmenter.__name__}. Add ().")
        if self.prior_correction:
            self._check_correction()
        return X, y

    def _check_correction(self):
        if not hasattr(self.estimator, "predict_proba"):
            raise InvalidParameterError(
                f"prior_correction=True needs an estimator with predict_proba, which {type(self.estimator).__name__} is not. "
                "Wrap it in CalibratedClassifierCV, or set prior_correction=False."
            )
        params = self.estimator.get_params() if hasattr(self.estimator, "get_params") else {}
        weights = [name for name, value in params.items() if name.split("__")[-1] == "class_weight" and value is not None]
        if weights:
            raise InvalidParameterError(
                f"prior_correction=True undoes the class frequencies that the estimator was trained on, which {weights[0]}="
                f"{params[weights[0]]!r} changes once more. Set it to None, or prior_correction=False."
            )

    def _weight_keyword(self):
        keyword = weight_keyword(self.estimator)
        if keyword is None:
            raise InvalidParameterError(
                f"sample_weight, or a synthetic_weight other than 1 (it is {self.synthetic_weight}), needs an estimator whose "
                f"fit takes sample_weight, and {type(self.estimator).__name__} does not. Take another estimator, or leave "
                "weights out; keep_fraction too lowers the influence of synthetic rows."
            )
        return keyword

    def _augmented(self, X, y, weighted):
        """X and y to train on, and the fitted augmenter; the real rows come first where anything depends on that."""
        if not self._augments:
            return X, y, None
        augmenter = clone(self.augmenter, safe=False)
        X_all, y_all = augmenter.fit_resample(X, y)
        check_same_columns(augmenter, X, X_all)
        asked = {
            f"keep_fraction={self.keep_fraction}": self.keep_fraction != 1,
            f"synthetic_weight={self.synthetic_weight}": self.synthetic_weight != 1,
            "sample_weight": weighted,
        }
        if not any(asked.values()):
            return X_all, y_all, augmenter
        if not originals_come_first(X, y, X_all, y_all):
            raise InvalidDataError(
                f"{type(augmenter).__name__}.fit_resample did not return the original rows first and untouched, so that "
                f"{', '.join(name for name, given in asked.items() if given)} cannot tell real rows from synthetic ones. Use "
                "an over-sampler, or leave those out."
            )
        if self.keep_fraction != 1:
            rng = numpy_generator(self.random_state)
            rows = kept_rows(flat_labels(y_all), _num_samples(X), self.keep_fraction, rng)
            X_all, y_all = take(X_all, rows), take(y_all, rows)
        return X_all, y_all, augmenter

    # --------------------------------------------------------------- predict
    def predict(self, X):
        """Labels (n,) of the rows of X; with `prior_correction` those of the highest corrected probability."""
        check_is_fitted(self, "estimator_")
        if not self.prior_correction:
            return self.estimator_.predict(X)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Probability of each class, float (n, n_classes), in the order of ``classes_``."""
        check_is_fitted(self, "estimator_")
        probabilities = self.estimator_.predict_proba(X)
        if not self.prior_correction:
            return probabilities
        corrected = probabilities * self.prior_ratio_  # Saerens et al. 2002
        return corrected / corrected.sum(axis=1, keepdims=True)

    @available_if(_estimator_has("predict_proba"))
    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`."""
        check_is_fitted(self, "estimator_")
        if not self.prior_correction and hasattr(self.estimator_, "predict_log_proba"):
            return self.estimator_.predict_log_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_decides)
    def decision_function(self, X):
        """The estimator's own; with `prior_correction` the log odds of the corrected probabilities.

        Returns
        -------
        float (n,) for two classes, above 0 for the second; (n, n_classes) for more, then logarithms of probabilities.
        """
        check_is_fitted(self, "estimator_")
        if not self.prior_correction:
            return self.estimator_.decision_function(X)
        logs = np.log(np.maximum(self.predict_proba(X), np.finfo(float).tiny))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.classifier_tags = inner.classifier_tags
        parts = [inner.input_tags]
        if self._augments and hasattr(self.augmenter, "__sklearn_tags__"):
            parts.append(get_tags(self.augmenter).input_tags)
        for name in ("sparse", "allow_nan", "string", "categorical"):
            setattr(tags.input_tags, name, all(getattr(part, name) for part in parts))
        return tags


def _is_bare(X):
    """Whether X is of a class that says nothing about itself but how to become an array."""
    return hasattr(X, "__array__") and not hasattr(X, "shape")
