"""Cuts a volume and its raters' masks into records, one for each slice around the object."""

import collections
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_pipelines import styles, transforms, validation
from data_pipelines.settings import Settings
from prosona_jax.types import Record

NO_SLICE = {
    "all": "volume without a slice that all raters drew on",
    "largest": "volume without a slice that all raters drew on",
    "any": "volume on which no rater drew",
}


class Volume(NamedTuple):
    """A volume and the mask of each rater.

    Shapes: D slices; H, W pixels (rows, columns); C channels; R raters.
    """

    image: np.ndarray  # f32 [D, H, W, C]
    masks: np.ndarray  # u8 {0, 1} [R, D, H, W]
    rater_valid: np.ndarray  # bool [R]; False: this rater has no mask of this volume
    patient_id: str
    volume: str  # id, unique in its data set
    site: str  # hospital, scanner or collection; "" if unknown
    spacing_mm: np.ndarray  # f32 [3], (slice, row, column) size of a voxel; NaN: unknown
    intensity_unit: str  # as of a `Record`
    split: str = ""  # as of a `Record`


def slices(
    volume: Volume, settings: Settings, skipped: collections.Counter[str]
) -> Iterator[Record]:
    """Yields a record for each slice that `settings.slices` keeps, in order.

    With `settings.slices_beyond` = n these are all slices from the n-th before the first one on
    which a rater drew to the n-th after the last one, as far as the volume has them; padding is
    left out.

    The id of a record is "VOLUME/INDEX", and its position INDEX times the distance of two slices.
    If the unit is "arbitrary", all slices share one window: `settings.percentiles` of each channel
    over the whole volume. If `settings.raters` is "by_area", the masks are sorted by their voxels
    over the whole volume, so that each stays one rater's.

    With `settings.crop` = "organ" all slices are cropped around one pixel, the middle of the
    bounding box of all raters' masks over the volume. A crop holds all masks and all pixels that
    resampling to `settings.size` and `settings.spacing_mm` reads. What lies beyond the image gets
    the value that windowing maps to -1. With "middle" the slices stay whole.

    Args:
        volume: the volume; the masks of missing raters are ignored.
        settings: which slices, and the target geometry.
        skipped: gets 1 if no slice is kept, see `NO_SLICE`.
    """
    kept = _kept(volume.masks[volume.rater_valid], settings)
    if not len(kept):
        skipped[NO_SLICE[settings.slices]] += 1
        return
    if settings.min_raters:
        volume = styles.none_missing(volume)
    if settings.raters == "by_area":
        voxels = volume.masks.sum(axis=(1, 2, 3), dtype=np.int64)
        masks, rater_valid = styles.sort(volume.masks, volume.rater_valid, voxels)
        volume = volume._replace(masks=masks, rater_valid=rater_valid)
    low, high = transforms.limits(volume.image, volume.intensity_unit, settings)
    box = _box(volume, settings) if settings.crop == "organ" else None
    for index in kept.tolist():
        image = volume.image[index]
        masks = np.where(volume.rater_valid[:, None, None], volume.masks[:, index], np.uint8(0))
        if box is not None:
            image = _cut(image, box, low)
            masks = np.moveaxis(_cut(np.moveaxis(masks, 0, -1), box, 0), -1, 0)
        if not masks.any() and validation.is_constant(np.clip(image, low, high)):
            continue  # padding beyond the object
        yield Record(
            image=image,
            masks=masks,
            rater_valid=volume.rater_valid,
            patient_id=volume.patient_id,
            record_id=f"{volume.volume}/{index}",
            site=volume.site,
            spacing_mm=volume.spacing_mm[1:],
            intensity_unit=volume.intensity_unit,
            split=volume.split,
            volume=volume.volume,
            slice_mm=index * float(volume.spacing_mm[0]),
            slice_spacing_mm=float(volume.spacing_mm[0]),
            window=np.stack([low, high]) if volume.intensity_unit == "arbitrary" else None,
        )


def _kept(masks: np.ndarray, settings: Settings) -> np.ndarray:
    """Returns the indices of the slices to keep, from masks u8 [R, D, H, W]."""
    areas = masks.sum(axis=(2, 3), dtype=np.int64)  # [R, D]
    drawn = areas > 0
    if settings.slices == "any":
        kept, beyond = np.flatnonzero(drawn.any(axis=0)), settings.slices_beyond
        if beyond and len(kept):
            return np.arange(max(kept[0] - beyond, 0), min(kept[-1] + beyond + 1, len(drawn[0])))
        return kept
    shared = np.flatnonzero(drawn.all(axis=0) & drawn.any(axis=0))  # none without a rater
    if settings.slices == "largest" and len(shared):
        return shared[[areas[:, shared].max(axis=0).argmax()]]
    return shared


def _box(volume: Volume, settings: Settings) -> tuple[slice, slice]:
    """Returns the rows and columns of the crop; they may reach beyond the image."""
    drawn = volume.masks[volume.rater_valid].any(axis=(0, 1))  # [H, W]
    step = transforms.place(drawn.shape, volume.spacing_mm[1:], settings).step
    axes = []
    for axis in (0, 1):
        at = np.flatnonzero(drawn.any(axis=1 - axis))
        middle = int(at[0] + at[-1]) // 2
        read = math.ceil(settings.size // 2 * step[axis]) + transforms.blur_reach(step[axis])
        reach = max(read, middle - int(at[0]), int(at[-1]) - middle)
        axes.append(slice(middle - reach, middle + reach + 1))
    rows, columns = axes
    return rows, columns


def _cut(plane: np.ndarray, box: tuple[slice, slice], background: np.ndarray | int) -> np.ndarray:
    """Returns the box of a plane [H, W, C]; `background`, [C] or one number, lies beyond it."""
    shape = [axis.stop - axis.start for axis in box]
    result = np.broadcast_to(background, (*shape, plane.shape[-1])).astype(plane.dtype)
    inside = [
        slice(max(axis.start, 0), min(axis.stop, n))
        for axis, n in zip(box, plane.shape, strict=False)
    ]
    rows, columns = (
        slice(of.start - axis.start, of.stop - axis.start)
        for of, axis in zip(inside, box, strict=True)
    )
    result[rows, columns] = plane[tuple(inside)]
    return result
