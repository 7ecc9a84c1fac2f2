"""Confidence intervals of means over records, by bootstrap.

It draws patients and not records, because the records of one patient are not independent.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

PERCENTILES = (2.5, 97.5)  # a 95 % interval

PatientIds = Sequence[str] | Shaped[np.ndarray, " n"] | None


class Interval(NamedTuple):
    """A mean over records and its 95 % interval."""

    mean: float  # NaN: no record has a value
    low: float | None  # None: fewer than two patients
    high: float | None


def bootstrap_mean(
    values: Float[np.ndarray, " n"], patient_ids: PatientIds, *, resamples: int, seed: int
) -> Interval:
    """Returns the mean over records and its percentile interval by bootstrap over patients.

    Each resample draws P of the P patients with replacement and takes the mean over all records of
    the drawn patients. A record whose value is NaN is left out. A patient who has only such records
    is left out too.

    Args:
        values: one score per record.
        patient_ids: the patient of each record; None makes each record a patient of its own.
        resamples: number of bootstrap resamples.
        seed: seed of the draws; equal patients and an equal seed give equal draws.
    """
    ones = np.ones(len(values))
    return bootstrap_ratio(values, ones, patient_ids, resamples=resamples, seed=seed)


def bootstrap_ratio(
    above: Float[np.ndarray, " n"],
    below: Float[np.ndarray, " n"],
    patient_ids: PatientIds,
    *,
    resamples: int,
    seed: int,
) -> Interval:
    """Returns sum(above) / sum(below) over the records and its interval; `below` is not negative.

    Each resample computes both sums from the same draws. If the sum of `below` is 0 in a resample,
    there is no interval. The other arguments, and a NaN in `above` or `below`, are treated as in
    :func:`bootstrap_mean`, which is this ratio with ones as `below`.
    """
    known = ~np.isnan(above + below)
    if not known.any():
        return Interval(math.nan, None, None)
    patients = np.arange(len(above)) if patient_ids is None else np.asarray(patient_ids)
    _, patient = np.unique(patients[known], return_inverse=True)
    over, under = (np.bincount(patient, weights=x[known]) for x in (above, below))  # [p]
    ratio = float(np.divide(over.sum(), under.sum()))
    if len(over) < 2:
        return Interval(ratio, None, None)
    drawn = np.random.default_rng(seed).integers(len(over), size=(resamples, len(over)))
    sums = under[drawn].sum(axis=1)  # [resamples]
    if not sums.all():  # a resample would divide by 0
        return Interval(ratio, None, None)
    ratios = over[drawn].sum(axis=1) / sums
    low, high = np.percentile(ratios, PERCENTILES)
    return Interval(ratio, float(low), float(high))


def bootstrap_difference(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"],
    patient_ids: PatientIds,
    *,
    resamples: int,
    seed: int,
) -> Interval:
    """Returns mean(a - b) and its interval, for the same records scored by two methods.

    A record with a NaN in `a` or `b` is left out. The other arguments are as in
    :func:`bootstrap_mean`. If the interval excludes zero, other patients would show the difference
    too. The interval does not cover how much the scores change if training is repeated.
    """
    return bootstrap_mean(a - b, patient_ids, resamples=resamples, seed=seed)


def bootstrap_crossed(values: Float[np.ndarray, "r n"], *, resamples: int, seed: int) -> Interval:
    """Returns the mean of the values of r raters on n images, and its percentile interval.

    Each resample draws r raters and n images, each with replacement and independently of the other
    (the pigeonhole bootstrap, Owen 2007), because values share their rater or their image. A value
    that is NaN is left out. Without two raters and two images there is no interval, nor if a
    resample draws no value.

    Args:
        values: a score for each rater and image, or the difference of two scores.
        resamples: number of bootstrap resamples.
        seed: seed of the draws.
    """
    known = ~np.isnan(values)
    mean = float(values[known].mean()) if known.any() else math.nan
    rng = np.random.default_rng(seed)
    rows, columns = (rng.multinomial(m, np.full(m, 1 / m), resamples) for m in values.shape)
    above, below = (
        np.einsum("br,rn,bn->b", rows, x, columns, optimize=True)
        for x in (np.where(known, values, 0.0), known.astype(float))
    )
    if min(values.shape) < 2 or not below.all():
        return Interval(mean, None, None)
    low, high = np.percentile(above / below, PERCENTILES)
    return Interval(mean, float(low), float(high))


def summarise(
    scores: Mapping[str, Float[np.ndarray, " n *k"]],
    patient_ids: PatientIds,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Returns {name: {"mean", "low", "high"}}, ready for JSON; the mean is None without a value.

    A score with several columns [n, k] becomes a list of k such objects, in the columns' order.
    """

    def summary(values: np.ndarray) -> Any:
        if values.ndim > 1:
            return [summary(column) for column in values.T]
        interval = bootstrap_mean(values, patient_ids, resamples=resamples, seed=seed)
        mean = None if math.isnan(interval.mean) else interval.mean
        return {"mean": mean, "low": interval.low, "high": interval.high}

    return {name: summary(values) for name, values in scores.items()}
