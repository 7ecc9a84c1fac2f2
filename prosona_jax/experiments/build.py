"""Builds the model, the optimisers and the pure steps of a config."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from prosona_jax.evaluation import (
    direct_steps,
    in_distribution,
    sample_steps,
    style_steps,
    volume_steps,
)
from prosona_jax.evaluation.in_distribution import Appearance
from prosona_jax.experiments import second_stages
from prosona_jax.models import encoding
from prosona_jax.models.direct import Heads, Pionono
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.models.projection import Projector
from prosona_jax.models.query import Prompter
from prosona_jax.training import (
    augment,
    direct_loss,
    feature_cache,
    query_fit,
    stage_one,
    stage_two,
    step,
)
from prosona_jax.types import Params

Config: TypeAlias = ml_collections.ConfigDict

# The values of `model.network` that name a network without a prior: (raters, d, body) -> network.
DIRECT: dict[str, Callable[[int, int, dict[str, Any]], Heads | Pionono]] = {
    "consensus": lambda raters, d, body: Heads(1, True, **body),
    "branches": lambda raters, d, body: Heads(raters, True, **body),
    "unet_per_rater": lambda raters, d, body: Heads(raters, False, **body),
    "pionono": lambda raters, d, body: Pionono(raters, d, **body),
}


def is_direct(config: Config) -> bool:
    """Returns whether the config names a network of models/direct.py."""
    return config.model.get("network", "prob_unet") in DIRECT  # older workdirs have no such field


def direct(config: Config, raters: int) -> Heads | Pionono:
    """Returns the network that draws the raters' masks directly."""
    m = config.model
    body = {
        "channels": tuple(m.channels),
        "convs_per_scale": m.convs_per_scale,
        "norm": m.norm,
        "layers": m.fcomb_layers,
        "dtype": jnp.dtype(m.dtype),
    }
    return DIRECT[m.network](raters, m.latent_dim, body)


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
    """Returns AdamW with the rate and the steps of config.stage_two, without warm-up."""
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
    """Returns the network's initial parameters for images of this shape and number of raters."""
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


def direct_train_step(
    config: Config, network: Heads | Pionono, tx: optax.GradientTransformation
) -> step.TrainStep:
    """Returns the pure training step of a network that draws the raters' masks directly."""
    weights = {name: config.loss[name] for name in ("dice", "cross_entropy", "kl")}
    augmentation = augment.Augmentation(**config.augment)
    return step.make_train_step(
        direct_loss.make_loss_terms(network, config.model.latent_dim, augmentation),
        lambda step: weights,
        tx,
        config.optimizer.ema_decay,
    )


def direct_step(config: Config, *, raters: int, samples: int) -> Callable[..., volume_steps.Drawn]:
    """Returns the pure evaluation step of such a network, see `direct_steps`."""
    network = direct(config, raters).clone(mirrored=config.evaluate.mirror)
    return direct_steps.make_draw_step(network, raters, config.model.latent_dim, samples)


def eval_step(config: Config, *, samples: int, drawn: bool) -> sample_steps.EvalStep:
    """Returns the pure evaluation step with that many samples per record."""
    return sample_steps.make_eval_step(
        evaluated_model(config), samples, config.model.posterior_input, drawn=drawn
    )


def encode_step(config: Config) -> Callable[..., encoding.Encoded]:
    """Returns the pure step that encodes a training batch, augmented by config.augment."""
    augmentation = augment.Augmentation(**config.augment)
    return feature_cache.make_encode(model(config), config.model.posterior_input, augmentation)


def encode_step_of_evaluation(config: Config) -> Callable[..., encoding.Encoded]:
    """Returns the pure step that encodes a batch for evaluation, without augmentation."""
    return feature_cache.make_encode(evaluated_model(config), config.model.posterior_input, None)


def prompter(config: Config, styles: int) -> Prompter:
    """Returns the modules of stage two for K styles; the config must have a second stage."""
    query = second_stages.of(config).query
    assert query is not None
    return Prompter(query(config, styles), config.stage_two.width)


def train_step_of_stage_two(
    config: Config,
    tx: optax.GradientTransformation,
    stage_one_params: Params,
    text: np.ndarray | None,
    *,
    styles: int,
) -> step.TrainStep:
    """Returns the pure training step on encoded batches.

    `text` f32 [k, p, e] holds the embedded prompts of K styles; it is None if no text is read.
    """
    two = config.stage_two
    objective = stage_two.Objective(
        two.dice, two.cross_entropy, two.ged, two.latent, two.visual, two.text_noise
    )
    terms = stage_two.make_loss_terms(
        model(config),
        # On the host, because a compiled function cannot close over arrays of several processes.
        jax.device_get(stage_one_params),
        prompter(config, styles),
        Projector(two.projection, two.tau, two.codes),
        objective,
        None if text is None else jnp.asarray(text),
    )
    return step.make_train_step(
        terms, stage_two.make_weights(objective), tx, config.optimizer.ema_decay
    )


def eval_step_of_stage_two(
    config: Config, *, styles: int, together: bool, drawn: bool
) -> Callable[..., style_steps.Personalised]:
    """Returns the pure evaluation step, which takes `Prompted` and an encoded batch."""
    modules = _evaluated(config, styles)
    return style_steps.make_eval_step(*modules, together=together, drawn=drawn)


def locate_step(config: Config, *, styles: int) -> Callable[..., volume_steps.Located]:
    """Returns the pure step that finds where slices lie in latent space; 0 styles: no stage two."""
    own = prompter(config, styles) if styles else None
    return volume_steps.make_locate_step(evaluated_model(config), own)


def volume_draw_step(config: Config, *, samples: int) -> Callable[..., volume_steps.Drawn]:
    """Returns the pure step that draws samples and styles on slices that are placed."""
    return volume_steps.make_draw_step(evaluated_model(config), projector(config), samples)


def encode_image_step(config: Config) -> Callable[..., Any]:
    """Returns ``step(params, image) -> (U(x), p(z|x))``, the inputs of the drawing steps."""
    return functools.partial(encoding.encode_image, evaluated_model(config))


def appearance_step(config: Config) -> Callable[..., Appearance]:
    """Returns the pure step from an encoded image to how it appears to stage one."""
    return in_distribution.make_appearance_step(evaluated_model(config))


def appearance_step_of_batch(config: Config) -> Callable[..., Appearance]:
    """Returns the same step for a batch that is not yet encoded."""
    return in_distribution.make_batch_step(evaluated_model(config))


def query_step(config: Config, styles: int) -> Callable[..., jax.Array]:
    """Returns the pure step from prompts, or from the K styles, to queries."""
    return style_steps.make_query_step(prompter(config, styles))


def draw_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step that draws any number of queries on images without masks."""
    return style_steps.make_draw_step(evaluated_model(config), projector(config))


def project_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step from queries to latents, given as (z - mu) / sigma."""
    return style_steps.make_project_step(projector(config))


def posterior_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step from images and masks to posterior means, as (z - mu) / sigma."""
    return functools.partial(
        encoding.offsets, evaluated_model(config), posterior_input=config.model.posterior_input
    )


def decode_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step that decodes latents, given as (z - mu) / sigma."""
    return sample_steps.make_decode_step(evaluated_model(config))


def fit_step(config: Config) -> Callable[..., jax.Array]:
    """Returns the pure step that fits one query to the contours of one person."""
    two = config.stage_two
    objective = query_fit.Objective(two.dice, two.cross_entropy, query_fit.PRIOR)
    loss = query_fit.make_loss(evaluated_model(config), projector(config), objective)
    return query_fit.make_fit(loss)


def explore_step(config: Config, *, samples: int, steps: Sequence[float]) -> Callable[..., Any]:
    """Returns the pure step that draws along each latent dimension, and samples of the prior."""
    return sample_steps.make_explore_step(
        evaluated_model(config), samples, config.model.posterior_input, steps
    )


def sample_step(config: Config, samples: int) -> Callable[..., jax.Array]:
    """Returns the pure step that draws samples of the prior on images without masks."""
    return sample_steps.make_sample_step(evaluated_model(config), samples)


def walk_step(
    config: Config, *, styles: int, order: Sequence[int], points: int, samples: int
) -> Callable[..., style_steps.Walk]:
    """Returns the pure step that draws contours on the path from style to style in `order`."""
    modules = _evaluated(config, styles)
    return style_steps.make_walk_step(*modules, order=order, points=points, samples=samples)


def _evaluated(config: Config, styles: int) -> tuple[ProbUNet, Prompter, Projector]:
    """Returns the modules of both stages for evaluation."""
    return evaluated_model(config), prompter(config, styles), projector(config)


def projector(config: Config) -> Projector:
    """Returns the projection of config.stage_two with its number of codes for evaluation."""
    two = config.stage_two
    return Projector(two.projection, two.tau, two.test_codes)


def _kernels(params: Params) -> Params:
    """Marks the parameters that weight decay applies to: kernels, but not biases and scales."""
    return jax.tree.map(lambda x: x.ndim > 1, params)
