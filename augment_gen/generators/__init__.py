"""The generators: one file each, on one contract."""

from augment_gen.generators.gan import ConditionalGAN
from augment_gen.generators.vae import ConditionalVAE

GENERATORS = {generator.__name__: generator for generator in (ConditionalVAE, ConditionalGAN)}

__all__ = ["GENERATORS", "ConditionalGAN", "ConditionalVAE"]
