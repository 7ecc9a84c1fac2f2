"""The fingerprint's numbers, by closed forms."""

import json

import numpy as np
import pytest

from data_pipelines.fingerprint import Fingerprint, Tally, lines, mean_pairwise_dice
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
        tally.add(each)
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
    text = "\n".join(lines(found))
    assert "2 of 2 patients" in text
    assert "2 corrupt" in text
    assert "masks of 1 records" in text


def test_the_digest_tells_any_change():
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


def test_unknown_numbers_are_said_to_be_unknown():
    unknown = np.full(2, np.nan, np.float32)
    text = "\n".join(lines(summary(record([[[1, 0]]], spacing_mm=unknown))))
    assert "no pair of raters" in text
    assert "spacing            unknown" in text
