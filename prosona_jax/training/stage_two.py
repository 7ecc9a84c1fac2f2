"""Stage two: the query of a style shifts the prior of stage one, whose parameters are fixed.

    q_k = query(t_k),  z_k = projection(p(z|x), q_k),  y_k = f(x, z_k)
    L2 = mean_k L_seg(y_k, y_(k)) + lambda_g L_ged + lambda_z L_latent + lambda_v L_visual

Style k is mask k of a record. Stage two trains on `Encoded` batches, the outputs of stage one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Key

from prosona_jax import rng
from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.encoding import Encoded, pool
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import LEVELS, Prompter, Query
from prosona_jax.training import losses
from prosona_jax.training.step import LossTerms, Metrics, Weights
from prosona_jax.types import Params

TERMS = ("dice", "cross_entropy", "ged", *LEVELS)  # each has a weight in the objective
_LOWEST_TEMPERATURE = 0.01


class Objective(NamedTuple):
    """Weights of the stage-two loss; see configs/base.py for each field's meaning."""

    dice: float
    cross_entropy: float
    ged: float
    latent: float
    visual: float
    text_noise: float


def initialise(
    prompter: Prompter,
    root: Key[Array, ""],
    model: ProbUNet,
    *,
    image_shape: tuple[int, ...],
    styles: int,
    text_dim: int | None,
) -> Params:
    """Returns the parameters of stage two before the first step.

    Args:
        prompter: the modules of stage two.
        root: the run's key.
        model: stage one, which sets the widths of features and latent.
        image_shape: (H, W, C).
        styles: K.
        text_dim: E of the embeddings; None if no text is read.
    """
    features, d = jnp.zeros((1, *image_shape[:2], model.channels[0])), model.latent_dim
    masks = jnp.zeros((1, styles, *image_shape[:2]), jnp.uint8)
    encoded = Encoded(
        features=features,
        prior=Gaussian(jnp.zeros((1, d)), jnp.zeros((1, d))),
        latent=jnp.zeros((1, styles, d)),
        visual=pool(features, masks),
        masks=masks,
        rater_valid=jnp.ones((1, styles), bool),
        index=jnp.zeros(1, jnp.int32),
        valid=jnp.ones(1),
    )
    text = None if text_dim is None else jnp.zeros((1, styles, text_dim))
    # jit leaves out what the parameters do not depend on, which is nearly all of the computation.
    return jax.jit(prompter.init)(rng.stream_key(root, "init"), text, encoded)


def make_loss_terms(
    model: ProbUNet,
    stage_one_params: Params,
    prompter: Prompter,
    projector: Projector,
    objective: Objective,
    text: Float32[Array, "k p e"] | None,
) -> LossTerms:
    """Returns ``loss_terms(params, encoded, root, step, axis_name)`` -> {term: [b]}.

    Terms of weight 0 are left out.

    Args:
        model: stage one, whose decoder draws the masks.
        stage_one_params: the parameters of stage one.
        prompter: the modules that are trained.
        projector: computes the latent of a query.
        objective: the weights.
        text: embeddings of the training prompts; a style with fewer prompts repeats them. One
            prompt is drawn per image, style and step. None if no text is read.
    """

    def loss_terms(
        params: Params, encoded: Encoded, root: jax.Array, step: jax.Array, axis_name: str | None
    ) -> Metrics:
        keys = lambda stream: rng.example_keys(root, stream, step, encoded.index)  # noqa: E731
        encoded = encoded._replace(features=encoded.features.astype(jnp.float32))
        drawn = None if text is None else _draw(keys("prompt"), text, objective.text_noise)
        query, aligned = _apply_each(prompter, params, drawn, encoded, keys("dropout"))
        z = project(projector, encoded.prior, query.query, keys("codes"))
        logits = model.apply(stage_one_params, encoded.features, z, method="decode")
        share = encoded.rater_valid / jnp.sum(encoded.rater_valid, axis=1, keepdims=True)
        masks = encoded.masks.astype(jnp.float32)

        def over_styles(loss: Callable[..., jax.Array]) -> jax.Array:
            return jnp.sum(share * jax.vmap(loss, in_axes=1, out_axes=1)(logits, masks), axis=1)

        terms = {}
        if objective.dice:
            terms["dice"] = over_styles(losses.soft_dice)
        if objective.cross_entropy:
            terms["cross_entropy"] = over_styles(losses.cross_entropy)
        if objective.ged:
            terms["ged"] = losses.ged(logits, masks, encoded.rater_valid, drawn=False)
        for level, weight in zip(LEVELS, (objective.latent, objective.visual), strict=True):
            if weight:
                terms[level] = jnp.sum(
                    share * _contrast(aligned, level, encoded, axis_name), axis=1
                )
        return terms

    return loss_terms


def make_weights(objective: Objective) -> Weights:
    """Returns ``weights(step)``: the same at every step."""
    return lambda step: {name: getattr(objective, name) for name in TERMS}


def _draw(keys: jax.Array, text: jax.Array, noise: float) -> jax.Array:
    """Draws the embedding of a prompt of each style for every record: [b], [k, p, e] -> [b, k, e].

    It is a random point between two of the style's p prompts (mixup, Zhang et al. 2018), plus
    Gaussian noise of expected length `noise`. So points between two sentences of a style learn the
    meaning of that style, and no single sentence can be memorised.
    """
    styles, prompts, e = text.shape

    def one(key: jax.Array) -> jax.Array:
        choice_key, share_key, noise_key = jax.random.split(key, 3)
        chosen = jax.random.randint(choice_key, (2, styles), 0, prompts)
        share = jax.random.uniform(share_key, (styles, 1))
        first, second = text[jnp.arange(styles), chosen]
        blur = jax.random.normal(noise_key, (styles, e)) * (noise / e**0.5)
        return share * first + (1.0 - share) * second + blur

    return jax.vmap(one)(keys)


def _apply_each(
    prompter: Prompter, params: Params, text: jax.Array | None, encoded: Encoded, keys: jax.Array
) -> tuple[Query, dict[str, Any]]:
    """Applies the prompter record by record, so that each record has its own dropout key."""

    def one(key: jax.Array, *record: Any) -> tuple[Query, dict[str, Any]]:
        e, f = jax.tree.map(lambda x: x[None], record)
        out = prompter.apply(params, e, f, dropout=True, rngs={"dropout": key})
        return jax.tree.map(lambda x: x[0], out)

    # The temperatures are returned once per record; all records have the same.
    return jax.vmap(one)(keys, text, encoded)


def _contrast(
    aligned: dict[str, Any], level: str, encoded: Encoded, axis_name: str | None
) -> jax.Array:
    """Returns InfoNCE between texts and raters of the batch, averaged over both directions, [b, k].

    A text and a rater of the same style are a positive pair, also in different images. With pmap,
    the candidates come from all devices.
    """
    b, k = encoded.rater_valid.shape
    everywhere = lambda x: (  # noqa: E731
        x if axis_name is None else jax.lax.all_gather(x, axis_name, tiled=True)
    )
    usable = encoded.rater_valid & (encoded.valid > 0)[:, None]  # [b, k]
    valid = everywhere(usable.reshape(-1))
    style = jnp.tile(jnp.arange(k), b)
    positive = style[:, None] == jnp.tile(jnp.arange(k), len(valid) // k)[None]
    log_temperature = jnp.mean(aligned["log_temperature"], axis=0)[LEVELS.index(level)]
    temperature = jnp.maximum(jnp.exp(log_temperature), _LOWEST_TEMPERATURE)
    text, rater = (aligned[name].reshape(b * k, -1) for name in (f"text_{level}", level))
    from_text = losses.info_nce(text, everywhere(rater), positive, valid, temperature)
    from_rater = losses.info_nce(rater, everywhere(text), positive, valid, temperature)
    return 0.5 * (from_text + from_rater).reshape(b, k)
