"""Measures the contours of a run's styles as its raters were measured, for the report."""

from typing import Any

import numpy as np

from data_pipelines import habits
from data_pipelines.habits import Habits
from prosona_jax.evaluation import rater_habits
from prosona_jax.evaluation.intervals import Interval, bootstrap_mean
from prosona_jax.experiments import cards, predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.report.card_summary import Card, Carded
from prosona_jax.text import prompts
from prosona_jax.text.habits import parse_scale
from prosona_jax.types import Params

_RECORDS = 250  # about so many, scored ones, on which contours are measured


def of_run(
    config: Config,
    params: Params,
    second: predictions.StageTwo,
    data: Data,
    described: dict[str, Any] | None,
) -> Carded | None:
    """Returns the report's part about style cards; None if the prompts are no measured cards.

    `described` is `Run.prompts`.
    """
    if described is None or "scale" not in described:
        return None
    scale = parse_scale(described["scale"], "run.json")
    drawn = _drawn(config, params, second, data, scale.unit)
    found = []
    for name, group in prompts.cards(described["styles"]).items():
        own = {
            habit: bootstrap_mean(
                rater_habits.together(values, [group])[:, group[0]],
                drawn.patient_ids,
                resamples=config.evaluate.bootstrap,
                seed=config.seed,
            )
            for habit, values in drawn.values.items()
        }
        own = {habit: interval for habit, interval in own.items() if np.isfinite(interval.mean)}
        style = described["styles"][group[0]]
        measured = {habit: Interval(*numbers) for habit, numbers in style.get("habits", {}).items()}
        sentences = (style["train"][0], style["held_out"][0])
        found.append(Card(name, len(group), sentences, measured, own))
    objects = f"{len(drawn.patient_ids)} scored {'volumes' if drawn.slice_mm else 'images'}"
    return Carded(found, scale.unit, tuple(scale.spread), objects)


def _drawn(
    config: Config, params: Params, second: predictions.StageTwo, data: Data, unit: str
) -> Habits:
    """Returns the habits of what the styles draw, each in the place of its rater."""
    indices = cards.spread_objects(data, config.data.split, _RECORDS)
    predicted = predictions.predict_stage_two(
        config, params, second, data, indices, prompts_of=("mean",), drawn=True
    )
    masks = (
        (probs > 0.5).astype(np.uint8)
        for _, (found,) in predicted
        for probs in np.asarray(found.probs)[:, 0]
    )
    return habits.measure((data.dataset[index] for index in indices.tolist()), masks, unit=unit)
