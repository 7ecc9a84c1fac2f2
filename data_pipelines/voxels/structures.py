"""Reads the contours of a DICOM RT Structure Set as a mask on the voxels of their image."""

import pathlib
from collections.abc import Sequence

import numpy as np
from skimage.draw import polygon

from data_pipelines import dicom
from data_pipelines.images.picture import extra
from data_pipelines.voxels.grid import Grid
from prosona_jax.types import InputError

_REMEDY = "copy it again, or export it anew"
_FLAT = 0.5  # of a slice: points of one contour lie on one slice


def read(path: pathlib.Path, labels: Sequence[int], grid: Grid) -> np.ndarray:
    """Returns the union of structures bool [i, j, k]; no labels: of all structures.

    A label is a structure's number. A voxel is inside a structure if its middle is inside an odd
    number of the structure's contours, so that a contour within another one is a hole.

    Raises:
        InputError: the place of the image is unknown, a contour is not closed and planar, lies
            between slices, or all contours lie beside the image.
    """
    extra("pydicom", "dicom", path)
    if grid.affine is None:
        raise InputError(
            f"{path}: holds contours in mm of the patient, and its image lies at an unknown place; "
            "store masks"
        )
    from_mm = np.linalg.inv(grid.affine)
    mask, outside, inside = np.zeros(grid.shape, bool), 0, 0
    with dicom.reading(path, _REMEDY):
        found = dicom.package().dcmread(path)
        for structure in found.get("ROIContourSequence") or []:
            if len(labels) and int(structure.ReferencedROINumber) not in labels:
                continue
            drawn = np.zeros(grid.shape, bool)
            for contour in structure.get("ContourSequence") or []:
                if contour.get("ContourGeometricType", "CLOSED_PLANAR") != "CLOSED_PLANAR":
                    continue
                points = np.array(contour.ContourData, float).reshape(-1, 3)
                voxels = points @ from_mm[:3, :3].T + from_mm[:3, 3]
                filled = _fill(voxels, grid)
                outside, inside = outside + (not filled), inside + bool(filled)
                for place in filled:
                    drawn[place] ^= True
            mask |= drawn
    if outside and not inside:
        raise InputError(
            f"{path}: lies beside its image, as if it were of another patient: all of its contours "
            f"lie outside of {grid}; pair it with its own image"
        )
    return mask


def _fill(voxels: np.ndarray, grid: Grid) -> list[tuple]:
    """Returns where the voxels inside one contour are, as indices; empty: outside of the image."""
    axis = grid.axis
    along = voxels[:, axis]
    if np.ptp(along) > _FLAT:
        raise InputError("has contours in another plane than the slices of its image; store masks")
    k = int(np.round(along.mean()))
    if not 0 <= k < grid.shape[axis]:
        return []
    one, other = (a for a in range(3) if a != axis)
    rows, columns = polygon(voxels[:, one], voxels[:, other], (grid.shape[one], grid.shape[other]))
    place: list = [None, None, None]
    place[axis], place[one], place[other] = k, rows, columns
    return [tuple(place)] if len(rows) else []
