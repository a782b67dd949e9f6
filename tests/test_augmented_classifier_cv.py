"""AugmentedClassifierCV augments where that helps in its own training rows, and lets be where it does not."""

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from augment_gen import AugmentedClassifierCV, ConditionalVAE
from augment_gen.errors import EvaluationWarning, InvalidDataError, InvalidParameterError


class Noise(BaseEstimator):
    """As many rows again, with labels drawn at random."""

    def fit_resample(self, X, y):
        rng, n = np.random.default_rng(0), len(X)
        return np.concatenate([X, X[rng.integers(n, size=n)]]), np.concatenate([y, rng.integers(2, size=n)])


class Broken(BaseEstimator):
    def fit_resample(self, X, y):
        raise RuntimeError("out of ink")


@pytest.fixture(scope="module")
def rare():
    return make_classification(500, n_features=6, weights=[0.9], class_sep=0.8, flip_y=0, random_state=0)


# classes in scikit-learn's checks are too small for more than two folds
@parametrize_with_checks([AugmentedClassifierCV(LogisticRegression(), RandomOverSampler(random_state=0), cv=2, random_state=0)])
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_what_helps_is_chosen(rare):
    augmenters = {
        "noise": Noise(),
        "SMOTE": SMOTE(random_state=0),
        "vae": ConditionalVAE(max_steps=20, random_state=0, device="cpu"),
    }
    model = AugmentedClassifierCV(LogisticRegression(), augmenters, cv=3, random_state=0).fit(*rare)
    assert model.best_augmenter_ in ("SMOTE", "vae") and model.best_fraction_ in (0.25, 0.5, 1.0)
    table = model.cv_results_.set_index(["augmenter", "keep_fraction"])
    assert len(table) == 10 and table["score"].idxmax() == (model.best_augmenter_, model.best_fraction_)
    best = table.loc[(model.best_augmenter_, model.best_fraction_)]
    assert best["difference"] > best["standard_error"] > 0
    assert best["difference"] == pytest.approx(best["score"] - table.loc[("none", 0.0), "score"])
    rarer = model.classifier_.n_synthetic_[1]
    assert rarer == round(model.best_fraction_ * ((rare[1] == 0).sum() - (rare[1] == 1).sum()))
    assert cross_val_score(model, *rare, cv=2, scoring="balanced_accuracy").mean() > 0.8


def test_what_does_not_help_is_left_alone(rare):
    """Ranks do not gain from copies, nor anything from noise: then nothing is augmented, and nothing is lost."""
    augmenters = {"noise": Noise(), "copies": RandomOverSampler(random_state=0)}
    model = AugmentedClassifierCV(LogisticRegression(), augmenters, cv=3, scoring="neg_brier_score", random_state=0).fit(*rare)
    assert (model.best_augmenter_, model.best_fraction_) == ("none", 0.0)
    assert model.classifier_.augmenter_ is None
    np.testing.assert_array_equal(model.predict_proba(rare[0]), LogisticRegression().fit(*rare).predict_proba(rare[0]))


def test_an_augmenter_is_trained_once_a_fold_and_fails_alone(rare):
    calls = []

    class Counts(SMOTE):
        def fit_resample(self, X, y):
            calls.append(len(y))
            return super().fit_resample(X, y)

    with pytest.warns(EvaluationWarning, match="'Broken' failed and was left out: RuntimeError: out of ink"):
        model = AugmentedClassifierCV(LogisticRegression(), [Counts(random_state=0), Broken()], cv=4, random_state=0).fit(*rare)
    assert calls[:4] == [375] * 4 and calls[4:] == [500] * (model.best_augmenter_ == "Counts")
    errors = model.cv_results_.set_index("augmenter")["error"]
    assert (errors["Broken"] == "RuntimeError: out of ink").all() and (errors["Counts"] == "").all()


def test_seeds_frames_images_and_processes(rare):
    X, y = pd.DataFrame(rare[0]).add_prefix("x"), pd.Series(rare[1]).map({0: "common", 1: "rare"})
    gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu", novelty_filter=False)
    fit = lambda **params: AugmentedClassifierCV(LogisticRegression(), gen, cv=2, random_state=0, **params).fit(X, y)
    one, two = fit(), fit(n_jobs=2)
    pd.testing.assert_frame_equal(one.cv_results_, two.cv_results_)
    assert one.feature_names_in_.tolist() == list(X.columns) and one.classes_.tolist() == ["common", "rare"]
    digits = load_digits(n_class=2)
    keep = np.r_[np.flatnonzero(digits.target == 0)[:60], np.flatnonzero(digits.target == 1)[:20]]
    flat = make_pipeline(FunctionTransformer(lambda X: X.reshape(len(X), -1)), LogisticRegression())
    images = digits.images[keep].astype(np.uint8)
    model = AugmentedClassifierCV(flat, gen.set_params(batch_size=16), cv=2, random_state=0).fit(images, digits.target[keep])
    assert model.score(images, digits.target[keep]) > 0.9


@pytest.mark.parametrize(
    ("params", "y", "message"),
    [
        ({}, np.repeat([0, 1], [496, 4]), "Class .*1.* has 4 rows, fewer than the 5 folds"),
        ({"augmenters": {"none": SMOTE()}}, None, "must not be named 'none'"),
        ({"augmenters": []}, None, "augmenters is empty"),
        ({"augmenters": SMOTE}, None, "got the class SMOTE"),
        ({"keep_fractions": (0, 1)}, None, "keep_fractions must be numbers above 0"),
        ({"estimator": KNeighborsClassifier(), "synthetic_weight": 0.5}, None, "KNeighborsClassifier does not"),
        ({"cv": 1}, None, "'cv' parameter"),
    ],
)
def test_what_cannot_work_is_refused(rare, params, y, message):
    model = AugmentedClassifierCV(LogisticRegression(), SMOTE()).set_params(**params)
    with pytest.raises((InvalidDataError, InvalidParameterError, ValueError), match=message):
        model.fit(rare[0], rare[1] if y is None else y)
