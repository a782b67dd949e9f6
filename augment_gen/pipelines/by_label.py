"""What the v2 transforms share: where in a batch or sample the images and labels are, and which images are changed.

Enters: what a v2 transform is called with. Leaves: the same structure, in which the image leaf alone is another.
"""

from collections.abc import Mapping

import PIL.Image
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten  # what all v2 transforms walk through a sample with

from augment_gen.errors import InvalidDataError, InvalidParameterError, InvalidTypeError, MissingExtraError
from augment_gen.pipelines import picking

try:
    from torchvision import tv_tensors
    from torchvision.transforms import v2
except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
    raise MissingExtraError(
        f'augment_gen.pipelines.torchvision needs torchvision: pip install "augment-gen[torchvision]", which chooses torch '
        f"and torchvision together. ({error})"
    ) from error

PIL_MODES = ("L", "LA", "RGB", "RGBA")
TIED_TO_THE_IMAGE = tuple(
    getattr(tv_tensors, name) for name in ("BoundingBoxes", "Mask", "KeyPoints", "Video") if hasattr(tv_tensors, name)
)


class ByLabel(v2.Transform):
    """Finds images and labels in a batch or a sample, and changes each image with probability `p`; subclasses say how."""

    _holder = "the pool"

    def __init__(self, known, p, labels, labels_getter, resize):
        super().__init__()
        self.p = picking.check_number(p, "p", 0, 1)
        self.labels = picking.check_labels(labels, known, self._holder)
        self.resize = bool(resize)
        if labels_getter is not None and labels_getter != "default" and not callable(labels_getter):
            raise InvalidParameterError(
                f"labels_getter must be 'default', a function of the sample, or None; got {labels_getter!r}."
            )
        if labels_getter is None and len(self.labels or known) != 1:
            raise InvalidParameterError(
                f"labels_getter=None says that samples carry no labels, because all images are of one class; but there are "
                f"{len(self.labels or known)}. Pass labels=[...] with the one class, or a labels_getter."
            )
        self.labels_getter, self._known = labels_getter, known

    def forward(self, *inputs):
        """A batch or a sample, in which some of the images are changed."""
        sample = inputs if len(inputs) > 1 else inputs[0]
        leaves, spec = tree_flatten(sample)
        place = self._place_of_image(leaves)
        image = leaves[place]
        labels = self._labels_of(sample, image)
        may = picking.wanted(labels, self.labels, self._known, self._holder)
        drawn = (torch.rand(len(labels)) < self.p).tolist()
        rows = [row for row in range(len(labels)) if may[row] and drawn[row]]
        if rows:
            images = _as_batch(image)
            changed = self._changed(picking.take(images, rows), [labels[row] for row in rows])
            leaves[place] = _restored(picking.with_rows(images, rows, changed), image)
        return tree_unflatten(leaves, spec)

    def _changed(self, images, labels):
        """Other images (n, C, H, W) of the dtype and device of `images`, and of the n `labels`."""
        raise NotImplementedError

    def _place_of_image(self, leaves):
        name = type(self).__name__
        tied = next((type(leaf).__name__ for leaf in leaves if isinstance(leaf, TIED_TO_THE_IMAGE)), None)
        if tied is not None:
            raise InvalidDataError(f"{name} does not take {tied}: it would not match the changed image.")
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, (tv_tensors.Image, PIL.Image.Image))]
        if len(places) > 1:
            raise InvalidDataError(f"{name} got {len(places)} images, and cannot tell which the labels are of. Stack them.")
        if not places:  # as in v2: the first plain tensor is the image; a tensor of labels has fewer axes
            places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor) and leaf.ndim > 2]
        if not places or getattr(leaves[places[0]], "ndim", 3) not in (3, 4):
            raise InvalidDataError(
                f"{name} found no image among {_described(leaves)}: it takes tensors (N, C, H, W) or (C, H, W), "
                "tv_tensors.Image or a PIL image. Put v2.ToImage() before it for numpy arrays."
            )
        return places[0]

    def _labels_of(self, sample, image):
        n_images = image.shape[0] if isinstance(image, torch.Tensor) and image.ndim == 4 else 1
        if self.labels_getter is None:
            return list(self.labels or self._known) * n_images
        found = _find_labels(sample, type(self).__name__) if self.labels_getter == "default" else self.labels_getter(sample)
        labels = picking.plain_labels(found)
        if len(labels) != n_images:
            shape = tuple(image.shape) if isinstance(image, torch.Tensor) else "PIL"
            raise InvalidDataError(
                f"{type(self).__name__} got {len(labels)} labels for {n_images} image(s), read from shape {shape}. A batch is "
                "(N, C, H, W), a sample (C, H, W); give grey images their channel by unsqueeze(-3)."
            )
        return labels

    def extra_repr(self):
        """The parameters."""
        names = ("alpha", "strength", "p", "labels", "resize")
        shown = [f"{name}={getattr(self, name)!r}" for name in names if hasattr(self, name)]
        getter = [] if self.labels_getter == "default" else [f"labels_getter={self.labels_getter!r}"]
        return ", ".join([self._source(), *shown, *getter])


def _find_labels(sample, name):
    """Labels where a batch or sample usually has them; see `SyntheticReplace`."""
    inside = sample[1] if isinstance(sample, (list, tuple)) and len(sample) > 1 else sample
    if isinstance(inside, Mapping):
        names = [key for key in inside if isinstance(key, str)]
        key = next((key for key in names if key.lower() == "labels"), None)
        key = next((key for key in names if "label" in key.lower()), None) if key is None else key
        if key is not None:
            return inside[key]
        raise InvalidDataError(
            f"{name} found no labels in a dict with the keys {', '.join(map(repr, inside))}: none has 'label' in its name. Say "
            "which it is: labels_getter=operator.itemgetter('the key')."
        )
    if inside is sample:
        raise InvalidDataError(
            f"{name} got {_described([sample])} without labels. Call it with images and labels, after the DataLoader or in "
            "collate_fn (a dataset's transform= sees the image alone); or say where they are: labels_getter=a function "
            "of the sample."
        )
    return inside


def _described(leaves):
    shown = [
        f"{type(leaf).__name__} of shape {tuple(leaf.shape)}" if hasattr(leaf, "shape") else type(leaf).__name__
        for leaf in leaves[:5]
    ]
    return ", ".join(shown) or "nothing"


def _as_batch(image):
    """A plain tensor (n, C, H, W) of a tensor, tv_tensor or PIL image."""
    if isinstance(image, PIL.Image.Image):
        if image.mode not in PIL_MODES:
            raise InvalidTypeError(f'A PIL image of mode {image.mode!r} cannot be changed. Convert it first: convert("RGB").')
        return v2.functional.pil_to_tensor(image)[None]
    plain = image.as_subclass(torch.Tensor)
    return plain if plain.ndim == 4 else plain[None]


def _restored(images, like):
    """The batch as what it was made from."""
    if isinstance(like, PIL.Image.Image):
        return v2.functional.to_pil_image(images[0], mode=like.mode)
    images = images if like.ndim == 4 else images[0]
    return tv_tensors.wrap(images, like=like) if isinstance(like, tv_tensors.TVTensor) else images
