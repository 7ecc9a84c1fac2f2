"""Reads NIfTI: a 2-D image, or a slice of a 3-D one; writes masks as NIfTI.

By default slices are counted along the axis with the largest voxel size, so that a slice has the
finest pixels. If axes have equal sizes, it is the axis nearest to the direction from feet to head.
The other two axes, in their order, are columns and rows: voxel (i, j) of a slice is column i of row
j.
"""

import contextlib
import gzip
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines import file_formats, validation
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

_MM = {
    0: 1.0,
    1: 1e3,
    2: 1.0,
    3: 1e-3,
}  # {code of the unit: mm}; like viewers, takes 0, unknown, as mm
_NOTE_BYTES = 79  # length of the header's field, without the final NUL
_SAME = 0.01  # relative difference of equal voxel sizes, since headers round them
_AXES = ("first", "second", "third")


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads the image; see `images.read`."""
    nibabel = extra("nibabel", "nifti", path)
    if asked.unit is None:
        raise InputError(
            f"{path}: NIfTI does not state the unit of its values; give the unit, one of "
            f"{validation.UNITS}: HU for CT"
        )
    try:
        # nibabel would also log each field that it doubts; the user should see one line only.
        with _stream(path) as stream, nibabel.imageglobals.LoggingOutputSuppressor():
            volume = _class(nibabel, stream).from_stream(stream)
            _check_start(path, volume)
            picture = _slice(path, volume, asked)
            _check_whole(volume, stream)
            return picture
    except InputError:
        raise
    except Exception as error:  # on damaged bytes nibabel may raise anything
        raise unreadable(path, error) from error


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one .nii.gz u8 of the input's shape and geometry for each mask; other slices are 0.

    The header's description is the start of the note.
    """
    volume, index = picture.origin
    files = {}
    for k, (mask, name, note) in enumerate(zip(masks, names, notes, strict=True), start=1):
        voxels = np.zeros(volume.shape, np.uint8)
        voxels[index] = mask.T
        header = volume.header.copy()
        header.set_data_dtype(np.uint8)
        header["cal_min"], header["cal_max"] = 0, 1  # what viewers show as black and white
        header["descrip"] = unicode.start(
            note, _NOTE_BYTES, lambda part: len(part.encode())
        ).encode()
        stored = type(volume)(voxels, volume.affine, header).to_bytes()
        files[file_name(stem, k, name, ".nii.gz")] = gzip.compress(stored, mtime=0)
    return files


@contextlib.contextmanager
def _stream(path: pathlib.Path) -> Iterator[Any]:
    """Opens the file and decompresses it if needed; the suffix may be wrong."""
    opener = gzip.open if file_formats.is_gzip(path) else open
    with opener(path, "rb") as stream:
        yield stream


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


def _slice(path: pathlib.Path, volume: Any, asked: Asked) -> Picture:
    shape, dtype = volume.shape, volume.get_data_dtype()
    space = _squeezed(shape)
    if len(space) not in (2, 3) or 0 in shape or dtype.kind not in "biuf":
        raise InputError(f"{path}: is {dtype} {list(shape)}; store real numbers in 2-D or 3-D")
    sizes, caveats = _sizes(path, volume)
    counted: int | None = None
    if len(space) == 2:
        _refuse_axis(path, asked)
        choose_slice(path, 1, asked.slice_index)
        inside: tuple[Any, ...] = (slice(None), slice(None))
        axes = [0, 1]
    else:
        counted = axis = _axis(volume, space, sizes) if asked.axis is None else asked.axis
        if not 0 <= axis <= 2:
            raise InputError(f"{path}: has no axis {axis}; choose one of 0, 1 and 2")
        along = f" along the {_AXES[axis]} axis of {list(space)}"
        index = choose_slice(path, space[axis], asked.slice_index, along=along)
        inside = tuple(index if k == axis else slice(None) for k in range(3))
        axes = [k for k in range(3) if k != axis]
        if asked.axis is None and axis != 2 and space[axis] > 1:
            caveats.append(
                f"Slices are counted along the {_AXES[axis]} axis of {list(space)} voxels, so that "
                "they have the finest pixels; --axis chooses another axis."
            )
    within = inside + (0,) * (len(shape) - len(inside))
    plane = validation.float32(volume.dataobj[within])
    spacing = validation.float32([sizes[axes[1]], sizes[axes[0]]])
    return Picture(
        plane.T[..., None],
        str(asked.unit),
        spacing,
        path,
        "nifti",
        (volume, within),
        tuple(caveats),
        axis=counted,
    )


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape without trailing axes of length 1 after the third axis."""
    space = tuple(shape)
    while len(space) > 3 and space[-1] == 1:
        space = space[:-1]
    return space


def _refuse_axis(path: pathlib.Path, asked: Asked) -> None:
    if asked.axis is not None:
        raise InputError(f"{path}: is one slice, without an axis to choose; leave the axis out")


def _sizes(path: pathlib.Path, volume: Any) -> tuple[np.ndarray, list[str]]:
    """Returns the size of a voxel along each axis f64 [3] in mm, and caveats on the header.

    The sizes are those of the affine, which viewers use; pixdim in the header may contradict it.

    Raises:
        InputError: the affine gives an axis of the image no size, or the unit of length is invalid.
    """
    header = volume.header
    code = int(header["xyzt_units"]) % 8
    if code not in _MM:
        raise InputError(f"{path}: its unit of length {code} does not exist; export it in mm")
    millimetres = _MM[code]
    sizes = np.linalg.norm(volume.affine[:3, :3], axis=0)
    zooms = np.ones(3)
    zooms[: len(header.get_zooms()[:3])] = header.get_zooms()[:3]
    sform = header.get_sform(coded=True)
    qform, damaged = _qform(header)
    used = "sform" if sform[1] else "qform" if qform[1] else "pixdim"
    given = len(header.get_zooms()[:3])
    if not (np.isfinite(sizes[:given]) & (sizes[:given] > 0)).all():
        raise InputError(
            f"{path}: by its {used} voxels are {_span(sizes[:given] * millimetres)}; all sizes "
            "must be above 0: export it again"
        )
    caveats = (
        ["Header damaged: its qform is not a rotation; the sform was used."] if damaged else []
    )
    if not np.allclose(sizes[:given], zooms[:given], rtol=_SAME, atol=0):
        caveats.append(
            f"Header disagrees: by its {used} voxels are {_span(sizes[:given] * millimetres)}, "
            f"and by pixdim {_span(zooms[:given] * millimetres)}; the {used} was used, as "
            "viewers do."
        )
    if sform[1] and qform[1]:
        moved = np.abs(sform[0] - qform[0])[:3]
        if (moved[:, :3].max() > _SAME * sizes.max()) or (moved[:, 3].max() > sizes.max()):
            caveats.append(
                "Header disagrees: its sform and its qform place the image differently; the sform "
                "was used, as viewers do."
            )
    return sizes * millimetres, caveats


def _qform(header: Any) -> tuple[tuple[np.ndarray | None, int], bool]:
    """Returns the qform and its code, which is 0 if it is damaged, and whether it is damaged.

    A damaged qform without a sform beside it has raised an error before.
    """
    try:
        return header.get_qform(coded=True), False
    except ValueError:  # its quaternion is longer than 1
        return (None, 0), True


def _axis(volume: Any, space: Sequence[int], sizes: np.ndarray) -> int:
    """Returns the axis along which slices are counted."""
    single = [k for k in range(3) if space[k] == 1]
    if len(single) == 1:
        return single[0]
    header, affine = volume.header, volume.affine
    placed = (header["sform_code"] or header["qform_code"]) and affine[:3, 3].any()
    if (
        np.array_equal(np.abs(affine[:3, :3]), np.eye(3)) and not placed
    ):  # the header gives no sizes
        odd = [k for k in range(3) if space[k - 1] == space[k - 2] > space[k]]
        if odd:
            return odd[0]
    largest = [k for k in range(3) if sizes[k] >= sizes.max() * (1 - _SAME)]
    if len(largest) == 1:
        return largest[0]
    height = np.abs(volume.affine[2, :3])  # component of each axis towards the head
    return max(largest, key=lambda k: (height[k], k))


def _span(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes) + " mm"
