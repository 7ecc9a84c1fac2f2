"""Reads NIfTI: a 2-D image, or a slice of a 3-D one; writes masks as NIfTI."""

import contextlib
import functools
import gzip
import math
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines import file_formats, percentiles, validation
from data_pipelines.images.given import values
from data_pipelines.images.nifti_layout import SAME, Layout, lay_out
from data_pipelines.images.picture import (
    Asked,
    Picture,
    choose_slice,
    extra,
    file_name,
    unreadable,
)
from prosona_jax import unicode
from prosona_jax.types import InputError

_NOTE_BYTES = 79  # length of the header's field, without the final NUL
_CHUNK = 2**20  # bytes


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads the image; see `images.read`."""
    with opened(path, asked.unit) as (volume, _):
        layout = lay_out(path, volume, asked.axis)
        index = choose_slice(path, layout.slices, asked.slice_index, along=layout.along)
        picture = cut(path, volume, layout, index, str(asked.unit), volume.dataobj)
    if layout.slices == 1:
        return picture
    return picture._replace(window=percentiles.window(functools.partial(_slices, path, asked)))


def _slices(path: pathlib.Path, asked: Asked) -> Iterator[np.ndarray]:
    """Yields the values of the slices along the last axis, which lie together in the file."""
    with opened(path, asked.unit, unpacked=True) as (volume, _):
        layout = lay_out(path, volume, 2)
        for k in range(layout.slices):
            yield values(cut(path, volume, layout, k, str(asked.unit), volume.dataobj))


def read_mask(path: pathlib.Path) -> Picture:
    """Reads the slice on which a mask is largest; what is not 0 is drawn.

    The picture says which slice it is, and along which axis slices are counted.
    """
    with opened(path, "arbitrary") as (volume, _):
        layout = lay_out(path, volume, None)
        voxels = np.asarray(volume.dataobj)
        drawn = np.count_nonzero(voxels.reshape(layout.shape), axis=layout.axes)  # of each slice
        index = int(np.argmax(drawn))
        found = cut(path, volume, layout, index, "arbitrary", voxels)
        return found._replace(slice_index=None if layout.axis is None else index)


def on_one_grid(one: Picture, other: Picture) -> bool:
    """Returns whether the files of two pictures have the same voxels at the same places."""
    (a, _), (b, _) = one.origin, other.origin
    size = np.linalg.norm(a.affine[:3, :3], axis=0).min()
    return bool(a.shape == b.shape and np.allclose(a.affine, b.affine, rtol=0, atol=SAME * size))


@contextlib.contextmanager
def opened(
    path: pathlib.Path, unit: str | None, *, unpacked: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Opens a volume and its stream; every error within becomes an InputError of one line.

    Args:
        path: the file.
        unit: unit of its values, which must be given.
        unpacked: give a stream of a compressed file that is as fast at any place: it is
            decompressed to a temporary file, which is deleted when it is closed.
    """
    nibabel = extra("nibabel", "nifti", path)
    if unit is None:
        raise InputError(
            f"{path}: NIfTI does not state the unit of its values; give the unit, one of "
            f"{validation.UNITS}: HU for CT"
        )
    try:
        # nibabel would also log each field that it doubts; the user should see one line only.
        with _stream(path, unpacked) as stream, nibabel.imageglobals.LoggingOutputSuppressor():
            volume = _class(nibabel, stream).from_stream(stream)
            _check_start(path, volume)
            yield volume, stream
            _check_whole(volume, stream)
    except InputError:
        raise
    except Exception as error:  # on damaged bytes nibabel may raise anything
        raise unreadable(path, error) from error


def cut(
    path: pathlib.Path, volume: Any, layout: Layout, index: int, unit: str, voxels: Any
) -> Picture:
    """Returns a slice of the scaled voxels, which are indexed like the volume."""
    inside = layout.inside(index, len(volume.shape))
    columns, rows = layout.axes
    return Picture(
        validation.float32(voxels[inside]).T[..., None],
        unit,
        validation.float32([layout.sizes[rows], layout.sizes[columns]]),
        path,
        "nifti",
        (volume, inside),
        layout.caveats,
        axis=layout.axis,
    )


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one .nii.gz per mask, of the volume's shape; other slices are 0. See `pack`."""
    volume, inside = picture.origin
    return pack(volume, stem, [(inside, masks)], names, notes)


def pack(
    volume: Any,
    stem: str,
    slices: Sequence[tuple[tuple[Any, ...], np.ndarray]],
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns one .nii.gz of the volume's shape and geometry for each of K masks or maps.

    The header's description is the start of the note.

    Args:
        volume: the image that was read.
        stem: start of the files' names.
        slices: where a slice lies in the volume, and its masks u8 {0, 1} or maps f32 0..1
            [K, H, W]; all other voxels are 0.
        names: [K].
        notes: [K].
    """
    files = {}
    kind = slices[0][1].dtype if slices else np.dtype(np.uint8)
    for k, (name, note) in enumerate(zip(names, notes, strict=True)):
        voxels = np.zeros(volume.shape, kind)
        for inside, masks in slices:
            voxels[inside] = masks[k].T
        header = volume.header.copy()
        header.set_data_dtype(kind)
        header["cal_min"], header["cal_max"] = 0, 1  # what viewers show as black and white
        header["descrip"] = unicode.start(
            note, _NOTE_BYTES, lambda part: len(part.encode())
        ).encode()
        stored = type(volume)(voxels, volume.affine, header).to_bytes()
        files[file_name(stem, k + 1, name, ".nii.gz")] = gzip.compress(stored, mtime=0)
    return files


@contextlib.contextmanager
def _stream(path: pathlib.Path, unpacked: bool) -> Iterator[Any]:
    """Opens the file and decompresses it if needed; the suffix may be wrong."""
    packed = file_formats.is_gzip(path)
    with (gzip.open if packed else open)(path, "rb") as stream:
        if not (packed and unpacked):
            yield stream
            return
        with tempfile.TemporaryFile() as plain:
            shutil.copyfileobj(stream, plain, _CHUNK)
            plain.seek(0)
            yield plain


def _class(nibabel: Any, stream: Any) -> Any:
    """Returns the reader of the header's version."""
    size = stream.read(4)
    stream.seek(0)
    second = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")
    return nibabel.Nifti2Image if size in second else nibabel.Nifti1Image


def _check_start(path: pathlib.Path, volume: Any) -> None:
    """Raises InputError if the voxels start within the header."""
    start, least = volume.dataobj.offset, volume.header.single_vox_offset
    if start < least:
        raise InputError(
            f"{path}: its vox_offset is {start}, within the header of {least} bytes; export it anew"
        )


def _check_whole(volume: Any, stream: Any) -> None:
    """Raises EOFError if the file ends before its last voxel, since masks get the header's size."""
    voxels = math.prod(volume.shape) * volume.get_data_dtype().itemsize
    end = volume.dataobj.offset + voxels
    stream.seek(end - 1)
    if not stream.read(1):
        raise EOFError(f"its header asks for {end} bytes")
