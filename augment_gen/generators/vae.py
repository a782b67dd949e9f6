"""The class-conditional variational autoencoder, for tables and for images."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from augment_gen.errors import InvalidRequestError
from augment_gen.generators.autoencoder import fit_autoencoder
from augment_gen.generators.base import BaseGenerator
from augment_gen.generators.checks import check_temperature
from augment_gen.generators.private import fit_privately, refuse_fitted_filters, refuse_originals
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator

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
    augment : "auto", dict, "none" or None, default="auto"
        Images: random changes, drawn anew at each step, that the training images' labels survive; the synthetic images vary
        in the same ways. A dict says how much of each: ``{"degrees": 10, "translate": 0.08, "scale": 0.1, "flip": True,
        "brightness": 0.1}`` are rotation, shift as a share of the size, zoom, mirroring left to right, and a factor on the
        values; what is left out is off. "auto" is a small rotation, shift and zoom. None and "none" change nothing.
    label_weight : "auto" or float
        Images: weight of the term that makes the decoder obey its label, in nats per nat of a classifier's cross-entropy. 0
        trains without that classifier, and draws without its filter.
    norm : {"batch", "group"}, default="batch"
        Images: normalisation layers. Batch norm is 1.7 times as fast on a CPU; group norm looks at one image at a time.
    latent_density : {"auto", "interpolation", "mixture", "gaussian", "exemplar"}
        The density of each class in latent space; "auto" chooses by class size.
    novelty_filter : "auto" or bool, default="auto"
        Thin rows that lie closer to a training row than training rows lie to each other. "auto" does, but for ``privacy``.
    privacy : None, float or dict, default=None
        Tables: train with (epsilon, delta)-differential privacy for one row more or less; a float is epsilon. A dict has
        more parts: ``{"epsilon": 3.0, "delta": "auto", "clip": 1.0, "bounds": {"age": (17, 90)}, "missing": ["job"]}``.
        "delta" is by default a tenth of 1 / n; "clip" is the largest norm of a row's gradient; "bounds" are the least and
        the largest value of each column of numbers or times, or one such pair for all, or more edges, between which values
        are spread evenly; "missing" lists columns that may have missing cells. Text has to come as a categorical dtype with
        all its levels. What is declared so, names and dtypes, n and the set of labels are taken as public knowledge.

        Gradients are clipped and noised (DP-SGD), class counts noised, latents drawn from N(0, I). No row, and nothing
        computed from rows otherwise, is kept: no filters, no losses, no check for copies; `class_tempering` does not apply,
        and `fit_resample`, which gives back real rows, is refused. The noise comes from the operating system's entropy
        (not from a cryptographic generator), and so two fits of one `random_state` differ. Every fit to the same rows spends
        its epsilon anew, and so does whatever else is published of them: an `evaluate` on them, say.

        It costs much where there are few rows: noise that hides one row nearly hides tens of them. **A class of tens of rows
        cannot be learned under a small epsilon**, and a rare class is why people come here. Of Adult's rich with 50 rows, an
        AUC of .80 to .86 without privacy fell to .62 to .74 at epsilons of 1 to 10; 10 rows got .56 to .65
        (benchmarks/privacy.py). Needs the extra ``privacy`` (Opacus).
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
        Curves of the training: step, loss (for images in nats per pixel value), reconstruction and kl (nats per row), label
        (images: the classifier's cross-entropy, in nats, once it counts), learning_rate.
    latent_report_ : DataFrame
        Per class: label, n_real, density, n_components; and with the novelty filter near_share (of unfiltered rows, how
        many lie as near to a training row as the nearest 5 % of training rows do to each other) and rejected_share;
        for images also label_rejected_share, of drawn images that a classifier of the real ones took for another class;
        copied_share is of unfiltered rows that are exact copies of training rows.
    filter_report_ : DataFrame
        Of the last `sample` or `fit_resample`: per label and filter, how many drawn rows it saw, which share it rejected,
        and how many of those were exact copies of training rows (see ``allow_copies`` of `sample`).
    synthetic_mask_ : bool ndarray
        After `fit_resample`: which rows are synthetic.
    privacy_report_ : PrivacyReport or None
        With ``privacy``: epsilon, delta, clip, the releases with their noise, and what is assumed to be public;
        ``to_frame()`` makes a table of it. Counts in ``latent_report_`` are noisy then.
    sampling_strategy_ : dict {label: int}
        Rows that `fit_resample` adds.
    n_features_in_, feature_names_in_
        As in scikit-learn; for images the number of values of one image.

    References
    ----------
    Kingma and Welling (2014), "Auto-encoding variational Bayes"; Sohn, Lee and Yan (2015), "Learning structured output
    representation using deep conditional generative models"; Ghosh et al. (2020), "From variational to deterministic
    autoencoders" (densities fitted after training). Images: Rybkin, Daniilidis and Levine (2021), "Simple and effective VAE
    training with calibrated decoders"; Perez et al. (2018), "FiLM: visual reasoning with a general conditioning layer".

    With privacy: Abadi et al. (2016), "Deep learning with differential privacy"; Mironov (2017), "Renyi differential privacy".

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
        "augment": [StrOptions({"auto", "none"}), dict, None],
        "label_weight": [AUTO, Interval(Real, 0, None, closed="left")],
        "norm": [StrOptions({"batch", "group"})],
        "novelty_filter": [AUTO, "boolean"],
        "privacy": [None, Interval(Real, 0, None, closed="neither"), dict],
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
        augment="auto",
        label_weight="auto",
        norm="batch",
        latent_density="auto",
        novelty_filter="auto",
        privacy=None,
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
        self.augment = augment
        self.label_weight = label_weight
        self.norm = norm
        self.latent_density = latent_density
        self.novelty_filter = novelty_filter
        self.privacy = privacy
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
        return self.decoder_.posterior(self.codec_.encode(X), index, torch_generator(0, self.decoder_.device))[0]

    def decode(self, z, y, *, temperature=1.0, random_state=None):
        """Rows in X's format from latents, float (n, latent_dim), and one label each.

        Every column is sampled, as in `sample`; no filter is applied.
        """
        check_is_fitted(self)
        check_temperature(temperature)
        class_index = self.conditions_.encode(y)
        z = torch.as_tensor(np.asarray(z), dtype=torch.float32)
        if z.shape != (len(class_index), self.decoder_.density.dim):
            raise InvalidRequestError(
                f"z must have shape ({len(class_index)}, {self.decoder_.density.dim}), a latent for each label in y; "
                f"got {tuple(z.shape)}."
            )
        rng = np.random.default_rng(draw_seed(self._stream)) if random_state is None else numpy_generator(random_state)
        return self.codec_.decode(self.decoder_.decode(z, class_index, rng, temperature), class_index, rng)

    # --------------------------------------------------------------- fitting
    def _fit_anew(self, X, y, checkpoint_dir, course):
        if self.privacy is not None:
            return fit_privately(self, X, y, checkpoint_dir)
        self.privacy_report_ = None
        return super()._fit_anew(X, y, checkpoint_dir, course)

    def _fit_resample(self, X, y, *settings):
        if self.privacy is not None:
            refuse_originals()
        return super()._fit_resample(X, y, *settings)

    def _request(self, n_samples, y, temperature, filters, *settings):
        request = super()._request(n_samples, y, temperature, filters, *settings)
        if self.privacy is not None:
            refuse_fitted_filters(request[3])
        return request

    def _fit_generator(self, rows, class_index, rng, course):
        self.decoder_, self.history_, _ = fit_autoencoder(self, rows, class_index, rng, self.latent_density, course)
