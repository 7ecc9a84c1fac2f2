"""The loss of networks that draw the raters' masks directly, see models/direct.py.

    L = mean_r L_seg(y_r, mask of rater r) + beta mean_r KL_r

A network that draws one mask for all raters learns their majority vote: a pixel is object if at
least half of the raters drew it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from prosona_jax import rng
from prosona_jax.models import distributions
from prosona_jax.models.direct import Heads, Pionono
from prosona_jax.training import augment, losses
from prosona_jax.training.step import LossTerms, Metrics
from prosona_jax.types import Batch, Params


def majority(
    masks: Float[Array, "b r h w"], rater_valid: Bool[Array, "b r"]
) -> Float[Array, "b h w"]:
    """Returns where at least half of the raters who read the image drew."""
    share = rater_valid / jnp.sum(rater_valid, axis=1, keepdims=True)
    return (jnp.einsum("brhw,br->bhw", masks, share) >= 0.5 - 1e-6).astype(jnp.float32)


def make_loss_terms(
    network: Heads | Pionono, latent_dim: int, augmentation: augment.Augmentation
) -> LossTerms:
    """Returns ``loss_terms(params, batch, root, step, axis_name)`` -> {term: [b]}."""

    def loss_terms(
        params: Params, batch: Batch, root: jax.Array, step: jax.Array, axis_name: str | None
    ) -> Metrics:
        del axis_name  # no term depends on other records
        keys = lambda stream: rng.example_keys(root, stream, step, batch.index)  # noqa: E731
        image, masks = augment.augment(keys("augment"), batch.image, batch.masks, augmentation)
        noise = distributions.draws(keys("posterior"), network.masks, latent_dim)
        logits = network.apply(params, image, noise)
        target, valid = masks.astype(jnp.float32), batch.rater_valid
        if network.masks != masks.shape[1]:
            target, valid = majority(target, valid)[:, None], jnp.ones((len(image), 1), bool)
        share = valid / jnp.sum(valid, axis=1, keepdims=True)

        def over_masks(loss: Callable[..., jax.Array]) -> jax.Array:
            return jnp.sum(share * jax.vmap(loss, in_axes=1, out_axes=1)(logits, target), axis=1)

        divergence = jnp.mean(network.apply(params, method="divergence"))
        return {
            "dice": over_masks(losses.soft_dice),
            "cross_entropy": over_masks(losses.cross_entropy),
            "kl": jnp.broadcast_to(divergence, len(image)),
        }

    return loss_terms
