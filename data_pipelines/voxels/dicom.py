"""Reads DICOM as voxels: the slices of a series, and the masks of a DICOM-SEG."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines import dicom, file_formats, folders
from data_pipelines.images import dicom as image_dicom
from data_pipelines.images import dicom_seg
from data_pipelines.images.picture import bright, extra
from data_pipelines.scans import series
from data_pipelines.scans.geometry import Geometry
from data_pipelines.voxels.grid import Grid, Voxels, nowhere, plane
from prosona_jax.types import InputError

SEGMENTATION, STRUCTURES = "Segmentation Storage", "RT Structure Set Storage"
_REMEDY = "copy it again, or export it anew"
_SEGMENT = ("SegmentIdentificationSequence", "ReferencedSegmentNumber")
_EVEN = 0.01  # of the distance of slices: positions are rounded


def kind(path: pathlib.Path) -> str:
    """Returns pydicom's name of what a DICOM file holds, such as "CT Image Storage"."""
    with dicom.reading(path, _REMEDY):
        header = dicom.package().dcmread(
            path, stop_before_pixels=True, specific_tags=["SOPClassUID"]
        )
        return str(dicom.package().uid.UID(str(header.get("SOPClassUID") or "")).name)


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns a file itself, or the DICOM files in a folder and its subfolders."""
    if not path.is_dir():
        return [path]
    return [
        file
        for file in folders.files(path)
        if file_formats.format_of(file) == "dicom" or file.suffix.lower() == ".dcm"
    ]


def read(path: pathlib.Path, uid: str | None = None) -> Voxels:
    """Returns the values of a file, or of one series in a folder and its subfolders.

    High values are bright. The unit is "HU" for CT, "" if the file leaves it open. `uid` is the
    SeriesInstanceUID, if there are several series.

    Raises:
        InputError: the files are no images, or not the evenly spaced slices of one volume.
    """
    extra("pydicom", "dicom", path)
    files = files_of(path)
    if len(files) == 1 and (single := image_dicom.load(files[0])).frames == 1:
        return _single(single)
    frames, geometry = series.find(path, files, uid)
    if geometry.affine is None:
        k = int(geometry.uneven[0]) if geometry.uneven.size else 0
        raise InputError(
            f"{path}: its slices are unevenly spaced, first after slice {k} ({frames[k]}), so that "
            "some may be missing; add them, or leave the case out"
        )
    load = functools.lru_cache(maxsize=1)(image_dicom.load)  # of a file with several frames
    planes = [bright(image_dicom.read_frame(load(each.path), each.frame, "")) for each in frames]
    unit = dicom.unit(frames[0].header, frames[0].frame)
    values = np.stack([each.image.swapaxes(0, 1) for each in planes], axis=2)
    return Voxels(values, grid_of(frames, geometry), unit)


def grid_of(frames: Sequence[series.Frame], geometry: Geometry) -> Grid:
    """Returns the grid of a series; its affine is None if slices are unevenly spaced."""
    height, width = frames[0].shape
    affine = geometry.affine
    # `Geometry` counts (slice, row, column), and voxels are (column, row, slice).
    turned = None if affine is None else affine[:, [2, 1, 0, 3]]
    return Grid((width, height, len(frames)), turned, geometry.spacing_mm[::-1])


def series_in(path: pathlib.Path) -> list[str]:
    """Returns the SeriesInstanceUID of each series of images in a folder."""
    extra("pydicom", "dicom", path)
    return list(series.grouped(files_of(path)))


def grid_in(path: pathlib.Path, uid: str) -> Grid | None:
    """Returns the grid of a series in a folder; None if its slices make up no volume."""
    try:
        return grid_of(*series.find(path, files_of(path), uid))
    except InputError:  # such as a localizer, or a single image
        return None


def referred(path: pathlib.Path) -> set[str]:
    """Returns every SeriesInstanceUID that a DICOM-SEG or an RT Structure Set refers to."""
    with dicom.reading(path, _REMEDY):
        header = dicom.package().dcmread(path, stop_before_pixels=True)
        found = {
            str(element.value)
            for element in header.iterall()
            if element.keyword == "SeriesInstanceUID"
        }
        return found - {str(header.get("SeriesInstanceUID"))}


def _single(opened: image_dicom.Opened) -> Voxels:
    """Returns a file of one frame; its place in the patient is known if the header states it."""
    picture = bright(image_dicom.read_frame(opened, 0, ""))
    turned = picture.image[..., 0].T
    with dicom.reading(opened.path, _REMEDY):
        placed = not dicom_seg.unplaced(opened.header, 0)
        unit = dicom.unit(opened.header, 0)
    spacing = picture.spacing_mm[::-1].astype(float)  # along a row, then along a column
    grid = nowhere(turned.shape)._replace(spacing_mm=np.array([*spacing, np.nan]))
    if placed:
        frame = series.Frame(opened.path, opened.header, 0)
        affine = _affine(frame.place, frame.axes, spacing, np.zeros(3))
        grid = plane((turned.shape[0], turned.shape[1]), affine, spacing)
    return Voxels(turned[..., None, None], grid, unit)


def _affine(
    place: np.ndarray, axes: np.ndarray, spacing: Sequence[float] | np.ndarray, step: np.ndarray
) -> np.ndarray:
    """Returns the affine of (i, j, k); `axes` f64 [2, 3] run along i and j, `step` along k."""
    affine = np.eye(4)
    affine[:3] = np.column_stack([axes[0] * spacing[0], axes[1] * spacing[1], step, place])
    return affine


def read_segments(path: pathlib.Path, labels: Sequence[int]) -> Voxels:
    """Returns the union of segments of a DICOM-SEG as 0 and 1; no labels: of all segments.

    A label is a segment's number. Slices without a frame are empty.

    Raises:
        InputError: the file cannot be read, lacks a position, or its frames are not parallel.
    """
    highdicom = extra("highdicom", "dicom", path)
    with dicom.reading(path, _REMEDY):
        found = highdicom.seg.segread(path)
        count = dicom.count_frames(found)
        pixels = np.asarray(found.pixel_array).reshape(count, int(found.Rows), int(found.Columns))
        frames = [series.Frame(path, found, k) for k in range(count)]
        if absent := dicom_seg.unplaced(found, 0):
            raise InputError(f"has no {' and no '.join(absent)}; {_REMEDY}")
        drawn = np.stack([_drawn(found, k, plane_, labels) for k, plane_ in enumerate(pixels)])
        first = frames[0]
        if not all(
            np.allclose(each.axes, first.axes, atol=dicom_seg.SAME_DIRECTION) for each in frames
        ):
            raise InputError(f"its frames are not parallel; {_REMEDY}")
        return _stacked(found, frames, drawn)


def _drawn(found: Any, k: int, pixels: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Returns where a frame shows one of the segments, bool [row, column]."""
    if found.SegmentationType == "LABELMAP":
        return np.isin(pixels, labels) if len(labels) else pixels > 0
    if len(labels) and dicom.attribute(found, k, *_SEGMENT) not in labels:
        return np.zeros(pixels.shape, bool)
    most = int(found.get("MaximumFractionalValue") or 1)
    return 2 * pixels > most if found.SegmentationType == "FRACTIONAL" else pixels > 0


def _stacked(found: Any, frames: list[series.Frame], drawn: np.ndarray) -> Voxels:
    """Returns frames as a volume: those at one position are joined, and gaps are empty."""
    first = frames[0]
    normal = dicom.normal(first.axes)
    heights = np.array([frame.place @ normal for frame in frames])
    gaps = np.diff(np.unique(np.round(heights, 3)))
    stated = dicom.numbers(dicom.attribute(found, 0, *dicom.GAP), "SpacingBetweenSlices", 1)
    thick = dicom_seg.thickness(found, 0)
    gap = abs(stated[0]) if stated and stated[0] else float(min(gaps, default=thick or 1.0))
    steps = (heights - heights.min()) / gap
    indices = np.round(steps).astype(int)
    if np.abs(steps - indices).max() > _EVEN * max(1, indices.max()):
        raise InputError(f"its frames are unevenly spaced; {_REMEDY}")
    values = np.zeros((*drawn.shape[:0:-1], int(indices.max()) + 1), bool)
    for index, plane_ in zip(indices, drawn, strict=True):
        values[..., index] |= plane_.T
    lowest = frames[int(heights.argmin())]
    spacing = first.pixel[::-1]
    affine = _affine(lowest.place, first.axes, spacing, normal * gap)
    return Voxels(values[..., None], Grid(values.shape, affine, np.array([*spacing, gap])))
