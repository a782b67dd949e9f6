"""What a rebalanced set is made of: every real row, and the share of synthetic ones that was asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augment_gen.errors import InvalidParameterError
from augment_gen.pipelines.mixing import mixed_plan

CLASSES = np.repeat([0, 1, 2], [30, 7, 1])[np.random.default_rng(0).permutation(38)]


@pytest.mark.parametrize("share", [0, 0.25, 0.5, 0.67, 0.9])
def test_all_gives_every_class_the_same_share(share):
    rows, n_synthetic = mixed_plan(CLASSES, 3, "all", share, np.random.default_rng(0))
    assert np.bincount(CLASSES[rows]).tolist() == [30, 30, 30]
    assert len(set(n_synthetic)) == 1 and n_synthetic.dtype == np.int64
    assert n_synthetic[0] / (n_synthetic[0] + 30) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("share", "expected"), [(0, [0, 0, 0]), (0.5, [0, 12, 14]), (1, [0, 23, 29])])
def test_minority_fills_up_to_the_largest(share, expected):
    rows, n_synthetic = mixed_plan(CLASSES, 3, "minority", share, np.random.default_rng(0))
    assert n_synthetic.tolist() == expected
    assert (np.bincount(CLASSES[rows]) + n_synthetic).tolist() == [30, 30, 30]


@pytest.mark.parametrize(("mix", "in_total"), [("all", 400), ("minority", 100)])
def test_more_of_each_class_than_the_largest_has(mix, in_total):
    rows, n_synthetic = mixed_plan(CLASSES, 3, mix, 0.75, np.random.default_rng(0), n_each=100)
    assert (np.bincount(CLASSES[rows]) + n_synthetic).tolist() == [in_total] * 3
    for wrong in (29, 100.0, True):
        with pytest.raises(InvalidParameterError, match=f"n_each must be an integer of at least 30.*got {wrong}"):
            mixed_plan(CLASSES, 3, mix, 0.75, np.random.default_rng(0), n_each=wrong)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.sampled_from(["all", "minority"]),
    st.floats(0, 0.95),
    st.integers(0, 9),
)
def test_every_real_row_is_there_and_repeats_are_even(classes, mix, share, seed):
    rows, n_synthetic = mixed_plan(np.array(classes), 5, mix, share, np.random.default_rng(seed))
    times = np.bincount(rows, minlength=len(classes))
    for k in range(5):
        own = times[np.array(classes) == k]
        assert (len(own) == 0 and n_synthetic[k] == 0) or (own.min() >= 1 and own.max() - own.min() <= 1)
    again = mixed_plan(np.array(classes), 5, mix, share, np.random.default_rng(seed))
    assert (rows == again[0]).all() and (n_synthetic == again[1]).all()


@pytest.mark.parametrize(
    ("mix", "share", "message"),
    [
        ("majority", 0.5, 'mix must be "all" or "minority"; got \'majority\''), (None, 0.5, "mix must be"),
        ("all", 1, "synthetic_share must be a number from 0 to below 1.*got 1"), ("all", -0.1, "synthetic_share.*-0.1"),
        ("minority", 1.1, "from 0 to 1; got 1.1"), ("all", "half", "got 'half'"), ("all", True, "got True"),
        ("all", float("nan"), "got nan"),
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_is_named(mix, share, message):
    with pytest.raises(InvalidParameterError, match=message):
        mixed_plan(CLASSES, 3, mix, share, np.random.default_rng(0))
