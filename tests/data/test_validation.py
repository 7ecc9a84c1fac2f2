"""Each fault of a record gives an error of one line with record and remedy."""

import numpy as np
import pytest

from data_pipelines import validation
from data_pipelines.validation import Intensities, unit_doubt
from prosona_jax.types import InputError, Record


@pytest.fixture
def record():
    masks = np.zeros((3, 8, 8), np.uint8)
    masks[:2, 2:5, 2:5] = 1  # the third rater saw no object, which is valid
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


def test_a_valid_record_passes_also_with_an_empty_mask(record):
    validation.check(record, "set.npz")
    assert not validation.is_empty(record)


def test_is_empty_ignores_missing_raters(record):
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
            r"channel 1 of the image is constant \(0\); fix",
        ),
        (lambda r: {"image": 200 * r.image}, "outside the 0..1 of intensity_unit 'unit'; scale it"),
        (lambda r: {"masks": with_pixel(r.masks, 2)}, r"masks are not binary \(values up to 2\)"),
    ],
)
def test_each_fault_names_file_record_and_remedy(record, change, message):
    with pytest.raises(InputError, match=message) as caught:
        validation.check(record._replace(**change(record)), "set.npz")
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


def test_binary_masks_accept_any_numeric_type_and_empty_missing_ones():
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


def test_intensities_are_quantiles_and_the_share_of_air():
    """A few outlying pixels hardly change the quantiles."""
    image = np.arange(2001, dtype=np.float32).reshape(1, 2001, 1) - 1500
    image[0, -1], image[0, 0] = 30000, -30000
    found = Intensities.of(image)
    assert found[:3] == pytest.approx((-1498, -500, 498))
    assert found.air == pytest.approx(901 / 2001)  # -1200 to -300


WITHIN = "99.8 % of the pixels lie within"
SOFT = "have the HU of air or lung (-1200 to -300), which CT shows unless all of it is soft tissue"


@pytest.mark.parametrize(
    ("seen", "unit", "doubt"),
    [
        (Intensities(-1000, -800, 300, 0.7), "HU", ""),
        (Intensities(-1000, 40, 300, 0.01), "HU", ""),
        (
            Intensities(-1000, 40, 300, 0.0099),
            "HU",
            f"Perhaps not in HU: {WITHIN} -1000 to 300, and 1.0 % {SOFT}",
        ),
        (
            Intensities(-100, 40, 300, 0),
            "HU",
            f"Perhaps not in HU: {WITHIN} -100 to 300, and 0.0 % {SOFT}",
        ),
        (
            Intensities(0, 0.2, 1, 0),
            "HU",
            f"Not in HU: {WITHIN} 0 to 1, and the noise of CT alone spreads wider in HU",
        ),
        (
            Intensities(0, 5, 10, 0),
            "HU",
            f"Perhaps not in HU: {WITHIN} 0 to 10, and 0.0 % {SOFT}",
        ),
        (Intensities(-3024, -1200, 300, 0.4), "HU", ""),
        (
            Intensities(-3024, -1850.5, 300, 0.4),
            "HU",
            "Perhaps not in HU: half of the pixels lie below -1850, and air has -1000 HU",
        ),
        (Intensities(0.5, 0.55, 0.625, 0), "unit", ""),
        (
            Intensities(0.0001, 0.01, 0.06249, 0),
            "unit",
            f"Nearly no contrast: {WITHIN} 0.0001 to 0.06249, a small part of 0 to 1, as if a "
            "16-bit file stored 12-bit values",
        ),
        (Intensities(0, 0, 0.01, 0), "arbitrary", ""),
    ],
)
def test_values_that_probably_do_not_have_their_unit_are_doubted(seen, unit, doubt):
    assert unit_doubt(seen, unit) == doubt
    told = doubt.replace(": ", ": in 3 of 9 records ", 1)
    assert unit_doubt(seen, unit, "in 3 of 9 records ") == told


def test_on_real_ct_right_units_are_accepted_and_nearly_all_wrong_ones_doubted(real_data):
    """Checks the rates in the comment of `validation`, on the first of its two data sets."""
    with np.load(real_data / "lidc_crops.npz") as stored:
        crops = stored["image"].astype(np.float32)[..., None]
    scaled = np.clip((crops + 1000) / 1400, 0, 1)
    shifted, padded = crops + 1024, crops + 1024
    padded.reshape(612, -1)[:, :300] = -2000  # 6 % of the 5041 pixels

    def doubted(images, unit="HU"):
        return sum(bool(unit_doubt(Intensities.of(image), unit)) for image in images)

    assert doubted(crops) == doubted(crops[:, 19:51, 19:51]) == 0
    assert doubted(scaled) == doubted(np.round(255 * scaled)) == 612
    assert doubted(shifted) == doubted(padded) == 612
    assert doubted(scaled, "unit") == 0
    assert doubted(np.round(4095 * scaled) / 65535, "unit") == 612
