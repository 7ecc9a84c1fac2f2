"""Finds the files of one DICOM series in a folder, and sorts their frames by position."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import dicom
from data_pipelines.images import dicom_seg
from data_pipelines.images.dicom import LEAST_GAP
from data_pipelines.scans.geometry import Geometry
from data_pipelines.scans.scan import check_count
from prosona_jax import unicode
from prosona_jax.types import InputError

REMEDY = "copy it again, or leave it out"
_SAME_SIZE = 1e-3  # relative
_MOST_LISTED = 6  # series in a message
_TABLE_OF_CONTENTS = "1.2.840.10008.1.3.10"  # the class of a DICOMDIR
_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("SeriesDescription", "PatientID", "FrameOfReferenceUID", "Rows", "Columns"),
    *("NumberOfFrames", "PixelSpacing", "SliceThickness", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SharedFunctionalGroupsSequence"),
    "PerFrameFunctionalGroupsSequence",
]


class Frame(NamedTuple):
    """One slice: a file, or a frame of a file that holds several."""

    path: pathlib.Path
    header: Any  # the data set, without pixels
    frame: int  # 0-based

    @property
    def place(self) -> np.ndarray:
        """The position f64 [3]."""
        return np.array(dicom.attribute(self.header, self.frame, *dicom.POSITION), float)

    @property
    def axes(self) -> np.ndarray:
        """The directions f64 [2, 3] along a row and down a column."""
        orientation = dicom.attribute(self.header, self.frame, *dicom.ORIENTATION)
        return np.array(orientation, float).reshape(2, 3)

    @property
    def pixel(self) -> np.ndarray:
        """The size of a pixel f64 [2]."""
        return np.array(dicom.attribute(self.header, self.frame, *dicom.SPACING), float)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def size(self) -> str:
        """The number of pixels and their size, in words."""
        height, width = self.shape
        return f"{height} x {width} pixels of {self.pixel[0]:g} x {self.pixel[1]:g} mm"

    def __str__(self) -> str:
        return f"{self.path}{f', frame {self.frame}' * (dicom.count_frames(self.header) > 1)}"


def find(
    path: pathlib.Path, files: Sequence[pathlib.Path], series: str | None
) -> tuple[list[Frame], Geometry]:
    """Returns the slices of one series, sorted along the normal of their plane, and their places.

    Raises:
        InputError: there are several series and none is chosen, or the files of the series are not
            the parallel slices of one volume.
    """
    by_series = grouped(files)
    frames = _choose(path, by_series, series)
    for frame in frames:
        with dicom.reading(frame.path, REMEDY):
            _check(frame, frames[0])
    check_count(path, len(frames))
    return _sort(frames)


def grouped(files: Sequence[pathlib.Path]) -> dict[str, list[Frame]]:
    """Returns the slices of all images by their SeriesInstanceUID, in the order of the files."""
    by_series: dict[str, list[Frame]] = {}
    for file in files:
        with dicom.reading(file, REMEDY):
            header = _header(file)
            count = 0 if header is None else _count(header)
        for k in range(count):
            frame = Frame(file, header, k)
            by_series.setdefault(str(frame.header.get("SeriesInstanceUID")), []).append(frame)
    return by_series


def _header(file: pathlib.Path) -> Any:
    """Returns the header of an image; None of another object, such as a report or masks."""
    header = dicom.package().dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
    if header.file_meta.get("MediaStorageSOPClassUID") == _TABLE_OF_CONTENTS:
        return None
    kind = dicom.package().uid.UID(str(header.get("SOPClassUID") or "")).name
    if kind == "Segmentation Storage":
        return None
    if "Rows" not in header and (not kind or "Image Storage" in kind):
        raise InputError(f"has no Rows, so that it is no whole image; {REMEDY}")
    return header if "Rows" in header else None


def _count(header: Any) -> int:
    """Returns the number of frames that may have a place; what a header states may be nonsense."""
    placed = len(header.get("PerFrameFunctionalGroupsSequence") or [])
    return min(dicom.count_frames(header), max(placed, 1))


def _choose(
    path: pathlib.Path, by_series: Mapping[str, list[Frame]], series: str | None
) -> list[Frame]:
    """Returns the frames of the chosen series, or of the only one."""
    if not by_series:
        raise InputError(f"{path}: holds no DICOM images; give the folder of one series")
    if series is None and len(by_series) == 1:
        return next(iter(by_series.values()))
    if series is not None and series in by_series:
        return by_series[series]
    largest = sorted(by_series.items(), key=lambda each: -len(each[1]))
    listed = [f"{uid} ({_words(frames)})" for uid, frames in largest[:_MOST_LISTED]]
    if len(largest) > _MOST_LISTED:
        listed.append(f"and {len(largest) - _MOST_LISTED} more")
    fault = f"holds {len(by_series)} series" if series is None else f"has no series {series}"
    raise InputError(f"{path}: {fault}; choose one by series=UID: {', '.join(listed)}")


def _words(frames: Sequence[Frame]) -> str:
    header, count = frames[0].header, len(frames)
    about = " ".join(str(header.get(name) or "") for name in ("Modality", "SeriesDescription"))
    return f"{count} slice{'s' * (count > 1)}, {unicode.visible(about).strip()}"


def _check(frame: Frame, first: Frame) -> None:
    """Raises InputError unless the place of a frame is known and it fits the first one."""
    header = frame.header
    if absent := dicom_seg.unplaced(header, frame.frame):
        raise InputError(
            f"has no {' and no '.join(absent)}, so that its place is unknown; export it again, or "
            "leave it out"
        )
    dicom.spacing_mm(header, frame.frame)
    if header.get("PatientID") != first.header.get("PatientID"):
        raise InputError(f"is of another patient than {first}; leave one patient's files out")
    if header.get("FrameOfReferenceUID") != first.header.get("FrameOfReferenceUID"):
        raise InputError(f"has another frame of reference than {first}; leave one of them out")
    if frame.shape != first.shape or not np.allclose(frame.pixel, first.pixel, rtol=_SAME_SIZE):
        raise InputError(f"has {frame.size}, and {first} has {first.size}; leave one of them out")
    if not np.allclose(frame.axes, first.axes, rtol=0, atol=dicom_seg.SAME_DIRECTION):
        raise InputError(
            f"lies in another plane than {first}, as a localizer does; leave one of them out"
        )
    if dicom.count_frames(header) > 1 and frame.path != first.path:
        raise InputError(f"holds several slices, and so may {first}; give one such file by itself")


def _sort(frames: list[Frame]) -> tuple[list[Frame], Geometry]:
    first = frames[0]
    places = np.array([frame.place for frame in frames])
    order = np.argsort(places @ dicom.normal(first.axes), kind="stable")
    frames = [frames[k] for k in order]
    along, down = first.axes  # a row runs along columns
    steps = np.stack([down * first.pixel[0], along * first.pixel[1]])
    geometry = Geometry(places[order], steps)
    same = np.flatnonzero(geometry.gaps < LEAST_GAP * first.pixel.min())
    if same.size:
        one, other = frames[same[0]], frames[same[0] + 1]
        raise InputError(
            f"{one}: lies where {other} lies, the first of {same.size} such pairs of copies, or of "
            "phases; leave one slice for each position"
        )
    return frames, geometry
