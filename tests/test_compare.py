"""compare says the truth where it is known, scores nothing but unseen real rows, and survives augmenters and kills."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.over_sampling import ADASYN
from imblearn.under_sampling import RandomUnderSampler
from scipy.stats import t
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits, load_wine, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from augment_gen import ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError
from augment_gen.evaluation import SCORES, ImageClassifier, compare
from augment_gen.evaluation.classifier_scores import (
    best_threshold,
    calibration_error,
    confusion_matrix,
    decision_scores,
    probability_scores,
    ranking_scores,
)
from augment_gen.evaluation.contrasts import Contrast
from augment_gen.evaluation.oversamplers import RandomCopies, TableSMOTE
from augment_gen.evaluation.paired import corrected_interval
from augment_gen.sampling.resampled import originals_come_first

QUICK = {"cv": 3, "n_repeats": 1, "inner_cv": 2, "amounts": (0.5, 1.0)}
CREDIT = Path(__file__).parent.parent / "examples" / "data" / "german_credit.csv"


def missing_rows(y):
    return int((y == 0).sum() - (y == 1).sum())


class Perfect:
    """A sampler that knows the truth: real rows of the rare class that are in no split."""

    def __init__(self, rows):
        self.rows = rows

    def fit_resample(self, X, y):
        n = missing_rows(y)
        return np.concatenate([X, self.rows[:n]]), np.concatenate([y, np.ones(n, y.dtype)])


class LabelNoise:
    """Twice as many rows again, with labels drawn at random."""

    def fit_resample(self, X, y):
        rng, n = np.random.default_rng(0), len(X)
        return np.concatenate([X, X[rng.integers(n, size=2 * n)]]), np.concatenate([y, rng.integers(2, size=2 * n)])


class Broken:
    def fit_resample(self, X, y):
        raise RuntimeError("out of ink")


def rings(n, label, rng):
    """Rows around 16 centres, rare ones (label 1) on the inside, in two columns of four."""
    angle, centre = rng.uniform(0, 2 * np.pi, n), rng.integers(16, size=n)
    radius = rng.normal(0.9 if label else 2.0, 0.2, n)
    place = np.c_[radius * np.cos(angle) + 5 * (centre % 4), radius * np.sin(angle) + 5 * (centre // 4)]
    return np.c_[place, rng.normal(size=(n, 2))]


@pytest.fixture(scope="module")
def easy():
    return make_classification(500, n_features=6, weights=[0.88], class_sep=0.9, flip_y=0, random_state=0)


@pytest.fixture(scope="module")
def truth():
    """Rows of which the rare class has too few to be learned, and an augmenter that holds fresh ones of it."""
    rng = np.random.default_rng(0)
    X, y = np.concatenate([rings(800, 0, rng), rings(80, 1, rng)]), np.repeat([0, 1], [800, 80])
    forest = RandomForestClassifier(10, min_samples_leaf=3)
    return compare({"perfect": Perfect(rings(800, 1, rng))}, forest, X, y, inner_cv=2, amounts=(1.0,))


@pytest.fixture(scope="module")
def bad():
    X, y = make_classification(500, n_features=6, weights=[0.85], class_sep=1.2, flip_y=0, random_state=1)
    augmenters, forest = {"noise": LabelNoise(), "broken": Broken()}, RandomForestClassifier(10)
    return compare(augmenters, forest, X, y, inner_cv=2, amounts=(1.0,), baselines=["class weights"])


# -------------------------------------------------------------------- truth
def test_generation_that_helps_is_said_to_help(truth):
    perfect = truth.contrasts[0]
    assert perfect.word == "helps" and perfect.difference > 0.1 and perfect.low > 0.05
    assert truth.verdict.startswith("perfect helps: balanced accuracy 0.9") and "95 % interval" in truth.verdict


def test_label_noise_is_said_to_harm(bad):
    noise = bad.contrasts[0]
    assert noise.word == "harms" and noise.to_none_high < 0
    assert "noise harms" in bad.verdict and "against training on the real rows alone" in bad.verdict


def test_an_augmenter_that_raises_is_reported_and_the_rest_goes_on(bad):
    assert bad.contrasts[1].word == "failed" and bad.failures == {"broken": "in split 0: RuntimeError: out of ink"}
    assert "broken failed in split 0: RuntimeError: out of ink" in str(bad)
    assert "broken" not in bad.frame()["arm"].to_numpy() and "broken" not in bad.summary().index


def test_where_class_weights_do_as_well_there_is_no_gain(easy):
    result = compare([ConditionalVAE(max_steps=20, device="cpu"), ADASYN()], LogisticRegression(), *easy, **QUICK)
    assert [contrast.word for contrast in result.contrasts] == ["no measurable gain"] * 2
    assert "ConditionalVAE: no measurable gain over " in result.verdict and "helps" not in str(result)
    assert result.summary()["balanced_accuracy"].min() > 0.75


def test_copies_of_a_baseline_never_help(easy):
    """Ten augmenters that are no better than random oversampling: none is called a gain."""
    many = {f"copies {i}": RandomCopies(random_state=i) for i in range(10)}
    result = compare(many, GaussianNB(), *easy, cv=3, n_repeats=1, inner_cv=None, amounts=(1.0,))
    assert {contrast.word for contrast in result.contrasts} == {"no measurable gain"}
    assert {round(contrast.level, 4) for contrast in result.contrasts} == {0.995}


# -------------------------------------------------------------------- tables
def test_the_frame_is_tidy_and_complete(truth):
    frame = truth.frame()
    assert list(frame) == ["arm", "kind", "amount", "threshold", "split", "metric", "value", "chosen"]
    arms = ["none", "class weights", "random oversampling", "SMOTE", "perfect"]
    assert list(frame["arm"].unique()) == arms and set(frame["metric"]) == set(SCORES)
    assert set(frame.loc[frame["kind"] == "augmenter", "arm"]) == {"perfect"}
    assert not frame.duplicated(["arm", "amount", "threshold", "split", "metric"]).any() and frame["value"].notna().all()
    assert len(frame) == 5 * 10 * (2 * 5 + 4) and frame["split"].nunique() == 10
    free = frame["metric"].isin(["average_precision", "roc_auc", "brier", "calibration_error"])
    assert (free == (frame["threshold"] == "any")).all()
    summary = truth.summary()
    chosen = frame[frame["chosen"] & (frame["metric"] == "balanced_accuracy")].groupby("arm")["value"].mean()
    np.testing.assert_allclose(summary["balanced_accuracy"], chosen[summary.index])
    assert summary.index[0] == "perfect" and (summary["threshold"] == "tuned").all()
    difference = truth.differences().set_index("arm").loc["perfect"]
    assert difference["difference"] == pytest.approx(chosen["perfect"] - chosen[difference["against"]])


def test_confusion_matrices_add_up(truth):
    matrix = truth.confusion("perfect", "tuned")
    assert matrix.sum(axis=1).tolist() == [1600, 160], "two rounds over 880 rows"
    assert list(matrix.columns) == [0, 1] and matrix.index.name == "actual"
    with pytest.raises(KeyError, match="There are"):
        truth.confusion("perfect", amount=0.3)


def test_what_people_see(truth):
    shown = truth._repr_html_()
    assert "<table" in shown and "perfect helps" in shown and "corrected resampled t intervals" in shown
    assert "10 splits of 704 training and 176 test rows; rare: 1" in str(truth)
    assert truth.seconds.loc["perfect", "training"] > 0 and "drawing" in truth.seconds


def test_the_sweep_has_every_amount(easy):
    result = compare({"more": RandomCopies()}, LogisticRegression(), *easy, cv=3, n_repeats=1, amounts=(0.25, 0.5, 1.0))
    assert result.sweep().loc["more"].index.tolist() == [1.0, 0.5, 0.25] and result.sweep().notna().all().all()
    counts = result.frame().query("arm == 'more' and metric == 'roc_auc'").groupby("split")["chosen"].sum()
    assert (counts == 1).all(), "one amount is chosen in each split"


# ------------------------------------------------------------------- leakage
class Watch:
    """Remembers in a list which rows (by their first column) it was shown."""

    seen = []

    def fit_resample(self, X, y):
        Watch.seen.append(frozenset(X[:, 0]))
        return X, y


def test_augmenters_see_training_rows_only(easy):
    X, y = easy
    Watch.seen.clear()
    splits = list(StratifiedKFold(3).split(X, y))
    compare({"watch": Watch()}, GaussianNB(), X, y, cv=splits, inner_cv=2, amounts=(1.0,))
    assert len(Watch.seen) == 9
    for split, (train, test) in enumerate(splits):
        outer, *inner = Watch.seen[3 * split : 3 * split + 3]
        assert outer == frozenset(X[train, 0]) and not any(shown & frozenset(X[test, 0]) for shown in inner)
        assert inner[0] | inner[1] == outer and not inner[0] & inner[1], "thresholds come from rows that were not drawn from"


# ----------------------------------------------------------------- arithmetic
def test_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    y, p = rng.integers(2, size=400), rng.random(400)
    predicted = (p > 0.4).astype(int)
    rare, both = np.array([1]), np.stack([1 - p, p], axis=1)
    found = decision_scores(confusion_matrix(y, predicted, 2), rare)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, predicted))
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert found["minority_recall"] == pytest.approx(recall_score(y, predicted))
    assert found["minority_precision"] == pytest.approx(precision_score(y, predicted))
    assert found["g_mean"] == pytest.approx((recall_score(y, predicted) * recall_score(y, predicted, pos_label=0)) ** 0.5)
    assert ranking_scores(both, y, rare) == {
        "average_precision": pytest.approx(average_precision_score(y, p)),
        "roc_auc": pytest.approx(roc_auc_score(y, p)),
    }
    assert probability_scores(both, y, rare)["brier"] == pytest.approx(brier_score_loss(y, p))
    three, many = rng.dirichlet(np.ones(3), 300), rng.integers(3, size=300)
    assert ranking_scores(three, many, [0, 2])["roc_auc"] == pytest.approx(roc_auc_score(many, three, multi_class="ovr"))
    assert probability_scores(three, many, [0])["brier"] == pytest.approx(((three - np.eye(3)[many]) ** 2).sum(1).mean())


def test_calibration_error_is_the_mean_gap():
    assert calibration_error(np.repeat([0.25, 0.75], 100), np.repeat([False, True], 100)) == pytest.approx(0.25)
    rng = np.random.default_rng(0)
    said = rng.random(20000)
    assert calibration_error(said, rng.random(20000) < said) < 0.02 < calibration_error(said, rng.random(20000) < said**2)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "g_mean"])
def test_the_best_threshold_is_the_best_of_all(metric):
    rng = np.random.default_rng(1)
    rare = rng.random(200) < 0.2
    score = np.round(rng.normal(rare * 0.8), 1)  # with ties
    value = lambda threshold: decision_scores(confusion_matrix(rare * 1, (score >= threshold) * 1, 2), [1])[metric]
    every = [value(threshold) for threshold in np.unique(score)[1:]]
    assert value(best_threshold(score, rare, metric)) == pytest.approx(max(every))
    assert best_threshold(np.zeros(200), rare, metric) == 0


def test_an_interval_too_wide_to_tell_says_so():
    narrow, wide = (
        Contrast("VAE", "SMOTE", 0.72, 0.71, 0.01, 0.01 - half, 0.01 + half, 0.95, word="no measurable gain").sentence(
            "roc_auc"
        )
        for half in (0.05, 0.2)
    )
    assert narrow.startswith("VAE: no measurable gain over SMOTE") and "too wide" not in narrow
    assert wide.endswith("That is too wide to tell: more splits or rows would narrow it.")


def test_the_interval_is_nadeau_and_bengios():
    differences = [0.1, 0.2, 0.0, 0.3]
    mean, low, high = corrected_interval(differences, 0.25, 0.95)
    error = np.sqrt((1 / 4 + 0.25) * np.var(differences, ddof=1))
    assert mean == pytest.approx(0.15) and high - mean == pytest.approx(t.ppf(0.975, 3) * error) == mean - low


def test_the_interval_covers_where_the_plain_one_does_not():
    """Two classifiers of equal merit, compared by ten splits of one sample, over and over."""
    rng, wrong, naive = np.random.default_rng(0), 0, 0
    for _ in range(200):
        gaps = rng.normal(size=100)  # per row, whose mean over all rows to come is 0
        shares = np.array([gaps[rng.permutation(100)[:20]].mean() for _ in range(10)])
        _, low, high = corrected_interval(shares, 0.25, 0.95)
        wrong += not low <= 0 <= high
        half = t.ppf(0.975, 9) * shares.std(ddof=1) / np.sqrt(10)
        naive += abs(shares.mean()) > half
    assert wrong / 200 < 0.08 < 0.15 < naive / 200


# ---------------------------------------------------------------- oversamplers
def test_smote_takes_columns_of_any_kind(mixed):
    X, y = mixed
    X_all, y_all = TableSMOTE(random_state=0).fit_resample(X, y)
    assert originals_come_first(X, y, X_all, y_all) and y_all.value_counts().nunique() == 1
    new = X_all.iloc[len(X) :]
    assert new.dtypes.tolist() == X.dtypes.tolist() and new["all missing"].isna().all() and not new["Int64"].isna().any()
    rare = X[y == "malignant"] if (y == "malignant").sum() < (y == "benign").sum() else X[y == "benign"]
    for name in ("float64", "uint8", "when", "took"):
        assert new[name].between(rare[name].min(), rare[name].max()).all(), name
    assert new["float64"].nunique() > 30 and not new["float64"].isin(X["float64"]).all(), "interpolated, not copied"


def test_numbers_alone_are_plain_smote():
    X, y = load_wine(return_X_y=True)
    X_all, y_all = TableSMOTE(random_state=0).fit_resample(X, y)
    assert isinstance(X_all, np.ndarray) and np.bincount(y_all).tolist() == [71] * 3 and X_all.dtype == X.dtype


# ------------------------------------------------------------- kinds of inputs
def test_a_table_with_text_and_gaps_needs_no_encoder():
    table = pd.read_csv(CREDIT, keep_default_na=False, na_values=[""]).iloc[:400]
    X, y = table.drop(columns="credit"), table["credit"]
    result = compare(ConditionalVAE(max_steps=10, device="cpu"), None, X, y, cv=2, n_repeats=1, inner_cv=None, amounts=(1.0,))
    assert not result.failures and result.rare == ["bad"] and result.labels == ["bad", "good"]
    assert set(result.frame()["threshold"]) == {"default", "any"} and result.summary()["roc_auc"].min() > 0.6


def test_several_classes():
    X, y = load_wine(return_X_y=True)
    keep = np.r_[0:130, 130:150]
    y = np.array(["one", "two", "three"])[y]
    result = compare(RandomCopies(), GaussianNB(), X[keep], y[keep], **QUICK)
    assert result.rare == ["three"] and "tuned" not in set(result.frame()["threshold"])
    assert result.confusion("RandomCopies").shape == (3, 3) and result.chosen_inside == ("amounts",)
    assert compare(RandomCopies(), GaussianNB(), X, y, rare=["one", "two"], **QUICK).rare == ["one", "two"]


def test_classifiers_without_probabilities_or_weights(easy):
    margins = compare(RandomCopies(), LinearSVC(), *easy, **QUICK)
    assert "brier" not in set(margins.frame()["metric"]) and "tuned" in set(margins.frame()["threshold"])
    with pytest.raises(InvalidParameterError, match="scoring='brier' is computed from probabilities"):
        compare(RandomCopies(), LinearSVC(), *easy, scoring="brier", **QUICK)
    neighbours = compare(RandomCopies(), KNeighborsClassifier(), *easy, **QUICK)
    assert "No arm 'class weights': KNeighborsClassifier takes neither" in str(neighbours)
    balanced = compare(RandomCopies(), LogisticRegression(class_weight="balanced"), *easy, **QUICK)
    assert "The estimator weighs classes itself (class_weight='balanced')" in str(balanced)
    weighed = compare(RandomCopies(), GaussianNB(), *easy, baselines=["class weights"], **QUICK)
    assert list(weighed.frame()["arm"].unique()) == ["none", "class weights", "RandomCopies"]


def test_scores_of_which_less_is_better(easy):
    result = compare(RandomCopies(), LogisticRegression(), *easy, scoring="brier", baselines=["class weights"], **QUICK)
    assert result.summary().index[0] == "none", "balanced training distorts probabilities"
    assert result.contrasts[0].difference < 0 and result.contrasts[0].score > result.contrasts[0].reference > 0


def test_samplers_that_drop_rows_are_compared_in_full(easy):
    result = compare(RandomUnderSampler(random_state=0), GaussianNB(), *easy, **QUICK)
    assert result.sweep().loc["RandomUnderSampler"].index.tolist() == [1.0]
    assert "RandomUnderSampler does not return the original rows first" in str(result)


def images(n_rare=20):
    digits = load_digits(n_class=2)
    keep = np.r_[np.flatnonzero(digits.target == 0)[:100], np.flatnonzero(digits.target == 1)[:n_rare]]
    return (digits.images[keep] * 15).astype(np.uint8), digits.target[keep]


def test_images_with_the_built_in_classifier():
    X, y = images()
    estimator = ImageClassifier(max_steps=12, width=8, batch_size=16, device="cpu")
    before = torch.get_rng_state()
    result = compare({"copies": RandomCopies()}, estimator, X, y, cv=2, n_repeats=1, inner_cv=None, amounts=(1.0,))
    assert torch.equal(torch.get_rng_state(), before)
    expected = ["none", "class weights", "random oversampling", "classic augmentation", "MixUp"]
    assert list(result.frame()["arm"].unique()) == [*expected, "copies", "copies + classic augmentation"]
    assert result.summary()["roc_auc"].max() > 0.9


@pytest.mark.parametrize(
    ("make_X", "make_y"),
    [(lambda X: torch.as_tensor(X)[:, None], torch.as_tensor), (list, list), (np.asarray, pd.Categorical)],
)
def test_containers(make_X, make_y):
    X, y = images()
    estimator = ImageClassifier(max_steps=3, width=8, batch_size=16, device="cpu")
    quick = {**QUICK, "cv": 2, "inner_cv": None, "baselines": ["classic augmentation"]}
    result = compare(RandomCopies(), estimator, make_X(X), make_y(y), **quick)
    assert not result.failures and result.labels == [0, 1] and result.confusion("RandomCopies").to_numpy().sum() == 120


def test_images_with_the_users_own_function():
    X, y = images()

    def nearest_mean(X, y, X_test):
        means = np.stack([X[y == k].mean(axis=0).ravel() for k in np.unique(y)])
        distance = ((X_test.reshape(len(X_test), 1, -1) - means) ** 2).sum(axis=-1)
        return np.exp(-distance / distance.mean()) / np.exp(-distance / distance.mean()).sum(axis=1, keepdims=True)

    result = compare({"copies": RandomCopies()}, nearest_mean, X, y, **QUICK)
    assert list(result.frame()["arm"].unique()) == ["none", "random oversampling", "classic augmentation", "copies"]
    assert "No arm 'MixUp'" in str(result) and "No arm 'class weights'" in str(result) and not result.failures
    assert result.summary()["balanced_accuracy"].max() > 0.9


@pytest.mark.parametrize("params", [{}, {"augment": "classic"}, {"mixup": True}, {"class_weight": "balanced"}])
def test_the_image_classifier_learns_in_every_way(params):
    X, y = images(60)
    fit = lambda: ImageClassifier(max_steps=60, width=8, random_state=0, device="cpu", **params).fit(X[::2], y[::2] == 1)
    model = fit()
    assert model.score(X[1::2], y[1::2] == 1) > 0.9 and model.classes_.tolist() == [False, True]
    np.testing.assert_array_equal(model.predict_proba(X), fit().predict_proba(X))
    with pytest.raises(InvalidDataError, match="X was read as a table"):
        ImageClassifier().fit(X.reshape(len(X), -1), y)


# --------------------------------------------------------------- repeatability
def values(result):
    return result.frame().drop(columns="chosen")


def test_one_seed_one_result_in_any_number_of_processes(easy):
    gen, quick = ConditionalVAE(max_steps=3, device="cpu"), {**QUICK, "inner_cv": None, "baselines": []}
    run = lambda **params: compare(gen, RandomForestClassifier(5), *easy, **quick, **params)
    pd.testing.assert_frame_equal(run().frame(), run(n_jobs=2).frame())
    assert not values(run(random_state=1)).equals(values(run()))


SCRIPT = """
import sys, time
import numpy as np
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB
from augment_gen.evaluation import compare
from augment_gen.evaluation.oversamplers import RandomCopies

class Slow(RandomCopies):
    def fit_resample(self, X, y):
        time.sleep(float(sys.argv[2]))
        return super().fit_resample(X, y)

if __name__ == "__main__":
    X, y = make_classification(300, weights=[0.8], random_state=0)
    result = compare({"slow": Slow()}, GaussianNB(), X, y, cv=4, n_repeats=1, inner_cv=2, checkpoint=sys.argv[1])
    result.frame().to_json(sys.argv[3])
"""


def test_a_killed_comparison_goes_on(tmp_path, monkeypatch):
    script, path = tmp_path / "script.py", tmp_path / "cells.jsonl"
    script.write_text(SCRIPT)
    arguments = lambda path, pause, name: [str(script), str(path), str(pause), str(tmp_path / f"{name}.json")]
    process = subprocess.Popen([sys.executable, *arguments(path, 0.7, "never")], env={**os.environ, "OMP_NUM_THREADS": "1"})
    n_lines = lambda: len(path.read_bytes().splitlines()) if path.exists() else 0
    until = time.monotonic() + 120
    while n_lines() < 6 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = n_lines()
    assert 6 <= done < 17 and not (tmp_path / "never.json").exists(), "killed in the middle"
    with path.open("ab") as file:
        file.write(b'{"key": [3, "slo')  # and while it wrote
    kept = path.read_bytes().splitlines()[:done]
    for file, name in ((path, "resumed"), (tmp_path / "other.jsonl", "whole")):
        monkeypatch.setattr(sys, "argv", arguments(file, 0, name))
        runpy.run_path(str(script), run_name="__main__")
    assert path.read_bytes().splitlines()[:done] == kept and n_lines() == 17
    pd.testing.assert_frame_equal(*(pd.read_json(tmp_path / f"{name}.json") for name in ("resumed", "whole")))


def test_a_checkpoint_takes_more_augmenters_but_no_other_data(easy, tmp_path):
    X, y = easy
    run = lambda augmenters, X=X, **params: compare(
        augmenters, GaussianNB(), X, y, checkpoint=tmp_path / "kept" / "cells.jsonl", **{**QUICK, **params}
    )
    run({"copies": RandomCopies()})
    run({"copies": RandomCopies(), "more": RandomCopies(random_state=1)})
    assert len((tmp_path / "kept" / "cells.jsonl").read_text().splitlines()) == 1 + 3 * 5
    run({"copies": RandomCopies(random_state=7)})
    assert len((tmp_path / "kept" / "cells.jsonl").read_text().splitlines()) == 1 + 3 * 6, "other settings: run anew"
    for params, named in (({"X": X + 1}, "X"), ({"cv": 4}, "cv"), ({"amounts": (1.0,)}, "amounts")):
        with pytest.raises(InvalidParameterError, match=f"was written by a comparison with another {named}"):
            run({"copies": RandomCopies()}, **params)
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(InvalidParameterError, match="is no checkpoint of compare"):
        compare(RandomCopies(), GaussianNB(), X, y, checkpoint=tmp_path / "text", **QUICK)


# ------------------------------------------------------------------- bad input
class Fails(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise ValueError("I want no rows")

    def predict(self, X):
        return np.zeros(len(X))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"y": np.repeat([0, 1], [497, 3])}, InvalidDataError, "smallest class has 3 rows, fewer than the 5 folds"),
        (
            {"y": np.repeat([0, 1], [492, 8]), "inner_cv": 8},
            InvalidDataError,
            "Class 1 has . training and . test rows in split 0.*at least 8",
        ),
        ({"y": np.zeros(500)}, InvalidDataError, "y has 1 class"),
        ({"y": np.zeros(3)}, InvalidDataError, "X has 500 rows, but y 3"),
        ({"X": "table.csv"}, InvalidTypeError, "X must be a DataFrame"),
        ({"augmenters": []}, InvalidParameterError, "augmenters is empty"),
        ({"augmenters": {"a": LogisticRegression()}}, InvalidParameterError, r"augmenters\['a'\] must be an object with fit_r"),
        ({"augmenters": ADASYN}, InvalidParameterError, "got the class ADASYN. Add"),
        ({"augmenters": {"SMOTE": ADASYN()}}, InvalidParameterError, "has the name 'SMOTE', which is that of a baseline"),
        ({"estimator": LogisticRegression}, InvalidParameterError, "got the class LogisticRegression"),
        ({"estimator": 3}, InvalidParameterError, "estimator must be a classifier"),
        ({"scoring": "accuracy"}, InvalidParameterError, "scoring must be one of 'balanced_accuracy'"),
        ({"amounts": (0.5, 2)}, InvalidParameterError, "amounts must be"),
        ({"inner_cv": 1}, InvalidParameterError, "inner_cv must be"),
        ({"cv": 1}, InvalidParameterError, "cv must be at least 2"),
        ({"cv": [(np.arange(400), np.arange(100, 500))] * 2}, InvalidParameterError, "trains on rows that it tests on"),
        ({"cv": [(np.arange(400), np.arange(400, 500))]}, InvalidParameterError, "cv gives 1 split"),
        ({"n_repeats": 0}, InvalidParameterError, "n_repeats must be"),
        ({"baselines": ["magic"]}, InvalidParameterError, "baselines must be 'auto' or some of 'none', 'class weights'"),
        ({"rare": 7}, ValueError, "rare asks for 7"),
        ({"rare": [0, 1]}, InvalidParameterError, "rare must be one of two classes"),
        ({"estimator": Fails()}, ValueError, "I want no rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(easy, params, error, message):
    given = {"augmenters": RandomCopies(), "estimator": DecisionTreeClassifier(), "X": easy[0], "y": easy[1], **params}
    with pytest.raises(error, match=message):
        compare(given.pop("augmenters"), given.pop("estimator"), given.pop("X"), given.pop("y"), **given)
