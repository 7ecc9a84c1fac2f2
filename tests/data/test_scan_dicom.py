"""Scans of DICOM: which files make up a volume, where its slices lie, and what masks refer to."""

import io
import random
import shutil

import highdicom
import nibabel
import numpy as np
import pydicom
import pydicom.uid
import pytest
from PIL import Image
from skimage.measure import points_in_poly

from data_pipelines import images, scans
from data_pipelines.images import dicom_seg
from prosona_jax.report import figures
from prosona_jax.types import InputError
from tests.data.test_image_dicom import DAMAGE, READ, damage
from tests.data.test_scans import assert_same

OBLIQUE = (0.36, 0.48, -0.8, -0.8, 0.6, 0.0)
NAMES, NOTES = ("tight", "wide"), ("note 1", "note 2")


def fault_of(path, **asked):
    with pytest.raises(InputError) as error:
        scans.read(path, **asked)
    message = str(error.value)
    assert "\n" not in message
    return message


def block(scan, slices):
    """Returns masks whose first is a block on the slices; the second is drawn on the first one."""
    masks = {k: np.zeros((2, *scan.shape), np.uint8) for k in slices}
    for k, each in masks.items():
        each[0, 2:7, 3 : 5 + k % 2] = 1
    masks[slices[0]][1, 4, 5] = 1
    return masks


def written(scan, masks, **options):
    return scans.encode(scan, "x", masks, names=NAMES, notes=NOTES, **options)


def segmentation(scan, masks):
    files = written(scan, masks)
    assert list(files) == ["x_masks.dcm"]
    return highdicom.seg.segread(io.BytesIO(files["x_masks.dcm"]))


def by_instance(scan, found, k):
    """Returns the masks [H, W, K] that refer to a slice of a series."""
    uid = pydicom.dcmread(scan.files[k]).SOPInstanceUID
    return found.get_pixels_by_source_instance([uid], assert_missing_frames_are_empty=True)[0]


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
    assert fault_of(folder).startswith(f"{folder / 'broken.dcm'}: truncated, or without a DICOM")


def test_a_truncated_file_is_not_skipped(make_series):
    paths = make_series()
    paths[1].write_bytes(paths[1].read_bytes()[:400])
    assert fault_of(paths[0].parent).startswith(f"{paths[1]}: ")


def test_several_series(make_series):
    make_series(3, uid="1.2.9", SeriesDescription="lung\n1 mm")
    folder = make_series()[0].parent
    listed = "1.2.3 (5 slices, CT), 1.2.9 (3 slices, CT lung 1 mm)"
    assert fault_of(folder) == f"{folder}: holds 2 series; choose one by series=UID: {listed}"
    assert fault_of(folder, series="1.2") == (
        f"{folder}: has no series 1.2; choose one by series=UID: {listed}"
    )
    scan = scans.read(folder, series="1.2.9")
    assert [file.name for file in scan.files] == [f"1.2.9-{k}.dcm" for k in range(3)]
    for k in range(10):
        make_series(2, uid=f"1.3.{k}")
    assert fault_of(folder).endswith("1.3.3 (2 slices, CT), and 6 more")


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
    assert fault_of(first.parent) == f"{path}: {fault.format(first=first)}"


def test_two_slices_at_one_place(make_series, make_dicom):
    paths = make_series()
    twins = [
        make_dicom(f"scan/z{k}.dcm", SOPInstanceUID=f"8.{k}", ImagePositionPatient=[10, 20, z])
        for k, z in ((0, 32.5), (1, 35.001))
    ]
    assert fault_of(paths[0].parent) == (
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


# Files with several frames.


@pytest.mark.parametrize("reverse", [False, True])
def test_frames_of_one_file(make_enhanced, reverse):
    path = make_enhanced()
    if reverse:
        dataset = pydicom.dcmread(path)
        for k, own in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            own.PlanePositionSequence[0].ImagePositionPatient = [0, 0, -4 * k]
        dataset.save_as(path)
    scan = scans.read(path)
    assert (scan.count, scan.files, scan.caveats) == (3, (path,), ())
    np.testing.assert_array_equal(scan.spacing_mm, [4, 0.5, 0.75])
    np.testing.assert_array_equal(scan.positions[:, 2], [-8, -4, 0] if reverse else [0, 4, 8])
    frames = [2, 1, 0] if reverse else [0, 1, 2]
    for k, frame in enumerate(frames):
        assert_same(scan.picture(k), images.read(path, slice_index=frame))
    masks = block(scan, [0, 1])
    found = segmentation(scan, masks)
    uid = pydicom.dcmread(path).SOPInstanceUID
    for k, each in masks.items():
        pixels = found.get_pixels_by_source_frame(
            uid, [frames[k] + 1], assert_missing_frames_are_empty=True
        )
        np.testing.assert_array_equal(pixels[0], np.moveaxis(each, 0, -1))
    (measures,) = found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SpacingBetweenSlices == 4


def test_the_file_is_loaded_once(make_enhanced, monkeypatch):
    scan, loaded = scans.read(make_enhanced()), []
    whole = pydicom.dcmread
    monkeypatch.setattr(
        pydicom, "dcmread", lambda *args, **kw: loaded.append(1) or whole(*args, **kw)
    )
    for k in (0, 2, 1):
        scan.picture(k)
    assert loaded == [1]


def test_frames_without_positions(make_dicom):
    ramp = np.arange(12 * 9, dtype=np.int16).reshape(12, 9)
    path = make_dicom(stored=np.stack([ramp, ramp]), Rows=12, Columns=9, NumberOfFrames=2)
    assert fault_of(path) == (
        f"{path}: has no ImagePositionPatient of each frame, so that its place is unknown; export "
        "it again, or leave it out"
    )


def test_a_film_beside_a_series_is_another_series(make_series, make_dicom):
    """Such as one of ultrasound; its frames have no places."""
    folder = make_series()[0].parent
    stored = np.zeros((2, 12, 9), np.int16)
    film = {
        "Rows": 12,
        "Columns": 9,
        "NumberOfFrames": 2,
        "SeriesInstanceUID": "8",
        "Modality": "US",
    }
    make_dicom("scan/film", stored=stored, **film)
    assert scans.read(folder, series="1.2.3").count == 5
    assert "has no ImagePositionPatient of each frame" in fault_of(folder, series="8")


def test_two_files_of_several_frames(make_enhanced, tmp_path):
    path = make_enhanced()
    (tmp_path / "scan").mkdir()
    dataset = pydicom.dcmread(path)
    for name in ("a", "b"):
        dataset.save_as(tmp_path / "scan" / name)
    first, second = tmp_path / "scan" / "a", tmp_path / "scan" / "b"
    assert fault_of(tmp_path / "scan") == (
        f"{second}: holds several slices, and so may {first}, frame 0; give one such file by itself"
    )
    second.unlink()
    assert scans.read(tmp_path / "scan").count == 3


def test_one_slice_and_what_holds_none(make_dicom):
    path = make_dicom()
    assert fault_of(path) == (
        f"{path}: holds one slice; give the folder of the whole scan, or read it as an image"
    )
    report = make_dicom(SOPClassUID=pydicom.uid.BasicTextSRStorage, Rows=None, PixelData=None)
    assert fault_of(report) == (f"{report}: holds no DICOM images; give the folder of one series")


# Masks.


def test_only_masks_that_are_not_empty_become_frames(make_series):
    scan = scans.read(make_series(axes=OBLIQUE)[0].parent)
    masks = block(scan, [1, 3]) | {4: np.zeros((2, 12, 9), np.uint8)}
    found = segmentation(scan, masks)
    assert found.NumberOfFrames == 3
    for k in (1, 3):
        np.testing.assert_array_equal(by_instance(scan, found, k), np.moveaxis(masks[k], 0, -1))
    groups = found.PerFrameFunctionalGroupsSequence
    places = [each.PlanePositionSequence[0].ImagePositionPatient for each in groups]
    np.testing.assert_allclose(np.sort(places, axis=0), scan.positions[[1, 1, 3]], atol=1e-6)
    assert found.SeriesDescription == "prosona_jax: tight; wide"
    assert [each.SegmentLabel for each in found.SegmentSequence] == list(NAMES)
    assert [each.SegmentDescription for each in found.SegmentSequence] == list(NOTES)


def test_segments_have_the_colours_of_the_overlay(make_series):
    scan = scans.read(make_series()[0].parent)
    found = segmentation(scan, block(scan, [1]))
    colours = [
        highdicom.color.CIELabColor.from_dicom_value(each.RecommendedDisplayCIELabValue).to_rgb()
        for each in found.SegmentSequence
    ]
    expected = [tuple(bytes.fromhex(colour[1:])) for colour in figures.RATERS[:2]]
    np.testing.assert_allclose(colours, expected, atol=2)
    assert dicom_seg.COLOURS == figures.RATERS


def test_without_any_mask_each_segment_has_an_empty_frame(make_series):
    scan = scans.read(make_series()[0].parent)
    for masks in ({}, {2: np.zeros((2, 12, 9), np.uint8)}):
        found = segmentation(scan, masks)
        assert (len(found.SegmentSequence), found.NumberOfFrames) == (2, 2)
        assert not found.pixel_array.any()


@pytest.mark.parametrize("axes", [(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), OBLIQUE])
def test_a_block_lies_in_the_patient_where_it_was_drawn(make_series, axes):
    """highdicom makes a volume of the DICOM-SEG by itself."""
    scan = scans.read(make_series(axes=axes)[0].parent)
    volume = segmentation(scan, block(scan, [1, 2, 3])).get_volume(segment_numbers=[1])
    found = volume.map_indices_to_reference(np.argwhere(volume.array[..., 0]))
    drawn = [
        scan.geometry.place(k, row, column)
        for k, masks in block(scan, [1, 2, 3]).items()
        for row, column in np.argwhere(masks[0])
    ]
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(drawn, axis=0), atol=1e-4)
    order = [np.lexsort(np.round(each, 3).T) for each in (found, drawn)]
    np.testing.assert_allclose(found[order[0]], np.array(drawn)[order[1]], atol=1e-3)


def test_the_same_structure_in_dicom_and_in_nifti(make_series, tmp_path):
    """A converted scan has the same points, and masks on it lie at the same places."""
    scan = scans.read(make_series(axes=OBLIQUE)[0].parent)
    voxels = np.stack([scan.picture(k).image[..., 0].T for k in range(5)], axis=-1)
    affine = np.diag([-1, -1, 1, 1]) @ scan.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "x.nii.gz")
    other = scans.read(tmp_path / "x.nii.gz", unit="HU")
    np.testing.assert_allclose(other.affine, scan.affine, atol=1e-5)
    for k in range(5):
        np.testing.assert_array_equal(other.picture(k).image, scan.picture(k).image)


def ends_well(path):
    """Reads and writes; returns True if an error of one line is raised."""
    try:
        scan = scans.read(path)
        scan.picture(1)
        return all(written(scan, block(scan, [0, 1]), rtstruct=scan.format == "dicom").values())
    except InputError as fault:
        return "\n" not in str(fault) and str(fault).startswith(str(path))


@pytest.mark.filterwarnings("ignore")  # pydicom warns while the damage is written
@pytest.mark.parametrize("name", READ)
def test_a_damaged_attribute_ends_in_masks_or_one_line(make_series, make_enhanced, name):
    series, enhanced = make_series(3), make_enhanced()
    for path, damaged in ((series[0].parent, series[1]), (enhanced, enhanced)):
        sound = damaged.read_bytes()
        for how in ("missing", "word", "huge", "repeated"):  # the others are tried on images
            dataset = pydicom.dcmread(io.BytesIO(sound))
            damage(dataset, name, DAMAGE[how])
            try:
                dataset.save_as(damaged, enforce_file_format=False)
            except Exception:
                continue  # such a file cannot be written
            assert ends_well(path), how


# Contours for planning systems.


def ring():
    """Returns masks with two holes, an island in a hole, and a part of one pixel."""
    mask = np.zeros((12, 9), np.uint8)
    mask[1:9, 0:8] = 1
    mask[2:7, 1:5] = mask[3:5, 6] = 0
    mask[4, 3] = mask[10, 8] = 1
    return mask


@pytest.mark.parametrize("enhanced", [False, True])
def test_contours_enclose_the_middles_of_the_pixels(make_series, make_enhanced, enhanced):
    path = make_enhanced() if enhanced else make_series(axes=OBLIQUE)[0].parent
    scan = scans.read(path)
    masks = block(scan, [1, 2])
    masks[2][0] = ring()
    files = written(scan, masks, rtstruct=True)
    assert list(files) == ["x_masks.dcm", "x_contours.dcm"]
    found = pydicom.dcmread(io.BytesIO(files["x_contours.dcm"]))
    assert found.SOPClassUID == pydicom.uid.RTStructureSetStorage
    assert [each.ROIName for each in found.StructureSetROISequence] == list(NAMES)
    drawn = {(k, number): np.zeros((12, 9), bool) for k in (1, 2) for number in (1, 2)}
    rows, columns = np.indices((12, 9)).reshape(2, -1)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in scan.files]
    for roi in found.ROIContourSequence:
        for contour in roi.ContourSequence:
            (image,) = contour.ContourImageSequence
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            k = scans.locate(scan, points[0].tolist(), "LPS")[0]
            if enhanced:
                assert image.ReferencedFrameNumber == k + 1
            else:
                assert image.ReferencedSOPInstanceUID == uids[k]
            flat = np.array([scan.geometry.nearest(point)[1:3] for point in points])
            inside = points_in_poly(np.stack([rows, columns], axis=1), flat)
            drawn[k, int(roi.ReferencedROINumber)] |= inside.reshape(12, 9)
    for (k, number), mask in drawn.items():
        np.testing.assert_array_equal(mask, masks[k][number - 1])


def test_an_empty_structure_has_no_contour(make_series):
    scan = scans.read(
        make_series(PatientName="Doe^Jürgen", SpecificCharacterSet="ISO_IR 100")[0].parent
    )
    files = written(scan, {}, rtstruct=True)
    found = pydicom.dcmread(io.BytesIO(files["x_contours.dcm"]))
    assert [len(each.get("ContourSequence", [])) for each in found.ROIContourSequence] == [0, 0]
    assert found.PatientName == "Doe^Jürgen"
    assert found.StudyInstanceUID == "1.2"


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
    assert " (16 slices, CT), " in fault_of(real_data / "dicom")
