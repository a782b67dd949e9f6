"""The generators: one file each, on one contract."""

from augment_gen.generators.vae import ConditionalVAE

GENERATORS = {generator.__name__: generator for generator in (ConditionalVAE,)}

__all__ = ["GENERATORS", "ConditionalVAE"]
