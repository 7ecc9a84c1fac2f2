"""Reads the slices of one DICOM series, and writes masks as one DICOM-SEG that refers to them.

If the headers lack an attribute that a DICOM-SEG needs, masks become PNG files instead.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines import dicom
from data_pipelines.images import dicom as image_dicom
from data_pipelines.images import dicom_seg
from data_pipelines.images.given import Given
from data_pipelines.images.picture import Picture, extra
from data_pipelines.scans import series
from data_pipelines.scans.geometry import Geometry
from data_pipelines.scans.scan import Asked, Scan

_MOST_GAPS = 3  # that a caveat lists


def read(path: pathlib.Path, files: Sequence[pathlib.Path], asked: Asked) -> Scan:
    """Returns the scan; see `scans.read`."""
    for package in ("pydicom", "highdicom"):  # if one is missing, this fails before a model runs
        extra(package, "dicom", path)
    frames, geometry = series.find(path, files, asked.series)
    gap = float(geometry.spacing_mm[0])
    caveats = _gaps(geometry)
    absent: list[str] = []
    thin = False
    for each in frames:
        with dicom.reading(each.path, series.REMEDY):
            absent += dicom_seg.absent(each.header, each.frame)
            thin |= dicom_seg.thickness(each.header, each.frame) is None
    if thin:
        caveats.append(f"SliceThickness is missing: the distance of slices, {gap:g} mm, is taken.")
    if absent:
        caveats.append(
            f"No DICOM-SEG: a header has no {' and no '.join(dict.fromkeys(absent))}, so the masks "
            "are PNG files of each slice's pixels."
        )
    # A file with several frames is loaded once, as long as its slices are read.
    load = functools.lru_cache(maxsize=1)(image_dicom.load)
    return Scan(
        path=path,
        format="raster" if absent else "dicom",
        count=len(frames),
        shape=frames[0].shape,
        spacing_mm=geometry.spacing_mm,
        geometry=geometry,
        caveats=tuple(caveats),
        files=tuple(dict.fromkeys(each.path for each in frames)),
        read_slice=functools.partial(_slice, frames, load, asked.given, gap),
        origin=None if absent else frames,
    )


def _gaps(geometry: Geometry) -> list[str]:
    """Returns a caveat on slices that are not evenly spaced."""
    if geometry.affine is not None:
        return []
    gaps, usual = geometry.gaps, geometry.spacing_mm[0]
    wide = [f"{gaps[k]:.4g} mm between slices {k} and {k + 1}" for k in geometry.uneven]
    listed = ", ".join(wide[:_MOST_GAPS]) or "not at equal distances on a line"
    more = f", and {len(wide) - _MOST_GAPS} more" if len(wide) > _MOST_GAPS else ""
    return [
        f"Slices unevenly spaced: usually {usual:.4g} mm, but {listed}{more}. Slices may be "
        "missing. Masks are drawn on those that are there, at their own positions."
    ]


def _slice(
    frames: Sequence[series.Frame],
    load: Callable[[pathlib.Path], image_dicom.Opened],
    given: Given,
    gap: float,
    k: int,
) -> Picture:
    path, _, frame = frames[k]
    opened = load(path)
    with dicom.reading(path, series.REMEDY):
        _complete(opened.header, frame, gap)
    picture = given.state(image_dicom.read_frame(opened, frame, given.stored_unit))
    return picture._replace(slice_index=frame if opened.frames > 1 else None)


def _complete(header: Any, frame: int, gap: float) -> None:
    """Sets a missing SliceThickness to the distance of slices, as `images.dicom` would find it."""
    if dicom_seg.thickness(header, frame) is None:
        dicom.holder(header, frame, dicom.THICKNESS[0]).SliceThickness = round(gap, 6)


def encode(
    scan: Scan,
    stem: str,
    masks: Mapping[int, np.ndarray],
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns one DICOM-SEG with the masks that are not empty, and the slices that they lie on."""
    drawn = [k for k, each in masks.items() if each.any()] or [0]
    gap = float(scan.spacing_mm[0])
    slices = headers(scan, drawn)
    for each in slices:
        _complete(*each, gap)
    empty = np.zeros((len(names), *scan.shape), np.uint8)
    content = dicom_seg.encode(
        scan.path,
        slices,
        np.stack([masks.get(k, empty) for k in drawn], axis=1),
        names,
        notes,
        gap_mm=gap if scan.affine is not None else None,
        omit_empty=True,
    )
    return {f"{stem}_masks.dcm": content}


def headers(scan: Scan, drawn: Sequence[int]) -> list[dicom_seg.Slice]:
    """Returns the whole headers of slices; frames of one file share theirs."""
    loaded: dict[pathlib.Path, Any] = {}
    for path in dict.fromkeys(scan.origin[k].path for k in drawn):
        with dicom.reading(path, series.REMEDY):
            loaded[path] = dicom.package().dcmread(path, stop_before_pixels=True)
    return [dicom_seg.Slice(loaded[scan.origin[k].path], scan.origin[k].frame) for k in drawn]
