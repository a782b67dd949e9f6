"""Generators as steps of imbalanced-learn's pipelines, alone and behind a ColumnTransformer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from imblearn.pipeline import Pipeline, make_pipeline
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline as plain_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from augment_gen import ConditionalGAN, ConditionalVAE

CREDIT = Path(__file__).parent.parent / "examples" / "data" / "german_credit.csv"

pytestmark = pytest.mark.parametrize("kind", [ConditionalVAE, ConditionalGAN])


def small(kind, **params):
    return kind(**{"max_steps": 5, "random_state": 0, "device": "cpu", "novelty_filter": False, **params})


class Spy(ClassifierMixin, BaseEstimator):
    """Keeps what it was trained on."""

    def fit(self, X, y):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


@pytest.fixture(scope="module")
def credit():
    table = pd.read_csv(CREDIT, keep_default_na=False, na_values=[""])
    return table.drop(columns="credit"), table["credit"]


def columns():
    """Numbers scaled, words one-hot: what a ColumnTransformer usually does."""
    words = plain_pipeline(SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder(sparse_output=False))
    number, word = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude=["number", "bool"])
    return make_column_transformer((StandardScaler(), number), (words, word), verbose_feature_names_out=False)


def test_first_and_alone(kind, credit):
    X, y = credit
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    pipeline = make_pipeline(small(kind), encode, Spy()).fit(X, y)
    assert pipeline[-1].X_.shape == (1400, X.shape[1]) and np.bincount(pipeline[-1].y_ == "bad").tolist() == [700, 700]
    assert len(pipeline.predict(X)) == 1000, "nothing is added where a pipeline predicts"


@pytest.mark.parametrize("container", ["default", "pandas"])
def test_behind_a_column_transformer(kind, credit, container):
    X, y = credit
    pipeline = make_pipeline(columns().set_output(transform=container), small(kind), Spy()).fit(X, y)
    seen, encoded = pipeline[-1].X_, pipeline[0].transform(X)
    assert type(seen) is type(encoded) and seen.shape == (1400, encoded.shape[1])
    if container == "pandas":
        assert list(seen.columns) == list(pipeline[0].get_feature_names_out()) and (seen.dtypes == encoded.dtypes).all()
    real, synthetic = np.asarray(seen)[:1000], np.asarray(seen)[1000:]
    np.testing.assert_array_equal(real, np.asarray(encoded))
    indicator = np.isin(np.asarray(encoded), (0, 1)).all(axis=0)
    assert indicator.sum() > 40 and np.isin(synthetic[:, indicator], (0, 1)).all(), "indicator columns stay 0 or 1"


def test_grid_search_scores_real_rows_only(kind):
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("more", small(kind)), ("classify", LogisticRegression(max_iter=500))])
    grid = {"more__max_steps": [2, 5], "classify__C": [0.1, 1.0], "more__sampling_strategy": ["auto"]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.93
    assert search.best_estimator_["more"].synthetic_mask_.sum() == (y == 1).sum() - (y == 0).sum()
    off = GridSearchCV(pipeline, {"more": ["passthrough", small(kind)]}, cv=2, error_score="raise").fit(X, y)
    assert len(off.cv_results_["params"]) == 2


def test_missing_cells_go_through_to_a_classifier_that_takes_them(kind):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.mask(np.random.default_rng(0).random(X.shape) < 0.1)
    pipeline = make_pipeline(small(kind), HistGradientBoostingClassifier(max_iter=10))
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").mean() > 0.85


def test_images_go_through_a_pipeline(kind):
    digits = load_digits(n_class=3)
    keep = np.r_[np.flatnonzero(digits.target < 2), np.flatnonzero(digits.target == 2)[:20]]
    X, y = digits.images[keep].astype(np.uint8), digits.target[keep]
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    pipeline = make_pipeline(small(kind), flat, StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").mean() > 0.9
