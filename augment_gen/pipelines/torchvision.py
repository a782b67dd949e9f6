"""Transforms for torchvision's v2 pipelines that put synthetic images of the same class beside or in place of real ones.

Enters: a batch ``(images, labels)`` after the DataLoader, like MixUp and CutMix take it, or one sample; images as tensors,
``tv_tensors.Image`` or, one at a time, PIL images. Leaves: the same structure with the same types, dtypes, devices, sizes
and labels. All randomness comes from torch's global generator, as for all v2 transforms, so that ``torch.manual_seed`` and
the seeds of DataLoader workers rule it.

For training only: give validation and test loaders a pipeline without these transforms. Put them before ``Normalize``
and before ``MixUp`` or ``CutMix``; how values are scaled between dtypes is said in `augment_gen.pipelines.picking`.
"""

import copy
import math

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import get_worker_info

from augment_gen.devices import resolve_autocast
from augment_gen.errors import InvalidDataError, InvalidTypeError
from augment_gen.generators import ConditionalVAE
from augment_gen.generators.decoder import FittedDecoder
from augment_gen.pipelines import picking
from augment_gen.pipelines.by_label import ByLabel
from augment_gen.seeding import stage_generator

__all__ = ["LatentJitter", "SyntheticMix", "SyntheticReplace"]


class SyntheticReplace(ByLabel):
    """Replaces each image with probability `p` by a synthetic one of its class, drawn from a pool.

    Parameters
    ----------
    pool : SyntheticPool
        Of images.
    p : float, default=0.5
        Of each image by itself, in a batch too.
    labels : list, optional
        Only images of these labels are replaced. None means all, and then an image whose label the pool lacks is an error.
        ``labels=pool.labels`` replaces what the pool has, and leaves the other classes alone.
    labels_getter : "default", callable or None, default="default"
        Finds the labels in a batch or sample: integers or strings, a tensor, an array or a list. "default" takes the second
        of several items or, in a dict, what "labels" or a key with "label" in its name holds. A callable takes the sample,
        such as ``operator.itemgetter("target")``. None says that all images are of the one label that there is.
    resize : bool, default=False
        Resize synthetic images to the size of those they replace. Without it another size is an error.

    Raises
    ------
    InvalidParameterError, InvalidTypeError, UnknownLabelError
        At construction: a parameter is out of range, no pool of images, or not among the pool's labels.
    InvalidDataError, UnknownLabelError
        In a call: labels that cannot be found, or soft; boxes, masks or keypoints, which would not match the new image;
        another size, more channels than one but not those of the pool; float images that were normalised.

    Notes
    -----
    A pool of grey images serves RGB ones too. Images given as they are not changed in place.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticPool
    >>> from augment_gen.pipelines.torchvision import SyntheticReplace
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> replace = SyntheticReplace(SyntheticPool(gen, {8: 20, 9: 20}), p=0.5, labels=[8, 9])
    >>> images, labels = torch.zeros(32, 1, 8, 8, dtype=torch.uint8), torch.arange(32) % 10
    >>> images, labels = replace(images, labels)
    >>> images.shape, images.dtype
    (torch.Size([32, 1, 8, 8]), torch.uint8)
    """

    def __init__(self, pool, p=0.5, labels=None, labels_getter="default", resize=False):
        super().__init__(picking.check_pool(pool).labels, p, labels, labels_getter, resize)
        self.pool = pool

    def _changed(self, images, labels):
        return _drawn_from(self.pool, images, labels, self)

    def _source(self):
        return repr(self.pool)


class SyntheticMix(ByLabel):
    """Blends each image with probability `p` with a synthetic one of its class; the label stays as it is.

    An image becomes ``w * image + (1 - w) * synthetic``, with w from Beta(alpha, alpha) for each image: mixup within a class
    (Zhang et al. 2018, "mixup: beyond empirical risk minimization", equation 1, where both labels are the same).

    Parameters
    ----------
    pool : SyntheticPool
        Of images.
    alpha : float, default=1.0
        Above 0. 1 draws all weights alike, less than 1 mostly weights near 0 or 1, more than 1 mostly near a half.
    p, labels, labels_getter, resize
        As for `SyntheticReplace`, and so are the errors.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticPool
    >>> from augment_gen.pipelines.torchvision import SyntheticMix
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> mix = SyntheticMix(SyntheticPool(gen, {8: 20}), alpha=0.4, p=1.0)
    >>> images, labels = mix(torch.zeros(4, 1, 8, 8), torch.full((4,), 8))
    >>> bool(images.max() <= 1)
    True
    """

    def __init__(self, pool, alpha=1.0, p=0.5, labels=None, labels_getter="default", resize=False):
        super().__init__(picking.check_pool(pool).labels, p, labels, labels_getter, resize)
        self.pool = pool
        self.alpha = picking.check_number(alpha, "alpha", 0, 1e6, open_low=True)

    def _changed(self, images, labels):
        alpha = torch.full((len(labels),), self.alpha, dtype=torch.float64)
        weights = torch.distributions.Beta(alpha, alpha, validate_args=False).sample()
        return picking.blended(images, _drawn_from(self.pool, images, labels, self), weights)

    def _source(self):
        return repr(self.pool)


class LatentJitter(ByLabel):
    """Varies each image with probability `p` the way its class varies: encode, move in latent space, decode.

    With the latent z of an image of class k, and a draw d of that class from the generator's density of mean m, the image is
    decoded from ``m + sqrt(1 - strength**2) * (z - m) + strength * (d - m)``. Where the class is Gaussian in latent space,
    the moved latents have the same distribution as before, whatever the strength (the proposal of the preconditioned
    Crank-Nicolson method, Cotter et al. 2013, "MCMC methods for functions", for the class's density). 0 gives back the
    generator's reconstruction of the image, 1 a new image of its class.

    Parameters
    ----------
    generator : ConditionalVAE
        Fitted on images. A batch is one encode and one decode; in DataLoader workers they run on the CPU.
    strength : float, default=0.5
        From 0 to 1.
    p, labels, labels_getter
        As for `SyntheticReplace`, with the generator's labels.
    resize : bool, default=False
        Resize images to the generator's size and back, which costs detail. Without it another size is an error.

    Raises
    ------
    As `SyntheticReplace` does; NotFittedError before `fit`.

    Notes
    -----
    A reconstruction is smoother than its image, so keep `p` below 1: a classifier should see real images as well.

    Examples
    --------
    >>> import torch
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines.torchvision import LatentJitter
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> jitter = LatentJitter(gen, strength=0.3, p=1.0)
    >>> images = torch.from_numpy(digits.images[:4, None]).to(torch.uint8)
    >>> varied, labels = jitter(images, torch.from_numpy(digits.target[:4]))
    >>> varied.shape, varied.dtype
    (torch.Size([4, 1, 8, 8]), torch.uint8)
    """

    _holder = "the generator"

    def __init__(self, generator, strength=0.5, p=0.5, labels=None, labels_getter="default", resize=False):
        if not isinstance(generator, ConditionalVAE):
            raise InvalidTypeError(
                f"generator must be a fitted ConditionalVAE, which encodes images; got {type(generator).__name__}."
            )
        check_is_fitted(generator)
        if generator.codec_.modality != "image":
            raise InvalidTypeError("generator was fitted on a table; LatentJitter needs one that was fitted on images.")
        super().__init__(generator.classes_.tolist(), p, labels, labels_getter, resize)
        self.strength = picking.check_number(strength, "strength", 0, 1)
        self.generator = generator
        # made before workers fork: a forked process must not touch CUDA
        self._on_cpu = generator if generator.decoder_.device.type == "cpu" else _cpu_twin(generator)

    def _changed(self, images, labels):
        name, generator = type(self).__name__, self.generator if get_worker_info() is None else self._on_cpu
        form = generator.codec_.format_
        if images.shape[1] != form.channels:
            raise InvalidDataError(
                f"{name} got images of {images.shape[1]} channel(s); the generator was fitted on {form.channels}. Convert them."
            )
        picking.check_values(images, form, name)
        ends, pixels = (form.low, form.high), getattr(torch, form.dtype_name)
        picking.check_size(images, (form.height, form.width), self.resize, name)
        fitted = picking.resized(images, (form.height, form.width))
        z = generator.encode(picking.rescaled(fitted, pixels, target=ends), labels)
        rng = stage_generator(int(torch.randint(2**63 - 1, ())), 0)
        density, class_index = generator.decoder_.density, generator.conditions_.encode(labels)
        mean, drawn = density.means(class_index), density.sample(class_index, rng)
        moved = mean + math.sqrt(1 - self.strength**2) * (z - mean) + self.strength * (drawn - mean)
        varied = _as_tensor(generator.decode(moved, labels, random_state=rng), form.layout)
        varied = picking.resized(varied, images.shape[2:])
        return picking.rescaled(varied, images.dtype, source=ends).to(images.device, non_blocking=True)

    def _source(self):
        form = self.generator.codec_.format_
        return f"ConditionalVAE of {form.height} x {form.width} images"


def _drawn_from(pool, images, labels, transform):
    """Synthetic images of the `labels`, made like `images`."""
    synthetic = picking.pick(pool, labels, torch.rand(len(labels), dtype=torch.float64))
    return picking.make_like(synthetic, images, pool.format, transform.resize, type(transform).__name__)


def _as_tensor(images, layout):
    """A tensor (n, C, H, W) of images as a generator gives them."""
    if not isinstance(images, torch.Tensor):
        array = np.ascontiguousarray(np.asarray(images))
        images = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    return images.unsqueeze(1) if layout == "nhw" else images.permute(0, 3, 1, 2) if layout == "nhwc" else images


def _cpu_twin(generator):
    """The same generator with its network on the CPU."""
    twin, decoder, cpu = copy.copy(generator), generator.decoder_, torch.device("cpu")
    autocast = resolve_autocast(generator.precision, cpu, worthwhile=True)
    twin.decoder_ = FittedDecoder.from_state(decoder.state(), type(decoder.network), decoder.codec, cpu, autocast)
    return twin
