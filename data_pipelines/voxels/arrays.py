"""Reads one array of an HDF5 or npz file as voxels; the file is `FILE` and the array `FILE:KEY`.

A 3-D array is [slice, row, column], and a 2-D one [row, column], as NumPy users store them. A last
axis may hold channels, see `channels`.
"""

import pathlib
import zipfile
from typing import Any

import numpy as np

from data_pipelines import file_formats, npz
from data_pipelines.images.picture import extra, unreadable
from data_pipelines.voxels import channels
from data_pipelines.voxels.grid import Voxels, nowhere
from prosona_jax.types import InputError


def keys(path: pathlib.Path) -> list[str]:
    """Returns the names of the arrays of a file, sorted.

    Raises:
        InputError: the file is neither HDF5 nor npz, or is damaged.
    """
    kind = _kind(path)
    if kind == "npz":
        try:
            with zipfile.ZipFile(path) as file:
                return sorted(name.removesuffix(".npy") for name in file.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise unreadable(path, error) from error
    package = extra("h5py", "hdf5", path)
    try:
        with package.File(path, "r") as file:
            found: list[str] = []
            file.visititems(
                lambda name, item: found.append(name) if hasattr(item, "shape") else None
            )
    except Exception as error:  # on damaged bytes the package may raise anything
        raise unreadable(path, error) from error
    return sorted(found)


def read(path: pathlib.Path, key: str, count: int = 0) -> Voxels:
    """Returns an array.

    Args:
        path: the file.
        key: name of the array.
        count: number of channels that are asked for; 0: it is not known.

    Raises:
        InputError: the array is missing, or is not of real numbers in 2-D or 3-D with channels.
    """
    values: Any = None
    if _kind(path) == "npz":
        values = npz.read(path, (key,)).get(key)
    else:
        package = extra("h5py", "hdf5", path)
        try:
            with package.File(path, "r") as file:
                values = np.asarray(file[key]) if key in file else None
        except Exception as error:  # on damaged bytes the package may raise anything
            raise unreadable(path, error) from error
    if values is None:
        raise InputError(f"{path}: holds no array {key!r}; add it")
    if values.ndim not in (2, 3, 4) or not values.size or values.dtype.kind not in "biuf":
        raise InputError(
            f"{path}:{key}: is {values.dtype} {list(values.shape)}; store real numbers as "
            "[row, column], [slice, row, column] or [slice, row, column, channel]"
        )
    if values.ndim == 2 or (values.ndim == 3 and count > 1 and values.shape[2] == count):
        values = values[None]
    values = values if values.ndim == 4 else values[..., None]
    channels.check(f"{path}:{key}", values.shape[3])
    turned = values.transpose(2, 1, 0, 3)
    return Voxels(turned, nowhere(turned.shape))


def _kind(path: pathlib.Path) -> str:
    kind = file_formats.format_of(path, ("npz", "hdf5"))
    if not kind:
        raise InputError(
            f"{path}: is {file_formats.words(path) or 'of an unknown format'}, and no HDF5 or npz "
            "file; write it again"
        )
    return kind
