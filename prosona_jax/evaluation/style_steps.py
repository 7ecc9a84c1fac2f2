"""What a trained second stage draws: a mask for every prompt, and the way from style to style."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from prosona_jax import rng
from prosona_jax.evaluation.metrics import Overlaps, count_overlaps
from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.encoding import Encoded
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import LEVELS, Prompter, unit_length
from prosona_jax.types import Params


class Personalised(NamedTuple):
    """What evaluation needs of one batch; P sets of prompts, one prompt per style each."""

    overlaps: Overlaps  # of the K masks of each set and the raters', [b, p, ...]
    probs: Float[Array, "b p k h w"] | None  # None unless they are to be drawn
    # Of each level: 1 where text k finds its own rater's place, and where that place finds it.
    text_to_visual: Float[Array, "b p l k"]
    visual_to_text: Float[Array, "b p l k"]


class Prompted(NamedTuple):
    """The parameters of both stages and the prompts that they are asked."""

    stage_one: Params
    stage_two: Params
    # P sets of a prompt for each style; None where no text is read.
    text: Float[Array | np.ndarray, "p k e"] | None


class Walk(NamedTuple):
    """What lies between the first style of an order and its last, through all others; T points."""

    probs: Float[Array, "b t h w"]
    path: Float[Array, "b t d"]  # latents are given as (z - mu_p) / sigma_p throughout
    styles: Float[Array, "b k d"]  # in that order, as the raters are
    raters: Float[Array, "b k d"]  # NaN where one is missing
    samples: Float[Array, "b s d"]  # of the prior


def make_eval_step(
    model: ProbUNet, prompter: Prompter, projector: Projector, *, together: bool, drawn: bool
) -> Callable[..., Personalised]:
    """Returns ``eval_step(prompted, encoded, root) -> Personalised``.

    Each set of prompts draws masks of its own, or all sets draw ``together``: then a style's query
    is the mean over the sets, its projected text their mean direction, and P of the result is 1.
    Without text, P is 1. The overlaps are counted here, since the probabilities of hundreds of
    sentences are gigabytes; ``drawn`` returns the probabilities too.
    """

    def eval_step(prompted: Prompted, encoded: Encoded, root: jax.Array) -> Personalised:
        keys = rng.example_keys(root, "evaluate", 0, encoded.index)

        def draw(query: jax.Array) -> tuple[Overlaps, jax.Array | None]:  # [b, k, d]
            z = project(projector, encoded.prior, query, keys)
            probs = _probs(model, prompted.stage_one, encoded.features, z)
            overlaps = count_overlaps(probs, encoded.masks, encoded.rater_valid)
            return overlaps, probs if drawn else None

        queries, aligned = _ask(prompter, prompted, encoded)
        if together:
            queries, *vectors = (
                jnp.mean(x, axis=0, keepdims=True) for x in (queries, *aligned.values())
            )
            aligned = dict(zip(aligned, map(unit_length, vectors), strict=True))
        found = jax.vmap(lambda one: _retrieve(one, encoded), axis_size=len(queries))(aligned)
        by_set = (*jax.lax.map(draw, queries), *found)
        return Personalised(*jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), by_set))

    return eval_step


def make_query_step(prompter: Prompter) -> Callable[..., Float[Array, "b s d"]]:
    """Returns ``query_step(params, text, features) -> query``.

    ``text`` f32 [s, e] holds any number of prompts, ``features`` f32 [b, h, w, f] is U(x). Where no
    text is read, ``text`` is None and the queries are those of the K styles.
    """

    def query_step(params: Params, text: jax.Array | None, features: jax.Array) -> jax.Array:
        each = None if text is None else jnp.broadcast_to(text[None], (len(features), *text.shape))
        return prompter.apply(params, each, features, False, method="query").query

    return query_step


def make_draw_step(model: ProbUNet, projector: Projector) -> Callable[..., Float[Array, "b s h w"]]:
    """Returns ``draw_step(stage_one_params, (features, prior), query, root) -> probs``.

    The first two are what `encode_image` returns, ``query`` f32 [b, s, d] are any number of
    queries. What it draws is what `make_eval_step` draws; no mask is needed. Record i of the batch
    has the bank's codes of record i of a data set.
    """

    def draw_step(
        stage_one_params: Params,
        encoded: tuple[jax.Array, Gaussian],
        query: jax.Array,
        root: jax.Array,
    ) -> jax.Array:
        features, prior = encoded
        keys = rng.example_keys(root, "evaluate", 0, jnp.arange(len(features)))
        z = project(projector, prior, query, keys)
        return _probs(model, stage_one_params, features, z)

    return draw_step


def make_project_step(projector: Projector) -> Callable[..., Float[Array, "b s d"]]:
    """Returns ``project_step(prior, query, root) -> latent``, as (z - mu) / sigma.

    The latents are those that `make_draw_step` decodes.
    """

    def project_step(prior: Gaussian, query: jax.Array, root: jax.Array) -> jax.Array:
        keys = rng.example_keys(root, "evaluate", 0, jnp.arange(len(query)))
        return distributions.whiten(prior, project(projector, prior, query, keys))

    return project_step


def make_walk_step(
    model: ProbUNet,
    prompter: Prompter,
    projector: Projector,
    *,
    order: Sequence[int],
    points: int,
    samples: int,
) -> Callable[..., Walk]:
    """Returns ``walk_step(prompted, encoded, root) -> Walk``.

    A style's query is the mean over its prompts. The path goes
    in straight lines from query to query, through the styles in that `order`, in as many equal
    steps from one style to the next as `points` allow.
    """
    on_the_way = np.array(order)

    def walk_step(prompted: Prompted, encoded: Encoded, root: jax.Array) -> Walk:
        prior, keys = encoded.prior, rng.example_keys(root, "evaluate", 0, encoded.index)
        queries = jnp.mean(_ask(prompter, prompted, encoded)[0], axis=0)[:, on_the_way]
        place = jnp.linspace(0.0, queries.shape[1] - 1.0, points)  # [t]
        before = jnp.minimum(jnp.floor(place).astype(jnp.int32), queries.shape[1] - 2)
        share = (place - before)[None, :, None]
        along = (1.0 - share) * queries[:, before] + share * queries[:, before + 1]
        z, at_styles = (project(projector, prior, q, keys) for q in (along, queries))
        whiten = functools.partial(distributions.whiten, prior)
        # With keys of their own: the bank's codes are drawn with those above.
        others = rng.example_keys(root, "evaluate", 1, encoded.index)
        drawn = distributions.sample(prior, others, samples)
        probs = _probs(model, prompted.stage_one, encoded.features, z)
        # The mask that stands for a missing rater is nobody's opinion.
        raters = jnp.where(encoded.rater_valid[:, :, None], encoded.latent, jnp.nan)[:, on_the_way]
        return Walk(probs, whiten(z), whiten(at_styles), raters, whiten(drawn))

    return walk_step


def _ask(
    prompter: Prompter, prompted: Prompted, encoded: Encoded
) -> tuple[jax.Array, dict[str, Any]]:
    """Returns queries [p, b, k, d] and aligned vectors [p, b, k, q] of P sets of prompts."""

    def ask(prompts: jax.Array | None) -> tuple[jax.Array, dict[str, Any]]:  # [b, k, e]
        query, aligned = prompter.apply(prompted.stage_two, prompts, encoded)
        vectors = {name: x for name, x in aligned.items() if name != "log_temperature"}
        return query.query, vectors

    if prompted.text is None:
        return jax.tree.map(lambda x: x[None], ask(None))
    b = len(encoded.index)
    return jax.lax.map(lambda one: ask(jnp.broadcast_to(one, (b, *one.shape))), prompted.text)


def _probs(model: ProbUNet, params: Params, features: jax.Array, z: jax.Array) -> jax.Array:
    """Returns the probabilities of f(x, z), [b, s, h, w]."""
    return jax.nn.sigmoid(model.apply(params, features, z, method="decode"))


def _retrieve(aligned: dict[str, Any], encoded: Encoded) -> tuple[jax.Array, jax.Array]:
    """Returns which texts find their rater, and which raters their text, [b, levels, k] each.

    Within one image: K texts against the K raters' places, chance 1/K. NaN where a place is
    missing, and everywhere for a query that reads no text.
    """
    b, k = encoded.rater_valid.shape
    if not aligned:
        nothing = jnp.full((b, len(LEVELS), k), jnp.nan)
        return nothing, nothing
    here = encoded.rater_valid
    to_visual, to_text = [], []
    for level in LEVELS:
        likeness = jnp.einsum("btq,bvq->btv", aligned[f"text_{level}"], aligned[level])
        among = jnp.where(here[:, None, :], likeness, -jnp.inf)
        to_visual.append(jnp.argmax(among, axis=2) == jnp.arange(k)[None])
        to_text.append(jnp.argmax(likeness, axis=1) == jnp.arange(k)[None])
    known = here[:, None, :]
    return tuple(  # type: ignore[return-value]
        jnp.where(known, jnp.stack(hits, axis=1).astype(jnp.float32), jnp.nan)
        for hits in (to_visual, to_text)
    )
