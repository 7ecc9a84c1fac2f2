"""DICOM files with several frames, which are a scan, and those with one."""

import functools

import numpy as np
import pydicom
import pydicom.uid
import pytest

from data_pipelines import images, scans
from tests.data import conftest
from tests.data.scan_files import assert_same
from tests.data.scan_masks import block, segmentation

refusal = functools.partial(conftest.refusal, scans.read)


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
    assert refusal(path) == (
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
    assert "has no ImagePositionPatient of each frame" in refusal(folder, series="8")


def test_two_files_of_several_frames(make_enhanced, tmp_path):
    path = make_enhanced()
    (tmp_path / "scan").mkdir()
    dataset = pydicom.dcmread(path)
    for name in ("a", "b"):
        dataset.save_as(tmp_path / "scan" / name)
    first, second = tmp_path / "scan" / "a", tmp_path / "scan" / "b"
    assert refusal(tmp_path / "scan") == (
        f"{second}: holds several slices, and so may {first}, frame 0; give one such file by itself"
    )
    second.unlink()
    assert scans.read(tmp_path / "scan").count == 3


def test_one_slice_and_what_holds_none(make_dicom):
    path = make_dicom()
    assert refusal(path) == (
        f"{path}: holds one slice; give the folder of the whole scan, or read it as an image"
    )
    report = make_dicom(SOPClassUID=pydicom.uid.BasicTextSRStorage, Rows=None, PixelData=None)
    assert refusal(report) == (f"{report}: holds no DICOM images; give the folder of one series")
