"""Means and intervals: normal theory, several records per patient, and cases without interval."""

import math

import numpy as np
import pytest

from prosona_jax.evaluation.intervals import (
    Interval,
    bootstrap_crossed,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    summarise,
)

SETTINGS = {"resamples": 4000, "seed": 0}


def _width(interval):
    return interval.high - interval.low


def test_normal_theory():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    interval = bootstrap_mean(values, None, **SETTINGS)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.mean == pytest.approx(values.mean(), rel=1e-12)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_equal_patients_are_a_sample_of_patient_means():
    rng = np.random.default_rng(2)
    values = (rng.normal(size=(100, 1)) + 0.1 * rng.normal(size=(100, 5))).ravel()
    patients = np.repeat(np.arange(100), 5)
    interval = bootstrap_mean(values, patients, **SETTINGS)
    means = values.reshape(100, 5).mean(axis=1)
    assert interval == pytest.approx(bootstrap_mean(means, None, **SETTINGS), rel=1e-12)
    assert _width(interval) > 2 * _width(bootstrap_mean(values, None, **SETTINGS))


def test_two_patients_of_unequal_size():
    # A quarter of the resamples has only patient a (mean 0), and a quarter only patient b (mean 1).
    values, patients = np.array([0.0, 0.0, 0.0, 1.0]), ["a", "a", "a", "b"]
    assert bootstrap_mean(values, patients, **SETTINGS) == Interval(0.25, 0.0, 1.0)


def test_names_and_order_of_patients_do_not_matter_to_the_mean():
    values = np.random.default_rng(3).random(30)
    patients = np.arange(30) % 7
    order = np.random.default_rng(4).permutation(30)
    interval = bootstrap_mean(values, patients, **SETTINGS)
    assert bootstrap_mean(values[order], patients[order], **SETTINGS) == pytest.approx(interval)
    text = [f"LIDC-{p}" for p in patients]
    assert bootstrap_mean(values, text, **SETTINGS) == interval


def test_seed_decides_the_draws():
    values = np.random.default_rng(5).random(20)
    one, same, other = (bootstrap_mean(values, None, resamples=100, seed=s) for s in (0, 0, 1))
    assert one == same
    assert one != other


def test_nan_is_left_out():
    values = np.array([0.5, np.nan, 0.7, np.nan, 0.2])
    patients = np.array(["a", "a", "b", "c", "d"])
    known = ~np.isnan(values)
    expected = bootstrap_mean(values[known], patients[known], **SETTINGS)
    assert bootstrap_mean(values, patients, **SETTINGS) == expected


@pytest.mark.parametrize(
    ("values", "patients"),
    [([0.4], None), ([0.2, 0.6], ["a", "a"]), ([0.4, np.nan], ["a", "b"])],
)
def test_one_patient_has_no_interval(values, patients):
    interval = bootstrap_mean(np.array(values), patients, **SETTINGS)
    assert interval == Interval(pytest.approx(0.4), None, None)


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_no_value_has_no_mean(values):
    interval = bootstrap_mean(np.array(values, float), None, **SETTINGS)
    assert math.isnan(interval.mean)
    assert interval[1:] == (None, None)


def test_the_interval_of_equal_values_has_no_width():
    assert bootstrap_mean(np.full(9, 0.25), None, **SETTINGS) == Interval(0.25, 0.25, 0.25)


def test_difference_is_paired():
    rng = np.random.default_rng(6)
    hard = rng.random(50)  # common to both methods, so it cancels within a record
    a, b = hard + 0.1, hard + 0.01 * rng.random(50)
    interval = bootstrap_difference(a, b, None, **SETTINGS)
    assert 0.09 < interval.low < interval.mean < interval.high < 0.1
    assert interval.mean == pytest.approx(a.mean() - b.mean())
    mirrored = bootstrap_difference(b, a, None, **SETTINGS)
    assert mirrored == pytest.approx((-interval.mean, -interval.high, -interval.low))


def test_difference_needs_both_values():
    a, b = np.array([0.9, 0.5, np.nan, 0.4]), np.array([0.4, np.nan, 0.3, 0.1])
    expected = bootstrap_mean(np.array([0.5, 0.3]), None, **SETTINGS)
    assert bootstrap_difference(a, b, None, **SETTINGS) == pytest.approx(expected)


def test_the_ratio_uses_both_sums_of_the_same_draws():
    rng = np.random.default_rng(7)
    above, below = rng.uniform(0.1, 1.0, (2, 900))
    patients = np.arange(900) % 300
    fixed = bootstrap_ratio(-0.25 * below, below, patients, **SETTINGS)
    assert fixed == pytest.approx((-0.25, -0.25, -0.25))  # for any draw
    interval = bootstrap_ratio(above, below, patients, **SETTINGS)
    assert interval.mean == pytest.approx(above.sum() / below.sum())
    over, under = (x.reshape(3, 300).sum(axis=0) for x in (above, below))
    residual = over - interval.mean * under  # the delta method
    half = 1.96 * residual.std() * math.sqrt(300) / below.sum()
    assert interval.low == pytest.approx(interval.mean - half, abs=0.1 * half)
    assert interval.high == pytest.approx(interval.mean + half, abs=0.1 * half)


def test_a_ratio_with_a_zero_denominator_in_a_resample_has_no_interval():
    """Some resamples draw only patients whose denominator is 0."""
    above, below = np.array([1.0, 1.0, 2.0]), np.array([0.0, 0.0, 4.0])
    ratio = bootstrap_ratio(above, below, ["a", "b", "c"], resamples=500, seed=0)
    assert ratio == Interval(1.0, None, None)


def test_summary_is_plain_json():
    scores = {
        "ged": np.array([0.25, 0.25]),
        "dice_style": np.array([[0.5, np.nan], [0.5, np.nan]]),
    }
    assert summarise(scores, None, **SETTINGS) == {
        "ged": {"mean": 0.25, "low": 0.25, "high": 0.25},
        "dice_style": [
            {"mean": 0.5, "low": 0.5, "high": 0.5},
            {"mean": None, "low": None, "high": None},
        ],
    }


def test_raters_and_images_are_both_a_sample():
    """The variance of the mean of a_i + b_j is that of both means; residuals add little."""
    rng = np.random.default_rng(4)
    raters, images = rng.normal(size=(60, 1)), rng.normal(size=(1, 80))
    values = 1 + raters + images + 0.01 * rng.normal(size=(60, 80))
    interval = bootstrap_crossed(values, **SETTINGS)
    assert interval.mean == pytest.approx(values.mean(), rel=1e-12)
    half = 1.96 * math.sqrt(raters.var() / 60 + images.var() / 80)
    assert _width(interval) == pytest.approx(2 * half, rel=0.06)
    assert _width(interval) > 1.2 * _width(bootstrap_mean(values.mean(axis=1), None, **SETTINGS))


def test_of_raters_and_images_a_missing_value_is_left_out():
    values = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    assert bootstrap_crossed(values, **SETTINGS) == (2.0, None, None)  # some draws hold no value
    assert bootstrap_crossed(values[:1, :2], **SETTINGS) == (1.5, None, None)
    filled = np.where(np.isnan(values), 2.0, values)
    equal = bootstrap_crossed(np.full((3, 4), 0.5), **SETTINGS)
    assert equal == pytest.approx((0.5, 0.5, 0.5))
    assert (
        bootstrap_crossed(filled, **SETTINGS).low < 2 < bootstrap_crossed(filled, **SETTINGS).high
    )
