"""Transforms for albumentations' pipelines that put synthetic images of the same class in place of, or into, real ones.

Enters: ``transform(image=image, label=2)``, an image (H, W) or (H, W, C) and its label, alone or inside ``A.Compose``.
Leaves: an image of the same shape and dtype; the label passes through. For training only: give validation and test data
a pipeline without these transforms. Put them before ``A.Normalize``.

albumentations 2.0.8 draws the same random numbers in every DataLoader worker. These transforms do not: in a worker they
draw from a stream that torch's seed of that worker begins, so that ``torch.manual_seed`` makes them repeatable, together
with the seed of ``A.Compose``. In the main process they follow ``A.Compose(seed=)`` alone, as all its transforms do.

Importing albumentations asks the package index whether there is a newer version, unless the environment variable
``NO_ALBUMENTATIONS_UPDATE`` is 1; set it before the import where that is not wanted. Import this module before
``A.from_dict`` or ``A.load`` reads a pipeline with its transforms. AlbumentationsX, which is imported under the same name,
is recognised by its sampling hook.
"""

import random
from os import PathLike

import numpy as np
import torch
from torch.utils.data import get_worker_info

from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidRequestError, InvalidTypeError, MissingExtraError
from augment_gen.pipelines import picking
from augment_gen.pipelines.pool import SyntheticPool
from augment_gen.seeding import draw_seed, stage_generator

try:
    import albumentations as A
except ImportError as error:
    raise MissingExtraError(
        'augment_gen.pipelines.albumentations needs albumentations: pip install "augment-gen[albumentations]".'
    ) from error

__all__ = ["SyntheticMix", "SyntheticReplace"]

TIED_TO_THE_IMAGE = ("mask", "masks", "mask3d", "masks3d", "bboxes", "keypoints", "images", "volume", "volumes")

if hasattr(A.BasicTransform, "sample_parameters"):  # AlbumentationsX
    from albumentations.core.transform_params import SampledParams

    class _Hooks:
        """AlbumentationsX hands a random generator to each call, and gives every worker its own."""

        def sample_parameters(self, params, data, targets, sampling):
            self._check_call(data)
            return SampledParams(params=self._sampled(data, sampling.random_generator))

else:

    class _Hooks:
        """albumentations 2.0.8 keeps random generators in the transform, and copies them to every worker alike."""

        _worker_seed = None

        def __call__(self, *args, force_apply=False, **data):
            if not self.replay_mode:
                self._check_call(data)
                self._seed_in_worker()
            return super().__call__(*args, force_apply=force_apply, **data)

        def get_params_dependent_on_data(self, params, data):
            return self._sampled(data, self.random_generator)

        def _seed_in_worker(self):
            if get_worker_info() is not None and self._worker_seed != torch.initial_seed():
                self._worker_seed = torch.initial_seed()
                rng = stage_generator(self._worker_seed, draw_seed(self.random_generator))
                self.set_random_state(rng, random.Random(draw_seed(rng)))


class _FromPool(_Hooks, A.ImageOnlyTransform):
    """Finds a pool image of the class of the image at hand; subclasses say what becomes of both."""

    def __init__(self, pool, label_key, labels, resize, p):
        super().__init__(p=picking.check_number(p, "p", 0, 1))
        self.pool = picking.check_pool(_as_pool(pool))
        if not isinstance(label_key, str) or label_key in ("image", *TIED_TO_THE_IMAGE):
            raise InvalidParameterError(f"label_key must be the name under which labels are passed; got {label_key!r}.")
        self.label_key = label_key
        self.labels = picking.check_labels(labels, self.pool.labels, "the pool")
        self.resize = bool(resize)

    @property
    def targets_as_params(self):
        return [self.label_key]

    def _check_call(self, data):
        name = type(self).__name__
        tied = next(
            (key for key in (*TIED_TO_THE_IMAGE, *getattr(self, "_additional_targets", ())) if data.get(key) is not None), None
        )
        if tied is not None:
            raise InvalidDataError(f"{name} does not take {tied!r}: it would not match the changed image.")
        if self.label_key not in data:
            raise InvalidDataError(
                f"{name} needs the label of the image: call the pipeline with {self.label_key}=..., or say under which name it "
                f"is passed: label_key=.... Passed were {', '.join(map(repr, data))}."
            )

    def _sampled(self, data, rng):
        """The parameters of one call, all of them plain numbers and strings."""
        labels = picking.plain_labels(data[self.label_key])
        if len(labels) != 1:
            raise InvalidDataError(f"{type(self).__name__} takes one image and one label a call; got {len(labels)} labels.")
        if not picking.wanted(labels, self.labels, self.pool.labels, "the pool")[0]:
            return {"synthetic_label": None, "fraction": 0.0, "weight": 1.0}
        return {"synthetic_label": labels[0], "fraction": float(rng.random()), "weight": self._weight(rng)}

    def _weight(self, rng):
        """Of the real image, from 0 to 1."""
        raise NotImplementedError

    def apply(self, img, synthetic_label=None, fraction=0.0, weight=1.0, **params):
        if synthetic_label is None:
            return img
        images = torch.from_numpy(np.ascontiguousarray(img))
        images = images[None, None] if images.ndim == 2 else images.permute(2, 0, 1)[None]
        synthetic = picking.pick(self.pool, [synthetic_label], [fraction])
        changed = picking.make_like(synthetic, images, self.pool.format, self.resize, type(self).__name__)
        if weight > 0:
            changed = picking.blended(images, changed, torch.tensor([weight]))
        changed = changed[0].numpy()
        return changed[0].copy() if img.ndim == 2 else np.ascontiguousarray(changed.transpose(1, 2, 0))

    def get_transform_init_args(self):
        """The parameters, with the pool as the path of its file."""
        pool = _PoolInMemory(pool=self.pool) if self.pool.path is None else self.pool.path
        return {"pool": pool, "label_key": self.label_key, "labels": self.labels, "resize": self.resize}


class _PoolInMemory(dict):
    """Stands for a pool without a file among the parameters of a transform.

    They can be printed, and read back in the same process, as `A.ReplayCompose` does; written as text they cannot be.
    """

    def items(self):
        raise InvalidRequestError(
            "A pipeline is written as text with the path of its pool, and this pool has none. Save it, and give the transform "
            "the saved one: pool.save(path), pool=SyntheticPool.open(path)."
        )

    def __repr__(self):
        return repr(self["pool"])


class SyntheticReplace(_FromPool):
    """Replaces the image with probability `p` by a synthetic one of its class, drawn from a pool.

    Parameters
    ----------
    pool : SyntheticPool, str or path-like
        Of images; or the path of the file that one was saved to.
    label_key : str, default="label"
        The name under which the label is passed: an int, a string or a 0-d array.
    labels : list, optional
        Only images of these labels are replaced. None means all, and then a label that the pool lacks is an error.
        ``labels=pool.labels`` replaces what the pool has, and leaves the other classes alone.
    resize : bool, default=False
        Resize synthetic images to the size of those they replace. Without it another size is an error.
    p : float, default=0.5

    Raises
    ------
    InvalidParameterError, InvalidTypeError, UnknownLabelError
        At construction: a parameter is out of range, no pool of images, or not among the pool's labels.
    FileNotFoundError, ModelFileError
        At construction, from a path.
    InvalidDataError, UnknownLabelError
        In a call: no label or a soft one; boxes, masks or keypoints, which would not match the new image; another size, more
        channels than one but not those of the pool; float images that were normalised.
    InvalidRequestError
        In ``A.save``, or where what ``A.to_dict`` gives is written as JSON: the pool lies in no file.

    Notes
    -----
    Targets: image; uint8, float32 and other numbers. A pool of grey images serves RGB ones too. ``A.ReplayCompose.replay``
    puts in the synthetic image that was recorded, whatever the label it is called with.

    Examples
    --------
    >>> import numpy as np
    >>> import albumentations as A
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticPool
    >>> from augment_gen.pipelines.albumentations import SyntheticReplace
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> pool = SyntheticPool(gen, {8: 20, 9: 20})
    >>> train = A.Compose([SyntheticReplace(pool=pool, p=0.5), A.HorizontalFlip()], seed=0)
    >>> train(image=np.zeros((8, 8), np.uint8), label=8)["image"].shape
    (8, 8)
    """

    def __init__(self, pool, label_key="label", labels=None, resize=False, p=0.5):
        super().__init__(pool, label_key, labels, resize, p)

    def _weight(self, rng):
        return 0.0


class SyntheticMix(_FromPool):
    """Blends the image with probability `p` with a synthetic one of its class; the label stays as it is.

    The image becomes ``w * image + (1 - w) * synthetic``, with w from Beta(alpha, alpha): mixup within a class (Zhang et al.
    2018, "mixup: beyond empirical risk minimization", equation 1, where both labels are the same).

    Parameters
    ----------
    pool, label_key
        As for `SyntheticReplace`.
    alpha : float, default=1.0
        Above 0. 1 draws all weights alike, less than 1 mostly weights near 0 or 1, more than 1 mostly near a half.
    labels, resize, p
        As for `SyntheticReplace`, and so are the errors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from augment_gen import ConditionalVAE
    >>> from augment_gen.pipelines import SyntheticPool
    >>> from augment_gen.pipelines.albumentations import SyntheticMix
    >>> digits = load_digits()
    >>> gen = ConditionalVAE(max_steps=5, random_state=0, device="cpu").fit(digits.images.astype("uint8"), digits.target)
    >>> mix = SyntheticMix(pool=SyntheticPool(gen, {8: 20}), alpha=0.4, p=1.0)
    >>> mix(image=np.zeros((8, 8, 1), np.float32), label=8)["image"].dtype
    dtype('float32')
    """

    def __init__(self, pool, label_key="label", alpha=1.0, labels=None, resize=False, p=0.5):
        super().__init__(pool, label_key, labels, resize, p)
        self.alpha = picking.check_number(alpha, "alpha", 0, 1e6, open_low=True)

    def _weight(self, rng):
        return float(rng.beta(self.alpha, self.alpha))

    def get_transform_init_args(self):
        """The parameters, with the pool as the path of its file."""
        return {**super().get_transform_init_args(), "alpha": self.alpha}


def _as_pool(pool):
    if isinstance(pool, (SyntheticPool, _PoolInMemory)):
        return pool["pool"] if isinstance(pool, _PoolInMemory) else pool
    if not isinstance(pool, (str, PathLike)):
        raise InvalidTypeError(f"pool must be a SyntheticPool or the path of one; got {type(pool).__name__}.")
    return SyntheticPool.open(pool)
