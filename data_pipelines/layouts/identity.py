"""Whether raters of one name draw alike: only then can a style be that of a person."""

from typing import NamedTuple

import numpy as np

FEWEST = 6  # cases; with fewer, two raters who always differ could do so by chance
_DRAWS = 999
_CHANCE = 0.05  # names that carry nothing look as if they did in one of 20 data sets
# In 612 cases of LIDC-IDRI, whose raters are anonymous, chance is 0.01 and the share 0.007: so many
# cases show the slightest difference. Of ten known raters of 46 cells the share is 0.43.
_LEAST_SHARE = 0.05


class Identity(NamedTuple):
    """How large each rater draws, relative to all raters of the same case."""

    cases: int  # with masks of at least two raters, one of them not empty
    mean: np.ndarray  # f64 [R], mean relative area; NaN: no such case
    spread: np.ndarray  # f64 [R], its standard deviation over the cases; NaN: fewer than two
    share: float  # of the variance of the relative areas that names explain, 0 to 1; NaN: no case
    chance: float  # how often shuffled names differ as much, 0 to 1; NaN: too few cases to tell

    @property
    def is_doubtful(self) -> bool:
        """Whether names seem to carry no identity; False if there are too few cases to tell."""
        return bool(self.chance > _CHANCE or (self.chance >= 0 and self.share < _LEAST_SHARE))


def identity(areas: np.ndarray, seed: int = 0) -> Identity:
    """Returns whether the areas of raters differ by their names.

    The relative area of rater r in case i is a_ir over the mean of all raters of case i. With m_r,
    its mean over the n_r cases of rater r, the statistic is sum_r n_r (m_r - 1)^2. Its share of
    sum_ir (a_ir - 1)^2 is the share that names explain. The statistic is compared with that of
    names which are shuffled within each case, 999 times.

    Args:
        areas: [n, R] of n cases; NaN: the rater has no mask.
        seed: seed of the shuffles.
    """
    areas = np.asarray(areas, float)
    present = ~np.isnan(areas)
    enough = (present.sum(axis=1) > 1) & (np.nansum(areas, axis=1) > 0)
    areas, present = areas[enough], present[enough]
    n, raters = areas.shape
    nothing = np.full(raters, np.nan)
    if not n:
        return Identity(0, nothing, nothing, float("nan"), float("nan"))
    relative = areas / np.nanmean(areas, axis=1, keepdims=True)
    counts = present.sum(axis=0)
    mean, spread = nothing.copy(), nothing.copy()
    for rater in range(raters):
        own = relative[present[:, rater], rater]
        mean[rater] = own.mean() if len(own) else np.nan
        spread[rater] = own.std(ddof=1) if len(own) > 1 else np.nan
    least = _statistic(np.nansum(relative, axis=0), counts)
    whole = float(np.nansum((relative - 1) ** 2))
    share = least / whole if whole else 0.0
    if n < FEWEST:
        return Identity(n, mean, spread, share, float("nan"))
    rng = np.random.default_rng(seed)
    groups = [
        (np.flatnonzero(row), np.flatnonzero((present == row).all(axis=1)))
        for row in np.unique(present, axis=0)
    ]
    as_much = 1
    for _ in range(_DRAWS):
        sums = np.zeros(raters)
        for columns, rows in groups:
            sums[columns] += rng.permuted(relative[np.ix_(rows, columns)], axis=1).sum(axis=0)
        as_much += _statistic(sums, counts) >= least * (1 - 1e-9)
    return Identity(n, mean, spread, share, as_much / (_DRAWS + 1))


def _statistic(sums: np.ndarray, counts: np.ndarray) -> float:
    some = counts > 0
    return float(((sums[some] - counts[some]) ** 2 / counts[some]).sum())
