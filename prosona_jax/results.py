"""Rows of scores become means with intervals, and these become the numbers that a report prints."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.intervals import Interval, bootstrap_difference, bootstrap_mean

_SEED = 0  # one set of patient resamples for every number

Rows = Sequence[Mapping[str, Any]]  # {"record_id", "patient_id", "method", metric: value...} each
Intervals = dict[str, Interval]  # by name of the metric


class Metric(NamedTuple):
    """A column of the rows, and how it is read."""

    name: str
    title: str  # "@S" stands for the number of samples
    better: str  # "lower" or "higher"
    points: bool  # printed times 100 with one decimal, else with three
    meaning: str

    def label(self, samples: int) -> str:
        return self.title.replace("@S", f"@{samples}")

    def number(self, value: float, *, sign: bool = False) -> str:
        scaled, decimals = (100 * value, 1) if self.points else (value, 3)
        return f"{scaled:{'+' if sign else ''}.{decimals}f}".replace("-", "−")

    def between(self, interval: Interval, *, sign: bool = False) -> str:
        """The interval in words."""
        if not (limits := bounds(interval)):
            return "one patient gives no interval"
        low, high = (self.number(limit, sign=sign) for limit in limits)
        return f"95 % interval {low} to {high}"

    def cell(self, interval: Interval | None, *, sign: bool = False) -> str:
        """Mean and interval as a table shows them."""
        if interval is None:
            return "–"
        mean = self.number(interval.mean, sign=sign)
        if not (limits := bounds(interval)):
            return mean
        low, high = (self.number(limit, sign=sign) for limit in limits)
        return f"{mean} [{low}, {high}]"


METRICS = (
    Metric(
        "ged", "GED@S", "lower", False,
        "Distance between the set of samples and the set of readers' masks, 0 if the sets are "
        "the same: `2 E d(s,y) − E d(s,s′) − E d(y,y′)`, `d = 1 − IoU`, pairs of a mask with "
        "itself included; two empty masks have `d = 0`.",
    ),
    Metric(
        "ged_dpersona", "GED@S (D-Persona)", "lower", False,
        "The same in the convention of D-Persona's code: two empty masks have `d = 1`.",
    ),
    Metric(
        "dice_match", "Dice, matched", "higher", True,
        "Samples and readers are paired one to one so that the sum of Dice is greatest; mean "
        "over the pairs.",
    ),
    Metric(
        "dice_soft", "Dice, soft", "higher", True,
        "The mean of all samples against the mean of all readers, both cut at 0.1, 0.3, 0.5, 0.7 "
        "and 0.9; mean Dice of the five cuts.",
    ),
    Metric(
        "dice_max_samples_per_rater", "Dice, best sample of each reader", "higher", True,
        "Is every reader covered? The best Dice of any sample with a reader; mean over readers.",
    ),
    Metric(
        "dice_max_raters_per_sample", "Dice, best reader of each sample", "higher", True,
        "Is every sample plausible? The best Dice of any reader with a sample; mean over samples.",
    ),
)  # fmt: skip
LEAVE_ONE_OUT = (
    Metric(
        "loo_dice", "Dice, all others", "higher", True,
        "Dice of the one mask with the others' masks; mean over them.",
    ),
    Metric(
        "loo_dice_max", "Dice, closest other", "higher", True,
        "Dice of the one mask with the closest of the others.",
    ),
    Metric(
        "loo_ged", "GED@1", "lower", False,
        "Distance of the one mask s from the others as a set: `2 E d(s,y) − E d(y,y′)`.",
    ),
)  # fmt: skip


class Results(NamedTuple):
    """Intervals by name of the metric; one that no row has is absent."""

    samples: Intervals
    prior_mean: Intervals
    difference: Intervals  # samples minus prior mean, on the records that have both
    leave_one_out: dict[str, Intervals]  # by method


def collect(rows: Rows, *, bootstrap: int) -> Results:
    """Averages the rows of each method, with intervals from `bootstrap` resamples of patients."""
    return Results(
        samples=_means(rows, "samples", METRICS, bootstrap),
        prior_mean=_means(rows, "prior_mean", METRICS, bootstrap),
        difference=_differences(rows, bootstrap),
        leave_one_out={
            method: _means(rows, method, LEAVE_ONE_OUT, bootstrap)
            for method in ("raters", "samples", "prior_mean")
        },
    )


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Returns low and high, or None where there were too few patients for them."""
    if interval.low is None or interval.high is None:
        return None
    return interval.low, interval.high


def _means(rows: Rows, method: str, metrics: Sequence[Metric], bootstrap: int) -> Intervals:
    own = [row for row in rows if row["method"] == method]
    patients = [row["patient_id"] for row in own]
    return _known(
        (
            metric.name,
            bootstrap_mean(_column(own, metric), patients, resamples=bootstrap, seed=_SEED),
        )
        for metric in metrics
    )


def _differences(rows: Rows, bootstrap: int) -> Intervals:
    other = {row["record_id"]: row for row in rows if row["method"] == "prior_mean"}
    own = [row for row in rows if row["method"] == "samples" and row["record_id"] in other]
    paired = [other[row["record_id"]] for row in own]
    patients = [row["patient_id"] for row in own]
    return _known(
        (
            metric.name,
            bootstrap_difference(
                _column(own, metric), _column(paired, metric), patients,
                resamples=bootstrap, seed=_SEED,
            ),
        )
        for metric in METRICS
    )  # fmt: skip


def _column(rows: Rows, metric: Metric) -> Float[np.ndarray, " n"]:
    values = (row.get(metric.name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _known(intervals: Iterable[tuple[str, Interval]]) -> Intervals:
    return {name: interval for name, interval in intervals if not math.isnan(interval.mean)}
