"""Reads the image and the raters' masks of one case onto one grid, and lists all their faults."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import validation, voxels
from data_pipelines.layouts.finding import Case, Found
from data_pipelines.volumes import Volume
from data_pipelines.voxels.grid import Voxels
from prosona_jax.types import InputError


class Read(NamedTuple):
    """A case in memory."""

    volume: Volume | None  # a 2-D image has one slice; None: it cannot be read
    orientation: str  # where columns, rows and slices run to, such as "LPS"; "": unknown
    faults: list[str]  # one line each with file, fault and remedy
    coloured: list[str]  # image files with colours, of which the luminance was read
    resampled: list[str]  # mask files on another grid than the image
    labels: dict[str, tuple[float, ...]]  # {mask file: its values above 0}


def read(found: Found, case: Case, labels: Sequence[int], unit: str) -> Read:
    """Returns a case with its masks in the order of `found.raters`.

    Slices are counted along the axis of the largest voxel size, see `nifti_layout`.

    Args:
        found: the folder of the case.
        case: its files.
        labels: values of the mask files that are the object; none: all above 0.
        unit: unit of the values if the files do not state it; "": unknown, and so may be the unit
            of the volume.
    """
    faults: list[str] = []
    image = _image(found, case, unit, faults)
    if image is None:
        return Read(None, "", faults, [], [], {})
    grid, axis = image.grid, image.grid.axis
    columns, rows = (k for k in range(3) if k != axis)
    order = (axis, rows, columns)
    masks = np.zeros((len(found.raters), *(grid.shape[k] for k in order)), np.uint8)
    resampled, values = [], {}
    for rater, entry in case.masks.items():
        try:
            drawn = voxels.read_mask(found.root, entry, labels, grid)
        except InputError as fault:
            faults.append(str(fault))
            continue
        masks[found.raters.index(rater)] = drawn.mask.transpose(order)
        values[entry] = drawn.labels
        resampled += [entry] if drawn.resampled else []
    volume = Volume(
        image=np.ascontiguousarray(image.values.transpose(*order, 3)),
        masks=masks,
        rater_valid=np.array([rater in case.masks for rater in found.raters]),
        patient_id=case.patient_id,
        volume=case.id,
        site=case.site,
        spacing_mm=validation.float32(grid.spacing_mm[list(order)]),
        intensity_unit=image.unit,
        split=case.split,
    )
    name = grid.orientation()
    turned = "".join(name[k] for k in (columns, rows, axis)) if name else ""
    coloured = list(case.images.values()) if image.coloured else []
    return Read(volume, turned, faults, coloured, resampled, values)


def _image(found: Found, case: Case, unit: str, faults: list[str]) -> Voxels | None:
    """Returns the channels f32 [i, j, k, C] on the grid of the first file; None: unreadable."""
    read: list[Voxels] = []
    mask = next(iter(case.masks.values()))
    in_each = len(found.layout.channels) // len(case.images)  # 0: their number is not known
    for entry in case.images.values():
        try:
            one = voxels.read_image(found.root, entry, unit, mask, in_each)
        except InputError as fault:
            faults.append(str(fault))
            continue
        flat = one.values.reshape(one.grid.shape[0], -1, one.values.shape[3])
        if wrong := _unlike(one, read) or validation.image_fault(flat, one.unit):
            faults.append(f"{found.root / entry}: {wrong}")
        read.append(one)
    if len(read) < len(case.images) or len({each.grid.shape for each in read}) > 1:
        return None
    return read[0]._replace(values=np.concatenate([each.values for each in read], axis=-1))


def _unlike(one: Voxels, earlier: Sequence[Voxels]) -> str:
    """Returns in what a channel differs from the first one, "" if in nothing."""
    if not earlier:
        return ""
    own, grid = one.grid, earlier[0].grid
    same = own.shape == grid.shape and (
        own.affine is None
        or grid.affine is None
        or np.allclose(own.affine, grid.affine, atol=0.01 * np.nanmin(grid.spacing_mm), rtol=0)
    )
    if not same:
        return f"it has {own}, its first channel {grid}; resample the channels to one grid"
    if one.unit != earlier[0].unit:
        return f"its unit is {one.unit!r}, of its first channel {earlier[0].unit!r}; give data.unit"
    return ""
