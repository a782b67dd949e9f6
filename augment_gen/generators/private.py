"""A differentially private fit of a table: what of it is public, what is paid for, and what is refused.

Enters: a `ConditionalVAE` with ``privacy=``, X and y. Leaves: the estimator, fitted, and its `PrivacyReport`. Of the rows only
two things are let out: the class counts, with noise, and the weights, trained with noise. Columns are as declared, latents come
from the prior, no filter has seen a row, and losses are not kept.
"""

import inspect
import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
import torch

from augment_gen.accounting import PrivacyReport, Release, spent, with_epsilons, with_least_noise
from augment_gen.codecs import TableCodec, infer_codec, read
from augment_gen.codecs.declared_table import DeclaredTableCodec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.devices import resolve_device
from augment_gen.distributed import current_share
from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidRequestError
from augment_gen.generators.checks import check_classes, check_X
from augment_gen.generators.decoder import FittedDecoder
from augment_gen.generators.private_training import sampling_rate, train_privately
from augment_gen.generators.settings import with_given
from augment_gen.generators.vae_table import TableSettings, TableVAERecipe
from augment_gen.latent import LatentDensity
from augment_gen.sampling.plan import rows_missing
from augment_gen.sampling.rounds import LatestReport
from augment_gen.sampling.screening import Screening
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator
from augment_gen.training import Plan

PARTS = ("epsilon", "delta", "clip", "bounds", "missing")
COUNTS_SHARE = 0.1  # of epsilon that the class counts would take alone; in all they cost far less, since variances add up
PUBLIC = (
    "the number of rows",
    "names and dtypes of the columns, and the levels of categorical dtypes",
    "privacy['bounds'] and privacy['missing']",
    "the labels that occur in y",
    "the parameters of the generator",
)


def check_privacy(estimator):
    """``estimator.privacy`` as a dict with every part, checked.

    Raises
    ------
    InvalidParameterError
        A part that is unknown, missing or out of range, or another parameter that would void the guarantee.
    """
    given = estimator.privacy if isinstance(estimator.privacy, Mapping) else {"epsilon": estimator.privacy}
    unknown = [name for name in given if name not in PARTS]
    if unknown or "epsilon" not in given:
        what = f"no part {unknown[0]!r}" if unknown else "to say its 'epsilon'"
        raise InvalidParameterError(f"privacy has {what}. Its parts are {', '.join(PARTS)}; 'epsilon' is required.")
    parts = {"delta": "auto", "clip": 1.0, "bounds": {}, "missing": (), **given}
    for name in ("epsilon", "clip"):
        if not _is_number(parts[name]) or not 0 < parts[name] < np.inf:
            raise InvalidParameterError(f"privacy[{name!r}] must be a number above 0; got {parts[name]!r}.")
    if parts["delta"] != "auto" and (not _is_number(parts["delta"]) or not 0 < parts["delta"] < 1):
        raise InvalidParameterError(f"privacy['delta'] must be 'auto' or between 0 and 1; got {parts['delta']!r}.")
    if not isinstance(parts["missing"], (list, tuple, set)):
        raise InvalidParameterError(f"privacy['missing'] must be a list of column names; got {parts['missing']!r}.")
    reasons = {
        "novelty_filter": (True, "keeps training rows to compare with"),
        "input_noise": (lambda value: value != "auto" and value > 0, "puts cells of one row into another"),
        "numeric": ("gaussian", "ranks numbers by the rows; bins are declared in privacy['bounds']"),
        "latent_density": (lambda value: value != "auto", "is fitted to the latents of single rows; the prior is drawn from"),
    }
    for name, (refused, why) in reasons.items():
        value = getattr(estimator, name)
        if refused(value) if callable(refused) else value == refused:
            raise InvalidParameterError(f"{name}={value!r} {why}, which voids privacy=. Leave it at 'auto'.")
    return parts


def refuse_originals():
    """`fit_resample` of a private generator."""
    raise InvalidRequestError(
        "fit_resample gives back the training rows themselves, which no privacy= covers. Use fit(X, y), then sample(...)."
    )


def refuse_fitted_filters(filters):
    """Filters that learned from real rows would let these decide about what comes out; functions are let through."""
    fitted = [name for name, accept in filters if inspect.ismethod(accept)]
    if fitted:
        raise InvalidRequestError(
            f"The filter {fitted[0]} has learned from real rows, which voids privacy=. Give functions (X, y) -> bool array "
            "that look at the synthetic rows alone."
        )


def fit_privately(estimator, X, y, checkpoint_dir=None):
    """Fit the estimator, and set its ``privacy_report_``.

    Returns
    -------
    int64 array
        The classes of the rows that ``sampling_strategy`` asks for, by the noisy counts.

    Raises
    ------
    InvalidDataError, InvalidParameterError, InvalidRequestError
        X, y or a parameter that cannot be used, or would void the guarantee.
    MissingExtraError
        Opacus is not installed.
    """
    parts = check_privacy(estimator)
    if checkpoint_dir is not None:
        raise InvalidRequestError("checkpoint_dir cannot go with privacy=: checkpoints hold what no noise covers yet.")
    if current_share().n_processes > 1:
        raise InvalidRequestError(
            "privacy= is for fits in one process: each of several would draw its own noise, and spend epsilon anew. Fit in one."
        )
    X, y = read(X, y)
    check_X(estimator, X, y)
    if infer_codec(X) is not TableCodec:
        raise InvalidDataError("privacy= is for tables, but X holds images. Fit without it, or give features of the images.")
    estimator.conditions_, class_index = ConditionEncoder().fit(y)
    check_classes(estimator.conditions_, estimator.min_class_size)
    estimator.codec_ = DeclaredTableCodec(parts["bounds"], parts["missing"]).fit(X, class_index)
    settings = with_given(_settings(len(class_index)), estimator, len(class_index))
    counting, training, report = _budget(parts, settings, len(class_index))
    _count_with_noise(estimator.conditions_, counting.noise_multiplier)
    noisy_index = np.repeat(np.arange(len(estimator.conditions_)), estimator.conditions_.counts_)
    wanted, estimator.sampling_strategy_ = rows_missing(estimator.sampling_strategy, noisy_index, estimator.conditions_)
    rng = numpy_generator(estimator.random_state)  # of initial weights and samples; the noise is not to be had from a seed
    estimator._stream, estimator._reports = np.random.default_rng(draw_seed(rng)), LatestReport()
    _train(estimator, X, class_index, settings, rng, parts["clip"], training.noise_multiplier)
    estimator.classes_, estimator.privacy_report_ = estimator.conditions_.classes_, report
    estimator.screening_ = Screening(estimator.codec_, estimator.decoder_).without_rows(len(estimator.classes_))
    estimator.latent_report_ = estimator.decoder_.density.report(estimator.classes_.tolist())
    return wanted


def _settings(n_rows):
    """Few steps on large batches: at a given epsilon the noise of a step grows with the root of their number."""
    return TableSettings(
        latent_dim=8, width=128, n_layers=2, beta=1.0, n_steps=400, batch_size=int(np.clip(n_rows // 16, 128, 2048)),
        learning_rate=1e-2, weight_decay=0.0, ema_decay=0.95, input_noise=0.0,
    )  # fmt: skip


def _budget(parts, settings, n_rows):
    """Release of the class counts, Release of the training, and the report of both."""
    epsilon, delta = float(parts["epsilon"]), 0.1 / n_rows if parts["delta"] == "auto" else float(parts["delta"])
    if delta >= 1 / n_rows:
        raise InvalidParameterError(
            f"privacy['delta'] must be below 1 / n = {1 / n_rows:.2g}: publishing a row as it is has that delta; got {delta:g}."
        )
    noise = math.sqrt(2 * math.log(1.25 / delta)) / (COUNTS_SHARE * epsilon)  # Dwork and Roth (2014), theorem A.1
    counting = Release("class counts", noise, 1.0, 1)
    training = Release("training", 0.0, sampling_rate(n_rows, settings.batch_size), settings.n_steps)
    training = with_least_noise(training, [counting], epsilon, delta)
    both = with_epsilons([counting, training], delta)
    return counting, training, PrivacyReport(spent(both, delta), delta, float(parts["clip"]), both, PUBLIC)


def _count_with_noise(conditions, noise_multiplier):
    """Put noise on the class counts, once and for all; one row changes one of them by one."""
    noise = np.random.default_rng().standard_normal(len(conditions))
    conditions.counts_ = (conditions.counts_ + noise_multiplier * noise).round().clip(1).astype(np.int64)


def _train(estimator, X, class_index, settings, rng, clip, noise_multiplier):
    codec, conditions = estimator.codec_, estimator.conditions_
    device = resolve_device(estimator.device)
    plan = Plan(
        settings.n_steps, settings.batch_size, device, verbose=estimator.verbose, description="private autoencoder",
        max_threads=1 if settings.width <= 128 else None,
    )  # fmt: skip
    recipe = TableVAERecipe(codec, conditions.counts_)
    network = recipe.network(settings, torch_generator(draw_seed(rng))).to(device)
    rows = {name: tensor.to(device) for name, tensor in codec.encode(X).items()}
    inputs = lambda picked: codec.inputs({name: tensor[picked] for name, tensor in rows.items()}, torch_generator(0, device))
    estimator.history_ = train_privately(
        network, _row_losses(network, settings.beta), inputs, torch.from_numpy(class_index), settings, plan,
        clip=clip, noise_multiplier=noise_multiplier,
    )  # fmt: skip
    density = LatentDensity.prior(settings.latent_dim, conditions.counts_)
    estimator.decoder_ = FittedDecoder(network, codec, density, device, False, recipe.max_rows_decoded())


def _row_losses(network, beta):
    """As the loss of `TableVAERecipe`, but row by row: a floor under the batch's mean KL would tie rows together."""

    def losses(inputs, condition, generator):
        mean, log_variance = network.encode(inputs, condition)
        noise = mean.new_empty(mean.shape).normal_(generator=generator)
        outputs = network.decode(mean + noise * (0.5 * log_variance).exp(), condition)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return network.negative_log_likelihood(outputs, inputs) + beta * divergence

    return losses


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
