"""Volumes of NIfTI and folders of images, and what a slice of a scan must be."""

import nibabel
import numpy as np
from PIL import Image

from data_pipelines import scans

VOXELS = np.random.default_rng(0).integers(-1000, 400, (9, 12, 5)).astype(np.int16)
PLACED = np.diag([0.7, 0.9, 2.5, 1.0])
PLACED[:3, 3] = 90, -120, 33


def save(path, voxels, affine, kind=nibabel.Nifti1Image, **header):
    image = kind(voxels, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def placed_scan(tmp_path):
    """Reads a scan of VOXELS: slices 12x9 along the third axis, in HU."""
    return scans.read(save(tmp_path / "ct.nii", VOXELS, PLACED), unit="HU")


def slices(tmp_path):
    """Writes a folder of slices 8 to 11, whose gray value is their number."""
    folder = tmp_path / "scan.1"
    folder.mkdir()
    for k in range(8, 12):
        pixels = np.full((6, 5), k, np.uint8)
        pixels[2, 3] = 255
        Image.fromarray(pixels).save(folder / f"slice {k}.png")
    return folder


def assert_same(picture, expected):
    """Asserts that a slice of a scan is what `images.read` returns for it."""
    np.testing.assert_array_equal(picture.image, expected.image)
    np.testing.assert_array_equal(picture.spacing_mm, expected.spacing_mm)
    for name in ("intensity_unit", "path", "format", "caveats", "slice_index", "axis", "inverted"):
        assert getattr(picture, name) == getattr(expected, name), name
    assert (picture.value_range, picture.point) == (expected.value_range, None)
    assert picture.image.dtype == np.float32
