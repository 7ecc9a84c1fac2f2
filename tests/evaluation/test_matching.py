"""The best assignments: brute force, one over the other, copies, and what does not matter."""

import itertools

import numpy as np
import pytest

from prosona_jax.evaluation import matching


def table(samples, raters):
    return np.random.default_rng([samples, raters]).random((samples, raters))


@pytest.mark.parametrize(("samples", "raters"), [(2, 4), (4, 4), (6, 3), (4, 1)])
def test_all_samples_and_raters_count_equally_in_the_best_of_all_assignments(samples, raters):
    """Where one count divides the other, the smaller set is repeated to the larger one's size."""
    scores = table(samples, raters)
    wide = scores if samples <= raters else scores.T
    few, many = wide.shape
    best = max(
        np.mean([wide[row, column] for column, row in enumerate(rows)])
        for rows in itertools.product(range(few), repeat=many)
        if all(rows.count(row) == many // few for row in range(few))
    )
    assert matching.of_all(scores) == pytest.approx(best)


def test_sixteen_samples_meet_four_copies_of_each_of_four_raters():
    """Samples 0..3 are rater 0's, and so on: each pair has score 1, and no sample is left over."""
    own = np.repeat(np.eye(4), 4, axis=0)
    assert matching.of_all(own) == 1
    one_missing = own.copy()
    one_missing[0] = 0  # of this sample, which the best four pairs leave out
    assert matching.of_all(one_missing) == 15 / 16
    assert matching.of_fewest(one_missing) == 1


def test_three_samples_of_two_raters_split_one_sample():
    """Six copies: sample 1 goes half to each rater, and the others go to their own."""
    a, b = 0.6, 0.2
    scores = np.array([[1.0, 0.0], [a, b], [0.0, 1.0]])
    assert matching.of_all(scores) == pytest.approx((2 + (a + b) / 2) / 3)


@pytest.mark.parametrize(("samples", "raters"), [(3, 2), (5, 4), (4, 4), (7, 3)])
def test_neither_order_nor_copies_nor_the_roles_of_the_sets_matter(samples, raters):
    scores = table(samples, raters)
    expected = matching.of_all(scores)
    rng = np.random.default_rng(0)
    shuffled = scores[rng.permutation(samples)][:, rng.permutation(raters)]
    for same in (shuffled, scores.T, np.tile(scores, (2, 1)), np.tile(scores, (2, 3))):
        assert matching.of_all(same) == pytest.approx(expected)
    if samples == raters:
        assert expected == pytest.approx(matching.of_fewest(scores))


def test_without_raters_the_score_is_0():
    assert matching.of_all(np.zeros((3, 0))) == matching.of_fewest(np.zeros((3, 0))) == 0
