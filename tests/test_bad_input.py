"""A user's mistake gets an error that names what is wrong and what to do, before anything is trained."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from augment_gen import ConditionalVAE
from augment_gen.errors import AugmentGenError, InvalidDataError, InvalidParameterError, InvalidTypeError, TrainingDivergedError

X, Y = np.random.default_rng(0).normal(size=(40, 3)), np.repeat([0, 1], 20)
FRAME = pd.DataFrame(X, columns=list("abc"))


def generator(**params):
    return ConditionalVAE(**{"max_steps": 2, "random_state": 0, "device": "cpu", **params})


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (X, Y[:-1], "inconsistent numbers of samples: X has 40 rows, y has 39 labels"),
        (FRAME, Y[:-1], "X has 40 rows, y has 39 labels"),
        (torch.tensor(X), Y[:-1], "X has 40 rows, y has 39 labels"),
        (X, np.zeros(40), "y has 1 class.*greater than one"),
        (X, np.r_[Y[:-1], 2], r"min_class_size=2 rows: 2 \(1\).*merge the class"),
        (X, np.where(np.arange(40) == 7, np.nan, Y), "y is missing .* in 1 rows, first in row 7.*drop those rows"),
        (X, np.where(np.arange(40) == 7, None, "a"), "y is missing .* first in row 7"),
        (X, np.linspace(0, 1, 40), "Unknown label type.*class labels"),
        (X, np.eye(3)[:2].repeat(20, 0) + np.eye(3)[2], "one label a row"),
        (X, None, "requires y"),
        (np.where(X > 2, np.inf, X), Y, "Input X contains infinity"),
        (FRAME.assign(a=np.inf), Y, "contains infinity: column 'a', first in row 0.*Replace"),
        (np.empty((0, 3)), np.empty(0), "minimum of 1 is required"),
        (FRAME[:0], Y[:0], r"Found array with 0 sample\(s\)"),
        (FRAME[[]], Y, r"Found array with 0 feature\(s\)"),
        (torch.empty(0, 3), torch.empty(0), "must have rows and features"),
        (FRAME.set_axis(["a", "a", "b"], axis=1), Y, r"duplicate column names: \['a'\]"),
        (X[:, 0], Y, "Expected 2D array, got 1D array"),
        (csr_array(X), Y, r"dense data is required: give X.toarray\(\)"),
        ([[1, 2], [3]] * 20, Y, "different shapes"),
    ],
)
def test_fit_says_what_is_wrong_with_the_data(data, labels, message):
    with pytest.raises((ValueError, TypeError), match=message):
        generator(max_steps=10**9).fit(data, labels)


@pytest.mark.parametrize("cell", [{"k": 1}, [1, 2], {1, 2}])
def test_nested_cells_are_refused_by_column(cell):
    with pytest.raises(InvalidTypeError, match=f"Column 'a' holds {type(cell).__name__}.*drop the column"):
        generator().fit(FRAME.assign(a=[cell] * 40), Y)


@pytest.mark.parametrize(
    "params",
    [
        {"max_steps": 0}, {"max_steps": "many"}, {"latent_dim": 0}, {"learning_rate": 0}, {"beta": -1},
        {"class_tempering": 2}, {"latent_density": "kde"}, {"precision": "float16"}, {"min_class_size": 0},
        {"novelty_filter": "yes"}, {"numeric": "onehot"}, {"batch_size": 1}, {"sampling_strategy": "most"},
    ],
)  # fmt: skip
def test_parameters_are_checked_at_fit_and_named(params):
    name = next(iter(params))
    with pytest.raises(ValueError, match=name):
        generator(**params).fit(X, Y)


def test_device_that_does_not_exist_is_named():
    with pytest.raises(InvalidParameterError, match="device='cpuu'.*cuda:1"):
        generator(device="cpuu").fit(X, Y)


def test_divergence_stops_with_a_remedy():
    with pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        generator(max_steps=50, learning_rate=1e30).fit(X, Y)


def test_our_errors_are_builtin_errors_too():
    assert issubclass(InvalidDataError, ValueError) and issubclass(InvalidTypeError, TypeError)
    assert issubclass(InvalidDataError, AugmentGenError)


def test_a_fit_that_fails_leaves_the_estimator_as_it_was():
    gen = generator().fit(FRAME, Y)
    before = gen.sample(20, random_state=0)[0]
    state = dict(vars(gen))
    for data, labels in ((FRAME.assign(a=np.inf), Y), (FRAME, np.zeros(40)), (X[:, :2], Y[:-1])):
        with pytest.raises(ValueError):
            gen.fit(data, labels)
    with pytest.raises(TrainingDivergedError):
        gen.set_params(learning_rate=1e30, max_steps=50).fit(X[:, :2], Y)
    assert set(vars(gen)) == set(state)
    pd.testing.assert_frame_equal(gen.sample(20, random_state=0)[0], before)
