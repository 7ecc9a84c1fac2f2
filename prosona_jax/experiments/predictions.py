"""What trained stages predict on the records of a data set, and the scores of that."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from prosona_jax.evaluation import scoring, style_steps
from prosona_jax.evaluation.sample_steps import Prediction
from prosona_jax.experiments import build, inputs, methods
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.models.encoding import Encoded
from prosona_jax.runtime import parallel
from prosona_jax.training.feature_cache import View
from prosona_jax.types import Batch, Params


class StageTwo(NamedTuple):
    """A trained second stage."""

    step: int
    params: Params
    styles: int  # K
    text: dict[str, np.ndarray]  # its prompts' embeddings f32 [k, p, e] by split, {} without text

    def prompted(self, stage_one: Params, split: str) -> style_steps.Prompted:
        """Returns both stages' parameters with the prompts of a split."""
        text = np.moveaxis(self.text[split], 1, 0) if self.text else None
        return style_steps.Prompted(stage_one, self.params, text)


def score_stage_one(
    config: Config, params: Params, data: Data, split: str, *, samples: int
) -> scoring.Evaluation:
    """Scores samples of the prior on a split."""
    return scoring.evaluate(
        predict_stage_one(config, params, data, data.indices[split], samples=samples)
    )


def predict_stage_one(
    config: Config,
    params: Params,
    data: Data,
    indices: np.ndarray,
    *,
    samples: int,
    drawn: bool = False,
) -> Iterable[tuple[Batch, Prediction]]:
    """Yields this process's records of `indices` with the counts that samples are scored by.

    To be `drawn`, all records on each process, and the samples' probabilities besides.
    """
    eval_step = _step(config, build.eval_step, samples=samples, drawn=drawn)
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=drawn)
    return _predict(config, params, batches, eval_step)


def score_stage_two(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    split: str,
    *,
    prompts_of: Sequence[str],
) -> list[scoring.Row]:
    """Scores the masks that prompts ask for; every sentence counts alike, a repeated one twice.

    `prompts_of` names "train", "held_out", or "mean": one mask per style, by the mean of the
    queries of its training sentences.
    """
    indices = data.indices[split]
    predictions = predict_stage_two(config, stage_one, second, data, indices, prompts_of=prompts_of)
    methods = [f"prompts_{name}" for name in prompts_of]
    return scoring.evaluate_styles(predictions, methods, by_area=config.data.raters == "by_area")


def score_prompts(
    config: Config, stage_one: Params, second: StageTwo, data: Data, split: str
) -> list[scoring.Row]:
    """Scores a mask per style, and where text is read, every sentence alone."""
    parts = ("mean", "train", "held_out") if methods.of(config).reads_text else ("mean",)
    return score_stage_two(config, stage_one, second, data, split, prompts_of=parts)


def predict_stage_two(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    *,
    prompts_of: Sequence[str],
    drawn: bool = False,
) -> Iterable[tuple[Batch, tuple[style_steps.Personalised, ...]]]:
    """Yields this process's records with the counts that the prompts' masks are scored by.

    A batch has one prediction for each name in `prompts_of`, see `score_stage_two`. To be `drawn`,
    all records on each process, and the masks' probabilities besides.
    """
    asked = []
    for name in prompts_of:
        together = name == "mean"
        ask = _step(
            config,
            build.eval_step_of_stage_two,
            styles=second.styles,
            together=together,
            drawn=drawn,
        )
        prompted = second.prompted(stage_one, "train" if together else name)
        asked.append(functools.partial(ask, prompted))
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=drawn)
    return _predict_frozen(
        config, stage_one, batches, lambda *seen: tuple(ask(*seen) for ask in asked)
    )


def walk_between_styles(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    *,
    order: Sequence[int],
    points: int,
    samples: int,
) -> Iterable[tuple[Batch, style_steps.Walk]]:
    """Yields all records of `indices` with the way through their styles' own contours."""
    walk = _step(
        config,
        build.walk_step,
        styles=second.styles,
        order=tuple(order),
        points=points,
        samples=samples,
    )
    prompted = second.prompted(stage_one, "train")
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=True)
    return _predict_frozen(config, stage_one, batches, functools.partial(walk, prompted))


def _predict_frozen(
    config: Config,
    stage_one: Params,
    batches: Iterable[Batch],
    ask: Callable[[Encoded, jax.Array], Any],
) -> Iterable[tuple[Batch, Any]]:
    """Yields what is asked of each batch, which is encoded once and stays on the devices."""
    encode = _step(config, build.encode_step_of_evaluation)
    once = lambda params, batch, root: ask(encode(View(params, 0), batch, root), root)  # noqa: E731
    return _predict(config, stage_one, batches, once)


def _predict(
    config: Config, params: Any, batches: Iterable[Batch], eval_step: Callable[..., Any]
) -> Iterable[tuple[Batch, Any]]:
    return scoring.predict(
        params,
        batches,
        eval_step=eval_step,
        parallel=parallel.create(config.parallel),
        root=jax.random.key(config.seed),
    )


def _step(
    config: Config, make: Callable[..., Callable[..., Any]], **options: Any
) -> Callable[..., Any]:
    # Not seed, fold or schedule: the folds of a comparison share their steps.
    read = {part: config[part] for part in ("model", "stage_two", "evaluate", "parallel")}
    return _compiled(ml_collections.FrozenConfigDict(read), make, **options)


@functools.lru_cache(maxsize=32)
def _compiled(
    config: Config, make: Callable[..., Callable[..., Any]], **options: Any
) -> Callable[..., Any]:
    """Returns the step that `make` builds of what it reads, the same one each time."""
    return parallel.create(config.parallel).eval_step(make(config, **options))
