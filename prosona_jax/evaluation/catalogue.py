"""Every score that a report prints: its name, its format and its meaning."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prosona_jax.evaluation.intervals import Interval

ACTIVE_NATS = 0.01  # a latent dimension is active if its mean KL exceeds this
LEGEND = (
    "s and s′ are samples, y and y′ are raters' masks, and E is the mean over all pairs. IoU is "
    "intersection over union. Dice is twice the intersection divided by the sum of both areas. "
    "Dice is 1 for two empty masks and 0 if only one of them is empty."
)


class Metric(NamedTuple):
    """A column of rows.csv, and how a report prints and explains it."""

    name: str
    title: str  # "@S" stands for the number of samples
    better: str  # "lower", "higher" or "near 0"
    points: bool  # printed times 100 with one decimal, else with three
    meaning: str

    def label(self, samples: int) -> str:
        return self.title.replace("@S", f"@{samples}")

    def scaled(self, interval: Interval) -> Interval:
        """Returns the interval in the printed unit."""
        unit = 100 if self.points else 1
        limits = bounds(interval)
        low, high = (unit * limits[0], unit * limits[1]) if limits else (None, None)
        return Interval(unit * interval.mean, low, high)

    def number(self, value: float, *, sign: bool = False) -> str:
        scaled, decimals = (100 * value, 1) if self.points else (value, 3)
        return f"{scaled:{'+' if sign else ''}.{decimals}f}".replace("-", "−")

    def between(self, interval: Interval, *, sign: bool = False) -> str:
        """Returns the interval in words."""
        if not (limits := bounds(interval)):
            return "one patient gives no interval"
        low, high = (self.number(limit, sign=sign) for limit in limits)
        return f"95 % interval {low} to {high}"

    def cell(self, interval: Interval | None, *, sign: bool = False) -> str:
        """Returns mean and interval as a table shows them."""
        return written(interval, functools.partial(self.number, sign=sign))


METRICS = (
    Metric(
        "ged", "GED@S", "lower", False,
        "Distance between the set of samples and the set of raters' masks: "
        "`2 E d(s,y) − E d(s,s′) − E d(y,y′)` with `d = 1 − IoU`. It is 0 if both sets are the "
        "same. The means include the pairs of a mask with itself. Two empty masks have `d = 0`.",
    ),
    Metric(
        "ged_dpersona", "GED@S (D-Persona)", "lower", False,
        "The same distance in the convention of D-Persona's code: two empty masks have `d = 1`.",
    ),
    Metric(
        "dice_match", "Dice, matched", "higher", True,
        "Samples and raters are paired one to one so that the sum of Dice is as high as possible. "
        "The score is the mean Dice of these pairs.",
    ),
    Metric(
        "iou_match", "IoU, matched", "higher", True,
        "Hungarian-matched IoU (Kohl et al. 2019): samples and raters are repeated until there are "
        "equally many, and paired so that the sum of IoU is as high as possible. All of them "
        "count, while matched Dice leaves out the samples beyond the number of raters. Two empty "
        "masks have IoU 1.",
    ),
    Metric(
        "dice_soft", "Dice, soft", "higher", True,
        "The mean of all samples is compared with the mean of all raters' masks. Both are "
        "thresholded at 0.1, 0.3, 0.5, 0.7 and 0.9. The score is the mean Dice over these five "
        "thresholds.",
    ),
    Metric(
        "dice_max_samples_per_rater", "Dice, best sample of each rater", "higher", True,
        "Is every rater covered? For each rater, the Dice of the best sample; mean over raters.",
    ),
    Metric(
        "dice_max_raters_per_sample", "Dice, best rater of each sample", "higher", True,
        "Is every sample plausible? For each sample, the Dice with the best rater; mean over "
        "samples.",
    ),
    Metric(
        "ece_10_union", "ECE, union", "lower", False,
        "Expected calibration error: pixels are put into ten bins by the share of samples that "
        "include them, and the share of raters is compared with it. The mean absolute difference "
        "over the pixels that any sample or rater includes.",
    ),
    Metric(
        "ece_10_all", "ECE, all pixels", "lower", False,
        "The same, over all pixels of the image. It falls with more background.",
    ),
    Metric(
        "s_ncc", "S-NCC", "higher", False,
        "Does the model know where it errs? Correlation over all pixels between the samples' "
        "spread and their mean cross-entropy with a rater's mask, mean over raters (PHiSeg, "
        "Baumgartner et al. 2019). It depends on how much background the image has.",
    ),
)  # fmt: skip
STYLE_METRICS = (
    Metric(
        "dice_mean", "Dice, own rater", "higher", True,
        "Dice of the mask that style k's prompt draws with rater k's mask; mean over styles.",
    ),
    Metric(
        "dice_others", "Dice, prompts shuffled", "lower", True,
        "The same Dice after the prompts are shuffled so that no style keeps its own prompt; mean "
        "over all such shuffles. It shows how high Dice is with a wrong prompt.",
    ),
    Metric(
        "style_gain", "Style gain", "higher", True,
        "For each rater, the Dice of its own prompt's mask minus the mean Dice of the other "
        "prompts' masks; mean over raters.",
    ),
    Metric(
        "ged", "GED@S", "lower", False,
        "Distance between the set of the prompts' masks and the set of raters' masks.",
    ),
    Metric(
        "ged_dpersona", "GED@S (D-Persona)", "lower", False,
        "The same distance in the convention of D-Persona's code: two empty masks have `d = 1`.",
    ),
    Metric(
        "dice_match", "Dice, matched", "higher", True,
        "The prompts' masks and the raters are paired one to one so that the sum of Dice is as "
        "high as possible. If it is above `dice_mean`, some masks fit the rater of another style "
        "better than their own.",
    ),
    Metric(
        "dice_max_samples_per_rater", "Dice, best prompt of each rater", "higher", True,
        "For each rater, the Dice of the best prompt's mask; mean over raters.",
    ),
    Metric(
        "own_best", "Own prompt is the best", "higher", True,
        "Share of raters [%] for whom their own prompt's mask has the highest Dice of all prompts' "
        "masks. Guessing reaches one in K.",
    ),
    Metric(
        "ordered", "Areas in order", "higher", True,
        "Share of images [%] where the areas follow the order of the styles: no area is below that "
        "of the previous style, and the last area is above the first.",
    ),
    Metric(
        "rank_correlation", "Rank correlation", "higher", False,
        "Spearman's correlation between area and style number within an image.",
    ),
    Metric(
        "rater_correlation", "Rank correlation with raters", "higher", False,
        "Spearman's correlation, within an image, between the areas that the prompts draw and the "
        "areas that their raters drew.",
    ),
    Metric(
        "hd95_max_mm", "HD95, mm", "lower", False,
        "The 95th percentile of the distances from the border pixels of one contour to those of "
        "the other; the larger of both directions. Style k with rater k; mean over styles.",
    ),
    Metric(
        "assd_mm", "Surface distance, mm", "lower", False,
        "Average symmetric surface distance: the mean of these distances, of both directions "
        "together.",
    ),
    Metric(
        "nsd_length", "NSD", "higher", True,
        "Normalised surface Dice (Nikolov et al. 2018): the share [%] of the length of both "
        "contours that lies within the tolerance of the other contour.",
    ),
)  # fmt: skip
RETRIEVAL = (
    Metric(
        "latent_text_to_visual", "Prompt finds the rater's latent", "higher", True,
        "Among the raters of an image, the prompt's own rater has the latent offset that is the "
        "closest to the prompt. The latent offset is the posterior's mean relative to the prior.",
    ),
    Metric(
        "latent_visual_to_text", "Rater's latent finds the prompt", "higher", True,
        "Among the prompts, the rater's own prompt is the closest to the rater's latent offset.",
    ),
    Metric(
        "visual_text_to_visual", "Prompt finds the rater's features", "higher", True,
        "Like the score for the latent, but with image features. They are averaged inside the "
        "rater's mask, on its rim and outside it.",
    ),
    Metric(
        "visual_visual_to_text", "Rater's features find the prompt", "higher", True,
        "Like the score for the latent, but with these image features.",
    ),
)  # fmt: skip
LEAVE_ONE_OUT = (
    Metric(
        "loo_dice", "Dice, all others", "higher", True,
        "Dice of the one mask with each of the other raters' masks; mean over these raters.",
    ),
    Metric(
        "loo_dice_max", "Dice, closest other", "higher", True,
        "Dice of the one mask with the most similar of the other raters' masks.",
    ),
    Metric(
        "loo_ged", "GED@1", "lower", False,
        "Distance between the one mask s and the set of the other raters' masks: "
        "`2 E d(s,y) − E d(y,y′)`.",
    ),
)  # fmt: skip

VOLUME_METRICS = (
    Metric(
        "dice_mean", "Dice in 3-D, own rater", "higher", True,
        "Dice of the volume that style k draws with rater k's volume; mean over styles.",
    ),
    Metric(
        "ged", "GED in 3-D", "lower", False,
        "Distance between the set of drawn volumes and the set of raters' volumes, with the IoU of "
        "volumes. It depends on how many volumes are drawn: K styles or S samples.",
    ),
    Metric(
        "dice_match", "Dice in 3-D, matched", "higher", True,
        "Drawn volumes and raters are paired one to one so that the sum of Dice is as high as "
        "possible. The score is the mean Dice of these pairs.",
    ),
    Metric(
        "loo_dice", "Dice in 3-D, all others", "higher", True,
        "Dice of one volume with those of all raters but one, who gives place to it; mean over "
        "raters.",
    ),
    Metric(
        "hd95_max_mm", "HD95, mm", "lower", False,
        "The 95th percentile of the distances from the surface voxels of one volume to the surface "
        "of the other; the larger of both directions. It is NaN if one of them is empty.",
    ),
    Metric(
        "assd_mm", "Surface distance, mm", "lower", False,
        "Average symmetric surface distance: the mean of the distances of both directions.",
    ),
    Metric(
        "difference_ml", "Difference, ml", "lower", False,
        "Absolute difference of the drawn volume from the rater's.",
    ),
    Metric(
        "bias_ml", "Drawn minus rater's, ml", "near 0", False,
        "Difference of the drawn volume from the rater's. Above 0: too much is drawn.",
    ),
)  # fmt: skip


def named(metrics: Sequence[Metric], *names: str) -> tuple[Metric, ...]:
    """Returns the metrics with these names, in the order of the names."""
    by_name = {metric.name: metric for metric in metrics}
    return tuple(by_name[name] for name in names)


def bounds(interval: Interval) -> tuple[float, float] | None:
    """Returns (low, high), or None where there are too few patients for an interval."""
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
    return f"{mean} [{low},\N{NO-BREAK SPACE}{high}]"  # a narrow column breaks the line before [


# The scores of a style's contour against its rater's, in mm.
CONTOUR_METRICS = named(STYLE_METRICS, "hd95_max_mm", "assd_mm", "nsd_length")
# The scores of samples of volumes. A sample is no rater's, so that it has no Dice with its own.
VOLUME_SAMPLES = named(VOLUME_METRICS, "ged", "dice_match", "loo_dice")
