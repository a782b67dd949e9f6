"""Synthetic samples of the classes that are too rare to learn: conditional generators with scikit-learn's manners."""

from augment_gen.generators import ConditionalGAN, ConditionalVAE
from augment_gen.generators.keeping import load

__version__ = "0.1.0"

__all__ = ["ConditionalGAN", "ConditionalVAE", "__version__", "load"]
