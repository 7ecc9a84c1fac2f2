"""Distances in mm between the surfaces of two masks of a volume, or the contours of an image.

A surface voxel is a voxel of the mask with a face neighbour that is not of the mask; beyond the
array there is none. The distance of a surface voxel from the other mask is that of its centre to
the centre of the nearest surface voxel of the other mask. In an image, pixels and edges take the
place of voxels and faces.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage


class Surface(NamedTuple):
    """The surface of a mask that is not empty."""

    voxels: Bool[np.ndarray, "*size"]
    distance_mm: Float[np.ndarray, "*size"]  # from every voxel's centre to the nearest of them


class Distances(NamedTuple):
    """How far two surfaces lie apart, mm; the order of the two does not matter."""

    hd95_max: float  # the larger of the two directions' 95th percentiles
    assd: float  # mean over the surface voxels of both masks


def of_masks(
    masks: Bool[np.ndarray, " m *size"], spacing_mm: Float[np.ndarray, " axes"]
) -> list[Surface | None]:
    """Returns the surface of each mask, None for an empty one; all lie in one common box.

    Args:
        masks: masks on one grid of two or three axes.
        spacing_mm: size of a voxel along each axis, (slice, row, column) or (row, column).
    """
    if not masks.any():
        return [None] * len(masks)
    (box,) = ndimage.find_objects(masks.any(axis=0).astype(np.uint8))
    return [_surface(mask[box], np.asarray(spacing_mm, float)) for mask in masks]


def _surface(mask: np.ndarray, spacing_mm: np.ndarray) -> Surface | None:
    if not mask.any():
        return None
    faces = ndimage.generate_binary_structure(mask.ndim, 1)
    voxels = mask & ~ndimage.binary_erosion(mask, faces, border_value=0)
    return Surface(voxels, ndimage.distance_transform_edt(~voxels, sampling=spacing_mm))


def between(one: Surface | None, other: Surface | None) -> Distances:
    """Returns the distances between two surfaces of one box, NaN if one mask is empty.

    With the distances D_ab of the surface voxels of a from b, and D_ba of those of b from a:

        hd95_max = max(P95(D_ab), P95(D_ba))
        assd     = (sum D_ab + sum D_ba) / (|D_ab| + |D_ba|)
    """
    if one is None or other is None:
        return Distances(np.nan, np.nan)
    there, back = other.distance_mm[one.voxels], one.distance_mm[other.voxels]
    return Distances(
        hd95_max=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        assd=float(np.concatenate([there, back]).mean()),
    )
