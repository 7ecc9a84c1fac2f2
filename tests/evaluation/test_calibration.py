"""Calibration of the share of samples: closed forms, a loop over pixels, invariances."""

import numpy as np
import pytest

from prosona_jax.evaluation import calibration, metrics
from prosona_jax.evaluation.calibration import Bins
from tests.masks import all_valid, boxes, random_masks, score


def bins_of(probs, labels, valid=None):
    valid = all_valid(labels) if valid is None else valid
    votes = metrics.count_overlaps(probs.astype(np.float32), labels, valid).votes
    return calibration.bins(votes, valid)


def errors(probs, labels, valid=None):
    """Returns both errors of each record."""
    bins = bins_of(probs, labels, valid)
    return bins.ece_all(), bins.ece_union()


def loop(probs, labels):
    """Returns both errors of one record, pixel by pixel."""
    p = (probs > 0.5).mean(axis=0).ravel()
    y = labels.mean(axis=0).ravel()
    gap = np.zeros(10)
    for one, other in zip(p, y, strict=True):
        gap[min(int(10 * one + 1e-9), 9)] += one - other
    return np.abs(gap).sum() / len(p), np.abs(gap).sum() / max(((p > 0) | (y > 0)).sum(), 1)


def test_samples_like_the_raters_have_no_error():
    labels = boxes((0, 2), (0, 5), (1, 6), (3, 8))
    assert errors(labels, labels) == ([0.0], [0.0])
    assert errors(np.tile(labels, (1, 3, 1, 1)), labels) == ([0.0], [0.0])


def test_two_constants_have_the_error_of_their_difference():
    """Three of four samples and one of four raters include every pixel."""
    full, nothing = (0, 8), (0, 0)
    found = errors(boxes(full, full, full, nothing), boxes(full, nothing, nothing, nothing))
    assert found == ([0.5], [0.5])


def test_the_error_of_two_regions_is_weighted_by_their_pixels():
    """Columns 0 and 1: p = 1, y = 1/2. Columns 2 to 4: p = 0, y = 1/4. The others: both are 0."""
    labels = boxes((0, 5), (0, 2), (0, 0), (0, 0))
    found = errors(boxes((0, 2), (0, 2)), labels)
    gap = 2 * (1 - 0.5) + 3 * 0.25
    assert found == (pytest.approx([gap / 8]), pytest.approx([gap / 5]))


def test_raters_who_differ_within_a_bin_count_together():
    """p is 1/2 on all pixels; one half of them is of the rater, and one half is not."""
    assert errors(boxes((0, 8), (0, 0)), boxes((0, 4))) == ([0.0], [0.0])


@pytest.mark.parametrize(("samples", "raters"), [(1, 3), (4, 4), (10, 3), (50, 4), (7, 2)])
def test_it_is_the_error_of_a_loop_over_pixels(samples, raters):
    probs, labels, valid = random_masks(samples=samples, raters=raters)
    found = errors(probs, labels, valid)
    for i in range(len(probs)):
        assert [each[i] for each in found] == pytest.approx(loop(probs[i], labels[i, valid[i]]))


@pytest.mark.parametrize(("samples", "place"), [(10, [*range(10), 9]), (4, [0, 2, 5, 7, 9])])
def test_the_bins_are_closed_below_and_the_last_one_on_both_sides(samples, place):
    drawn = np.zeros((1, samples, 1, samples + 1), np.float32)
    for k in range(samples + 1):
        drawn[0, :k, 0, k] = 1
    found = bins_of(drawn, np.zeros((1, 1, 1, samples + 1), np.uint8))
    assert found.pixels[0].tolist() == np.bincount(place, minlength=10).tolist()
    expected = np.bincount(place, weights=np.arange(samples + 1) / samples, minlength=10)
    assert found.samples[0] == pytest.approx(expected)
    assert found.union.sum() == samples


def test_order_and_missing_raters_do_not_matter():
    probs, labels, valid = random_masks(samples=5, raters=4)
    valid[:] = [True, False, True, True]
    expected = errors(probs, labels, valid)
    labels[:, 1] = 255
    for same in (
        errors(probs[:, [3, 0, 4, 2, 1]], labels[:, [2, 1, 3, 0]], valid),
        errors(probs, labels[:, [0, 2, 3]]),
        errors(np.tile(probs, (1, 2, 1, 1)), labels, valid),
    ):
        np.testing.assert_allclose(same, expected, rtol=1e-12)


def test_background_changes_the_error_over_all_pixels_alone():
    probs, labels, valid = random_masks(samples=5, raters=4)
    margin = ((0, 0), (0, 0), (0, 12), (0, 12))  # four times the pixels
    all_pixels, union = errors(probs, labels, valid)
    wider = errors(np.pad(probs, margin), np.pad(labels, margin), valid)
    np.testing.assert_allclose(wider, (all_pixels / 4, union), rtol=1e-12)


def test_the_bins_of_two_images_add_to_those_of_both_together():
    probs, labels, _ = random_masks(samples=5, raters=4)
    each = bins_of(probs, labels)
    together = bins_of(*(np.concatenate(list(x), axis=-1)[None] for x in (probs, labels)))
    added = Bins(*(x.sum(axis=0) for x in each))
    for one, other in zip(added, together, strict=True):
        np.testing.assert_allclose(one, other[0], rtol=1e-12)
    assert added.ece_all() == pytest.approx(together.ece_all()[0])


def test_empty_masks_have_no_error_and_records_without_a_rater_no_value():
    nothing = boxes((0, 0), (0, 0))
    assert errors(nothing, nothing) == ([0.0], [0.0])
    scores = score(nothing.astype(np.float32), nothing, np.zeros((1, 2), bool))
    assert np.isnan([scores["ece_10_all"], scores["ece_10_union"]]).all()
