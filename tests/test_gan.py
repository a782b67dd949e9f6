"""ConditionalGAN on tables: what adversarial training adds to the contract that test_sampling holds."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

import augment_gen
from augment_gen import ConditionalGAN
from augment_gen.codecs import TableCodec
from augment_gen.errors import CollapseWarning, TrainingDivergedError, TrainingWarning
from augment_gen.generators import gan_table
from augment_gen.generators.gan_table import class_moment_distance, discriminator_won, gradient_penalty
from augment_gen.networks.adversary import TableDiscriminator, real_rows, relaxed_rows
from augment_gen.networks.initialise import build
from augment_gen.networks.mlp import CodeHead
from augment_gen.networks.spectral import SpectralConv2d, SpectralLinear


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rare = y[y == 0].index[15:]
    return X.drop(rare).reset_index(drop=True), y.drop(rare).reset_index(drop=True)


def small(**params):
    return ConditionalGAN(**{"max_steps": 80, "random_state": 0, "device": "cpu", **params})


# ------------------------------------------------------------------ estimator
def test_an_independent_classifier_sees_the_class_that_was_asked_for():
    X, y = load_breast_cancer(return_X_y=True)
    gen = small(max_steps=300).fit(X[::2], y[::2])
    judge = RandomForestClassifier(random_state=0).fit(X[1::2], y[1::2])
    for label in (0, 1):
        X_new, y_new = gen.sample(300, y=label)
        assert (y_new == label).all() and (judge.predict(X_new) == label).mean() > 0.85
    assert gen.latent_report_["adversarial"].all()
    assert (gen.latent_report_["diversity"] > 0.6).all()


def test_curves_of_both_stages_and_the_stop_score(mixed):
    gen = small(max_steps=100).fit(*mixed)
    stages = gen.history_.groupby("stage", sort=False)
    assert list(stages.groups) == ["autoencoder", "adversarial"]
    curves = stages.get_group("adversarial")
    assert curves[["generator", "discriminator", "real_score", "fake_score", "moments", "stop_score"]].notna().all().all()
    assert curves["stop_score"].between(0, 1).all()


def test_rare_classes_borrow_and_are_reported(cancer):
    gen = small().fit(*cancer)
    report = gen.latent_report_.set_index("label")
    assert report["adversarial"].to_dict() == {0: False, 1: True}
    X_new, _ = gen.sample(200, y=0)
    assert len(X_new.drop_duplicates()) == 200 and report.loc[0, "diversity"] > 0.6
    none = small(min_adversarial_size=10_000).fit(*cancer)
    assert not none.latent_report_["adversarial"].any() and set(none.history_["stage"]) == {"autoencoder"}


def test_saved_and_pickled_generators_draw_the_same_rows(mixed, tmp_path):
    import pickle

    gen = small(max_steps=30).fit(*mixed)
    gen.save(tmp_path / "gan.safetensors")
    for copy in (augment_gen.load(tmp_path / "gan.safetensors"), pickle.loads(pickle.dumps(gen))):
        pd.testing.assert_frame_equal(copy.sample(40, random_state=1)[0], gen.sample(40, random_state=1)[0])
        pd.testing.assert_frame_equal(copy.history_, gen.history_)
        pd.testing.assert_frame_equal(copy.latent_report_, gen.latent_report_)


def test_two_fits_with_one_seed_are_the_same(mixed):
    rows = [small(max_steps=30).fit(*mixed).sample(40)[0] for _ in range(2)]
    pd.testing.assert_frame_equal(*rows)


def test_divergence_restarts_once_with_halved_rates_and_then_fails_with_a_remedy(wine, monkeypatch):
    rates = []
    original = gan_table.Phase

    def recording(modules, loss, learning_rate, **options):
        rates.append(learning_rate)
        return original(modules, loss, learning_rate, **options)

    monkeypatch.setattr(gan_table, "Phase", recording)
    restarted = pytest.warns(TrainingWarning, match="halved rates")
    with restarted, pytest.raises(TrainingDivergedError, match="Lower the learning rate"):
        small(max_steps=60, generator_learning_rate=1e30).fit(*wine)
    assert rates[1] == 1e30 and rates[3] == 5e29 and rates[2] == rates[0] / 2


def test_a_discriminator_that_wins_outright_is_a_complaint():
    won = [{"discriminator": 0.0}] * 4
    assert "tells every row apart" in discriminator_won(won)
    assert discriminator_won(won[:3]) is None and discriminator_won([*won[:3], {"discriminator": 1.0}]) is None


def test_a_collapsed_class_warns_by_name(cancer, monkeypatch):
    from augment_gen.generators.decoder import FittedDecoder

    draw = FittedDecoder.draw
    same = lambda self, index, rng, temperature: {k: v[:1].expand_as(v) for k, v in draw(self, index, rng, temperature).items()}
    monkeypatch.setattr(FittedDecoder, "draw", same)
    with pytest.warns(CollapseWarning, match=r"less than half as much .* 0 \(0\.\d+\)"):
        small(max_steps=2, novelty_filter=False).fit(*cancer)


# -------------------------------------------------------------------- parts
def test_relaxed_rows_are_hard_forward_and_soft_backward(mixed):
    X, y = mixed
    codec = TableCodec("gaussian").fit(X, pd.factorize(y)[0])
    head = build(CodeHead, {"width": 8, "layout": codec.layout_, "sigma_floor": 0.05}, torch.Generator().manual_seed(0))
    hidden = torch.randn(64, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    rows = relaxed_rows(head, head(hidden), 0.7, torch.Generator().manual_seed(2))
    codes = rows[:, : head.n_logits].detach()
    assert torch.allclose(codes, codes.round(), atol=1e-5) and set(codes.round().unique().tolist()) == {0.0, 1.0}
    rows.square().sum().backward()
    assert hidden.grad.abs().sum() > 0
    inputs = codec.inputs(codec.encode(X), torch.Generator().manual_seed(0))
    real = real_rows(head, inputs)
    assert real.shape[1] == rows.shape[1]
    scalars = real[:, head.n_logits :]
    assert torch.equal(head.continuous(real[:, : head.n_logits]).bool(), inputs["continuous"])
    assert (scalars[~inputs["continuous"]] == 0).all()


@pytest.mark.parametrize("layer", [SpectralLinear(20, 30), SpectralConv2d(3, 8, 3)])
def test_spectral_layers_have_norm_one(layer):
    x = torch.randn(4, 20) if isinstance(layer, SpectralLinear) else torch.randn(4, 3, 9, 9)
    layer.weight.data *= 10
    for _ in range(50):
        layer(x)
    weight = layer.norm(layer.weight)
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    layer.eval()
    before = layer.norm.left.clone()
    layer(x)
    assert torch.equal(layer.norm.left, before)


def test_gradient_penalty_of_a_linear_score_is_half_its_squared_norm():
    rows = torch.randn(16, 3, requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 2.0])
    assert gradient_penalty(rows @ weight, rows).item() == pytest.approx(4.5)


def test_class_moments_see_a_class_that_lost_a_level():
    condition = torch.tensor([0] * 50 + [1] * 50)
    real = torch.eye(2)[torch.arange(100) % 2]
    lost = real.clone()
    lost[50:] = torch.tensor([1.0, 0.0])
    assert class_moment_distance(real, real, condition, 3) == 0
    assert class_moment_distance(real, lost, condition, 3).item() == pytest.approx(0.5 * 2 * 0.25)


def test_discriminator_learns_to_tell_columns_that_belong_together(wine):
    X, y = wine
    codec = TableCodec("gaussian").fit(X, y)
    layout = codec.layout_.to_dict()
    head = CodeHead(1, codec.layout_, 0.05)
    generator = torch.Generator().manual_seed(0)
    discriminator = build(TableDiscriminator, {"layout": layout, "n_classes": 3}, generator)
    optimiser = torch.optim.Adam(discriminator.parameters(), 2e-3)
    condition, rows = torch.tensor(y), codec.encode(X)
    for _ in range(150):
        real = real_rows(head, codec.inputs(rows, generator))
        fake = torch.stack([real[torch.randperm(len(real), generator=generator), j] for j in range(real.shape[1])], dim=1)
        loss = torch.relu(1 - discriminator(real, condition)).mean() + torch.relu(1 + discriminator(fake, condition)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert (discriminator(real, condition) > discriminator(fake, condition).mean()).float().mean() > 0.8
    np.testing.assert_array_less(0, [p.grad.abs().max().item() for p in discriminator.parameters() if p.grad is not None])
