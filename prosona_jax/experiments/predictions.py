"""The predictions of trained stages on the records of a data set, and their scores."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from prosona_jax.evaluation import scoring, style_steps
from prosona_jax.evaluation.contours import InMm
from prosona_jax.evaluation.in_distribution import Appearance
from prosona_jax.evaluation.sample_steps import Prediction
from prosona_jax.experiments import build, inputs, second_stages
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
    text: dict[str, np.ndarray]  # see `Prompts.arrays`; {} if no text is read

    def prompted(self, stage_one: Params, split: str) -> style_steps.Prompted:
        """Returns both stages' parameters with the prompts of a split."""
        text = np.moveaxis(self.text[split], 1, 0) if self.text else None
        return style_steps.Prompted(stage_one, self.params, text)


def score_stage_one(
    config: Config, params: Params, data: Data, split: str, *, samples: int
) -> scoring.Evaluation:
    """Scores samples of the prior on a split."""
    return scoring.evaluate(
        predict_stage_one(config, params, data, data.drawn(split), samples=samples)
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
    """Yields this process's records of `indices` with the pixel counts that score the samples.

    If `drawn`, each process yields all records, and the predictions hold the samples'
    probabilities too.
    """
    eval_step = step(config, build.eval_step, samples=samples, drawn=drawn)
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=drawn)
    return run(config, params, batches, eval_step)


def appearances(config: Config, params: Params, data: Data, indices: np.ndarray) -> Appearance:
    """Returns how the records of `indices` appear to stage one, on every process."""
    appear = step(config, build.appearance_step_of_batch)
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=True)
    found = [each for _, each in run(config, params, batches, appear)]
    return jax.tree.map(lambda *each: np.concatenate(each), *found)


def score_stage_two(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    split: str,
    *,
    prompts_of: Sequence[str],
    in_mm: InMm | None = None,
) -> list[scoring.Row]:
    """Scores the masks of prompts; sentences have equal weight, and a repeated one counts twice.

    `prompts_of` holds any of "train", "held_out" and "mean". "mean" draws one mask per style, by
    the mean of the queries of its training sentences. `in_mm` is as in `scoring.evaluate_styles`.
    """
    indices = data.drawn(split)
    predictions = predict_stage_two(config, stage_one, second, data, indices, prompts_of=prompts_of)
    names = [f"prompts_{name}" for name in prompts_of]
    by_area = config.data.raters == "by_area"
    return scoring.evaluate_styles(predictions, names, by_area=by_area, in_mm=in_mm)


def score_prompts(
    config: Config, stage_one: Params, second: StageTwo, data: Data, split: str
) -> list[scoring.Row]:
    """Scores one mask per style, also in mm, and, if text is read, the mask of every sentence."""
    parts = ("mean", "train", "held_out") if second_stages.of(config).reads_text else ("mean",)
    own = in_mm(config, data)
    return score_stage_two(config, stage_one, second, data, split, prompts_of=parts, in_mm=own)


def in_mm(config: Config, data: Data) -> InMm:
    """Returns how the records of the data are measured in mm."""
    pixel_mm = functools.cache(lambda index: data.dataset[index].spacing_mm)
    return InMm(pixel_mm, tolerance_mm(config))


def tolerance_mm(config: Config) -> float:
    """Returns config.evaluate.tolerance_mm; workdirs from before this field have its default."""
    return config.evaluate.get("tolerance_mm", 1.0)


def predict_stage_two(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    *,
    prompts_of: Sequence[str],
    drawn: bool = False,
    everywhere: bool = False,
) -> Iterable[tuple[Batch, tuple[style_steps.Personalised, ...]]]:
    """Yields this process's records with the pixel counts that score the masks of prompts.

    A batch has one prediction for each name in `prompts_of`, see `score_stage_two`. If `drawn`,
    the predictions hold the masks' probabilities too. If `drawn` or `everywhere`, each process
    yields all records.
    """
    eval_steps = []
    for name in prompts_of:
        together = name == "mean"
        eval_step = step(
            config,
            build.eval_step_of_stage_two,
            styles=second.styles,
            together=together,
            drawn=drawn,
        )
        prompted = second.prompted(stage_one, "train" if together else name)
        eval_steps.append(functools.partial(eval_step, prompted))
    everywhere = everywhere or drawn
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=everywhere)
    return _predict_encoded(
        config, stage_one, batches, lambda *args: tuple(each(*args) for each in eval_steps)
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
    """Yields all records of `indices` with contours on the path through the styles in `order`."""
    walk = step(
        config,
        build.walk_step,
        styles=second.styles,
        order=tuple(order),
        points=points,
        samples=samples,
    )
    prompted = second.prompted(stage_one, "train")
    batches = inputs.eval_batches(config, data.dataset, indices, everywhere=True)
    return _predict_encoded(config, stage_one, batches, functools.partial(walk, prompted))


def _predict_encoded(
    config: Config,
    stage_one: Params,
    batches: Iterable[Batch],
    asked: Callable[[Encoded, jax.Array], Any],
) -> Iterable[tuple[Batch, Any]]:
    """Yields each batch with the answer; it is encoded once and stays on the devices."""
    encode = step(config, build.encode_step_of_evaluation)
    once = lambda params, batch, root: asked(encode(View(params, 0), batch, root), root)  # noqa: E731
    return run(config, stage_one, batches, once)


def run(
    config: Config, params: Any, batches: Iterable[Any], eval_step: Callable[..., Any]
) -> Iterable[tuple[Any, Any]]:
    """Yields this process's batches with the results of a step of :func:`step`."""
    return scoring.predict(
        params,
        batches,
        eval_step=eval_step,
        parallel=parallel.create(config.parallel),
        root=jax.random.key(config.seed),
    )


def step(
    config: Config, make: Callable[..., Callable[..., Any]], **options: Any
) -> Callable[..., Any]:
    """Returns the compiled step that `make` of `build` builds with the options."""
    # Without seed, fold and schedule, so that all folds of a comparison share a compiled step.
    parts = ("model", "prompts", "stage_two", "evaluate", "parallel")
    used = {part: config[part] for part in parts}
    return _compiled(ml_collections.FrozenConfigDict(used), make, **options)


@functools.lru_cache(maxsize=32)
def _compiled(
    config: Config, make: Callable[..., Callable[..., Any]], **options: Any
) -> Callable[..., Any]:
    """Returns the compiled step that `make` builds; equal arguments return the same step."""
    return parallel.create(config.parallel).eval_step(make(config, **options))
