"""The source `dicom` reads a folder nested as by TCIA, and reports faulty files in it."""

import collections
import pathlib
import shutil
import sys

import numpy as np
import pydicom
import pydicom.uid
import pytest

from data_pipelines import lidc, sources
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record

SERIES = "1.2.3"
SIZE = 24


def settings(path, **changes):
    defaults = {
        "source": "dicom",
        "size": 9,
        "spacing_mm": 0.0,
        "slices": "all",
        "window_hu": (-1000.0, 400.0),
        "percentiles": (1.0, 99.0),
        "raters": "stored",
        "on_error": "raise",
    }
    return Settings(path=str(path), **{**defaults, **changes})


def read(path, **changes):
    skipped = collections.Counter()
    return list(sources.records(settings(path, **changes), skipped)), dict(skipped)


def stored(z_mm):
    """Returns pixels that differ by row, column and slice."""
    return (np.arange(SIZE * SIZE).reshape(SIZE, SIZE) + int(10 * z_mm)).astype(np.int16)


def write(path: pathlib.Path, z_mm=1.0, series=SERIES, modality="CT", patient="LIDC-IDRI-0001"):
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
        f"{series}.{len(path.name)}"
    )
    dataset.Modality, dataset.PatientID, dataset.SeriesInstanceUID = modality, patient, series
    if modality == "CT":
        dataset.ImagePositionPatient = [0.0, 0.0, z_mm]
        dataset.PixelSpacing = [0.5, 0.5]
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
    dataset.Rows = dataset.Columns = SIZE
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = stored(z_mm).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def contour(z_mm, low, high):
    corners = np.array([[low, low], [high, low], [high, high], [low, high]])
    sides = [
        np.linspace(a, b, high - low, endpoint=False)
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)
    ]
    return lidc.Contour(z_mm, True, np.rint(np.concatenate(sides)).astype(int))


@pytest.fixture(autouse=True)
def one_nodule(request, monkeypatch):
    """Replaces the collection by one nodule on slices z = 1 and z = 2, except for real files."""
    if "real_data" in request.fixturenames:
        return
    rater = (contour(1.0, 4, 10), contour(2.0, 4, 12))
    nodule = lidc.Nodule("LIDC-IDRI-0001", SERIES, 1, 0.5, (rater,) * 4)
    monkeypatch.setattr(lidc, "nodules_of", lambda database, least: [nodule])
    monkeypatch.setattr(lidc, "read_series", lambda database: {SERIES: "p"})


def test_a_nested_folder_with_radiographs_and_other_files(tmp_path):
    write(tmp_path / "LIDC-IDRI-0001" / "study-1" / "ct" / "1-01.dcm", 1.0)
    write(tmp_path / "LIDC-IDRI-0001" / "study-1" / "ct" / "1-02.dcm", 2.0)
    write(tmp_path / "LIDC-IDRI-0001" / "study-2" / "cr" / "1-01.dcm", series="9.9", modality="CR")
    (tmp_path / "LICENSE").write_text("CC BY 3.0")
    records, skipped = read(tmp_path)
    assert skipped == {}
    assert [r.record_id for r in records] == ["LIDC-IDRI-0001_z1_n1", "LIDC-IDRI-0001_z2_n1"]
    first, second = records
    # HU = 2 stored - 1024; the contours' centres are (7, 7) and (8, 8), pixel 4 of 9.
    np.testing.assert_array_equal(first.image[..., 0], 2.0 * stored(1.0)[3:12, 3:12] - 1024)
    np.testing.assert_array_equal(second.image[..., 0], 2.0 * stored(2.0)[4:13, 4:13] - 1024)
    expected = np.zeros((9, 9), np.uint8)
    expected[2:7, 2:7] = 1
    np.testing.assert_array_equal(first.masks, np.stack([expected] * 4))
    assert first.image.dtype == np.float32
    assert first.intensity_unit == "HU"


def test_a_crop_beyond_the_slice_is_air(tmp_path):
    write(tmp_path / "1.dcm", 1.0)
    (record,), _ = read(tmp_path, size=33)
    np.testing.assert_array_equal(record.image[9:, 9:, 0], 2.0 * stored(1.0) - 1024)
    assert (record.image[:9] == -1000).all()
    assert (record.image[:, :9] == -1000).all()


def test_contours_without_their_slice_are_counted(tmp_path):
    write(tmp_path / "1.dcm", 1.0)
    records, skipped = read(tmp_path)
    assert [record.record_id for record in records] == ["LIDC-IDRI-0001_z1_n1"]
    assert skipped == {"contour whose slice is absent": 1}
    assert read(tmp_path, slices="largest") == ([], {"contour whose slice is absent": 1})


def test_other_collections_and_second_copies_are_counted(tmp_path):
    write(tmp_path / "1.dcm", 1.0)
    write(tmp_path / "copy" / "1.dcm", 1.0)
    write(tmp_path / "2.dcm", 2.0)
    write(tmp_path / "x.dcm", series="7.7", patient="NLST-5")
    records, skipped = read(tmp_path)
    assert len(records) == 2
    assert skipped == {
        "second file of one slice": 1,
        "CT series that is not LIDC-IDRI's, of patient NLST-5": 1,
    }


def test_a_nodule_without_its_series_is_counted(tmp_path, monkeypatch):
    write(tmp_path / "1.dcm", series="1.2.4")
    monkeypatch.setattr(lidc, "read_series", lambda database: {SERIES: "p", "1.2.4": "q"})
    assert read(tmp_path) == ([], {"nodule whose series is absent": 1})


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.97])
def test_a_truncated_file_is_one_fault_among_records(tmp_path, share):
    path = write(tmp_path / "1.dcm", 1.0)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    write(tmp_path / "2.dcm", 2.0)
    records, _ = read(tmp_path)
    faults = [item for item in records if isinstance(item, InputError)]
    assert len(faults) == 1
    assert sum(isinstance(item, Record) for item in records) == 1
    message = str(faults[0])
    assert message.startswith((f"{path}: unreadable or truncated (", f"{path}: truncated, or "))
    assert message.endswith("; download it again or delete it")
    assert "\n" not in message


def test_a_spacing_that_differs_from_the_database(tmp_path):
    path = write(tmp_path / "1.dcm", 1.0)
    dataset = pydicom.dcmread(path)
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.save_as(path)
    (fault,), _ = read(tmp_path)
    assert str(fault) == (
        f"{path}: PixelSpacing [0.7, 0.7] mm, but 0.5 mm in the LIDC database;"
        " download it again or delete it"
    )


def test_a_file_without_its_preamble(tmp_path):
    path = write(tmp_path / "1.dcm", 1.0)
    path.write_bytes(path.read_bytes()[132:])
    (fault,), _ = read(tmp_path)
    assert str(fault) == (
        f"{path}: truncated, or without a DICOM file's preamble of 128 bytes and DICM; download it "
        "again or delete it"
    )


@pytest.mark.parametrize(
    ("rows", "size", "message"),
    [
        (
            SIZE // 2,
            SIZE,
            "unreadable or truncated (1152 bytes of pixels, but its header asks for 576: 12 "
            "rows, 24 columns, frames: 1)",
        ),
        (6, 6, "pixels are [6, 24], but the raters drew at row 7, column 7"),
    ],
)
def test_pixels_that_do_not_hold_the_contours(tmp_path, rows, size, message):
    path = write(tmp_path / "1.dcm", 1.0)
    dataset = pydicom.dcmread(path)
    dataset.Rows, dataset.PixelData = rows, stored(1.0)[:size].tobytes()
    dataset.save_as(path)
    (fault,), _ = read(tmp_path)
    assert str(fault) == f"{path}: {message}; download it again or delete it"


def test_the_headers_are_counted_while_they_are_read(tmp_path, capsys):
    write(tmp_path / "1.dcm", 1.0)
    (tmp_path / "LICENSE").write_text("CC BY 3.0")
    read(tmp_path)
    assert f"headers of {tmp_path}: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "found"),
    [("empty", "no CT"), ("radiograph", "no CT"), ("stranger", "CT of NLST-5")],
)
def test_a_folder_without_lidc(tmp_path, made, found):
    if made == "radiograph":
        write(tmp_path / "1.dcm", modality="DX")
    if made == "stranger":
        write(tmp_path / "1.dcm", series="7.7", patient="NLST-5")
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no CT series of LIDC-IDRI ({found}); give the folder downloaded from TCIA"
    )


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        read(tmp_path / "absent")
    with pytest.raises(InputError, match="reads a folder"):
        read(write(tmp_path / "1.dcm"))


def test_without_pydicom_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert str(error.value) == (
        "DICOM needs pydicom, which is missing; run: pip install -e .[dicom]"
    )


def test_real_slices_are_the_published_crops_pixel_for_pixel(real_data, tmp_path):
    study = tmp_path / "LIDC-IDRI-0001" / "study" / "series"
    shutil.copytree(real_data / "dicom" / "LIDC-IDRI-0001", study)
    shutil.copytree(real_data / "dicom" / "LIDC-IDRI-0003", tmp_path / "LIDC-IDRI-0003")
    records, skipped = read(tmp_path, size=71, slices="largest")
    assert skipped["contour whose slice is absent"] == 2
    crops = np.load(real_data / "lidc_crops.npz")
    # The file numbers nodules over all patients, this source within each.
    names = [str(name).rpartition("_n")[0] for name in crops["record_id"]]
    assert [record.record_id for record in records] == [
        "LIDC-IDRI-0001_z-117.5_n1",
        "LIDC-IDRI-0003_z-186.5_n1",
    ]
    for record in records:
        k = names.index(record.record_id.rpartition("_n")[0])
        np.testing.assert_array_equal(record.image[..., 0], crops["image"][k])
        np.testing.assert_array_equal(record.masks, crops["masks"][k])
        np.testing.assert_array_equal(record.spacing_mm, crops["spacing_mm"][k])
