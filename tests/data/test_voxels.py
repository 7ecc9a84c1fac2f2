"""Images and masks of every format become the same voxels, and masks get onto their image's."""

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_pipelines import voxels
from data_pipelines.voxels import grid as grids
from data_pipelines.voxels.grid import Grid
from prosona_jax.types import InputError
from tests.data.conftest import fault_of
from tests.data.folder_files import AFFINE, image, mask, metaimage, nifti, nrrd

LPS = np.diag([0.5, 0.7, 3.0, 1.0])
LPS[:3, 3] = -40, -50, -60
VALUES = image((6, 9, 8))
DRAWN = np.zeros((6, 9, 8), np.uint8)
DRAWN[1:4] = mask((9, 8), 2)
DRAWN[4, 7, 1] = 1


def read(path, unit="arbitrary"):
    return voxels.read_image(path.parent, path.name, unit)


def read_mask(path, grid, labels=()):
    return voxels.read_mask(path.parent, path.name, labels, grid)


@pytest.fixture
def grid(tmp_path):
    return read(nifti(tmp_path / "image.nii.gz", VALUES)).grid


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: nifti(folder / "x.nii.gz", VALUES),
        lambda folder: nrrd(folder / "x.nrrd", VALUES),
        lambda folder: nrrd(
            folder / "x.nrrd", VALUES, space="RAS", directions=np.diag([-0.5, -0.7, 3.0]),
            **{"space origin": np.array([40.0, 50, -60])},
        ),
        lambda folder: metaimage(folder / "x.mha", VALUES),
        lambda folder: metaimage(folder / "x.mha", VALUES, packed=True),
        lambda folder: metaimage(folder / "x.mhd", VALUES, local=False),
    ],
    ids=["nifti", "nrrd", "nrrd-ras", "mha", "mha-packed", "mhd"],
)  # fmt: skip
def test_formats_with_geometry_agree(tmp_path, write):
    found = read(write(tmp_path))
    np.testing.assert_array_equal(found.values[..., 0], VALUES.T)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.grid.affine, LPS, atol=1e-6)
    np.testing.assert_allclose(found.grid.spacing_mm, [0.5, 0.7, 3.0], rtol=1e-6)
    assert (found.grid.axis, found.grid.orientation(), found.unit) == (2, "LPS", "arbitrary")


def test_arrays_are_slices_of_rows_and_columns(tmp_path):
    np.savez(tmp_path / "x.npz", t1=VALUES, plane=VALUES[0])
    found = voxels.read_image(tmp_path, "x.npz:t1", "HU")
    np.testing.assert_array_equal(found.values[..., 0], VALUES.T)
    assert found.grid.affine is None
    assert found.grid.axis == 2
    flat = voxels.read_image(tmp_path, "x.npz:plane", "HU")
    np.testing.assert_array_equal(flat.values[..., 0, 0], VALUES[0].T)
    with pytest.raises(InputError, match="holds no array 't2'"):
        voxels.read_image(tmp_path, "x.npz:t2", "HU")


def test_the_pages_of_a_tiff_are_slices(tmp_path):
    pages = [Image.fromarray(plane.astype(np.float32)) for plane in VALUES]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    found = read(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.values[..., 0], VALUES.T)
    assert np.isnan(found.grid.spacing_mm).all()


def test_slices_lie_in_the_plane_of_highest_resolution(tmp_path):
    sagittal = np.diag([-4.0, -0.5, 0.7, 1.0])
    assert read(nifti(tmp_path / "x.nii", VALUES, sagittal)).grid.axis == 0
    steps = ((0.7, 0, 0), (0, 2.0, 0), (0, 0, 0.5))
    assert read(nrrd(tmp_path / "x.nrrd", VALUES, directions=steps)).grid.axis == 1


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAL", "PIR"])
def test_a_mask_in_another_orientation_is_only_reordered(tmp_path, grid, codes):
    volume = nibabel.Nifti1Image(DRAWN.T, AFFINE)
    turned = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(codes)
    )
    other = volume.as_reoriented(turned)
    assert other.shape != volume.shape or not np.array_equal(other.dataobj, volume.dataobj)
    nibabel.save(other, tmp_path / "mask.nii.gz")
    found = read_mask(tmp_path / "mask.nii.gz", grid)
    np.testing.assert_array_equal(found.mask, DRAWN.T)
    assert not found.resampled


def test_rounded_headers_are_one_grid(tmp_path, grid):
    moved = AFFINE.copy()
    moved[:3] *= 1 + 2e-6
    found = read_mask(nifti(tmp_path / "mask.nii", DRAWN, moved), grid)
    np.testing.assert_array_equal(found.mask, DRAWN.T)
    assert not found.resampled


@pytest.mark.parametrize("share", [0.3, -0.3])
def test_a_mask_between_voxels_gets_the_nearest(tmp_path, grid, share):
    moved = AFFINE.copy()
    moved[:3, 3] += share * AFFINE[:3, :3] @ [1, 1, 1]
    filled = np.ones((6, 9, 8), np.uint8)  # up to the border, which interpolation may lose
    found = read_mask(nifti(tmp_path / "mask.nii", filled, moved), grid)
    assert found.mask.all()
    assert found.resampled


def test_a_coarser_mask_covers_the_middles_of_the_image_s_voxels(tmp_path, grid):
    coarse = AFFINE @ np.diag([2.0, 2.0, 1.0, 1.0])
    coarse[:3, 3] += AFFINE[:3, :3] @ [0.5, 0.5, 0]  # a voxel covers 2 x 2 of the image's
    drawn = np.zeros((6, 5, 4), np.uint8)
    drawn[2, 1, 1] = 1
    found = read_mask(nifti(tmp_path / "mask.nii", drawn, coarse), grid)
    expected = np.zeros((8, 9, 6), bool)
    expected[2:4, 2:4, 2] = True
    np.testing.assert_array_equal(found.mask, expected)
    assert found.resampled


def test_a_smaller_mask_is_empty_beyond_its_grid(tmp_path, grid):
    part = AFFINE.copy()
    part[:3, 3] += AFFINE[:3, :3] @ [2, 3, 1]
    found = read_mask(nifti(tmp_path / "mask.nii", np.ones((2, 3, 4), np.uint8), part), grid)
    expected = np.zeros((8, 9, 6), bool)
    expected[2:6, 3:6, 1:3] = True
    np.testing.assert_array_equal(found.mask, expected)


def test_a_mask_beside_its_image_is_refused_with_both_geometries(tmp_path, grid):
    far = AFFINE.copy()
    far[2, 3] = 500
    path = nifti(tmp_path / "mask.nii", DRAWN, far)
    fault = fault_of(lambda each: read_mask(each, grid), path)
    assert "lies beside its image" in fault
    assert "from (-40, -50, 500) to (-36.5, -44.4, 515), its image" in fault
    assert "from (-40, -50, -60) to (-36.5, -44.4, -45)" in fault


def test_a_mask_whose_object_lies_beside_the_image_is_refused(tmp_path, grid):
    drawn = np.zeros((60, 9, 8), np.uint8)
    drawn[50] = 1
    fault = fault_of(lambda each: read_mask(each, grid), nifti(tmp_path / "mask.nii", drawn))
    assert fault.startswith("nothing that is drawn lies on its image: it has 8 x 9 x 60 voxels")


def test_without_a_place_only_the_size_can_be_compared(tmp_path, grid):
    nowhere = grid._replace(affine=None)
    path = nifti(tmp_path / "mask.nii", DRAWN)
    np.testing.assert_array_equal(read_mask(path, nowhere).mask, DRAWN.T)
    fault = fault_of(lambda each: read_mask(each, nowhere), nifti(tmp_path / "a.nii", DRAWN[1:]))
    assert "8 x 9 x 5 voxels" in fault
    assert "both must have the same size" in fault


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
def test_labels_choose_the_object(tmp_path, grid, suffix):
    write = {"nii.gz": nifti, "nrrd": nrrd, "mha": metaimage}[suffix]
    drawn = DRAWN.copy()
    drawn[1], drawn[5, 0] = 2 * drawn[1], 255
    path = write(tmp_path / f"mask.{suffix}", drawn)
    for labels in ((1,), (2, 255), (7,)):
        found = read_mask(path, grid, labels)
        np.testing.assert_array_equal(found.mask, np.isin(drawn, labels).T)
    assert read_mask(path, grid).mask.sum() == np.count_nonzero(drawn)
    assert found.labels == (1, 2, 255)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (np.where(DRAWN, 0.37, 0), "holds fractions, such as of probabilities"),
        (np.where(DRAWN, np.nan, 0), "holds NaN"),
    ],
)
def test_a_mask_without_labels_is_refused(tmp_path, grid, values, fault):
    path = nifti(tmp_path / "mask.nii", values.astype(np.float32))
    assert fault_of(lambda each: read_mask(each, grid), path).startswith(fault)


def test_a_png_may_store_labels(tmp_path):
    labels = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "m.png")
    flat = grids.nowhere((3, 2))
    found = read_mask(tmp_path / "m.png", flat, (2,))
    np.testing.assert_array_equal(found.mask[..., 0].T, labels == 2)
    assert found.labels == (1, 2, 255)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", flat).mask[..., 0].T, labels > 0)


def test_a_singular_affine_is_refused(tmp_path):
    flat = np.eye(4)
    flat[:3, 1] = flat[:3, 0]  # columns and rows run in one direction
    path = nifti(tmp_path / "x.nii", VALUES, flat)
    assert fault_of(read, path).startswith("its affine is singular")


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (lambda f: nifti(f / "x.nii", np.zeros((2, 2, 3, 9, 8), np.int16)),
         "is int16 [8, 9, 3, 2, 2]"),
        (lambda f: nrrd(f / "x.nrrd", np.zeros((2, 2, 6, 9, 8), np.int16),
                        directions=[*np.eye(3), [np.nan] * 3, [np.nan] * 3]),
         "is int16 [8, 9, 6, 2, 2]"),
        (lambda f: metaimage(f / "x.mha", VALUES[None]), "is MET_SHORT [8, 9, 6, 1]"),
    ],
)  # fmt: skip
def test_more_dimensions_are_refused(tmp_path, write, fault):
    assert fault_of(read, write(tmp_path)).startswith(fault)


def test_a_truncated_file_is_refused(tmp_path):
    path = metaimage(tmp_path / "x.mha", VALUES)
    path.write_bytes(path.read_bytes()[:-10])
    assert "its header asks for 864" in fault_of(read, path)
    path.write_bytes(b"ObjectType = Image\nNDims")
    assert "has no MetaImage header" in fault_of(read, path)
    path = nrrd(tmp_path / "x.nrrd", VALUES)
    path.write_bytes(path.read_bytes()[:-10])
    assert fault_of(read, path).startswith("unreadable, truncated or damaged")


def test_a_unit_that_the_file_contradicts_is_refused(make_dicom):
    path = make_dicom()
    assert read(path, "").unit == "HU"
    assert read(path, "HU").unit == "HU"
    assert "states the unit 'HU'" in fault_of(lambda each: read(each, "arbitrary"), path)


def test_a_missing_slice_of_a_series_is_a_fault(make_series, tmp_path):
    make_series(6, skip=(3,))
    with pytest.raises(InputError, match="unevenly spaced, first after slice 2"):
        voxels.read_image(tmp_path, "scan", "")


def test_a_grid_says_where_it_is():
    assert str(Grid((2, 3, 4), None, np.ones(3))) == "2 x 3 x 4 voxels at an unknown place"
