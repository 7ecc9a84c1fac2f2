"""Scores how well sentences are understood: what they draw against the degree that they ask for."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata, spearmanr

UNANSWERABLE = ("languages", "contradiction", "offtopic")


class Score(NamedTuple):
    """The scores of one category of sentences; NaN where one is not defined."""

    category: str
    sentences: int
    spearman: float  # rank correlation of the drawn areas and the asked degrees
    pairs: float  # share of pairs of different degree whose areas have the same order
    auroc: float  # of telling these sentences, which cannot be answered, from all that can


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
    can = ~np.isin(of, UNANSWERABLE)
    found = []
    for category in dict.fromkeys(categories):
        own = of == category
        if category in UNANSWERABLE:
            auroc = area_under_curve(answerable[can], answerable[own])
            found.append(Score(category, int(own.sum()), np.nan, np.nan, auroc))
        else:
            rank = share = np.nan
            if len({*degree[own].tolist()}) > 1:
                rank = float(spearmanr(area[own], degree[own])[0])
                share = pairs_in_order(area[own], degree[own])
            found.append(Score(category, int(own.sum()), rank, share, np.nan))
    return found


def table(scores: Sequence[Score]) -> list[str]:
    """Returns the lines of a table in text."""
    lines = [f"{'category':14} {'sentences':>9} {'Spearman':>9} {'pairs':>7} {'AUROC':>7}"]
    for score in scores:
        numbers = zip((score.spearman, score.pairs, score.auroc), (9, 7, 7), strict=True)
        cells = " ".join(f"{'' if np.isnan(x) else f'{x:.3f}':>{width}}" for x, width in numbers)
        lines.append(f"{score.category:14} {score.sentences:9} {cells}".rstrip())
    return lines


def pairs_in_order(area: Float[np.ndarray, " n"], degree: Float[np.ndarray, " n"]) -> float:
    """Returns the share of pairs i, j with d_i < d_j for which a_i < a_j; equal areas count half.

    >>> pairs_in_order(np.array([1.0, 2.0, 2.0]), np.array([-1.0, 0.0, 1.0]))
    0.8333333333333334
    """
    asked = np.sign(degree[:, None] - degree[None])
    drawn = np.sign(area[:, None] - area[None])
    return float(np.mean((1 + (asked * drawn)[asked != 0]) / 2))


def area_under_curve(positive: Float[np.ndarray, " p"], negative: Float[np.ndarray, " n"]) -> float:
    """Returns the probability that a positive has a higher value than a negative; ties count half.

    >>> area_under_curve(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    p, n = len(positive), len(negative)
    return float((ranks.sum() - p * (p + 1) / 2) / (p * n))
