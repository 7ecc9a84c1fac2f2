"""Averages rows of scores over volumes, with intervals over patients."""

from collections.abc import Sequence
from typing import NamedTuple

from prosona_jax.evaluation.catalogue import VOLUME_METRICS, VOLUME_SAMPLES
from prosona_jax.evaluation.results import (
    Comparison,
    Intervals,
    Rows,
    compare,
    known,
    mean,
    means,
)


class VolumeResults(NamedTuple):
    """Scores of volumes, see `volumes.evaluate`."""

    volumes: int
    patients: int
    methods: dict[str, Intervals]  # by method; a metric without a value is absent
    styles: list[Intervals]  # of each style's own contour against its rater
    # Pairs of a style's (else of the prior mean's) volume and a rater's without distance.
    undefined: int


def collect_volumes(rows: Rows, *, styles: int, bootstrap: int) -> VolumeResults:
    """Averages the rows of volumes; `styles` is 0 without a second stage."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    own = "prompts_mean" if styles else "prior_mean"
    each = [
        known((name, mean([r for r in rows if r["method"] == own], column, bootstrap))
               for name, column in _columns_of_style(k).items())
        for k in range(1, styles + 1)
    ]  # fmt: skip
    return VolumeResults(
        volumes=len({row["volume"] for row in rows}),
        patients=len({row["patient_id"] for row in rows}),
        methods={name: means(rows, name, VOLUME_METRICS, bootstrap) for name in methods},
        styles=each,
        undefined=sum(row["undefined"] for row in rows if row["method"] == own),
    )


def _columns_of_style(k: int) -> dict[str, str]:
    """Returns the columns with the scores of style k, by the metric that they are one style of."""
    names = ("hd95_max_mm", "assd_mm", "difference_ml", "bias_ml")
    return {"dice_mean": f"dice_{k}_{k}", **{name: f"{name}_{k}" for name in names}}


def compare_volumes(
    rows: Rows, methods: Sequence[str], samples: int, raters: int, bootstrap: int
) -> Comparison:
    """Pools rows of `volumes.evaluate`, as `results.compare` pools those of records."""
    return compare(
        [{**row, "record_id": row["volume"]} for row in rows],
        methods,
        samples,
        raters,
        bootstrap,
        of_styles=VOLUME_METRICS,
        of_samples=VOLUME_SAMPLES,
    )
