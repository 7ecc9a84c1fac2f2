"""Scans of DICOM: which files make up a volume, and where its slices lie."""

import functools
import io
import random
import shutil

import highdicom
import numpy as np
import pydicom
import pydicom.uid
import pytest
from PIL import Image

from data_pipelines import images, scans
from prosona_jax.types import InputError
from tests.data import conftest
from tests.data.scan_files import assert_same
from tests.data.scan_masks import OBLIQUE, block, by_instance, segmentation, written

refusal = functools.partial(conftest.refusal, scans.read)


# What makes up a volume.


@pytest.mark.parametrize("axes", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), OBLIQUE])
def test_a_series_is_sorted_by_position_whatever_its_files_are_called(make_series, tmp_path, axes):
    paths = make_series(axes=axes)
    names = [f"IM{k:04d}" for k in range(len(paths))]
    random.Random(3).shuffle(names)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for k, (path, name) in enumerate(zip(paths, names, strict=True)):
        shutil.copy(path, tmp_path / "deep" / ("er" * (k % 2)) / name)
    normal = np.cross(axes[:3], axes[3:])
    for folder in ("scan", "deep"):
        scan = scans.read(tmp_path / folder)
        assert (scan.format, scan.count, scan.shape, scan.caveats) == ("dicom", 5, (12, 9), ())
        np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.5, 0.75], atol=1e-5)
        expected = [10, 20, 30] + 2.5 * np.arange(5)[:, None] * normal
        np.testing.assert_allclose(scan.positions, expected, atol=1e-6)
        for k, file in enumerate(scan.files):
            assert_same(scan.picture(k), images.read(file))
            np.testing.assert_array_equal(scan.picture(k).image, images.read(paths[k]).image)
        at = (
            [10, 20, 30] + 5 * normal + 4 * 0.5 * np.array(axes[3:]) + 3 * 0.75 * np.array(axes[:3])
        )
        np.testing.assert_allclose((scan.affine @ [2, 4, 3, 1])[:3], at, atol=1e-6)
        np.testing.assert_allclose(scans.locate(scan, at.tolist(), "LPS"), (2, 4, 3), atol=1e-5)


def test_a_picture_that_another_program_can_use(make_series):
    scan = scans.read(make_series()[0].parent)
    mask = np.zeros((1, 12, 9), np.uint8)
    mask[0, 3, 4] = 1
    (content,) = images.encode_masks("x", mask, scan.picture(2), names=["a"], notes=["b"]).values()
    found = highdicom.seg.segread(io.BytesIO(content))
    np.testing.assert_array_equal(by_instance(scan, found, 2)[..., 0], mask[0])


def test_litter_and_other_objects_are_not_slices(make_series, make_dicom):
    folder = make_series()[0].parent
    scan = scans.read(folder)
    (folder / "masks.dcm").write_bytes(*written(scan, block(scan, [1, 2])).values())
    make_dicom(
        "scan/report", SOPClassUID=pydicom.uid.BasicTextSRStorage, Rows=None, PixelData=None,
        SeriesInstanceUID="9",
    )  # fmt: skip
    (folder / "._1.2.3-0.dcm").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(folder / "preview.png")
    again = scans.read(folder)
    assert again.files == scan.files
    (folder / "broken.dcm").write_bytes(b"x")
    assert refusal(folder).startswith(f"{folder / 'broken.dcm'}: truncated, or without a DICOM")


def test_a_truncated_file_is_not_skipped(make_series):
    paths = make_series()
    paths[1].write_bytes(paths[1].read_bytes()[:400])
    assert refusal(paths[0].parent).startswith(f"{paths[1]}: ")


def test_several_series(make_series):
    make_series(3, uid="1.2.9", SeriesDescription="lung\n1 mm")
    folder = make_series()[0].parent
    listed = "1.2.3 (5 slices, CT), 1.2.9 (3 slices, CT lung 1 mm)"
    assert refusal(folder) == f"{folder}: holds 2 series; choose one by series=UID: {listed}"
    assert refusal(folder, series="1.2") == (
        f"{folder}: has no series 1.2; choose one by series=UID: {listed}"
    )
    scan = scans.read(folder, series="1.2.9")
    assert [file.name for file in scan.files] == [f"1.2.9-{k}.dcm" for k in range(3)]
    for k in range(10):
        make_series(2, uid=f"1.3.{k}")
    assert refusal(folder).endswith("1.3.3 (2 slices, CT), and 6 more")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"PatientID": "p2"}, "is of another patient than {first}; leave one patient's files out"),
        (
            {"FrameOfReferenceUID": "1.8"},
            "has another frame of reference than {first}; leave one of them out",
        ),
        (
            {"PixelSpacing": [0.5, 0.8]},
            "has 12 x 9 pixels of 0.5 x 0.8 mm, and {first} has 12 x 9 pixels of 0.5 x 0.75 mm; "
            "leave one of them out",
        ),
        (
            {"stored": np.zeros((9, 12), np.int16)},
            "has 9 x 12 pixels of 0.5 x 0.75 mm, and {first} has 12 x 9 pixels of 0.5 x 0.75 mm; "
            "leave one of them out",
        ),
        (
            {"ImageOrientationPatient": [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]},
            "lies in another plane than {first}, as a localizer does; leave one of them out",
        ),
        (
            {"ImagePositionPatient": None},
            "has no ImagePositionPatient, so that its place is unknown; export it again, or leave "
            "it out",
        ),
        (
            {"ImagePositionPatient": None, "PixelSpacing": None},
            "has no ImagePositionPatient and no PixelSpacing, so that its place is unknown; "
            "export it again, or leave it out",
        ),
        (
            {"ImagePositionPatient": [10.0, 20.0]},
            "ImagePositionPatient is '[10.0, 20.0]'; it must be 3 numbers: export the file again",
        ),
    ],
)
def test_a_file_that_is_not_of_the_volume(make_series, make_dicom, changes, fault):
    first = make_series()[0]
    other = {"SOPInstanceUID": "1.2.3.99", "ImagePositionPatient": [10.0, 20.0, 80.0], **changes}
    path = make_dicom("scan/z.dcm", **other)
    assert refusal(first.parent) == f"{path}: {fault.format(first=first)}"


def test_two_slices_at_one_place(make_series, make_dicom):
    paths = make_series()
    twins = [
        make_dicom(f"scan/z{k}.dcm", SOPInstanceUID=f"8.{k}", ImagePositionPatient=[10, 20, z])
        for k, z in ((0, 32.5), (1, 35.001))
    ]
    assert refusal(paths[0].parent) == (
        f"{paths[1]}: lies where {twins[0]} lies, the first of 2 such pairs of copies, or of "
        "phases; leave one slice for each position"
    )


def test_a_missing_slice_is_a_caveat_and_the_others_keep_their_places(make_series):
    paths = make_series(8, skip=(3,))
    scan = scans.read(paths[0].parent)
    assert scan.caveats == (
        "Slices unevenly spaced: usually 2.5 mm, but 5 mm between slices 2 and 3. Slices may be "
        "missing. Masks are drawn on those that are there, at their own positions.",
    )
    assert scan.affine is None
    np.testing.assert_allclose(scan.positions[:, 2], [30, 32.5, 35, 40, 42.5, 45, 47.5])
    assert scan.spacing_mm[0] == 2.5
    assert scans.locate(scan, "10,20,41", "LPS") == (3, 0.0, 0.0)
    with pytest.raises(InputError, match=r"it is 2.5 mm from the nearest slice, 2, at its row 0"):
        scans.locate(scan, "10,20,37.5", "LPS")
    masks = block(scan, [2, 3, 4])
    found = segmentation(scan, masks)
    for k, each in masks.items():
        np.testing.assert_array_equal(by_instance(scan, found, k), np.moveaxis(each, 0, -1))
    (measures,) = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert "SpacingBetweenSlices" not in measures


def test_rounded_positions_are_even(make_dicom, tmp_path):
    (tmp_path / "scan").mkdir()
    for k in range(20):
        place = [0.0, 0.0, round(0.625 * k, 1)]  # 0.6 or 0.7 mm further than the one before
        make_dicom(f"scan/{k}", SOPInstanceUID=f"7.{k}", ImagePositionPatient=place)
    scan = scans.read(tmp_path / "scan")
    assert scan.caveats == ()
    np.testing.assert_allclose(scan.spacing_mm[0], 0.625, atol=0.1 / 19)
    np.testing.assert_allclose(scan.affine[:3] @ [7, 0, 0, 1], scan.positions[7], atol=0.1)


def test_slices_that_are_shifted_sideways_are_uneven(make_dicom, tmp_path):
    (tmp_path / "scan").mkdir()
    for k in range(5):
        place = [4.0 * (k == 2), 0.0, 2.0 * k]
        make_dicom(f"scan/{k}", SOPInstanceUID=f"7.{k}", ImagePositionPatient=place)
    scan = scans.read(tmp_path / "scan")
    assert scan.affine is None
    assert scan.caveats[0].startswith(
        "Slices unevenly spaced: usually 2 mm, but not at equal distances"
    )
    assert scans.locate(scan, "4,0,4", "LPS") == (2, 0.0, 0.0)


# What headers may lack.


def test_a_missing_thickness_is_the_distance_of_slices(make_series):
    scan = scans.read(make_series(SliceThickness=None)[0].parent)
    assert scan.caveats == ("SliceThickness is missing: the distance of slices, 2.5 mm, is taken.",)
    assert (scan.picture(1).format, scan.picture(1).caveats) == ("dicom", ())
    (measures,) = (
        segmentation(scan, block(scan, [1])).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    )
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.5, 2.5)


def test_headers_that_a_segmentation_cannot_use_give_png(make_series):
    scan = scans.read(make_series(FrameOfReferenceUID=None)[0].parent)
    assert scan.caveats == (
        "No DICOM-SEG: a header has no FrameOfReferenceUID, so the masks are PNG files of each "
        "slice's pixels.",
    )
    masks = block(scan, [1, 3])
    files = written(scan, masks)
    assert list(files) == [f"x_000{k}_{name}.png" for k in (1, 3) for name in ("1_tight", "2_wide")]
    with Image.open(io.BytesIO(files["x_0003_1_tight.png"])) as png:
        np.testing.assert_array_equal(np.asarray(png), 255 * masks[3][0])


def test_the_unit_that_headers_leave_open(make_series):
    folder = make_series(RescaleType="US")[0].parent
    assert scans.read(folder).picture(0).intensity_unit == "arbitrary"
    assert scans.read(folder, unit="HU").picture(0).intensity_unit == "HU"
    scan = scans.read(make_series()[0].parent, unit="arbitrary")
    with pytest.raises(InputError, match=r"scan: slice 1: .*the file states the unit 'HU' for"):
        scan.picture(1)


# Real CT.


@pytest.mark.parametrize(("patient", "count"), [("LIDC-IDRI-0001", 16), ("LIDC-IDRI-0003", 11)])
def test_a_real_series(real_data, patient, count):
    folder = real_data / "dicom" / patient
    scan = scans.read(folder)
    assert (scan.count, scan.shape, scan.caveats) == (count, (512, 512), ())
    z = sorted(float(file.stem) for file in folder.glob("*.dcm"))
    assert [float(file.stem) for file in scan.files] == z
    np.testing.assert_allclose(scan.positions[:, 2], z)
    assert_same(scan.picture(5), images.read(folder / f"{z[5]:.6f}.dcm"))
    masks = {k: np.zeros((2, 512, 512), np.uint8) for k in (4, 5, 7)}
    for k, each in masks.items():
        each[0, 200 + k : 230, 100:140] = 1
    masks[5][1, 7, 9] = 1
    found = segmentation(scan, masks)
    assert found.NumberOfFrames == 4
    for k, each in masks.items():
        np.testing.assert_array_equal(by_instance(scan, found, k), np.moveaxis(each, 0, -1))
    volume = found.get_volume(segment_numbers=[2])
    place = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
    np.testing.assert_allclose(place, [scan.geometry.place(5, 7, 9)], atol=1e-4)
    np.testing.assert_allclose(scans.locate(scan, place[0].tolist(), "LPS"), (5, 7, 9), atol=1e-4)


def test_real_series_in_one_folder(real_data):
    assert " (16 slices, CT), " in refusal(real_data / "dicom")
