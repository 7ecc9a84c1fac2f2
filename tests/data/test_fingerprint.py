"""The fingerprint's numbers equal those of closed formulas."""

import json

import numpy as np
import pytest

from data_pipelines.fingerprint import Fingerprint, Native, Tally, lines, mean_pairwise_dice, words
from prosona_jax.types import Record


def record(masks, valid=None, **fields):
    masks = np.array(masks, np.uint8)
    image = np.zeros((*masks.shape[1:], 1), np.float32)
    valid = np.ones(len(masks), bool) if valid is None else np.array(valid)
    spacing = np.full(2, 0.5, np.float32)
    values = (image, masks, valid, "p", "r", "", spacing, "HU")
    return Record(*values)._replace(**fields)


def test_dice_is_the_mean_over_pairs_of_present_raters():
    masks = [[[1, 1, 0]], [[0, 1, 1]], [[0, 1, 0]], [[1, 1, 1]]]
    assert mean_pairwise_dice(record(masks[:2])) == pytest.approx(1 / 2)
    assert mean_pairwise_dice(record(masks[:3])) == pytest.approx((1 / 2 + 2 / 3 + 2 / 3) / 3)
    valid = [True, True, False, False]
    assert mean_pairwise_dice(record(masks, valid)) == pytest.approx(1 / 2)


def test_two_empty_masks_agree_and_one_rater_has_no_pair():
    assert mean_pairwise_dice(record([[[0, 0]], [[0, 0]]])) == 1
    assert mean_pairwise_dice(record([[[0, 0]], [[0, 1]]])) == pytest.approx(0, abs=1e-7)
    assert np.isnan(mean_pairwise_dice(record([[[0, 1]]])))


def summary(*records):
    fingerprint, tally = Fingerprint(), Tally()
    for each in records:
        fingerprint.add(each)
        tally.add(Native.of(each))
    tally.skipped["corrupt"] = 2
    tally.masks_cut = 1
    return fingerprint.summary(tally)


def test_the_summary_counts_and_is_ready_for_json():
    found = summary(
        record([[[1, 1, 1]], [[1, 1, 1]]]),
        record([[[0, 1, 0]], [[1, 1, 1]]], [True, False], record_id="s", patient_id="q"),
    )
    assert json.loads(json.dumps(found)) == found
    assert (found["records"], found["patients"], found["raters"]) == (2, 2, 2)
    assert found["masks_missing"] == 1
    assert found["image_shape"] == [1, 3, 1]
    assert found["native_spacing_mm"] == [[0.5, 0.5], [0.5, 0.5]]
    assert found["inter_rater_dice"] == pytest.approx(1)
    np.testing.assert_allclose(found["mask_area_px"], np.quantile([3, 3, 1], [0.05, 0.5, 0.95]))
    text = "\n".join(lines(found, 0.0))
    assert "2 of 2 patients" in text
    assert "2 corrupt" in text
    assert "masks of 1 records" in text


def test_areas_are_also_in_mm2_where_all_pixels_have_one_size():
    """Masks of 3, 3 and 1 pixels; the median is 3 pixels of 0.5 by 0.5 mm, or of 2 by 2 mm."""
    known = record([[[1, 1, 1]], [[1, 1, 1]], [[0, 1, 0]]])
    area = lambda *records, spacing_mm: words(summary(*records), spacing_mm)["mask area"]  # noqa: E731
    assert area(known, spacing_mm=0.0) == "1 / 3 / 3 pixels or 0.3 / 0.8 / 0.8 mm² (5 / 50 / 95 %)"
    assert "/ 12.0 / 12.0 mm²" in area(known, spacing_mm=2.0)
    other, unknown = (known._replace(spacing_mm=np.full(2, x, np.float32)) for x in (0.7, np.nan))
    assert area(known, other, spacing_mm=0.0) == "1 / 3 / 3 pixels (5 / 50 / 95 %)"
    assert "/ 12.0 / 12.0 mm²" in area(known, other, spacing_mm=2.0)
    for spacing_mm in (0.0, 2.0):
        assert area(known, unknown, spacing_mm=spacing_mm) == "1 / 3 / 3 pixels (5 / 50 / 95 %)"


def test_intensities_are_those_before_windowing_and_doubted_records_are_counted():
    masks = [[[1, 0, 1]]]
    images = {"a": [-1000, -600, 40], "b": [0, 0.5, 1], "c": [0, 100, 255]}
    each = [
        record(masks, record_id=name, image=np.array(values, np.float32).reshape(1, 3, 1))
        for name, values in images.items()
    ]
    unknown = each[2]._replace(spacing_mm=np.full(2, np.nan, np.float32))
    found = summary(*each[:2], unknown)
    assert json.loads(json.dumps(found)) == found
    assert found["spacings_unknown"] == 1
    seen = found["intensities"]
    first = seen.pop("first_doubted")
    assert seen == {
        "unit": "HU",
        "low": pytest.approx(0.001, abs=1e-6),
        "median": pytest.approx(0.5),
        "high": pytest.approx(38.72),
        "air": 0,
        "doubted": 2,
    }
    assert first.pop("record_id") == "b"
    assert first == {
        "low": pytest.approx(0.001),
        "median": 0.5,
        "high": pytest.approx(0.999),
        "air": 0,
    }
    text = "\n".join(lines(summary(*each[:2], unknown), 0.5))
    assert (
        "intensities        HU, 0.001 / 0.5 / 38.72 (0.1 / 50 / 99.9 % of an image, median)" in text
    )
    assert "spacing            0.5x0.5 to 0.5x0.5 mm, unknown in 1 records" in text
    assert summary(each[0])["intensities"]["first_doubted"] is None


def test_any_change_changes_the_digest():
    first = record([[[1, 0]], [[0, 1]]])
    changes = (
        {},
        {"record_id": "s"},
        {"patient_id": "q"},
        {"split": "test"},
        {"image": first.image + 1},
        {"masks": first.masks[::-1]},
        {"rater_valid": np.array([True, False])},
    )
    digests = [summary(first._replace(**change))["sha256"] for change in changes]
    assert len(set(digests)) == len(changes)
    assert digests[0] == summary(first)["sha256"]
    # Workdirs identify their data by this digest.
    assert digests[0] == "ae57e59bbed36e92d22eca214bd9294f9232132f3319a76e9d7b1e982e4793c7"


def test_unknown_numbers_are_printed_as_unknown():
    unknown = np.full(2, np.nan, np.float32)
    text = "\n".join(lines(summary(record([[[1, 0]]], spacing_mm=unknown)), 0.0))
    assert "no pair of raters" in text
    assert "spacing            unknown" in text


def test_sizes_are_of_each_axis_and_keep_their_digits():
    masks = [[[1, 0, 1]]]
    spacings = ([0.6, 0.00025], [0.5, 3.0], [0.820312, 0.00002])
    found = summary(*[record(masks, spacing_mm=np.float32(each)) for each in spacings])
    assert found["native_spacing_mm"] == [[0.5, 0.00002], [0.8203, 3.0]]
    sizes = [record(np.ones((1, *shape))) for shape in ((5, 9), (7, 4), (6, 6))]
    assert summary(*sizes)["native_sizes"] == [[5, 4], [7, 9]]
