"""What sample and fit_resample promise: the labels asked for, the format that was given, and the originals untouched."""

import numpy as np
import pandas as pd
import pytest
import torch
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from augment_gen import ConditionalVAE
from augment_gen.codecs import TableCodec
from augment_gen.errors import ClassTooSmallError, InvalidDataError, InvalidRequestError, SmallClassWarning, UnknownLabelError
from augment_gen.generators import GENERATORS, IMAGES_ONLY, base
from augment_gen.seeding import blocks, stage_generator


def small(**params):
    return ConditionalVAE(**{"max_steps": 60, "random_state": 0, "device": "cpu", **params})


# ------------------------------------------------------------------ requests
def test_rows_come_in_the_format_of_X_with_exactly_the_label_asked_for(mixed, fitted_mixed):
    X, y = mixed
    X_new, y_new = fitted_mixed.sample(50, y="malignant")
    assert X_new.shape == (50, X.shape[1]) and list(X_new.columns) == list(X.columns)
    assert X_new.dtypes.tolist() == X.dtypes.tolist()
    assert list(X_new["category"].cat.categories) == ["small", "middle", "large", "never seen"]
    assert isinstance(y_new, pd.Series) and y_new.dtype == y.dtype and y_new.name == "diagnosis"
    assert (y_new == "malignant").all() and (y_new.index == X_new.index).all()


def test_missing_cells_constants_and_range_are_kept(mixed, fitted_mixed):
    X, _ = mixed
    X_new, _ = fitted_mixed.sample(1000)
    assert X_new["all missing"].isna().all() and (X_new["constant"] == 3.5).all()
    for name in ("float32", "Int64", "boolean", "category", "string", "when"):
        assert abs(X_new[name].isna().mean() - X[name].isna().mean()) < 0.08, name
    for name in ("float64", "uint8", "zoned", "took"):
        assert not X_new[name].isna().any() and X_new[name].between(X[name].min(), X[name].max()).all()


def test_every_way_to_ask(fitted_mixed):
    _, y_new = fitted_mixed.sample({"malignant": 7, "benign": 3})
    assert y_new.tolist() == ["malignant"] * 7 + ["benign"] * 3
    asked = np.array(["benign", "malignant", "malignant", "benign"])
    assert fitted_mixed.sample(y=asked)[1].tolist() == asked.tolist()
    assert len(fitted_mixed.sample()[0]) == 1
    assert len(fitted_mixed.sample(0)[0]) == 0 and len(fitted_mixed.sample(0, y="benign")[1]) == 0
    counts = fitted_mixed.sample(400)[1].value_counts()
    assert counts[fitted_mixed.classes_].tolist() == fitted_mixed.conditions_.counts_.tolist(), "as often as in training"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_samples": 3, "y": "bening"}, UnknownLabelError, "'bening'.*Known labels: 'benign', 'malignant'"),
        ({"n_samples": {"benign": 2, "other": 1}}, UnknownLabelError, "n_samples asks for 'other'"),
        ({"n_samples": -1}, InvalidRequestError, "must not be negative; got -1"),
        ({"n_samples": 2.5}, InvalidRequestError, "must be an integer.*2.5"),
        ({"n_samples": {"benign": 1.5}}, InvalidRequestError, r"n_samples\['benign'\] must be an integer"),
        ({"n_samples": {"benign": 1}, "y": "benign"}, InvalidRequestError, "not both"),
        ({"n_samples": 5, "y": ["benign"]}, InvalidRequestError, "y has 1 labels"),
        ({"n_samples": 1, "temperature": 0}, InvalidRequestError, "temperature must be a number above 0; got 0"),
        ({"n_samples": 1, "random_state": -5}, InvalidRequestError, "random_state"),
    ],
)
def test_requests_that_cannot_be_met_say_why(fitted_mixed, arguments, error, message):
    with pytest.raises(error, match=message):
        fitted_mixed.sample(**arguments)


def test_sampling_before_fit_is_scikit_learns_error():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        ConditionalVAE().sample(1)


# -------------------------------------------------------------- determinism
def test_seeds_repeat_and_streams_go_on(mixed, fitted_mixed):
    first, again = fitted_mixed.sample(20, random_state=3)[0], fitted_mixed.sample(20, random_state=3)[0]
    pd.testing.assert_frame_equal(first, again)
    assert not fitted_mixed.sample(20)[0].equals(fitted_mixed.sample(20)[0])
    twins = [small(max_steps=30).fit(*mixed).sample(50)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(*twins)


def test_how_rows_are_batched_does_not_change_them(fitted_mixed, monkeypatch):
    whole = fitted_mixed.sample(300, random_state=0)[0]
    monkeypatch.setattr(fitted_mixed.decoder_, "max_rows", 7)
    pd.testing.assert_frame_equal(fitted_mixed.sample(300, random_state=0)[0], whole)


def test_requests_longer_than_a_block_join_up(fitted_mixed, monkeypatch):
    monkeypatch.setattr(fitted_mixed.codec_, "block_rows", 64, raising=False)
    asked = np.array(["benign", "malignant"] * 100)
    X_new, y_new = fitted_mixed.sample(y=asked, random_state=0)
    assert len(X_new) == 200 and y_new.tolist() == asked.tolist()
    assert X_new.index.tolist() == list(range(200)) and not X_new["float64"].duplicated().all()


def test_global_state_is_left_alone(wine):
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads(), torch.is_grad_enabled()
    small().fit_resample(*wine)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == before[2:]


# ------------------------------------------------------------- fit_resample
def test_originals_come_first_bit_for_bit(mixed):
    X, y = mixed
    gen = small()
    X_all, y_all = gen.fit_resample(X, y)
    n = len(X)
    pd.testing.assert_frame_equal(X_all.iloc[:n], X)
    pd.testing.assert_series_equal(y_all.iloc[:n], y)
    assert y_all.value_counts().nunique() == 1
    assert gen.synthetic_mask_.tolist() == [False] * n + [True] * (len(X_all) - n)
    assert (X_all.index == y_all.index).all() and X_all.index.is_unique


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("auto", {0: 71, 1: 71, 2: 71}),
        ("minority", {0: 59, 1: 71, 2: 71}),
        ({0: 100}, {0: 100, 1: 71, 2: 48}),
        (lambda y: {2: 50}, {0: 59, 1: 71, 2: 50}),
    ],
)
def test_sampling_strategy_as_in_imbalanced_learn(wine, strategy, expected):
    _, y_all = small(sampling_strategy=strategy).fit_resample(*wine)
    assert dict(zip(*np.unique(y_all, return_counts=True), strict=True)) == expected


def test_strategy_as_a_ratio():
    X, y = load_breast_cancer(return_X_y=True)
    _, y_all = small(sampling_strategy=0.8).fit_resample(X, y)
    assert np.bincount(y_all).tolist() == [int(357 * 0.8), 357]


@pytest.mark.parametrize(
    ("strategy", "message"), [({0: 10}, "should be greater or equal"), ({"x": 100}, "sampling_strategy asks for 'x'")]
)
def test_bad_strategy_is_an_error_before_training(wine, strategy, message):
    with pytest.raises(InvalidDataError if 0 in strategy else UnknownLabelError, match=message):
        small(sampling_strategy=strategy, max_steps=10**9).fit_resample(*wine)


@pytest.mark.parametrize(
    "make",
    [
        lambda y: y.astype(np.int8), lambda y: y.tolist(), lambda y: y > 0, torch.tensor, pd.Categorical,
        lambda y: pd.Series(y, dtype="Int64"), lambda y: pd.Series(y).astype("category"), lambda y: y.astype(str),
        lambda y: pd.Series(y > 0), lambda y: y.astype(float), lambda y: y.astype(str).astype(object),
        lambda y: pd.DataFrame({"target": y}),
    ],
)  # fmt: skip
def test_labels_of_any_kind_come_back_as_they_were(wine, make):
    y = make(wine[1])
    gen = small(max_steps=3)
    _, y_all = gen.fit_resample(wine[0], y)
    assert type(y_all) is type(y)
    if hasattr(y, "dtype"):
        assert y_all.dtype == y.dtype
    head = y_all.iloc[: len(y)] if isinstance(y, (pd.Series, pd.DataFrame)) else y_all[: len(y)]
    assert np.asarray(head).tolist() == np.asarray(y).tolist()
    label = gen.classes_[1]
    assert set(np.asarray(gen.sample(9, y=label)[1]).ravel().tolist()) == {label}


# ------------------------------------------------------------------ quality
def test_an_independent_classifier_sees_the_class_that_was_asked_for():
    X, y = load_breast_cancer(return_X_y=True)
    gen = ConditionalVAE(max_steps=300, random_state=0, device="cpu").fit(X[::2], y[::2])
    judge = RandomForestClassifier(random_state=0).fit(X[1::2], y[1::2])
    for label in (0, 1):
        X_new, _ = gen.sample(300, y=label)
        assert (judge.predict(X_new) == label).mean() > 0.85


def test_a_class_of_ten_rows_gives_a_thousand_varied_rows_at_once():
    X, y = load_digits(return_X_y=True)
    rare = np.flatnonzero(y == 3)[10:]
    X, y = np.delete(X, rare, axis=0), np.delete(y, rare)
    gen = small(max_steps=200).fit(X, y)
    X_new, y_new = gen.sample(1000, y=3)
    assert (y_new == 3).all() and len(np.unique(X_new, axis=0)) > 900
    real = np.unique(X[y == 3], axis=0)
    assert not (X_new[:, None] == real[None]).all(-1).any(), "no copies of training rows"
    spread = lambda rows: np.linalg.norm(rows[:, None] - rows[None], axis=-1).mean()
    assert spread(X_new[:100]) > 0.6 * spread(real)
    assert gen.latent_report_.set_index("label").loc[3, "density"] == "gaussian"


def test_tiny_classes_warn_and_single_rows_are_refused(wine):
    X, y = wine
    three = np.r_[np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:3]]
    with pytest.warns(SmallClassWarning, match=r"fewer than 5 rows: 2 \(3\)"):
        gen = small().fit(X[three], y[three])
    assert gen.latent_report_.set_index("label").loc[2, "density"] == "jitter"
    assert len(np.unique(gen.sample(50, y=2)[0], axis=0)) == 50
    one = three[:-2]
    with pytest.raises(ClassTooSmallError, match=r"min_class_size=2 rows: 2 \(1\).*merge"):
        small().fit(X[one], y[one])


def test_temperature_narrows(wine):
    gen = small().fit(*wine)
    cold, warm = (gen.sample(300, y=0, temperature=t, random_state=0)[0].std(axis=0).mean() for t in (0.3, 1.0))
    assert cold < 0.8 * warm


def test_latents_go_back_to_rows(wine):
    gen = small(max_steps=300).fit(*wine)
    z = gen.encode(*wine)
    assert z.shape == (178, gen.decoder_.density.dim) and z.dtype == np.float32
    back = gen.decode(z, wine[1], random_state=0)
    scale = wine[0].std(axis=0)
    far = np.abs(back - wine[0][np.random.default_rng(0).permutation(178)]) / scale
    assert (np.abs(back - wine[0]) / scale).mean() < 0.6 * far.mean()
    with pytest.raises(InvalidRequestError, match=r"z must have shape \(2, "):
        gen.decode(z[:3], wine[1][:2])
    with pytest.raises(InvalidRequestError, match="temperature"):
        gen.decode(z[:3], wine[1][:3], temperature=0)


# ------------------------------------------------------------------ pipelines
def test_clone_pipeline_and_grid_search():
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), clone(small(max_steps=5)), LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, {"conditionalvae__max_steps": [2, 5]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.9


# ------------------------------------------------------------------- extremes
@pytest.mark.parametrize("generator", [generator for name, generator in GENERATORS.items() if name not in IMAGES_ONLY])
@pytest.mark.parametrize(
    "X",
    [np.ones((60, 3)), np.full((60, 2), np.nan), np.arange(60.0)[:, None], np.tile([[1.0, 2.0], [3.0, 4.0]], (30, 1))],
    ids=["constant", "all missing", "one column", "duplicates"],
)
def test_tables_with_little_to_learn(generator, X):
    y = np.repeat([0, 1], [45, 15])
    X_all, y_all = generator(max_steps=5, random_state=0, device="cpu").fit_resample(X, y)
    assert np.bincount(y_all).tolist() == [45, 45]
    np.testing.assert_array_equal(X_all[:60], X)
    assert np.isin(X_all, X).all() or np.isnan(X_all).all() or X.shape[1] == 1


def test_wide_tables_and_many_classes():
    rng = np.random.default_rng(0)
    X_all, _ = small(max_steps=3).fit_resample(rng.normal(size=(60, 500)), np.repeat([0, 1], [45, 15]))
    assert X_all.shape == (90, 500)
    X, y = rng.normal(size=(1000, 4)), np.repeat(np.arange(200), 5)
    _, y_new = small(max_steps=3).fit(X, y).sample({label: 2 for label in range(200)})
    assert y_new.tolist() == np.repeat(np.arange(200), 2).tolist()


# ------------------------------------------------------------------- batches
@pytest.mark.parametrize("batch_rows", [1, 40, 64, 100, 1000])
def test_batches_put_together_are_what_sample_returns(fitted_mixed, monkeypatch, batch_rows):
    monkeypatch.setattr(TableCodec, "block_rows", 16)
    monkeypatch.setattr(base, "STRETCH_BLOCKS", 4)
    n_rows = 150 if batch_rows > 1 else 70
    X_all, y_all = fitted_mixed.sample(n_rows, random_state=3)
    report = fitted_mixed.filter_report_
    batches = list(fitted_mixed.sample_iter(n_rows, batch_rows=batch_rows, random_state=3))
    assert all(len(X) == len(y) == batch_rows for X, y in batches[:-1]) and len(batches) == -(-n_rows // batch_rows)
    pd.testing.assert_frame_equal(pd.concat([X for X, _ in batches]), X_all)
    pd.testing.assert_series_equal(pd.concat([y for _, y in batches]), y_all)
    pd.testing.assert_frame_equal(fitted_mixed.filter_report_, report)


def test_mistakes_in_a_request_for_batches_show_at_once_and_none_come_of_no_rows(fitted_mixed):
    with pytest.raises(UnknownLabelError, match="bening"):
        fitted_mixed.sample_iter(3, y="bening")
    with pytest.raises(InvalidRequestError, match="batch_rows must be an integer of at least 1.*got 0"):
        fitted_mixed.sample_iter(3, batch_rows=0)
    assert list(fitted_mixed.sample_iter(0)) == []


def test_what_is_decided_about_all_rows_has_noise_of_its_own():
    _, first = next(blocks(10, 5, 1, 16))
    assert not np.isin(first.random(100), stage_generator(5, 1).random(100)).any()
