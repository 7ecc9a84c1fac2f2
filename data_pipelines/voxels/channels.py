"""Several values at each voxel: the channels of an image. A mask has one value.

A fourth axis holds channels. The last axis of a 3-D file is the third axis of space, unless the
user names channels, as many as it is long.
"""

import pathlib

from data_pipelines.voxels.grid import Voxels, plane
from prosona_jax.types import InputError

_MOST = 16  # a longer axis is hardly one of channels: of a series over time, say


def check(path: pathlib.Path | str, count: int) -> None:
    """Raises InputError if a file has too many values at each voxel for channels."""
    if count > _MOST:
        raise InputError(
            f"{path}: holds {count} values at each voxel, as a series over time does; the last of "
            f"four axes may hold up to {_MOST} channels: keep these, or one volume"
        )


def named(where: str, found: Voxels, count: int) -> Voxels:
    """Returns an image of `count` channels: those of the file, or the last axis of a 3-D file.

    Raises:
        InputError: the file has another number of channels.
    """
    own, slices = found.values.shape[3], found.grid.shape[2]
    if own == 1 < count == slices:
        flat = plane(found.grid.shape[:2], found.grid.affine, found.grid.spacing_mm)
        return found._replace(values=found.values.swapaxes(2, 3), grid=flat)
    if own != count:
        asked = "one channel" if count == 1 else f"{count} channels"
        raise InputError(
            f"{where}: has {own} channels and {slices} slices, and data.channels asks for {asked} "
            "in each file; name all channels of a file, in their order"
        )
    return found
