"""The class-conditional generative adversarial network, for tables and for images."""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.utils._param_validation import Interval, StrOptions

from augment_gen.errors import TrainingDivergedError, TrainingWarning
from augment_gen.generators.autoencoder import fit_autoencoder
from augment_gen.generators.base import BaseGenerator
from augment_gen.generators.gan_image import ImageAdversary
from augment_gen.generators.gan_table import TableAdversary
from augment_gen.generators.settings import with_given

AUTO = StrOptions({"auto"})
ADVERSARIES = {"table": TableAdversary, "image": ImageAdversary}
MIN_ADVERSARIAL = {"table": 20, "image": 50}  # rows of a class from which it takes part in adversarial training


class ConditionalGAN(BaseGenerator):
    """Class-conditional generative adversarial network that draws new rows or images of the class you ask for.

    Starts from a class-conditional autoencoder and polishes its decoder against a projection discriminator (Goodfellow et
    al. 2014; Miyato and Koyama 2018), keeping the weights whose rows are closest to the real ones, averaged over classes.
    So no class is lost from the start, and a few hundred adversarial steps suffice. Classes too small for a discriminator,
    which would learn them by heart, borrow the shared decoder.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        For `fit_resample`, as in imbalanced-learn: "auto" brings every class up to the largest.
    latent_dim, width : "auto" or int
        Of the autoencoder, as in `ConditionalVAE`.
    max_steps : "auto" or int
        Optimiser steps of each of the two stages.
    max_epochs : int, optional
        Passes over the data in each stage; where both are given the fewer steps count.
    batch_size : "auto" or int
    generator_learning_rate, discriminator_learning_rate : "auto" or float
        Peak rates of one-cycle schedules of AdamW in the adversarial stage (two time scales, Heusel et al. 2017).
    class_tempering : float, default=0.5
        In training a class of n rows is drawn with probability proportional to ``n ** class_tempering``.
    min_adversarial_size : "auto" or int
        Rows from which a class takes part in the adversarial stage: 20 for tables, 50 for images.
    numeric : {"auto", "gaussian", "bins"}
        Tables: how the continuous part of numeric columns is predicted; "auto" takes bins from 20,000 rows.
    augment : "auto", dict, "none" or None, default="auto"
        Images: random changes of the autoencoder's training images, as in `ConditionalVAE`.
    diff_augment : "auto", dict, "none" or None, default="auto"
        Images: random changes of real and drawn images alike before the discriminator sees them, so that it cannot learn few
        images by heart; they do not show in what is drawn (Zhao et al. 2020). A dict says how much of each, from 0 to 1:
        ``{"translate": 0.125, "cutout": 0.5, "brightness": 0.2, "contrast": 0.2}``; what is left out is off. "auto" is the
        first two, since brightness can be what tells classes apart. None and "none" change nothing.
    novelty_filter : bool, default=True
        Thin rows that lie closer to a training row than training rows lie to each other.
    min_class_size : int, default=2
        Smaller classes are refused in `fit`.
    device : str or torch.device, default="auto"
        "auto" is CUDA, else MPS, else the CPU.
    precision : {"auto", "float32", "bfloat16"}
        "auto" uses bfloat16 for convolutions where the processor has it.
    verbose : int, default=0
        1 shows a progress bar.
    random_state : None, int or RandomState
        An int makes two fits on one machine, and all that is drawn from them, identical.

    Attributes
    ----------
    classes_, latent_report_, synthetic_mask_, sampling_strategy_, n_features_in_, feature_names_in_
        As in `ConditionalVAE`; the report also says in "adversarial" which classes took part in the adversarial stage.
    history_ : DataFrame
        Curves of both stages, named in the column "stage": those of the autoencoder; and generator, discriminator,
        real_score, fake_score and stop_score (lower is better) of the adversarial stage; for tables also moments (distance
        of class means), for images label (the judge's cross-entropy beyond log 2) and anchor (mean squared error of
        reconstructed training images).

    References
    ----------
    Goodfellow et al. (2014), "Generative adversarial nets"; Miyato and Koyama (2018), "cGANs with projection
    discriminator"; Miyato et al. (2018), "Spectral normalization"; Mescheder et al. (2018), "Which training methods for
    GANs do actually converge?" (R1); Jang et al. (2017), "Categorical reparameterization with Gumbel-softmax"; Zhao et al.
    (2020), "Differentiable augmentation for data-efficient GAN training"; Tseng et al. (2021), "Regularizing generative
    adversarial networks under limited data" (LeCam); Larsen et al. (2016), "Autoencoding beyond pixels".

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from augment_gen import ConditionalGAN
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> gen = ConditionalGAN(max_steps=20, random_state=0).fit(X, y)
    >>> X_new, y_new = gen.sample(5, y=0)
    >>> X_new.shape, y_new.tolist()
    ((5, 30), [0, 0, 0, 0, 0])
    """

    _parameter_constraints: dict = {
        **BaseGenerator._parameter_constraints,
        "latent_dim": [AUTO, Interval(Integral, 1, None, closed="left")],
        "width": [AUTO, Interval(Integral, 1, None, closed="left")],
        "max_steps": [AUTO, Interval(Integral, 1, None, closed="left")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "batch_size": [AUTO, Interval(Integral, 2, None, closed="left")],
        "generator_learning_rate": [AUTO, Interval(Real, 0, None, closed="neither")],
        "discriminator_learning_rate": [AUTO, Interval(Real, 0, None, closed="neither")],
        "class_tempering": [Interval(Real, 0, 1, closed="both")],
        "min_adversarial_size": [AUTO, Interval(Integral, 1, None, closed="left")],
        "numeric": [StrOptions({"auto", "gaussian", "bins"})],
        "augment": [StrOptions({"auto", "none"}), dict, None],
        "diff_augment": [StrOptions({"auto", "none"}), dict, None],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        latent_dim="auto",
        width="auto",
        max_steps="auto",
        max_epochs=None,
        batch_size="auto",
        generator_learning_rate="auto",
        discriminator_learning_rate="auto",
        class_tempering=0.5,
        min_adversarial_size="auto",
        numeric="auto",
        augment="auto",
        diff_augment="auto",
        novelty_filter=True,
        min_class_size=2,
        device="auto",
        precision="auto",
        verbose=0,
        random_state=None,
    ):
        super().__init__(sampling_strategy=sampling_strategy)
        self.latent_dim = latent_dim
        self.width = width
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.generator_learning_rate = generator_learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.class_tempering = class_tempering
        self.min_adversarial_size = min_adversarial_size
        self.numeric = numeric
        self.augment = augment
        self.diff_augment = diff_augment
        self.novelty_filter = novelty_filter
        self.min_class_size = min_class_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    # --------------------------------------------------------------- fitting
    def _fit_generator(self, rows, class_index, rng, course):
        modality = self.codec_.modality
        self.decoder_, warm_up, plan = fit_autoencoder(self, rows, class_index, rng, "auto", course)
        min_size = MIN_ADVERSARIAL[modality] if self.min_adversarial_size == "auto" else self.min_adversarial_size
        adversary = ADVERSARIES[modality](self.decoder_, rows, class_index, min_size)
        trained = [] if course.interruption.asked else adversary.trained
        self._adversarial = np.isin(np.arange(len(self.classes_)), trained)
        self.history_ = warm_up.assign(stage="autoencoder")
        if len(trained):
            plan = replace(plan, description="adversary")
            curves = self._polish(adversary, with_given(adversary.settings, self, len(class_index)), plan, rng)
            self.history_ = pd.concat([self.history_, curves.assign(stage="adversarial")], ignore_index=True)

    def _polish(self, adversary, settings, plan, rng):
        """Adversarial training; where it diverges, once more from the best weights so far and with halved rates."""
        try:
            return adversary.train(settings, plan, rng)
        except TrainingDivergedError as error:
            again = "Starting again from the best weights so far, with halved rates."
            warnings.warn(f"{error} {again}", TrainingWarning, stacklevel=6)
            slower = replace(
                settings,
                generator_learning_rate=settings.generator_learning_rate / 2,
                discriminator_learning_rate=settings.discriminator_learning_rate / 2,
            )
            return adversary.train(slower, plan, rng)

    def _report(self):
        return super()._report().assign(adversarial=self._adversarial)
