"""What stage one knows of images and their raters, for the stage that draws styles.

It is computed once per image: stage two and its evaluation read it instead of the image.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, UInt8

from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import Batch, Params


class Encoded(NamedTuple):
    """What stage one knows of a batch; r places of masks are the K styles."""

    features: Array  # f32 [b, h, w, f], U(x); f16 while it is kept
    prior: Gaussian  # p(z|x), [b, d] each
    latent: Float[Array, "b k d"]  # (mu_q(x, y_(k)) - mu_p) / sigma_p, the rater's latent offset
    visual: Float[Array, "b k v"]  # U(x) pooled under mask k, its rim and its outside, v = 3 f
    masks: UInt8[Array, "b k h w"]
    rater_valid: Bool[Array, "b k"]
    index: Any  # i32 [b], as in Batch
    valid: Any  # f32 [b], as in Batch


def encode_image(model: ProbUNet, params: Params, image: jax.Array) -> tuple[jax.Array, Gaussian]:
    """Returns U(x) f32 and p(z|x), all that a prompt needs of an image."""
    features = model.apply(params, image, method="features").astype(jnp.float32)
    return features, model.apply(params, image, method="prior")


def encode(model: ProbUNet, params: Params, batch: Batch, posterior_input: str) -> Encoded:
    """Returns what stage one knows of a batch.

    Args:
        model: the network.
        params: its parameters.
        batch: images and masks.
        posterior_input: "single" or "all", as in `posterior_masks`.
    """
    features, prior = encode_image(model, params, batch.image)
    latent = offsets(model, params, batch, prior, posterior_input=posterior_input)
    visual = pool(features, batch.masks)
    return Encoded(
        features,
        prior,
        latent,
        visual,
        batch.masks,
        batch.rater_valid,
        batch.index,
        batch.valid,
    )


def offsets(
    model: ProbUNet, params: Params, batch: Batch, prior: Gaussian, *, posterior_input: str
) -> Float[Array, "b k d"]:
    """Returns where the posterior puts each mask: (mu_q(x, y_k) - mu_p) / sigma_p."""

    def offset(rater: jax.Array) -> jax.Array:
        seen = posterior_masks(batch, jnp.full(len(batch.index), rater), posterior_input)
        posterior = model.apply(params, batch.image, *seen, method="posterior")
        return (posterior.mu - prior.mu) * jnp.exp(-prior.log_sigma)

    return jnp.moveaxis(jax.lax.map(offset, jnp.arange(batch.masks.shape[1])), 0, 1)


def posterior_masks(
    batch: Batch, rater: jax.Array, posterior_input: str
) -> tuple[UInt8[Array, "b m h w"], Bool[Array, "b m"]]:
    """Returns the masks that the posterior sees: the target's alone, or every rater's."""
    if posterior_input == "all":
        return batch.masks, batch.rater_valid
    return take(batch.masks, rater)[:, None], jnp.ones((len(rater), 1), bool)


def take(masks: jax.Array, rater: jax.Array) -> jax.Array:
    """Returns masks[i, rater_i] for every record i: [b, r, h, w], [b] -> [b, h, w]."""
    return jnp.take_along_axis(masks, rater[:, None, None, None], axis=1)[:, 0]


def pool(features: jax.Array, masks: jax.Array) -> jax.Array:
    """Returns the mean of U(x) under each mask, under its rim and outside, [b, k, 3 f].

    The rim is what one pixel of growth adds and one pixel of shrinking takes away. An empty region
    gives 0.
    """
    inside = masks.astype(jnp.float32)
    window: dict[str, Any] = {"window_shape": (3, 3), "padding": "SAME"}
    planes = inside.reshape(-1, *inside.shape[2:], 1)
    grown = nn.max_pool(planes, **window).reshape(inside.shape)
    shrunk = -nn.max_pool(-planes, **window).reshape(inside.shape)
    regions = jnp.stack([inside, grown - shrunk, 1.0 - grown], axis=2)  # [b, k, 3, h, w]
    total = jnp.einsum("bkrhw,bhwf->bkrf", regions, features)
    area = jnp.sum(regions, axis=(3, 4))[..., None]
    return (total / jnp.maximum(area, 1.0)).reshape(*masks.shape[:2], -1)
