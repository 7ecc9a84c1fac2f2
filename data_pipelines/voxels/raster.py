"""Reads a PNG, JPEG or TIFF file as voxels; the pages of a TIFF are slices."""

import pathlib

import numpy as np

from data_pipelines import raster
from data_pipelines.images import raster as image_raster
from data_pipelines.images.picture import Asked, bright
from data_pipelines.voxels.grid import Voxels, nowhere
from prosona_jax.types import InputError


def read(path: pathlib.Path, unit: str) -> Voxels:
    """Returns gray values: scaled to 0..1, or, with another `unit` than "" or "unit", as stored."""
    pictures = [
        bright(image_raster.read(path, Asked(page, None, unit or None)))
        for page in range(raster.count_pages(path))
    ]
    values = _stack(path, [picture.image[..., 0] for picture in pictures])
    return Voxels(values, nowhere(values.shape), pictures[0].intensity_unit)


def read_labels(path: pathlib.Path) -> Voxels:
    """Returns the gray values of a mask, at least 1 where a pixel is not black.

    Raises:
        InputError: it is a JPEG, or cannot be read as a mask, see `raster.read_mask`.
    """
    pages = raster.count_pages(path)
    planes = [raster.read_gray(path, page).values for page in range(pages)]
    if pages == 1:
        planes = [np.where(raster.read_mask(path), np.maximum(planes[0], 1), 0)]
    values = _stack(path, planes)
    return Voxels(values, nowhere(values.shape))


def _stack(path: pathlib.Path, planes: list[np.ndarray]) -> np.ndarray:
    """Returns planes [row, column] as [i, j, k]."""
    if len({plane.shape for plane in planes}) > 1:
        raise InputError(f"{path}: its pages differ in size; save each image as a file of its own")
    return np.stack([plane.T for plane in planes], axis=2)
