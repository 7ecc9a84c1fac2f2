"""Images of every format keep their values, and masks get the geometry of their image."""

import os

import nibabel
import numpy as np
import pydicom
import pydicom.uid
import pytest
from PIL import Image

from data_pipelines import images
from data_pipelines.images import output
from data_pipelines.images.picture import file_name, file_stem

NAMES = ("hug the solid core", "leave: a/wide margin")
NOTES = ("sample 1; research use only", "Rand 2 — large; research use only")
STORED = (np.arange(12 * 9).reshape(12, 9) * 7 - 300).astype(np.int16)


def masks_for(picture):
    """Returns two overlapping masks that every flip or transposition changes."""
    masks = np.zeros((2, *picture.image.shape[:2]), np.uint8)
    masks[0, 1:5, 2:4] = masks[1, 3:9, 2:7] = masks[1, 0, 0] = 1
    return masks


def write(picture, folder):
    masks = masks_for(picture)
    files = images.encode_masks("case", masks, picture, names=NAMES, notes=NOTES)
    paths = output.write(folder, files, [picture.path])
    assert sorted(folder.iterdir()) == sorted(paths)  # and no half-written files
    return masks, paths


def save_png(path, pixels):
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_png(tmp_path, dtype, white):
    pixels = (np.arange(12 * 9).reshape(12, 9) * (white // 108)).astype(dtype)
    picture = images.read(save_png(tmp_path / "crop.PNG", pixels))
    np.testing.assert_allclose(picture.image[..., 0], pixels / white, rtol=1e-6)
    assert picture.image.dtype == np.float32
    assert picture.intensity_unit == "unit"
    assert np.isnan(picture.spacing_mm).all()
    masks, paths = write(picture, tmp_path / "new" / "out")
    assert [path.name for path in paths] == [
        "case_1_hug-the-solid-core.png",
        "case_2_leave-a-wide-margin.png",
    ]
    for path, mask, name, note in zip(paths, masks, NAMES, NOTES, strict=True):
        with Image.open(path) as png:
            np.testing.assert_array_equal(np.asarray(png), 255 * mask)
            assert png.text == {"Title": name, "Description": note}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("固い芯をぎりぎりに囲む", "crop_1_固い芯をぎりぎりに囲む.png"),
        ("ठोस कोर, घेरें!", "crop_1_ठोस-कोर-घेरें.png"),
        ("cafe\u0301 \u2014 große", "crop_1_café-große.png"),
        ("می\u200cخواهم", "crop_1_میخواهم.png"),
        ("core \u2764\ufe0f \U0001f469\u200d\u2695\ufe0f rim", "crop_1_core-rim.png"),
        ("\U0001f602", "crop_1.png"),
        ("../..\\-rf\n\x07\u202e.nii", "crop_1_rf-nii.png"),
        ("W" * 39 + "क्षि", "crop_1_" + "W" * 39 + ".png"),
    ],
)
def test_files_are_named_after_sentences_of_any_script(name, written):
    assert file_name("crop", 1, name, ".png") == written


@pytest.mark.parametrize(
    "stem", ["s" * 251, "字" * 83, "\U00020000" * 62, "\udce9" * 251, "-.-x", "..."]
)
def test_names_are_short_enough_for_a_disk_and_hide_nothing(stem, tmp_path):
    picture = images.read(save_png(tmp_path / "a.png", np.arange(12, dtype=np.uint8).reshape(3, 4)))
    masks = np.ones((1, 3, 4), np.uint8)
    for each in (picture, picture._replace(format="npz")):
        files = images.encode_masks(stem, masks, each, names=["\U00020000" * 99], notes=["n"])
        (path,) = output.write(tmp_path / "out", files, [picture.path])
        assert path.name[0] == {"-": "x", ".": "i"}.get(stem[0], stem[0])
        assert path.name.endswith(("\U00020000.png", "_masks.npz"))
        assert len(os.fsencode(f".{path.name}.part")) <= 255
    assert (file_stem("-.-x"), file_stem("..."), file_stem("a.-b")) == ("x", "image", "a.-b")


def test_a_png_in_colour_becomes_luminance(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)
    picture = images.read(save_png(tmp_path / "crop.png", pixels))
    luminance = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(picture.image[..., 0], luminance, atol=0.5 / 255 + 1e-4)


def test_npz_of_one_image(tmp_path):
    path = tmp_path / "crop.npz"
    np.savez(path, image=STORED, spacing_mm=[0.5, 0.75], intensity_unit="HU")
    picture = images.read(path)
    np.testing.assert_array_equal(picture.image, STORED[..., None].astype(np.float32), strict=True)
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.5, 0.75]), strict=True)
    assert picture.intensity_unit == "HU"
    masks, paths = write(picture, tmp_path / "out")
    assert [path.name for path in paths] == ["case_masks.npz"]
    with np.load(paths[0]) as file:
        np.testing.assert_array_equal(file["masks"], masks, strict=True)
        np.testing.assert_array_equal(file["spacing_mm"], picture.spacing_mm)
        assert (tuple(file["names"]), tuple(file["notes"])) == (NAMES, NOTES)


def test_npz_of_a_data_set(make_npz, tmp_path):
    path = make_npz(intensity_unit=None)
    picture = images.read(path, slice_index=5, unit="arbitrary")
    with np.load(path) as file:
        np.testing.assert_array_equal(picture.image[..., 0], file["image"][5])
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.7, 0.7]))
    assert picture.intensity_unit == "arbitrary"
    assert images.read(make_npz(), slice_index=5, unit="HU").intensity_unit == "HU"
    colour = np.random.default_rng(0).normal(size=(2, 8, 6, 3))
    np.savez(tmp_path / "colour.npz", image=colour, intensity_unit="arbitrary")
    picture = images.read(tmp_path / "colour.npz", slice_index=1)
    np.testing.assert_array_equal(picture.image, colour[1].astype(np.float32))
    assert np.isnan(picture.spacing_mm).all()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_slice_of_a_nifti_volume(make_nifti, tmp_path, suffix):
    voxels = np.random.default_rng(0).integers(-1000, 400, (9, 12, 5)).astype(np.int16)
    path = make_nifti(voxels, f"ct{suffix}")
    picture = images.read(path, slice_index=3, unit="HU")
    np.testing.assert_array_equal(picture.image[..., 0], voxels[:, :, 3].T)
    source = nibabel.load(path)
    sizes = np.linalg.norm(source.affine[:3, :2], axis=0)  # sizes along i, a column, and j, a row
    np.testing.assert_allclose(picture.spacing_mm, sizes[::-1], rtol=1e-6)
    assert picture.intensity_unit == "HU"
    masks, paths = write(picture, tmp_path / "out")
    assert paths[1].name == "case_2_leave-a-wide-margin.nii.gz"
    for path, mask, note in zip(paths, masks, NOTES, strict=True):
        found = nibabel.load(path)
        assert found.shape == voxels.shape
        assert found.get_data_dtype() == np.uint8
        expected = np.zeros(voxels.shape, np.uint8)
        expected[:, :, 3] = mask.T
        np.testing.assert_array_equal(np.asarray(found.dataobj), expected)
        np.testing.assert_array_equal(found.affine, source.affine)
        for key in ("pixdim", "sform_code", "qform_code", "xyzt_units", "srow_y"):
            np.testing.assert_array_equal(found.header[key], source.header[key])
        assert found.header["descrip"].item().decode() == note
        assert found.header["cal_max"] == 1


def test_nifti_of_one_slice_in_its_own_scale_and_unit_of_length(tmp_path):
    for shape in ((9, 12), (9, 12, 1)):
        stored = np.arange(108).reshape(shape).astype(np.int16)
        image = nibabel.Nifti1Image(stored, np.diag([700.0, 900.0, 2500.0, 1.0]))
        image.header.set_slope_inter(2.0, -1024.0)
        image.header.set_xyzt_units("micron")
        nibabel.save(image, tmp_path / "x.nii")
        picture = images.read(tmp_path / "x.nii", unit="arbitrary")
        scaled = nibabel.load(tmp_path / "x.nii").get_fdata().reshape(9, 12).T
        np.testing.assert_array_equal(picture.image[..., 0], scaled)
        np.testing.assert_allclose(picture.spacing_mm, [0.9, 0.7], rtol=1e-6)
        assert picture.intensity_unit == "arbitrary"
        masks, paths = write(picture, tmp_path / f"out{len(shape)}")
        found = nibabel.load(paths[0])
        np.testing.assert_array_equal(np.asarray(found.dataobj), masks[0].T.reshape(shape))


def test_dicom(make_dicom, tmp_path):
    picture = images.read(make_dicom("IM0001"))
    np.testing.assert_array_equal(
        picture.image[..., 0], 2.0 * pydicom.dcmread(picture.path).pixel_array - 1024
    )
    np.testing.assert_array_equal(picture.spacing_mm, np.float32([0.5, 0.75]), strict=True)
    assert (picture.intensity_unit, picture.image.dtype) == ("HU", np.float32)
    masks, (path,) = write(picture, tmp_path / "out")
    assert path.name == "case_masks.dcm"
    check_segmentation(path, masks, pydicom.dcmread(tmp_path / "IM0001"))


def check_segmentation(path, masks, source):
    found = pydicom.dcmread(path)
    np.testing.assert_array_equal(found.pixel_array, masks)
    assert found.SOPClassUID == pydicom.uid.SegmentationStorage
    assert tuple(segment.SegmentLabel for segment in found.SegmentSequence) == NAMES
    assert tuple(segment.SegmentDescription for segment in found.SegmentSequence) == NOTES
    (series,) = found.ReferencedSeriesSequence
    (instance,) = series.ReferencedInstanceSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert series.SeriesInstanceUID == source.SeriesInstanceUID != found.SeriesInstanceUID
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert found.get(name) == source.get(name)
    (shared,) = found.SharedFunctionalGroupsSequence
    (measures,), (plane,) = shared.PixelMeasuresSequence, shared.PlaneOrientationSequence
    assert measures.PixelSpacing == source.PixelSpacing
    assert "SpacingBetweenSlices" not in measures
    assert plane.ImageOrientationPatient == source.ImageOrientationPatient
    for number, frame in enumerate(found.PerFrameFunctionalGroupsSequence, start=1):
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        assert position == source.ImagePositionPatient
        assert frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number


def test_a_real_slice(real_data, tmp_path):
    path = real_data / "dicom" / "LIDC-IDRI-0003" / "-186.500000.dcm"
    picture = images.read(path)
    source = pydicom.dcmread(path)
    np.testing.assert_array_equal(picture.image[..., 0], source.pixel_array.astype(int) - 1024)
    np.testing.assert_allclose(picture.spacing_mm, 0.820312)
    masks, (written,) = write(picture, tmp_path / "out")
    check_segmentation(written, masks, source)


def test_dicom_other_than_ct_keeps_its_values(make_dicom):
    picture = images.read(make_dicom(Modality="MR", RescaleSlope=None, RescaleIntercept=None))
    np.testing.assert_array_equal(picture.image[..., 0], pydicom.dcmread(picture.path).pixel_array)
    assert picture.intensity_unit == "arbitrary"


def test_high_values_are_bright_unless_they_are_hu(make_dicom):
    """MONOCHROME1: the highest stored value is shown the darkest."""
    ramp = pydicom.dcmread(make_dicom()).pixel_array.astype(np.float32)
    unsigned = (ramp + 300).astype(np.uint16)  # its type has no negative values
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    picture = images.read(
        make_dicom(stored=unsigned, Modality="MG", PixelRepresentation=0, **inverted)
    )
    np.testing.assert_array_equal(picture.image[..., 0], -(2 * (ramp + 300) - 1024))
    np.testing.assert_array_equal(
        images.read(make_dicom(**inverted)).image[..., 0], 2 * ramp - 1024
    )


def test_a_second_call_replaces_only_the_files_of_the_first(make_npz, tmp_path):
    source, out = images.read(make_npz(), slice_index=0), tmp_path / "out"
    output.write(out, {"a.png": b"1", "b.png": b"1", "c.png": b"1"}, [source.path])
    (out / "notes.txt").write_text("mine")
    (out / "folder").mkdir()
    (tmp_path / "beside.png").write_text("mine")
    image = source._replace(path=out / "c.png")  # masks of the first that are now predicted on
    earlier = ["a.png", "b.png", "c.png", "gone.png", "folder", "..", "", "../beside.png"]
    written = output.write(
        out, {"a.png": b"2"}, [image.path], earlier=[*earlier, str(source.path), "\0"]
    )
    assert written == [out / "a.png"]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png", "folder", "notes.txt"]
    assert (out / "a.png").read_bytes() == b"2"
    assert (tmp_path / "beside.png").exists()
    assert source.path.exists()


def test_an_empty_mask_is_a_segment_too_and_long_names_are_cut(make_dicom, tmp_path):
    picture = images.read(make_dicom(PatientName="Doe"))
    masks = masks_for(picture)
    masks[0] = 0
    files = images.encode_masks(
        "x", masks, picture, names=("a\\b" * 30, "c"), notes=("n" * 2000, "m")
    )
    (path,) = output.write(tmp_path, files, [picture.path])
    found = pydicom.dcmread(path)
    np.testing.assert_array_equal(found.pixel_array, masks)
    assert found.SegmentSequence[0].SegmentLabel == ("a/b" * 30)[:64]
    assert found.SegmentSequence[0].SegmentDescription == "n" * 1024
    files = images.encode_masks(
        "x", masks, picture, names=("か\u3099" * 33, "a\x1bb"), notes=("n", "\x1b")
    )
    (path,) = output.write(tmp_path, files, [picture.path])
    first, second = pydicom.dcmread(path).SegmentSequence
    assert first.SegmentLabel == "か\u3099" * 32
    assert (second.SegmentLabel, second.SegmentDescription) == ("a/x1bb", r"\x1b")


def test_the_numbers_of_names_notes_and_masks_must_agree(make_dicom, tmp_path):
    picture = images.read(make_dicom())
    with pytest.raises(ValueError, match="1 names and 2 notes do not fit the image"):
        images.encode_masks("x", masks_for(picture), picture, names=NAMES[:1], notes=NOTES)
