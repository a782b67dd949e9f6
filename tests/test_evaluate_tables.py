"""`evaluate` on tables where the truth is known: it says that copies are copies, noise is noise, and real rows are real."""

import numpy as np
import pandas as pd
import pytest
import torch
from samplers import Copier, Rows
from scipy.stats import ks_2samp, pearsonr, spearmanr
from scipy.stats.contingency import association
from sklearn.base import BaseEstimator
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split

from augment_gen import ConditionalVAE
from augment_gen.errors import EvaluationWarning, InvalidDataError, InvalidParameterError, InvalidTypeError
from augment_gen.evaluation import ALL, METRICS, evaluate
from augment_gen.evaluation.associations import association_matrix
from augment_gen.evaluation.statistics import (
    area_under_curve,
    auc_interval,
    bootstrap_auc,
    ks_distance,
    share_interval,
    total_variation,
)
from augment_gen.evaluation.table_rows import MAX_LEVELS, TableRows
from augment_gen.evaluation.trees import two_sample_auc


def mixed_table(n_rows=1500, seed=0):
    """Eight informative numbers; some of them as text, boolean, date, with gaps; two classes, 1 : 3."""
    numbers, y = make_classification(
        n_rows, 8, n_informative=6, n_redundant=2, weights=[0.75], class_sep=1.0, random_state=seed
    )
    X = pd.DataFrame(numbers, columns=list("abcdefgh"))
    X["e"] = np.where(X["e"] > 0, "up", np.where(X["e"] > -1, "down", "under"))
    X["f"] = X["f"] > 0
    X["g"] = pd.Timestamp("2024-01-01") + pd.to_timedelta((X["g"] * 100).round(), unit="D")
    X["h"] = X["h"].round(1).mask(X["a"] > 1)
    return X, pd.Series(np.where(y == 1, "rare", "common"), name="label")


@pytest.fixture(scope="module")
def thirds():
    """Training rows, held-out rows, and fresh rows for a perfect sampler: 500 each."""
    X, y = mixed_table()
    X, rest, y, y_rest = train_test_split(X, y, test_size=2 / 3, stratify=y, random_state=0)
    X_test, X_fresh, y_test, y_fresh = train_test_split(rest, y_rest, test_size=0.5, stratify=y_rest, random_state=0)
    return (X, y), (X_test, y_test), (X_fresh, y_fresh)


class Noise:
    """Every column drawn evenly over its values, whatever the class."""

    def __init__(self, X):
        self.X, self.rng = X, np.random.default_rng(0)

    def sample(self, n, y):
        return pd.DataFrame({name: self.rng.choice(self.X[name].unique(), n) for name in self.X}).astype(self.X.dtypes)


def assess(sampler, thirds, **options):
    (X, y), (X_test, y_test), _ = thirds
    return evaluate(sampler, X_test, y_test, X_train=X, y_train=y, random_state=0, **options)


def figure(result, metric, label=ALL):
    return next(f for f in result.figures if f.metric == metric and f.label == label)


@pytest.fixture(scope="module")
def results(thirds):
    train, _, fresh = thirds
    return {
        "perfect": assess(Rows(*fresh), thirds),
        "copies": assess(Copier(*train), thirds),
        "noise": assess(Noise(train[0]), thirds),
        "vae": assess(ConditionalVAE(max_steps=100, random_state=0, device="cpu").fit(*train), thirds),
    }


# ------------------------------------------------------------------ the truth is said
def test_a_perfect_sampler_is_at_the_ceiling(results):
    result = results["perfect"]
    assert result.judgement.level == "good" and result.verdict.startswith("Good: ")
    assert not result.judgement.copies and "no proof of privacy" in result.verdict
    told_apart = figure(result, "c2st_auc")
    assert told_apart.low < 0.53 and abs(told_apart.value - told_apart.ceiling) < 0.07
    for metric, tolerance in [("column_shapes", 0.02), ("associations", 0.03), ("tstr_balanced_accuracy", 0.05)]:
        one = figure(result, metric)
        assert abs(one.value - one.ceiling) < tolerance, metric
    assert figure(result, "near_copies").low <= 0.06 and figure(result, "exact_copies").value == 0
    assert abs(figure(result, "authenticity").value - figure(result, "authenticity").ceiling) < 0.1
    member = figure(result, "membership_auc")
    assert member.low < 0.5 < member.high


def test_training_rows_passed_off_as_synthetic_are_flagged_as_copies(results):
    result = results["copies"]
    assert result.judgement.copies
    assert "Copies: 100% of the synthetic rows equal a training row" in result.verdict
    assert "Membership leaks" in result.verdict and "No sign of copying" not in result.verdict
    assert figure(result, "exact_copies").value == 1 and figure(result, "near_copies").value == 1
    assert figure(result, "authenticity").value == 0 and figure(result, "membership_auc").value > 0.95
    assert (result.gallery["distance"][result.gallery["rank"] == 1] == 0).all()


def test_noise_is_flagged_as_bad(results):
    result = results["noise"]
    assert result.judgement.level == "poor" and not result.judgement.copies
    assert figure(result, "c2st_auc").value > 0.9
    assert figure(result, "tstr_balanced_accuracy").value < 0.65 and figure(result, "class_consistency").score < 0.3
    assert "Class 'rare'" in result.verdict and "Class 'common'" in result.verdict


def test_a_briefly_trained_vae_lies_in_between(results):
    vae, perfect, noise = (figure(results[name], "c2st_auc").value for name in ("vae", "perfect", "noise"))
    assert perfect < vae < noise
    assert not results["vae"].judgement.copies
    shapes = figure(results["vae"], "column_shapes")
    assert shapes.ceiling < shapes.value < shapes.floor


def test_shuffled_columns_deceive_shapes_but_not_the_rest(thirds, results):
    (X, y), _, _ = thirds
    rng = np.random.default_rng(0)
    parts = [X[y == label].apply(lambda column: rng.permutation(column.array)) for label in ("common", "rare")]
    result = assess(Rows(pd.concat(parts).astype(X.dtypes), np.sort(y)), thirds)
    assert figure(result, "column_shapes").score > 0.95
    assert figure(result, "associations").score < 0.2 and figure(result, "c2st_auc").score < 0.3
    assert result.judgement.level == "poor"


def test_random_labels_are_seen(thirds):
    _, _, (X, y) = thirds
    result = assess(Rows(X, np.random.default_rng(0).permutation(y)), thirds)
    assert figure(result, "class_consistency").score < 0.4 and figure(result, "tstr_balanced_accuracy").score < 0.5
    told_apart = figure(result, "c2st_auc")
    assert told_apart.low > max(0.5, told_apart.ceiling), "the joint test sees labels that do not fit the row"


def test_lost_missing_cells_are_seen(thirds):
    _, _, (X, y) = thirds
    result = assess(Rows(X.assign(h=X["h"].fillna(0.0)), y), thirds)
    lost = figure(result, "missing_rates")
    assert lost.value > 0.1 > lost.ceiling and "'h'" in lost.note
    row = result.columns.set_index("column").loc["h"]
    assert row["missing_synthetic"] == 0 and row["missing_real"] > 0.1


# ------------------------------------------------------------------ form
def test_the_frame_is_tidy_and_complete(results):
    result = results["vae"]
    frame = result.frame()
    assert list(frame.columns)[:6] == ["group", "class", "metric", "value", "floor", "ceiling"]
    assert not frame.duplicated(["class", "metric"]).any()
    assert set(frame["class"]) == {ALL, "common", "rare"} and set(frame["metric"]) <= set(METRICS)
    given = frame[frame["note"].str.startswith("n too small") == 0]
    assert given[["value", "floor", "ceiling"]].notna().all(axis=None)
    assert set(frame["group"]) == {"fidelity", "usefulness", "copies"}
    text, page = str(result), result._repr_html_()
    for words in (result.judgement.sentences[0][:40], "c2st_auc", "rare"):
        assert words in text and words in page
    assert {"x", "y", "kind", "class"} == set(result.map) and len(result.map) == 1000
    assert len(result.X_synthetic) == len(result.y_synthetic) == 500
    assert list(result.X_synthetic.columns) == list("abcdefgh")
    assert len(result.pairs) == 28 and result.pairs.notna().all(axis=None)


def test_it_is_repeatable_and_leaves_global_streams_alone(thirds):
    _, _, fresh = thirds
    np.random.seed(0)
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first = assess(Rows(*fresh), thirds, max_rows=200)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    pd.testing.assert_frame_equal(first.frame(), assess(Rows(*fresh), thirds, max_rows=200).frame())
    assert len(first.X_synthetic) == 200


def test_small_classes_are_marked_not_measured(thirds):
    (X, y), (X_test, y_test), fresh = thirds
    few = np.r_[np.flatnonzero(y_test == "common"), np.flatnonzero(y_test == "rare")[:15]]
    result = evaluate(Rows(*fresh), X_test.iloc[few], y_test.iloc[few], X_train=X, y_train=y, random_state=0)
    for metric in ("c2st_auc", "tstr_recall", "near_copies", "column_shapes"):
        one = figure(result, metric, "rare")
        assert np.isnan(one.value) and one.note.startswith("n too small: 15 rows"), metric
    assert not np.isnan(figure(result, "c2st_auc", "common").value)
    assert "Too few held-out or training rows for some figures of class 'rare'" in result.verdict


@pytest.mark.parametrize("kind", ["array", "list", "object array"])
def test_other_containers(kind, wine):
    X, y = wine
    X, X_test, y, y_test = train_test_split(X[:, :5], y, stratify=y, random_state=0)
    change = {"array": np.asarray, "list": np.ndarray.tolist, "object array": lambda a: a.astype(object)}[kind]
    result = evaluate(Rows(X_test, y_test), change(X_test), y_test, X_train=change(X), y_train=y, random_state=0)
    assert result.modality == "table" and len(result.columns) == 5 and set(result.columns["kind"]) == {"number"}


def test_every_kind_of_column(mixed, fitted_mixed):
    X, y = mixed
    fresh = X.assign(float64=X["float64"] + 0.01)
    result = evaluate(fitted_mixed, fresh, y, X_train=X, y_train=y, random_state=0)
    kinds = result.columns.set_index("column")["kind"]
    assert kinds["when"] == kinds["zoned"] == "moment" and kinds["took"] == "duration"
    assert kinds["category"] == kinds["string"] == "category" and kinds["boolean"] == "number"
    assert np.isfinite(figure(result, "column_shapes").value)


# ------------------------------------------------------------------ mistakes
def test_test_rows_from_training_are_refused_or_named(thirds):
    (X, y), (X_test, y_test), fresh = thirds
    with pytest.raises(InvalidDataError, match=r"500 of 500 rows of X_test \(100%\) are also in X_train"):
        evaluate(Rows(*fresh), X, y, X_train=X, y_train=y)
    X_half, y_half = pd.concat([X_test[:300], X[:100]]), pd.concat([y_test[:300], y[:100]])
    with pytest.warns(EvaluationWarning, match="100 of 400 rows"):
        evaluate(Rows(*fresh), X_half, y_half, X_train=X, y_train=y, max_rows=100)


def test_rows_that_repeat_anyway_are_no_overlap(recwarn):
    rng = np.random.default_rng(0)
    X, y = pd.DataFrame(rng.integers(3, size=(900, 2))), rng.integers(2, size=900)
    result = evaluate(Rows(X[600:], y[600:]), X[300:600], y[300:600], X_train=X[:300], y_train=y[:300], random_state=0)
    assert not [w for w in recwarn if issubclass(w.category, EvaluationWarning)]
    assert figure(result, "exact_copies").value == 1 and not result.judgement.copies


def test_a_class_without_test_rows(thirds):
    (X, y), (X_test, y_test), fresh = thirds
    common = y_test == "common"
    with pytest.warns(EvaluationWarning, match="No row of class 'rare'"):
        result = evaluate(Rows(*fresh), X_test[common], y_test[common], X_train=X, y_train=y, random_state=0)
    assert figure(result, "c2st_auc", "rare").note.startswith("n too small: 0 rows")
    assert not np.isnan(figure(result, "c2st_auc").value)


def test_a_few_rows_in_all_give_no_figures_but_an_answer(wine):
    X, y = wine
    keep = np.r_[0:6, 60:66, 140:146]
    test = np.r_[6:10, 66:70, 146:150]
    result = evaluate(Rows(X[test], y[test]), X[test], y[test], X_train=X[keep], y_train=y[keep], random_state=0)
    assert result.judgement.level == "unclear" and "Unclear: too few" in result.verdict
    assert np.isnan(figure(result, "c2st_auc").value)


def spoilt(name, thirds):
    """Arguments of `evaluate` with one mistake, by name: (generator, X_test, y_test, options)."""
    _, (X_test, y_test), fresh = thirds
    good = Rows(*fresh)
    return {
        "no sample": (object(), X_test, y_test, {}),
        "class": (Rows, X_test, y_test, {}),
        "columns": (good, X_test.drop(columns="a"), y_test, {}),
        "drawn columns": (Rows(fresh[0].drop(columns="b"), fresh[1]), X_test, y_test, {}),
        "lengths": (good, X_test, y_test[:-1], {}),
        "unknown label": (good, X_test, y_test.replace("rare", "odd"), {}),
        "too few rows": (Short(), X_test, y_test, {}),
        "features": (good, X_test, y_test, {"features": "random"}),
        "max_rows": (good, X_test, y_test, {"max_rows": 7}),
        "not fitted": (ConditionalVAE(), X_test, y_test, {}),
        "not fitted, foreign": (Foreign(), X_test, y_test, {}),
        "empty": (good, X_test[:0], y_test[:0], {}),
        "images": (good, np.zeros((4, 8, 8), np.uint8), y_test[:4], {}),
    }[name]


class Short:
    def sample(self, n, y):
        return np.zeros((n - 1, 8))


class Foreign(BaseEstimator):
    def fit(self, X, y):
        return self

    def sample(self, n, y):
        return None


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("no sample", InvalidTypeError, r"sample\(n, y=label\); object has none"),
        ("class", InvalidTypeError, "not the class Rows"),
        ("columns", InvalidDataError, r"X_test must have the columns of X_train.*Lacking: \['a'\]"),
        ("drawn columns", InvalidDataError, r"generator.sample gave must have.*Lacking: \['b'\]"),
        ("lengths", InvalidDataError, "X_test has 500 rows, but y_test 499 labels"),
        ("unknown label", InvalidDataError, "y_test holds 'odd', which was not in y_train"),
        ("too few rows", InvalidDataError, "gave .* rows; it must give as many as asked for"),
        ("features", InvalidParameterError, "features is for images"),
        ("max_rows", InvalidParameterError, "max_rows must be an integer of at least 100; got 7"),
        ("not fitted", NotFittedError, "not fitted"),
        ("not fitted, foreign", NotFittedError, "not fitted"),
        ("empty", InvalidDataError, "X_test has no rows"),
        ("images", InvalidDataError, "X_train is a table, but X_test is a set of images"),
    ],
)
def test_mistakes_are_named(name, error, message, thirds):
    (X, y), _, _ = thirds
    generator, X_test, y_test, options = spoilt(name, thirds)
    with pytest.raises(error, match=message):
        evaluate(generator, X_test, y_test, X_train=X, y_train=y, **options)


# ------------------------------------------------------------------ against independent implementations
def test_ks_equals_scipy():
    rng = np.random.default_rng(0)
    for a, b in [(rng.normal(size=100), rng.normal(0.3, size=70)), (rng.integers(4, size=50), rng.integers(6, size=80))]:
        assert ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)


def test_total_variation_by_hand():
    assert total_variation(np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 0, 2])) == pytest.approx(0.5)


def test_associations_equal_scipy():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(300, 2)) @ [[1, 0.5], [0, 1]]
    levels = np.stack([np.digitize(numbers[:, 0], [-1, 0, 1]), rng.integers(3, size=300)], axis=1).astype(float)
    matrix = association_matrix(np.hstack([numbers, levels]), np.array([False, False, True, True]))
    assert matrix[0, 1] == pytest.approx(spearmanr(numbers).statistic)
    assert matrix[2, 3] == pytest.approx(association(pd.crosstab(levels[:, 0], levels[:, 1]).to_numpy(), method="cramer"))
    ranks = pd.Series(numbers[:, 0]).rank()
    fitted = ranks.groupby(levels[:, 0]).transform("mean")
    assert matrix[0, 2] == pytest.approx(pearsonr(ranks, fitted).statistic)
    assert matrix[1, 0] == matrix[0, 1] and np.isnan(matrix[0, 0])


def test_auc_and_intervals():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, size=200).round(1), rng.normal(size=300).round(1)
    truth = roc_auc_score(np.repeat([1, 0], [200, 300]), np.concatenate([a, b]))
    assert area_under_curve(a, b) == pytest.approx(truth)
    for low, high in (auc_interval(truth, 200, 300), bootstrap_auc(a, b, rng)):
        assert low < truth < high and 0.06 < high - low < 0.14
    assert share_interval(0.0, 100) == pytest.approx((0, 0.037), abs=1e-3)
    assert share_interval(0.5, 100) == pytest.approx((0.404, 0.596), abs=1e-3)


def test_trees_see_dependence_where_margins_agree():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(600, 1)) * [1, 1] + 0.3 * rng.normal(size=(600, 2))
    numbers = np.zeros(2, dtype=bool)
    assert two_sample_auc(real, rng.permuted(real, axis=0), numbers, rng) > 0.7
    assert abs(two_sample_auc(real[:300], real[300:], numbers, rng) - 0.5) < 0.1


def test_rare_levels_and_foreign_values_count_as_one():
    X = pd.DataFrame({"code": [f"level {i // 2}" for i in range(300)], "n": np.arange(300.0)})
    rows = TableRows().fit(X)
    codes = rows.codes(rows.read(X.assign(code="never seen", n=X["n"].astype(str)), "X"))
    assert (codes[:, 0] == MAX_LEVELS).all() and (codes[:, 1] == X["n"]).all()
    keys = rows.keys(X)
    assert len(np.unique(keys)) == 300 and (keys == rows.keys(X.astype(object))).all()
    distances = np.linalg.norm(np.diff(rows.vectors(rows.codes(X))[:, :-1], axis=0), axis=1)
    assert np.isclose(distances[1], 1) and distances[0] == 0, "two levels are 1 apart"
