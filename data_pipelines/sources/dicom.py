"""Reads real CT of LIDC-IDRI: a folder of DICOM files from TCIA, joined with the raters' contours.

The folder may have any subfolders and hold any part of the collection, radiographs included. A CT
series is identified by its SeriesInstanceUID, a slice by its ImagePositionPatient.
"""

import collections
import functools
import itertools
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tqdm

from data_pipelines import dicom, file_formats, folders, lidc
from data_pipelines.runners import Run
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record

Z_TOLERANCE_MM = 0.1  # far below the least distance between two slices, 0.45 mm
SPACING_TOLERANCE_MM = 1e-3
AGAIN = "download it again or delete it"
ABSENT_SLICE = "contour whose slice is absent"
ABSENT_SERIES = "nodule whose series is absent"
DUPLICATE = "second file of one slice"
_TABLE_OF_CONTENTS = "1.2.840.10008.1.3.10"  # the class of a DICOMDIR
HEADER_TAGS = ["Modality", "PatientID", "SeriesInstanceUID", "ImagePositionPatient"]


class _Header(NamedTuple):
    """What the header of a CT file says."""

    path: pathlib.Path
    series: str
    patient: str  # "" if the series is LIDC's
    z_mm: float | None  # None: the series is not LIDC's


class _Index(NamedTuple):
    """The files of LIDC's slices."""

    slices: dict[str, dict[float, pathlib.Path]]  # {series: {z in mm: file}}
    patients: dict[str, set[str]]  # CT series that are not LIDC's, {patient: {series}}
    faults: list[InputError]


class _Case(NamedTuple):
    """A nodule and the files of its series."""

    nodule: lidc.Nodule
    files: dict[float, pathlib.Path]  # {z in mm: file}


def cases(
    settings: Settings, skipped: collections.Counter[str], run: Run
) -> list[_Case | InputError]:
    """Returns the faults of files, then the nodules, patient by patient.

    Args:
        settings: `path` is the folder.
        skipped: gets the number of nodules whose whole series is absent, of second files of one
            slice, and, by patient, of CT series that are not of LIDC-IDRI.
        run: reads the headers of all files.

    Raises:
        InputError: the folder is missing or holds no LIDC series, or pydicom or the contours are
            not installed.
    """
    folder = settings.location()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: source 'dicom' reads a folder; give the folder of the DICOM files"
        )
    database = lidc.find_database()
    index = _index(folder, lidc.read_series(database), skipped, run)
    if not index.slices and not index.faults:
        found = f"CT of {', '.join(sorted(index.patients)[:5])}" if index.patients else "no CT"
        raise InputError(
            f"{folder}: no CT series of LIDC-IDRI ({found}); give the folder downloaded from TCIA"
        )
    for patient, series in sorted(index.patients.items()):
        skipped[f"CT series that is not LIDC-IDRI's, of patient {patient}"] += len(series)
    every: list[_Case | InputError] = [*index.faults]
    for nodule in lidc.nodules_of(database, settings.min_raters):
        if nodule.series_uid in index.slices:
            every.append(_Case(nodule, index.slices[nodule.series_uid]))
        else:
            skipped[ABSENT_SERIES] += 1
    return every


def read(
    settings: Settings, case: _Case, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields real crops of a nodule in HU, or the error of a file; one slice is in memory.

    Args:
        settings: the size of a crop, and which slices.
        case: the nodule.
        skipped: gets the number of contours whose slice is absent.
    """
    nodule, files = case
    for z_mm in lidc.slices(nodule, settings.slices, skipped):
        nearest = min(files, key=lambda z: abs(z - z_mm))
        if abs(nearest - z_mm) > Z_TOLERANCE_MM:
            skipped[ABSENT_SLICE] += 1
            continue
        crop = lidc.window(nodule, z_mm, settings.native_size(nodule.spacing_mm))
        try:
            image = _read_hu(files[nearest], nodule.spacing_mm, crop)
        except InputError as fault:
            yield fault
            continue
        yield lidc.record(nodule, z_mm, image, lidc.masks(nodule, z_mm, crop))


def _read_hu(path: pathlib.Path, spacing_mm: float, crop: lidc.Window) -> np.ndarray:
    """Returns the window f32 [size, size] of a file's slice.

    Raises:
        InputError: pixels are missing or unreadable, their spacing differs from the database, or
            the middle of the window lies outside of the slice.
    """
    with dicom.reading(path, AGAIN):
        dataset = dicom.package().dcmread(path)
        slice_hu = dicom.values(dataset, hounsfield=True)
        spacing = [round(size, 6) for size in dicom.spacing_mm(dataset).tolist()]
    if not np.allclose(spacing, spacing_mm, rtol=0, atol=SPACING_TOLERANCE_MM):
        raise InputError(
            f"{path}: PixelSpacing {spacing} mm, but {spacing_mm} mm in the LIDC database; {AGAIN}"
        )
    row, column = crop.row + crop.size // 2, crop.column + crop.size // 2
    if row >= slice_hu.shape[0] or column >= slice_hu.shape[1]:
        raise InputError(
            f"{path}: pixels are {list(slice_hu.shape)}, but the raters drew at row {row}, column "
            f"{column}; {AGAIN}"
        )
    return _crop(slice_hu, crop)


def _crop(slice_hu: np.ndarray, crop: lidc.Window) -> np.ndarray:
    """Returns the window f32 [size, size] of a slice, with air beyond its edges."""
    image = np.full((crop.size, crop.size), dicom.AIR_HU, np.float32)
    top, left = max(crop.row, 0), max(crop.column, 0)
    inside = slice_hu[top : crop.row + crop.size, left : crop.column + crop.size]
    row, column = top - crop.row, left - crop.column
    image[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return image


def _index(
    folder: pathlib.Path, wanted: Collection[str], skipped: collections.Counter[str], run: Run
) -> _Index:
    """Reads the headers of all files, those of one folder by one process."""
    dicom.package()  # an error here is clearer than in a process for each folder
    index = _Index({}, {}, [])
    paths = folders.files(folder)
    groups = [list(group) for _, group in itertools.groupby(paths, lambda path: path.parent)]
    headers = run(functools.partial(_headers, wanted), groups)
    for header in tqdm.tqdm(headers, f"headers of {folder}", len(paths), unit=" files"):
        if isinstance(header, InputError):
            index.faults.append(header)
        elif header is not None and header.z_mm is None:
            index.patients.setdefault(header.patient, set()).add(header.series)
        elif header is not None:
            files = index.slices.setdefault(header.series, {})
            if header.z_mm in files:
                skipped[DUPLICATE] += 1
            else:
                files[header.z_mm] = header.path
    return index


def _headers(
    wanted: Collection[str], paths: Sequence[pathlib.Path]
) -> Iterator[_Header | InputError | None]:
    """Yields the header or the fault of each file.

    None stands for other modalities, and for files that are not DICOM, unless named .dcm.
    """
    pydicom = dicom.package()
    for path in paths:
        found: _Header | InputError | None = None
        try:
            with dicom.reading(path, AGAIN):
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER_TAGS)
                if header.file_meta.MediaStorageSOPClassUID != _TABLE_OF_CONTENTS:
                    # Without a modality, the file is truncated: an error.
                    found = _header(path, header, wanted) if header.Modality == "CT" else None
        except InputError as fault:
            if file_formats.format_of(path) == "dicom" or path.suffix.lower() == ".dcm":
                found = fault
        yield found


def _header(path: pathlib.Path, header: Any, wanted: Collection[str]) -> _Header:
    series = str(header.SeriesInstanceUID)
    if series not in wanted:
        return _Header(path, series, str(header.get("PatientID", "?")), None)
    position = dicom.numbers(header.ImagePositionPatient, "ImagePositionPatient", 3)
    if position is None:
        raise InputError(f"ImagePositionPatient is empty; {AGAIN}")
    return _Header(path, series, "", position[2])
