"""The outputs of stage one for images and their masks, as stage two reads them.

They are computed once per image. Stage two and its evaluation read them instead of the image.
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
    """The outputs of stage one for a batch; style k is mask k of a record."""

    features: Array  # f32 [b, h, w, f], U(x); f16 in the feature cache
    prior: Gaussian  # p(z|x), [b, d] each
    latent: Float[Array, "b k d"]  # (mu_q(x, y_(k)) - mu_p) / sigma_p, the rater's latent offset
    visual: Float[Array, "b k v"]  # mean U(x) in mask k, on its rim and outside it, v = 3 f
    masks: UInt8[Array, "b k h w"]
    rater_valid: Bool[Array, "b k"]
    index: Any  # i32 [b], as in Batch
    valid: Any  # f32 [b], as in Batch


def encode_image(model: ProbUNet, params: Params, image: jax.Array) -> tuple[jax.Array, Gaussian]:
    """Returns U(x) f32 and p(z|x), which are all that is needed to draw on an image."""
    features = model.apply(params, image, method="features").astype(jnp.float32)
    return features, model.apply(params, image, method="prior")


def encode(model: ProbUNet, params: Params, batch: Batch, posterior_input: str) -> Encoded:
    """Returns the outputs of stage one for a batch.

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
    """Returns the whitened posterior mean of each mask: (mu_q(x, y_k) - mu_p) / sigma_p."""

    def offset(rater: jax.Array) -> jax.Array:
        seen = posterior_masks(batch, jnp.full(len(batch.index), rater), posterior_input)
        posterior = model.apply(params, batch.image, *seen, method="posterior")
        return (posterior.mu - prior.mu) * jnp.exp(-prior.log_sigma)

    return jnp.moveaxis(jax.lax.map(offset, jnp.arange(batch.masks.shape[1])), 0, 1)


def posterior_masks(
    batch: Batch, rater: jax.Array, posterior_input: str
) -> tuple[UInt8[Array, "b m h w"], Bool[Array, "b m"]]:
    """Returns the posterior's input masks: the target mask alone, or the masks of all raters."""
    if posterior_input == "all":
        return batch.masks, batch.rater_valid
    return take(batch.masks, rater)[:, None], jnp.ones((len(rater), 1), bool)


def take(masks: jax.Array, rater: jax.Array) -> jax.Array:
    """Returns masks[i, rater_i] for every record i: [b, r, h, w], [b] -> [b, h, w]."""
    return jnp.take_along_axis(masks, rater[:, None, None, None], axis=1)[:, 0]


def pool(features: jax.Array, masks: jax.Array) -> jax.Array:
    """Returns the mean of U(x) inside each mask, on its rim and outside it, [b, k, 3 f].

    The rim is the set of pixels that a dilation by one pixel adds or an erosion by one pixel
    removes. The mean over an empty region is 0.
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
