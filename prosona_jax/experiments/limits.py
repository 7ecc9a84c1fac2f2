"""Checks the values of a config's fields; the programs do so before anything else."""

import operator
from collections.abc import Iterable
from typing import Any

from prosona_jax.evaluation import volume_latents
from prosona_jax.experiments import build, second_stages
from prosona_jax.experiments.build import Config
from prosona_jax.training import stage_one, stage_two
from prosona_jax.types import InputError

_CHOICES = {
    "parallel": ("mesh", "pmap"),
    "model.network": ("prob_unet", *build.DIRECT),
    "model.norm": ("none", "group"),
    "model.posterior_input": ("single", "all"),
    "model.dtype": ("float32", "bfloat16"),
    "stage_two.query": tuple(second_stages.METHODS),
    "stage_two.projection": ("analytic", "bank"),
    "evaluate.latent": volume_latents.LATENTS,
}
_NEW = ("evaluate.latent", "evaluate.tolerance_mm", "model.network", "stage_two.ged")
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
    "evaluate.tolerance_mm",
    "stage_two.tau",
    "stage_two.learning_rate",
    "optimizer.learning_rate",
    "optimizer.clip_norm",
)


def check(config: Config) -> None:
    """Raises InputError if a field of the model, loss or schedule has an invalid value."""
    for field in _known(config, _CHOICES):
        if (value := _value(config, field)) not in _CHOICES[field]:
            allowed = ", ".join(_CHOICES[field])
            raise InputError(f"config.{field} is {value!r}; choose from {allowed}")
    for field in _known(config, _LEAST):
        # `not`, so that NaN fails too
        if not (value := _value(config, field)) >= (minimum := _LEAST[field]):
            raise InputError(f"config.{field} is {value}; it must be at least {minimum}")
    for field in _known(config, _ABOVE_0):
        if not (value := _value(config, field)) > 0:
            raise InputError(f"config.{field} is {value}; it must be above 0")
    if not all(t > 0 for t in config.evaluate.get("temperatures", ())):
        raise InputError(
            f"config.evaluate.temperatures is {tuple(config.evaluate.temperatures)}; each must be "
            "above 0"
        )
    if config.optimizer.ema_decay >= 1:
        raise InputError(
            f"config.optimizer.ema_decay is {config.optimizer.ema_decay}; it must be below 1"
        )
    if config.optimizer.warmup_steps >= config.steps:
        raise InputError("config.optimizer.warmup_steps must be below config.steps")
    two = config.stage_two
    if not second_stages.of(config).reads_text and (two.latent or two.visual):
        raise InputError(
            f"config.stage_two.query is {two.query!r} and reads no text: set stage_two.latent and "
            "stage_two.visual to 0"
        )
    if second_stages.of(config).reads_habits and config.prompts.degree_reader:
        raise InputError(
            "config.stage_two.query is 'habits', but config.prompts.degree_reader reads sentences "
            "as degrees: set prompts.degree_reader to '', or stage_two.query to 'text'"
        )
    if build.is_direct(config) and (
        second_stages.exists(config) or config.loss.ged or config.loss.bound
    ):
        raise InputError(
            f"config.model.network is {config.model.network!r} and has no prior: set "
            "stage_two.query to 'none', and loss.ged and loss.bound to 0"
        )
    weighed = any(_value(config, field) for field in _known(config, _WEIGHTS_OF_STAGE_TWO))
    if second_stages.exists(config) and not weighed:
        raise InputError(
            f"{', '.join(_WEIGHTS_OF_STAGE_TWO)} are all 0, so stage two has no loss; set one of "
            "them above 0, or set stage_two.query to 'none'"
        )
    if two.latent and config.model.posterior_input == "all":
        raise InputError(
            "config.stage_two.latent needs a posterior that sees one mask: set it to 0, or set "
            "model.posterior_input to 'single'"
        )
    if config.evaluate.mirror and not (config.augment.flip and config.augment.rotate_degrees >= 90):
        raise InputError(
            "config.evaluate.mirror shows the model mirrored and rotated images: set it to False, "
            "or train on such images: set augment.flip to True and augment.rotate_degrees to 90 or "
            "more"
        )
    channels = config.model.channels
    if not channels or not all(isinstance(c, int) and c > 0 for c in channels):
        raise InputError(
            f"config.model.channels is {tuple(channels)}; give the number of filters of each "
            "scale, at least one scale and at least 1 filter"
        )
    factor = 2 ** (len(channels) - 1)
    if config.data.size % factor:
        raise InputError(
            f"config.data.size is {config.data.size}; {len(channels)} scales in "
            f"config.model.channels need a multiple of {factor}"
        )


def _known(config: Config, fields: Iterable[str]) -> list[str]:
    """Returns the fields without those that a workdir from before them does not have."""

    def is_known(field: str) -> bool:
        section, _, name = field.rpartition(".")
        return field not in _NEW or name in config[section]

    return list(filter(is_known, fields))


def _value(config: Config, field: str) -> Any:
    return operator.attrgetter(field)(config)
