"""Signs of copying, on vectors where the truth is known, and the words that are made of them."""

import numpy as np
import pytest
from samplers import Copier, Rows
from sklearn.datasets import make_classification

from augment_gen.evaluation import ALL, evaluate, privacy
from augment_gen.evaluation.metrics import Figure, too_small
from augment_gen.evaluation.statistics import nearest
from augment_gen.evaluation.verdict import grade, judge


@pytest.fixture(scope="module")
def thirds():
    X, y = make_classification(1200, 6, n_informative=5, n_redundant=1, random_state=0)
    X = X.astype(np.float32)
    return (X[:400], y[:400]), (X[400:800], y[400:800]), (X[800:], y[800:])


def assess(sampler, thirds):
    (X, y), (X_test, y_test), _ = thirds
    return evaluate(sampler, X_test, y_test, X_train=X, y_train=y, random_state=0)


def figure(result, metric, label=ALL):
    return next(f for f in result.figures if f.metric == metric and f.label == label)


class Jitter(Copier):
    """Training rows with a little noise: no row is equal, every row is near."""

    def sample(self, n, y):
        rows = super().sample(n, y)
        return rows + np.random.default_rng(1).normal(0, 0.02, rows.shape).astype(np.float32)


class Mixture:
    """A share of training rows among fresh ones, of both or of one class."""

    def __init__(self, train, fresh, shares):
        self.copier, self.fresh, self.shares = Copier(*train), Rows(*fresh), shares

    def sample(self, n, y):
        n_copies = round(n * self.shares[y])
        return np.concatenate([self.copier.sample(n_copies, y), self.fresh.sample(n - n_copies, y)])


def test_noisy_copies_are_near_though_not_equal(thirds):
    result = assess(Jitter(*thirds[0]), thirds)
    assert figure(result, "exact_copies").value == 0 and figure(result, "near_copies").value > 0.9
    assert figure(result, "authenticity").value < 0.2 and figure(result, "nearer_to_train").value > 0.9
    assert result.judgement.copies and "lie nearer to a training row than the nearest" in result.verdict


def test_a_fifth_of_copies_is_found_and_measured(thirds):
    result = assess(Mixture(thirds[0], thirds[2], {0: 0.2, 1: 0.2}), thirds)
    exact, near = figure(result, "exact_copies"), figure(result, "near_copies")
    assert exact.value == pytest.approx(0.2, abs=0.01) and exact.low < 0.2 < exact.high
    assert near.value == pytest.approx(0.2 + 0.8 * 0.05, abs=0.05)
    assert result.judgement.copies and "20% of the synthetic rows equal" in result.verdict


def test_the_class_that_is_copied_is_named(thirds):
    result = assess(Mixture(thirds[0], thirds[2], {0: 0.0, 1: 1.0}), thirds)
    assert figure(result, "exact_copies", 0).value == 0 and figure(result, "exact_copies", 1).value == 1
    assert "Class 1: Copies: 100%" in result.verdict and "Class 0: Copies" not in result.verdict


def test_intervals_hold_the_truth_for_fresh_rows():
    inside = []
    for seed in range(6):
        X, y = make_classification(900, 4, n_informative=3, n_redundant=1, random_state=seed)
        parts = [(X[i : i + 300], y[i : i + 300]) for i in (0, 300, 600)]
        result = assess(Rows(*parts[2]), parts)
        assert not result.judgement.copies
        inside.append(
            [
                f.low <= f.ceiling <= f.high
                for f in result.figures
                if f.label == ALL
                and f.metric != "exact_copies"
                and f.metric in ("near_copies", "membership_auc", "nearer_to_train")
            ]
        )
    assert np.mean(inside) > 0.8


def test_copies_are_searched_for_across_labels(thirds):
    (X, y), _, _ = thirds
    result = assess(Copier(X, 1 - y), thirds)
    assert figure(result, "exact_copies").value == 1 and figure(result, "near_copies").value == 1


def test_many_training_rows_are_thinned_for_distances_but_not_for_equality(thirds, monkeypatch):
    monkeypatch.setattr(privacy, "MAX_TRAINING_ROWS", 100)
    result = assess(Copier(*thirds[0]), thirds)
    assert figure(result, "exact_copies").value == 1 and 0.2 < figure(result, "near_copies").value < 0.9
    assert (result.gallery["distance"] == 0).any()
    found = result.gallery[result.gallery["distance"] == 0]
    assert all(
        np.array_equal(result.X_synthetic[i], thirds[0][0][j]) for i, j in zip(found["synthetic"], found["train"], strict=True)
    )


def test_nearest_is_exact_for_equal_rows():
    rows = np.random.default_rng(0).normal(100, 1, size=(300, 40)).astype(np.float32)
    distances, found = nearest(rows[:50], rows, 2)
    assert (distances[:, 0] == 0).all() and (found[:, 0] == np.arange(50)).all() and (distances[:, 1] > 0).all()


def test_passing_is_never_called_private(thirds):
    said = assess(Rows(*thirds[2]), thirds).verdict
    assert "No sign of copying" in said and "no proof of privacy" in said
    assert "is private" not in said and "are private" not in said and "safe" not in said


# ------------------------------------------------------------------ words
def test_grades_follow_floor_and_ceiling():
    auc = lambda value: grade(Figure("c2st_auc", ALL, value, 0.9, 0.5, 1000))
    assert [auc(value) for value in (0.48, 0.6, 0.75, 0.89, 0.95)] == ["good", "good", "fair", "poor", "poor"]
    assert grade(Figure("c2st_auc", ALL, 0.6, 0.7, 0.5, 50, 0.49, 0.71)) == "good", "the ceiling lies in the interval"
    assert grade(Figure("c2st_auc", ALL, 0.5, 0.5, 0.5, 1000)) is None, "no way between floor and ceiling"
    frechet = lambda value: grade(Figure("frechet_distance", ALL, value, 100.0, 1.0, 1000))
    assert [frechet(value) for value in (1.5, 9.0, 30.0, 80.0)] == ["good", "good", "fair", "poor"]
    assert grade(Figure("density", ALL, 0.1, 0.0, 1.0, 1000)) is None
    assert grade(too_small("coverage", ALL, 3)) is None


def test_the_lowest_grade_decides_and_is_explained():
    figures = [
        Figure("c2st_auc", ALL, 0.55, 0.9, 0.5, 1000),
        Figure("associations", ALL, 0.09, 0.1, 0.01, 1000),
        too_small("c2st_auc", "odd", 12),
    ]
    verdict = judge(figures)
    assert verdict.level == "poor" and not verdict.copies
    assert verdict.sentences[0].startswith("Poor: a tree classifier tells synthetic rows from real ones with AUC .55")
    assert "Held back by: mean difference of pairwise association .09 (real rows: .01, worthless ones: .10)" in str(verdict)
    assert "Too few held-out or training rows for some figures of class 'odd'." in str(verdict)


def test_a_shift_between_training_and_test_rows_is_a_caution():
    assert "training rows themselves differ" in str(judge([Figure("c2st_auc", ALL, 0.8, 0.9, 0.7, 1000)]))
