"""The generators: one file each, on one contract."""

from augment_gen.generators.gan import ConditionalGAN
from augment_gen.generators.vae import ConditionalVAE
from augment_gen.generators.warp import ElasticWarp, WarpVAE

GENERATORS = {generator.__name__: generator for generator in (ConditionalVAE, ConditionalGAN, WarpVAE, ElasticWarp)}
IMAGES_ONLY = ("WarpVAE", "ElasticWarp")

__all__ = ["GENERATORS", "IMAGES_ONLY", "ConditionalGAN", "ConditionalVAE", "ElasticWarp", "WarpVAE"]
