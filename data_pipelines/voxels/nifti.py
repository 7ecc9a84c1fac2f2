"""Reads a NIfTI file, 2-D or 3-D, as voxels."""

import pathlib

import numpy as np

from data_pipelines.images import nifti
from data_pipelines.images.nifti_layout import lay_out
from data_pipelines.voxels.grid import Grid, Voxels, plane


def read(path: pathlib.Path) -> Voxels:
    """Returns the scaled values; the file does not state their unit."""
    with nifti.opened(path, "arbitrary", unpacked=True) as (volume, _):
        layout = lay_out(path, volume, None)
        values = np.asarray(volume.dataobj).reshape(layout.shape)
    if layout.axis is None:
        width, height = values.shape
        return Voxels(values[..., None], plane((width, height), layout.affine, layout.sizes))
    i, j, k = values.shape
    return Voxels(values, Grid((i, j, k), layout.affine, layout.sizes))
