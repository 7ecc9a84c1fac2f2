"""Masks sorted by area: the index of each mask, with missing raters and equal masks."""

import numpy as np
import pytest

from data_pipelines import prepared, styles
from prosona_jax.types import Record


def _record(areas, valid=None):
    """Returns a record with masks of these areas; missing raters have masks, too."""
    masks = np.zeros((len(areas), 4, 4), np.uint8)
    for mask, area in zip(masks, areas, strict=True):
        mask.reshape(-1)[:area] = 1
    return Record(
        image=np.zeros((4, 4, 1), np.float32),
        masks=masks,
        rater_valid=np.ones(len(areas), bool) if valid is None else np.array(valid),
        patient_id="p",
        record_id="r",
        site="",
        spacing_mm=np.ones(2, np.float32),
        intensity_unit="HU",
    )


def _areas(record):
    return record.masks.sum(axis=(1, 2)).tolist()


def test_the_smallest_mask_comes_first_and_an_empty_one_before_it():
    found = styles.by_area(_record([7, 3, 0, 12]))
    assert _areas(found) == [0, 3, 7, 12]
    assert found.rater_valid.all()
    assert found.masks.dtype == np.uint8


def test_masks_of_equal_area_keep_their_order():
    record = _record([5, 5, 2, 5])
    for rater, column in ((0, 0), (1, 1), (3, 3)):
        record.masks[rater] = 0
        record.masks[rater, :, column] = 1
        record.masks[rater, 0, 2] = 1
    found = styles.by_area(record)
    np.testing.assert_array_equal(found.masks, record.masks[[2, 0, 1, 3]])


@pytest.mark.parametrize(
    ("areas", "valid", "indices"),
    [
        ([9, 4], [True, True], [4, 9]),
        ([9, 4], [False, True], [4, None]),  # the middle of 0..1, rounded to even
        ([9, 4, 7], [True, False, False], [None, 9, None]),
        ([9, 4, 7], [True, False, True], [7, None, 9]),
        ([9, 4, 7, 2], [False, True, False, False], [None, None, 4, None]),
        ([9, 4, 7, 2], [True, False, False, True], [2, None, None, 9]),
        ([9, 4, 7, 2], [True, True, False, True], [2, None, 4, 9]),  # 0, 1.5, 3
        ([9, 4, 7, 2, 5], [True, True, False, True, False], [2, None, 4, None, 9]),
        ([9, 4, 7, 2, 5], [True, True, True, True, False], [2, 4, None, 7, 9]),  # 1.33, 2.67
        ([9, 4], [False, False], [None, None]),
    ],
)
def test_valid_masks_are_spread_evenly(areas, valid, indices):
    found = styles.by_area(_record(areas, valid))
    assert found.rater_valid.tolist() == [index is not None for index in indices]
    assert _areas(found) == [index or 0 for index in indices]  # missing ones are blank


def test_the_result_does_not_depend_on_stored_order_or_repetition():
    record = _record([6, 1, 9, 4])
    expected = styles.by_area(record)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        found = styles.by_area(record._replace(masks=record.masks[order]))
        np.testing.assert_array_equal(found.masks, expected.masks)
    np.testing.assert_array_equal(styles.by_area(expected).masks, expected.masks)


def test_other_fields_and_the_given_record_do_not_change():
    record = _record([6, 1, 9], [True, False, True])
    before = record.masks.copy()
    found = styles.by_area(record)
    assert found.image is record.image
    assert found[3:] == record[3:]
    np.testing.assert_array_equal(record.masks, before)
    assert record.rater_valid.tolist() == [True, False, True]


def test_preparing_by_area_sorts_the_stored_masks(make_npz, make_settings, changed, tmp_path):
    """The file has discs of radius 2, 3 and 4; one record has them reversed, one lacks two."""
    masks = changed("masks", 1, changed("masks", 0, 0)[2, ::-1])
    valid = np.ones((12, 3), bool)
    valid[2] = [False, True, False]
    path = make_npz(masks=masks, rater_valid=valid)
    stored = prepared.prepare(make_settings(path), str(tmp_path / "cache"))
    sorted_ = prepared.prepare(make_settings(path, raters="by_area"), str(tmp_path / "cache"))
    np.testing.assert_array_equal(sorted_[0].masks, stored[0].masks)
    np.testing.assert_array_equal(sorted_[1].masks, stored[1].masks[::-1])
    np.testing.assert_array_equal(sorted_[2].masks, stored[2].masks)  # one alone: the middle
    assert sorted_[2].rater_valid.tolist() == [False, True, False]
    assert (np.diff([sorted_[1].masks[k].sum() for k in range(3)]) > 0).all()
