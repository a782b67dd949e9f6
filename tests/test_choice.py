"""choose_mix: none unless the held-out images say otherwise, no look at what is held out, and a reason for it."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from augment_gen.errors import InvalidDataError, InvalidParameterError
from augment_gen.generators import ElasticWarp
from augment_gen.pipelines.choice import PLAIN, choose_mix

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, NAMES = DIGITS.reshape(-1, 8, 8).astype(np.uint8), np.array(["zero", "one", "two", "three"])
TRAINING = np.concatenate([np.flatnonzero(LABELS == k)[:n] for k, n in enumerate([40, 6, 40, 6])])
X, Y = DIGITS[TRAINING], NAMES[LABELS[TRAINING]]
ONCE = {"n_folds": 3, "n_repeats": 1}
REST = np.setdiff1d(np.flatnonzero(LABELS < 4), TRAINING)

pytestmark = [
    pytest.mark.filterwarnings("ignore::augment_gen.errors.NoveltyWarning"),
    pytest.mark.filterwarnings("ignore::augment_gen.errors.SmallClassWarning"),
]


class Pool(BaseEstimator):
    """Draws images that it is given: real ones are the best of all generators, shuffled labels the worst."""

    def __init__(self, shuffled=False):
        self.shuffled = shuffled

    def fit(self, X, y):
        self.classes_, self.seen_ = np.unique(y), X
        return self

    def fit_resample(self, X, y):
        raise AssertionError

    def sample(self, n_samples=None, y=None, random_state=None):
        rng, names = np.random.default_rng(random_state), NAMES[LABELS[REST]]
        wanted = rng.permutation(y) if self.shuffled else y
        return DIGITS[[rng.choice(REST[names == label]) for label in wanted]], np.asarray(y)


def linear(X, y, X_held_out, seed):
    model = LogisticRegression(max_iter=300).fit(X.reshape(len(X), -1) / 16, y)
    return model.predict_proba(X_held_out.reshape(len(X_held_out), -1) / 16)


def test_good_images_are_chosen_and_bad_ones_are_not():
    candidates = {"unseen": (Pool(), 0.67), "shuffled": (Pool(shuffled=True), 0.67)}
    choice = choose_mix(X, Y, candidates, classifier=linear, **ONCE, random_state=0)
    assert choice.name == "unseen" and choice.synthetic_share == 0.67 and isinstance(choice.generator, Pool)
    assert not hasattr(choice.generator, "seen_")
    scores = choice.to_frame().set_index("name")
    assert scores.loc["unseen", "difference"] < -2 * scores.loc["unseen", "standard_error"]
    assert scores.loc["shuffled", "difference"] > 0
    assert scores["chosen"].tolist() == [False, True, False]
    assert scores["n_folds"].tolist() == [3, 3, 1]  # the worse half is not tried again
    assert "unseen" in choice.reason and f"{scores.loc['unseen', 'difference']:+.4f}" in choice.reason


def test_doubt_decides_for_none():
    candidates = {"unseen": (Pool(), 0.67)}
    assert choose_mix(X, Y, candidates, classifier=linear, n_errors=50, n_repeats=1, random_state=0).name == PLAIN


def test_where_nothing_helps_none_is_chosen():
    choice = choose_mix(
        X, Y, {"shuffled": (Pool(shuffled=True), 0.5)}, classifier=linear, n_folds=3, n_repeats=1, random_state=0
    )
    assert choice.name == PLAIN and choice.generator is None and choice.synthetic_share == 0
    assert "none is chosen" in choice.reason and choice.scores["difference"].iloc[0] == 0


def test_what_is_held_out_is_seen_by_nobody():
    seen, held_out = [], []

    class Watching(Pool):
        def fit(self, X, y):
            seen.append({image.tobytes() for image in X})
            return super().fit(X, y)

    def classifier(X_train, y_train, X_held_out, seed):
        held_out.append({image.tobytes() for image in X_held_out})
        assert not held_out[-1] & {image.tobytes() for image in X_train[: len(X_train) // 4]}  # real ones come first
        return linear(X_train, y_train, X_held_out, seed)

    choose_mix(X, Y, {"watching": (Watching(), 0.5)}, classifier=classifier, **ONCE, random_state=0)
    assert len(seen) == 3 and len(set.union(*held_out)) == len(X)
    for fitted, without, behind in zip(seen, held_out[::2], held_out[1::2], strict=True):
        assert without == behind and not fitted & behind


def test_one_generator_with_two_shares_is_fitted_once_per_fold():
    generator, fits = Pool(), []
    original = Pool.fit
    Pool.fit = lambda self, X, y: fits.append(len(y)) or original(self, X, y)
    try:
        choose_mix(
            X,
            Y,
            {"half": (generator, 0.5), "more": (generator, 0.8)},
            classifier=linear,
            n_folds=3,
            n_repeats=1,
            random_state=0,
        )
    finally:
        Pool.fit = original
    assert len(fits) == 3


def test_small_network_and_warps_run_through(monkeypatch):
    monkeypatch.setattr("augment_gen.pipelines.choice.STEPS", 3)
    warp = ElasticWarp(max_steps=3, random_state=0, device="cpu")
    first, second = (choose_mix(X, Y, {"warp": (warp, 0.5)}, n_folds=2, device="cpu", random_state=0) for _ in range(2))
    assert first.scores.equals(second.scores) and first.name in ("warp", PLAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": {}}, "candidates must be a dict"), ({"candidates": {"none": (Pool(), 0.5)}}, 'named "none"'),
        ({"candidates": {"a": Pool()}}, "for 'a'"), ({"candidates": {"a": (Pool(), 1.0)}}, "synthetic_share.*below 1"),
        ({"candidates": {"a": (LogisticRegression(), 0.5)}}, "for 'a'"), ({"n_folds": 1}, "n_folds.*at least 2; got 1"),
        ({"n_errors": -1}, "n_errors.*at least 0; got -1"),
        ({"n_repeats": 0}, "n_repeats.*at least 1; got 0"), ({"mix": "most"}, "mix must be"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_requests_are_named(arguments, message):
    with pytest.raises(InvalidParameterError, match=message):
        choose_mix(X, Y, **arguments)


def test_bad_data_is_named():
    with pytest.raises(InvalidDataError, match="for images"):
        choose_mix(*load_iris(return_X_y=True))
    with pytest.raises(InvalidDataError, match="at least 3 images each"):
        choose_mix(X[:42], Y[:42])
    with pytest.raises(InvalidDataError, match="at least 4 images each"):
        choose_mix(X[:43], Y[:43], n_folds=2)
