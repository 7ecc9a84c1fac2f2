"""Reads a PNG, JPEG or TIFF file as voxels; the pages of a TIFF are slices."""

import pathlib

import numpy as np

from data_pipelines import raster
from data_pipelines.images import raster as image_raster
from data_pipelines.images.picture import Asked, bright
from data_pipelines.voxels.grid import Voxels, nowhere
from prosona_jax.types import InputError

_COLOURS, _WHITE = 3, 255  # red, green and blue of 8 bits


def read(path: pathlib.Path, unit: str, channels: int) -> Voxels:
    """Returns gray values: scaled to 0..1, or, with another `unit` than "" or "unit", as stored.

    Colour becomes luminance, or, if three channels are asked for, red, green and blue.
    """
    pages = range(raster.count_pages(path))
    colours = [each for page in pages if (each := raster.read_colours(path, page)) is not None]
    if channels == _COLOURS and len(colours) == len(pages):
        values = _stack(path, colours)
        white = np.float32(_WHITE if unit in ("", "unit") else 1)
        return Voxels(values / white, nowhere(values.shape), unit or "unit")
    pictures = [bright(image_raster.read(path, Asked(page, None, unit or None))) for page in pages]
    values = _stack(path, [picture.image for picture in pictures])
    coloured = any((each != each[..., :1]).any() for each in colours)
    return Voxels(values, nowhere(values.shape), pictures[0].intensity_unit, coloured)


def read_labels(path: pathlib.Path) -> Voxels:
    """Returns the gray values of a mask, at least 1 where a pixel is not black.

    Raises:
        InputError: it is a JPEG, or cannot be read as a mask, see `raster.read_mask`.
    """
    pages = raster.count_pages(path)
    planes = [raster.read_gray(path, page).values for page in range(pages)]
    if pages == 1:
        planes = [np.where(raster.read_mask(path), np.maximum(planes[0], 1), 0)]
    values = _stack(path, [plane[..., None] for plane in planes])
    return Voxels(values, nowhere(values.shape))


def _stack(path: pathlib.Path, planes: list[np.ndarray]) -> np.ndarray:
    """Returns planes [row, column, C] as [i, j, k, C]."""
    if len({plane.shape for plane in planes}) > 1:
        raise InputError(f"{path}: its pages differ in size; save each image as a file of its own")
    return np.stack([plane.swapaxes(0, 1) for plane in planes], axis=2)
