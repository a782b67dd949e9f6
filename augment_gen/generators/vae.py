"""The class-conditional variational autoencoder, for tables and for images."""

import math
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from augment_gen.codecs import TableCodec
from augment_gen.errors import InvalidRequestError
from augment_gen.generators.base import BaseGenerator
from augment_gen.generators.vae_table import TableVAERecipe
from augment_gen.latent import LatentDensity
from augment_gen.networks.initialise import rebuild
from augment_gen.networks.mlp import TableVAE
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator
from augment_gen.training import Phase, Plan, resolve_autocast, resolve_device, train

RECIPES = {"table": TableVAERecipe}
NETWORKS = {"table": TableVAE}
AUTO = StrOptions({"auto"})


class ConditionalVAE(BaseGenerator):
    """Class-conditional variational autoencoder that draws new rows or images of the class you ask for.

    A decoder is trained on all classes together, so that a rare class borrows from the others (Kingma and Welling 2014;
    Sohn et al. 2015). After training each class gets a latent density of its own, chosen by its size; rows are drawn from
    it, decoded by sampling every column, and thinned where they come closer to training rows than those are to each other.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        For `fit_resample`, as in imbalanced-learn: "auto" brings every class up to the largest.
    latent_dim : "auto" or int
        Latent dimensions. "auto" is 8 to 24 by number of columns, or by resolution for images.
    width : "auto" or int
        Units of a hidden layer (tables), or channels at full resolution (images).
    beta : "auto" or float
        Weight of the Kullback-Leibler term.
    max_steps : "auto" or int
        Optimiser steps.
    max_epochs : int, optional
        Passes over the data; where both are given the fewer steps count.
    batch_size : "auto" or int
    learning_rate, weight_decay : "auto" or float
        Peak rate of a one-cycle schedule, and decay, of AdamW.
    class_tempering : float, default=0.5
        In training a class of n rows is drawn with probability proportional to ``n ** class_tempering``: 1 as often as it
        occurs, 0 all classes alike.
    input_noise : "auto" or float
        Tables: share of the cells that the encoder sees swapped with those of another row; lowers memorisation.
    numeric : {"auto", "gaussian", "bins"}
        Tables: how the continuous part of numeric columns is predicted; "auto" takes bins from 20,000 rows.
    latent_density : {"auto", "interpolation", "mixture", "gaussian", "exemplar"}
        The density of each class in latent space; "auto" chooses by class size.
    novelty_filter : bool, default=True
        Thin rows that lie closer to a training row than training rows lie to each other.
    min_class_size : int, default=2
        Smaller classes are refused in `fit`. 1 lets single rows through, which are then merely jittered.
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
    classes_ : ndarray (n_classes,)
    history_ : DataFrame
        Curves of the training: step, loss, reconstruction and kl (nats per row), learning_rate.
    latent_report_ : DataFrame
        Per class: label, n_real, density, n_components; and with the novelty filter near_share (of unfiltered rows, how
        many lie as near to a training row as the nearest 5 % of training rows do to each other) and rejected_share.
    synthetic_mask_ : bool ndarray
        After `fit_resample`: which rows are synthetic.
    sampling_strategy_ : dict {label: int}
        Rows that `fit_resample` adds.
    n_features_in_, feature_names_in_
        As in scikit-learn; for images the number of values of one image.

    References
    ----------
    Kingma and Welling (2014), "Auto-encoding variational Bayes"; Sohn, Lee and Yan (2015), "Learning structured output
    representation using deep conditional generative models"; Ghosh et al. (2020), "From variational to deterministic
    autoencoders" (densities fitted after training).

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from augment_gen import ConditionalVAE
    >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    >>> gen = ConditionalVAE(max_steps=50, random_state=0).fit(X, y)
    >>> X_new, y_new = gen.sample(5, y=0)
    >>> X_new.shape, y_new.tolist()
    ((5, 30), [0, 0, 0, 0, 0])
    """

    _parameter_constraints: dict = {
        **BaseGenerator._parameter_constraints,
        "latent_dim": [AUTO, Interval(Integral, 1, None, closed="left")],
        "width": [AUTO, Interval(Integral, 1, None, closed="left")],
        "beta": [AUTO, Interval(Real, 0, None, closed="left")],
        "max_steps": [AUTO, Interval(Integral, 1, None, closed="left")],
        "max_epochs": [None, Interval(Integral, 1, None, closed="left")],
        "batch_size": [AUTO, Interval(Integral, 2, None, closed="left")],
        "learning_rate": [AUTO, Interval(Real, 0, None, closed="neither")],
        "weight_decay": [AUTO, Interval(Real, 0, None, closed="left")],
        "class_tempering": [Interval(Real, 0, 1, closed="both")],
        "input_noise": [AUTO, Interval(Real, 0, 1, closed="left")],
        "numeric": [StrOptions({"auto", "gaussian", "bins"})],
        "latent_density": [StrOptions({"auto", "interpolation", "mixture", "gaussian", "exemplar"})],
        "device": [str, torch.device],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
    }

    def __init__(
        self,
        *,
        sampling_strategy="auto",
        latent_dim="auto",
        width="auto",
        beta="auto",
        max_steps="auto",
        max_epochs=None,
        batch_size="auto",
        learning_rate="auto",
        weight_decay="auto",
        class_tempering=0.5,
        input_noise="auto",
        numeric="auto",
        latent_density="auto",
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
        self.beta = beta
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.class_tempering = class_tempering
        self.input_noise = input_noise
        self.numeric = numeric
        self.latent_density = latent_density
        self.novelty_filter = novelty_filter
        self.min_class_size = min_class_size
        self.device = device
        self.precision = precision
        self.verbose = verbose
        self.random_state = random_state

    # ---------------------------------------------------------------- latent
    def encode(self, X, y):
        """Posterior means of given rows.

        Parameters
        ----------
        X, y
            Rows in the format of `fit`, and their labels.

        Returns
        -------
        z : float32 ndarray (n, latent_dim)
        """
        check_is_fitted(self)
        index = torch.from_numpy(self.conditions_.encode(y))
        return self._posterior(self.codec_.encode(X), index, torch_generator(0, self.device_))[0]

    def decode(self, z, y, *, temperature=1.0, random_state=None):
        """Rows in X's format from latents, float (n, latent_dim), and one label each.

        Every column is sampled, as in `sample`; no filter is applied.
        """
        check_is_fitted(self)
        class_index = self.conditions_.encode(y)
        z = torch.as_tensor(np.asarray(z), dtype=torch.float32)
        if z.shape != (len(class_index), self.density_.dim):
            raise InvalidRequestError(
                f"z must have shape ({len(class_index)}, {self.density_.dim}): a latent for each label in y; got {tuple(z.shape)}."
            )
        rng = self._stream if random_state is None else numpy_generator(random_state)
        return self.codec_.decode(self._decode_latents(z, class_index, rng, temperature), class_index, rng)

    # --------------------------------------------------------------- fitting
    def _make_codec(self, codec):
        return codec(numeric=self.numeric) if codec is TableCodec else codec()

    def _fit_generator(self, rows, class_index, rng):
        self.device_ = resolve_device(self.device)
        recipe = RECIPES[self.codec_.modality](self.codec_, self.conditions_.counts_)
        settings = self._settings(recipe.settings, len(class_index))
        self.network_ = recipe.network(settings, torch_generator(draw_seed(rng))).to(self.device_)
        self.autocast_ = resolve_autocast(self.precision, self.device_, recipe.worth_autocast)
        generator = torch_generator(draw_seed(rng), self.device_)
        phase = Phase(
            (self.network_,), recipe.loss(self.network_, settings), settings.learning_rate, settings.weight_decay
        )
        plan = Plan(
            settings.n_steps, settings.batch_size, self.device_, self.class_tempering, settings.ema_decay,
            autocast=self.autocast_, verbose=self.verbose, description=type(self).__name__,
        )  # fmt: skip
        index = torch.from_numpy(class_index)
        n_classes = len(self.conditions_)
        self.history_ = train([phase], rows, index, plan, n_classes=n_classes, generator=generator)
        recipe.finish(self.network_, rows, index, generator)
        self.max_rows_decoded_ = recipe.max_rows_decoded()
        means, deviations = self._posterior(rows, index, generator)
        density = LatentDensity(self.latent_density, recipe.density_rule)
        self.density_ = density.fit(means, deviations, class_index, n_classes, rng)

    def _settings(self, settings, n_rows):
        """The recipe's settings with what the user has set in their place."""
        names = ("latent_dim", "width", "beta", "batch_size", "learning_rate", "weight_decay", "input_noise")
        given = {name: getattr(self, name) for name in names if getattr(self, name) != "auto" and hasattr(settings, name)}
        settings = replace(settings, **given)
        steps = settings.n_steps if self.max_steps == "auto" else self.max_steps
        if self.max_epochs is not None:
            by_epochs = self.max_epochs * math.ceil(n_rows / settings.batch_size)
            steps = by_epochs if self.max_steps == "auto" else min(steps, by_epochs)
        return replace(settings, n_steps=steps)

    @torch.no_grad()
    def _posterior(self, rows, class_index, generator):
        """Means and standard deviations, float32 arrays (n, latent_dim)."""
        means, deviations = [], []
        for start in range(0, len(class_index), self.max_rows_decoded_):
            part = slice(start, start + self.max_rows_decoded_)
            batch = {name: tensor[part].to(self.device_) for name, tensor in rows.items()}
            with torch.autocast(self.device_.type, dtype=torch.bfloat16, enabled=self.autocast_):
                inputs = self.codec_.inputs(batch, generator)
                mean, log_variance = self.network_.encode(inputs, class_index[part].to(self.device_))
            means.append(mean.float().cpu())
            deviations.append((0.5 * log_variance.float()).exp().cpu())
        return torch.cat(means).numpy(), torch.cat(deviations).numpy()

    # -------------------------------------------------------------- sampling
    def _draw_outputs(self, class_index, rng, temperature):
        z = torch.from_numpy(self.density_.sample(class_index, rng, temperature))
        return self._decode_latents(z, class_index, rng, temperature)

    @torch.no_grad()
    def _decode_latents(self, z, class_index, rng, temperature):
        noise = self.network_.noise(len(z), rng)
        condition, parts = torch.from_numpy(np.asarray(class_index)), []
        for start in range(0, max(1, len(z)), self.max_rows_decoded_):
            rows = slice(start, start + self.max_rows_decoded_)
            mine = {name: tensor[rows].to(self.device_) for name, tensor in noise.items()}
            with torch.autocast(self.device_.type, dtype=torch.bfloat16, enabled=self.autocast_):
                outputs = self.network_.decode(z[rows].to(self.device_), condition[rows].to(self.device_))
            parts.append({name: t.cpu() for name, t in self.network_.realise(outputs, mine, temperature).items()})
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _density_report(self):
        return self.density_.report(self.classes_.tolist())

    # --------------------------------------------------------------- keeping
    def __getstate__(self):
        state = super().__getstate__()
        if "network_" in state and self.device_.type != "cpu":
            network = rebuild(type(self.network_), self.network_.architecture, _cpu_tensors(self.network_)).eval()
            state = {**state, "network_": network}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "network_" in state:
            self._move_to(resolve_device(self.device) if _available(self.device_) else torch.device("cpu"))

    def _move_to(self, device):
        self.device_ = device
        self.network_ = self.network_.to(device)

    def _fitted_state(self):
        """What `save` keeps beside the parameters and what every generator has."""
        return {
            "architecture": self.network_.architecture,
            "network": _cpu_tensors(self.network_),
            "density": self.density_.state(),
            "max_rows_decoded": self.max_rows_decoded_,
        }

    def _restore_fitted_state(self, state):
        network = rebuild(NETWORKS[self.codec_.modality], state["architecture"], state["network"]).eval()
        self.density_ = LatentDensity.from_state(state["density"])
        self.max_rows_decoded_ = int(state["max_rows_decoded"])
        self.network_ = network
        self._move_to(resolve_device(self.device))
        self.autocast_ = resolve_autocast(
            self.precision, self.device_, RECIPES[self.codec_.modality].worth_autocast
        )


def _cpu_tensors(network):
    return {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}


def _available(device):
    return device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_available())
