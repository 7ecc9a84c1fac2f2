"""Reads a NIfTI file, 2-D or 3-D, as voxels; a further axis holds channels."""

import math
import pathlib

import numpy as np

from data_pipelines.images import nifti
from data_pipelines.images.nifti_layout import lay_out
from data_pipelines.voxels import channels
from data_pipelines.voxels.grid import Grid, Voxels, plane


def read(path: pathlib.Path) -> Voxels:
    """Returns the scaled values; the file does not state their unit."""
    with nifti.opened(path, "arbitrary", unpacked=True) as (volume, _):
        layout = lay_out(path, volume, None, channels=True)
        channels.check(path, math.prod(volume.shape[3:]))  # before all values are read
        i, j, k = (*layout.shape, 1)[:3]
        values = np.asarray(volume.dataobj).reshape(i, j, k, -1)
    if layout.axis is None:
        return Voxels(values, plane((i, j), layout.affine, layout.sizes))
    return Voxels(values, Grid((i, j, k), layout.affine, layout.sizes))
