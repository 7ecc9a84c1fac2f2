"""Writes maps of a scan, such as the share of samples that include a voxel, on the scan's grid.

| scan | maps become |
|---|---|
| NIfTI | a .nii.gz each, of the same shape and affine |
| DICOM of evenly spaced slices | a .nii.gz each, which viewers lay over the series |
| all others, or without nibabel | one npz: `slices` i64 [n], and each map f32 [n, H, W] |

Their values are 0 to 1, and 0 on all slices that are not given.
"""

import importlib.util
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_pipelines.images import nifti
from data_pipelines.images.picture import file_stem
from data_pipelines.scans.scan import Scan

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SCANNER = 1  # the code of a place in the patient


def encode(
    scan: Scan, stem: str, maps: Mapping[str, Mapping[int, np.ndarray]], *, note: str
) -> dict[str, bytes]:
    """Returns maps {name: f32 [H, W] by slice}, {file's name: content}; see the module.

    Args:
        scan: the scan that they belong to.
        stem: start of the files' names; see `scans.stem`.
        maps: at least one, all of the same slices.
        note: text that is stored with each.
    """
    stem, names = file_stem(stem), list(maps)
    drawn = {k: np.stack([maps[name][k] for name in names]) for k in sorted(maps[names[0]])}
    if scan.format == "nifti":
        volume, layout = scan.origin
        slices = [(layout.inside(k, len(volume.shape)), each) for k, each in drawn.items()]
    elif scan.affine is not None and importlib.util.find_spec("nibabel"):
        volume = _volume(scan, scan.affine)
        slices = [((slice(None), slice(None), k), each) for k, each in drawn.items()]
    else:
        stream = io.BytesIO()
        planes: dict[str, Any] = {name: np.stack(list(maps[name].values())) for name in names}
        np.savez_compressed(stream, slices=np.array(list(drawn)), note=np.array(note), **planes)
        return {f"{stem}_maps.npz": stream.getvalue()}
    return nifti.pack(volume, stem, slices, names, [f"{note} Map: {name}" for name in names])


def _volume(scan: Scan, affine: np.ndarray) -> Any:
    """Returns an empty NIfTI volume (column, row, slice) with a scan's geometry."""
    import nibabel

    height, width = scan.shape
    empty = np.broadcast_to(np.float32(0), (width, height, scan.count))
    volume = nibabel.Nifti1Image(empty, None)
    volume.set_sform(_TO_RAS @ affine[:, [2, 1, 0, 3]], _SCANNER)
    volume.header.set_xyzt_units("mm")
    return volume
