"""Scans of NIfTI: values, masks, and how much of a volume is in memory."""

import gzip
import tracemalloc

import nibabel
import numpy as np
import pytest

from data_pipelines import images, scans
from prosona_jax.types import InputError
from tests.data.scan_files import PLACED, VOXELS, assert_same, placed_scan, save


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_a_slice_is_what_images_read(tmp_path, name, axis):
    scaled = {"scl_slope": 2.5, "scl_inter": -1024}
    for voxels, kind, header in (
        (VOXELS, nibabel.Nifti1Image, {}),
        (VOXELS.astype(np.float32) / 7, nibabel.Nifti2Image, {}),
        (VOXELS[..., None], nibabel.Nifti1Image, {}),
        ((VOXELS % 256).astype(np.uint8), nibabel.Nifti1Image, scaled),
        (VOXELS.astype(">i2"), nibabel.Nifti1Image, {}),
    ):
        path = tmp_path / name
        image = kind(voxels, PLACED)
        if header:
            image.header.set_slope_inter(2.5, -1024)
        nibabel.save(image, path)
        scan = scans.read(path, axis=axis, unit="HU")
        counted = 2 if axis is None else axis
        assert (scan.format, scan.count) == ("nifti", VOXELS.shape[counted])
        for k in reversed(range(scan.count)):
            expected = images.read(path, axis=axis, unit="HU", slice_index=k)
            assert_same(scan.picture(k), expected)
            assert expected.image.shape[:2] == scan.shape
            np.testing.assert_allclose(scan.spacing_mm[1:], expected.spacing_mm, rtol=1e-6)


def test_a_range_applies_to_each_slice(tmp_path):
    path = save(tmp_path / "ct.nii", VOXELS, PLACED)
    scan = scans.read(path, value_range=(-1000, 0))
    expected = images.read(path, value_range=(-1000, 0), slice_index=3)
    assert_same(scan.picture(3), expected)
    assert expected.value_range == (-1000, 0)


def test_a_slice_that_cannot_be_used_is_named(tmp_path):
    voxels = VOXELS.copy()
    voxels[..., 2] = -1024
    scan = scans.read(save(tmp_path / "ct.nii", voxels, PLACED), unit="HU")
    scan.picture(1)
    with pytest.raises(InputError) as error:
        scan.picture(2)
    assert str(error.value) == (
        f"{scan.path}: slice 2: channel 0 of the image is constant (-1024); fix it or leave it out"
    )
    with pytest.raises(IndexError):
        scan.picture(5)


def test_masks_of_several_slices_and_prompts(tmp_path):
    scan = placed_scan(tmp_path)
    masks = {k: np.zeros((2, *scan.shape), np.uint8) for k in (1, 3)}
    masks[1][0, 2:5, 3:4] = masks[3][1, 6, 7] = 1
    files = scans.encode(scan, "x", masks, names=["tight", "wide"], notes=["one", "two"])
    assert list(files) == ["x_1_tight.nii.gz", "x_2_wide.nii.gz"]
    for number, content in enumerate(files.values()):
        written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
        expected = np.zeros(VOXELS.shape, np.uint8)
        for k, each in masks.items():
            expected[..., k] = each[number].T
        np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
        assert written.get_data_dtype() == np.uint8
        assert written.header["descrip"].item() == (b"one", b"two")[number]
    (empty,) = scans.encode(scan, "x", {}, names=["none"], notes=[""]).values()
    assert not np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(empty)).dataobj).any()


def test_masks_that_do_not_fit_are_an_error_of_the_program(tmp_path):
    scan = placed_scan(tmp_path)
    mask = np.zeros((1, *scan.shape), np.uint8)
    for masks in ({5: mask}, {0: mask[:, 1:]}, {0: np.concatenate([mask, mask])}):
        with pytest.raises(ValueError, match="fit|in a scan of 5"):
            scans.encode(scan, "x", masks, names=["a"], notes=["b"])
    with pytest.raises(InputError, match="an RT Structure Set needs DICOM with the"):
        scans.encode(scan, "x", {0: mask}, names=["a"], notes=["b"], rtstruct=True)


def test_the_start_of_the_names_of_files(tmp_path):
    assert scans.stem(placed_scan(tmp_path)) == "ct"
    packed = save(tmp_path / "ct.01.nii.gz", VOXELS, PLACED)
    assert scans.stem(scans.read(packed, unit="HU")) == "ct.01"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("axis", [0, 2])
def test_one_slice_of_a_large_volume_is_in_memory_at_a_time(tmp_path, packed, axis):
    shape = (256, 256, 256)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(PLACED, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "ct.nii"
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        for k in range(shape[2]):
            plane = np.full(shape[:2], k, np.int16)
            plane[3, 4] = 300
            file.write(plane.tobytes("F"))
    images.read(path, axis=axis, unit="HU", slice_index=3)  # imports are not counted
    tracemalloc.start()
    try:
        scan = scans.read(path, axis=axis, unit="HU")
        picture = scan.picture(3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert picture.image[4, 3, 0] == (300 if axis == 2 else 4)
    assert peak < 2 * np.prod(shape) / 5  # bytes; they are 128 times a slice of floats


def test_the_temporary_file_is_gone_and_the_source_may_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = save(tmp_path / "ct.nii.gz", VOXELS, PLACED)
    scan = scans.read(path, unit="HU")
    assert list((tmp_path / "temporary").iterdir()) == []
    expected = images.read(path, unit="HU", slice_index=2).image
    path.unlink()
    np.testing.assert_array_equal(scan.picture(2).image, expected)
