"""Measures how each rater outlines, against the other raters of the same object.

A habit is one number for each object and rater. The *consensus* of the others is their majority
vote; where they are tied, the mean of their signed distances decides.

    margin      mean over both contours of S_c - S_r, the signed distances from the consensus'
                contour and from the rater's; positive: the rater draws outside
    area        log(area of the rater / area of the consensus); of a volume, of all slices together
    roughness   mean distance of the contour's points from the contour smoothed along itself
    tips        share of the area in parts thinner than 0.6 of the consensus' largest radius
    first last  mm by which the rater's first slice of a volume lies before that of the consensus,
                and the last one after it; negative: the rater draws on fewer slices

Roughness and tips describe a mask alone, so the mean over the other raters is subtracted: what the
object itself looks like cancels. They are means over many points or pixels and not extremes, such
as a longest distance, so that they stay stable on masks of some dozens of pixels.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage
from skimage.measure import find_contours

from data_pipelines import distances
from prosona_jax.types import Record

OF_IMAGES = ("margin", "area", "roughness", "tips")
OF_VOLUMES = ("first", "last")
HABITS = (*OF_IMAGES, *OF_VOLUMES)
LENGTHS = ("margin", "roughness")  # in mm, or in pixels; those of volumes are in mm
_SMOOTHING = 0.02  # standard deviation of the smoothing along a contour, as a share of its length
_STEPS = 256  # points of a contour
_THIN = 0.3  # of the largest radius of the consensus; a disc of this radius fits in no thin part


class Habits(NamedTuple):
    """What was measured: N objects, R raters. An object is an image, or a volume."""

    values: dict[str, Float[np.ndarray, "n r"]]  # by habit; NaN: not measured
    patient_ids: list[str]  # of each object
    unit: str  # of lengths in the image: "mm" or "px"
    slice_mm: float  # the usual distance of two slices; 0: no volume has several with known places


class Slice(NamedTuple):
    """What was measured on one image; lengths in pixels."""

    habits: Float[np.ndarray, "h r"]  # `OF_IMAGES`; NaN: see `of_slice`
    areas: Float[np.ndarray, "2 r"]  # pixels of the rater, and of the others' consensus
    valid: Bool[np.ndarray, " r"]
    mm: float  # place of the slice in its volume; NaN: unknown


def measure(
    records: Iterable[Record],
    drawn: Iterable[np.ndarray] | None = None,
    *,
    unit: str | None = None,
) -> Habits:
    """Returns the habits of all raters in all records.

    The habits of a volume are the means over its slices, but area and ends are those of the whole.

    Args:
        records: single images, and slices of volumes.
        drawn: a model's masks u8 [R, H, W] for each record, each in the place of its rater's mask.
            Their habits are returned, against the other raters' masks.
        unit: of lengths in the image, "mm" or "px"; None: mm if the pixel size of every record is
            known. A length in mm is NaN where the size is unknown.
    """
    objects: dict[str, list[Slice]] = {}
    sizes: list[float] = []
    patients: list[str] = []
    pairs = zip(records, itertools.repeat(None) if drawn is None else drawn, strict=False)
    for number, (record, own) in enumerate(pairs):
        key = f"volume {record.volume}" if record.volume else f"image {number}"
        if key not in objects:
            objects[key] = []
            patients.append(record.patient_id)
            sizes.append(float(np.sqrt(np.prod(record.spacing_mm))))
        objects[key].append(
            of_slice(record.masks, record.rater_valid, float(record.slice_mm), drawn=own)
        )
    unit = unit or ("mm" if np.isfinite(sizes).all() else "px")
    table = np.array([_of_object(slices) for slices in objects.values()])  # [n, h, r]
    values = dict(zip(HABITS, np.moveaxis(table, 1, 0), strict=True))
    for name in LENGTHS if unit == "mm" else ():
        values[name] = values[name] * np.array(sizes)[:, None]
    steps = [step for own in objects.values() for step in np.diff(sorted({s.mm for s in own}))]
    slice_mm = float(np.median(steps)) if np.isfinite(steps).all() and steps else 0.0
    return Habits(values, patients, unit, slice_mm)


def of_slice(
    masks: np.ndarray,
    rater_valid: Bool[np.ndarray, " r"],
    mm: float = np.nan,
    *,
    drawn: np.ndarray | None = None,
) -> Slice:
    """Returns what is measured on one image.

    Args:
        masks: u8 {0, 1} [R, H, W].
        rater_valid: raters whose mask counts.
        mm: place of the image in its volume.
        drawn: u8 [R, H, W]; mask r of these is measured in place of rater r's. None: the raters'.

    Returns:
        Habits are NaN for raters who do not count or drew nothing, and where the others' consensus
        is empty. Areas are NaN for raters who do not count.
    """
    drawn = masks if drawn is None else drawn
    raters = len(masks)
    found, areas = np.full((len(OF_IMAGES), raters), np.nan), np.full((2, raters), np.nan)
    counted = np.flatnonzero(rater_valid)
    if len(counted) > 1:
        own, others = np.split(_crop(np.concatenate([drawn, masks]) != 0), 2)
        signed = np.stack([distances.signed(mask, np.ones(2)) for mask in others])
        rough = np.array([roughness(mask) if mask.any() else np.nan for mask in others])
        for r in counted:
            rest = counted[counted != r]
            filled = rest[others[rest].any(axis=(1, 2))]
            agreed = np.zeros_like(own[r])
            if len(filled) and 2 * len(filled) >= len(rest):  # else most others saw nothing here
                agreed = consensus(others[filled], signed[filled])
            areas[:, r] = own[r].sum(), agreed.sum()
            found[:, r] = _compare(own[r], agreed, others[filled], rough[filled])
    return Slice(found, areas, np.asarray(rater_valid, bool), mm)


def _compare(
    mask: np.ndarray, agreed: np.ndarray, others: np.ndarray, rough: np.ndarray
) -> Float[np.ndarray, " h"]:
    """Returns `OF_IMAGES` of a mask against the consensus and the masks of the others."""
    if not agreed.any() or not mask.any() or agreed.all() or mask.all():
        return np.full(len(OF_IMAGES), np.nan)
    own, outside = (distances.signed(each, np.ones(2)) for each in (mask, agreed))
    along = (np.abs(own) <= 0.75) | (np.abs(outside) <= 0.75)  # pixels of both sides
    radius = -_THIN * outside.min()
    return np.array(
        [
            (outside - own)[along].mean(),
            np.log(mask.sum() / agreed.sum()),
            roughness(mask) - rough.mean(),
            thin(mask, radius) - np.mean([thin(other, radius) for other in others]),
        ]
    )


def _of_object(slices: Sequence[Slice]) -> Float[np.ndarray, "h r"]:
    """Returns the habits `HABITS` of one image or volume."""
    raters = len(slices[0].valid)
    found = np.full((len(HABITS), raters), np.nan)
    habits, areas = np.stack([s.habits for s in slices]), np.stack([s.areas for s in slices])
    places = np.array([s.mm for s in slices])
    for r in range(raters):
        measured = np.isfinite(habits[:, :, r]).all(axis=1)
        if measured.any():
            found[: len(OF_IMAGES), r] = habits[measured, :, r].mean(axis=0)
        own, agreed = np.nan_to_num(areas[:, :, r]).T
        if len(slices) < 2 or not own.any() or not agreed.any():
            continue
        found[HABITS.index("area"), r] = np.log(own.sum() / agreed.sum())
        (start, stop), (first, last) = (
            (places[x > 0].min(), places[x > 0].max()) for x in (own, agreed)
        )
        found[-len(OF_VOLUMES) :, r] = first - start, stop - last
    return found


def consensus(
    drawn: Bool[np.ndarray, "r h w"], signed: Float[np.ndarray, "r h w"]
) -> Bool[np.ndarray, "h w"]:
    """Returns the majority vote of masks; ties are decided by their mean signed distance.

    Of two raters who must agree, a vote alone would keep only what both drew, so each third rater
    would seem generous.
    """
    votes = 2 * drawn.sum(axis=0) - len(drawn)
    return (votes > 0) | ((votes == 0) & (signed.mean(axis=0) < 0))


def roughness(mask: np.ndarray) -> float:
    """Returns the mean distance in pixels of a mask's contour from its smoothed self.

    The contours are closed curves z(t). They are smoothed with a Gaussian along t, whose standard
    deviation is 2 % of the length. A long contour counts more than a short one.
    """
    total = weight = 0.0
    for line in find_contours(np.pad(np.asarray(mask, float), 1), 0.5):
        steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
        at = np.concatenate([[0.0], steps.cumsum()])
        even = np.linspace(0.0, at[-1], _STEPS, endpoint=False)
        z = np.stack([np.interp(even, at, line[:, axis]) for axis in (0, 1)])
        smooth = ndimage.gaussian_filter1d(z, _SMOOTHING * _STEPS, axis=1, mode="wrap")
        total += at[-1] * float(np.hypot(*(z - smooth)).mean())
        weight += at[-1]
    return total / weight


def thin(mask: np.ndarray, radius: float) -> float:
    """Returns the share of a mask that no disc of the radius, inside of the mask, covers."""
    inside = np.pad(mask != 0, 1)
    core = ndimage.distance_transform_edt(inside) > radius
    if not core.any():
        return 1.0
    opened = ndimage.distance_transform_edt(~core) <= radius
    return float(1 - (opened & inside).sum() / inside.sum())


def _crop(masks: np.ndarray) -> np.ndarray:
    """Returns the part of masks [r, h, w] around all that is drawn, with a rim of one pixel.

    There is no rim beyond the image: where it cuts an object, there is no contour to measure.
    """
    if masks.any():
        for axis in (1, 2):
            drawn = np.flatnonzero(masks.any(axis=(0, 3 - axis)))
            rim = range(max(drawn[0] - 1, 0), min(drawn[-1] + 2, masks.shape[axis]))
            masks = masks.take(rim, axis=axis)
    return masks
