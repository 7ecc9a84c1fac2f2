"""Every score that a report prints: its name, how it is written, and what it says."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prosona_jax.evaluation.intervals import Interval

ACTIVE_NATS = 0.01  # a latent dimension is active if its mean KL exceeds this
LEGEND = (
    "s, s′: samples; y, y′: raters' masks; E: mean over all pairs; IoU: intersection over union; "
    "Dice: twice the intersection over the sum of both areas, 1 for two empty masks, 0 if one of "
    "them is empty."
)


class Metric(NamedTuple):
    """A column of the rows, and how it is read."""

    name: str
    title: str  # "@S" stands for the number of samples
    better: str  # "lower" or "higher"
    points: bool  # printed times 100 with one decimal, else with three
    meaning: str

    def label(self, samples: int) -> str:
        return self.title.replace("@S", f"@{samples}")

    def scaled(self, interval: Interval) -> Interval:
        """The interval in the unit that is printed."""
        unit = 100 if self.points else 1
        limits = bounds(interval)
        low, high = (unit * limits[0], unit * limits[1]) if limits else (None, None)
        return Interval(unit * interval.mean, low, high)

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
        return written(interval, functools.partial(self.number, sign=sign))


METRICS = (
    Metric(
        "ged", "GED@S", "lower", False,
        "Distance between the set of samples and the set of raters' masks, 0 if the sets are "
        "the same: `2 E d(s,y) − E d(s,s′) − E d(y,y′)`, `d = 1 − IoU`, pairs of a mask with "
        "itself included; two empty masks have `d = 0`.",
    ),
    Metric(
        "ged_dpersona", "GED@S (D-Persona)", "lower", False,
        "The same in the convention of D-Persona's code: two empty masks have `d = 1`.",
    ),
    Metric(
        "dice_match", "Dice, matched", "higher", True,
        "Samples and raters are paired one to one so that the sum of Dice is greatest; mean "
        "over the pairs.",
    ),
    Metric(
        "dice_soft", "Dice, soft", "higher", True,
        "The mean of all samples against the mean of all raters, both cut at 0.1, 0.3, 0.5, 0.7 "
        "and 0.9; mean Dice of the five cuts.",
    ),
    Metric(
        "dice_max_samples_per_rater", "Dice, best sample of each rater", "higher", True,
        "Is every rater covered? The best Dice of any sample with a rater; mean over raters.",
    ),
    Metric(
        "dice_max_raters_per_sample", "Dice, best rater of each sample", "higher", True,
        "Is every sample plausible? The best Dice of any rater with a sample; mean over samples.",
    ),
)  # fmt: skip
STYLE_METRICS = (
    Metric(
        "dice_mean",
        "Dice, own rater",
        "higher",
        True,
        "The mask that style k's prompt draws against rater k's; mean over styles.",
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
        "Dice with the own rater minus mean Dice of the other prompts' masks with that rater.",
    ),
    Metric(
        "ged",
        "GED@S",
        "lower",
        False,
        "Distance between the set of the prompts' masks and the set of raters' masks.",
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
        "The prompts' masks and raters paired one to one at best: the distance to `dice_mean` is "
        "what a wrong order costs.",
    ),
    Metric(
        "dice_max_samples_per_rater",
        "Dice, best prompt of each rater",
        "higher",
        True,
        "The best Dice of any prompt's mask with a rater; mean over raters.",
    ),
    Metric(
        "own_best",
        "Own prompt is the best",
        "higher",
        True,
        "Share of raters [%] whose own prompt's mask is closest to theirs of all prompts' masks, "
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
        "rater_correlation",
        "Rank correlation with raters",
        "higher",
        False,
        "Spearman's correlation within an image of the areas that the prompts draw and those that "
        "their raters drew.",
    ),
)
RETRIEVAL = (
    Metric(
        "latent_text_to_visual",
        "Prompt finds the rater's latent",
        "higher",
        True,
        "Of an image's raters, the one whose latent offset is closest to the prompt is its own.",
    ),
    Metric(
        "latent_visual_to_text",
        "Rater's latent finds the prompt",
        "higher",
        True,
        "Of the prompts, the one closest to a rater's latent offset is that rater's.",
    ),
    Metric(
        "visual_text_to_visual",
        "Prompt finds the rater's features",
        "higher",
        True,
        "The same with features averaged under the rater's mask, its rim and outside.",
    ),
    Metric(
        "visual_visual_to_text",
        "Rater's features find the prompt",
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


def named(metrics: Sequence[Metric], *names: str) -> tuple[Metric, ...]:
    """Returns the metrics of those names, in their order."""
    by_name = {metric.name: metric for metric in metrics}
    return tuple(by_name[name] for name in names)


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Returns low and high, or None where there were too few patients for them."""
    if interval.low is None or interval.high is None:
        return None
    return interval.low, interval.high


def written(interval: Interval | None, number: Callable[[float], str]) -> str:
    """Returns mean and interval as a table shows them; a dash where there is no mean."""
    if interval is None or math.isnan(interval.mean):
        return "–"
    mean = number(interval.mean)
    if not (limits := bounds(interval)):
        return mean
    low, high = map(number, limits)
    return f"{mean} [{low},\N{NO-BREAK SPACE}{high}]"  # a narrow column breaks before it
