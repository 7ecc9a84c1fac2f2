"""What is no scan, and arguments of another format, give an error of one line."""

import functools
import gzip

import pytest

from data_pipelines import scans
from tests.data import conftest
from tests.data.scan_files import PLACED, VOXELS, save, slices

fault_of = functools.partial(conftest.fault_of, scans.read)


def test_what_is_no_scan(tmp_path, make_npz):
    assert fault_of(tmp_path / "absent") == "no such file or folder; give the path of a scan"
    assert fault_of(make_npz()) == (
        "is a zip archive, and no scan; give a folder of slices or a NIfTI file, or read it as an "
        "image"
    )
    assert fault_of(slices(tmp_path) / "slice 8.png").startswith(
        "is a PNG image, and no scan; give a"
    )
    (tmp_path / "x").write_text("x")
    assert fault_of(tmp_path / "x").startswith("is plain text; convert it to PNG, JPEG, TIFF, npz")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fault_of(empty) == "holds no DICOM, PNG or TIFF files; give a folder of slices"
    save(empty / "ct.nii", VOXELS, PLACED)
    assert fault_of(empty) == (
        "holds no DICOM, PNG or TIFF files; give a folder of slices; for a volume give its file, "
        f"such as {empty / 'ct.nii'}"
    )


def test_one_slice_is_no_scan(tmp_path):
    fault = "holds one slice; give the folder of the whole scan, or read it as an image"
    for voxels in (VOXELS[..., 0], VOXELS[..., :1]):
        assert fault_of(save(tmp_path / "ct.nii", voxels, PLACED), unit="HU") == fault
    folder = slices(tmp_path)
    for k in (9, 10, 11):
        (folder / f"slice {k}.png").unlink()
    assert fault_of(folder) == fault


def test_arguments_of_another_format(tmp_path):
    path = save(tmp_path / "ct.nii", VOXELS, PLACED)
    assert fault_of(slices(tmp_path), axis=1) == (
        "only a NIfTI file has axes to choose from; leave the axis 1 out"
    )
    assert fault_of(path, unit="HU", series="1.2") == (
        "only DICOM has series to choose from; leave the series '1.2' out"
    )
    assert fault_of(path, unit="HU", spacing_mm=(1, 1, 1)) == (
        "only PNG and TIFF do not state their spacing; leave the spacing (1, 1, 1) out"
    )
    assert fault_of(path).startswith("NIfTI does not state the unit of its values; give the unit")
    assert fault_of(path, unit="hu").startswith("unit is 'hu'; choose one of")
    assert fault_of(path, unit="HU", axis=3) == "has no axis 3; choose one of 0, 1 and 2"


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_volume(tmp_path, packed):
    content = save(tmp_path / "ct.nii", VOXELS, PLACED).read_bytes()[:-1]
    (tmp_path / "ct.nii").write_bytes(gzip.compress(content) if packed else content)
    assert "unreadable, truncated or damaged" in fault_of(tmp_path / "ct.nii", unit="HU")
