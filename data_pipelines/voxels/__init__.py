"""Reads whole images and masks of any format, 2-D or 3-D, as voxels on a grid; see `grid`.

| file | image | mask |
|---|---|---|
| NIfTI, NRRD, MetaImage (.mha, .mhd) | real numbers | labels |
| PNG, TIFF; JPEG for images only | gray values, colours; pages of a TIFF are slices | gray values |
| npz, HDF5 | one array, `FILE:KEY` | one array of labels |
| folder of DICOM, or a DICOM file | the slices of the series that was drawn on | |
| DICOM-SEG, RT Structure Set | | a label is the number of a segment or structure |

The content of a file decides its format, not its name. An image may have several `channels`.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import file_formats, validation
from data_pipelines.voxels import (
    arrays,
    channels,
    dicom,
    metaimage,
    nifti,
    nrrd,
    raster,
    structures,
)
from data_pipelines.voxels.grid import Grid, Voxels, checked, covers_same, onto
from prosona_jax.types import InputError

_MOST_LABELS = 20
_READ = "NIfTI, NRRD, MetaImage, PNG, TIFF, npz, HDF5 or DICOM"
_VOLUMES = {"nifti": nifti, "nrrd": nrrd, "metaimage": metaimage}


class Drawn(NamedTuple):
    """A mask on the voxels of its image."""

    mask: np.ndarray  # bool [i, j, k]
    labels: tuple[float, ...]  # the values of the file above 0, at most the first few
    resampled: bool  # the file has another grid


def read_image(root: pathlib.Path, entry: str, unit: str, mask: str = "", count: int = 0) -> Voxels:
    """Returns the values f32 [i, j, k, C] of an image.

    Args:
        root: folder of the data set.
        entry: path within it, with `:KEY` of an array.
        unit: unit of the values if the file does not state it; "": unknown.
        mask: entry of a mask of the image, which chooses the series if a folder holds several.
        count: the number C of channels; 0: as many as the file has, one for colours.

    Raises:
        InputError: the file cannot be read, is not 2-D or 3-D, states another unit, or has another
            number of channels.
    """
    path, key = _split(root, entry)
    if key:
        found = arrays.read(path, key, count)
    elif path.is_dir():
        found = dicom.read(path, _series(path, root, mask) if mask else None)
    else:
        kind = _kind(path)
        if kind == "dicom":
            found = dicom.read(path)
        elif kind == "raster":
            found = raster.read(path, unit, count)
        else:
            found = _VOLUMES[kind].read(path)
    if unit and found.unit not in ("", unit):
        raise InputError(
            f"{root / entry}: states the unit {found.unit!r} for its values, and data.unit is "
            f"{unit!r}; leave data.unit out"
        )
    found = found._replace(
        values=validation.float32(found.values),
        grid=checked(path, found.grid),
        unit=found.unit or unit,
    )
    return channels.named(str(root / entry), found, count) if count else found


def read_mask(root: pathlib.Path, entry: str, labels: Sequence[int], grid: Grid) -> Drawn:
    """Returns a mask on the grid of its image: the voxels of one of the labels, or above 0.

    Raises:
        InputError: the file cannot be read, holds NaN or values that are no labels, has channels,
            or does not fit the image, see `grid.onto`.
    """
    path, key = _split(root, entry)
    kind = "" if key else _kind(path)
    if kind == "dicom":
        is_a = dicom.kind(path)
        if is_a == dicom.STRUCTURES:
            return Drawn(structures.read(path, labels, grid), (), False)
        if is_a != dicom.SEGMENTATION:
            raise InputError(
                f"{path}: is {is_a or 'an unknown object'}, and no mask; give a DICOM-SEG or an RT "
                "Structure Set"
            )
        found, labels = dicom.read_segments(path, labels), ()
    elif key:
        found = arrays.read(path, key)
    else:
        found = raster.read_labels(path) if kind == "raster" else _VOLUMES[kind].read(path)
    if (several := found.values.shape[3]) > 1:
        raise InputError(
            f"{root / entry}: holds {several} values at each voxel, and a mask has one; store each "
            "mask as a file of its own"
        )
    values = np.asarray(found.values)[..., 0]
    if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
        fault = "NaN" if np.isnan(values).any() else "fractions, such as of probabilities"
        raise InputError(f"{root / entry}: holds {fault}; store 0 and the labels of objects")
    drawn = np.isin(values, labels) if len(labels) else values > 0
    mask, resampled = onto(drawn, checked(path, found.grid), grid, str(root / entry))
    return Drawn(mask, tuple(np.unique(values[values > 0])[:_MOST_LABELS].tolist()), resampled)


def _series(path: pathlib.Path, root: pathlib.Path, mask: str) -> str | None:
    """Returns the SeriesInstanceUID on which a mask was drawn; None if there is one series.

    A DICOM mask names it. Other masks have the same voxels.

    Raises:
        InputError: none of the series fits the mask, or several do.
    """
    frames = dicom.series_in(path)
    if len(frames) < 2:
        return None
    file, key = _split(root, mask)
    if not key and _kind(file) == "dicom":
        fitting = [uid for uid in frames if uid in dicom.referred(file)]
    elif not key and _kind(file) in _VOLUMES:
        drawn = _VOLUMES[_kind(file)].read(file).grid
        grids = {uid: dicom.grid_in(path, uid) for uid in frames}
        fitting = [uid for uid, grid in grids.items() if grid and covers_same(grid, drawn)]
    else:
        fitting = []
    if len(fitting) != 1:
        raise InputError(
            f"{path}: holds {len(frames)} series, of which {len(fitting)} fit the mask {mask}; "
            "leave the series that was drawn on"
        )
    return fitting[0]


def _split(root: pathlib.Path, entry: str) -> tuple[pathlib.Path, str]:
    """Returns the file of an entry, and the name of the array in it, "" if the file is no array."""
    name, _, key = entry.partition(":")
    return root / name, key


def _kind(path: pathlib.Path) -> str:
    """Returns the format of a file; InputError if none of the readers takes it."""
    try:
        found = file_formats.format_of(path, file_formats.VOXELS)
        is_a = file_formats.words(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); fix that") from error
    if found in ("npz", "hdf5"):
        raise InputError(
            f"{path}: is {is_a}; name its array in the pattern, as in {{case}}.npz:KEY"
        )
    if not found:
        remedy = "copy it again" if is_a in ("", "an empty file") else f"convert it to {_READ}"
        raise InputError(f"{path}: is {is_a or 'of an unknown format, or damaged'}; {remedy}")
    return found
