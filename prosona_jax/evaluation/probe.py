"""Scores how well sentences are understood: what they draw against the degree that they ask for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from prosona_jax.evaluation.intervals import PERCENTILES, Interval

_RESAMPLES, _SEED = 1000, 0
_NONE = Interval(np.nan, None, None)
UNANSWERABLE = ("languages", "contradiction", "offtopic")


class Score(NamedTuple):
    """The scores of one category of sentences; NaN where one is not defined.

    The intervals are 95 % intervals by bootstrap over the sentences.
    """

    category: str
    sentences: int
    spearman: Interval  # rank correlation of the drawn areas and the asked degrees
    pairs: float  # share of pairs of different degree whose areas have the same order
    auroc: Interval  # of telling these sentences, which cannot be answered, from all that can


def scores(
    categories: Sequence[str],
    degree: Float[np.ndarray, " n"],
    area: Float[np.ndarray, " n"],
    answerable: Float[np.ndarray, " n"],
) -> list[Score]:
    """Returns the scores of each category, in order of appearance.

    Args:
        categories: the n sentences' categories; those of `UNANSWERABLE` cannot be answered.
        degree: what each asks for, NaN if nothing.
        area: what each draws, on any scale that grows with the area.
        answerable: the model's confidence that it can be answered; higher is surer.
    """
    of = np.array(categories)
    can, rng = ~np.isin(of, UNANSWERABLE), np.random.default_rng(_SEED)
    found = []
    for category in dict.fromkeys(categories):
        own = of == category
        count = int(own.sum())
        if category in UNANSWERABLE:
            sure, unsure = answerable[can], answerable[own]
            drawn = (_resample(each, rng) for each in (sure, unsure))
            auroc = _interval(area_under_curve(sure, unsure), area_under_curve(*drawn))
            found.append(Score(category, count, _NONE, np.nan, auroc))
        elif len({*degree[own].tolist()}) > 1:
            both = np.stack([area[own], degree[own]], axis=-1)  # [n, 2]
            drawn_both = _resample(both, rng)
            rank = _interval(
                rank_correlation(area[own], degree[own]),
                rank_correlation(drawn_both[..., 0], drawn_both[..., 1]),
            )
            share = pairs_in_order(area[own], degree[own])
            found.append(Score(category, count, rank, share, _NONE))
        else:
            found.append(Score(category, count, _NONE, np.nan, _NONE))
    return found


def table(scores: Sequence[Score]) -> list[str]:
    """Returns the lines of a table in text."""
    lines = [
        f"{'category':14} {'sentences':>9} {'Spearman':>20} {'pairs':>7} {'AUROC':>20}",
        *(
            f"{score.category:14} {score.sentences:9} {_cell(score.spearman):>20} "
            f"{'' if np.isnan(score.pairs) else f'{score.pairs:.3f}':>7} {_cell(score.auroc):>20}"
            for score in scores
        ),
    ]
    return [line.rstrip() for line in lines]


def _cell(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return ""
    if interval.low is None:
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _resample(values: Float[np.ndarray, " n *k"], rng: np.random.Generator) -> np.ndarray:
    """Returns resamples [r, n, ...] of sentences with replacement."""
    return values[rng.integers(len(values), size=(_RESAMPLES, len(values)))]


def _interval(value: Float[np.ndarray, ""], drawn: Float[np.ndarray, " r"]) -> Interval:
    """Returns a value with its interval; resamples in which it is not defined do not count."""
    known = drawn[~np.isnan(drawn)]
    low, high = np.percentile(known, PERCENTILES) if len(known) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def rank_correlation(
    area: Float[np.ndarray, "*b n"], degree: Float[np.ndarray, "*b n"]
) -> Float[np.ndarray, "*b"]:
    """Returns Spearman's rank correlation along the last axis; NaN if all values are equal.

    >>> float(rank_correlation(np.array([1.0, 3.0, 2.0]), np.array([-1.0, 0.0, 1.0])))
    0.5
    """
    x, y = (rankdata(each, axis=-1) for each in (area, degree))
    x, y = (each - each.mean(axis=-1, keepdims=True) for each in (x, y))
    scale = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    return np.asarray((x * y).sum(axis=-1) / np.where(scale > 0, scale, np.nan))


def pairs_in_order(area: Float[np.ndarray, " n"], degree: Float[np.ndarray, " n"]) -> float:
    """Returns the share of pairs i, j with d_i < d_j for which a_i < a_j; equal areas count half.

    >>> pairs_in_order(np.array([1.0, 2.0, 2.0]), np.array([-1.0, 0.0, 1.0]))
    0.8333333333333334
    """
    asked = np.sign(degree[:, None] - degree[None])
    drawn = np.sign(area[:, None] - area[None])
    return float(np.mean((1 + (asked * drawn)[asked != 0]) / 2))


def area_under_curve(
    positive: Float[np.ndarray, "*b p"], negative: Float[np.ndarray, "*b n"]
) -> Float[np.ndarray, "*b"]:
    """Returns the probability that a positive has a higher value than a negative; ties count half.

    >>> float(area_under_curve(np.array([2.0, 3.0]), np.array([1.0, 2.0])))
    0.875
    """
    p, n = positive.shape[-1], negative.shape[-1]
    ranks = rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)[..., :p]
    return np.asarray((ranks.sum(axis=-1) - p * (p + 1) / 2) / (p * n))
