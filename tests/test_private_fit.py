"""A differentially private fit: what one row can do is bounded, hidden and paid for, and nothing else gets out."""

import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits

import augment_gen
from augment_gen import ConditionalVAE
from augment_gen.accounting import Release, spent, with_least_noise
from augment_gen.codecs.declared_table import DeclaredTableCodec
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidRequestError, MissingExtraError
from augment_gen.generators.private_training import RowNorms, clipped_gradients, noised, train_privately
from augment_gen.generators.vae_table import TableSettings, TableVAERecipe
from augment_gen.persistence import read_state
from augment_gen.pipelines.inventory import describe_model
from augment_gen.sampling import WithinSupport
from augment_gen.seeding import torch_generator
from augment_gen.training import Plan

BOUNDS = {"size": (5.0, 30.0), "texture": (0, 50), "when": (pd.Timestamp("2020-01-01"), pd.Timestamp("2021-12-31"))}
PRIVACY = {"epsilon": 8.0, "bounds": BOUNDS, "missing": ["grade"]}
CPU = torch.device("cpu")


def table(n_rows=300):
    data = load_breast_cancer(as_frame=True).frame.iloc[:n_rows]
    grade = pd.cut(data["mean radius"], [0, 12, 15, 50], labels=["small", "middle", "large"])
    X = pd.DataFrame(
        {
            "size": data["mean radius"],
            "texture": data["mean texture"].round().astype("int32"),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(data["mean texture"] * 10, unit="D").dt.round("D"),
            "grade": grade.cat.add_categories("never seen").mask(np.arange(len(data)) % 5 == 0),
            "rough": data["mean texture"] > 20,
        }
    )
    return X, data["target"].map({0: "malignant", 1: "benign"}).rename("diagnosis")


def private(**params):
    return ConditionalVAE(**{"privacy": PRIVACY, "max_steps": 15, "random_state": 0, "device": "cpu", **params})


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("opacus")
    return private().fit(*table())


# ------------------------------------------------------------------ gradients
class Rows(torch.nn.Module):
    """Losses of single rows, without the encoder's noise."""

    def __init__(self):
        super().__init__()
        X, y = table(60)
        index = (y == "benign").to_numpy().astype(np.int64)
        codec = DeclaredTableCodec(BOUNDS, ["grade"]).fit(X, index)
        settings = TableSettings(
            latent_dim=4, width=16, n_layers=3, beta=1.0, n_steps=1, batch_size=30, learning_rate=0.1, weight_decay=0.0,
            ema_decay=0.0, input_noise=0.0,
        )  # fmt: skip
        self.settings, self.condition = settings, torch.from_numpy(index)
        self.network = TableVAERecipe(codec, np.bincount(index)).network(settings, torch_generator(0))
        self.inputs = codec.inputs(codec.encode(X), torch_generator(0))

    def forward(self, inputs, condition, generator=None):
        mean, log_variance = self.network.encode(inputs, condition)
        return self.network.negative_log_likelihood(self.network.decode(mean, condition), inputs) + log_variance.sum(1)

    def pick(self, rows):
        return {name: tensor[rows] for name, tensor in self.inputs.items()}


@pytest.fixture(scope="module")
def rows():
    return Rows()


def test_norms_are_those_of_gradients_taken_row_by_row(rows):
    parameters = [p for p in rows.network.parameters() if p.numel()]
    one = lambda i: torch.autograd.grad(rows(rows.pick([i]), rows.condition[[i]])[0], parameters)
    gradients = [torch.cat([part.flatten() for part in one(i)]) for i in range(60)]
    expected = torch.stack([gradient.norm() for gradient in gradients])
    with RowNorms(rows.network) as norms:
        found = norms(rows(rows.inputs, rows.condition))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    clip = float(expected.median())
    with RowNorms(rows.network) as norms:
        total = clipped_gradients(rows.network, rows, norms, rows.inputs, rows.condition, clip)
    by_hand = sum(gradient * (clip / max(gradient.norm(), clip)) for gradient in gradients)
    torch.testing.assert_close(torch.cat([part.flatten() for part in total]), by_hand, rtol=1e-3, atol=1e-4)


def test_one_outlier_moves_the_sum_by_no_more_than_the_clip(rows):
    far = {name: tensor.clone() for name, tensor in rows.inputs.items()}
    far["scalars"][0] = 1e4
    sums = {}
    for clip in (0.5, 1e9):
        with RowNorms(rows.network) as norms:
            parts = [
                clipped_gradients(rows.network, rows, norms, *batch, clip) for batch in _with_and_without(far, rows.condition)
            ]
        sums[clip] = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(*parts, strict=True)))
    assert sums[0.5] <= 0.5 * (1 + 1e-4) and sums[0.5] > 0.49, "the outlier's gradient is cut to the clip"
    assert sums[1e9] > 100, "it would be large"


def _with_and_without(inputs, condition):
    yield inputs, condition
    yield {name: tensor[1:] for name, tensor in inputs.items()}, condition[1:]


def test_noise_has_the_deviation_it_should(rows):
    zeros = [torch.zeros(300, 400), torch.zeros(1000)]
    first, second = noised(zeros, 3.0, torch_generator(0))
    assert abs(first.std() - 3) < 0.03 and abs(second.std() - 3) < 0.25 and abs(first.mean()) < 0.05
    assert not noised(zeros, 0.0, torch_generator(0))[0].any()


@pytest.mark.parametrize("noise_multiplier", [0.0, 2.0])
def test_training_noises_every_weight_on_poisson_samples(noise_multiplier):
    rows, sizes = Rows(), []
    before = [p.detach().clone() for p in rows.network.parameters()]

    def inputs(picked):
        assert len(picked.unique()) == len(picked)
        sizes.append(len(picked))
        return rows.pick(picked)

    nothing = lambda inputs, condition, generator: rows(inputs, condition) * 0
    settings = TableSettings(**{**vars(rows.settings), "n_steps": 100, "learning_rate": 1e-3})
    history = train_privately(
        rows.network, nothing, inputs, rows.condition, settings, Plan(100, 30, CPU), clip=1.0, noise_multiplier=noise_multiplier
    )
    moved = [
        float((p.detach() != b).float().mean()) for p, b in zip(rows.network.parameters(), before, strict=True) if p.numel()
    ]
    assert min(moved) > 0.99 if noise_multiplier else max(moved) == 0
    assert abs(np.mean(sizes) - 30) < 2.5 and 6 < np.var(sizes) < 28, "60 rows, each with a probability of a half"
    assert history.columns.tolist() == ["step", "learning_rate"]


# ----------------------------------------------------------------- accounting
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Optimal order")
def test_epsilon_agrees_with_the_accountant_and_with_theory():
    accountants = pytest.importorskip("opacus.accountants")
    releases = [Release("class counts", 15.0, 1.0, 1), Release("training", 1.5, 0.05, 100)]
    epsilon, by_steps = spent(releases, 1e-5), accountants.RDPAccountant()
    by_steps.step(noise_multiplier=15.0, sample_rate=1.0)
    for _ in range(100):
        by_steps.step(noise_multiplier=1.5, sample_rate=0.05)
    assert epsilon == pytest.approx(by_steps.get_epsilon(1e-5), rel=1e-3)
    tighter = accountants.PRVAccountant()
    tighter.history = [(15.0, 1.0, 1), (1.5, 0.05, 100)]
    assert 0.75 * epsilon < tighter.get_epsilon(1e-5) < epsilon, "an upper bound, and a near one"
    for noise in (2.0, 20.0):  # Balle and Wang (2018), theorem 8
        alone = spent([Release("counts", noise, 1.0, 1)], 1e-5)
        exact = norm.cdf(0.5 / noise - alone * noise) - math.exp(alone) * norm.cdf(-0.5 / noise - alone * noise)
        assert exact < 1e-5


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 50.0])
def test_the_least_noise_spends_the_budget(epsilon):
    pytest.importorskip("opacus")
    counting, training = Release("class counts", 40.0, 1.0, 1), Release("training", 0.0, 0.05, 100)
    found = with_least_noise(training, [counting], epsilon, 1e-5)
    assert 0.97 * epsilon < spent([counting, found], 1e-5) <= epsilon
    with pytest.raises(InvalidParameterError, match="No noise keeps the training within epsilon=0.1 at delta=1e-05"):
        with_least_noise(training, [Release("class counts", 1.0, 1.0, 1)], 0.1, 1e-5)


def test_the_report_says_what_was_spent_on_what(fitted):
    report = fitted.privacy_report_
    assert 7 < report.epsilon <= 8 and report.delta == pytest.approx(0.1 / 300) and report.clip == 1.0
    assert report.epsilon == pytest.approx(spent(report.releases, report.delta))
    counting, training = report.releases
    assert (counting.sampling_rate, counting.n_steps, training.n_steps) == (1.0, 1, 15)
    assert training.sampling_rate == pytest.approx(128 / 300) and counting.epsilon < 0.1 * 8 + 1e-6 < training.epsilon
    assert report.to_frame()["name"].tolist() == ["class counts", "training", "all together"]
    assert any("number of rows" in one for one in report.public)
    assert ConditionalVAE(max_steps=2, device="cpu").fit(np.arange(20.0)[:, None], [0, 1] * 10).privacy_report_ is None


# ---------------------------------------------------------------- what gets out
def test_rows_come_in_their_format_within_the_bounds(fitted):
    X, y = table()
    X_new, y_new = fitted.sample(300, random_state=0)
    assert X_new.dtypes.equals(X.dtypes) and y_new.dtype == y.dtype and len(X_new) == 300
    for name, (low, high) in BOUNDS.items():
        assert X_new[name].between(low, high).all() and X_new[name].nunique() > 30
    assert X_new["grade"].isna().any() and not X_new.drop(columns="grade").isna().any().any()
    assert fitted.sample({"malignant": 3}, temperature=0.5)[1].tolist() == ["malignant"] * 3
    assert fitted.encode(X, y).shape == (300, 8)


def test_edges_and_whole_numbers():
    X = pd.DataFrame(
        {"count": np.arange(100) % 4, "gain": np.r_[np.zeros(60, int), np.arange(40) * 100], "wide": np.arange(100)}
    )
    codec = DeclaredTableCodec({"count": (0, 3), "gain": (0, 1, 2000, 4000), "wide": (0, 50)}).fit(X, None)
    assert codec.layout_.sizes.tolist() == [4, 3, 32] and not codec.layout_.gaussian
    rows, rng = codec.encode(X), np.random.default_rng(0)
    outputs = {"codes": rows["codes"], "ranks": torch.from_numpy(rng.random((100, 3)))}
    back = codec.decode(outputs, np.zeros(100, int), rng)
    assert (back["count"] == X["count"]).all() and (back["gain"][:60] == 0).all() and back.dtypes.equals(X.dtypes)
    assert (back["wide"] - X["wide"].clip(upper=50)).abs().max() <= 1 and back["wide"].max() <= 50
    assert ((back["gain"][60:] >= 2000) == (X["gain"][60:] >= 2000)).all() and back["gain"].max() <= 4000


def test_the_codec_has_looked_at_no_cell():
    X, _ = table()
    states = [str(DeclaredTableCodec(BOUNDS, ["grade"]).fit(part, None).state()) for part in (X, X[:10], X[290:])]
    assert states[0] == states[1] == states[2]


def test_the_file_holds_no_row_and_the_copy_draws_the_same(fitted, tmp_path):
    X, y = table()
    fitted.save(tmp_path / "private.safetensors")
    copy = augment_gen.load(tmp_path / "private.safetensors")
    pd.testing.assert_frame_equal(copy.sample(50, random_state=1)[0], fitted.sample(50, random_state=1)[0])
    assert copy.privacy_report_ == fitted.privacy_report_ and copy.get_params() == fitted.get_params()
    assert clone(copy).get_params() == fitted.get_params()
    open_fit = ConditionalVAE(max_steps=2, random_state=0, device="cpu").fit(X, y)
    open_fit.save(tmp_path / "open.safetensors")
    sizes = [size for size in X["size"].unique() if size * 64 % 1]  # round ones are a few bits, and found in any file
    files = {name: (tmp_path / f"{name}.safetensors").read_bytes() for name in ("private", "open")}
    found = {name: sum(value.tobytes() in file for value in sizes) for name, file in files.items()}
    assert found["private"] == 0 and found["open"] > 200
    state = read_state(tmp_path / "private.safetensors")
    assert state["screening"]["copies"] is None and state["screening"]["novelty"] is None
    assert set(state["history"]) == {"step", "learning_rate"} and not np.isfinite(state["screening"]["diversity"]).any()


@pytest.mark.parametrize("privacy", [3, {"epsilon": 3, "bounds": (0, 5)}, {"epsilon": 3, "bounds": {0: [0, 5], 1: (0, 2, 5)}}])
def test_every_form_of_the_parameter_is_kept(tmp_path, privacy):
    pytest.importorskip("opacus")
    X = pd.DataFrame({"a": [True, False] * 20}) if privacy == 3 else np.random.default_rng(0).random((40, 2))
    gen = private(max_steps=2, privacy=privacy).fit(X, np.arange(40) // 20)
    gen.save(tmp_path / "model.safetensors")
    copy = augment_gen.load(tmp_path / "model.safetensors")
    again = augment_gen.load(_saved(copy, tmp_path / "again.safetensors"))
    assert copy.sample(3, y=1, random_state=0)[0].shape == X[:3].shape and again.get_params() == copy.get_params()
    assert np.asarray(copy.sample(9, y=1, random_state=0)[0] == gen.sample(9, y=1, random_state=0)[0]).all()
    assert copy.set_params(device="cpu").fit(X, np.arange(40) // 20).privacy_report_.epsilon <= 3


def _saved(generator, path):
    generator.save(path)
    return path


def test_counts_are_noisy_and_no_two_fits_are_alike(fitted):
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    again = private(max_steps=3, privacy={**PRIVACY, "epsilon": 1.0})
    counts = [again.fit(*table()).conditions_.counts_.tolist() for _ in range(2)]
    true = table()[1].value_counts()[fitted.classes_].tolist()
    assert counts[0] != counts[1] and true not in counts and again.latent_report_["n_real"].tolist() == counts[-1]
    weights = [gen.decoder_.network.decoder_input.weight for gen in (again, clone(again).fit(*table()))]
    assert not torch.equal(*weights)
    assert (state[0] == np.random.get_state()[1]).all() and (state[1] == torch.get_rng_state()).all()


def test_it_learns_where_the_budget_is_large():
    pytest.importorskip("opacus")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 500)
    X = rng.normal(size=(1000, 3)) + 4 * y[:, None] * [1, 0, 0]
    gen = private(max_steps=100, privacy={"epsilon": 50.0, "bounds": (-6, 10)}).fit(X, y)
    means = [gen.sample(500, y=label, random_state=0)[0].mean(axis=0) for label in (0, 1)]
    assert means[1][0] - means[0][0] > 2 and abs(means[1][1] - means[0][1]) < 1


# -------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"novelty_filter": True}, "novelty_filter=True keeps training rows"),
        ({"latent_density": "exemplar"}, "latent_density='exemplar' is fitted to the latents"),
        ({"input_noise": 0.1}, "input_noise=0.1 puts cells of one row into another"),
        ({"numeric": "gaussian"}, "numeric='gaussian' ranks numbers by the rows"),
        ({"privacy": {"epsilon": -1}}, r"privacy\['epsilon'\] must be a number above 0; got -1"),
        ({"privacy": {"delta": 1e-5}}, "privacy has to say its 'epsilon'"),
        ({"privacy": {"epsilon": 1, "eps": 2}}, "privacy has no part 'eps'"),
        ({"privacy": {"epsilon": 1, "delta": 2}}, r"privacy\['delta'\] must be 'auto' or between 0 and 1; got 2"),
        ({"privacy": {**PRIVACY, "delta": 0.1}}, r"privacy\['delta'\] must be below 1 / n = 0.025"),
        ({"privacy": {"epsilon": 1, "missing": "grade"}}, "list of column names; got 'grade'"),
        ({"privacy": 1.0}, r"privacy\['bounds'\] has no entry for the column 'size'"),
        ({"privacy": {**PRIVACY, "bounds": {**BOUNDS, "size": (3, 1)}}}, r"'size' must be \(low, high\).*got \(3, 1\)"),
        ({"privacy": {**PRIVACY, "bounds": {**BOUNDS, "texture": (0, 1.5)}}}, "'texture' must be.*dtype int32"),
        ({"privacy": {**PRIVACY, "bounds": {**BOUNDS, "weight": (0, 1)}}}, "names 'weight', but X has the columns"),
        ({"privacy": 0.0}, "privacy"),
    ],
)
def test_what_would_void_the_guarantee_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        private(**params).fit(*table(40))


def test_rows_that_nothing_declares_are_refused(fitted):
    X, y = table(40)
    with pytest.raises(InvalidDataError, match="'grade' has missing cells.*privacy\\['missing'\\]"):
        private(privacy={**PRIVACY, "missing": []}).fit(X, y)
    with pytest.raises(InvalidDataError, match="Column 'grade' is .*levels would be read off the rows"):
        private().fit(X.assign(grade="text"), y)
    with pytest.raises(InvalidDataError, match="privacy= is for tables"):
        private().fit(load_digits().images[:40], np.arange(40) % 2)
    with pytest.raises(InvalidRequestError, match="fit_resample gives back the training rows"):
        private().fit_resample(X, y)
    with pytest.raises(InvalidRequestError, match="WithinSupport has learned from real rows"):
        fitted.sample(3, filters=WithinSupport().fit(X.drop(columns=["when"]), y))
    assert len(fitted.sample(3, filters=lambda X, y: (X["size"] > 5).to_numpy())[0]) == 3


def test_without_opacus_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(MissingExtraError, match=r'pip install "augment-gen\[privacy\]"'):
        private().fit(*table(40))


def test_the_shell_says_what_was_spent(fitted, tmp_path):
    fitted.save(tmp_path / "m.safetensors")
    said = describe_model(tmp_path / "m.safetensors")
    assert f"epsilon {fitted.privacy_report_.epsilon:.3g}" in said and "the counts above are noisy" in said
