"""The smallest model with every part, for images of 8x8 pixels."""

import functools

import jax

from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.training import augment, stage_one
from prosona_jax.types import Params

D = 3  # latent dimensions
IMAGE_SHAPE = (8, 8, 1)
MODEL = ProbUNet(channels=(4, 8), convs_per_scale=1, norm="none", latent_dim=D, fcomb_layers=3)
AUGMENTATION = augment.Augmentation(True, 90.0, 0.1, 1.0, 0.1, 0.1)
ROOT = jax.random.key(0)


@functools.cache
def params(posterior_masks: int = 1) -> Params:
    return stage_one.initialise(
        MODEL, ROOT, image_shape=IMAGE_SHAPE, posterior_masks=posterior_masks
    )
