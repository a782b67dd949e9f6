"""Generators that deform training images: by deformations learned from pairs, or by random ones."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from augment_gen.errors import InvalidDataError
from augment_gen.generators.base import BaseGenerator
from augment_gen.generators.warp_image import WarpTraining
from augment_gen.generators.warper import PooledPosterior
from augment_gen.networks.warp import DeformationVAE, ElasticField

AUTO = StrOptions({"auto"})


class WarpVAE(BaseGenerator):
    """Variational autoencoder of deformations: draws images of the class you ask for by warping real ones. Images only.

    From pairs of images of one class it learns the smooth deformations that turn one into the other (Krebs et al. 2019). A
    synthetic image is a training image of its class under a deformation seen in any class: how images vary is shared, so
    that a class of ten borrows from one of hundreds, and the results are as sharp as the originals. Classifiers of the real
    images, none of which has seen all of them, then weed out what no longer shows its class.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        For `fit_resample`, as in imbalanced-learn: "auto" brings every class up to the largest.
    strength : float, default=1.0
        Factor on every deformation.
    roughness : "auto" or float
        Weight of the penalty on deformations that ripple.
    latent_dim : "auto" or int
        Dimensions of the latent that describes a deformation.
    width : "auto" or int
        Channels at half the images' resolution.
    beta : "auto" or float
        Weight of the Kullback-Leibler term.
    max_steps : "auto" or int
        Optimiser steps.
    max_epochs : int, optional
        Passes over the images; where both are given the fewer steps count.
    batch_size : "auto" or int
    learning_rate, weight_decay : "auto" or float
        Peak rate of a one-cycle schedule, and decay, of AdamW.
    class_tempering : float, default=0.5
        In training a class of n images is drawn with probability proportional to ``n ** class_tempering``.
    augment : "auto", dict, "none" or None, default="auto"
        Random changes of the training images, as in `ConditionalVAE`.
    label_threshold : float, default=0.5
        From 0 to 1. An image is drawn again where one of the classifiers gives its label a lower probability; 0 trains no
        classifiers.
    novelty_filter : bool, default=True
        Thin images that lie closer to a training image than training images lie to each other.
    min_class_size : int, default=2
        Smaller classes are refused in `fit`.
    device : str or torch.device, default="auto"
        "auto" is CUDA, else MPS, else the CPU.
    precision : {"auto", "float32", "bfloat16"}
        "auto" uses bfloat16 where the processor has it.
    verbose : int, default=0
        1 shows progress bars.
    random_state : None, int or RandomState
        An int makes two fits on one machine, and all that is drawn from them, identical.

    Attributes
    ----------
    classes_, synthetic_mask_, sampling_strategy_, n_features_in_
        As in `ConditionalVAE`.
    history_ : DataFrame
        Curves of the training: step, loss (nats per pixel value), reconstruction, kl and roughness (nats per image),
        learning_rate.
    latent_report_ : DataFrame
        Per class: label, n_real, density, n_components (exemplars), diversity; near_share and rejected_share of the novelty
        filter; label_rejected_share, of drawn images in which a classifier did not see their label.
    displacement_ : float
        Root mean square of how far drawn images' pixels move, across and down each, as a share of width and height.

    Notes
    -----
    The fitted generator, and the file that `save` writes, hold the training images themselves.

    Measured beside random oversampling with classic augmentation (benchmarks/RESULTS.md): with ten digits of every class both
    warps helped a CNN; on imbalanced MNIST they helped less, the learned ones no more than the random ones of `ElasticWarp`;
    on chest x-rays and photographs they did not help, or did harm. `augment_gen.pipelines.choice.choose_mix` tries them on
    your images first.

    References
    ----------
    Krebs et al. (2019), "Learning a probabilistic model for diffeomorphic registration"; Schwartz et al. (2018),
    "Delta-encoder: an effective sample synthesis method for few-shot object recognition"; Jaderberg et al. (2015), "Spatial
    transformer networks".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import WarpVAE
    >>> X, y = load_digits(return_X_y=True)
    >>> gen = WarpVAE(max_steps=5, random_state=0).fit(X.reshape(-1, 8, 8), y)
    >>> X_new, y_new = gen.sample(3, y=7)
    >>> X_new.shape, y_new.tolist()
    ((3, 8, 8), [7, 7, 7])
    """

    _parameter_constraints: dict = {
        **BaseGenerator._parameter_constraints,
        "strength": [Interval(Real, 0, None, closed="neither")],
        "roughness": [AUTO, Interval(Real, 0, None, closed="left")],
        "latent_dim": [AUTO, Interval(Integral, 1, None, closed="left")],
        "width": [AUTO, Interval(Integral, 1, None, closed="left")],
        "beta": [AUTO, Interval(Real, 0, None, closed="left")],
        "max_steps": [AUTO, Interval(Integral, 1, None, closed="left")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "batch_size": [AUTO, Interval(Integral, 2, None, closed="left")],
        "learning_rate": [AUTO, Interval(Real, 0, None, closed="neither")],
        "weight_decay": [AUTO, Interval(Real, 0, None, closed="left")],
        "class_tempering": [Interval(Real, 0, 1, closed="both")],
        "augment": [StrOptions({"auto", "none"}), dict, None],
        "label_threshold": [Interval(Real, 0, 1, closed="left")],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        strength=1.0,
        roughness="auto",
        latent_dim="auto",
        width="auto",
        beta="auto",
        max_steps="auto",
        max_epochs=None,
        batch_size="auto",
        learning_rate="auto",
        weight_decay="auto",
        class_tempering=0.5,
        augment="auto",
        label_threshold=0.5,
        novelty_filter=True,
        min_class_size=2,
        device="auto",
        precision="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.strength = strength
        self.roughness = roughness
        self.latent_dim = latent_dim
        self.width = width
        self.beta = beta
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.class_tempering = class_tempering
        self.augment = augment
        self.label_threshold = label_threshold
        self.novelty_filter = novelty_filter
        self.min_class_size = min_class_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        return images_only_tags(super().__sklearn_tags__())

    def _make_codec(self, codec):
        return images_only(self, codec)()

    def _fit_generator(self, rows, class_index, rng, course):
        training = WarpTraining(self, rows, class_index, rng, course)
        network = training.network(DeformationVAE, latent_dim=training.settings.latent_dim)
        self.history_, posterior = training.learn(network)
        self.decoder_ = training.warper(network, posterior, self.strength)

    @property
    def displacement_(self):
        return self.decoder_.displacement(512, np.random.default_rng(0))


class ElasticWarp(BaseGenerator):
    """Draws images of the class you ask for by warping real ones at random; deformations are not learned. Images only.

    Elastic distortions, as those of Simard et al. (2003), but drawn on a coarse grid, with the filters of the other generators:
    classifiers of the real images weed out what no longer shows its class. Beside `WarpVAE` it says what learning deformations
    is worth.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        For `fit_resample`, as in imbalanced-learn: "auto" brings every class up to the largest.
    displacement : float, default=0.04
        Root mean square of how far pixels move, across and down each, as a share of the images' width and height.
    width, batch_size : "auto" or int
        Of the classifiers.
    max_steps : "auto" or int
        Optimiser steps of each classifier, at most 400.
    max_epochs : int, optional
    augment, label_threshold, novelty_filter, min_class_size, device, precision, verbose, random_state
        As in `WarpVAE`.

    Attributes
    ----------
    classes_, latent_report_, synthetic_mask_, sampling_strategy_, n_features_in_
        As in `WarpVAE`; ``history_`` is empty.

    Notes
    -----
    The fitted generator, and the file that `save` writes, hold the training images themselves.

    Fits in the time that its classifiers take. What it was measured to bring is said at `WarpVAE`.

    References
    ----------
    Simard, Steinkraus and Platt (2003), "Best practices for convolutional neural networks applied to visual document
    analysis".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ElasticWarp
    >>> X, y = load_digits(return_X_y=True)
    >>> gen = ElasticWarp(label_threshold=0, random_state=0).fit(X.reshape(-1, 8, 8), y)
    >>> gen.sample(3, y=7)[0].shape
    (3, 8, 8)
    """

    _parameter_constraints: dict = {
        **BaseGenerator._parameter_constraints,
        "displacement": [Interval(Real, 0, 0.5, closed="right")],
        **{
            name: WarpVAE._parameter_constraints[name]
            for name in ("width", "batch_size", "max_steps", "max_epochs", "augment", "label_threshold", "device", "precision")
        },
    }
    class_tempering = 0.0  # nothing is trained but classifiers, which see all classes alike

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        displacement=0.04,
        width="auto",
        max_steps="auto",
        max_epochs=None,
        batch_size="auto",
        augment="auto",
        label_threshold=0.5,
        novelty_filter=True,
        min_class_size=2,
        device="auto",
        precision="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.displacement = displacement
        self.width = width
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.augment = augment
        self.label_threshold = label_threshold
        self.novelty_filter = novelty_filter
        self.min_class_size = min_class_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        return images_only_tags(super().__sklearn_tags__())

    def _make_codec(self, codec):
        return images_only(self, codec)()

    def _fit_generator(self, rows, class_index, rng, course):
        training = WarpTraining(self, rows, class_index, rng, course)
        network = training.network(ElasticField, displacement=float(self.displacement))
        self.history_ = pd.DataFrame({"step": np.empty(0, dtype=np.int64), "loss": np.empty(0)})
        self.decoder_ = training.warper(network, PooledPosterior.standard(network.latent_dim))


def images_only(estimator, codec):
    """`codec`; refuses one for anything else than images."""
    if codec.modality != "image":
        raise InvalidDataError(
            f"{type(estimator).__name__} deforms images, but X was read as a {codec.modality}. Give images as (n, height, "
            "width) or (n, height, width, channels), or use ConditionalVAE, which takes tables too."
        )
    return codec


def images_only_tags(tags):
    """`tags` of an estimator whose X has three axes or more."""
    tags.input_tags.two_d_array = tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = False
    tags.input_tags.three_d_array = True
    return tags
