"""Synthetic samples of the classes that are too rare to learn: conditional generators with scikit-learn's manners."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "AugmentedClassifier",
    "AugmentedClassifierCV",
    "ConditionalGAN",
    "ConditionalVAE",
    "ElasticWarp",
    "WarpVAE",
    "__version__",
    "load",
]

if TYPE_CHECKING:
    from augment_gen.generators import ConditionalGAN, ConditionalVAE, ElasticWarp, WarpVAE
    from augment_gen.generators.keeping import load
    from augment_gen.pipelines.sklearn import AugmentedClassifier
    from augment_gen.pipelines.sklearn_cv import AugmentedClassifierCV

# where public names live; read at first use, so that `augment-gen --help` and `import augment_gen` need no torch
_HOMES = {
    "AugmentedClassifier": "pipelines.sklearn",
    "AugmentedClassifierCV": "pipelines.sklearn_cv",
    "ConditionalGAN": "generators",
    "ConditionalVAE": "generators",
    "ElasticWarp": "generators",
    "WarpVAE": "generators",
    "load": "generators.keeping",
}
_ROOMS = {"errors", "evaluation", "pipelines", "report", "sampling"}


def __getattr__(name):
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__, *_ROOMS})
