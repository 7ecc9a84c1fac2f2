"""Pure steps that evaluate volumes: where their slices lie in latent space, and what is drawn.

Each step sees slices one by one. Between the two, `volume_latents.share` decides what the slices of
a volume share.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from prosona_jax import rng
from prosona_jax.evaluation import packed
from prosona_jax.evaluation.metrics import Overlaps, count_overlaps
from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import Prompter
from prosona_jax.types import Batch, Params


class Asked(NamedTuple):
    """The parameters of both stages and what is asked of the second, by method."""

    stage_one: Params
    stage_two: Params  # None without a second stage
    # P sets of a prompt for each style, f32 [p, k, e]; None for a method that reads no text.
    text: dict[str, Any]


class Located(NamedTuple):
    """Where slices lie in latent space."""

    prior: Gaussian  # p(z|x), [b, d] each
    queries: Mapping[str, Float[Array | np.ndarray, "b p k d"]]  # by method


class Placed(NamedTuple):
    """Slices with the prior and the queries that draw on them."""

    index: Any  # i32 [b], seeds the draws; slices of one volume may share it
    valid: Any  # f32 [b], as in Batch
    batch: Batch
    located: Located | None  # None: a network without a latent space


class Drawn(NamedTuple):
    """The pixels that masks share on each slice, with S samples, K styles and R raters."""

    samples: Overlaps  # of S masks f(x, z), z ~ the prior, and the raters' masks
    prior_mean: Overlaps  # of f(x, mu), repeated min(S, R) times, and the raters' masks
    s_ncc: Float[Array | np.ndarray, " b"] | None  # of samples of single images; of slices None
    styles: dict[str, Overlaps]  # by method, of the K masks of each set and the raters', [b, p, ..]
    # The masks of f(x, mu) and, if there is a second stage, of the K styles; eight pixels a byte.
    packed: UInt8[Array | np.ndarray, "b m n"]


OWN = "prompts_mean"  # the method that draws each style by the mean query of its sentences


def make_locate_step(model: ProbUNet, prompter: Prompter | None) -> Callable[..., Located]:
    """Returns ``locate_step(asked, batch, root) -> Located``.

    The queries of `OWN` are the mean over its sets of prompts, so P is 1.
    """

    def locate_step(asked: Asked, batch: Batch, root: jax.Array) -> Located:
        del root  # nothing is drawn
        # A query that reads text does not look at the features, and then they are not computed.
        features = model.apply(asked.stage_one, batch.image, method="features").astype(jnp.float32)

        def query(prompts: jax.Array | None) -> jax.Array:  # [k, e]
            assert prompter is not None
            each = None
            if prompts is not None:
                each = jnp.broadcast_to(prompts[None], (len(features), *prompts.shape))
            return prompter.apply(asked.stage_two, each, features, False, method="query").query

        queries = {}
        for name, text in asked.text.items():
            found = query(None)[None] if text is None else jax.lax.map(query, text)
            found = jnp.mean(found, axis=0, keepdims=True) if name == OWN else found
            queries[name] = jnp.moveaxis(found, 0, 1)
        return Located(model.apply(asked.stage_one, batch.image, method="prior"), queries)

    return locate_step


def make_draw_step(model: ProbUNet, projector: Projector, samples: int) -> Callable[..., Drawn]:
    """Returns ``draw_step(stage_one, placed, root) -> Drawn`` with S = `samples`."""

    def draw_step(stage_one: Params, placed: Placed, root: jax.Array) -> Drawn:
        assert placed.located is not None
        batch, (prior, queries) = placed.batch, placed.located
        keys = rng.example_keys(root, "evaluate", 0, placed.index)
        features = model.apply(stage_one, batch.image, method="features").astype(jnp.float32)

        def probs(z: jax.Array) -> jax.Array:
            return jax.nn.sigmoid(model.apply(stage_one, features, z, method="decode"))

        def count(drawn: jax.Array) -> Overlaps:
            return count_overlaps(drawn, batch.masks, batch.rater_valid)

        def styled(query: jax.Array) -> tuple[Overlaps, jax.Array]:  # [b, k, d]
            drawn = probs(project(projector, prior, query, keys))
            return count(drawn), packed.pack(drawn)

        z = distributions.sample(prior, keys, samples)
        z = jnp.concatenate([prior.mu[:, None], z], axis=1)  # [b, 1 + s, d]
        drawn = probs(z)
        pairs = min(samples, batch.masks.shape[1])  # as in `sample_steps.make_eval_step`
        by_set = {
            name: jax.lax.map(styled, jnp.moveaxis(query, 1, 0)) for name, query in queries.items()
        }
        masks = [packed.pack(drawn[:, :1]), *([by_set[OWN][1][0]] if by_set else [])]
        return Drawn(
            samples=count(drawn[:, 1:]),
            prior_mean=count(jnp.repeat(drawn[:, :1], pairs, axis=1)),
            s_ncc=None,
            styles={
                name: jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), overlaps)
                for name, (overlaps, _) in by_set.items()
            },
            packed=jnp.concatenate(masks, axis=1),
        )

    return draw_step
