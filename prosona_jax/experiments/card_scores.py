"""Measures the contours of a run's styles as its raters were measured, for the report."""

from typing import Any

import numpy as np

from data_pipelines import habits
from prosona_jax.evaluation import rater_habits
from prosona_jax.evaluation.intervals import Interval, bootstrap_mean
from prosona_jax.experiments import inputs, predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.report.card_summary import Card, Carded
from prosona_jax.text import prompts
from prosona_jax.text.habits import parse_scale
from prosona_jax.types import Params

_RECORDS = 100  # scored images on which contours are measured


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
    indices = inputs.spread(data.drawn(config.data.split), _RECORDS)
    drawn = _drawn(config, params, second, data, indices, scale.unit)
    patients = [data.dataset.patient_ids[index] for index in indices.tolist()]
    cards = []
    for name, group in prompts.cards(described["styles"]).items():
        found = {
            habit: bootstrap_mean(
                rater_habits.together(values, [group])[:, group[0]],
                patients,
                resamples=config.evaluate.bootstrap,
                seed=config.seed,
            )
            for habit, values in drawn.items()
        }
        style = described["styles"][group[0]]
        measured = {habit: Interval(*own) for habit, own in style.get("habits", {}).items()}
        sentences = (style["train"][0], style["held_out"][0])
        cards.append(Card(name, len(group), sentences, measured, found))
    return Carded(cards, scale.unit, tuple(scale.spread), len(indices))


def _drawn(
    config: Config,
    params: Params,
    second: predictions.StageTwo,
    data: Data,
    indices: np.ndarray,
    unit: str,
) -> dict[str, np.ndarray]:
    """Returns the habits f64 [n, k] of what the styles draw, by name."""
    predicted = predictions.predict_stage_two(
        config, params, second, data, indices, prompts_of=("mean",), drawn=True
    )
    masks = [probs > 0.5 for _, (found,) in predicted for probs in np.asarray(found.probs)[:, 0]]
    rows = []
    for index, own in zip(indices.tolist(), masks, strict=False):  # a batch may end in padding
        record = data.dataset[index]
        table = habits.of_drawn(own.astype(np.uint8), record.masks, record.rater_valid).habits
        size = float(np.sqrt(np.prod(record.spacing_mm))) if unit == "mm" else 1.0
        lengths = [name in habits.LENGTHS for name in habits.OF_IMAGES]
        rows.append(table * np.where(lengths, size, 1.0)[:, None])
    return dict(zip(habits.OF_IMAGES, np.stack(rows, axis=1), strict=True))
