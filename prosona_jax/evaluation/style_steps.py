"""Pure steps of a trained second stage: a mask for every prompt, and a path between the styles."""

import functools
from collections.abc import Callable, Sequence
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
from prosona_jax.models.encoding import Encoded
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import LEVELS, Prompter, unit_length
from prosona_jax.types import Params


class Personalised(NamedTuple):
    """Result of one batch; there are P sets of prompts, each with one prompt per style."""

    overlaps: Overlaps  # of the K masks of each set and the raters' masks, [b, p, ...]
    probs: Float[Array, "b p k h w"] | None  # None if `drawn` is False
    packed: UInt8[Array | np.ndarray, "b p k n"] | None  # the masks; None unless `together`
    # For each level: 1 where text k retrieves its own rater, and where the rater retrieves text k.
    text_to_visual: Float[Array | np.ndarray, "b p l k"]
    visual_to_text: Float[Array | np.ndarray, "b p l k"]


class Prompted(NamedTuple):
    """The parameters of both stages and the prompts that they are asked."""

    stage_one: Params
    stage_two: Params
    # P sets of a prompt for each style; None where no text is read.
    text: Float[Array | np.ndarray, "p k e"] | None


class Walk(NamedTuple):
    """A path of T points through all styles in a given order, from the first to the last."""

    probs: Float[Array, "b t h w"]
    path: Float[Array, "b t d"]  # this and the other latents are given as (z - mu_p) / sigma_p
    styles: Float[Array, "b k d"]  # in the given order
    raters: Float[Array, "b k d"]  # in the same order; NaN where a rater is missing
    samples: Float[Array, "b s d"]  # samples of the prior


def make_eval_step(
    model: ProbUNet, prompter: Prompter, projector: Projector, *, together: bool, drawn: bool
) -> Callable[..., Personalised]:
    """Returns ``eval_step(prompted, encoded, root) -> Personalised``.

    Args:
        model: the network of stage one.
        prompter: computes the queries.
        projector: turns queries into latents.
        together: False: each set of prompts draws its own masks. True: a style's query is the mean
            over the sets, its projected text is their mean direction, and P of the result is 1.
            Without text, P is 1 too.
        drawn: whether to return the probabilities too. For hundreds of sentences they take
            gigabytes, and the scores of sentences need only the counts.
    """

    def eval_step(prompted: Prompted, encoded: Encoded, root: jax.Array) -> Personalised:
        keys = rng.example_keys(root, "evaluate", 0, encoded.index)

        def draw(query: jax.Array) -> tuple[Any, ...]:  # [b, k, d]
            z = project(projector, encoded.prior, query, keys)
            probs = _probs(model, prompted.stage_one, encoded.features, z)
            overlaps = count_overlaps(probs, encoded.masks, encoded.rater_valid)
            return overlaps, probs if drawn else None, packed.pack(probs) if together else None

        queries, aligned = _query(prompter, prompted, encoded)
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

    ``text`` f32 [s, e] holds any number of prompts, and ``features`` f32 [b, h, w, f] is U(x). For
    a method that reads no text, ``text`` is None, and the queries are those of the K styles.
    """

    def query_step(params: Params, text: jax.Array | None, features: jax.Array) -> jax.Array:
        each = None if text is None else jnp.broadcast_to(text[None], (len(features), *text.shape))
        return prompter.apply(params, each, features, False, method="query").query

    return query_step


def make_draw_step(model: ProbUNet, projector: Projector) -> Callable[..., Float[Array, "b s h w"]]:
    """Returns ``draw_step(stage_one_params, (features, prior), query, root) -> probs``.

    ``(features, prior)`` is the result of `encode_image`, and ``query`` f32 [b, s, d] holds any
    number of queries. The step draws the same masks as that of `make_eval_step`, but needs no
    raters' masks. Record i of the batch has the same bank of codes as record i of a data set.
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

    A style's query is the mean over its prompts.

    Args:
        model: the network of stage one.
        prompter: computes the queries.
        projector: turns queries into latents.
        order: the order in which the path passes the styles, in straight lines between queries.
        points: T, the number of equally spaced points of the path.
        samples: the number of samples of the prior.
    """
    style_order = np.array(order)

    def walk_step(prompted: Prompted, encoded: Encoded, root: jax.Array) -> Walk:
        prior, keys = encoded.prior, rng.example_keys(root, "evaluate", 0, encoded.index)
        queries = jnp.mean(_query(prompter, prompted, encoded)[0], axis=0)[:, style_order]
        position = jnp.linspace(0.0, queries.shape[1] - 1.0, points)  # [t]; 0 is the first style
        before = jnp.minimum(jnp.floor(position).astype(jnp.int32), queries.shape[1] - 2)
        share = (position - before)[None, :, None]
        along = (1.0 - share) * queries[:, before] + share * queries[:, before + 1]
        z, at_styles = (project(projector, prior, q, keys) for q in (along, queries))
        whiten = functools.partial(distributions.whiten, prior)
        # These samples have their own keys, because `keys` already draw the bank's codes.
        sample_keys = rng.example_keys(root, "evaluate", 1, encoded.index)
        drawn = distributions.sample(prior, sample_keys, samples)
        probs = _probs(model, prompted.stage_one, encoded.features, z)
        # The latent of a missing mask is a placeholder.
        raters = jnp.where(encoded.rater_valid[:, :, None], encoded.latent, jnp.nan)[:, style_order]
        return Walk(probs, whiten(z), whiten(at_styles), raters, whiten(drawn))

    return walk_step


def _query(
    prompter: Prompter, prompted: Prompted, encoded: Encoded
) -> tuple[jax.Array, dict[str, Any]]:
    """Returns queries [p, b, k, d] and aligned vectors [p, b, k, q] of P sets of prompts."""

    def query_set(prompts: jax.Array | None) -> tuple[jax.Array, dict[str, Any]]:  # [b, k, e]
        query, aligned = prompter.apply(prompted.stage_two, prompts, encoded)
        vectors = {name: x for name, x in aligned.items() if name != "log_temperature"}
        return query.query, vectors

    if prompted.text is None:
        return jax.tree.map(lambda x: x[None], query_set(None))
    b = len(encoded.index)
    return jax.lax.map(lambda one: query_set(jnp.broadcast_to(one, (b, *one.shape))), prompted.text)


def _probs(model: ProbUNet, params: Params, features: jax.Array, z: jax.Array) -> jax.Array:
    """Returns the probabilities of f(x, z), [b, s, h, w]."""
    return jax.nn.sigmoid(model.apply(params, features, z, method="decode"))


def _retrieve(aligned: dict[str, Any], encoded: Encoded) -> tuple[jax.Array, jax.Array]:
    """Returns which texts retrieve their rater, and which raters their text, [b, levels, k] each.

    Retrieval is within one image, among K texts and K raters, so chance is 1/K. The result is NaN
    where a rater is missing, and everywhere for a method that reads no text.
    """
    b, k = encoded.rater_valid.shape
    if not aligned:
        nothing = jnp.full((b, len(LEVELS), k), jnp.nan)
        return nothing, nothing
    valid = encoded.rater_valid
    to_visual, to_text = [], []
    for level in LEVELS:
        likeness = jnp.einsum("btq,bvq->btv", aligned[f"text_{level}"], aligned[level])
        among = jnp.where(valid[:, None, :], likeness, -jnp.inf)
        to_visual.append(jnp.argmax(among, axis=2) == jnp.arange(k)[None])
        to_text.append(jnp.argmax(likeness, axis=1) == jnp.arange(k)[None])
    known = valid[:, None, :]
    return tuple(  # type: ignore[return-value]
        jnp.where(known, jnp.stack(hits, axis=1).astype(jnp.float32), jnp.nan)
        for hits in (to_visual, to_text)
    )
