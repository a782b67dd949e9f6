"""Small classifiers of images that judge what is drawn: trained on real images, randomly changed, all classes alike."""

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from augment_gen.networks.conv import recalibrate
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.steps import Phase
from augment_gen.training import ClassSampler, train

N_JUDGES = 3  # folds of the real images
JUDGE_STEPS = 400  # of each of several judges
JUDGE_RATE, JUDGE_DECAY, JUDGE_AVERAGE = 2e-3, 0.05, 0.99  # learning rate, weight decay, decay of averaged weights


def fit_judge(judge, inputs, numbers, class_index, n_classes, plan, generator):
    """Train a `Judge` in place, and leave it in evaluation mode.

    Parameters
    ----------
    judge : Judge
        On ``plan.device``.
    inputs : callable (int64 tensor (batch,), generator) -> float tensor (batch, C, H, W) in [0, 1]
        Images by their numbers, on ``plan.device``.
    numbers : int64 tensor (m,)
        Images to train on.
    class_index : int64 tensor (n,)
        Classes of all images.
    n_classes : int
    plan : Plan
        Steps, batch size, device and precision.
    generator : torch.Generator
        On ``plan.device``.
    """

    def loss(rows, condition, now, generator):
        return {"loss": F.cross_entropy(judge(inputs(rows["number"], generator)).float(), condition)}

    plan = replace(plan, class_tempering=0.0, ema_decay=JUDGE_AVERAGE, interruptible=False)
    phase, mine = Phase((judge,), loss, JUDGE_RATE, weight_decay=JUDGE_DECAY), class_index[numbers]
    train([phase], {"number": numbers}, mine, plan, n_classes=n_classes, generator=generator)
    recalibrate(judge, batches(phase, {"number": numbers}, mine, n_classes, plan, generator))


def fit_judges(judges, inputs, class_index, n_classes, plan, rng):
    """Train `Judges` in place, each without the fold of real images that it will be asked about, and fix them.

    Parameters are as for `fit_judge`; `rng` is a numpy.random.Generator.
    """
    generator = torch_generator(draw_seed(rng), plan.device)
    fold = folds(class_index.numpy(), len(judges), rng)
    for number, judge in enumerate(judges.judges):
        others = torch.from_numpy(np.flatnonzero(fold != number) if (fold != number).any() else np.arange(len(fold)))
        mine = replace(plan, n_steps=min(JUDGE_STEPS, plan.n_steps), description=f"judge {number + 1}")
        fit_judge(judge, inputs, others, class_index, n_classes, mine, generator)
    judges.requires_grad_(False)


def folds(class_index, n_folds, rng):
    """int64 (n,): the fold of each row; the rows of a class are dealt out evenly, in random order."""
    fold = np.empty(len(class_index), dtype=np.int64)
    for k in np.unique(class_index):
        rows = rng.permutation(np.flatnonzero(class_index == k))
        fold[rows] = (np.arange(len(rows)) + rng.integers(n_folds)) % n_folds
    return fold


def batches(phase, rows, classes, n_classes, plan, generator):
    """A callable that runs a phase's loss, as behind the last step, on a fresh batch of `rows`, a dict of tensors."""
    sampler = ClassSampler(classes, n_classes, plan.class_tempering, plan.device)
    rows, classes = {name: tensor.to(plan.device) for name, tensor in rows.items()}, classes.to(plan.device)
    now = phase.moment(plan.n_steps)

    def run_batch():
        index = sampler.draw(plan.batch_size, generator)
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.autocast):
            phase.loss({name: tensor[index] for name, tensor in rows.items()}, classes[index], now, generator)

    return run_batch
