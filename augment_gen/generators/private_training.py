"""Training by noisy, clipped gradients (DP-SGD): no row moves the weights by more than the noise hides.

Enters: a network, rows and a noise multiplier. Leaves: the network, trained. Abadi et al. (2016), "Deep learning with
differential privacy", algorithm 1, with Adam's step in place of the plain one, which only processes what is already private.

The norm of every row's gradient comes from one backward pass (Goodfellow 2015, arXiv:1510.01799): a dense layer used once a row
has the gradient ``outer(delta, input)``, whose norm is a product of two. Opacus's engine and torch.func write out the gradient
of every row instead, and go through an ``EmbeddingBag`` row by row.
"""

import math
import secrets

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from augment_gen.devices import at_most_threads
from augment_gen.errors import TrainingDivergedError
from augment_gen.seeding import torch_generator
from augment_gen.steps import AdamW, Phase, one_cycle
from augment_gen.training import LOG_EVERY
from augment_gen.weights import WeightAverage

MAX_ROWS = 4096  # rows in one pass; a larger batch is summed up in parts


class RowNorms:
    """Norms of the gradients of single rows, for networks of `Linear`, `Embedding` and `EmbeddingBag`, each used once a row.

    Parameters
    ----------
    network : nn.Module
    """

    def __init__(self, network):
        self.calls = []
        layers = [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Embedding, nn.EmbeddingBag))]
        covered = {id(p) for layer in layers for p in layer.parameters()}
        assert all(id(p) in covered or not p.numel() for p in network.parameters()), "a parameter's norm would be left out"
        self.handles = [layer.register_forward_hook(self._note) for layer in layers]

    def _note(self, layer, arguments, output):
        self.calls.append((layer, arguments[0].detach(), output))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()

    def __call__(self, losses):
        """float (batch,): the norm of the gradient of each of the losses, (batch,), that the last forward pass gave."""
        calls, self.calls = self.calls, []
        layers = [layer for layer, _, _ in calls]
        assert len(set(map(id, layers))) == len(layers), "a layer used twice has another norm"
        self.heard = {id(p) for layer in layers for p in layer.parameters()}
        deltas = torch.autograd.grad(losses.sum(), [output for _, _, output in calls], retain_graph=True, allow_unused=True)
        squares = losses.new_zeros(len(losses))
        for (layer, inputs, _), delta in zip(calls, deltas, strict=True):
            if delta is not None:
                squares += delta.square().sum(1) * _reach(layer, inputs)
        return squares.sqrt()


def _reach(layer, inputs):
    """float (batch,) or int: over how many squared inputs a row's delta is spread in the layer's parameters."""
    if isinstance(layer, nn.Linear):
        return inputs.square().sum(1) + (layer.bias is not None)
    return inputs.shape[1] if inputs.ndim == 2 else 1  # codes of different columns, so each is another row of the table


def clipped_gradients(network, row_losses, norms, inputs, condition, clip):
    """The sum over a batch of the gradients of its rows, each cut to the norm `clip`; a list beside ``network.parameters()``.

    Parameters
    ----------
    network : nn.Module
    row_losses : callable (inputs, condition) -> float tensor (batch,)
    norms : RowNorms
    inputs : dict of tensors
        First axis batch.
    condition : int64 tensor (batch,)
    clip : float
    """
    parameters = list(network.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for start in range(0, len(condition), MAX_ROWS):
        part = slice(start, start + MAX_ROWS)
        losses = row_losses({name: tensor[part] for name, tensor in inputs.items()}, condition[part])
        factors = clip / norms(losses).clamp_min(clip)
        gradients = torch.autograd.grad((losses * factors.detach()).sum(), parameters, allow_unused=True)
        for parameter, sum_, gradient in zip(parameters, total, gradients, strict=True):
            if gradient is not None and parameter.numel():
                assert id(parameter) in norms.heard, "a gradient that is not in the norms would not be clipped"
                sum_ += gradient
    return total


def noised(gradients, deviation, generator):
    """The gradients with Gaussian noise of that standard deviation on every entry."""
    return [g + deviation * torch.empty_like(g).normal_(generator=generator) for g in gradients]


def train_privately(network, row_losses, inputs, class_index, settings, plan, *, clip, noise_multiplier):
    """Run ``settings.n_steps`` steps, each on a Poisson sample of the rows.

    Batches and noise come from the operating system's entropy: who knows a seed could take the noise off again.

    Parameters
    ----------
    network : nn.Module
        On ``plan.device``.
    row_losses : callable (inputs, condition, generator) -> float tensor (batch,)
        Of each row by itself.
    inputs : callable (rows int64 tensor) -> dict of tensors
        What the network reads of the rows at those positions, on ``plan.device``.
    class_index : int64 tensor (n,)
    settings : TableSettings
        ``batch_size`` is the expected size of a sample.
    plan : Plan
    clip, noise_multiplier : float

    Returns
    -------
    DataFrame
        step and learning_rate; no losses, which would have to be paid for.

    Raises
    ------
    TrainingDivergedError
    """
    n_rows = len(class_index)
    rate = sampling_rate(n_rows, settings.batch_size)
    picks, generator = np.random.default_rng(), torch_generator(secrets.randbits(63), plan.device)
    optimiser = AdamW(Phase((network,), None, settings.learning_rate, settings.weight_decay))
    average, history = WeightAverage([network], settings.ema_decay), []
    condition = class_index.to(plan.device)
    losses_of = lambda inputs, condition: row_losses(inputs, condition, generator)
    network.train()
    with at_most_threads(plan.max_threads), RowNorms(network) as norms:
        for step in tqdm(range(settings.n_steps), desc=plan.description, disable=not plan.verbose):
            picked = torch.from_numpy(np.flatnonzero(picks.random(n_rows) < rate)).to(plan.device)
            gradients = clipped_gradients(network, losses_of, norms, inputs(picked), condition[picked], clip)
            gradients = noised(gradients, noise_multiplier * clip, generator)
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter.grad = gradient / (rate * n_rows)
            learning_rate = one_cycle(step, settings.n_steps, settings.learning_rate)
            optimiser.step(learning_rate)
            average.update(average.blend(step))
            if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.n_steps:
                history.append({"step": step + 1, "learning_rate": learning_rate})
    average.copy_into_modules()
    network.eval()
    if not math.isfinite(sum(float(p.detach().sum()) for p in network.parameters())):
        raise TrainingDivergedError("Training diverged: weights became NaN or infinite. Lower learning_rate (to a third, say).")
    return pd.DataFrame(history)


def sampling_rate(n_rows, batch_size):
    """The probability with which every row takes part in a step."""
    return min(1.0, batch_size / n_rows)
