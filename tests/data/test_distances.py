"""Signed distances, margins, and the distance of raters' contours from their mean contour."""

import numpy as np
import pytest

from data_pipelines import distances
from prosona_jax.types import Record

ROW, COLUMN = np.mgrid[:81, :81]


def disc(radius_mm, spacing_mm):
    row, column = (ROW - 40) * spacing_mm[0], (COLUMN - 40) * spacing_mm[1]
    return (np.hypot(row, column) < radius_mm).astype(np.uint8)


def radius(mask, spacing_mm):
    """Returns the radius of a disc of the mask's area."""
    return np.sqrt(mask.sum() * np.prod(spacing_mm) / np.pi)


@pytest.mark.parametrize("spacing_mm", [np.array([1.0, 1.0]), np.array([0.6, 0.9])])
@pytest.mark.parametrize("mm", [-6.0, -2.0, 1.5, 3.0, 7.0])
def test_a_margin_moves_the_contour_of_a_disc_by_its_distance(mm, spacing_mm):
    before = disc(12, spacing_mm)
    after = distances.add_margin(before, mm, spacing_mm)
    assert radius(after, spacing_mm) - radius(before, spacing_mm) == pytest.approx(mm, abs=0.3)


def test_a_margin_below_half_a_pixel_changes_nothing():
    before = disc(12, np.ones(2))
    for mm in (-0.4, 0.0, 0.4):
        np.testing.assert_array_equal(distances.add_margin(before, mm, np.ones(2)), before)


def test_a_margin_cut_off_is_a_margin_added_to_the_background():
    before = disc(12, np.ones(2))
    cut = distances.add_margin(before, -2.2, np.ones(2))
    np.testing.assert_array_equal(1 - cut, distances.add_margin(1 - before, 2.2, np.ones(2)))


def test_an_empty_mask_stays_empty_and_a_small_one_can_vanish():
    empty = np.zeros((5, 5), np.uint8)
    assert not distances.add_margin(empty, 3.0, np.ones(2)).any()
    assert not distances.add_margin(disc(2, np.ones(2)), -4.0, np.ones(2)).any()


def test_nested_discs_lie_at_their_distance_from_the_mean_radius():
    radii = np.array([10.0, 11.0, 13.0, 16.0])
    masks = np.stack([disc(r, np.ones(2)) for r in radii])
    found = distances.from_mean(masks, np.ones(4, bool), np.ones(2))
    np.testing.assert_allclose(found, radii - radii.mean(), atol=0.15)


def test_missing_and_empty_raters_do_not_count():
    masks = np.stack([disc(r, np.ones(2)) for r in (10, 30, 12, 0)])
    found = distances.from_mean(masks, np.array([True, False, True, True]), np.ones(2))
    np.testing.assert_allclose(found[[0, 2]], [-1, 1], atol=0.1)
    assert np.isnan(found[[1, 3]]).all()
    alone = distances.from_mean(masks, np.array([True, False, False, False]), np.ones(2))
    assert np.isnan(alone).all()


def record(masks, spacing_mm):
    return Record(
        image=np.zeros((81, 81, 1), np.float32), masks=masks, rater_valid=np.ones(len(masks), bool),
        patient_id="p", record_id="r", site="", spacing_mm=spacing_mm, intensity_unit="HU",
        split="",
    )  # fmt: skip


def test_the_distances_of_styles_are_means_over_records_of_known_pixel_size():
    known, unknown = np.full(2, 0.5, np.float32), np.full(2, np.nan, np.float32)
    pairs = [
        np.stack([disc(r, known) for r in radii])
        for radii in ((5.0, 7.0), (5.0, 11.0), (5.0, 19.0))
    ]
    records = [record(pairs[0], known), record(pairs[1], known), record(pairs[2], unknown)]
    np.testing.assert_allclose(distances.of_styles(records), [-2, 2], atol=0.1)
    assert distances.of_styles(records[2:]) is None
    empty = np.stack([pairs[0][0], pairs[0][0], np.zeros_like(pairs[0][0])])
    assert distances.of_styles([record(empty, known)]) is None
