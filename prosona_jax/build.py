"""A config becomes the model, the optimiser and the steps; the only reader of those fields."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import ml_collections
import optax

from prosona_jax import augment, step
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import InputError

Config: TypeAlias = ml_collections.ConfigDict


def check(config: Config) -> None:
    """Raises InputError if a field of the model, loss or schedule holds what cannot work."""
    choices = {
        "parallel": (config.parallel, ("mesh", "pmap")),
        "model.norm": (config.model.norm, ("none", "group")),
        "model.posterior_input": (config.model.posterior_input, ("single", "all")),
        "model.dtype": (config.model.dtype, ("float32", "bfloat16")),
    }
    for field, (value, allowed) in choices.items():
        if value not in allowed:
            raise InputError(f"config.{field} is {value!r}; choose from {', '.join(allowed)}")
    least = {
        "steps": (config.steps, 1),
        "batch_size": (config.batch_size, 1),
        "log_every_steps": (config.log_every_steps, 1),
        "checkpoint_every_steps": (config.checkpoint_every_steps, 1),
        "evaluate.every_steps": (config.evaluate.every_steps, 1),
        "evaluate.samples": (config.evaluate.samples, 1),
        "evaluate.validation_samples": (config.evaluate.validation_samples, 1),
        "evaluate.batch_size": (config.evaluate.batch_size, 1),
        "model.fcomb_layers": (config.model.fcomb_layers, 2),
        "model.latent_dim": (config.model.latent_dim, 1),
        "loss.samples": (config.loss.samples, 2),
    }
    for field, (value, minimum) in least.items():
        if value < minimum:
            raise InputError(f"config.{field} is {value}; it must be at least {minimum}")
    if config.optimizer.warmup_steps >= config.steps:
        raise InputError("config.optimizer.warmup_steps must be below config.steps")
    factor = 2 ** (len(config.model.channels) - 1)
    if config.data.size % factor:
        raise InputError(
            f"config.data.size is {config.data.size}; {len(config.model.channels)} scales in "
            f"config.model.channels need a multiple of {factor}"
        )


def model(config: Config) -> ProbUNet:
    """Returns the network of config.model."""
    m = config.model
    return ProbUNet(
        channels=tuple(m.channels),
        convs_per_scale=m.convs_per_scale,
        norm=m.norm,
        latent_dim=m.latent_dim,
        fcomb_layers=m.fcomb_layers,
        dtype=jnp.dtype(m.dtype),
    )


def optimizer(config: Config) -> optax.GradientTransformation:
    """Returns AdamW with gradient clipping and a cosine decay to zero over config.steps."""
    o = config.optimizer
    rate = optax.cosine_decay_schedule(o.learning_rate, config.steps - o.warmup_steps)
    if o.warmup_steps:
        rise = optax.linear_schedule(0.0, o.learning_rate, o.warmup_steps)
        rate = optax.join_schedules([rise, rate], [o.warmup_steps])
    return optax.chain(
        optax.clip_by_global_norm(o.clip_norm),
        optax.adamw(rate, weight_decay=o.weight_decay, mask=_kernels),
    )


def train_step(
    config: Config, network: ProbUNet, tx: optax.GradientTransformation
) -> step.TrainStep:
    """Returns the pure training step of config.loss and config.augment."""
    objective = step.Objective(posterior_input=config.model.posterior_input, **config.loss)
    augmentation = augment.Augmentation(**config.augment)
    return step.make_train_step(network, tx, objective, augmentation, config.optimizer.ema_decay)


def eval_step(config: Config, network: ProbUNet, samples: int) -> step.EvalStep:
    """Returns the pure evaluation step with that many samples per record."""
    return step.make_eval_step(network, samples, config.model.posterior_input)


def _kernels(params: step.Params) -> step.Params:
    """Marks what weight decay applies to: kernels, not biases and scales."""
    return jax.tree.map(lambda x: x.ndim > 1, params)
