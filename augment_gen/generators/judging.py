"""Small classifiers of images that judge what is drawn: trained on real images, randomly changed, all classes alike."""

from dataclasses import replace

import torch
from torch.nn import functional as F

from augment_gen.networks.conv import recalibrate
from augment_gen.training import ClassSampler, Phase, train

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

    def loss(rows, condition, progress, generator):
        return {"loss": F.cross_entropy(judge(inputs(rows["number"], generator)).float(), condition)}

    plan = replace(plan, class_tempering=0.0, ema_decay=JUDGE_AVERAGE)
    phase, mine = Phase((judge,), loss, JUDGE_RATE, weight_decay=JUDGE_DECAY), class_index[numbers]
    train([phase], {"number": numbers}, mine, plan, n_classes=n_classes, generator=generator)
    recalibrate(judge, batches(loss, numbers, mine, n_classes, plan, generator))


def batches(loss, numbers, classes, n_classes, plan, generator):
    """A callable that runs `loss`, as at the end of a training, on a fresh batch of rows named by their `numbers`."""
    sampler = ClassSampler(classes, n_classes, plan.class_tempering, plan.device)
    numbers, classes = numbers.to(plan.device), classes.to(plan.device)

    def run_batch():
        index = sampler.draw(plan.batch_size, generator)
        with torch.autocast(plan.device.type, dtype=torch.bfloat16, enabled=plan.autocast):
            loss({"number": numbers[index]}, classes[index], 1.0, generator)

    return run_batch
