"""Reads an NRRD file, 2-D or 3-D, as voxels; a further axis holds channels."""

import math
import pathlib
from typing import Any

import numpy as np

from data_pipelines.images.picture import extra, unreadable
from data_pipelines.voxels import channels
from data_pipelines.voxels.grid import Grid, Voxels, nowhere, plane
from prosona_jax.types import InputError

_OF_SPACE = ("domain", "space", "???", "none")  # kinds of axes; "???" and "none": not stated
_TO_LPS = {  # {space: signs of x, y and z}
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1, 1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1, 1)),
}


def read(path: pathlib.Path) -> Voxels:
    """Returns the values; the file does not state their unit."""
    package = extra("nrrd", "nrrd", path)
    try:
        values, header = package.read(str(path), index_order="F")
        return _voxels(path, values, header)
    except InputError:
        raise
    except Exception as error:  # on damaged bytes the package may raise anything
        raise unreadable(path, error) from error


def _voxels(path: pathlib.Path, values: np.ndarray, header: Any) -> Voxels:
    within = _axes_of_space(values.ndim, header)
    if "time" in header.get("kinds", ()):
        raise InputError(f"{path}: is a series over time ({list(values.shape)}); store one volume")
    if (
        len(within) not in (2, 3)
        or values.ndim > len(within) + 1
        or not values.size
        or values.dtype.kind not in "biuf"
    ):
        raise InputError(
            f"{path}: is {values.dtype} {list(values.shape)}; store real numbers in 2-D or 3-D "
            "with at most one axis of channels (of a segmentation in layers, export one label map)"
        )
    shape = tuple(values.shape[k] for k in within)
    values = np.moveaxis(values, within, range(len(within)))
    channels.check(path, math.prod(values.shape[len(within) :]))
    return Voxels(values.reshape(*(*shape, 1)[:3], -1), _grid(path, shape, within, header))


def _axes_of_space(rank: int, header: Any) -> list[int]:
    """Returns the axes along which space runs; along another one lie channels.

    It is the axis of another kind or without a direction. If none is, it is the last one of four.
    """
    kinds = header.get("kinds") or ["domain"] * rank
    directions = header.get("space directions")
    placed = np.ones(rank, bool) if directions is None else np.isfinite(directions).all(axis=1)
    return [k for k in range(rank) if kinds[k] in _OF_SPACE and placed[k]][:3]


def _grid(path: pathlib.Path, shape: tuple[int, ...], within: list[int], header: Any) -> Grid:
    """Returns the grid of an array of that shape, whose axes are those of the file `within`."""
    directions = header.get("space directions")
    if directions is None:
        sizes = header.get("spacings")
        grid = nowhere(shape)
        if sizes is None:
            return grid
        return grid._replace(spacing_mm=np.array([*np.array(sizes)[within], np.nan])[:3])
    space = str(header.get("space", "")).lower()
    signs = _TO_LPS.get(space)
    edges = np.array(directions, float)[within].T
    if edges.shape != (3, len(shape)) or (signs is None and space):
        raise InputError(
            f"{path}: its space {space!r} with directions {edges.T.tolist()} is none of "
            "left-posterior-superior, RAS and LAS in 3-D; export the file again"
        )
    sizes = np.linalg.norm(edges, axis=0)
    if signs is None:
        return nowhere(shape)._replace(spacing_mm=np.array([*sizes, np.nan])[:3])
    affine = np.eye(4)
    affine[:3, : len(shape)] = edges
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    affine[:3] *= np.array(signs)[:, None]
    if len(shape) == 2:
        return plane((shape[0], shape[1]), affine, sizes)
    return Grid((shape[0], shape[1], shape[2]), affine, sizes)
