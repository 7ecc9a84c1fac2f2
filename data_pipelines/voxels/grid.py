"""Where the voxels of an array lie in the patient, and how a mask gets onto the voxels of an image.

Arrays are indexed like a NIfTI file: [i, j, k], of which i runs along columns and j along rows. A
2-D image has one k. The values of a file have a last axis C, its channels.
"""

import itertools
import pathlib
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from data_pipelines.images import nifti_layout
from prosona_jax.types import InputError

_SNAP = 1e-3  # of a voxel: a smaller difference between two headers is rounding
_SAME_CORNER = 0.1  # of a voxel; rounded directions move a far corner
_LEAST_VOLUME = 1e-6  # of a voxel whose edges are at right angles; less is no volume


class Grid(NamedTuple):
    """The voxels of an image."""

    shape: tuple[int, int, int]
    affine: np.ndarray | None  # f64 [4, 4], from (i, j, k, 1) to patient LPS mm; None: unknown
    spacing_mm: np.ndarray  # f64 [3], size of a voxel along each axis; NaN: unknown

    @property
    def axis(self) -> int:
        """The axis along which slices are counted: that of the largest voxel size.

        See `nifti_layout`; if the sizes are unknown, it is the axis that differs from two others.
        """
        if self.shape[2] == 1:
            return 2
        stated = not np.isnan(self.spacing_mm).any()
        directions = np.eye(3) if self.affine is None else self.affine[:3, :3]
        sizes = self.spacing_mm if stated else np.ones(3)
        return nifti_layout.slice_axis(self.shape, sizes, directions, stated=stated)

    def __str__(self) -> str:
        voxels = " x ".join(map(str, self.shape))
        sizes = " x ".join(f"{size:.4g}" for size in self.spacing_mm)
        if self.affine is None:
            return f"{voxels} voxels at an unknown place"
        ends = self.corners()
        low, high = (
            ", ".join(f"{value:.4g}" for value in bound)
            for bound in (ends.min(axis=0), ends.max(axis=0))
        )
        return f"{voxels} voxels of {sizes} mm from ({low}) to ({high})"

    def corners(self) -> np.ndarray:
        """Returns the places of the eight outer voxels f64 [8, 3]; the affine must be known."""
        if self.affine is None:
            raise ValueError("a grid at an unknown place has no corners")
        ends = itertools.product(*((0, n - 1) for n in self.shape))
        return np.array(list(ends)) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def orientation(self) -> str:
        """Returns towards which side of the patient i, j and k run, such as "LPS"; "" if unknown.

        L is left, P is back (posterior), S is towards the head (superior).
        """
        if self.affine is None:
            return ""
        names = []
        for column in self.affine[:3, :3].T:
            axis = int(np.abs(column).argmax())
            names.append(("LR", "PA", "SI")[axis][int(column[axis] < 0)])
        return "".join(names)


class Voxels(NamedTuple):
    """The values of a file on their grid."""

    values: np.ndarray  # [i, j, k, C], of the file's own type
    grid: Grid
    unit: str = ""  # "HU", "unit" or "arbitrary"; "": the file does not state it
    coloured: bool = False  # the file has colours, and the values are their luminance


def checked(path: pathlib.Path, grid: Grid) -> Grid:
    """Returns a grid whose affine is a regular matrix; InputError if it is not."""
    if grid.affine is None:
        return grid
    edges = grid.affine[:3, :3]
    if not np.isfinite(grid.affine).all() or (
        abs(np.linalg.det(edges)) <= _LEAST_VOLUME * np.prod(np.linalg.norm(edges, axis=0))
    ):
        raise InputError(
            f"{path}: its affine is singular, so that its voxels have no volume "
            f"({np.round(edges, 4).tolist()}); export the file again"
        )
    return grid


def plane(shape: tuple[int, int], affine: np.ndarray | None, spacing: np.ndarray) -> Grid:
    """Returns the grid of a 2-D image [i, j]; its affine gets the normal of the plane as k."""
    if affine is not None:
        affine = affine.copy()
        across = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = across / (np.linalg.norm(across) or 1)
    return Grid((*shape, 1), affine, np.array([*spacing[:2], np.nan]))


def nowhere(shape: tuple[int, ...]) -> Grid:
    """Returns the grid of an array [i, j] or [i, j, k] whose file states no geometry."""
    i, j, k = (*shape, 1)[:3]
    return Grid((i, j, k), None, np.full(3, np.nan))


def covers_same(one: Grid, other: Grid) -> bool:
    """Returns whether two grids have the same voxels, in whatever order; False if unknown."""
    if one.affine is None or other.affine is None or sorted(one.shape) != sorted(other.shape):
        return False
    apart = np.linalg.norm(one.corners()[:, None] - other.corners(), axis=2)
    return bool(apart.min(axis=1).max() < _SAME_CORNER * np.nanmin(one.spacing_mm))


def onto(drawn: np.ndarray, own: Grid, grid: Grid, where: str) -> tuple[np.ndarray, bool]:
    """Returns a mask on the voxels of an image, and whether it had to be resampled.

    The same voxels in another order are only reordered. On another grid, each voxel of the image
    gets the value of the nearest voxel of the mask, and 0 outside of it.

    Args:
        drawn: bool [i, j, k], the mask.
        own: its grid.
        grid: the grid of its image.
        where: name of the mask's file; error messages start with it.

    Raises:
        InputError: the two do not overlap, nothing that is drawn lies on the image, the mask is 2-D
            and the image is not, or the place of one is unknown and their shapes differ.
    """
    both = f"it has {own}, its image {grid}"
    if own.shape[2] == 1 < grid.shape[2] and np.isnan(own.spacing_mm[2]):
        raise InputError(
            f"{where}: is 2-D and its image is not: {both}; store a mask of the volume, or, if the "
            "last axis of the image holds channels, name them in data.channels"
        )
    if own.affine is None or grid.affine is None:
        if own.shape != grid.shape:
            raise InputError(f"{where}: {both}; both must have the same size")
        return drawn, False
    to_own = np.linalg.inv(own.affine) @ grid.affine
    nearest = np.round(to_own)
    to_own = np.where(np.abs(to_own - nearest) < _SNAP, nearest, to_own)
    if own.shape == grid.shape and np.array_equal(to_own, np.eye(4)):
        return drawn, False
    ends = grid.corners() @ np.linalg.inv(own.affine)[:3, :3].T + np.linalg.inv(own.affine)[:3, 3]
    if (ends.max(axis=0) < -0.5).any() or (ends.min(axis=0) > np.array(own.shape) - 0.5).any():
        raise InputError(
            f"{where}: lies beside its image, as if it were of another patient: {both}; pair the "
            "mask with its own image"
        )
    on_image = ndimage.affine_transform(
        drawn.astype(np.uint8), to_own[:3, :3], to_own[:3, 3], grid.shape, order=0,
        mode="grid-constant",
    ).astype(bool)  # fmt: skip
    if drawn.any() and not on_image.any():
        raise InputError(
            f"{where}: nothing that is drawn lies on its image: {both}; pair the mask with its own "
            "image"
        )
    moved = np.abs(to_own[:3, :3])
    reordered = np.array_equal(moved, moved.astype(bool)) and (moved.sum(axis=0) == 1).all()
    whole = np.array_equal(to_own, np.round(to_own))
    same_size = sorted(own.shape) == sorted(grid.shape) and (
        np.count_nonzero(on_image) == np.count_nonzero(drawn)
    )
    return on_image, not (reordered and whole and same_size)
