"""Each fault of a record is told in one line, with record and remedy."""

import numpy as np
import pytest

from data_pipelines import validation
from prosona_jax.types import InputError, Record


@pytest.fixture
def record():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[:2, 2:5, 2:5] = 1  # the third rater sees nothing: a valid opinion
    return Record(
        image=np.random.default_rng(0).random((8, 8, 2), np.float32),
        masks=masks,
        rater_valid=np.ones(3, bool),
        patient_id="p",
        record_id="r",
        site="",
        spacing_mm=np.full(2, np.nan, np.float32),
        intensity_unit="unit",
    )


def with_pixel(array, value):
    array = array.copy()
    array[0, 0, 0] = value
    return array


def test_a_sound_record_passes_and_an_empty_mask_is_an_opinion(record):
    validation.Checker("set.npz")(record)
    assert not validation.is_empty(record)


def test_empty_counts_present_raters_alone(record):
    assert validation.is_empty(record._replace(masks=np.zeros_like(record.masks)))
    assert validation.is_empty(record._replace(rater_valid=np.array([False, False, True])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"record_id": ""}, "record '': its id is empty; give each record an id"),
        (lambda r: {"patient_id": ""}, "the patient id is empty; records are split by patient"),
        (lambda r: {"intensity_unit": "hu"}, r"intensity_unit is 'hu'; choose one of \('HU',"),
        (lambda r: {"split": "val"}, r"split is 'val'; choose one of \('train', 'validation'"),
        (lambda r: {"image": r.image[..., 0]}, r"image is float32 \[8, 8\]; it must be float32 of"),
        (lambda r: {"image": r.image.astype(float)}, r"image is float64 \[8, 8, 2\]; it must be"),
        (lambda r: {"masks": r.masks.astype(bool)}, r"masks is bool \[3, 8, 8\]; it must be uint8"),
        (lambda r: {"masks": r.masks[:, :7]}, r"masks are \[3, 7, 8\] on an image \[8, 8, 2\]"),
        (lambda r: {"masks": r.masks[:0], "rater_valid": r.rater_valid[:0]}, "none of them 0"),
        (lambda r: {"rater_valid": np.ones(2, bool)}, "rater_valid has 2 entries for 3 masks"),
        (lambda r: {"rater_valid": np.zeros(3, bool)}, "rater_valid is False for every rater"),
        (lambda r: {"spacing_mm": np.array([0, 1], np.float32)}, r"spacing_mm is \[0.0, 1.0\]; gi"),
        (lambda r: {"spacing_mm": np.array([np.nan, 1], np.float32)}, "above 0, or NaN twice"),
        (lambda r: {"image": with_pixel(r.image, np.nan)}, "the image holds NaN or infinite"),
        (lambda r: {"image": with_pixel(r.image, np.inf)}, "the image holds NaN or infinite"),
        (
            lambda r: {"image": r.image * np.float32([1, 0])},
            r"channel 1 of the image is constant \(0\); mend",
        ),
        (lambda r: {"image": 200 * r.image}, "outside the 0..1 of intensity_unit 'unit'; scale it"),
        (lambda r: {"masks": with_pixel(r.masks, 2)}, r"masks are not binary \(values up to 2\)"),
    ],
)
def test_each_fault_names_file_record_and_remedy(record, change, message):
    with pytest.raises(InputError, match=message) as caught:
        validation.Checker("set.npz")(record._replace(**change(record)))
    assert str(caught.value).startswith("set.npz: record ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: {"masks": r.masks[:2], "rater_valid": r.rater_valid[:2]},
            "record 's' has 2 raters, record 'r' has 3; one data set needs the same",
        ),
        (lambda r: {"image": r.image[..., :1]}, "record 's' has 1 channels, record 'r' has 2"),
        (
            lambda r: {"intensity_unit": "arbitrary"},
            "record 's' has arbitrary as intensity unit, record 'r' has unit",
        ),
    ],
)
def test_records_of_one_set_must_agree(record, change, message):
    check = validation.Checker("set.npz")
    check.agree(record)
    check.agree(record._replace(record_id="another"))
    with pytest.raises(InputError, match=message):
        check.agree(record._replace(**{"record_id": "s", **change(record)}))


def test_an_id_occurs_once(record):
    check = validation.Checker("set.npz")
    check(record)
    with pytest.raises(InputError, match="record 'r': the id occurs twice; give each record its"):
        check(record)


def test_binary_masks_take_any_number_and_empty_those_of_missing_raters():
    masks = np.array([[[0.0, 1.0]], [[np.nan, np.nan]]])
    found = validation.binary_masks(masks, np.array([True, False]), "f: record 'r'")
    np.testing.assert_array_equal(found, np.array([[[0, 1]], [[0, 0]]], np.uint8), strict=True)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (
            [[[0.0, np.nan]]],
            "f: rater 0's mask holds NaN; declare a missing mask by rater_valid = F",
        ),
        ([[[0, 255]]], r"f: rater 0's mask is not binary \(values \[0, 255\]\); store 0 and 1"),
        ([[[0, 256]]], "is not binary"),  # would be 0 as u8
        ([[["a", "b"]]], "f: masks are <U1; store them as uint8 0 and 1"),
    ],
)
def test_masks_that_are_not_binary_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        validation.binary_masks(masks, np.array([True]), "f")
