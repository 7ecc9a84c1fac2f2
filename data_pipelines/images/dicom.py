"""Reads one frame of a DICOM file, and writes its masks as the segments of one DICOM-SEG.

If the header lacks an attribute that a DICOM-SEG needs, each mask becomes a PNG file instead.
"""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import dicom, folders, percentiles
from data_pipelines.images import dicom_seg
from data_pipelines.images.given import values
from data_pipelines.images.picture import Asked, Picture, bright, choose_slice, extra

LEAST_GAP = 0.1  # in pixels; frames closer than this show the same slice
_SERIES_TAGS = ["SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient"]
_REMEDY = "copy it again, or export it as a DICOM file"


class Opened(NamedTuple):
    """A file that holds gray pixels."""

    path: pathlib.Path
    header: Any  # the data set
    frames: int  # number of frames
    caveats: tuple[str, ...]


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads one frame; see `images.read`."""
    opened = load(path)
    frame = choose_slice(path, opened.frames, asked.slice_index)
    picture = read_frame(opened, frame, asked.unit)
    if opened.frames == 1:
        return picture
    return picture._replace(
        window=percentiles.window(functools.partial(_frames, opened, asked.unit))
    )


def _frames(opened: Opened, unit: str | None) -> Iterator[np.ndarray]:
    """Yields the values of all frames, bright high values."""
    for frame in range(opened.frames):
        yield values(bright(read_frame(opened, frame, unit)))


def load(path: pathlib.Path) -> Opened:
    """Reads a file without decoding its pixels; InputError if it holds no gray pixels."""
    extra("pydicom", "dicom", path)
    extra("highdicom", "dicom", path)  # if it is missing, this fails before a model runs
    caveats: tuple[str, ...] = ()
    with dicom.reading(path, _REMEDY):
        header = dicom.package().dcmread(path)
        if not header.get("PhotometricInterpretation"):
            caveats = ("PhotometricInterpretation is empty: high values are taken for bright.",)
        dicom.check_image(header)
        return Opened(path, header, dicom.count_frames(header), caveats)


def read_frame(opened: Opened, frame: int, unit: str | None) -> Picture:
    """Returns one frame of a loaded file; the unit is used if the file does not state one.

    The slope and intercept, or the table, of the file are applied, which gives HU for CT.
    """
    path, header, _, caveats = opened
    with dicom.reading(path, _REMEDY):
        unit = dicom.unit(header, frame) or unit or "arbitrary"
        image = dicom.values(header, frame, hounsfield=unit == "HU")
        spacing = dicom.spacing_mm(header, frame)
        absent = dicom_seg.absent(header, frame)
        if not absent:
            caveats += _complete_thickness(path, header, frame)
            absent = [] if dicom_seg.thickness(header, frame) else ["SliceThickness"]
    if absent:
        caveats += (
            f"No DICOM-SEG: the header has no {' and no '.join(absent)}, so the masks are PNG "
            "files of this slice's pixels.",
        )
    return Picture(
        image[..., None],
        unit,
        spacing,
        path,
        "raster" if absent else "dicom",
        dicom_seg.Slice(header, frame),
        caveats,
        inverted=dicom.is_inverted(header),
    )


def _complete_thickness(path: pathlib.Path, header: Any, frame: int) -> tuple[str, ...]:
    """Sets a missing SliceThickness to the distance to the next slice; returns a caveat.

    A DICOM-SEG needs a thickness. If slices touch, their distance is their thickness.
    """
    if dicom_seg.thickness(header, frame) is not None:
        return ()
    gap = dicom.numbers(dicom.attribute(header, frame, *dicom.GAP), "SpacingBetweenSlices", 1)
    if gap and gap[0]:
        thickness, source = abs(gap[0]), "SpacingBetweenSlices"
    else:
        distances = _distances(path, header, frame)
        if not distances:
            return ()
        thickness, source = min(distances), "the distance to the next slice"
    dicom.holder(header, frame, dicom.THICKNESS[0]).SliceThickness = round(thickness, 6)
    return (f"SliceThickness is missing: {source}, {thickness:g} mm, is taken for it.",)


def _distances(path: pathlib.Path, header: Any, frame: int) -> list[float]:
    """Returns the distances in mm to the other slices of the series, above and below.

    These slices are other frames of the file, or other files of the same folder.
    """
    orientation = np.array(dicom.attribute(header, frame, *dicom.ORIENTATION), float)
    own = np.array(dicom.attribute(header, frame, *dicom.POSITION), float)
    planes = [
        (
            dicom.attribute(header, k, *dicom.POSITION),
            dicom.attribute(header, k, *dicom.ORIENTATION),
        )
        for k in range(dicom.count_frames(header))
    ]
    if len(planes) == 1:
        planes = _neighbours(path, header)
    apart = [
        abs(float(dicom.normal(orientation) @ (np.array(position, float) - own)))
        for position, turned in planes
        if position and turned and len(position) == 3 and len(turned) == 6
        if np.allclose(np.array(turned, float), orientation, rtol=0, atol=dicom_seg.SAME_DIRECTION)
    ]
    least = LEAST_GAP * float(dicom.spacing_mm(header, frame).min())
    return [distance for distance in apart if distance > least]


def _neighbours(path: pathlib.Path, header: Any) -> list[tuple[Any, Any]]:
    """Returns position and orientation of the files of this series in the same folder."""
    planes = []
    for file in folders.entries(path.parent):
        try:
            other = dicom.package().dcmread(
                file, stop_before_pixels=True, specific_tags=_SERIES_TAGS
            )
        except Exception:  # not every file of a folder is DICOM
            continue
        if other.get("SeriesInstanceUID") == header.SeriesInstanceUID:
            planes.append((other.get("ImagePositionPatient"), other.get("ImageOrientationPatient")))
    return planes


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one DICOM-SEG that refers to the slice; see `dicom_seg`."""
    path, (header, frame) = picture.path, picture.origin
    with dicom.reading(path, _REMEDY):
        gap = dicom.numbers(dicom.attribute(header, frame, *dicom.GAP), "SpacingBetweenSlices", 1)
    content = dicom_seg.encode(
        path,
        [picture.origin],
        masks[:, None],
        names,
        notes,
        gap_mm=abs(gap[0]) if gap and gap[0] else None,
    )
    return {f"{stem}_masks.dcm": content}
