"""Scores against all raters but one: by hand, by the scores of single samples, raters who agree."""

import numpy as np

from prosona_jax.evaluation import metrics
from tests.masks import all_valid, assert_equal_scores, boxes, random_masks, score


def _samples_leave_one_out(probs, labels, valid):
    return metrics.samples_leave_one_out(metrics.count_overlaps(probs, labels, valid), valid)


def _raters_leave_one_out(labels, valid):
    """Adds two samples, which must not change the scores."""
    probs = np.ones((len(labels), 2, *labels.shape[2:]), np.float32)
    return metrics.raters_leave_one_out(metrics.count_overlaps(probs, labels, valid), valid)


def test_leave_one_out_by_hand():
    # Widths 2, 4, 8. The pairs 01, 02 and 12 have IoU 1/2, 1/4 and 1/2, and Dice 2/3, 2/5 and 2/3.
    labels = boxes((0, 2), (0, 4), (0, 8))
    scores = _raters_leave_one_out(labels, all_valid(labels))
    # 2 E d(y_r, y) - E d(y, y'): the second term is half the distance of the two other raters.
    ged = [(0.5 + 0.75) - 0.25, (0.5 + 0.5) - 0.375, (0.75 + 0.5) - 0.25]
    assert_equal_scores(
        scores,
        {
            "ged": [np.mean(ged)],
            "dice": [(2 / 3 + 2 / 5 + 2 / 3) / 3],
            "dice_max": [2 / 3],
        },
        rtol=1e-8,
    )


def _single_sample_mean(probs, labels, valid, name):
    """Mean over left-out raters r and samples s of the plain score of s against the others."""
    found = []
    for r in np.flatnonzero(valid):
        others = valid.copy()
        others[r] = False
        for sample in probs:
            scores = score(sample[None, None], labels[None], others[None])
            found.append(scores[name][0])
    return np.mean(found)


def test_samples_leave_one_out_is_the_mean_of_single_samples():
    probs, labels, valid = random_masks(samples=3, raters=4, records=3)
    scores = _samples_leave_one_out(probs, labels, valid)
    for i in range(3):
        record = probs[i], labels[i], valid[i]
        ged = _single_sample_mean(*record, "ged")
        best = _single_sample_mean(*record, "dice_max_raters_per_sample")
        mean = _single_sample_mean(*record, "dice_max_samples_per_rater")  # S = 1: no choice
        np.testing.assert_allclose(scores["ged"][i], ged, rtol=1e-9)
        np.testing.assert_allclose(scores["dice_max"][i], best, rtol=1e-9)
        np.testing.assert_allclose(scores["dice"][i], mean, rtol=1e-9)


def test_raters_leave_one_out_is_each_rater_as_the_single_sample():
    _, labels, valid = random_masks(samples=1, raters=4)
    scores = _raters_leave_one_out(labels, valid)
    for i in range(len(labels)):
        expected = []
        for r in np.flatnonzero(valid[i]):
            others = valid[i].copy()
            others[r] = False
            sample = labels[i, r].astype(np.float32)[None, None]
            expected.append(score(sample, labels[i][None], others[None])["ged"][0])
        np.testing.assert_allclose(scores["ged"][i], np.mean(expected), rtol=1e-9)


def test_leave_one_out_of_raters_who_agree_is_perfect():
    labels = np.repeat(boxes((1, 5)), 3, axis=1)
    expected = {"ged": [0.0], "dice": [1.0], "dice_max": [1.0]}
    assert_equal_scores(_raters_leave_one_out(labels, all_valid(labels)), expected, atol=1e-15)
    samples = np.repeat(labels[:, :1], 5, axis=1).astype(np.float32)
    found = _samples_leave_one_out(samples, labels, all_valid(labels))
    assert_equal_scores(found, expected, atol=1e-15)


def test_leave_one_out_needs_two_raters():
    probs, labels, valid = random_masks(samples=2, raters=4)
    valid[0] = [False, True, False, False]
    for scores in (
        _raters_leave_one_out(labels, valid),
        _samples_leave_one_out(probs, labels, valid),
    ):
        for value in scores.values():
            assert np.isnan(value[0])
            assert not np.isnan(value[1])
