"""Rows of scores become means with intervals, and these become the numbers that a report prints."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.intervals import Interval, bootstrap_difference, bootstrap_mean, bootstrap_ratio

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
STYLE_METRICS = (
    Metric(
        "dice_mean",
        "Dice, own reader",
        "higher",
        True,
        "The mask that style k's prompt draws against reader k's; mean over styles.",
    ),
    Metric(
        "dice_others",
        "Dice, prompts shuffled",
        "lower",
        True,
        "The same where no style keeps its prompt, mean over all such shuffles: what is left if "
        "the sentence is wrong.",
    ),
    Metric(
        "style_gain",
        "Style gain",
        "higher",
        True,
        "Dice with the own reader minus mean Dice of the other prompts' masks with that reader.",
    ),
    Metric(
        "ged",
        "GED@S",
        "lower",
        False,
        "Distance between the set of the prompts' masks and the set of readers' masks.",
    ),
    Metric(
        "ged_dpersona",
        "GED@S (D-Persona)",
        "lower",
        False,
        "The same in the convention of D-Persona's code: two empty masks have `d = 1`.",
    ),
    Metric(
        "dice_match",
        "Dice, matched",
        "higher",
        True,
        "The prompts' masks and readers paired one to one at best: the distance to `dice_mean` is "
        "what a wrong order costs.",
    ),
    Metric(
        "dice_max_samples_per_rater",
        "Dice, best prompt of each reader",
        "higher",
        True,
        "The best Dice of any prompt's mask with a reader; mean over readers.",
    ),
    Metric(
        "own_best",
        "Own prompt is the best",
        "higher",
        True,
        "Share of readers [%] whose own prompt's mask is closest to theirs of all prompts' masks, "
        "by Dice; guessing finds one in K.",
    ),
    Metric(
        "ordered",
        "Areas in order",
        "higher",
        True,
        "Share of images [%] where no style's area is below that of the style before, and the "
        "last is above the first.",
    ),
    Metric(
        "rank_correlation",
        "Rank correlation",
        "higher",
        False,
        "Spearman's correlation of area and style within an image.",
    ),
    Metric(
        "reader_correlation",
        "Rank correlation with readers",
        "higher",
        False,
        "Spearman's correlation within an image of the areas that the prompts draw and those that "
        "their readers drew.",
    ),
)
RETRIEVAL = (
    Metric(
        "latent_text_to_visual",
        "Prompt finds the reader's latent",
        "higher",
        True,
        "Of an image's readers, the one whose latent offset is closest to the prompt is its own.",
    ),
    Metric(
        "latent_visual_to_text",
        "Reader's latent finds the prompt",
        "higher",
        True,
        "Of the prompts, the one closest to a reader's latent offset is that reader's.",
    ),
    Metric(
        "visual_text_to_visual",
        "Prompt finds the reader's features",
        "higher",
        True,
        "The same with features averaged under the reader's mask, its rim and outside.",
    ),
    Metric(
        "visual_visual_to_text",
        "Reader's features find the prompt",
        "higher",
        True,
        "The same, from features to prompts.",
    ),
)
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
        samples=means(rows, "samples", METRICS, bootstrap),
        prior_mean=means(rows, "prior_mean", METRICS, bootstrap),
        difference=differences(rows, "samples", "prior_mean", METRICS, bootstrap),
        leave_one_out={
            method: means(rows, method, LEAVE_ONE_OUT, bootstrap)
            for method in ("raters", "samples", "prior_mean")
        },
    )


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Returns low and high, or None where there were too few patients for them."""
    if interval.low is None or interval.high is None:
        return None
    return interval.low, interval.high


class StyleResults(NamedTuple):
    """Scores of the second stage; intervals by name of the metric.

    A style's own contour is drawn by the mean of its training sentences' queries; a sentence alone
    says less surely which style is meant.
    """

    styles: Intervals  # each style's own contour
    trained: Intervals  # training sentences, each alone; {} where no text is read
    held_out: Intervals  # held-out sentences, likewise
    difference: Intervals  # held-out minus training sentences
    table: Float[np.ndarray, "k k"]  # mean Dice of style i's mask (row) with reader j
    own: list[Interval]  # its diagonal
    areas: list[Interval]  # pixels of style i's mask


def collect_styles(rows: Rows, *, styles: int, bootstrap: int) -> StyleResults:
    """Averages the rows of "prompts_mean", "prompts_train" and "prompts_held_out"."""
    metrics = (*STYLE_METRICS, *RETRIEVAL)
    own = [row for row in rows if row["method"] == "prompts_mean"]
    patients = [row["patient_id"] for row in own]

    def of(name: str) -> Interval:
        return bootstrap_mean(_column(own, name), patients, resamples=bootstrap, seed=_SEED)

    k = range(1, styles + 1)
    return StyleResults(
        styles=means(rows, "prompts_mean", metrics, bootstrap),
        trained=means(rows, "prompts_train", metrics, bootstrap),
        held_out=means(rows, "prompts_held_out", metrics, bootstrap),
        difference=differences(rows, "prompts_held_out", "prompts_train", metrics, bootstrap),
        table=dice_table(own, styles),
        own=[of(f"dice_{i}_{i}") for i in k],
        areas=[of(f"area_{i}") for i in k],
    )


def dice_table(rows: Rows, styles: int) -> Float[np.ndarray, "k k"]:
    """Returns the mean Dice of style i's mask (row) with reader j (column); NaN: no row has it."""
    k = range(1, styles + 1)
    columns = [[_column(rows, f"dice_{i}_{j}") for j in k] for i in k]
    known = [[column[~np.isnan(column)] for column in line] for line in columns]
    return np.array([[x.mean() if len(x) else math.nan for x in line] for line in known])


def means(rows: Rows, method: str, metrics: Sequence[Metric], bootstrap: int) -> Intervals:
    """Returns the means of a method's rows; a metric that no row has is absent."""
    own = [row for row in rows if row["method"] == method]
    patients = [row["patient_id"] for row in own]
    return _known(
        (
            metric.name,
            bootstrap_mean(_column(own, metric.name), patients, resamples=bootstrap, seed=_SEED),
        )
        for metric in metrics
    )


def differences(
    rows: Rows, method: str, from_method: str, metrics: Sequence[Metric], bootstrap: int
) -> Intervals:
    """Returns mean differences, method minus `from_method`, on the records that both have."""
    own, paired = _pairs(rows, method, from_method)
    patients = [row["patient_id"] for row in own]
    return _known(
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
    """Returns the difference as a share of `from_method`'s mean; None where that is 0 or absent."""
    own, paired = _pairs(rows, method, from_method)
    a, b = _column(own, metric.name), _column(paired, metric.name)
    if not np.nansum(b) > 0:
        return None
    patients = [row["patient_id"] for row in own]
    return bootstrap_ratio(a - b, b, patients, resamples=bootstrap, seed=_SEED)


def _pairs(rows: Rows, method: str, from_method: str) -> tuple[Rows, Rows]:
    """Returns the rows of both methods on the records that both have, in one order."""
    other = {row["record_id"]: row for row in rows if row["method"] == from_method}
    own = [row for row in rows if row["method"] == method and row["record_id"] in other]
    return own, [other[row["record_id"]] for row in own]


def _column(rows: Rows, name: str) -> Float[np.ndarray, " n"]:
    values = (row.get(name) for row in rows)
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _known(intervals: Iterable[tuple[str, Interval]]) -> Intervals:
    return {name: interval for name, interval in intervals if not math.isnan(interval.mean)}
