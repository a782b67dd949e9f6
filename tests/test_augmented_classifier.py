"""AugmentedClassifier: synthetic rows reach the estimator as asked, and never leave the training rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, make_scorer, recall_score
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from augment_gen import AugmentedClassifier, ConditionalGAN, ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError

CREDIT = Path(__file__).parent.parent / "examples" / "data" / "german_credit.csv"
GENERATORS = [ConditionalVAE, ConditionalGAN]


def small(kind=ConditionalVAE, **params):
    return kind(**{"max_steps": 5, "random_state": 0, "device": "cpu", "novelty_filter": False, **params})


class Spy(ClassifierMixin, BaseEstimator):
    """Keeps what it was trained on, and takes weights."""

    def fit(self, X, y, sample_weight=None):
        self.X_, self.y_, self.weights_ = X, y, sample_weight
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


class FromOutside:
    """An augmenter that is no scikit-learn object: one more row of class 1 for each that there is, and 100 higher."""

    def fit_resample(self, X, y):
        self.seen_ = len(y)
        return np.concatenate([X, X[y == 1] + 100]), np.concatenate([y, y[y == 1]])


@pytest.fixture(scope="module")
def rare():
    """600 rows of which a tenth is of class 1."""
    return make_classification(600, n_features=6, weights=[0.9], class_sep=0.7, flip_y=0, random_state=0)


# ---------------------------------------------------------------- conventions
def fails_by_nature(estimator):
    expected = {}
    if not isinstance(estimator.augmenter, str | None):
        reason = "what an augmenter draws does not depend on sample_weight"
        expected |= {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}
    if isinstance(estimator.augmenter, ConditionalVAE):
        expected["check_dtype_object"] = "the generator refuses a dict in a cell with a TypeError of its own wording"
    return expected


@pytest.mark.filterwarnings("ignore::augment_gen.errors.SmallClassWarning")
@parametrize_with_checks(
    [
        AugmentedClassifier(LogisticRegression()),
        AugmentedClassifier(LogisticRegression(), "passthrough", prior_correction=True),
        AugmentedClassifier(LogisticRegression(), RandomOverSampler(random_state=0), prior_correction=True),
        AugmentedClassifier(LogisticRegression(), small(max_steps=2, min_class_size=1), synthetic_weight=0.5, random_state=0),
    ],
    expected_failed_checks=fails_by_nature,
)
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_missing_cells_and_text_are_announced_only_where_both_take_them():
    from sklearn.utils import get_tags

    for augmenter, takes in ((None, True), (small(), True), (SMOTE(), False)):
        assert get_tags(AugmentedClassifier(HistGradientBoostingClassifier(), augmenter)).input_tags.allow_nan is takes


# ------------------------------------------------------- what reaches whom
def test_both_see_the_frame_as_it_is(mixed):
    X, y = mixed
    model = AugmentedClassifier(Spy(), small()).fit(X, y)
    spied = model.estimator_
    pd.testing.assert_frame_equal(spied.X_.iloc[: len(X)], X)
    assert spied.X_.dtypes.tolist() == X.dtypes.tolist() and spied.X_["float32"].iloc[len(X) :].isna().any()
    assert spied.y_.name == "diagnosis" and spied.weights_ is None
    assert model.augmenter_.codec_.modality == "table" and not hasattr(model.augmenter, "codec_")
    added = (y == "benign").sum() - (y == "malignant").sum()
    assert model.n_synthetic_ == {"benign": max(0, -added), "malignant": max(0, added)}


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_real_table_with_text_and_gaps_is_classified(kind):
    table = pd.read_csv(CREDIT, keep_default_na=False, na_values=[""])
    X, y = table.drop(columns="credit"), table["credit"]
    words = make_column_selector(dtype_exclude="number")
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = make_column_transformer((encode, words), remainder="passthrough")
    estimator = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20))
    model = AugmentedClassifier(estimator, small(kind, max_steps=20)).fit(X[::2], y[::2])
    assert X.isna().any().any() and recall_score(y[1::2], model.predict(X[1::2]), pos_label="bad") > 0.4
    assert model.feature_names_in_.tolist() == list(X.columns) and model.n_features_in_ == X.shape[1]
    assert model.predict_proba(X[1::2]).shape == (500, 2) and model.classes_.tolist() == ["bad", "good"]


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor])
def test_images(kind, container):
    digits = load_digits(n_class=3)
    keep = np.r_[np.flatnonzero(digits.target < 2), np.flatnonzero(digits.target == 2)[:20]]
    X, y = container(digits.images[keep].astype(np.uint8)), digits.target[keep]
    flat = FunctionTransformer(lambda X: np.asarray(X).reshape(len(X), -1))
    model = AugmentedClassifier(make_pipeline(flat, StandardScaler(), LogisticRegression()), small(kind, batch_size=16))
    model.fit(X, y)
    assert model.n_synthetic_[2] == 162 and model.score(X, y) > 0.9
    assert np.isfinite(cross_val_score(model, X, y, cv=2)).all() if container is np.asarray else True


def test_anything_with_fit_resample_is_an_augmenter(rare):
    X, y = rare
    given = FromOutside()
    model = AugmentedClassifier(Spy(), given).fit(X, y)
    assert model.n_synthetic_ == {0: 0, 1: (y == 1).sum()} and model.augmenter_.seen_ == len(y)
    assert not hasattr(given, "seen_"), "the user's own object is left alone"
    assert AugmentedClassifier(Spy(), SMOTE(random_state=0)).fit(X, y).n_synthetic_ == {
        0: 0,
        1: (y == 0).sum() - (y == 1).sum(),
    }
    assert AugmentedClassifier(Spy(), RandomUnderSampler(random_state=0)).fit(X, y).n_synthetic_[0] < 0


@pytest.mark.parametrize("nothing", [None, "passthrough"])
def test_no_augmenter_changes_nothing(rare, nothing):
    model = AugmentedClassifier(LogisticRegression(), nothing, prior_correction=True, synthetic_weight=0.5).fit(*rare)
    np.testing.assert_allclose(model.predict_proba(rare[0]), LogisticRegression().fit(*rare).predict_proba(rare[0]))
    assert model.augmenter_ is None and model.n_synthetic_ == {0: 0, 1: 0} and model.prior_ratio_.tolist() == [1, 1]


# ------------------------------------------------------------------- leakage
class Guard(FromOutside, BaseEstimator):
    """Refuses rows that it has been told are for testing, and marks what it draws."""

    def __init__(self, forbidden=None):
        self.forbidden = forbidden

    def fit_resample(self, X, y):
        assert not np.isin(X[:, 0], self.forbidden).any(), "a test row reached the augmenter"
        return super().fit_resample(X, y)


def test_the_augmenter_never_sees_the_fold_that_is_scored(rare):
    X, y = rare
    for train, test in StratifiedKFold(3).split(X, y):
        model = AugmentedClassifier(Spy(), Guard(X[test, 0]))
        scores = cross_val_score(model, X, y, cv=[(train, test)], error_score="raise")
        assert scores == [(y[test] == 0).mean()], "and no score is computed on synthetic rows"


# ------------------------------------------------------------------- amounts
def test_keep_fraction_keeps_a_share_of_each_class(rare):
    X, y = rare[0], np.where(rare[1] == 1, "rare", np.where(np.arange(600) % 3 == 0, "some", "most"))
    fit = lambda fraction, seed=0: AugmentedClassifier(
        Spy(), RandomOverSampler(random_state=0), keep_fraction=fraction, random_state=seed
    ).fit(X, y)
    whole = fit(1.0).n_synthetic_
    half = fit(0.5)
    assert {label: int(np.floor(n / 2 + 0.5)) for label, n in whole.items()} == half.n_synthetic_ and whole["some"] > 50
    np.testing.assert_array_equal(half.estimator_.X_[:600], X)
    assert (fit(0.0).estimator_.X_ == X).all()
    np.testing.assert_array_equal(fit(0.5).estimator_.X_, half.estimator_.X_)
    assert not np.array_equal(fit(0.5, seed=1).estimator_.X_, half.estimator_.X_)
    quarter, all_half = fit(0.25).estimator_.X_[600:], half.estimator_.X_[600:]
    assert (quarter[:, None] == all_half).all(-1).any(1).all(), "less is a part of more"


def test_synthetic_weight_reaches_the_estimator_and_its_pipelines(rare):
    X, y = rare
    weights = lambda estimator: AugmentedClassifier(estimator, FromOutside(), synthetic_weight=0.25).fit(X, y).estimator_
    expected = np.r_[np.ones(600), np.full((y == 1).sum(), 0.25)]
    assert weights(Spy()).weights_.tolist() == expected.tolist()
    assert weights(make_pipeline(StandardScaler(), Spy()))[-1].weights_.tolist() == expected.tolist()
    nested = weights(make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), Spy())))
    assert nested[-1][-1].weights_.tolist() == expected.tolist()
    searched = weights(GridSearchCV(make_pipeline(GaussianNB()), {"gaussiannb__var_smoothing": [1e-9, 1e-3]}, cv=2))
    assert searched.best_estimator_[-1].class_count_.tolist() == [(y == 0).sum(), 1.25 * (y == 1).sum()]


def test_weights_follow_metadata_routing_where_it_is_enabled(rare):
    augmented = lambda estimator: AugmentedClassifier(estimator, FromOutside(), synthetic_weight=0.25)
    with pytest.raises(InvalidParameterError, match="TunedThresholdClassifierCV does not"):
        augmented(TunedThresholdClassifierCV(LogisticRegression())).fit(*rare)
    with sklearn.config_context(enable_metadata_routing=True):
        scaler, spy = StandardScaler().set_fit_request(sample_weight=False), Spy().set_fit_request(sample_weight=True)
        routed = augmented(make_pipeline(scaler, spy)).fit(*rare).estimator_
        assert routed[-1].weights_[-1] == 0.25 and routed[-1].weights_[0] == 1
        scorer = make_scorer(balanced_accuracy_score).set_score_request(sample_weight=True)
        weighed = LogisticRegression().set_fit_request(sample_weight=True)
        tuned = TunedThresholdClassifierCV(weighed, scoring=scorer, cv=2)
        assert augmented(tuned).fit(*rare).score(*rare) > 0.6


def test_weights_of_real_rows_are_kept_and_set_the_scale_of_the_others(rare):
    X, y = rare
    given = np.where(y == 1, 30.0, 10.0)
    given[np.flatnonzero(y == 1)[:3]] = 0  # as good as absent: the augmenter does not see them
    model = AugmentedClassifier(Spy(), FromOutside(), synthetic_weight=0.5).fit(X, y, sample_weight=given)
    assert model.augmenter_.seen_ == 597
    assert model.estimator_.weights_.tolist() == [*given[given > 0], *[15.0] * ((y == 1).sum() - 3)]


@pytest.mark.parametrize(
    ("params", "given", "message"),
    [
        ({"synthetic_weight": 0.5}, {}, "KNeighborsClassifier does not.*keep_fraction"),
        ({}, {"sample_weight": np.ones(600)}, "sample_weight.*KNeighborsClassifier does not"),
        ({"prior_correction": True, "estimator": LogisticRegression(class_weight="balanced")}, {}, "class_weight='balanced'"),
        ({"prior_correction": True, "estimator": Spy()}, {}, "needs an estimator with predict_proba, which Spy is not"),
        ({"augmenter": SMOTE}, {}, "got the class SMOTE. Add"),
        ({"augmenter": StandardScaler()}, {}, "'augmenter' parameter .* must be an object implementing 'fit_resample'"),
        ({"keep_fraction": 1.5}, {}, "'keep_fraction' parameter"),
    ],
)
def test_what_cannot_work_is_refused_before_training(rare, params, given, message):
    model = AugmentedClassifier(KNeighborsClassifier(), small(max_steps=10**9)).set_params(**params)
    with pytest.raises(ValueError, match=message):
        model.fit(*rare, **given)


@pytest.mark.parametrize(
    ("params", "given", "named"),
    [
        ({"keep_fraction": 0.5}, {}, "keep_fraction=0.5"),
        ({"synthetic_weight": 2.0}, {}, "synthetic_weight=2.0"),
        ({}, {"sample_weight": np.ones(600)}, "sample_weight"),
    ],
)
def test_rows_that_are_not_where_they_should_be_are_never_weighed(rare, params, given, named):
    class Shuffles(FromOutside):
        def fit_resample(self, X, y):
            X, y = super().fit_resample(X, y)
            return X[::-1], y[::-1]

    for augmenter in (Shuffles(), RandomUnderSampler(random_state=0)):
        AugmentedClassifier(Spy(), augmenter).fit(*rare)
        with pytest.raises(InvalidDataError, match=f"did not return the original rows first.*{named} cannot tell"):
            AugmentedClassifier(Spy(), augmenter, **params).fit(*rare, **given)


def test_an_augmenter_that_changes_columns_is_refused(rare):
    class Wider(FromOutside):
        def fit_resample(self, X, y):
            return np.c_[X, X], y

    with pytest.raises(InvalidDataError, match=r"returned rows of shape \(12,\), but was given rows of shape \(6,\)"):
        AugmentedClassifier(Spy(), Wider()).fit(*rare)


# ------------------------------------------------------------ prior correction
@pytest.mark.parametrize("augmenter", [SMOTE(random_state=0), small(max_steps=100)], ids=lambda a: type(a).__name__)
def test_prior_correction_gives_back_honest_probabilities(augmenter):
    X, y = make_classification(3000, n_features=6, weights=[0.92], class_sep=0.7, random_state=0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
    plain, corrected = (
        AugmentedClassifier(LogisticRegression(), augmenter, prior_correction=on).fit(X, y) for on in (False, True)
    )
    p, q = plain.predict_proba(X_test)[:, 1], corrected.predict_proba(X_test)[:, 1]
    assert brier_score_loss(y_test, q) < 0.6 * brier_score_loss(y_test, p)
    assert p.mean() > 2.5 * y_test.mean() and abs(q.mean() - y_test.mean()) < 0.35 * y_test.mean()
    assert (np.argsort(p) == np.argsort(q)).all(), "ranks, and so the AUC, stay"
    by_hand = p * y.mean() / 0.5 / (p * y.mean() / 0.5 + (1 - p) * (1 - y.mean()) / 0.5)
    np.testing.assert_allclose(q, by_hand)
    assert (corrected.predict(X_test) == (q > 0.5)).all() and corrected.predict(X_test).mean() < plain.predict(X_test).mean()
    np.testing.assert_allclose(corrected.decision_function(X_test), np.log(q / (1 - q)))
    np.testing.assert_allclose(np.exp(corrected.predict_log_proba(X_test)[:, 1]), q)


def test_prior_correction_counts_weights():
    X, y = make_classification(2000, n_features=6, n_informative=4, n_classes=3, weights=[0.8, 0.15], random_state=0)
    fit = lambda **params: AugmentedClassifier(LogisticRegression(), RandomOverSampler(random_state=0), **params).fit(X, y)
    half = fit(synthetic_weight=0.5, prior_correction=True)
    counts = np.bincount(y)
    trained = counts + 0.5 * (counts.max() - counts)
    np.testing.assert_allclose(half.prior_ratio_, counts / counts.sum() / (trained / trained.sum()))
    assert half.decision_function(X).shape == (2000, 3)
    assert (half.predict(X) == half.decision_function(X).argmax(axis=1)).all()
    np.testing.assert_allclose(half.predict_proba(X).sum(axis=1), 1)


# ------------------------------------------------------- scikit-learn's tools
@pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning")
@pytest.mark.parametrize("kind", GENERATORS)
def test_grid_search_over_both_sides_in_two_processes(kind):
    X, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), AugmentedClassifier(LogisticRegression(), small(kind)))
    grid = {
        "augmentedclassifier__estimator__C": [0.1, 1.0],
        "augmentedclassifier__augmenter__max_steps": [2, 4],
        "augmentedclassifier__keep_fraction": [0.5],
    }
    search = GridSearchCV(model, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.93 and len(search.cv_results_["params"]) == 4
    whole = GridSearchCV(model, {"augmentedclassifier__augmenter": [None, SMOTE()]}, cv=2, error_score="raise").fit(X, y)
    assert whole.best_score_ > 0.93


def test_thresholds_and_calibration(rare):
    X, y = rare
    model = AugmentedClassifier(LogisticRegression(), small(max_steps=50))
    tuned = TunedThresholdClassifierCV(model, scoring="balanced_accuracy", cv=2).fit(X, y)
    assert 0 < tuned.best_threshold_ < 1 and (tuned.predict(X) == 1).any()
    assert AugmentedClassifier(TunedThresholdClassifierCV(LogisticRegression(), cv=2), SMOTE()).fit(X, y).score(X, y) > 0.7
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    assert abs(calibrated.predict_proba(X)[:, 1].mean() - y.mean()) < 0.03
    assert cross_val_predict(model, X, y, cv=2, method="predict_proba").shape == (600, 2)


def test_one_seed_gives_one_classifier(rare):
    X, y = rare
    model = AugmentedClassifier(LogisticRegression(), small(), keep_fraction=0.5, random_state=0)
    first, again = (clone(model).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_words_through_an_encoder(rare):
    X, y = pd.DataFrame({"word": np.where(rare[1] == 1, "a", "b"), "n": rare[0][:, 0]}), pd.Series(rare[1]).astype("category")
    columns = make_column_transformer((OneHotEncoder(), ["word"]), remainder="passthrough")
    model = AugmentedClassifier(make_pipeline(columns, LogisticRegression()), small(), synthetic_weight=0.5).fit(X, y)
    assert model.score(X, y) > 0.9
    with pytest.raises(InvalidParameterError, match="KNeighborsClassifier"):
        AugmentedClassifier(KNeighborsClassifier(), small(), synthetic_weight=0.5).fit(X, y)
