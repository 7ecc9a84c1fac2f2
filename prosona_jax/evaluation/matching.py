"""The best one-to-one assignment of samples to raters (the Hungarian algorithm)."""

import math

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment


def of_fewest(scores: Float[np.ndarray, "s r"]) -> float:
    """Returns the mean score of the best min(S, R) pairs; 0 without raters.

    The samples or raters that are left over count nowhere, as in D-Persona's matched Dice.
    """
    pairs = linear_sum_assignment(scores, maximize=True)
    return float(scores[pairs].sum() / max(min(scores.shape), 1))


def of_all(scores: Float[np.ndarray, "s r"]) -> float:
    """Returns the mean score of the best pairs in which all S samples and R raters count; or 0.

    Both sets are repeated to the least common multiple of S and R, and the copies are paired, so
    that every sample has weight 1/S and every rater 1/R: 16 samples and 4 copies of each of 4
    raters in the protocol of Kohl et al. (2019), their Hungarian-matched IoU.
    """
    if not scores.size:
        return 0.0
    most = math.lcm(*scores.shape)
    samples, raters = (most // count for count in scores.shape)
    copies = scores.repeat(samples, axis=0).repeat(raters, axis=1)
    return float(copies[linear_sum_assignment(copies, maximize=True)].mean())
