"""How sure a mean over records is: bootstrap over patients, whose records are not independent."""

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
    those drawn. A record whose value is NaN has none: it is left out, and so is a patient who has
    no others.

    Args:
        values: one score per record.
        patient_ids: whose record it is; None makes each record a patient of its own.
        resamples: number of bootstrap resamples.
        seed: of the draws; equal patients and seed give equal draws.
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

    There is no interval where a resample has nothing below. Both sums are of the same draws. Other
    arguments, and NaN in either, as in :func:`bootstrap_mean`, which is the ratio to ones.
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
    if not sums.all():  # a share of nothing
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
    """Returns mean(a - b) of the same records scored twice; a NaN in either leaves the pair out.

    Other arguments as in :func:`bootstrap_mean`. An interval clear of zero is a difference
    that other patients would show too; what training once more would change is not in it.
    """
    return bootstrap_mean(a - b, patient_ids, resamples=resamples, seed=seed)


def summarise(
    scores: Mapping[str, Float[np.ndarray, " n *k"]],
    patient_ids: PatientIds,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Returns {name: {"mean", "low", "high"}}, ready for JSON: a mean of no values is None.

    A score with several columns [n, k] becomes a list of k such objects, in the columns' order.
    """

    def summary(values: np.ndarray) -> Any:
        if values.ndim > 1:
            return [summary(column) for column in values.T]
        interval = bootstrap_mean(values, patient_ids, resamples=resamples, seed=seed)
        mean = None if math.isnan(interval.mean) else interval.mean
        return {"mean": mean, "low": interval.low, "high": interval.high}

    return {name: summary(values) for name, values in scores.items()}
