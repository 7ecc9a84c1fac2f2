"""What trained stages predict on the records of a data set, and the scores of that."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from prosona_jax import build, evaluate, inputs, parallel, personalise, step
from prosona_jax.build import Config
from prosona_jax.inputs import Data
from prosona_jax.types import Batch


class StageTwo(NamedTuple):
    """A trained second stage."""

    step: int
    params: step.Params
    text: dict[str, np.ndarray]  # embeddings of its prompts by split, f32 [k, p, e]


def score_stage_one(
    config: Config, params: step.Params, data: Data, split: str, *, samples: int
) -> evaluate.Evaluation:
    """Scores samples of the prior on a split."""
    return evaluate.evaluate(
        predict_stage_one(config, params, data, data.indices[split], samples=samples)
    )


def predict_stage_one(
    config: Config,
    params: step.Params,
    data: Data,
    indices: np.ndarray,
    *,
    samples: int,
    everywhere: bool = False,
) -> Iterable[tuple[Batch, Any]]:
    """Yields this process's records of `indices`, or all `everywhere`, with their predictions."""
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=everywhere)
    return _predict(config, params, batches, build.eval_step, samples=samples)


def score_stage_two(
    config: Config,
    stage_one: step.Params,
    second: StageTwo,
    data: Data,
    split: str,
    *,
    prompts_of: str,
) -> list[evaluate.Row]:
    """Scores the masks that prompts ask for; every sentence counts alike, a repeated one twice.

    `prompts_of` is "train", "held_out", or "mean": one mask per style, by the mean of the queries
    of its training sentences.
    """
    indices = data.indices[split]
    predictions = predict_stage_two(config, stage_one, second, data, indices, prompts_of=prompts_of)
    return evaluate.evaluate_styles(
        predictions, f"prompts_{prompts_of}", by_area=config.data.raters == "by_area"
    )


def score_prompts(
    config: Config, stage_one: step.Params, second: StageTwo, data: Data, split: str
) -> list[evaluate.Row]:
    """Scores a mask per style, and where text is read, every sentence alone."""
    parts = ("mean", "train", "held_out") if config.stage_two.query == "text" else ("mean",)
    return [
        row
        for prompts_of in parts
        for row in score_stage_two(config, stage_one, second, data, split, prompts_of=prompts_of)
    ]


def predict_stage_two(
    config: Config,
    stage_one: step.Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    *,
    prompts_of: str,
    drawn: bool = False,
) -> Iterable[tuple[Batch, personalise.Personalised]]:
    """Yields this process's records with the counts that the prompts' masks are scored by.

    To be `drawn`, all records on each process, and the masks' probabilities besides.
    """
    together = prompts_of == "mean"
    text = second.text["train" if together else prompts_of]  # [k, p, e]
    parts = (stage_one, second.params, np.moveaxis(text, 1, 0))
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=drawn)
    make = build.eval_step_of_stage_two
    return _predict(config, parts, batches, make, together=together, drawn=drawn)


def walk_between_styles(
    config: Config,
    stage_one: step.Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    *,
    points: int,
    samples: int,
) -> Iterable[tuple[Batch, personalise.Walk]]:
    """Yields all records of `indices` with the way through their styles' own contours."""
    parts = (stage_one, second.params, np.moveaxis(second.text["train"], 1, 0))
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=True)
    return _predict(config, parts, batches, build.walk_step, points=points, samples=samples)


def _predict(
    config: Config,
    params: Any,
    batches: Iterable[Batch],
    make: Callable[..., Callable[..., Any]],
    **options: Any,
) -> Iterable[tuple[Batch, Any]]:
    # Not seed, fold or schedule: the folds of a comparison share their steps.
    read = {part: config[part] for part in ("model", "stage_two", "evaluate", "parallel")}
    return evaluate.predict(
        params,
        batches,
        eval_step=_compiled(ml_collections.FrozenConfigDict(read), make, **options),
        parallel=parallel.create(config.parallel),
        root=jax.random.key(config.seed),
    )


@functools.lru_cache(maxsize=32)
def _compiled(
    config: Config, make: Callable[..., Callable[..., Any]], **options: Any
) -> Callable[..., Any]:
    """Returns the step that `make` builds of what it reads, the same one each time."""
    return parallel.create(config.parallel).eval_step(make(config, **options))
