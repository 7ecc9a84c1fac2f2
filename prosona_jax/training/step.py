"""The training step, a pure function that both stages and all parallel wrappers share.

    L = sum_term w_term * sum_i valid_i term_i / sum_i valid_i

Under ``pmap`` both sums run over all devices (psum); under ``jit`` on a mesh the arrays are global
and the compiler inserts the same sums.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prosona_jax.types import Params

Metrics = dict[str, jax.Array]

# (params, batch, root, step, axis_name) -> {term: [b]}
LossTerms = Callable[[Params, Any, jax.Array, jax.Array, str | None], Metrics]
Weights = Callable[[jax.Array], dict[str, float | jax.Array]]  # step -> {term: weight}
TrainStep = Callable[..., tuple["TrainState", Metrics]]


class TrainState(NamedTuple):
    """The state of training after a step; the same tree on one device and on many."""

    step: jax.Array  # i32 []
    params: Params  # f32
    average: Params  # exponential moving average of params; evaluation uses it
    opt_state: optax.OptState


def create_state(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    # A copy, because the step donates its input buffers, and no buffer can be donated twice.
    average = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, average, tx.init(params))


def make_train_step(
    loss_terms: LossTerms,
    weights: Weights,
    tx: optax.GradientTransformation,
    ema_decay: float,
) -> TrainStep:
    """Returns ``train_step(state, batch, root, *, axis_name=None) -> (state, metrics)``.

    ``batch`` is a NamedTuple whose ``valid`` f32 [b] is 0 where a record is padding. ``metrics``
    holds the mean of each term over the valid records of all devices, their weighted sum ``loss``,
    and ``grad_norm`` before clipping.
    """

    def train_step(
        state: TrainState, batch: Any, root: jax.Array, *, axis_name: str | None = None
    ) -> tuple[TrainState, Metrics]:
        over_devices = lambda x: x if axis_name is None else jax.lax.psum(x, axis_name)  # noqa: E731
        count = over_devices(jnp.sum(batch.valid))
        weight_of = weights(state.step)

        def loss(params: Params) -> tuple[jax.Array, Metrics]:
            terms = loss_terms(params, batch, root, state.step, axis_name)
            means = {name: jnp.sum(batch.valid * term) / count for name, term in terms.items()}
            return sum(weight_of[name] * mean for name, mean in means.items()), means

        (total, means), gradients = jax.value_and_grad(loss, has_aux=True)(state.params)
        total, means, gradients = over_devices((total, means, gradients))
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        # Early averages decay faster, so that the random initial values vanish soon.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(params, state.average, 1.0 - decay)
        metrics = {"loss": total, "grad_norm": optax.tree.norm(gradients), **means}
        return TrainState(state.step + 1, params, average, opt_state), metrics

    return train_step
