"""Scores of K prompted masks against K raters: loops, shuffles, areas, missing raters."""

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from prosona_jax.evaluation import metrics
from tests.masks import random_masks, score

K = 4


def _random():
    probs, labels, valid = random_masks(samples=K, raters=K)
    assert not valid.all()
    return probs, labels, valid


def _style_scores(probs, labels, valid):
    return metrics.style_scores(metrics.count_overlaps(probs, labels, valid), valid)


def _dice(a, b):
    return (2 * np.sum(a & b) + 1e-8) / (np.sum(a) + np.sum(b) + 1e-8)


def test_loops_over_masks_and_raters():
    probs, labels, valid = _random()
    scores = _style_scores(probs, labels, valid)
    for n in range(len(probs)):
        raters = np.flatnonzero(valid[n])
        table = [[_dice(probs[n, i] > 0.5, labels[n, j] > 0) for j in range(K)] for i in range(K)]
        others = {j: np.mean([table[i][j] for i in range(K) if i != j]) for j in raters}
        for j in range(K):
            column = [row[j] for row in table] if j in raters else [np.nan] * K
            np.testing.assert_allclose(scores["dice_table"][n, :, j], column, rtol=1e-9)
        gain = np.mean([table[j][j] - others[j] for j in raters])
        np.testing.assert_allclose(scores["dice_others"][n], np.mean(list(others.values())))
        np.testing.assert_allclose(scores["style_gain"][n], gain, atol=1e-12)
        wins = [
            (table[j][j] == max(column)) / column.count(max(column))
            for j in raters
            for column in [[row[j] for row in table]]
        ]
        np.testing.assert_allclose(scores["own_best"][n], np.mean(wins), atol=1e-12)
        np.testing.assert_array_equal(scores["area"][n], (probs[n] > 0.5).sum(axis=(1, 2)))


def test_others_is_the_mean_over_all_shuffles_that_leave_no_prompt_in_place():
    """Nine of the 24 orders of four prompts do this. Missing raters are left out of all of them."""
    probs, labels, valid = _random()
    shuffles = [
        order
        for order in itertools.permutations(range(K))
        if all(style != prompt for style, prompt in enumerate(order))
    ]
    assert len(shuffles) == 9
    shuffled = [score(probs[:, list(order)], labels, valid)["dice_mean"] for order in shuffles]
    found = _style_scores(probs, labels, valid)["dice_others"]
    np.testing.assert_allclose(found, np.mean(shuffled, axis=0), rtol=1e-12)


def test_dice_table_and_style_gain_agree_with_the_other_scores():
    probs, labels, valid = _random()
    scores = _style_scores(probs, labels, valid)
    other = score(probs, labels, valid)
    diagonal = np.diagonal(scores["dice_table"], axis1=1, axis2=2)
    np.testing.assert_array_equal(diagonal, other["dice_style"])
    gain = other["dice_mean"] - scores["dice_others"]
    np.testing.assert_allclose(scores["style_gain"], gain, atol=1e-12)


def _of_areas(*areas):
    masks = np.zeros((1, len(areas), 1, 10), np.uint8)
    for mask, area in zip(masks[0], areas, strict=True):
        mask[:, :area] = 1
    return masks


@pytest.mark.parametrize(
    ("areas", "ordered", "correlation"),
    [
        ((1, 2, 3, 4), 1, 1),
        ((4, 3, 2, 1), 0, -1),
        ((0, 0, 5, 9), 1, 0.9486832981),  # ranks 1.5 1.5 3 4
        ((1, 1, 1, 2), 1, 0.7745966692),  # ranks 2 2 2 4
        ((3, 3, 3, 3), 0, 0),
        ((1, 3, 2, 4), 0, 0.8),
        ((2, 1, 4, 3), 0, 0.6),
        ((2, 3, 3, 1), 0, -0.3162277660),
    ],
)
def test_order_and_rank_correlation_by_hand(areas, ordered, correlation):
    masks = _of_areas(*areas)
    scores = _style_scores(masks.astype(np.float32), masks, np.ones((1, K), bool))
    assert scores["area"].tolist() == [list(areas)]
    assert scores["ordered"].tolist() == [ordered]
    np.testing.assert_allclose(scores["rank_correlation"], [correlation], atol=1e-9)
    if len(set(areas)) > 1:
        expected = spearmanr(areas, range(K)).statistic
        np.testing.assert_allclose(scores["rank_correlation"], [expected], atol=1e-12)


def test_areas_are_correlated_with_those_of_the_valid_raters():
    """Ranks 1 2 3 4 and 2 1 3 4; without the second rater, 1 2 3 and 1 2 3."""
    probs, masks = _of_areas(1, 2, 3, 4).astype(np.float32), _of_areas(5, 2, 6, 9)
    all_valid, one_less = np.ones((1, K), bool), np.array([[True, False, True, True]])
    assert _style_scores(probs, masks, all_valid)["rater_correlation"] == pytest.approx(0.8)
    assert _style_scores(probs, masks, one_less)["rater_correlation"] == pytest.approx(1.0)
    alike = _of_areas(7, 7, 7, 7)
    same = alike.astype(np.float32)
    assert _style_scores(same, masks, all_valid)["rater_correlation"] == 0.0
    assert np.isnan(_style_scores(probs, alike, all_valid)["rater_correlation"])


def test_areas_of_random_masks_agree_with_scipy():
    probs, labels, valid = _random()
    found = _style_scores(probs, labels, valid)["rater_correlation"]
    for i, present in enumerate(valid):
        areas = ((probs[i, present] > 0.5).sum((1, 2)), labels[i, present].sum((1, 2)))
        expected = spearmanr(*areas).statistic if present.sum() > 1 else np.nan
        assert found[i] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_prompts_that_draw_exactly_their_raters_by_hand():
    """Masks of width 2, 4 and 8: the pairs 12, 13 and 23 have Dice 2/3, 2/5 and 2/3."""
    masks = _of_areas(2, 4, 8)
    scores = _style_scores(masks.astype(np.float32), masks, np.ones((1, 3), bool))
    expected = [[1, 2 / 3, 2 / 5], [2 / 3, 1, 2 / 3], [2 / 5, 2 / 3, 1]]
    np.testing.assert_allclose(scores["dice_table"][0], expected, rtol=1e-8)
    others = np.mean([(2 / 3 + 2 / 5) / 2, 2 / 3, (2 / 5 + 2 / 3) / 2])
    np.testing.assert_allclose(scores["dice_others"], [others], rtol=1e-8)
    np.testing.assert_allclose(scores["style_gain"], [1 - others], rtol=1e-8)
    assert scores["own_best"].tolist() == [1]


def test_the_style_gain_of_equal_masks_is_zero():
    probs, labels, valid = _random()
    same = np.repeat(probs[:, 1:2], K, axis=1)
    scores = _style_scores(same, labels, valid)
    np.testing.assert_allclose(scores["style_gain"], 0.0, atol=1e-12)
    np.testing.assert_allclose(scores["own_best"], 1 / K)
    np.testing.assert_array_equal(scores["ordered"], 0.0)
    np.testing.assert_array_equal(scores["rank_correlation"], 0.0)


def test_the_mask_of_a_missing_rater_changes_no_score():
    probs, labels, valid = _random()
    other = np.where(valid[:, :, None, None], labels, 1 - labels)
    expected = _style_scores(probs, labels, valid)
    for name, value in _style_scores(probs, other, valid).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_only_the_record_without_a_rater_is_nan():
    probs, labels, valid = _random()
    expected = _style_scores(probs, labels, valid)
    valid[2] = False
    for name, value in _style_scores(probs, labels, valid).items():
        assert np.isnan(value[2]).all()
        np.testing.assert_array_equal(value[[0, 1, 3, 4]], expected[name][[0, 1, 3, 4]])
