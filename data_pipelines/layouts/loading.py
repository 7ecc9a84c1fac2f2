"""Reads the image and the raters' masks of one case onto one grid, and lists all their faults."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import validation, voxels
from data_pipelines.layouts.finding import Case
from data_pipelines.voxels.grid import Grid, Voxels
from prosona_jax.types import InputError

NO_UNIT = "does not state the unit of its values; set data.unit, one of HU, unit and arbitrary"


class Read(NamedTuple):
    """A case in memory; arrays have no content if there are faults.

    Shapes: D slices; H, W pixels (rows, columns); C channels; R raters.
    """

    image: np.ndarray  # f32 [D, H, W, C]
    masks: np.ndarray  # u8 {0, 1} [R, D, H, W]
    rater_valid: np.ndarray  # bool [R]
    spacing_mm: np.ndarray  # f32 [3], (slice, row, column); NaN: unknown
    unit: str  # "" if no file and no setting states it
    orientation: str  # of columns, rows and slices, such as "LPS"; "" if unknown
    faults: list[str]  # one line each with file, fault and remedy
    resampled: list[str]  # masks on another grid than the image
    labels: dict[str, tuple[float, ...]]  # {mask file: its values above 0}


def read(
    root: pathlib.Path, case: Case, raters: Sequence[str], labels: Sequence[int], unit: str
) -> Read:
    """Returns a case with its masks in the order of `raters`.

    Slices are counted along the axis of the largest voxel size, see `nifti_layout`.

    Args:
        root: folder of the data set.
        case: its files.
        raters: names of all raters of the data set.
        labels: values of the mask files that are the object; none: all above 0.
        unit: unit of the values if the files do not state it; "": unknown.
    """
    faults: list[str] = []
    image, stated = _image(root, case, unit, faults)
    rater_valid = np.array([rater in case.masks for rater in raters])
    if image is None:
        nothing = np.zeros(0, np.float32)
        return Read(nothing, nothing, rater_valid, nothing, unit, "", faults, [], {})
    axis = image.grid.axis
    columns, rows = (k for k in range(3) if k != axis)
    order = (axis, rows, columns)
    first = image.grid
    masks = np.zeros((len(raters), *(first.shape[k] for k in order)), np.uint8)
    resampled, values = [], {}
    for entry, mask in zip(case.masks.values(), _rows(masks, case, raters), strict=True):
        try:
            drawn = voxels.read_mask(root, entry, labels, first)
        except InputError as fault:
            faults.append(str(fault))
            continue
        mask[:] = drawn.mask.transpose(order)
        values[entry] = drawn.labels
        resampled += [entry] if drawn.resampled else []
    spacing = validation.float32(first.spacing_mm[list(order)])
    name = first.orientation()
    return Read(
        image=np.ascontiguousarray(image.values.transpose(*order, 3)),
        masks=masks,
        rater_valid=rater_valid,
        spacing_mm=spacing,
        unit=stated,
        orientation="".join(name[k] for k in (columns, rows, axis)) if name else "",
        faults=faults,
        resampled=resampled,
        labels=values,
    )


def _rows(masks: np.ndarray, case: Case, raters: Sequence[str]) -> list[np.ndarray]:
    """Returns where the mask of each rater of a case is stored."""
    return [masks[raters.index(rater)] for rater in case.masks]


def _image(
    root: pathlib.Path, case: Case, unit: str, faults: list[str]
) -> tuple[Voxels | None, str]:
    """Returns the channels f32 [i, j, k, C] on the grid of the first one, and their unit."""
    found: list[Voxels] = []
    grid: Grid | None = None
    for entry in case.images.values():
        where = f"{root / entry}"
        try:
            one = voxels.read_image(root, entry, unit)
        except InputError as fault:
            faults.append(str(fault))
            continue
        grid = grid or one.grid
        if fault := _unlike(one, found) or validation.image_fault(
            one.values.reshape(one.grid.shape[0], -1, 1), one.unit
        ):
            faults.append(f"{where}: {fault}")
        found.append(one)
    if grid is None or len(found) < len(case.images) or any(f.grid.shape != grid.shape for f in found):
        return None, unit
    return found[0]._replace(values=np.stack([each.values for each in found], -1)), found[0].unit


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
