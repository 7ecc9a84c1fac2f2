"""Places in a scan of NIfTI: whatever its orientation, a point has one slice, row and column."""

import gzip

import nibabel
import numpy as np
import pytest

from data_pipelines import scans
from prosona_jax.types import InputError
from tests.data.scan_files import PLACED, VOXELS, placed_scan, save

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
ORIENTATIONS = [
    (axes, flips)
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for flips in np.ndindex(2, 2, 2)
]
LPS_OF_RAS = np.array([-1, -1, 1])


def turned(axes, flips, affine):
    """Returns the same voxels at the same places, stored with other axes, and their affine."""
    stored, step = VOXELS, affine.copy()
    for axis in np.flatnonzero(flips):
        stored = np.flip(stored, axis)
        step[:3, 3] += step[:3, axis] * (VOXELS.shape[axis] - 1)
        step[:3, axis] *= -1
    return stored.transpose(axes), step[:, [*axes, 3]]


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
@pytest.mark.parametrize("oblique", [False, True])
def test_a_structure_keeps_its_place_in_all_48_orientations(tmp_path, axes, flips, oblique):
    affine = PLACED.copy()
    if oblique:
        affine[:3, :3] = TURN @ affine[:3, :3]
    stored, step = turned(axes, flips, affine)
    path = save(tmp_path / "ct.nii.gz", stored, step)
    scan = scans.read(path, unit="HU")
    voxel = (2, 7, 3)
    ras = affine[:3, :3] @ voxel + affine[:3, 3]
    k, row, column = scans.locate(scan, ras.tolist(), "RAS")
    assert scans.locate(scan, (ras * LPS_OF_RAS).tolist(), "LPS")[0] == k
    picture = scan.picture(k)
    assert picture.image[round(row), round(column), 0] == VOXELS[voxel]
    np.testing.assert_allclose([row, column], np.round([row, column]), atol=1e-4)
    place = scan.geometry.place(k, row, column)
    np.testing.assert_allclose(place, ras * LPS_OF_RAS, atol=1e-4)
    np.testing.assert_allclose((scan.affine @ [k, row, column, 1])[:3], place, atol=1e-4)
    np.testing.assert_allclose(scan.positions[k], scan.geometry.place(k, 0, 0))
    np.testing.assert_allclose(sorted(scan.spacing_mm), [0.7, 0.9, 2.5], rtol=1e-5)

    # A block that is drawn there lies there when nibabel reads it back.
    mask = np.zeros((1, *scan.shape), np.uint8)
    mask[0, round(row), round(column)] = 1
    (content,) = scans.encode(scan, "x", {k: mask}, names=["a"], notes=["b"]).values()
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    source = nibabel.load(path)
    np.testing.assert_array_equal(written.affine, source.affine)
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[name] == source.header[name]
    (found,) = np.argwhere(np.asarray(written.dataobj))
    np.testing.assert_allclose(written.affine[:3] @ [*found, 1], ras, atol=1e-4)


def test_sheared_slices_are_found_along_their_normal(tmp_path):
    """As of a tilted gantry: each slice lies 1 mm further along the columns than the one before."""
    sheared = PLACED.copy()
    sheared[1, 2] = 1
    scan = scans.read(save(tmp_path / "ct.nii", VOXELS, sheared), unit="HU", axis=2)
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    place = scan.geometry.place(3, 7, 2)
    np.testing.assert_allclose(place, [-91.4, 110.7, 40.5], rtol=1e-5)
    np.testing.assert_allclose(scans.locate(scan, place.tolist(), "LPS"), (3, 7, 2), atol=1e-5)


def test_micrometres(tmp_path):
    affine = PLACED * [[1e3], [1e3], [1e3], [1]]
    scan = scans.read(save(tmp_path / "ct.nii", VOXELS, affine, xyzt_units=3), unit="HU")
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    np.testing.assert_allclose(scan.positions[0], [-90, 120, 33], rtol=1e-6)


def test_the_frames_of_a_point(tmp_path):
    """Slice 3, row 7, column 2."""
    scan = placed_scan(tmp_path)
    assert scans.locate(scan, "3,7,2") == (3, 7.0, 2.0)
    assert scans.locate(scan, " 2, 7, 3", "xyz") == (3, 7.0, 2.0)
    ras = [90 + 2 * 0.7, -120 + 7 * 0.9, 33 + 3 * 2.5]
    np.testing.assert_allclose(scans.locate(scan, ras, "RAS"), (3, 7, 2), atol=1e-5)
    text = f"{-ras[0]},{-ras[1]},{ras[2]}"
    np.testing.assert_allclose(scans.locate(scan, text, "LPS"), (3, 7, 2), atol=1e-5)


def test_a_pixel_reaches_half_its_size_around_its_middle(tmp_path):
    scan = placed_scan(tmp_path)
    assert scans.locate(scan, (2.4, -0.4, 8.4)) == (2, 0.0, 8.0)
    assert scans.locate(scan, (4.4, 11.2, 3.25)) == (4, 11.0, 3.25)
    for point in ((4.6, 1, 1), (-0.6, 1, 1), (0, 11.6, 0), (0, 0, -0.6)):
        with pytest.raises(InputError):
            scans.locate(scan, point)


@pytest.mark.parametrize(
    ("point", "frame", "fault"),
    [
        ("1,2", "index", "the point is '1,2'; give three numbers, such as 57,210,143"),
        ("1,2,x", "index", "the point is '1,2,x'; give three numbers, such as 57,210,143"),
        ((1, 2, np.inf), "LPS", "the point is (1, 2, inf); give three numbers"),
        ("1,2,3", "lps", "the frame of a point is 'lps'; choose one of ('index', 'xyz', 'LPS', "),
        (
            "5,0,0",
            "index",
            "the point 5,0,0 is outside of the scan; give slice 0..4, row 0..11, column 0..8",
        ),
        (
            "9,0,0",
            "xyz",
            "the point 9,0,0 is outside of the scan; give column 0..8, row 0..11, slice 0..4",
        ),
        (
            "90,-120,50",
            "RAS",
            "the point 90,-120,50 in mm of RAS is outside of the scan: it is 7 mm from the "
            "nearest slice, 4, at its row 0 of 12 and column 0 of 9; the scan spans x 90 to 95.6, "
            "y -120 to -110.1, z 33 to 43",
        ),
    ],
)
def test_points_that_are_not_in_the_scan(tmp_path, point, frame, fault):
    scan = placed_scan(tmp_path)
    with pytest.raises(InputError) as error:
        scans.locate(scan, point, frame)
    message = str(error.value).replace("row -0 ", "row 0 ").replace("column -0 ", "column 0 ")
    assert message.startswith(f"{scan.path}: {fault}")


def test_a_place_that_the_header_does_not_state(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((0.7, 0.9, 2.5))
    nibabel.save(image, tmp_path / "x.nii")
    scan = scans.read(tmp_path / "x.nii", unit="HU")
    assert (scan.affine, scan.positions) == (None, None)
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    assert scan.caveats == (
        "Place in the patient unknown: the header has neither sform nor qform.",
    )
    assert scans.locate(scan, "3,7,2") == (3, 7.0, 2.0)
    with pytest.raises(InputError, match="does not state where its slices lie in the patient"):
        scans.locate(scan, "3,7,2", "RAS")
