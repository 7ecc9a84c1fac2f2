"""Reads an NRRD file, 2-D or 3-D, as voxels."""

import pathlib
from typing import Any

import numpy as np

from data_pipelines.images.picture import extra, unreadable
from data_pipelines.voxels.grid import Grid, Voxels, nowhere, plane
from prosona_jax.types import InputError

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
    except Exception as error:  # on damaged bytes the package may raise anything
        raise unreadable(path, error) from error
    if values.ndim not in (2, 3) or not values.size or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path}: is {values.dtype} {list(values.shape)}; store real numbers in 2-D or 3-D "
            "(of a segmentation in layers, export one label map)"
        )
    return Voxels(np.atleast_3d(values), _grid(path, values.shape, header))


def _grid(path: pathlib.Path, shape: tuple[int, ...], header: Any) -> Grid:
    directions = header.get("space directions")
    if directions is None:
        sizes = header.get("spacings")
        grid = nowhere(shape)
        return grid if sizes is None else grid._replace(spacing_mm=np.array([*sizes, np.nan])[:3])
    space = str(header.get("space", "")).lower()
    signs = _TO_LPS.get(space)
    edges = np.array(directions, float).T
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
