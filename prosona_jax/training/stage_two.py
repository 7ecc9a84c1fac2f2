"""Stage two: a query moves the frozen prior of stage one to the style that it asks for.

    q_k = query(t_k),  z_k = projection(p(z|x), q_k),  y_k = f(x, z_k)
    L2 = mean_k L_seg(y_k, y_(k)) + lambda_z L_latent + lambda_v L_visual

Style k is place k of a record's masks. All that stage one computes is a `Frozen` batch, made once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Key, UInt8

from prosona_jax import augment, distributions, losses, projection, rng
from prosona_jax.distributions import Gaussian
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.query import Alignment, Query
from prosona_jax.stage_one import posterior_masks
from prosona_jax.step import LossTerms, Metrics, Params, Weights
from prosona_jax.types import Batch

LEVELS = ("latent", "visual")  # of the contrastive objective
TERMS = ("dice", "cross_entropy", *LEVELS)  # each has a weight in the objective
_LOWEST_TEMPERATURE = 0.01


class Objective(NamedTuple):
    """Weights of the stage-two loss; see configs/base.py for each field's meaning."""

    dice: float
    cross_entropy: float
    latent: float
    visual: float
    text_noise: float


class Frozen(NamedTuple):
    """What stage one knows of a batch; r places of masks are the K styles."""

    features: Array  # f32 [b, h, w, f], U(x); f16 while it is kept
    prior: Gaussian  # p(z|x), [b, d] each
    latent: Float[Array, "b k d"]  # (mu_q(x, y_(k)) - mu_p) / sigma_p, the reader's latent offset
    visual: Float[Array, "b k v"]  # U(x) pooled under mask k, its rim and its outside, v = 3 f
    masks: UInt8[Array, "b k h w"]
    rater_valid: Bool[Array, "b k"]
    index: Any  # i32 [b], as in Batch
    valid: Any  # f32 [b], as in Batch


class Projector(NamedTuple):
    """How a query becomes a latent."""

    kind: str  # "analytic" | "bank"
    tau: float
    codes: int  # samples of the bank


class Prompter(nn.Module):
    """The parameters of stage two: the query and, where prompts are read, the alignment.

    Attributes:
        query: a module of models/query.py.
        width: of the space in which texts and readers are compared.
    """

    query: nn.Module
    width: int

    def setup(self) -> None:
        self.alignment = Alignment(self.width)

    def __call__(
        self, text: Float[Array, "b k e"], frozen: Frozen, dropout: bool = False
    ) -> tuple[Query, dict[str, Any]]:
        """Returns the queries, and the unit vectors of both sides, {} where no text is read."""
        query = self.query(text, frozen.features, dropout)
        if not query.trunk.shape[-1]:
            return query, {}
        return query, self.alignment(query.trunk, frozen.latent, frozen.visual)


def make_freeze(
    model: ProbUNet, posterior_input: str, augmentation: augment.Augmentation | None
) -> Callable[..., Frozen]:
    """Returns ``freeze((params, view), batch, root) -> Frozen``.

    A view is one draw of the augmentation, the same at each call; None leaves images as they are.
    """

    def freeze(parts: tuple[Params, Any], batch: Batch, root: Key[Array, ""]) -> Frozen:
        params, view = parts
        image, masks = batch.image, batch.masks
        if augmentation is not None:
            keys = rng.example_keys(root, "augment", view, batch.index)
            image, masks = augment.augment(keys, image, masks, augmentation)
            batch = batch._replace(image=image, masks=masks)
        features, prior = see(model, params, image)

        def offset(place: jax.Array) -> jax.Array:
            seen = posterior_masks(batch, jnp.full(len(batch.index), place), posterior_input)
            posterior = model.apply(params, image, *seen, method="posterior")
            return (posterior.mu - prior.mu) * jnp.exp(-prior.log_sigma)

        latent = jnp.moveaxis(jax.lax.map(offset, jnp.arange(masks.shape[1])), 0, 1)
        visual = _pool(features, masks)
        return Frozen(
            features, prior, latent, visual, masks, batch.rater_valid, batch.index, batch.valid
        )

    return freeze


def see(model: ProbUNet, params: Params, image: jax.Array) -> tuple[jax.Array, Gaussian]:
    """Returns U(x) f32 and p(z|x), all that a prompt needs of an image."""
    features = model.apply(params, image, method="features").astype(jnp.float32)
    return features, model.apply(params, image, method="prior")


def _pool(features: jax.Array, masks: jax.Array) -> jax.Array:
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


def initialise(
    prompter: Prompter,
    root: Key[Array, ""],
    model: ProbUNet,
    *,
    image_shape: tuple[int, ...],
    styles: int,
    text_dim: int,
) -> Params:
    """Returns the parameters of stage two before the first step.

    Args:
        prompter: the modules.
        root: the run's key.
        model: stage one, which says how wide features and latent are.
        image_shape: (H, W, C).
        styles: K.
        text_dim: E of the embeddings.
    """
    features, d = jnp.zeros((1, *image_shape[:2], model.channels[0])), model.latent_dim
    masks = jnp.zeros((1, styles, *image_shape[:2]), jnp.uint8)
    frozen = Frozen(
        features=features,
        prior=Gaussian(jnp.zeros((1, d)), jnp.zeros((1, d))),
        latent=jnp.zeros((1, styles, d)),
        visual=_pool(features, masks),
        masks=masks,
        rater_valid=jnp.ones((1, styles), bool),
        index=jnp.zeros(1, jnp.int32),
        valid=jnp.ones(1),
    )
    text = jnp.zeros((1, styles, text_dim))
    # Compiled, what the parameters do not need is left out, which is nearly all of it.
    return jax.jit(prompter.init)(rng.stream_key(root, "init"), text, frozen)


def project(
    projector: Projector, prior: Gaussian, query: Float[Array, "b k d"], keys: Key[Array, " b"]
) -> Float[Array, "b k d"]:
    """Returns z_k; the keys draw the bank's codes, one key per record."""
    if projector.kind == "analytic":
        return projection.analytic(prior, query, projector.tau)
    codes = distributions.sample(prior, keys, projector.codes)
    return projection.bank(codes, query, projector.tau)


def make_loss_terms(
    model: ProbUNet,
    frozen_params: Params,
    prompter: Prompter,
    projector: Projector,
    objective: Objective,
    text: Float32[Array, "k p e"],
) -> LossTerms:
    """Returns ``loss_terms(params, frozen, root, step, axis_name)``: what has weight, [b] each.

    Args:
        model: stage one, whose decoder draws.
        frozen_params: its parameters.
        prompter: what is trained.
        projector: from query to latent.
        objective: the weights.
        text: embeddings of the training prompts, as many for each style (repeat to fill up); one
            is drawn per image, style and step.
    """

    def loss_terms(
        params: Params, frozen: Frozen, root: jax.Array, step: jax.Array, axis_name: str | None
    ) -> Metrics:
        keys = lambda stream: rng.example_keys(root, stream, step, frozen.index)  # noqa: E731
        frozen = frozen._replace(features=frozen.features.astype(jnp.float32))
        drawn = _draw(keys("prompt"), text, objective.text_noise)  # [b, k, e]
        query, aligned = _apply_each(prompter, params, drawn, frozen, keys("dropout"))
        z = project(projector, frozen.prior, query.query, keys("codes"))
        logits = model.apply(frozen_params, frozen.features, z, method="decode")
        share = frozen.rater_valid / jnp.sum(frozen.rater_valid, axis=1, keepdims=True)
        masks = frozen.masks.astype(jnp.float32)

        def over_styles(loss: Callable[..., jax.Array]) -> jax.Array:
            return jnp.sum(share * jax.vmap(loss, in_axes=1, out_axes=1)(logits, masks), axis=1)

        terms = {}
        if objective.dice:
            terms["dice"] = over_styles(losses.soft_dice)
        if objective.cross_entropy:
            terms["cross_entropy"] = over_styles(losses.cross_entropy)
        for level, weight in zip(LEVELS, (objective.latent, objective.visual), strict=True):
            if weight:
                terms[level] = jnp.sum(share * _contrast(aligned, level, frozen, axis_name), axis=1)
        return terms

    return loss_terms


def make_weights(objective: Objective) -> Weights:
    """Returns ``weights(step)``: the same at every step."""
    return lambda step: {name: getattr(objective, name) for name in TERMS}


def _draw(keys: jax.Array, text: jax.Array, noise: float) -> jax.Array:
    """Returns a prompt of each style for every record: [b], [k, p, e] -> [b, k, e].

    It lies anywhere between two of the style's p prompts (mixup, Zhang et al. 2018), and is blurred
    by Gaussian noise of expected length `noise`. So what lies between sentences means what they
    mean, and none can be learned by heart.
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
    prompter: Prompter, params: Params, text: jax.Array, frozen: Frozen, keys: jax.Array
) -> tuple[Query, dict[str, Any]]:
    """Applies the prompter record by record, so that each has dropout of its own key."""

    def one(key: jax.Array, *record: Any) -> tuple[Query, dict[str, Any]]:
        e, f = jax.tree.map(lambda x: x[None], record)
        out = prompter.apply(params, e, f, dropout=True, rngs={"dropout": key})
        return jax.tree.map(lambda x: x[0], out)

    # The temperatures come out once per record; they are all the same.
    return jax.vmap(one)(keys, text, frozen)


def _contrast(
    aligned: dict[str, Any], level: str, frozen: Frozen, axis_name: str | None
) -> jax.Array:
    """Returns InfoNCE between texts and readers of the batch, mean of both directions, [b, k].

    The same style in any image is positive; with pmap the candidates are those of all devices.
    """
    b, k = frozen.rater_valid.shape
    everywhere = lambda x: (  # noqa: E731
        x if axis_name is None else jax.lax.all_gather(x, axis_name, tiled=True)
    )
    usable = frozen.rater_valid & (frozen.valid > 0)[:, None]  # [b, k]
    valid = everywhere(usable.reshape(-1))
    style = jnp.tile(jnp.arange(k), b)
    positive = style[:, None] == jnp.tile(jnp.arange(k), len(valid) // k)[None]
    log_temperature = jnp.mean(aligned["log_temperature"], axis=0)[LEVELS.index(level)]
    temperature = jnp.maximum(jnp.exp(log_temperature), _LOWEST_TEMPERATURE)
    text, reader = (aligned[name].reshape(b * k, -1) for name in (f"text_{level}", level))
    from_text = losses.info_nce(text, everywhere(reader), positive, valid, temperature)
    from_reader = losses.info_nce(reader, everywhere(text), positive, valid, temperature)
    return 0.5 * (from_text + from_reader).reshape(b, k)
