"""Stage one: the initial parameters and the loss of the probabilistic U-Net.

L1 = L_seg(f(x, z_q), y_r) + beta KL(q || p) + lambda_b L_bound + lambda_g L_ged, z_q ~ q(z|x,y)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Key

from prosona_jax import rng
from prosona_jax.models import distributions
from prosona_jax.models.encoding import posterior_masks, take
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.training import augment, losses
from prosona_jax.training.step import LossTerms, Metrics, Weights
from prosona_jax.types import Batch, Params

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
        posterior_masks: number of masks that the posterior sees: 1 for "single", R for "all".
    """
    image = jnp.zeros((1, *image_shape))
    masks = jnp.zeros((1, posterior_masks, *image_shape[:2]), jnp.uint8)
    valid = jnp.ones((1, posterior_masks), bool)
    # jit leaves out what the parameters do not depend on, which is nearly all of the computation.
    return jax.jit(model.init)(rng.stream_key(root, "init"), image, masks, valid)


def draw_rater(keys: Key[Array, " b"], rater_valid: Bool[Array, "b r"]) -> jax.Array:
    """Draws one rater per record, uniformly among those who drew a mask on it, i32 [b]."""
    logits = jnp.where(rater_valid, 0.0, -jnp.inf)
    return jax.vmap(jax.random.categorical)(keys, logits)


def make_loss_terms(
    model: ProbUNet, objective: Objective, augmentation: augment.Augmentation
) -> LossTerms:
    """Returns ``loss_terms(params, batch, root, step, axis_name)`` -> {term: [b]}.

    The KL is always computed. The other terms are left out if their weight is 0.
    """

    def loss_terms(
        params: Params, batch: Batch, root: jax.Array, step: jax.Array, axis_name: str | None
    ) -> Metrics:
        del axis_name  # No term of stage one depends on other records.
        keys = lambda stream: rng.example_keys(root, stream, step, batch.index)  # noqa: E731
        image, masks = augment.augment(keys("augment"), batch.image, batch.masks, augmentation)
        batch = batch._replace(image=image, masks=masks)
        rater = draw_rater(keys("rater"), batch.rater_valid)
        target = take(masks, rater).astype(jnp.float32)
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
                terms["ged"] = losses.ged(samples, raters, batch.rater_valid, drawn=True)
        return terms

    return loss_terms


def make_weights(objective: Objective) -> Weights:
    """Returns ``weights(step)``, the weight of each term; that of the KL rises in its warm-up."""

    def weights(step: jax.Array) -> dict[str, float | jax.Array]:
        steps = objective.kl_warmup_steps
        warmup = jnp.minimum(1.0, step / steps) if steps else 1.0
        return {name: getattr(objective, name) for name in TERMS} | {"kl": objective.kl * warmup}

    return weights
