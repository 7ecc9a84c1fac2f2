"""Frames and geometry of DICOM files from scanners and archives; errors are one line."""

import functools
import io

import highdicom
import numpy as np
import pydicom
import pydicom.uid
import pytest

from data_pipelines import images
from prosona_jax.types import InputError
from tests.data import conftest
from tests.data.dicom_damage import DAMAGE, READ, damage

RAMP = np.arange(12 * 9).reshape(12, 9) * 7
MASK = np.zeros((12, 9), np.uint8)
MASK[2:7, 3:5] = 1

fault_of = functools.partial(conftest.fault_of, images.read)


def write(picture, masks=MASK[None]):
    names = [f"style {k}" for k in range(len(masks))]
    return images.encode_masks("case", masks, picture, names=names, notes=names)


def segmentation(picture):
    """Reads a written DICOM-SEG back with the library that viewers use."""
    (content,) = write(picture).values()
    return highdicom.seg.segread(io.BytesIO(content))


# Files with several frames.


@pytest.mark.parametrize("frame", range(3))
def test_a_frame_of_an_enhanced_ct(make_enhanced, frame):
    picture = images.read(make_enhanced(), slice_index=frame)
    np.testing.assert_array_equal(picture.image[..., 0], (1 + frame) * (RAMP + float(frame)) - 1024)
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.5, 0.75]))
    assert (picture.intensity_unit, picture.caveats) == ("HU", ())
    found = segmentation(picture)
    np.testing.assert_array_equal(found.pixel_array.reshape(12, 9), MASK)
    (own,) = found.PerFrameFunctionalGroupsSequence
    assert own.PlanePositionSequence[0].ImagePositionPatient == [0, 0, 4 * frame]
    (source,) = own.DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedFrameNumber == frame + 1


def test_a_frame_must_be_chosen(make_enhanced):
    assert fault_of(make_enhanced()) == "holds 3 slices; choose one of 0..2"
    assert fault_of(make_enhanced(), slice_index=3).startswith("has no slice 3; it holds 3,")


def test_an_enhanced_mr_without_values_of_its_own(make_enhanced):
    path = make_enhanced("MR")
    dataset = pydicom.dcmread(path)
    for own in dataset.PerFrameFunctionalGroupsSequence:
        del own.PixelValueTransformationSequence
    dataset.save_as(path)
    picture = images.read(path, slice_index=1)
    np.testing.assert_array_equal(picture.image[..., 0], RAMP + 1)
    assert picture.intensity_unit == "arbitrary"


def test_frames_without_geometry_have_masks_as_png(make_dicom):
    stored = np.stack([RAMP, RAMP + 1]).astype(np.int16)
    path = make_dicom(
        stored=stored, Rows=12, Columns=9, NumberOfFrames=2, Modality="US", PixelSpacing=None,
        ImagePositionPatient=None, ImageOrientationPatient=None, FrameOfReferenceUID=None,
        RescaleSlope=None, RescaleIntercept=None,
    )  # fmt: skip
    picture = images.read(path, slice_index=1, spacing_mm=(0.2, 0.2))
    np.testing.assert_array_equal(picture.image[..., 0], RAMP + 1)
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.2, 0.2]))
    assert picture.caveats == (
        "No DICOM-SEG: the header has no FrameOfReferenceUID and no ImagePositionPatient of each "
        "frame and no ImageOrientationPatient and no PixelSpacing, so the masks are PNG files of "
        "this slice's pixels.",
    )
    assert list(write(picture)) == ["case_1_style-0.png"]


def test_a_position_at_the_top_level_is_that_of_the_first_frame_only(make_dicom):
    stored = np.stack([RAMP, RAMP + 1]).astype(np.int16)
    path = make_dicom(stored=stored, Rows=12, Columns=9, NumberOfFrames=2)
    picture = images.read(path, slice_index=1)
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.5, 0.75]))
    assert picture.caveats == (
        "No DICOM-SEG: the header has no ImagePositionPatient of each frame, so the masks are PNG "
        "files of this slice's pixels.",
    )
    assert list(write(picture)) == ["case_1_style-0.png"]


def test_a_missing_spacing_between_slices_stays_missing(make_enhanced):
    picture = images.read(make_enhanced(), slice_index=1)
    for _ in range(2):  # the first writing must leave the header as it was
        (measures,) = segmentation(picture).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert "SpacingBetweenSlices" not in measures


# Attributes that a DICOM-SEG needs.


@pytest.mark.parametrize("axes", [[0] * 6, [1, 0, 0, 0.5, 1, 0], [2, 0, 0, 0, 2, 0]])
def test_an_invalid_orientation_gives_png(make_dicom, axes):
    picture = images.read(make_dicom(ImageOrientationPatient=axes))
    assert picture.caveats == (
        "No DICOM-SEG: the header has no ImageOrientationPatient of two unit vectors at right "
        "angles, so the masks are PNG files of this slice's pixels.",
    )
    rounded = images.read(make_dicom(ImageOrientationPatient=[0.6, 0.8001, 0, 0, 0, -1]))
    assert (rounded.format, rounded.caveats) == ("dicom", ())


@pytest.mark.parametrize("thickness", [None, "", 0, -1])
def test_a_missing_thickness_is_derived_or_the_masks_are_png(make_dicom, thickness):
    lone = images.read(make_dicom(SliceThickness=thickness))
    assert lone.caveats == (
        "No DICOM-SEG: the header has no SliceThickness, so the masks are PNG files of this "
        "slice's pixels.",
    )
    assert list(write(lone)) == ["case_1_style-0.png"]
    spaced = images.read(make_dicom(SliceThickness=thickness, SpacingBetweenSlices=-3))
    assert spaced.caveats == (
        "SliceThickness is missing: SpacingBetweenSlices, 3 mm, is taken for it.",
    )
    (measures,) = segmentation(spaced).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.PixelSpacing) == (3, [0.5, 0.75])


def test_neighbours_give_a_thickness(make_dicom, tmp_path):
    """Only files of the same series in the folder count."""
    position = [10.0, 20.0, 30.0]
    make_dicom("far.dcm", ImagePositionPatient=[10.0, 20.0, 40.0])
    make_dicom("next.dcm", ImagePositionPatient=[14.0, 20.0, 27.5])  # 2.5 mm along the normal
    make_dicom("other.dcm", SeriesInstanceUID="9.9", ImagePositionPatient=[10.0, 20.0, 31.0])
    across = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]  # the orientation of a localizer
    make_dicom("a.dcm", ImagePositionPatient=[10, 20, 30.4], ImageOrientationPatient=across)
    make_dicom("again.dcm", ImagePositionPatient=[10.0, 20.0, 30.005])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    picture = images.read(make_dicom(SliceThickness=None, ImagePositionPatient=position))
    assert picture.caveats == (
        "SliceThickness is missing: the distance to the next slice, 2.5 mm, is taken for it.",
    )
    (measures,) = segmentation(picture).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == 2.5


def test_frames_give_a_thickness(make_enhanced):
    path = make_enhanced()
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    dataset.save_as(path)
    picture = images.read(path, slice_index=1)
    assert picture.caveats == (
        "SliceThickness is missing: the distance to the next slice, 4 mm, is taken for it.",
    )
    (measures,) = segmentation(picture).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == 4


def test_a_segmentation_that_cannot_be_read_back_is_an_error(make_dicom, monkeypatch):
    picture = images.read(make_dicom())
    monkeypatch.setattr(
        highdicom.seg, "segread", lambda stream: (_ for _ in ()).throw(AttributeError("damaged"))
    )
    with pytest.raises(InputError, match=r"its header cannot be used for a DICOM-SEG \(damaged\)"):
        write(picture)


# Files that are not images, and damaged files.


def test_objects_that_are_not_images(make_dicom):
    for storage, name in (
        (pydicom.uid.BasicTextSRStorage, "Basic Text SR Storage"),
        (pydicom.uid.RTPlanStorage, "RT Plan Storage"),
    ):
        path = make_dicom(SOPClassUID=storage, PixelData=None, Modality="SR")
        assert fault_of(path) == (
            f"holds no pixels: it is {name}, or truncated; give the whole file of an image"
        )


def test_a_file_of_masks_is_not_an_image(make_dicom, tmp_path):
    (tmp_path / "masks.dcm").write_bytes(*write(images.read(make_dicom())).values())
    assert fault_of(tmp_path / "masks.dcm", slice_index=0) == (
        "holds masks, and no image; give the image that they were drawn on"
    )


@pytest.mark.parametrize(
    "name", ["Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"]
)
@pytest.mark.parametrize("content", [None, b""])
def test_a_layout_that_is_not_stated(make_dicom, name, content):
    path = make_dicom()
    dataset = pydicom.dcmread(path)
    damage(dataset, name, content)
    dataset.save_as(path)
    assert fault_of(path) == f"has no {name}; export the file again"


def test_values_that_do_not_start_at_the_lowest_bit(make_dicom):
    assert fault_of(make_dicom(BitsStored=12, HighBit=15)) == (
        "HighBit is 15 and BitsStored 12, so the values do not start at the lowest bit; export "
        "the file again"
    )


def test_one_sample_need_not_be_stated(make_dicom):
    picture = images.read(make_dicom(SamplesPerPixel=None))
    np.testing.assert_array_equal(picture.image[..., 0], 2.0 * (RAMP - 300) - 1024)


def test_a_compression_without_a_decoder_is_named(make_dicom):
    path = make_dicom()
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8 whatever \xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.save_as(path)
    assert fault_of(path) == (
        "its pixels are compressed as MPEG2 Main Profile / Main Level, for which no decoder is "
        "installed; run: pip install pylibjpeg pylibjpeg-openjpeg python-gdcm, or save the file "
        "without compression"
    )


def test_a_spacing_of_one_number(make_dicom):
    assert fault_of(make_dicom(PixelSpacing=0.7)) == (
        "PixelSpacing is '0.7'; it must be 2 numbers: export the file again"
    )
    assert fault_of(make_dicom(PixelSpacing=[0.7, 0])) == (
        "PixelSpacing is [0.7, 0.0]; both sizes must be above 0: export it again"
    )


def ends_well(path, frame):
    """Reads and writes; returns True if an error of one line is raised."""
    try:
        return all(write(images.read(path, slice_index=frame)).values())
    except InputError as fault:
        return "\n" not in str(fault) and str(fault).startswith(f"{path}: ")


@pytest.mark.filterwarnings("ignore")  # pydicom warns while the damage is written
@pytest.mark.parametrize("name", READ)
def test_a_damaged_attribute_ends_in_a_result_or_one_line(make_dicom, make_enhanced, name):
    for path, frame in ((make_dicom(), None), (make_enhanced(), 1)):
        sound = path.read_bytes()
        for how, content in DAMAGE.items():
            dataset = pydicom.dcmread(io.BytesIO(sound))
            damage(dataset, name, content)
            try:
                dataset.save_as(path, enforce_file_format=False)
            except Exception:
                continue  # such a file cannot be written
            assert ends_well(path, frame), how
