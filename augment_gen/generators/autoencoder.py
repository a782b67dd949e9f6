"""Training a class-conditional autoencoder: all of a ConditionalVAE, and the first stage of a ConditionalGAN."""

import torch

from augment_gen.devices import resolve_autocast, resolve_device
from augment_gen.generators.decoder import FittedDecoder
from augment_gen.generators.settings import with_given
from augment_gen.generators.vae_image import ImageVAERecipe
from augment_gen.generators.vae_table import TableVAERecipe
from augment_gen.latent import LatentDensity, exemplars
from augment_gen.seeding import draw_seed, torch_generator
from augment_gen.training import Plan, train

RECIPES = {"table": TableVAERecipe, "image": ImageVAERecipe}


def fit_autoencoder(estimator, rows, class_index, rng, latent_density, course):
    """Train an autoencoder on the rows of an estimator's codec, then fit the density of each class to its latents.

    Parameters
    ----------
    estimator : BaseGenerator
        Gives the parameters that the recipe of its modality leaves to the user, ``codec_`` and ``conditions_``.
    rows : dict of tensors
        As encoded by the codec.
    class_index : int64 array (n,)
    rng : numpy.random.Generator
    latent_density : str
        As ``ConditionalVAE(latent_density=)``.
    course : Course

    Returns
    -------
    decoder : FittedDecoder
    history : DataFrame
    plan : Plan
        What it was trained by; a second stage goes on with the same device, precision and threads.
    """
    recipe = RECIPES[estimator.codec_.modality](estimator.codec_, estimator.conditions_.counts_)
    settings = with_given(recipe.settings, estimator, len(class_index))
    plan = _plan(estimator, recipe, settings, course)
    network = recipe.network(settings, torch_generator(draw_seed(rng))).to(plan.device)
    generator = torch_generator(draw_seed(rng), plan.device)
    index, n_classes = torch.from_numpy(class_index), len(recipe.class_counts)
    recipe.prepare(network, settings, rows, index, plan, rng)
    history = train([recipe.phase(network, settings)], rows, index, plan, n_classes=n_classes, generator=generator)
    recipe.finish(network, settings, rows, index, plan, generator)
    decoder = FittedDecoder(network, estimator.codec_, None, plan.device, plan.autocast, recipe.max_rows_decoded())
    picked = exemplars(class_index, recipe.class_counts, rng)
    chosen = {name: tensor[picked] for name, tensor in rows.items()}
    means, deviations = decoder.posterior(chosen, index[picked], generator)
    density = LatentDensity(latent_density, recipe.density_rule)
    drawn_faster = resolve_autocast(estimator.precision, plan.device, recipe.worth_drawing_in_bfloat16(settings, plan.device))
    decoder.autocast = plan.autocast or drawn_faster
    decoder.density = density.fit(means, deviations, class_index[picked], n_classes, rng, recipe.class_counts)
    return decoder, history, plan


def _plan(estimator, recipe, settings, course):
    device = resolve_device(estimator.device)
    return Plan(
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        device=device,
        class_tempering=estimator.class_tempering,
        ema_decay=settings.ema_decay,
        autocast=resolve_autocast(estimator.precision, device, recipe.worth_autocast),
        verbose=estimator.verbose,
        max_threads=recipe.max_threads,
        description="autoencoder",
        course=course,
        interruptible=True,
    )
