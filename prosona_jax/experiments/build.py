"""A config becomes the model, the optimiser and the steps; the only reader of those fields."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from prosona_jax.evaluation import sample_steps, style_steps
from prosona_jax.experiments import methods
from prosona_jax.models import encoding
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector
from prosona_jax.models.query import Prompter
from prosona_jax.training import augment, feature_cache, stage_one, stage_two, step
from prosona_jax.types import InputError, Params

Config: TypeAlias = ml_collections.ConfigDict

_CHOICES = {
    "parallel": ("mesh", "pmap"),
    "model.norm": ("none", "group"),
    "model.posterior_input": ("single", "all"),
    "model.dtype": ("float32", "bfloat16"),
    "stage_two.query": tuple(methods.METHODS),
    "stage_two.projection": ("analytic", "bank"),
}
_WEIGHTS = tuple(f"loss.{term}" for term in stage_one.TERMS)
_WEIGHTS_OF_STAGE_TWO = tuple(f"stage_two.{term}" for term in stage_two.TERMS)
_LEAST = {
    "seed": 0,
    "steps": 1,
    "batch_size": 1,
    "log_every_steps": 1,
    "checkpoint_every_steps": 1,
    "evaluate.every_steps": 1,
    "evaluate.samples": 1,
    "evaluate.validation_samples": 1,
    "evaluate.batch_size": 1,
    "evaluate.bootstrap": 1,
    "evaluate.panels": 0,
    "model.convs_per_scale": 1,
    "model.fcomb_layers": 2,
    "model.latent_dim": 1,
    "loss.samples": 2,
    "loss.kl_warmup_steps": 0,
    "loss.free_bits": 0,
    "optimizer.warmup_steps": 0,
    "optimizer.weight_decay": 0,
    "optimizer.ema_decay": 0,
    **dict.fromkeys(_WEIGHTS + _WEIGHTS_OF_STAGE_TWO, 0),
    "stage_two.width": 1,
    "stage_two.codes": 1,
    "stage_two.test_codes": 1,
    "stage_two.views": 1,
    "stage_two.batch_size": 1,
    "stage_two.steps": 1,
}
_ABOVE_0 = (
    "stage_two.tau",
    "stage_two.learning_rate",
    "optimizer.learning_rate",
    "optimizer.clip_norm",
)


def check(config: Config) -> None:
    """Raises InputError if a field of the model, loss or schedule holds what cannot work."""
    for field, allowed in _CHOICES.items():
        if (value := _value(config, field)) not in allowed:
            raise InputError(f"config.{field} is {value!r}; choose from {', '.join(allowed)}")
    for field, minimum in _LEAST.items():
        if not (value := _value(config, field)) >= minimum:  # NaN is neither
            raise InputError(f"config.{field} is {value}; it must be at least {minimum}")
    for field in _ABOVE_0:
        if not (value := _value(config, field)) > 0:
            raise InputError(f"config.{field} is {value}; it must be above 0")
    if config.optimizer.ema_decay >= 1:
        raise InputError(
            f"config.optimizer.ema_decay is {config.optimizer.ema_decay}; it must be below 1"
        )
    if config.optimizer.warmup_steps >= config.steps:
        raise InputError("config.optimizer.warmup_steps must be below config.steps")
    two = config.stage_two
    if not methods.of(config).reads_text and (two.latent or two.visual):
        raise InputError(
            f"config.stage_two.query is {two.query!r} and reads no text: set stage_two.latent and "
            "stage_two.visual to 0"
        )
    weighed = any(_value(config, field) for field in _WEIGHTS_OF_STAGE_TWO)
    if methods.has_second_stage(config) and not weighed:
        raise InputError(
            f"{', '.join(_WEIGHTS_OF_STAGE_TWO)} are all 0, and nothing is left to train on; raise "
            "one, or set stage_two.query to 'none'"
        )
    if two.latent and config.model.posterior_input == "all":
        raise InputError(
            "config.stage_two.latent needs a posterior that sees one mask: set it to 0, or "
            "model.posterior_input to 'single'"
        )
    if config.evaluate.mirror and not (config.augment.flip and config.augment.rotate_degrees >= 90):
        raise InputError(
            "config.evaluate.mirror shows the model mirrored and turned images: set it to False, "
            "or train on such images, by augment.flip and augment.rotate_degrees of 90 or more"
        )
    channels = config.model.channels
    if not channels or not all(isinstance(c, int) and c > 0 for c in channels):
        raise InputError(
            f"config.model.channels is {tuple(channels)}; it must name at least one scale, and no "
            "scale without filters"
        )
    factor = 2 ** (len(channels) - 1)
    if config.data.size % factor:
        raise InputError(
            f"config.data.size is {config.data.size}; {len(channels)} scales in "
            f"config.model.channels need a multiple of {factor}"
        )


def _value(config: Config, field: str) -> Any:
    return operator.attrgetter(field)(config)


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


def evaluated_model(config: Config) -> ProbUNet:
    """Returns the same network, with the same parameters, as evaluation and prediction use it."""
    return model(config).clone(mirrored=config.evaluate.mirror)


def optimizer(config: Config) -> optax.GradientTransformation:
    """Returns AdamW with gradient clipping and a cosine decay to zero over config.steps."""
    o = config.optimizer
    return _adamw(
        config,
        optax.warmup_cosine_decay_schedule(0.0, o.learning_rate, o.warmup_steps, config.steps),
    )


def optimizer_of_stage_two(config: Config) -> optax.GradientTransformation:
    """Returns the same for config.stage_two's rate and steps, without warm-up."""
    two = config.stage_two
    return _adamw(config, optax.cosine_decay_schedule(two.learning_rate, two.steps))


def _adamw(config: Config, rate: optax.Schedule) -> optax.GradientTransformation:
    o = config.optimizer
    return optax.chain(
        optax.clip_by_global_norm(o.clip_norm),
        optax.adamw(rate, weight_decay=o.weight_decay, mask=_kernels),
    )


def initialise(
    config: Config, network: ProbUNet, root: jax.Array, image_shape: tuple[int, ...], raters: int
) -> Params:
    """Returns the network's first parameters for images of that shape, read by that many raters."""
    masks = raters if config.model.posterior_input == "all" else 1
    return stage_one.initialise(network, root, image_shape=image_shape, posterior_masks=masks)


def train_step(
    config: Config, network: ProbUNet, tx: optax.GradientTransformation
) -> step.TrainStep:
    """Returns the pure training step of config.loss and config.augment."""
    objective = stage_one.Objective(posterior_input=config.model.posterior_input, **config.loss)
    return step.make_train_step(
        stage_one.make_loss_terms(network, objective, augment.Augmentation(**config.augment)),
        stage_one.make_weights(objective),
        tx,
        config.optimizer.ema_decay,
    )


def eval_step(config: Config, *, samples: int, drawn: bool) -> sample_steps.EvalStep:
    """Returns the pure evaluation step with that many samples per record."""
    return sample_steps.make_eval_step(
        evaluated_model(config), samples, config.model.posterior_input, drawn=drawn
    )


def encode_step(config: Config) -> Callable[..., encoding.Encoded]:
    """Returns what computes a batch's encoded part for training, augmented by config.augment."""
    augmentation = augment.Augmentation(**config.augment)
    return feature_cache.make_encode(model(config), config.model.posterior_input, augmentation)


def encode_step_of_evaluation(config: Config) -> Callable[..., encoding.Encoded]:
    """Returns what computes it of the images as they are, for the steps below that ask."""
    return feature_cache.make_encode(evaluated_model(config), config.model.posterior_input, None)


def prompter(config: Config) -> Prompter:
    """Returns the trained modules of config.stage_two, which must have a second stage."""
    query = methods.of(config).query
    assert query is not None
    return Prompter(query(config), config.stage_two.width)


def train_step_of_stage_two(
    config: Config, tx: optax.GradientTransformation, stage_one_params: Params, text: np.ndarray
) -> step.TrainStep:
    """Returns the pure training step on encoded batches; `text` f32 [k, p, e] are the prompts."""
    two = config.stage_two
    objective = stage_two.Objective(
        two.dice, two.cross_entropy, two.latent, two.visual, two.text_noise
    )
    terms = stage_two.make_loss_terms(
        model(config),
        # On the host, as a compiled function cannot close over arrays of several processes.
        jax.device_get(stage_one_params),
        prompter(config),
        Projector(two.projection, two.tau, two.codes),
        objective,
        jnp.asarray(text),
    )
    return step.make_train_step(
        terms, stage_two.make_weights(objective), tx, config.optimizer.ema_decay
    )


def eval_step_of_stage_two(
    config: Config, *, together: bool, drawn: bool
) -> Callable[..., style_steps.Personalised]:
    """Returns the pure evaluation step of both stages' parameters and prompts."""
    return style_steps.make_eval_step(*_evaluated(config), together=together, drawn=drawn)


def encode_image_step(config: Config) -> Callable[..., Any]:
    """Returns ``step(params, image) -> (U(x), p(z|x))``, all that a drawing needs of an image."""
    return functools.partial(encoding.encode_image, evaluated_model(config))


def query_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step from prompts to queries."""
    return style_steps.make_query_step(prompter(config))


def draw_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step that draws any number of queries on images without masks."""
    return style_steps.make_draw_step(evaluated_model(config), projector(config))


def sample_step(config: Config, samples: int) -> Callable[..., jax.Array]:
    """Returns the pure step that draws samples of the prior on images without masks."""
    return sample_steps.make_sample_step(evaluated_model(config), samples)


def walk_step(
    config: Config, *, order: Sequence[int], points: int, samples: int
) -> Callable[..., style_steps.Walk]:
    """Returns the pure step that walks from style to style."""
    modules = _evaluated(config)
    return style_steps.make_walk_step(*modules, order=order, points=points, samples=samples)


def _evaluated(config: Config) -> tuple[ProbUNet, Prompter, Projector]:
    """Returns what draws on the images of an evaluation or a prediction."""
    return evaluated_model(config), prompter(config), projector(config)


def projector(config: Config) -> Projector:
    """Returns the projection of config.stage_two with as many codes as evaluation takes."""
    two = config.stage_two
    return Projector(two.projection, two.tau, two.test_codes)


def _kernels(params: Params) -> Params:
    """Marks what weight decay applies to: kernels, not biases and scales."""
    return jax.tree.map(lambda x: x.ndim > 1, params)
