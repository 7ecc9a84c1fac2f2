"""The pure step that evaluates a network that draws the raters' masks directly."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from prosona_jax import rng
from prosona_jax.evaluation import packed
from prosona_jax.evaluation.metrics import count_overlaps
from prosona_jax.evaluation.uncertainty import s_ncc
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

        logits = network.apply(params, batch.image, None)
        logits = jnp.broadcast_to(logits, (len(logits), raters, *logits.shape[2:]))
        own = sampled = jax.nn.sigmoid(logits)
        if isinstance(network, Pionono):
            keys = rng.example_keys(root, "evaluate", 0, placed.index)
            noise = distributions.draws(keys, samples, latent_dim)
            sampled = jax.nn.sigmoid(network.apply(params, batch.image, noise, method="sample"))
        seen = batch.masks, batch.rater_valid
        of_raters = count_overlaps(own, *seen)
        return Drawn(
            samples=count_overlaps(sampled, *seen),
            prior_mean=of_raters,
            s_ncc=s_ncc(sampled, *seen),
            styles={OWN: jax.tree.map(lambda x: x[:, None], of_raters)},
            packed=packed.pack(jnp.concatenate([own[:, :1], own], axis=1)),
        )

    return draw_step
