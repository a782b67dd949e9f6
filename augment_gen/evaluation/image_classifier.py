"""A small convolutional classifier of images, with a fixed number of steps whatever it is trained on.

Enters: images in any form that the generators take, and labels. Leaves: a scikit-learn classifier.
"""

from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from augment_gen.codecs.image import ImageCodec
from augment_gen.conditioning import ConditionEncoder
from augment_gen.devices import at_most_threads, resolve_autocast, resolve_device
from augment_gen.errors import InvalidDataError
from augment_gen.evaluation.oversamplers import classic_augmentation
from augment_gen.networks.augmentation import Augmentation
from augment_gen.networks.conv import Grid, Judge, recalibrate
from augment_gen.networks.initialise import build
from augment_gen.seeding import draw_seed, numpy_generator, torch_generator
from augment_gen.steps import Phase
from augment_gen.training import ClassSampler, Plan, train

SMALL_SIDE = 16  # pixels, up to which a convolution is too little work for two threads
PIECE = 512  # images predicted at a time


class ImageClassifier(ClassifierMixin, BaseEstimator):
    """Small CNN that takes the same number of steps on little data as on much, so that only the data differs.

    Parameters
    ----------
    max_steps : int, default=500
        Optimiser steps.
    width : int, default=24
        Channels at half the image's resolution.
    batch_size : int, default=64
    augment : {"classic"}, dict or None, default=None
        Random changes of the training images, drawn anew at each step: "classic" is a small turn, shift and zoom; a dict as
        for ``ConditionalVAE(augment=)``.
    mixup : bool, default=False
        Blend each image, and its label, with another of the batch by a weight drawn evenly from 0 to 1 (Zhang et al. 2018,
        with alpha = 1).
    class_weight : {"balanced"} or None, default=None
        "balanced" weighs an image's loss by the inverse of how frequent its class is.
    device : str or torch.device, default="auto"
    random_state : None, int, RandomState or Generator
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    n_features_in_ : int
        Values of one image.
    history_ : DataFrame
        The loss, every 25 steps.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen.evaluation.image_classifier import ImageClassifier
    >>> digits = load_digits(n_class=3)
    >>> X, y = digits.images.astype("uint8") * 15, digits.target
    >>> bool(ImageClassifier(max_steps=60, random_state=0).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9)
    True
    """

    _parameter_constraints: dict = {
        "max_steps": [Interval(Integral, 1, None, closed="left")],
        "width": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "augment": [StrOptions({"classic"}), dict, None],
        "mixup": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), None],
        "device": [str, torch.device],
        "random_state": ["random_state", np.random.Generator],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        max_steps=500,
        width=24,
        batch_size=64,
        augment=None,
        mixup=False,
        class_weight=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.max_steps = max_steps
        self.width = width
        self.batch_size = batch_size
        self.augment = augment
        self.mixup = mixup
        self.class_weight = class_weight
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train on images X, n of them, and labels y (n,); returns self."""
        if not ImageCodec.accepts(X):
            raise InvalidDataError("ImageClassifier takes images, (n, height, width) or more axes; X was read as a table.")
        conditions, class_index = ConditionEncoder().fit(y)
        codec = ImageCodec().fit(X, class_index)
        rng = numpy_generator(self.random_state)
        device = resolve_device(self.device)
        channels, height, width = codec.format_.size
        architecture = {
            "n_channels": channels,
            "grid": Grid(height, width, self.width),
            "n_classes": len(conditions),
            "norm": "batch",
        }
        network = build(Judge, architecture, torch_generator(draw_seed(rng))).to(device, memory_format=torch.channels_last)
        plan = Plan(
            n_steps=self.max_steps,
            batch_size=self.batch_size,
            device=device,
            class_tempering=1.0,
            ema_decay=0.99,
            autocast=resolve_autocast("auto", device, True),
            verbose=self.verbose,
            max_threads=1 if max(height, width) <= SMALL_SIDE else None,
            description="image classifier",
        )
        generator = torch_generator(draw_seed(rng), device)
        rows, index = codec.encode(X), torch.from_numpy(class_index)
        phase = Phase((network,), self._loss(network, codec, conditions.counts_, device), 2e-3, weight_decay=0.05)
        self.history_ = train([phase], rows, index, plan, n_classes=len(conditions), generator=generator)
        self._recalibrate(network, phase, rows, index, plan, generator)
        self.network_, self.codec_, self.device_ = network, codec, device
        self.classes_ = conditions.classes_
        self.n_features_in_ = channels * height * width
        return self

    def _loss(self, network, codec, counts, device):
        augment = self._augmentation(codec)
        weight = None
        if self.class_weight == "balanced":
            weight = torch.as_tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32, device=device)

        def loss(rows, condition, now, generator):
            images = augment(codec.inputs(rows, generator)["images"], generator)
            if not self.mixup:
                return {"loss": F.cross_entropy(network(images).float(), condition, weight=weight)}
            share = torch.rand(len(images), generator=generator, device=images.device, dtype=images.dtype)
            other = torch.randperm(len(images), generator=generator, device=images.device)
            part = share[:, None, None, None]
            logits = network(part * images + (1 - part) * images[other]).float()
            own, others = (
                F.cross_entropy(logits, each, weight=weight, reduction="none") for each in (condition, condition[other])
            )
            return {"loss": (share * own + (1 - share) * others).mean()}

        return loss

    def _augmentation(self, codec):
        if self.augment == "classic":
            return classic_augmentation(*codec.format_.size[1:])
        if isinstance(self.augment, Mapping):
            return Augmentation(**self.augment)
        return Augmentation()

    def _recalibrate(self, network, phase, rows, class_index, plan, generator):
        """Batch-norm statistics as they are under the averaged weights."""
        sampler = ClassSampler(class_index, int(class_index.max()) + 1, 1.0, torch.device("cpu"))
        draws = torch_generator(int(torch.randint(2**31, (1,), generator=generator, device=plan.device)))

        def run_batch():
            index = sampler.draw(plan.batch_size, draws)
            batch = {name: tensor[index].to(plan.device) for name, tensor in rows.items()}
            phase.loss(batch, class_index[index].to(plan.device), phase.moment(plan.n_steps), generator)

        with at_most_threads(plan.max_threads):
            recalibrate(network, run_batch)

    @torch.no_grad()
    def predict_proba(self, X):
        """float64 (n, n_classes), in the order of ``classes_``."""
        check_is_fitted(self)
        images, found = self.codec_.encode(X)["images"], []
        for part in images.split(PIECE):
            inputs = self.codec_.inputs({"images": part.to(self.device_)}, None)["images"]
            found.append(self.network_(inputs).double().softmax(1).cpu())
        return torch.cat(found).numpy()

    def predict(self, X):
        """Labels (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
