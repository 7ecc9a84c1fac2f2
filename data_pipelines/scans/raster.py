"""Reads a folder of PNG, TIFF or JPEG files, one for each slice, and writes masks as PNG."""

import functools
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import raster
from data_pipelines.images import picture as of_image
from data_pipelines.images import raster as image_raster
from data_pipelines.images.given import Given
from data_pipelines.images.picture import Picture, file_stem
from data_pipelines.scans.scan import Asked, Scan, check_count
from prosona_jax.types import InputError


def read(path: pathlib.Path, files: Sequence[pathlib.Path], asked: Asked) -> Scan:
    """Returns the scan; see `scans.read`."""
    check_count(path, len(files))
    files = sorted(files, key=_natural)
    labels: dict[str, pathlib.Path] = {}
    shape = (0, 0)
    for file in files:
        pages, size = raster.measure(file)
        shape = size if file == files[0] else shape
        if pages > 1:
            raise InputError(f"{file}: holds {pages} images; save each slice as a file of its own")
        if size != shape:
            raise InputError(
                f"{file}: has {size[0]} x {size[1]} pixels, and {files[0].name} has {shape[0]} x "
                f"{shape[1]}; leave only slices of one size in the folder"
            )
        other = labels.setdefault(file_stem(file.stem), file)
        if other != file:  # their masks would get one name
            raise InputError(f"{file}: has the name of {other.name}; keep one of the two files")
    caveats = [
        f"Order of slices assumed: by the numbers in their names, {files[0].name} to "
        f"{files[-1].name}; PNG and TIFF do not state it."
    ]
    if asked.spacing_mm is None:
        caveats.append("Spacing unknown: PNG and TIFF do not state sizes in mm.")
    return Scan(
        path=path,
        format="raster",
        count=len(files),
        shape=shape,
        spacing_mm=np.array(asked.spacing_mm or [np.nan] * 3, float),
        geometry=None,
        caveats=tuple(caveats),
        files=tuple(files),
        read_slice=functools.partial(_slice, files, asked.given),
        origin=tuple(labels),
    )


def _slice(files: Sequence[pathlib.Path], given: Given, k: int) -> Picture:
    picture = image_raster.read(files[k], of_image.Asked(None, None, given.stored_unit))
    return given.state(picture)


def encode(
    scan: Scan,
    stem: str,
    masks: Mapping[int, np.ndarray],
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns K PNG files of 0 and 255 for each slice in `masks`.

    They are named after the slice's file, or, of DICOM, after its number.
    """
    files: dict[str, bytes] = {}
    for k, each in masks.items():
        own = scan.origin[k] if scan.origin else f"{stem}_{k:04d}"
        files |= image_raster.pngs(own, each, names, notes)
    return files


def _natural(file: pathlib.Path) -> list[tuple[int, str]]:
    """Returns what sorts 9.png before 10.png."""
    parts = re.findall(r"(\d+)|(\D+)", file.name)
    return [(int(digits or -1), letters) for digits, letters in parts]
