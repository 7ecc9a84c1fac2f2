"""Intervals, stability and pairs of raters, on numbers with known means."""

import numpy as np
import pytest

from prosona_jax.evaluation import rater_habits

PATIENTS = [f"p{n}" for n in range(40)]


def values(means, spread=1.0, seed=0):
    generator = np.random.default_rng(seed)
    return np.array(means) + spread * generator.normal(size=(len(PATIENTS), len(means)))


def test_intervals_hold_the_truth():
    means = [-2.0, 0.0, 0.1, 3.0]
    found = rater_habits.certainty(values(means), PATIENTS)
    assert all(own.low < mean < own.high for mean, own in zip(means, found.intervals, strict=True))
    assert found.stable
    assert found.stability > 0.95


def test_equal_raters_and_raters_in_no_order_have_no_stable_habit():
    alike = values([1.0] * 8, seed=1)
    shuffled = np.random.default_rng(1).permuted(values([-2.0, 0.0, 1.0, 2.0] * 2), axis=1)
    for own in (alike, shuffled):
        found = rater_habits.certainty(own, PATIENTS)
        assert found.stability < 0.5
        assert not found.stable


def test_stability_is_the_share_of_variance_that_is_no_chance():
    """Means -1 and 1 with noise 2 on 40 patients: V is 1, of which chance makes about 0.06."""
    share, p = rater_habits.stability(values([-1.0, 1.0], spread=2.0))
    assert share == pytest.approx(0.94, abs=0.05)
    assert p < 0.01


def test_pairs_that_no_habit_tells_apart():
    margin, tips = values([0.0, 0.0, 3.0, 0.0], seed=2), values([0.0, 0.0, 0.0, 2.0], seed=3)
    assert rater_habits.alike({"margin": margin, "tips": tips}, PATIENTS) == [(0, 1)]
    assert rater_habits.alike({"margin": margin}, PATIENTS) == [(0, 1), (0, 3), (1, 3)]


def test_missing_values_and_repeated_patients():
    own = values([0.0, 2.0, 4.0])
    own[:5, 0] = np.nan
    table = rater_habits.by_patient(own, ["a"] * 20 + ["b"] * 20)
    np.testing.assert_allclose(table[0], np.nanmean(own[:20], axis=0))
    assert rater_habits.certainty(own, PATIENTS).stable
    assert rater_habits.alike({"margin": table}, ["a", "b"]) != []  # two patients show little
    nothing = np.full((4, 2), np.nan)
    assert rater_habits.stability(nothing) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("pairs", "places", "expected"),
    [
        ([], [0.0, 0.1, 5.0], [[0], [1], [2]]),
        ([(0, 2)], [0.0, 5.0, 0.1], [[0, 2], [1]]),
        ([(0, 1), (0, 2), (1, 2)], [0.0, 1.0, 2.0, 9.0], [[0, 1, 2], [3]]),
        # Chains: 0 and 2 are not alike, so 1 joins the nearer one.
        ([(0, 1), (1, 2)], [0.0, 1.0, 1.8], [[0], [1, 2]]),
        ([(0, 1), (1, 2)], [0.0, 0.7, 1.8], [[0, 1], [2]]),
        # Two pairs that are both like one rater.
        ([(0, 1), (1, 2), (2, 3)], [0.0, 1.0, 2.5, 3.0], [[0, 1], [2, 3]]),
    ],
)
def test_every_pair_of_a_group_is_alike(pairs, places, expected):
    found = rater_habits.groups(pairs, np.array(places)[:, None])
    assert found == expected
    for group in found:
        assert all((a, b) in pairs for a in group for b in group if a < b)


def test_habits_of_raters_together_are_their_mean_on_each_object():
    own = np.array([[1.0, 5.0, 3.0], [2.0, 6.0, np.nan], [np.nan, 7.0, np.nan]])
    found = rater_habits.together(own, [[0, 2], [1]])
    np.testing.assert_array_equal(found[:, 1], own[:, 1])
    for rater in (0, 2):
        np.testing.assert_array_equal(found[:, rater], [2.0, 2.0, np.nan])


def test_a_rater_who_was_never_measured_changes_nothing_for_the_others():
    own = values([0.0, 0.1, 3.0])
    with_absent = np.insert(own, 1, np.nan, axis=1)
    found, alone = (rater_habits.certainty(each, PATIENTS) for each in (with_absent, own))
    assert (found.stability, found.stable) == (alone.stability, True)
    assert np.isnan(found.intervals[1].mean)
    assert rater_habits.alike({"margin": with_absent}, PATIENTS) == [(0, 2)]
