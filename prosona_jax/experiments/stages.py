"""Trains the two stages of a run and reads them back.

Each stage has its own folder with checkpoints and a history. It is trained to the end of its
schedule; a stage that is already trained is skipped.
"""

import contextlib
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from data_pipelines import loader
from prosona_jax.evaluation import scoring
from prosona_jax.experiments import (
    build,
    inputs,
    limits,
    predictions,
    prompt_sets,
    second_stages,
    temperature,
    training_images,
)
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.models import encoding
from prosona_jax.runtime import checkpoint, monitor, parallel, workdir
from prosona_jax.text.habit_reader import TOPICS
from prosona_jax.text.habits import AXES
from prosona_jax.training import feature_cache, stage_two, step
from prosona_jax.training.loop import Schedule, train
from prosona_jax.types import InputError, Params


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other runs out of a folder; the first process locks it for all, or all of them fail."""
    with contextlib.ExitStack() as stack:

        def hold() -> None:
            if jax.process_index() == 0:
                stack.enter_context(workdir.hold(folder))

        parallel.first_process_first(hold)
        yield


def check(config: Config) -> None:
    """Raises InputError if the config is invalid, or its batches do not fit these devices.

    It is called at the start, because data preparation and stage one may take hours.
    """
    limits.check(config)
    two, devices = config.stage_two, jax.device_count()
    sizes = {"batch_size": config.batch_size}
    if second_stages.exists(config):
        sizes["stage_two.batch_size"] = two.batch_size
    for field, size in sizes.items():
        if size % devices:
            raise InputError(
                f"config.{field} is {size}; it must be a multiple of {devices}, the number of "
                "devices"
            )


def check_raters(config: Config, raters: int) -> None:
    """Raises InputError if images with this number of raters cannot train the second stage."""
    if second_stages.exists(config) and raters < 2:
        raise InputError(
            "the images have one mask each, but a second stage learns how raters differ: set "
            "stage_two.query to 'none', and stage_two.latent and stage_two.visual to 0"
        )


def fit(
    config: Config, folder: pathlib.Path, data: Data, prompts: prompt_sets.Prompts | None
) -> None:
    """Trains the stages of the config in ``<folder>/stage_one`` and ``<folder>/stage_two``."""
    fit_stage_one(config, folder / "stage_one", data)
    if second_stages.exists(config):
        _, params = read_stage_one(
            config, folder / "stage_one", channels=data.channels, raters=data.raters
        )
        fit_stage_two(config, folder / "stage_two", data, params, prompts)


def fit_stage_one(config: Config, folder: pathlib.Path, data: Data) -> None:
    """Trains the probabilistic U-Net of the config in the folder, or continues its training."""
    network, tx = build.model(config), build.optimizer(config)
    devices = parallel.create(config.parallel)
    # Before the training, so that all processes find the same: the first one writes at the end.
    chosen = temperature.is_kept(folder) or not config.evaluate.get("temperatures")
    measured = training_images.is_kept(folder)
    samples = config.evaluate.validation_samples

    def validate(params: Params) -> dict[str, float]:
        return scoring.summarise(
            predictions.score_stage_one(config, params, data, "validation", samples=samples)
        )

    params = _initial_stage_one(config, data.channels, data.raters)
    train(
        devices.replicate(step.create_state(params, tx)),
        workdir=str(folder),
        train_step=devices.train_step(build.train_step(config, network, tx)),
        shard=devices.shard,
        batches=loader.train_batches(
            loader.reader(data.dataset),
            data.indices["train"],
            batch_size=config.batch_size,
            seed=config.seed,
            **inputs.process(),
        ),
        root=jax.random.key(config.seed),
        validate=validate,
        cost=lambda scores: scores["ged"],
        schedule=schedule(config, config.steps),
    )
    shape = {"channels": data.channels, "raters": data.raters}
    if not chosen:
        _, best = read_stage_one(config, folder, **shape)
        found = temperature.choose(config, best, data)
        parallel.first_process_first(lambda: temperature.keep(folder, found))
    if not measured:
        _, best = read_stage_one(config, folder, **shape)
        training_images.keep(folder, training_images.measure(config, best, data))


def shared_name(config: dict[str, Any]) -> str:
    """Returns a folder name that two configs share only if their first stages are the same."""
    relevant = {
        name: value
        for name, value in workdir.fields(config).items()
        if not name.startswith(("stage_two.", "prompts."))
    }
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
    return f"stage_one-{digest[:8]}"


def stage_one_folder(folder: pathlib.Path, run: workdir.Run) -> pathlib.Path:
    """Returns the folder of stage one: in the workdir or, in a comparison, beside it."""
    own, shared = folder / "stage_one", folder.resolve().parent / shared_name(run.config)
    return shared if shared.exists() and not own.exists() else own


def unfinished(folder: pathlib.Path, run: workdir.Run) -> list[str]:
    """Returns a caveat for each stage of the run that is not trained to its last step."""
    stages = {"one": (stage_one_folder(folder, run), run.config["steps"])}
    if second_stages.exists(ml_collections.ConfigDict(run.config)):
        stages["two"] = (folder / "stage_two", run.config["stage_two"]["steps"])
    found = []
    for stage, (stage_folder, steps) in stages.items():
        history = monitor.read_history(stage_folder)
        if (done := history[-1]["step"] if history else 0) < steps:
            found.append(
                f"Training unfinished: stage {stage} was trained for {done} of {steps} steps, and "
                "its best checkpoint so far is used."
            )
    return found


def read_stages(
    folder: pathlib.Path, run: workdir.Run
) -> tuple[int, Params, predictions.StageTwo | None]:
    """Returns best step and parameters of stage one, and the best stage two if there is one."""
    config = ml_collections.ConfigDict(run.config)
    shape = {"channels": run.channels, "raters": run.raters}
    best, params = read_stage_one(config, stage_one_folder(folder, run), **shape)
    if not second_stages.exists(config):
        return best, params, None
    return best, params, read_stage_two(config, folder / "stage_two", run.prompts, **shape)


def read_stage_one(
    config: Config, folder: pathlib.Path, *, channels: int, raters: int
) -> tuple[int, Params]:
    """Returns the step and the parameters of the folder's best checkpoint, at its temperature."""
    zeros = like(config, lambda: _initial_stage_one(config, channels, raters))
    best, params, _ = checkpoint.read_best(folder, zeros)
    chosen = temperature.read(folder)
    return best, params if chosen == 1.0 else temperature.with_temperature(params, chosen)


def _initial_stage_one(config: Config, channels: int, raters: int) -> Params:
    root, size = jax.random.key(config.seed), config.data.size
    return build.initialise(config, build.model(config), root, (size, size, channels), raters)


def like(config: Config, make: Callable[[], Any]) -> Any:
    """Returns zeros on the devices in the shapes of `make()`, which is not computed."""
    shapes = jax.eval_shape(make)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    return parallel.create(config.parallel).replicate(zeros)


def fit_stage_two(
    config: Config,
    folder: pathlib.Path,
    data: Data,
    stage_one: Params,
    prompts: prompt_sets.Prompts | None,
) -> None:
    """Trains the second stage of the config on encoded records, or continues its training."""
    if checkpoint.is_saved(folder, config.stage_two.steps):  # before records are encoded
        return
    devices = parallel.create(config.parallel)
    text = prompts.arrays() if prompts else {}
    encoded = _encode(config, data, stage_one)
    tx = build.optimizer_of_stage_two(config)
    shape = {"channels": data.channels, "raters": data.raters}
    dim = prompts.encoder["dim"] if prompts else None
    params = _initial_stage_two(config, **shape, text_dim=dim)

    def validate(average: Params) -> dict[str, float]:
        second = predictions.StageTwo(0, average, data.raters, text)
        rows = predictions.score_stage_two(
            config, stage_one, second, data, "validation", prompts_of=("mean",)
        )
        return scoring.summarise_styles(rows)

    train(
        devices.replicate(step.create_state(params, tx)),
        workdir=str(folder),
        train_step=devices.train_step(
            build.train_step_of_stage_two(
                config, tx, stage_one, text.get("train"), styles=data.raters
            )
        ),
        shard=devices.shard,
        batches=loader.train_batches(
            feature_cache.reader(encoded),
            np.arange(len(encoded.index)),
            batch_size=config.stage_two.batch_size,
            seed=config.seed,
            **inputs.process(),
        ),
        root=jax.random.key(config.seed),
        validate=validate,
        cost=lambda scores: -scores["dice_mean"],
        schedule=schedule(config, config.stage_two.steps),
        carry=text or None,
    )


def read_stage_two(
    config: Config, folder: pathlib.Path, described: Any, *, channels: int, raters: int
) -> predictions.StageTwo:
    """Returns the folder's best second stage; `described` is `Run.prompts`."""
    dim = described["encoder"]["dim"] if described else None
    initial = functools.partial(_initial_stage_two, config, channels, raters, dim)
    if not described:
        best, params, _ = checkpoint.read_best(folder, like(config, initial))
        return predictions.StageTwo(best, params, raters, {})
    text = _empty_text(described, raters)
    zeros = like(config, lambda: {"average": initial(), "carry": text})
    best, tree, _ = checkpoint.read_best(folder, zeros)
    return predictions.StageTwo(best, tree["average"], raters, jax.device_get(tree["carry"]))


def shapes(run: workdir.Run) -> dict[str, Any]:
    """Returns shapes and types of what a run trains: its "stage_one", "stage_two" and "text"."""
    config = ml_collections.ConfigDict(run.config)
    make = {"stage_one": lambda: _initial_stage_one(config, run.channels, run.raters)}
    if second_stages.exists(config):
        dim = run.prompts["encoder"]["dim"] if run.prompts else None
        make["stage_two"] = lambda: _initial_stage_two(config, run.channels, run.raters, dim)
    if run.prompts:
        make["text"] = functools.partial(_empty_text, run.prompts, run.raters)
    return {name: jax.eval_shape(made) for name, made in make.items()}


def _empty_text(described: dict[str, Any], raters: int) -> dict[str, np.ndarray]:
    """Returns zeros in the shapes of `Prompts.arrays`; `described` is `Run.prompts`."""
    dim, text = described["encoder"]["dim"], {}
    for split in ("train", "held_out"):
        most = max(len(style[split]) for style in described["styles"])
        text[split] = np.zeros((raters, most, dim), np.float32)
    if "habit_reader" in described["encoder"]:
        shape = (dim - len(AXES) + 1, len(AXES) + len(TOPICS))
        text["habit_reader"] = np.zeros(shape, np.float32)
    if "degree_reader" in described["encoder"]:
        reader = described["encoder"]["degree_reader"]
        text["degree_reader"] = np.zeros((reader["members"], reader["size"]), np.float32)
    return text


def _initial_stage_two(config: Config, channels: int, raters: int, text_dim: int | None) -> Params:
    size = config.data.size
    return stage_two.initialise(
        build.prompter(config, raters),
        jax.random.key(config.seed),
        build.model(config),
        image_shape=(size, size, channels),
        styles=raters,
        text_dim=text_dim,
    )


def _encode(config: Config, data: Data, stage_one: Params) -> encoding.Encoded:
    """Returns the training records, encoded and augmented, on the host."""
    devices = parallel.create(config.parallel)
    return feature_cache.keep(
        lambda: inputs.eval_batches(config, data.dataset, data.indices["train"]),
        data.indices["train"],
        views=config.stage_two.views,
        params=stage_one,
        encode_step=devices.eval_step(build.encode_step(config)),
        parallel=devices,
        root=jax.random.key(config.seed),
    )


def schedule(config: Config, steps: int) -> Schedule:
    """Returns when a training of so many steps logs, validates and saves."""
    return Schedule(
        steps, config.log_every_steps, config.evaluate.every_steps, config.checkpoint_every_steps
    )
