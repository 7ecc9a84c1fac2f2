"""Finds a point of a scan that is given as voxel or in mm of the patient.

| frame | the three numbers | |
|---|---|---|
| `index` | slice, row, column | counted from 0, as this package counts |
| `xyz` | column, row, slice | the same voxel in the order of a viewer |
| `LPS` | x, y, z in mm | as DICOM and ITK: x to the left, y to the back, z to the head |
| `RAS` | x, y, z in mm | as NIfTI and 3D Slicer: x to the right, y to the front, z to the head |
"""

import math
from collections.abc import Sequence

import numpy as np

from data_pipelines.scans.geometry import Geometry
from data_pipelines.scans.scan import Scan
from prosona_jax.types import InputError

FRAMES = ("index", "xyz", "LPS", "RAS")
_RAS = np.array([-1.0, -1.0, 1.0])
_HALF = 0.5 + 1e-6  # a pixel reaches half its size around its middle


def locate(
    scan: Scan, point: str | Sequence[float], frame: str = "index"
) -> tuple[int, float, float]:
    """Returns (slice, row, column) of a point: the nearest slice, and the place on it.

        >>> scans.locate(scan, "-52.3,18.1,-115", "LPS")  # doctest: +SKIP
        (7, 269.9, 161.7)

    Args:
        scan: a scan from `scans.read`.
        point: three numbers, or a text such as "57,210,143".
        frame: what the numbers mean; see the module.

    Raises:
        InputError: these are not three numbers, the point is outside of the scan or in a gap of
            it, or the scan's place in the patient is unknown.
    """
    if frame not in FRAMES:
        raise InputError(f"{scan.path}: the frame of a point is {frame!r}; choose one of {FRAMES}")
    numbers = _numbers(scan, point)
    if frame in ("LPS", "RAS"):
        return _in_patient(scan, numbers, frame)
    at, row, column = numbers if frame == "index" else reversed(numbers)
    if not (-_HALF <= at <= scan.count - 1 + _HALF and _is_within(scan, row, column)):
        height, width = scan.shape
        limits = [f"slice 0..{scan.count - 1}", f"row 0..{height - 1}", f"column 0..{width - 1}"]
        named = limits if frame == "index" else limits[::-1]
        raise InputError(
            f"{scan.path}: the point {_shown(numbers)} is outside of the scan; give "
            f"{', '.join(named)}"
        )
    k = min(max(math.floor(at + 0.5), 0), scan.count - 1)
    return (k, *_clipped(scan, row, column))


def _in_patient(scan: Scan, numbers: Sequence[float], frame: str) -> tuple[int, float, float]:
    geometry = scan.geometry
    if geometry is None:
        raise InputError(
            f"{scan.path}: does not state where its slices lie in the patient; give the point as "
            "slice,row,column (the frame 'index')"
        )
    signs = _RAS if frame == "RAS" else np.ones(3)
    k, row, column, apart = geometry.nearest(np.array(numbers) * signs)
    if apart > _HALF * scan.spacing_mm[0] or not _is_within(scan, row, column):
        raise InputError(
            f"{scan.path}: the point {_shown(numbers)} in mm of {frame} is outside of the scan: it "
            f"is {apart:.4g} mm from the nearest slice, {k}, at its row {row:.4g} of "
            f"{scan.shape[0]} and column {column:.4g} of {scan.shape[1]}; the scan spans "
            f"{_span(geometry, scan.shape, signs)}"
        )
    return (k, *_clipped(scan, row, column))


def _span(geometry: Geometry, shape: tuple[int, int], signs: np.ndarray) -> str:
    """Returns the lowest and highest x, y and z of all slices in words."""
    corners = [
        geometry.place(k, row, column) * signs
        for k in range(len(geometry.positions))
        for row in (0, shape[0] - 1)
        for column in (0, shape[1] - 1)
    ]
    ends = zip("xyz", np.min(corners, axis=0), np.max(corners, axis=0), strict=True)
    return ", ".join(f"{name} {low:.6g} to {high:.6g}" for name, low, high in ends)


def _numbers(scan: Scan, point: str | Sequence[float]) -> list[float]:
    try:
        numbers = [float(each) for each in (point.split(",") if isinstance(point, str) else point)]
    except ValueError:
        numbers = []
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{scan.path}: the point is {point!r}; give three numbers, such as 57,210,143"
        )
    return numbers


def _is_within(scan: Scan, row: float, column: float) -> bool:
    height, width = scan.shape
    return -_HALF <= row <= height - 1 + _HALF and -_HALF <= column <= width - 1 + _HALF


def _clipped(scan: Scan, row: float, column: float) -> tuple[float, float]:
    """Returns the place on a slice between the middles of its first and last pixels."""
    height, width = scan.shape
    return min(max(row, 0.0), height - 1.0), min(max(column, 0.0), width - 1.0)


def _shown(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:.6g}" for number in numbers)
