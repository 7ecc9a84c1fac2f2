"""NIfTI: a 2-D image, or a slice along the last axis of a 3-D one.

Voxel (i, j) is column i of row j, as the format stores it: i runs fastest.
"""

import gzip
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.images.picture import Picture, choose_slice, extra, file_name, unreadable
from data_pipelines.validation import UNITS
from prosona_jax import texts
from prosona_jax.types import InputError

_MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}  # viewers take unknown as mm
_NOTE_BYTES = 79  # the header's field, less its end


def read(path: pathlib.Path, slice_index: int | None, unit: str | None) -> Picture:
    """Reads the image; see `images.read`."""
    nibabel = extra("nibabel", "nifti", path)
    if unit is None:
        raise InputError(
            f"{path}: NIfTI does not say what its numbers are; give the unit, one of {UNITS}: HU "
            "for CT"
        )
    try:
        volume = nibabel.load(path)
        shape, dtype = volume.shape, volume.get_data_dtype()
    except Exception as error:  # nibabel's readers raise whatever the bytes lead them to
        raise unreadable(path, error) from error
    if len(shape) not in (2, 3) or 0 in shape or dtype.kind not in "biuf":
        raise InputError(f"{path}: is {dtype} {list(shape)}; store real numbers in 2-D or 3-D")
    index = choose_slice(path, (*shape, 1)[2], slice_index)
    at = (..., index)[: len(shape) - 1]  # (...) of a 2-D image, which has no axis of slices
    try:
        plane = np.asarray(volume.dataobj[at], np.float32)
        size = _MM[volume.header.get_xyzt_units()[0]]
    except Exception as error:  # as above
        raise unreadable(path, error) from error
    spacing = np.array(volume.header.get_zooms()[1::-1], np.float32) * np.float32(size)
    spacing = spacing if (spacing > 0).all() else np.full(2, np.nan, np.float32)
    return Picture(plane.T[..., None], unit, spacing, path, "nifti", (volume, at))


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one .nii.gz u8 of the input's shape and geometry for each mask; other slices are 0.

    The start of the note is the header's description.
    """
    volume, at = picture.origin
    files = {}
    for k, (mask, name, note) in enumerate(zip(masks, names, notes, strict=True), start=1):
        voxels = np.zeros(volume.shape, np.uint8)
        voxels[at] = mask.T
        header = volume.header.copy()
        header.set_data_dtype(np.uint8)
        header["cal_min"], header["cal_max"] = 0, 1  # what viewers show as black and white
        header["descrip"] = texts.start(note, _NOTE_BYTES, lambda part: len(part.encode())).encode()
        content = type(volume)(voxels, volume.affine, header).to_bytes()
        files[file_name(stem, k, name, ".nii.gz")] = gzip.compress(content, mtime=0)
    return files
