"""What is certain of the habits of raters: intervals, stability, and who cannot be told from whom.

`data_pipelines/habits.py` measures the habits. All resampling is by patient.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats
from scipy.cluster import hierarchy
from scipy.spatial import distance

from prosona_jax.evaluation.intervals import Interval, bootstrap_mean

LEVEL = 0.05  # of the test of pairs
_STABLE = 0.01  # level of the test of stability; each of several habits has one
_RESAMPLES = 1000
_PERMUTATIONS = 1000


class Certainty(NamedTuple):
    """One habit of R raters."""

    intervals: list[Interval]  # by rater; the mean over objects
    stability: float  # 0..1; see `stability`
    stable: bool  # the raters' means differ by more than chance


def certainty(values: Float[np.ndarray, "n r"], patient_ids: Sequence[str]) -> Certainty:
    """Returns what is certain of a habit, measured on n objects; NaN: not measured."""
    share, p = stability(by_patient(values, patient_ids))
    return Certainty(intervals(values, patient_ids), share, p < _STABLE)


def intervals(values: Float[np.ndarray, "n r"], patient_ids: Sequence[str]) -> list[Interval]:
    """Returns the mean over objects and its 95 % interval, of each rater."""
    return [bootstrap_mean(own, patient_ids, resamples=_RESAMPLES, seed=0) for own in values.T]


def stability(values: Float[np.ndarray, "p r"]) -> tuple[float, float]:
    """Returns the share of the variance of the raters' means that is not chance, and its p value.

        1 - mean(V under chance) / V,   V = variance over the raters of their means over patients

    Chance permutes the raters within each patient, as if all drew alike. So a share near 0 also
    results if the masks of an image have no fixed order of raters. The p value is the share of the
    permutations whose V is at least as large as the measured one.
    """
    values = values[:, np.isfinite(values).any(axis=0)]  # without raters who were not measured
    if values.shape[1] < 2:
        return 0.0, 1.0
    measured = float(np.var(np.nanmean(values, axis=0)))
    rng, chance = np.random.default_rng(0), np.zeros(_PERMUTATIONS)
    known = np.isfinite(values)
    for n in range(_PERMUTATIONS):
        # Sorted by random keys within a row; NaN stays in its place.
        order = np.argsort(np.where(known, rng.random(values.shape), np.inf), axis=1)
        shuffled = np.full(values.shape, np.nan)
        shuffled[known] = np.take_along_axis(values, order, axis=1)[_first(known)]
        chance[n] = np.var(np.nanmean(shuffled, axis=0))
    share = max(0.0, 1.0 - float(chance.mean()) / measured) if measured else 0.0
    return share, float(np.mean([*(chance >= measured), True]))


def alike(
    habits: Mapping[str, Float[np.ndarray, "n r"]], patient_ids: Sequence[str]
) -> list[tuple[int, int]]:
    """Returns the pairs of measured raters whom no habit tells apart.

    A habit tells two raters apart if a paired t test of the patients' means rejects that they are
    equal, at the level 5 % divided by the number of all tests, which are pairs times habits
    (Bonferroni).

    Args:
        habits: the stable ones.
        patient_ids: of the n objects.
    """
    tables = [by_patient(values, patient_ids) for values in habits.values()]
    measured = np.any([np.isfinite(table).any(axis=0) for table in tables], axis=0)
    pairs = list(itertools.combinations(np.flatnonzero(measured).tolist(), 2))
    level = LEVEL / max(len(pairs) * len(tables), 1)
    return [pair for pair in pairs if not any(_differ(t[:, pair], level) for t in tables)]


def groups(pairs: Sequence[tuple[int, int]], places: Float[np.ndarray, "r h"]) -> list[list[int]]:
    """Returns groups of raters in which every pair is alike, each in order; a rater has one group.

    To be alike is not transitive: of three raters, the first may be like the second, and the second
    like the third, but the first unlike the third. Clusters of complete linkage have no such chain.
    The nearest raters join first.

    Args:
        pairs: raters who are `alike`.
        places: of each rater, such as its mean habits in spreads; they say who is nearest.
    """
    if not pairs:
        return [[r] for r in range(len(places))]
    apart = distance.squareform(distance.pdist(places))
    like = np.eye(len(places), dtype=bool)
    for a, b in pairs:
        like[a, b] = like[b, a] = True
    limit = 1.0 + apart[like].max()
    tree = hierarchy.linkage(
        distance.squareform(np.where(like, apart, 2 * limit)), method="complete"
    )
    cluster = hierarchy.fcluster(tree, limit, criterion="distance")
    return sorted(np.flatnonzero(cluster == name).tolist() for name in np.unique(cluster))


def together(
    values: Float[np.ndarray, "n r"], groups: Sequence[Sequence[int]]
) -> Float[np.ndarray, "n r"]:
    """Returns habits with the mean over a group in place of each of its raters; NaN: not measured.

    A rater who has no value counts as the others of the group on this object.
    """
    found = np.array(values)
    for group in groups:
        mean = np.ma.masked_invalid(values[:, group]).mean(axis=1, keepdims=True)
        found[:, group] = mean.filled(np.nan)
    return found


def by_patient(
    values: Float[np.ndarray, "n r"], patient_ids: Sequence[str]
) -> Float[np.ndarray, "p r"]:
    """Returns the mean of each patient's objects; NaN where a rater has none."""
    _, patient = np.unique(np.asarray(patient_ids), return_inverse=True)
    sums, counts = np.zeros((2, patient.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, patient, np.nan_to_num(values))
    np.add.at(counts, patient, np.isfinite(values))
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _differ(pair: Float[np.ndarray, "p 2"], level: float) -> bool:
    difference = pair[:, 0] - pair[:, 1]
    difference = difference[np.isfinite(difference)]
    if len(difference) < 2:
        return False
    spread = difference.std(ddof=1)
    if spread < 1e-12 * (1 + np.abs(difference).max()):  # the same in all patients
        return bool(np.abs(difference.mean()) > 1e-9)
    return bool(stats.ttest_1samp(difference, 0.0).pvalue < level)


def _first(known: Bool[np.ndarray, "p r"]) -> Bool[np.ndarray, "p r"]:
    """Returns a mask of as many places in each row as are known, from the left."""
    return np.arange(known.shape[1]) < known.sum(axis=1, keepdims=True)
