"""How a NIfTI volume is cut into slices, by the geometry in its header.

By default slices are counted along the axis with the largest voxel size, so that a slice has the
finest pixels. If axes have equal sizes, it is the axis nearest to the direction from feet to head.
The other two axes, in their order, are columns and rows: voxel (i, j) of a slice is column i of row
j.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prosona_jax.types import InputError

_MM = {
    0: 1.0,
    1: 1e3,
    2: 1.0,
    3: 1e-3,
}  # {code of the unit: mm}; like viewers, takes 0, unknown, as mm
SAME = 0.01  # relative difference of equal voxel sizes, since headers round them
_AXES = ("first", "second", "third")
_LPS_OF_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Layout(NamedTuple):
    """How a volume is cut into slices."""

    shape: tuple[int, ...]  # of the voxels, 2-D or 3-D: without axes of length 1 after the third
    axis: int | None  # the axis along which slices are counted; None in 2-D
    axes: tuple[int, int]  # the axes along which columns and rows are counted
    sizes: np.ndarray  # f64 [3], mm of a voxel along each axis
    affine: np.ndarray | None  # f64 [4, 4], voxel index to patient LPS mm; None: not stated
    caveats: tuple[str, ...]

    @property
    def slices(self) -> int:
        """The number of slices."""
        return 1 if self.axis is None else self.shape[self.axis]

    @property
    def along(self) -> str:
        """The axis of the slices in words, for messages."""
        axis = self.axis
        return "" if axis is None else f" along the {_AXES[axis]} axis of {list(self.shape)}"

    def inside(self, index: int, rank: int) -> tuple[Any, ...]:
        """Returns where a slice [columns, rows] lies in an array of that rank."""
        within = [slice(None) if k in self.axes else index for k in range(len(self.shape))]
        return (*within, *[0] * (rank - len(within)))


def lay_out(path: pathlib.Path, volume: Any, axis: int | None, *, channels: bool = False) -> Layout:
    """Returns how a volume is cut along the axis, or along the one that suits its header.

    Args:
        path: the file, for messages.
        volume: the volume.
        axis: the axis along which slices are counted; None: see the module.
        channels: one further axis may hold channels, the fourth or, after one of length 1, the
            fifth, where NIfTI puts the parts of vectors.

    Raises:
        InputError: the volume is not 2-D or 3-D, or has no such axis, or its header is invalid.
    """
    shape, dtype = volume.shape, volume.get_data_dtype()
    space = _squeezed(shape)
    if channels and set(space[3:-1]) <= {1}:
        space = space[:3]
    if len(space) not in (2, 3) or 0 in shape or dtype.kind not in "biuf":
        raise InputError(f"{path}: is {dtype} {list(shape)}; store real numbers in 2-D or 3-D")
    sizes, caveats = _sizes(path, volume)
    affine = _affine(volume)
    if len(space) == 2:
        if axis is not None:
            raise InputError(f"{path}: is one slice, without an axis to choose; leave the axis out")
        return Layout(space, None, (0, 1), sizes, affine, tuple(caveats))
    counted = _axis(volume, space, sizes) if axis is None else axis
    if not 0 <= counted <= 2:
        raise InputError(f"{path}: has no axis {counted}; choose one of 0, 1 and 2")
    if axis is None and counted != 2 and space[counted] > 1:
        caveats.append(
            f"Slices are counted along the {_AXES[counted]} axis of {list(space)} voxels, so that "
            "they have the finest pixels; --axis chooses another axis."
        )
    columns, rows = (k for k in range(3) if k != counted)
    return Layout(space, counted, (columns, rows), sizes, affine, tuple(caveats))


def _affine(volume: Any) -> np.ndarray | None:
    """Returns voxel index to patient LPS mm; NIfTI's own millimetres are RAS."""
    header = volume.header
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        return None  # nibabel makes one up
    scale = np.diag([*[_MM[int(header["xyzt_units"]) % 8]] * 3, 1])
    return _LPS_OF_RAS @ scale @ volume.affine


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns the shape without trailing axes of length 1 after the third axis."""
    space = tuple(shape)
    while len(space) > 3 and space[-1] == 1:
        space = space[:-1]
    return space


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
    if not np.allclose(sizes[:given], zooms[:given], rtol=SAME, atol=0):
        caveats.append(
            f"Header disagrees: by its {used} voxels are {_span(sizes[:given] * millimetres)}, "
            f"and by pixdim {_span(zooms[:given] * millimetres)}; the {used} was used, as "
            "viewers do."
        )
    if sform[1] and qform[1]:
        moved = np.abs(sform[0] - qform[0])[:3]
        if (moved[:, :3].max() > SAME * sizes.max()) or (moved[:, 3].max() > sizes.max()):
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
    header, affine = volume.header, volume.affine
    placed = (header["sform_code"] or header["qform_code"]) and affine[:3, 3].any()
    # An affine of ones at no place: the header gives no sizes.
    stated = placed or not np.array_equal(np.abs(affine[:3, :3]), np.eye(3))
    return slice_axis(space, sizes, affine[:3, :3], stated=bool(stated))


def slice_axis(
    space: Sequence[int], sizes: np.ndarray, directions: np.ndarray, *, stated: bool
) -> int:
    """Returns the axis of a volume along which slices are counted; see the module.

    Args:
        space: the number of voxels along each of three axes.
        sizes: f64 [3], the size of a voxel along each.
        directions: f64 [3, 3]; column k is the direction of axis k in the patient, RAS or LPS.
        stated: False if the file gives no sizes. Then it is the axis that has fewer voxels than
            two others that have equally many.
    """
    single = [k for k in range(3) if space[k] == 1]
    if len(single) == 1:
        return single[0]
    if not stated:
        odd = [k for k in range(3) if space[k - 1] == space[k - 2] > space[k]]
        if odd:
            return odd[0]
    largest = [k for k in range(3) if sizes[k] >= sizes.max() * (1 - SAME)]
    if len(largest) == 1:
        return largest[0]
    height = np.abs(directions[2])  # component of each axis towards the head
    return max(largest, key=lambda k: (height[k], k))


def _span(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.4g}" for size in sizes) + " mm"
