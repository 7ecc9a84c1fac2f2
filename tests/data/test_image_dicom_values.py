"""Values of DICOM files: units, slopes and tables, padding, and inverted gray values."""

import functools

import numpy as np
import pydicom
import pytest

from data_pipelines import images
from tests.data import conftest
from tests.data.conftest import item

RAMP = np.arange(12 * 9).reshape(12, 9) * 7

fault_of = functools.partial(conftest.fault_of, images.read)


@pytest.mark.parametrize("stated", [None, "", "HU", "hu", " Hu "])
def test_ct_is_in_hu_for_each_spelling_of_its_type(make_dicom, stated):
    picture = images.read(make_dicom(RescaleType=stated))
    assert picture.intensity_unit == "HU"
    np.testing.assert_array_equal(picture.image[..., 0], 2.0 * (RAMP - 300) - 1024)


def test_ct_of_another_or_no_unit(make_dicom):
    assert images.read(make_dicom(RescaleType="EDW")).intensity_unit == "arbitrary"
    unspecified = make_dicom(RescaleType="US")
    assert images.read(unspecified).intensity_unit == "arbitrary"
    assert images.read(unspecified, unit="HU").intensity_unit == "HU"
    assert fault_of(make_dicom(RescaleType="EDW"), unit="HU") == (
        "the file states the unit 'arbitrary' for its values; leave the unit 'HU' out"
    )


def test_mr_of_a_negative_slope_is_not_inverted(make_dicom):
    picture = images.read(make_dicom(Modality="MR", RescaleSlope=-1, RescaleIntercept=500))
    np.testing.assert_array_equal(picture.image[..., 0], 500.0 - (RAMP - 300))


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_table_of_values(make_dicom, bits):
    """In a modality LUT, lower values get the first entry, and higher values the last."""
    entries = np.array([(3 * k) % 200 for k in range(50)], "<u2").tobytes()
    table = item(LUTDescriptor=[50, 10, bits], ModalityLUTType="US", LUTData=entries)
    path = make_dicom(
        stored=RAMP.astype(np.uint16), PixelRepresentation=0, Modality="MR",
        ModalityLUTSequence=table, RescaleSlope=None, RescaleIntercept=None,
    )  # fmt: skip
    expected = (3 * np.clip(RAMP - 10, 0, 49)) % 200
    np.testing.assert_array_equal(images.read(path).image[..., 0], expected)


def air(stored, padding, **changes):
    return {"stored": stored, "RescaleSlope": 1, "RescaleIntercept": -1024, **padding, **changes}


@pytest.mark.parametrize("representation", [0, 1])
@pytest.mark.parametrize("value", [63536, -2000])
def test_padding_is_air_signed_or_not(make_dicom, tmp_path, representation, value):
    """The padding value has the same bits, signed or unsigned, whatever the pixels are."""
    kind = np.int16 if representation else np.uint16
    stored = (RAMP + 100).astype(kind)
    stored[:3] = np.array(63536 % 2**16, np.uint16).astype(kind)
    path = make_dicom(stored=stored, RescaleSlope=1, PixelRepresentation=representation)
    dataset = pydicom.dcmread(path)
    vr = "US" if value > 0 else "SS"
    dataset.add_new("PixelPaddingValue", vr, value)
    dataset.save_as(path)
    image = images.read(path).image[..., 0]
    np.testing.assert_array_equal(image[3:], RAMP[3:] + 100 - 1024)
    assert (image[:3] <= -1000).all()
    assert (image[:3] >= -4000).all()


def test_a_range_of_padding(make_dicom):
    stored = (RAMP + 100).astype(np.uint16)
    stored[0, :4] = [60000, 60050, 60100, 60101]
    path = make_dicom(
        stored=stored, RescaleSlope=1, PixelRepresentation=0,
        PixelPaddingValue=60000, PixelPaddingRangeLimit=60100,
    )  # fmt: skip
    assert images.read(path).image[0, :4, 0].tolist() == [-1000, -1000, -1000, 60101 - 1024]


def padded(make_dicom, stored, value, vr, limit=None, **changes):
    """Reads stored values [12, 9], with a padding value of a given value representation."""
    path = make_dicom(
        stored=stored, RescaleSlope=1, RescaleIntercept=0,
        BitsAllocated=8 * stored.dtype.itemsize, PixelRepresentation=int(stored.dtype.kind == "i"),
        **{"BitsStored": 8 * stored.dtype.itemsize, "HighBit": None, **changes},
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", vr, value)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", vr, limit)
    dataset.save_as(path)
    return images.read(path).image[..., 0]


@pytest.mark.parametrize(
    ("kind", "held", "value", "vr"),
    [
        ("<u2", 63536, 63536, "US"),
        ("<u2", 63536, -2000, "SS"),
        ("<i2", -32768, -32768, "SS"),
        ("<i2", 2096, 2096, "US"),  # -2000 in 12 bits, without the sign in the higher bits
    ],
)
def test_padding_beyond_the_bits_of_an_image_is_air(make_dicom, kind, held, value, vr):
    """Pixels have 12 of 16 bits; the lower 12 bits of the padding are also a valid value."""
    stored = (RAMP + 100).astype(kind)
    stored[3, :2] = [0, 2096 if kind == "<u2" else 96]
    expected = stored.astype(float)
    expected[:3] = -2000 if held == 2096 else -1000
    stored[:3] = held
    image = padded(make_dicom, stored, value, vr, BitsStored=12)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize(("kind", "held"), [("<u4", 63536), ("<i4", -2000), ("<u2", 63536)])
def test_padding_has_16_bits_whatever_the_pixels_have(make_dicom, kind, held):
    stored = (RAMP + 100).astype(kind)
    stored[:3] = held
    image = padded(make_dicom, stored, -2000, "SS")
    np.testing.assert_array_equal(image[3:], RAMP[3:] + 100)
    assert np.unique(image[:3]).tolist() == [min(held, -1000)]


@pytest.mark.parametrize("kind", ["<u2", "<u4"])
def test_a_range_of_padding_around_0_of_unsigned_pixels(make_dicom, kind):
    stored = (RAMP + 100).astype(kind)
    stored[0, :4] = [63535, 63536, 65535, 0]
    image = padded(make_dicom, stored, -2000, "SS", limit=0)
    assert image[0, :4].tolist() == [63535, -1000, -1000, -1000]
    np.testing.assert_array_equal(image[1:], RAMP[1:] + 100)


def test_padding_of_floats(make_dicom):
    path = make_dicom(Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    dataset = pydicom.dcmread(path)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, name)
    stored = (RAMP + 0.5).astype("<f4")
    stored[0, :3] = [-1e30, -1e29, -9e28]
    dataset.BitsAllocated, dataset.FloatPixelData = 32, stored.tobytes()
    dataset.FloatPixelPaddingValue, dataset.FloatPixelPaddingRangeLimit = -1e30, -1e29
    dataset.save_as(path)
    stored[0, :2] = stored[0, 2]
    np.testing.assert_array_equal(images.read(path).image[..., 0], stored)


def test_nothing_but_padding(make_dicom):
    path = make_dicom(Modality="MR", stored=np.zeros((12, 9), np.int16), PixelPaddingValue=0)
    assert fault_of(path) == "holds nothing but padding; choose another slice, or export it again"


@pytest.mark.parametrize(("slope", "intercept"), [(-1, None), (2.5, None), (None, 7)])
def test_a_slope_or_an_intercept_alone_is_enough_without_hu(make_dicom, slope, intercept):
    path = make_dicom(Modality="PT", RescaleSlope=slope, RescaleIntercept=intercept)
    np.testing.assert_array_equal(
        images.read(path).image[..., 0], (slope or 1) * (RAMP - 300.0) + (intercept or 0)
    )


def test_a_range_refers_to_the_values_before_inversion(make_dicom):
    stored = (RAMP * 2).astype(np.uint16)
    for shown, expected in (("MONOCHROME2", RAMP / 1000), ("monochrome1", 1 - RAMP / 1000)):
        path = make_dicom(
            stored=stored, Modality="MG", PixelRepresentation=0, RescaleSlope=None,
            RescaleIntercept=None, PhotometricInterpretation="MONOCHROME2",
        )  # fmt: skip
        path.write_bytes(path.read_bytes().replace(b"MONOCHROME2", shown.encode()))
        picture = images.read(path, value_range=(0, 2000))
        np.testing.assert_allclose(picture.image[..., 0], expected, atol=1e-6)
        assert picture.caveats == ()


@pytest.mark.parametrize("shown", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_of_mr_is_as_dark_as_the_darkest(make_dicom, shown):
    stored = (RAMP + 100).astype(np.uint16)
    stored[:3] = 65535
    path = make_dicom(
        stored=stored, Modality="MR", RescaleSlope=None, RescaleIntercept=None,
        PixelRepresentation=0, PixelPaddingValue=65535, PhotometricInterpretation=shown,
    )  # fmt: skip
    image = images.read(path).image[..., 0]
    sign = -1 if shown == "MONOCHROME1" else 1
    np.testing.assert_array_equal(image[3:], sign * (RAMP[3:] + 100))
    assert (image[:3] == image[3:].min()).all()


def test_an_empty_photometric_interpretation_gives_a_caveat(make_dicom):
    picture = images.read(make_dicom(PhotometricInterpretation=""))
    np.testing.assert_array_equal(picture.image[..., 0], 2.0 * (RAMP - 300) - 1024)
    assert picture.caveats == (
        "PhotometricInterpretation is empty: high values are taken for bright.",
    )
