"""Image features: what distances between images are taken on.

Enters: float32 or uint8 images (n, C, H, W). Leaves: float32 features (n, d), and class probabilities. Nothing is downloaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from augment_gen.errors import InvalidParameterError
from augment_gen.evaluation.image_classifier import ImageClassifier
from augment_gen.networks.initialise import build
from augment_gen.seeding import torch_generator

N_STEPS = 400  # of every classifier
FEATURE_WIDTH = 16  # of the one that features come from: few features, so that a Frechet distance can be taken of few images
PIECE = 256  # images that go through a network at a time
NAMES = ("classifier", "random", "inception", "dinov2")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTS = {"inception": "inception_v3_google-*.pth", "dinov2": "dinov2_vits14_pretrain.pth"}
DINOV2_CODE = "facebookresearch_dinov2_main"  # folder of the code within torch's hub folder


@dataclass(frozen=True)
class Extractor:
    """Features, and the training rows on which they are fair.

    Attributes
    ----------
    name : str
    extract : callable
        Images (n, C, H, W), as the codec gives them, to float32 ndarray (n, d).
    unseen : int64 array
        Positions of the training rows that it was not trained on.
    """

    name: str
    extract: Callable
    unseen: np.ndarray


def make_extractors(features, images, class_index, device, rng, step):
    """One `Extractor`, or two that were each trained on one half of the images and are fair on the other.

    Parameters
    ----------
    features : str, callable or nn.Module
        See `evaluate`.
    images : tensor (n, C, H, W)
        The training images.
    class_index : int64 array (n,)
    device : torch.device
    rng : numpy.random.Generator
    step : callable (str)

    Raises
    ------
    InvalidParameterError
        There is no such name, or its weights are not on this machine.
    """
    everything = np.arange(len(images))
    if features == "classifier":
        half = _halves(class_index, rng)
        extractors = []
        for side in (0, 1):
            step(f"features {side + 1} of 2")
            seen = np.flatnonzero(half == side)
            network = train_classifier(images[seen], class_index[seen], device, rng, FEATURE_WIDTH).network_.eval()
            extractors.append(Extractor("classifier", _with_function(network.features, device), np.flatnonzero(half != side)))
        return extractors
    if isinstance(features, str):
        if features not in NAMES:
            raise InvalidParameterError(
                f"features must be one of {', '.join(NAMES)}, a callable or a module; got {features!r}."
            )
        if features == "random":
            network = build(RandomNet, {"n_channels": images.shape[1]}, torch_generator(0))
        else:
            network = _inception() if features == "inception" else _dinov2()
        return [Extractor(features, _with_module(network, device), everything)]
    name = getattr(features, "__name__", type(features).__name__)
    extract = (
        _with_module(features, device) if isinstance(features, nn.Module) else _with_function(features, torch.device("cpu"))
    )
    return [Extractor(name, extract, everything)]


def _halves(class_index, rng):
    """0 or 1 for every row; each class is divided evenly."""
    half = np.empty(len(class_index), dtype=np.int64)
    for k in np.unique(class_index):
        rows = rng.permutation(np.flatnonzero(class_index == k))
        half[rows] = np.arange(len(rows)) % 2
    return half


# --------------------------------------------------------------- classifier
def train_classifier(images, class_index, device, rng, width=24):
    """An `ImageClassifier` of `images` (n, C, H, W), whose classes count alike, mildly turned and moved."""
    classifier = ImageClassifier(
        max_steps=N_STEPS, width=width, augment="classic", class_weight="balanced", device=device, random_state=rng
    )
    return classifier.fit(images, class_index)


def class_probabilities(classifier, images, n_classes):
    """float64 (n, n_classes) by a `train_classifier`; 0 for classes that it was not shown."""
    out = np.zeros((len(images), n_classes))
    out[:, classifier.classes_] = classifier.predict_proba(images)
    return out


def _unit(images, device):
    """float32 from 0 to 1 on `device`."""
    images = images.to(device)
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


# --------------------------------------------------------------- fixed networks
class RandomNet(nn.Module):
    """Convolutions with random weights, the same in every run: 64 mean activations, from fine and coarse resolutions."""

    def __init__(self, n_channels):
        super().__init__()
        self.first = nn.Conv2d(n_channels, 16, 3, 1, 1)
        self.second = nn.Conv2d(16, 16, 3, 1, 1)
        self.third = nn.Conv2d(16, 32, 3, 1, 1)

    def after_initialise(self):
        for layer in (self.first, self.second, self.third):
            layer.weight.mul_(6**0.5)  # from gain 1/sqrt(3) to He's sqrt(2), which keeps activations from fading
            layer.bias.zero_()

    def forward(self, images):
        one = F.relu(self.first(2 * images - 1))
        two = F.relu(self.second(F.max_pool2d(one, 2)))
        three = F.relu(self.third(F.max_pool2d(two, 2)))
        return torch.cat([part.mean((2, 3)) for part in (one, two, three)], dim=1)


class Pretrained(nn.Module):
    """Images from 0 to 1 as a network trained on ImageNet expects them: three channels, its size, its mean and range."""

    def __init__(self, network, side):
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])

    def forward(self, images):
        images = images[:, :1].expand(-1, 3, -1, -1) if images.shape[1] < 3 else images[:, :3]
        images = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        return self.network((images - self.mean) / self.std)


def _inception():
    """torchvision's Inception v3 up to its 2,048 pooled features. (Published FIDs use other weights of that network.)"""
    weights = _weights("inception")
    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        raise InvalidParameterError(
            'features="inception" needs torchvision: pip install "augment-gen[torchvision]".'
        ) from error
    network = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=False)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.fc = nn.Identity()
    return Pretrained(network, 299)


def _dinov2():
    """DINOv2 ViT-S/14, 384 features, from its code and weights in torch's hub folder."""
    weights, code = _weights("dinov2"), Path(torch.hub.get_dir()) / DINOV2_CODE
    if not code.is_dir():
        raise InvalidParameterError(
            f'features="dinov2" needs its code in {code}, which is not there. Put a copy of facebookresearch/dinov2 there, or '
            'use features="classifier".'
        )
    network = torch.hub.load(str(code), "dinov2_vits14", source="local", pretrained=False)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return Pretrained(network, 224)


def _weights(name):
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    found = sorted(folder.glob(WEIGHTS[name]))
    if not found:
        raise InvalidParameterError(
            f"features={name!r} needs the weights {WEIGHTS[name]} in {folder}, which are not there; nothing is downloaded. "
            'Put them there, or use features="classifier" or "random", or give your own callable.'
        )
    return found[-1]


# --------------------------------------------------------------- what the user gives
def _with_module(module, device):
    def extract(images):
        home = next(module.parameters(), torch.empty(0)).device
        was_training = module.training
        module.to(device).eval()
        try:
            return _with_function(module, device)(images)
        finally:
            module.to(home).train(was_training)

    return extract


def _with_function(function, device):
    def extract(images):
        with torch.no_grad():
            return _joined([(len(part), function(_unit(part, device))) for part in images.split(PIECE)])

    return extract


def _joined(parts):
    """float32 (n, d) from pairs of a number of images and their features."""
    arrays = []
    for n, features in parts:
        array = (
            features.detach().cpu().float().numpy() if isinstance(features, torch.Tensor) else np.asarray(features, np.float32)
        )
        if array.ndim != 2 or len(array) != n or not np.isfinite(array).all():
            raise InvalidParameterError(
                f"features must map n images to a finite array (n, d); of {n} images it made one of shape {array.shape}."
            )
        if arrays and array.shape[1] != arrays[0].shape[1]:
            raise InvalidParameterError(
                f"features must give every image as many features; it gave {arrays[0].shape[1]} and then {array.shape[1]}."
            )
        arrays.append(array)
    return np.concatenate(arrays)
