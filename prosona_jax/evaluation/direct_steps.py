"""The pure step that evaluates a network that draws the raters' masks directly."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from prosona_jax import rng
from prosona_jax.evaluation import packed
from prosona_jax.evaluation.metrics import Overlaps, count_overlaps
from prosona_jax.evaluation.volume_steps import OWN, Drawn, Placed
from prosona_jax.models import distributions
from prosona_jax.models.direct import Heads, Pionono
from prosona_jax.types import Params


def make_draw_step(
    network: Heads | Pionono, raters: int, latent_dim: int, samples: int
) -> Callable[..., Drawn]:
    """Returns ``draw_step(params, placed, root) -> Drawn``; `placed.located` is not looked at.

    The style of rater r is the network's mask r, or its only mask. `prior_mean` are these R masks,
    and so are the samples of a network that draws none.
    """

    def draw_step(params: Params, placed: Placed, root: jax.Array) -> Drawn:
        batch = placed.batch

        def count(logits: jax.Array) -> Overlaps:
            return count_overlaps(jax.nn.sigmoid(logits), batch.masks, batch.rater_valid)

        logits = network.apply(params, batch.image, None)
        logits = jnp.broadcast_to(logits, (len(logits), raters, *logits.shape[2:]))
        own = drawn = count(logits)
        if isinstance(network, Pionono):
            keys = rng.example_keys(root, "evaluate", 0, placed.index)
            noise = distributions.draws(keys, samples, latent_dim)
            drawn = count(network.apply(params, batch.image, noise, method="sample"))
        probs = jax.nn.sigmoid(logits)
        return Drawn(
            samples=drawn,
            prior_mean=own,
            styles={OWN: jax.tree.map(lambda x: x[:, None], own)},
            packed=packed.pack(jnp.concatenate([probs[:, :1], probs], axis=1)),
        )

    return draw_step
