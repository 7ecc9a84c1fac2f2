"""The one training step and the one evaluation step, pure; every wrapper calls these.

    L = sum_term w_term * sum_i valid_i term_i / sum_i valid_i

Under ``pmap`` both sums run over all devices (psum); under ``jit`` on a mesh the arrays are global
and the compiler inserts the same sums.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key, UInt8

from prosona_jax import augment, distributions, losses, rng
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import Batch

Params = Any
Metrics = dict[str, jax.Array]


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


class TrainState(NamedTuple):
    """All that training carries from step to step; the same tree on one device and on many."""

    step: jax.Array  # i32 []
    params: Params  # f32
    average: Params  # exponential moving average of params, what is evaluated
    opt_state: optax.OptState


class Prediction(NamedTuple):
    """What evaluation needs of one batch, S samples of d latent dimensions."""

    samples: Float[Array, "b s h w"]  # probabilities of f(x, z), z ~ p(z|x)
    prior_mean: Float[Array, "b h w"]  # probabilities of f(x, mu_p)
    kl: Float[Array, "b d"]  # KL(q || p) per dimension, averaged over the record's raters, nats


TrainStep = Callable[..., tuple[TrainState, Metrics]]
EvalStep = Callable[..., Prediction]


def create_state(
    model: ProbUNet,
    tx: optax.GradientTransformation,
    root: Key[Array, ""],
    *,
    image_shape: tuple[int, int, int],
    posterior_masks: int,
) -> TrainState:
    """Returns the state before the first step, initialised from the root key's "init" stream.

    Args:
        model: the network.
        tx: the optimiser.
        root: the run's key.
        image_shape: (H, W, C).
        posterior_masks: masks that the posterior sees, 1 for "single", R for "all".
    """
    image = jnp.zeros((1, *image_shape))
    masks = jnp.zeros((1, posterior_masks, *image_shape[:2]), jnp.uint8)
    valid = jnp.ones((1, posterior_masks), bool)
    params = model.init(rng.stream_key(root, "init"), image, masks, valid)
    # A copy, since the step gives its input buffers away and no buffer can be given twice.
    average = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, average, tx.init(params))


def draw_rater(keys: Key[Array, " b"], rater_valid: Bool[Array, "b r"]) -> jax.Array:
    """Returns one rater per record, uniformly among those who read it, i32 [b]."""
    logits = jnp.where(rater_valid, 0.0, -jnp.inf)
    return jax.vmap(jax.random.categorical)(keys, logits)


def _take(masks: jax.Array, rater: jax.Array) -> jax.Array:
    """Returns masks[i, rater_i] for every record i: [b, r, h, w], [b] -> [b, h, w]."""
    return jnp.take_along_axis(masks, rater[:, None, None, None], axis=1)[:, 0]


def _posterior_masks(
    batch: Batch, rater: jax.Array, posterior_input: str
) -> tuple[UInt8[Array, "b m h w"], Bool[Array, "b m"]]:
    """Returns the masks that the posterior sees: the target's alone, or every rater's."""
    if posterior_input == "all":
        return batch.masks, batch.rater_valid
    return _take(batch.masks, rater)[:, None], jnp.ones((len(rater), 1), bool)


def loss_terms(
    model: ProbUNet,
    params: Params,
    batch: Batch,
    root: Key[Array, ""],
    step: jax.Array,
    objective: Objective,
) -> Metrics:
    """Returns the terms of L1 whose weight is not zero, and the KL, each [b].

    L1 = L_seg(f(x, z_q), y_r) + beta KL(q || p) + lambda_b L_bound + lambda_g L_ged, z_q ~ q(z|x,y)
    """
    keys = lambda stream: rng.example_keys(root, stream, step, batch.index)  # noqa: E731
    rater = draw_rater(keys("rater"), batch.rater_valid)
    target = _take(batch.masks, rater).astype(jnp.float32)
    prior = model.apply(params, batch.image, method="prior")
    posterior = model.apply(
        params,
        batch.image,
        *_posterior_masks(batch, rater, objective.posterior_input),
        method="posterior",
    )
    features = model.apply(params, batch.image, method="features")
    z = distributions.sample(posterior, keys("posterior"), 1)
    logits = model.apply(params, features, z, method="decode")[:, 0]
    terms = {"kl": losses.kl(distributions.kl_divergence(posterior, prior), objective.free_bits)}
    if objective.dice:
        terms["dice"] = losses.soft_dice(logits, target)
    if objective.cross_entropy:
        terms["cross_entropy"] = losses.cross_entropy(logits, target)
    if objective.bound or objective.ged:
        z = distributions.sample(prior, keys("prior"), objective.samples)
        samples = model.apply(params, features, z, method="decode")
        masks = batch.masks.astype(jnp.float32)
        if objective.bound:
            terms["bound"] = losses.bound(samples, masks, batch.rater_valid)
        if objective.ged:
            terms["ged"] = losses.ged(samples, masks, batch.rater_valid)
    return terms


def make_train_step(
    model: ProbUNet,
    tx: optax.GradientTransformation,
    objective: Objective,
    augmentation: augment.Augmentation,
    ema_decay: float,
) -> TrainStep:
    """Returns ``train_step(state, batch, root, *, axis_name=None) -> (state, metrics)``.

    ``metrics`` holds the mean of each term over the valid records of all devices, their weighted
    sum ``loss``, and ``grad_norm`` before clipping.
    """

    def train_step(
        state: TrainState, batch: Batch, root: jax.Array, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics]:
        over_devices = lambda x: x if axis_name is None else jax.lax.psum(x, axis_name)  # noqa: E731
        keys = rng.example_keys(root, "augment", state.step, batch.index)
        image, masks = augment.augment(keys, batch.image, batch.masks, augmentation)
        batch = batch._replace(image=image, masks=masks)
        count = over_devices(jnp.sum(batch.valid))
        warmup = jnp.minimum(1.0, state.step / max(objective.kl_warmup_steps, 1))
        weights = objective._asdict() | {
            "kl": objective.kl * (warmup if objective.kl_warmup_steps else 1.0)
        }

        def loss(params: Params) -> tuple[jax.Array, Metrics]:
            terms = loss_terms(model, params, batch, root, state.step, objective)
            means = {name: jnp.sum(batch.valid * term) / count for name, term in terms.items()}
            return sum(weights[name] * mean for name, mean in means.items()), means

        (total, means), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        total, means, gradients = over_devices((total, means, gradients))
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # Young averages forget faster, or the random initial values would linger.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average, 1.0 - decay)
        metrics = {"loss": total, "grad_norm": optax.tree.norm(gradients), **means}
        return TrainState(state.step + 1, params, average, opt_state), metrics

    return train_step


def make_eval_step(model: ProbUNet, samples: int, posterior_input: str) -> EvalStep:
    """Returns ``eval_step(params, batch, root) -> Prediction`` with that many draws."""

    def divergence(params: Params, batch: Batch, prior: distributions.Gaussian) -> jax.Array:
        """KL per dimension, the mean over the raters who read the record, [b, d]."""

        def of_rater(rater: jax.Array) -> jax.Array:
            chosen = jnp.full(len(batch.index), rater)
            seen = _posterior_masks(batch, chosen, posterior_input)
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
        return Prediction(probs[:, 1:], probs[:, 0], divergence(params, batch, prior))

    return eval_step
