"""Fits one query to the contours of one person; the parameters of both stages stay as they are.

    z_i = projection(p(z|x_i), q),  y_i = f(x_i, z_i)
    L(q) = mean_i L_seg(y_i, y_person,i) + b |(z_i - mu_i) / sigma_i|^2 / 2

L_seg is that of stage two. The second term is the negative log density of z_i under its prior, up
to a constant. It keeps few contours from asking for a latent that no rater would have.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, UInt8

from prosona_jax import rng
from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector, project
from prosona_jax.training import losses
from prosona_jax.types import Params

# b. On contours that no training saw, of LIDC-IDRI and of cells, a fit with stage one's weight of
# the KL divergence (.001) drew worse on new images than the best style, and .1 drew better.
PRIOR = 0.1
STEPS = 100  # at most; a few dozens are usual
FLAT = 1e-4  # the fit ends where the gradient is shorter than this


class Contours(NamedTuple):
    """Encoded images, and the mask that one person drew on each."""

    features: Float[Array, "n h w f"]  # U(x)
    prior: Gaussian  # p(z|x)
    masks: UInt8[Array, "n h w"]


class Objective(NamedTuple):
    """Weights of the loss: those of stage two, and of the prior."""

    dice: float
    cross_entropy: float
    prior: float


Loss = Callable[[Float[Array, " d"], Params, Contours, jax.Array], Float[Array, ""]]


def make_loss(model: ProbUNet, projector: Projector, objective: Objective) -> Loss:
    """Returns ``loss(query, stage_one_params, contours, root)``, the L(q) of this module.

    With a bank, `root` draws the codes that a prediction on one image has.
    """

    def loss(
        query: jax.Array, params: Params, contours: Contours, root: jax.Array
    ) -> Float[Array, ""]:
        features, prior, masks = contours
        n = len(features)
        keys = rng.example_keys(root, "evaluate", 0, jnp.zeros(n, jnp.int32))
        z = project(projector, prior, jnp.broadcast_to(query, (n, 1, *query.shape)), keys)
        logits = model.apply(params, features, z, method="decode")[:, 0]
        drawn = masks.astype(jnp.float32)
        shift = distributions.whiten(prior, z)[:, 0]  # [n, d]
        each = (
            objective.dice * losses.soft_dice(logits, drawn)
            + objective.cross_entropy * losses.cross_entropy(logits, drawn)
            + objective.prior * jnp.sum(jnp.square(shift), axis=1) / 2
        )
        return jnp.mean(each)

    return loss


def make_fit(loss: Loss) -> Callable[..., Float[Array, " d"]]:
    """Returns ``fit(stage_one_params, contours, starts, root) -> query``, f32 [d].

    It descends by L-BFGS (Liu and Nocedal 1989), without any draw, from the best of the queries
    `starts` f32 [s, d].
    """

    def fit(params: Params, contours: Contours, starts: jax.Array, root: jax.Array) -> jax.Array:
        def value(query: jax.Array) -> jax.Array:
            return loss(query, params, contours, root)

        solver = optax.lbfgs()
        value_and_grad = optax.value_and_grad_from_state(value)

        def descend(carry: tuple[jax.Array, optax.OptState]) -> tuple[jax.Array, optax.OptState]:
            query, state = carry
            height, slope = value_and_grad(query, state=state)
            updates, state = solver.update(
                slope, state, query, value=height, grad=slope, value_fn=value
            )
            return optax.apply_updates(query, updates), state

        def goes_on(carry: tuple[jax.Array, optax.OptState]) -> jax.Array:
            count = optax.tree.get(carry[1], "count")
            slope = optax.tree.norm(optax.tree.get(carry[1], "grad"))
            return (count == 0) | ((count < STEPS) & (slope > FLAT))

        start = starts[jnp.argmin(jax.lax.map(value, starts))]
        return jax.lax.while_loop(goes_on, descend, (start, solver.init(start)))[0]

    return fit
