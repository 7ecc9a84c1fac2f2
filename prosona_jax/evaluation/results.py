"""Averages rows of scores over records, with intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.catalogue import (
    CONTOUR_METRICS,
    LEAVE_ONE_OUT,
    METRICS,
    RETRIEVAL,
    STYLE_METRICS,
    Metric,
)
from prosona_jax.evaluation.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
)

_SEED = 0  # all numbers use the same resamples of patients

Rows = Sequence[Mapping[str, Any]]  # each {"record_id", "patient_id", "method", metric: value...}
TRAINED, HELD_OUT = ", training sentences", ", held-out sentences"
_IDS = ("record_id", "patient_id")
_NOT_SCORES = (*_IDS, "volume", "slices", "site", "run", "method", "fold", "seed", "commit")
OF_STYLES = {"prompts_mean": "", "prompts_train": TRAINED, "prompts_held_out": HELD_OUT}
BASELINES = (
    "consensus",
    "branches",
    "unet_per_rater",
    "pionono",
    "dpersona",
    "dpersona_heads",
    "expert_id",
    f"prosona{TRAINED}",
)
DIVERSE = "dpersona"  # the baseline for samples of the first stages
SHARE = "_share"  # suffix of a metric: the difference divided by the baseline's mean
_GEDS = ("ged", "ged_dpersona")  # only of these metrics is a share shown
Intervals = dict[str, Interval]  # by the metric's name


class Results(NamedTuple):
    """Scores of the first stage. A metric without a value in any row is absent."""

    samples: Intervals
    prior_mean: Intervals
    difference: Intervals  # samples minus prior mean, on the records that have both
    leave_one_out: dict[str, Intervals]  # by method


def collect(rows: Rows, *, bootstrap: int) -> Results:
    """Averages the rows of each method, with intervals from `bootstrap` resamples of patients."""
    return Results(
        samples=means(rows, "samples", METRICS, bootstrap),
        prior_mean=means(rows, "prior_mean", METRICS, bootstrap),
        difference=differences(rows, "samples", "prior_mean", METRICS, bootstrap),
        leave_one_out={
            method: means(rows, method, LEAVE_ONE_OUT, bootstrap)
            for method in ("raters", "samples", "prior_mean")
        },
    )


class StyleResults(NamedTuple):
    """Scores of the second stage.

    A style's own contour is drawn from the mean query of its training sentences. A single sentence
    identifies its style less reliably.
    """

    styles: Intervals  # each style's own contour
    trained: Intervals  # training sentences, each alone; {} if the method reads no text
    held_out: Intervals  # held-out sentences, each alone; {} if the method reads no text
    difference: Intervals  # held-out minus training sentences
    table: list[list[Interval]]  # Dice of style i's mask (row) with rater j
    areas: list[Interval]  # pixels of style i's mask
    areas_mm2: list[Interval]  # the same in mm²; [] unless the pixels of all records have a size
    contours: list[Intervals]  # of style i's own contour, `CONTOUR_METRICS` without the unknown
    undefined: int  # pairs of a style's own contour and its rater's of which these are unknown


def collect_styles(rows: Rows, *, styles: int, bootstrap: int) -> StyleResults:
    """Averages the rows of "prompts_mean", "prompts_train" and "prompts_held_out"."""
    metrics = (*STYLE_METRICS, *RETRIEVAL)
    own = [row for row in rows if row["method"] == "prompts_mean"]
    return StyleResults(
        styles=means(rows, "prompts_mean", metrics, bootstrap),
        trained=means(rows, "prompts_train", metrics, bootstrap),
        held_out=means(rows, "prompts_held_out", metrics, bootstrap),
        difference=differences(rows, "prompts_held_out", "prompts_train", metrics, bootstrap),
        table=dice_table(own, styles, bootstrap),
        areas=_areas(own, "area", styles, bootstrap),
        areas_mm2=_areas(own, "area_mm2", styles, bootstrap) if _sized(own) else [],
        contours=[
            known((m.name, mean(own, f"{m.name}_{k}", bootstrap)) for m in CONTOUR_METRICS)
            for k in range(1, styles + 1)
        ],
        undefined=sum(row.get("undefined", 0) for row in own),
    )


def _areas(rows: Rows, name: str, styles: int, bootstrap: int) -> list[Interval]:
    return [mean(rows, f"{name}_{k}", bootstrap) for k in range(1, styles + 1)]


def _sized(rows: Rows) -> bool:
    """Returns whether each area is known in mm² too."""
    return bool(np.array_equal(*(np.isnan(_column(rows, f"{x}_1")) for x in ("area", "area_mm2"))))


class Comparison(NamedTuple):
    """Scores of several methods, pooled over folds and seeds."""

    records: int
    patients: int
    seeds: list[int]
    personal: dict[str, Intervals]  # by method: scores of one contour per style
    # Pairs of a style's own contour and its rater's without distance, by method; means over seeds.
    undefined: dict[str, float]
    gains: dict[str, dict[str, Intervals]]  # by baseline and method: method minus baseline
    tables: dict[str, list[list[Interval]]]  # by method: Dice of style i with rater j
    diversified: dict[int, dict[str, Intervals]]  # by number of samples and method: their scores
    diversity_gains: dict[int, dict[str, Intervals]]  # by the same keys: method minus DIVERSE


def compare(
    rows: Rows,
    methods: Sequence[str],
    samples: int,
    raters: int,
    bootstrap: int,
    *,
    of_styles: Sequence[Metric] = STYLE_METRICS,
    of_samples: Sequence[Metric] = METRICS,
) -> Comparison:
    """Pools rows, as in `report.comparison.Compared`, and computes paired differences.

    `of_styles` and `of_samples` are the metrics of one contour per style, and of samples.
    """
    styled = pool(rows, OF_STYLES)
    labels = [method + suffix for method in methods for suffix in OF_STYLES.values()]
    personal = _scores(styled, labels, of_styles, bootstrap)
    sampled = {
        count: pool(rows, {f"samples@{count}": ""}) for count in dict.fromkeys((samples, raters))
    }
    return Comparison(
        records=len({row["record_id"] for row in rows}),
        patients=len({row["patient_id"] for row in rows}),
        seeds=sorted({row["seed"] for row in rows}),
        personal=personal,
        undefined=_undefined(styled),
        gains={
            base: _differences_to(styled, base, labels, of_styles, bootstrap)
            for base in BASELINES
            if base in personal
        },
        tables={
            method: dice_table(
                [row for row in styled if row["method"] == method], raters, bootstrap
            )
            for method in methods
            if method in personal
        },
        diversified={
            count: _scores(drawn, methods, of_samples, bootstrap)
            for count, drawn in sampled.items()
        },
        diversity_gains={
            count: _differences_to(drawn, DIVERSE, methods, of_samples, bootstrap)
            for count, drawn in sampled.items()
        },
    )


def _undefined(rows: Rows) -> dict[str, float]:
    """Returns the sum of the column "undefined" by method; sentences have no distances."""
    found: dict[str, float] = {}
    for row in rows:
        if "undefined" in row:
            found[row["method"]] = found.get(row["method"], 0.0) + row["undefined"]
    return found


def _scores(
    rows: Rows, labels: Sequence[str], metrics: Sequence[Metric], bootstrap: int
) -> dict[str, Intervals]:
    """Returns the scores of each method that has rows."""
    scores = {label: means(rows, label, metrics, bootstrap) for label in labels}
    return {label: intervals for label, intervals in scores.items() if intervals}


def _differences_to(
    rows: Rows, base: str, labels: Sequence[str], metrics: Sequence[Metric], bootstrap: int
) -> dict[str, Intervals]:
    found = {
        label: differences(rows, label, base, metrics, bootstrap)
        for label in labels
        if label != base
    }
    for label, intervals in found.items():
        for metric in geds(metrics):
            if intervals and (part := share(rows, label, base, metric, bootstrap)):
                intervals[metric.name + SHARE] = part
    return {label: intervals for label, intervals in found.items() if intervals}


def geds(metrics: Sequence[Metric]) -> list[Metric]:
    """Returns the metrics whose differences are also shown in percent of the baseline's mean."""
    return [metric for metric in metrics if metric.name in _GEDS]


def dice_table(rows: Rows, styles: int, bootstrap: int) -> list[list[Interval]]:
    """Returns the Dice of style i's mask (row) with rater j (column).

    The mean is NaN where no row has a value.
    """
    k = range(1, styles + 1)
    return [[mean(rows, f"dice_{i}_{j}", bootstrap) for j in k] for i in k]


def mean(rows: Rows, name: str, bootstrap: int) -> Interval:
    """Returns the mean of a column, NaN without a value."""
    patients = [row["patient_id"] for row in rows]
    return bootstrap_mean(_column(rows, name), patients, resamples=bootstrap, seed=_SEED)


def pool(rows: Rows, suffixes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns one row per record and run, in which each score is the mean over the run's seeds.

    Args:
        rows: rows of any runs and seeds. Beside the keys of `Rows` they have "run", "seed", "fold"
            and "commit".
        suffixes: the methods to keep. "method" of a new row is the run's name with this suffix.
    """
    groups: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        if row["method"] in suffixes:
            label = row["run"] + suffixes[row["method"]]
            groups.setdefault((label, row["record_id"], row["patient_id"]), []).append(row)
    return [
        dict(zip(("method", *_IDS), key, strict=True))
        | {
            name: float(np.mean([row[name] for row in group]))
            for name in group[0]
            if name not in _NOT_SCORES
        }
        for key, group in groups.items()
    ]


def means(rows: Rows, method: str, metrics: Sequence[Metric], bootstrap: int) -> Intervals:
    """Returns the means over a method's rows; a metric without a value is absent."""
    own = [row for row in rows if row["method"] == method]
    return known((metric.name, mean(own, metric.name, bootstrap)) for metric in metrics)


def differences(
    rows: Rows, method: str, from_method: str, metrics: Sequence[Metric], bootstrap: int
) -> Intervals:
    """Returns mean differences, `method` minus `from_method`, over the records that both have."""
    own, paired = _pairs(rows, method, from_method)
    patients = [row["patient_id"] for row in own]
    return known(
        (
            metric.name,
            bootstrap_difference(
                _column(own, metric.name), _column(paired, metric.name), patients,
                resamples=bootstrap, seed=_SEED,
            ),
        )
        for metric in metrics
    )  # fmt: skip


def share(
    rows: Rows, method: str, from_method: str, metric: Metric, bootstrap: int
) -> Interval | None:
    """Returns the difference divided by `from_method`'s mean; None if that is 0 or absent."""
    own, paired = _pairs(rows, method, from_method)
    a, b = _column(own, metric.name), _column(paired, metric.name)
    if not np.sum(b[~np.isnan(a + b)]) > 0:
        return None
    patients = [row["patient_id"] for row in own]
    return bootstrap_ratio(a - b, b, patients, resamples=bootstrap, seed=_SEED)


def _pairs(rows: Rows, method: str, from_method: str) -> tuple[Rows, Rows]:
    """Returns the rows of both methods for the records that both have, in the same order."""
    other = {row["record_id"]: row for row in rows if row["method"] == from_method}
    own = [row for row in rows if row["method"] == method and row["record_id"] in other]
    return own, [other[row["record_id"]] for row in own]


def _column(rows: Rows, name: str) -> Float[np.ndarray, " n"]:
    values = (row.get(name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], np.float64)


def known(intervals: Iterable[tuple[str, Interval]]) -> Intervals:
    """Returns the intervals that have a mean."""
    return {name: interval for name, interval in intervals if not math.isnan(interval.mean)}
