"""Stage one: the loss terms that train the probabilistic U-Net, and what evaluation asks of it.

L1 = L_seg(f(x, z_q), y_r) + beta KL(q || p) + lambda_b L_bound + lambda_g L_ged, z_q ~ q(z|x,y)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt8

from prosona_jax import augment, distributions, losses, rng
from prosona_jax.metrics import Overlaps, count_overlaps
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.step import LossTerms, Metrics, Params, Weights
from prosona_jax.types import Batch

EvalStep = Callable[[Params, Batch, jax.Array], "Prediction"]


TERMS = ("dice", "cross_entropy", "kl", "bound", "ged")  # each has a weight in the objective


class Objective(NamedTuple):
    """Weights and options of the stage-one loss; see configs/base.py for each field's meaning."""

    dice: float
    cross_entropy: float
    kl: float
    kl_warmup_steps: int
    free_bits: float
    bound: float
    ged: float
    samples: int
    posterior_input: str  # "single" | "all"


class Prediction(NamedTuple):
    """What evaluation needs of one batch, S samples of d latent dimensions."""

    samples: Overlaps  # of S masks f(x, z), z ~ p(z|x), and the R readers'
    prior_mean: Overlaps  # of f(x, mu_p), min(S, R) times, and the readers'
    kl: Float[Array, "b d"]  # KL(q || p) per dimension, averaged over the record's raters, nats
    probs: Float[Array, "b s h w"] | None  # of the samples, None unless they are to be drawn


def initialise(
    model: ProbUNet,
    root: Key[Array, ""],
    *,
    image_shape: tuple[int, ...],
    posterior_masks: int,
) -> Params:
    """Returns the parameters before the first step, from the root key's "init" stream.

    Args:
        model: the network.
        root: the run's key.
        image_shape: (H, W, C).
        posterior_masks: masks that the posterior sees, 1 for "single", R for "all".
    """
    image = jnp.zeros((1, *image_shape))
    masks = jnp.zeros((1, posterior_masks, *image_shape[:2]), jnp.uint8)
    valid = jnp.ones((1, posterior_masks), bool)
    # Compiled, what the parameters do not need is left out, which is nearly all of it.
    return jax.jit(model.init)(rng.stream_key(root, "init"), image, masks, valid)


def draw_rater(keys: Key[Array, " b"], rater_valid: Bool[Array, "b r"]) -> jax.Array:
    """Returns one rater per record, uniformly among those who read it, i32 [b]."""
    logits = jnp.where(rater_valid, 0.0, -jnp.inf)
    return jax.vmap(jax.random.categorical)(keys, logits)


def _take(masks: jax.Array, rater: jax.Array) -> jax.Array:
    """Returns masks[i, rater_i] for every record i: [b, r, h, w], [b] -> [b, h, w]."""
    return jnp.take_along_axis(masks, rater[:, None, None, None], axis=1)[:, 0]


def posterior_masks(
    batch: Batch, rater: jax.Array, posterior_input: str
) -> tuple[UInt8[Array, "b m h w"], Bool[Array, "b m"]]:
    """Returns the masks that the posterior sees: the target's alone, or every rater's."""
    if posterior_input == "all":
        return batch.masks, batch.rater_valid
    return _take(batch.masks, rater)[:, None], jnp.ones((len(rater), 1), bool)


def make_loss_terms(
    model: ProbUNet, objective: Objective, augmentation: augment.Augmentation
) -> LossTerms:
    """Returns ``loss_terms(params, batch, root, step, axis_name)``: the KL and what has weight."""

    def loss_terms(
        params: Params, batch: Batch, root: jax.Array, step: jax.Array, axis_name: str | None
    ) -> Metrics:
        del axis_name  # No term of stage one looks at other records.
        keys = lambda stream: rng.example_keys(root, stream, step, batch.index)  # noqa: E731
        image, masks = augment.augment(keys("augment"), batch.image, batch.masks, augmentation)
        batch = batch._replace(image=image, masks=masks)
        rater = draw_rater(keys("rater"), batch.rater_valid)
        target = _take(masks, rater).astype(jnp.float32)
        prior = model.apply(params, image, method="prior")
        seen = posterior_masks(batch, rater, objective.posterior_input)
        posterior = model.apply(params, image, *seen, method="posterior")
        features = model.apply(params, image, method="features")
        z = distributions.sample(posterior, keys("posterior"), 1)
        logits = model.apply(params, features, z, method="decode")[:, 0]
        divergence = distributions.kl_divergence(posterior, prior)
        terms = {"kl": losses.kl(divergence, objective.free_bits)}
        if objective.dice:
            terms["dice"] = losses.soft_dice(logits, target)
        if objective.cross_entropy:
            terms["cross_entropy"] = losses.cross_entropy(logits, target)
        if objective.bound or objective.ged:
            z = distributions.sample(prior, keys("prior"), objective.samples)
            samples = model.apply(params, features, z, method="decode")
            raters = masks.astype(jnp.float32)
            if objective.bound:
                terms["bound"] = losses.bound(samples, raters, batch.rater_valid)
            if objective.ged:
                terms["ged"] = losses.ged(samples, raters, batch.rater_valid)
        return terms

    return loss_terms


def make_weights(objective: Objective) -> Weights:
    """Returns ``weights(step)``, the weight of each term; beta rises over its warm-up."""

    def weights(step: jax.Array) -> dict[str, float | jax.Array]:
        steps = objective.kl_warmup_steps
        warmup = jnp.minimum(1.0, step / steps) if steps else 1.0
        return {name: getattr(objective, name) for name in TERMS} | {"kl": objective.kl * warmup}

    return weights


def make_eval_step(model: ProbUNet, samples: int, posterior_input: str, *, drawn: bool) -> EvalStep:
    """Returns ``eval_step(params, batch, root) -> Prediction`` with that many draws.

    Masks are counted where they are made; probabilities are asked for as `drawn`.
    """

    def divergence(params: Params, batch: Batch, prior: distributions.Gaussian) -> jax.Array:
        """KL per dimension, the mean over the raters who read the record, [b, d]."""

        def of_rater(rater: jax.Array) -> jax.Array:
            chosen = jnp.full(len(batch.index), rater)
            seen = posterior_masks(batch, chosen, posterior_input)
            posterior = model.apply(params, batch.image, *seen, method="posterior")
            return distributions.kl_divergence(posterior, prior)

        per_rater = jax.lax.map(of_rater, jnp.arange(batch.masks.shape[1]))  # [r, b, d]
        weight = batch.rater_valid / jnp.sum(batch.rater_valid, axis=1, keepdims=True)
        return jnp.einsum("rbd,br->bd", per_rater, weight)

    def eval_step(params: Params, batch: Batch, root: jax.Array) -> Prediction:
        features = model.apply(params, batch.image, method="features")
        prior = model.apply(params, batch.image, method="prior")
        z = distributions.sample(prior, rng.example_keys(root, "evaluate", 0, batch.index), samples)
        z = jnp.concatenate([prior.mu[:, None], z], axis=1)  # [b, 1 + s, d]
        probs = jax.nn.sigmoid(model.apply(params, features, z, method="decode"))
        # Matched as often as S samples are; no other score changes by how often it is repeated.
        pairs = min(samples, batch.masks.shape[1])
        prior_mean = jnp.repeat(probs[:, :1], pairs, axis=1)
        count = lambda masks: count_overlaps(masks, batch.masks, batch.rater_valid)  # noqa: E731
        return Prediction(
            samples=count(probs[:, 1:]),
            prior_mean=count(prior_mean),
            kl=divergence(params, batch, prior),
            probs=probs[:, 1:] if drawn else None,
        )

    return eval_step
