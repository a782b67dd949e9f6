"""Filters that a user passes: what they reject, that it is drawn again, and that nothing is silently short."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from augment_gen import ConditionalGAN, ConditionalVAE
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidRequestError, ShortfallError, ShortfallWarning
from augment_gen.sampling import ClassConsistent, NotACopy, WithinSupport

pytestmark = pytest.mark.filterwarnings("ignore::augment_gen.errors.CollapseWarning")
CRITERIA = [WithinSupport, NotACopy, ClassConsistent]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module")
def generator(iris):
    return ConditionalVAE(max_steps=150, random_state=0, device="cpu").fit(*iris)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_few_fresh_real_rows_are_rejected(criterion, iris):
    X, y = iris
    fitted = criterion().fit(X[::2], y[::2])
    assert fitted.keep(X[1::2], y[1::2]).mean() > 0.75


def test_each_rejects_what_it_is_for(iris):
    X, y = iris
    far, copies, wrong = X + 5, X, (y + 1) % 3
    assert not WithinSupport().fit(X, y).keep(far, y).any() and WithinSupport().fit(X, y).keep(copies, y).all()
    assert not NotACopy().fit(X, y).keep(copies, y).any() and NotACopy().fit(X, y).keep(far, y).all()
    assert ClassConsistent().fit(X, y).keep(X, wrong).mean() < 0.1


@pytest.mark.parametrize("generator_class", [ConditionalVAE, ConditionalGAN])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_sampled_rows_pass_and_keep_their_labels(criterion, generator_class, iris):
    gen = generator_class(max_steps=60, random_state=0, device="cpu").fit(*iris)
    fitted = criterion().fit(*iris)
    wanted = np.tile([2, 0, 1], 40)
    X_new, y_new = gen.sample(y=wanted, filters=fitted, random_state=0)
    assert y_new.tolist() == wanted.tolist() and fitted.keep(X_new, y_new).mean() > 0.98
    pd.testing.assert_series_equal(X_new.dtypes, iris[0].dtypes)
    report = gen.filter_report_.query(f"filter == '{criterion.__name__}'")
    unfiltered = gen.sample(y=wanted, random_state=0)[0]
    assert report["seen"].sum() >= 120 and sorted(report["label"]) == [0, 1, 2]
    assert fitted.keep(unfiltered, y_new).mean() < 1, "there was something to reject"


def test_fit_resample_fits_copies_of_filters_to_its_own_rows(iris):
    X, y = iris[0][:120], iris[1][:120]
    unfitted = WithinSupport()
    gen = ConditionalVAE(max_steps=60, random_state=0, device="cpu")
    X_all, y_all = gen.fit_resample(X, y, filters=[unfitted, NotACopy()])
    assert np.bincount(y_all).tolist() == [50, 50, 50] and not hasattr(unfitted, "classes_")
    pd.testing.assert_frame_equal(X_all[:120], X)
    assert WithinSupport().fit(X, y).keep(X_all[120:], y_all[120:]).all()
    assert set(gen.filter_report_["filter"]) == {"generator", "WithinSupport", "NotACopy"}


def test_a_function_is_a_filter(generator, iris):
    def short_petals(X, y):
        return (X["petal length (cm)"] < 5).to_numpy()

    X_new, _ = generator.sample(40, y=1, filters=[short_petals, WithinSupport().fit(*iris)])
    assert (X_new["petal length (cm)"] < 5).all()
    assert generator.filter_report_["filter"].tolist() == ["generator", "short_petals", "WithinSupport"]


def test_filters_do_not_change_what_passes_at_once(generator):
    everything = lambda X, y: np.ones(len(X), dtype=bool)
    plain, filtered = (generator.sample(30, y=2, filters=one, random_state=1)[0] for one in (None, everything))
    pd.testing.assert_frame_equal(plain, filtered)


def test_shortfall_is_a_warning_or_an_error_and_never_fewer_rows(generator):
    nothing = lambda X, y: np.zeros(len(X), dtype=bool)
    with pytest.warns(ShortfallWarning, match="7 rows of 0, 1 .* rejected after 10 draws, by <lambda>.*filter_report_"):
        X_new, y_new = generator.sample({0: 3, 1: 4}, filters=nothing)
    assert y_new.tolist() == [0, 0, 0, 1, 1, 1, 1] and len(X_new) == 7
    assert (generator.filter_report_.query("filter == '<lambda>'")["rejected_share"] == 1).all()
    with pytest.raises(ShortfallError, match=r"5 rows of 2 .* all of 10 draws, by <lambda>. Loosen"):
        generator.sample(5, y=2, filters=nothing, on_shortfall="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShortfallWarning)
        generator.sample(5, y=2, filters=lambda X, y: np.ones(len(X), dtype=bool), on_shortfall="raise")


def test_images_and_mixed_tables(mixed, fitted_mixed):
    X, y = mixed
    for criterion in CRITERIA:
        fitted = criterion().fit(X, y)
        X_new, y_new = fitted_mixed.sample(30, y="malignant", filters=fitted, random_state=0)
        assert fitted.keep(X_new, y_new).mean() > 0.9 and X_new.dtypes.equals(X.dtypes)
    images, labels = load_digits(n_class=2, return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    for criterion in CRITERIA:
        fitted = criterion().fit(images[::2], labels[::2])
        assert fitted.keep(images[1::2], labels[1::2]).mean() > 0.75
    assert not NotACopy().fit(images, labels).keep(images, labels).any()


def test_large_classes_are_thinned_and_small_ones_and_copies_are_not():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(25_000, 3)), np.zeros(25_000, dtype=int)
    y[:2] = 1
    fitted = NotACopy().fit(X, y)
    assert not fitted.keep(X, y).any(), "a copy of a row that distances were not computed to is a copy"
    assert WithinSupport().fit(X, y).keep(X[:2], y[:2]).all()


def test_filters_of_one_name_are_counted_apart(generator):
    everything, first_half = lambda X, y: np.ones(len(X), bool), lambda X, y: np.arange(len(X)) < max(1, len(X) // 2)
    generator.sample(30, y=0, filters=[everything, first_half])
    assert generator.filter_report_["filter"].tolist() == ["generator", "<lambda>", "<lambda> 2"]


def test_own_classifier(iris):
    X, y = iris
    fitted = ClassConsistent(LogisticRegression(max_iter=1000)).fit(X, y)
    assert len(fitted.estimators_) == 5 and fitted.keep(X, (y + 1) % 3).mean() < 0.1


def test_mistakes_are_explained(generator, iris):
    X, y = iris
    with pytest.raises(InvalidRequestError, match=r"WithinSupport is not fitted.*fit\(X, y\)"):
        generator.sample(3, y=0, filters=WithinSupport())
    for wrong in ("copies", 3, WithinSupport):
        with pytest.raises(InvalidRequestError, match="filters must hold"):
            generator.sample(3, y=0, filters=wrong)
    with pytest.raises(InvalidRequestError, match=r"one bool a row: got shape \(1,\) and int64 for 3 rows"):
        generator.sample(3, y=0, filters=lambda X, y: np.array([1]))
    with pytest.raises(InvalidRequestError, match="on_shortfall must be one of 'warn', 'raise'; got 'ignore'"):
        generator.sample(3, y=0, on_shortfall="ignore")
    with pytest.raises(InvalidParameterError, match="loss must lie in"):
        NotACopy(loss=2).fit(X, y)
    with pytest.raises(InvalidDataError, match=r"two rows of each class, but \[2\] have one"):
        WithinSupport().fit(X[:101], y[:101])
