"""Judges of drawn images: which images each of them learns from, and that generators carry them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from augment_gen import ConditionalGAN, ConditionalVAE, ElasticWarp
from augment_gen.generators.judging import N_JUDGES, fit_judges
from augment_gen.networks.conv import Grid, Judges
from augment_gen.training import Plan

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X.reshape(-1, 8, 8)[:120] / 16, Y[:120]


def test_every_image_is_unknown_to_exactly_one_judge():
    judges, images, seen = Judges(1, Grid(8, 8, 4), 3, N_JUDGES, "batch"), torch.from_numpy(X).float()[:, None], []

    def inputs(numbers, generator):
        seen.append(numbers)
        return images[numbers]

    plan = Plan(40, 32, torch.device("cpu"))
    fit_judges(judges, inputs, torch.from_numpy(Y), 3, plan, np.random.default_rng(0))
    each = len(seen) // N_JUDGES
    known = [set(torch.cat(seen[i * each : (i + 1) * each]).tolist()) for i in range(N_JUDGES)]
    assert len(seen) == N_JUDGES * each and set.union(*known) == set(range(120))
    assert [sum(number in one for one in known) for number in range(120)] == [N_JUDGES - 1] * 120
    assert not any(parameter.requires_grad for parameter in judges.parameters())


@pytest.mark.parametrize("estimator", [ConditionalVAE, ConditionalGAN, ElasticWarp])
def test_generators_of_images_draw_with_cross_fitted_judges(estimator):
    gen = estimator(max_steps=30, random_state=0, device="cpu").fit(X, Y)
    assert len(gen.decoder_.network.judges) == N_JUDGES and "label_rejected_share" in gen.latent_report_
    probabilities = gen.decoder_.label_probabilities(X)
    assert probabilities.shape == (120, 3) and (probabilities.argmax(1) == Y).mean() > 0.8
    least = probabilities.sum(1)  # of three distributions, so that it is 1 only where they agree
    assert (least <= 1 + 1e-5).all() and (least < 0.999).any()
