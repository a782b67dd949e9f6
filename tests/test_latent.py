"""Densities fitted to known latents: they must give back what they were fitted to."""

import numpy as np
import pytest

from augment_gen.latent import DensityRule, LatentDensity


def two_rings(n_rows, rng):
    """Class 0 on a ring, class 1 around (5, 5): a ring is no single Gaussian."""
    angle = rng.uniform(0, 2 * np.pi, n_rows)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    blob = 5 + 0.3 * rng.standard_normal((n_rows, 2))
    means = np.concatenate([ring, blob]).astype(np.float32)
    return means, np.full_like(means, 0.05), np.repeat([0, 1], n_rows)


@pytest.mark.parametrize("method", ["interpolation", "mixture", "exemplar"])
def test_a_ring_stays_a_ring(method):
    rng = np.random.default_rng(0)
    density = LatentDensity(method, DensityRule()).fit(*two_rings(800, rng), 2, rng)
    radius = np.linalg.norm(density.sample(np.zeros(2000, int), rng), axis=1)
    assert 0.85 < radius.mean() < 1.2 and np.mean(radius < 0.5) < 0.05


def test_rows_at_the_edge_keep_their_share_of_what_is_drawn():
    """Three rows of 600 lie far out, each alone, so that their neighbours are in the crowd."""
    rng = np.random.default_rng(0)
    means = np.zeros((600, 2), dtype=np.float32)
    means[::200] = [[10, 0], [0, 10], [-10, 0]]
    density = LatentDensity("interpolation", DensityRule()).fit(means, np.full_like(means, 0.01), np.zeros(600, int), 1, rng)
    far = np.linalg.norm(density.sample(np.zeros(40_000, int), rng), axis=1) > 4.9
    assert abs(far.mean() - 3 / 600) < 0.001


def test_a_gaussian_has_the_moments_of_its_class_and_temperature_narrows_it():
    rng = np.random.default_rng(0)
    means, deviations, index = two_rings(800, rng)
    density = LatentDensity("gaussian", DensityRule()).fit(means, deviations, index, 2, rng)
    z = density.sample(np.ones(5000, int), rng)
    np.testing.assert_allclose(z.mean(0), means[index == 1].mean(0), atol=0.05)
    np.testing.assert_allclose(z.std(0), np.sqrt(0.3**2 + 0.05**2), atol=0.05)
    assert density.sample(np.ones(5000, int), rng, temperature=0.5).std() < 0.6 * z.std()


def test_small_classes_borrow_their_spread_from_the_others():
    rng = np.random.default_rng(0)
    means, deviations, index = two_rings(300, rng)
    keep = np.r_[np.arange(300), 300:306]
    density = LatentDensity("auto", DensityRule(shrinkage=100)).fit(means[keep], deviations[keep], index[keep], 2, rng)
    pooled = means[:300].std(0)
    np.testing.assert_allclose(density.sample(np.ones(5000, int), rng).std(0), pooled, rtol=0.15)


@pytest.mark.parametrize(
    ("n_rows", "expected"),
    [(2, "jitter"), (4, "jitter"), (5, "gaussian"), (39, "gaussian"), (40, "mixture"), (500, "interpolation")],
)
def test_the_rule_follows_class_size(n_rows, expected):
    assert DensityRule().choose(n_rows) == expected


def test_latents_do_not_depend_on_what_else_is_asked_for():
    rng = np.random.default_rng(0)
    density = LatentDensity("auto", DensityRule()).fit(*two_rings(100, rng), 2, rng)
    mixed = density.sample(np.array([0, 1] * 50), np.random.default_rng(1))
    alone = density.sample(np.zeros(100, int), np.random.default_rng(1))
    np.testing.assert_array_equal(mixed[::2], alone[::2])
