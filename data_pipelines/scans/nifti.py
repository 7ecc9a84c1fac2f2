"""Reads a NIfTI volume slice by slice, and writes masks as NIfTI of the same geometry."""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.images import nifti
from data_pipelines.images.given import Given
from data_pipelines.images.nifti_layout import Layout, lay_out
from data_pipelines.images.picture import Picture
from data_pipelines.scans.geometry import Geometry
from data_pipelines.scans.scan import Asked, Scan, check_count


class _Mapped:
    """The scaled voxels of a volume, of which only what is indexed is read.

    nibabel's own proxy reads a slice along the first axis in many small steps.
    """

    def __init__(self, volume: Any, stream: Any) -> None:
        proxy = volume.dataobj
        self._scales = proxy.slope, proxy.inter
        self._stored = np.memmap(
            stream, volume.get_data_dtype(), "r", proxy.offset, volume.shape, order="F"
        )

    def __getitem__(self, inside: tuple[Any, ...]) -> np.ndarray:
        from nibabel.volumeutils import apply_read_scaling

        slope, inter = map(np.float64, self._scales)
        scaled: np.ndarray = apply_read_scaling(self._stored[inside], slope, inter)
        return scaled


def read(path: pathlib.Path, files: Sequence[pathlib.Path], asked: Asked) -> Scan:
    """Returns the scan; see `scans.read`."""
    with nifti.opened(path, asked.given.stored_unit, unpacked=True) as (volume, stream):
        layout = lay_out(path, volume, asked.axis)
        check_count(path, layout.slices)
        voxels = _Mapped(volume, stream)
    columns, rows = layout.axes
    caveats = layout.caveats
    geometry = None
    spacing = layout.sizes[[3 - columns - rows, rows, columns]]
    if layout.affine is None:
        caveats += ("Place in the patient unknown: the header has neither sform nor qform.",)
    else:
        step, first = layout.affine[:3, 3 - columns - rows], layout.affine[:3, 3]
        positions = first + np.arange(layout.slices)[:, None] * step
        geometry = Geometry(positions, layout.affine[:3, [rows, columns]].T)
        spacing = geometry.spacing_mm
    return Scan(
        path=path,
        format="nifti",
        count=layout.slices,
        shape=(layout.shape[rows], layout.shape[columns]),
        spacing_mm=spacing,
        geometry=geometry,
        caveats=caveats,
        files=tuple(files),
        read_slice=functools.partial(_slice, path, volume, layout, asked.given, voxels),
        origin=(volume, layout),
    )


def _slice(
    path: pathlib.Path, volume: Any, layout: Layout, given: Given, voxels: _Mapped, k: int
) -> Picture:
    picture = nifti.cut(path, volume, layout, k, str(given.stored_unit), voxels)
    return given.state(picture)._replace(slice_index=k)


def encode(
    scan: Scan,
    stem: str,
    masks: Mapping[int, np.ndarray],
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns one .nii.gz u8 of the input's shape and geometry for each mask."""
    volume, layout = scan.origin
    slices = [(layout.inside(k, len(volume.shape)), each) for k, each in masks.items()]
    return nifti.pack(volume, stem, slices, names, notes)
