"""Masks on scans of DICOM: what a DICOM-SEG and its contours refer to, and where they lie."""

import io

import highdicom
import nibabel
import numpy as np
import pydicom
import pydicom.uid
import pytest
from skimage.measure import points_in_poly

from data_pipelines import scans
from data_pipelines.images import dicom_seg
from prosona_jax.report import figures
from prosona_jax.types import InputError
from tests.data.dicom_damage import DAMAGE, READ, damage
from tests.data.scan_masks import NAMES, NOTES, OBLIQUE, block, by_instance, segmentation, written


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
