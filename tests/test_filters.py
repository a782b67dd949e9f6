"""Filters and diversity on rows where the truth is known: copies, fresh rows, and a collapsed class."""

import numpy as np
import pytest

from augment_gen.sampling import filters
from augment_gen.sampling.diversity import class_diversity
from augment_gen.sampling.filters import LabelFilter, NoveltyFilter


@pytest.fixture
def real():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 5)).astype(np.float32), np.repeat([0, 1], 200)


def fresh(n_rows, seed=1):
    return np.random.default_rng(seed).normal(size=(n_rows, 5)).astype(np.float32)


def test_fresh_rows_are_near_about_five_per_cent_of_the_time(real):
    novelty = NoveltyFilter().fit(*real, 2)
    index = np.repeat([0, 1], 2000)
    assert abs(novelty.near(fresh(4000), index).mean() - 0.05) < 0.025
    assert novelty.calibrate(fresh(4000), index).keep_probability_.min() > 0.6


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_copies_are_thinned_to_the_natural_share(real, noise):
    vectors, index = real
    copies = np.concatenate([vectors[:200] + noise * fresh(200), fresh(200)])
    asked = np.zeros(400, dtype=int)
    novelty = NoveltyFilter().fit(vectors, index, 2).calibrate(copies, asked)
    assert novelty.near_share_[0] > 0.5 and np.isnan(novelty.near_share_[1])
    keep = novelty.keep(copies, asked, np.random.default_rng(0).random(400))
    assert novelty.near(copies[keep], asked[keep]).mean() < 0.1
    assert keep[200:].mean() > 0.9, "rows that are new stay"


def test_where_real_rows_repeat_drawn_rows_may_too():
    vectors = np.tile(np.eye(3, dtype=np.float32), (20, 1))
    index = np.zeros(60, dtype=int)
    novelty = NoveltyFilter().fit(vectors, index, 1).calibrate(vectors[:30], index[:30])
    assert novelty.natural_share_[0] == 1 and novelty.keep_probability_[0] == 1


def test_large_classes_are_checked_for_exact_copies(monkeypatch, real):
    monkeypatch.setattr(filters, "MAX_ROWS", 100)
    vectors, index = real
    novelty = NoveltyFilter().fit(vectors, index, 2)
    mixed = np.concatenate([vectors[:50], fresh(50)])
    assert novelty.near(mixed, np.zeros(100, dtype=int)).tolist() == [True] * 50 + [False] * 50
    minus_zero = np.zeros((1, 5), np.float32) * -1
    assert filters.row_hashes(minus_zero) == filters.row_hashes(np.zeros((1, 5), np.float32))


def test_label_filter_rejects_other_labels_but_not_for_classes_its_classifier_does_not_know():
    index = np.repeat([0, 1], 50)
    sure = np.stack([1 - index, index], axis=1).astype(float)
    unsure = sure.copy()
    unsure[index == 1] = [0.6, 0.4]
    drawn = np.array([[0.9, 0.1], [0.2, 0.8]])
    asked = np.array([0, 0])
    assert LabelFilter().fit(sure, index).keep(drawn, asked).tolist() == [True, False]
    lenient = LabelFilter().fit(unsure, index)
    assert lenient.keep(drawn[::-1], np.array([1, 1])).tolist() == [True, True] and lenient.applies_.tolist() == [True, False]


def test_diversity_is_one_for_fresh_rows_and_zero_for_a_single_one(real):
    vectors, index = real
    drawn = np.concatenate([fresh(300), np.ones((300, 5), np.float32)])
    ratio = class_diversity(vectors, index, drawn, np.repeat([0, 1], 300), 3)
    assert ratio[0] == pytest.approx(1, abs=0.1) and ratio[1] == pytest.approx(0, abs=1e-3) and np.isnan(ratio[2])
