"""Maps on the grid of a scan: values, places, formats."""

import gzip
import importlib.util
import io

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_pipelines import scans
from data_pipelines.scans import maps

SHAPE = (12, 9)


def planes(shape=SHAPE):
    values = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    return {1: values[0], 2: values[1]}


@pytest.fixture
def series(make_dicom, tmp_path):
    """A series that is turned in the patient."""
    (tmp_path / "series").mkdir()
    axes = [0.36, 0.48, -0.8, -0.8, 0.6, 0.0]
    normal = np.cross(axes[:3], axes[3:])
    for k in range(4):
        make_dicom(
            f"series/{k}.dcm", SOPInstanceUID=f"1.2.3.{k}", ImageOrientationPatient=axes,
            ImagePositionPatient=[round(x, 6) for x in 10 + 2.5 * k * normal],
        )  # fmt: skip
    return scans.read(tmp_path / "series")


def test_dicom_becomes_nifti_at_the_same_places(series):
    first, second = planes(), {k: 1 - each for k, each in planes().items()}
    files = maps.encode(series, "x", {"a": first, "b": second}, note="note")
    assert list(files) == ["x_1_a.nii.gz", "x_2_b.nii.gz"]
    for content, expected in zip(files.values(), (first, second), strict=True):
        found = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
        values = np.asarray(found.dataobj)
        assert (values.shape, values.dtype) == ((9, 12, 4), np.float32)
        assert not values[:, :, [0, 3]].any()
        for k in (1, 2):
            np.testing.assert_array_equal(values[:, :, k].T, expected[k])
        place = found.affine @ (3, 5, 2, 1)
        expected_place = series.geometry.place(2, 5, 3) * (-1, -1, 1)
        np.testing.assert_allclose(place[:3], expected_place, atol=1e-4)
        assert found.header["sform_code"] == 1


def test_maps_of_a_nifti_volume_have_its_affine(make_nifti):
    path = make_nifti(np.random.default_rng(1).normal(size=(9, 12, 5)).astype(np.float32))
    files = maps.encode(scans.read(path, unit="HU"), "x", {"a": planes()}, note="n")
    found = nibabel.Nifti1Image.from_bytes(gzip.decompress(files["x_1_a.nii.gz"]))
    np.testing.assert_array_equal(found.affine, nibabel.load(path).affine)
    np.testing.assert_array_equal(np.asarray(found.dataobj)[:, :, 2].T, planes()[2])


def test_scans_without_a_place_become_npz(series, tmp_path, monkeypatch):
    (tmp_path / "png").mkdir()
    for k in range(3):
        Image.fromarray(np.arange(108, dtype=np.uint8).reshape(SHAPE) + k).save(
            tmp_path / "png" / f"{k}.png"
        )
    for scan in (scans.read(tmp_path / "png"), series):
        (content,) = maps.encode(scan, "x", {"a": planes()}, note="n").values()
        with np.load(io.BytesIO(content)) as stored:
            assert stored["slices"].tolist() == [1, 2]
            np.testing.assert_array_equal(stored["a"], np.stack(list(planes().values())))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
