"""Distances between contours in mm, and masks with a margin of a given distance."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from prosona_jax.types import Record

Mask = Bool[np.ndarray, "*n h w"] | np.ndarray  # any numeric type; not 0 is inside


def signed(mask: Mask, spacing_mm: Float[np.ndarray, " d"]) -> Float[np.ndarray, "*n h w"]:
    """Returns each pixel's distance in mm from the contour of a mask, negative inside.

    The distance is from the centre of a pixel. A contour runs between pixels, so half a pixel is
    subtracted from the distance to the nearest pixel of the other side. An empty mask has the
    distance infinity everywhere, and a full one minus infinity. A mask [n, h, w] is a volume, with
    the spacing (slice, row, column); between slices, too, half a pixel is subtracted.

        >>> signed(np.array([[0, 0, 1, 1, 1]]), np.ones(2)).tolist()
        [[1.5, 0.5, -0.5, -1.5, -2.5]]
    """
    inside = np.asarray(mask) != 0
    if inside.all() or not inside.any():
        return np.full(inside.shape, -np.inf if inside.all() else np.inf)
    half = np.sqrt(np.prod(spacing_mm[-2:])) / 2
    sampling = np.asarray(spacing_mm, float)
    outward = ndimage.distance_transform_edt(~inside, sampling=sampling)
    inward = ndimage.distance_transform_edt(inside, sampling=sampling)
    return np.where(inside, half - inward, outward - half)


def add_margin(mask: Mask, mm: float, spacing_mm: Float[np.ndarray, " d"]) -> np.ndarray:
    """Returns the mask u8 {0, 1} [H, W] whose contour lies `mm` outside of a mask's contour.

    A negative distance lies inside. The new contour follows pixel edges, so it is exact to half a
    pixel. An empty mask stays empty. A mask may be a volume [n, H, W]; see `signed`.

        >>> add_margin(np.array([[0, 0, 0, 1, 0]]), 1.0, np.ones(2)).tolist()
        [[0, 0, 1, 1, 1]]
    """
    return (signed(mask, spacing_mm) <= mm).astype(np.uint8)


def from_mean(
    masks: np.ndarray, rater_valid: Bool[np.ndarray, " r"], spacing_mm: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, " r"]:
    """Returns the mean signed distance in mm of each rater's contour from their mean contour.

    The mean contour is where the mean S of the raters' signed distances s_r is 0. The distance of
    rater r is the mean of S - s_r over the pixels along contour r, because s_r is nearly 0 there.

    Args:
        masks: u8 {0, 1} [R, H, W].
        rater_valid: raters whose mask counts; empty masks do not count either.
        spacing_mm: (row, column).

    Returns:
        f64 [R]; NaN for raters who do not count, and for all if fewer than two count.
    """
    found = np.full(len(masks), np.nan)
    counted = [r for r in np.flatnonzero(rater_valid) if masks[r].any() and not masks[r].all()]
    if len(counted) < 2:
        return found
    distances = np.stack([signed(masks[r], spacing_mm) for r in counted])
    mean = distances.mean(axis=0)
    edge_mm = np.sqrt(np.prod(spacing_mm)) * 0.75  # pixels of both sides, diagonal ones too
    for r, own in zip(counted, distances, strict=True):
        along = np.abs(own) <= edge_mm
        found[r] = np.mean((mean - own)[along])
    return found


def of_styles(records: Iterable[Record]) -> list[float] | None:
    """Returns the mean of `from_mean` over records, in mm for each style.

    None: no pixel size is known, or a style has no contour in any record.
    """
    found = [
        from_mean(record.masks, record.rater_valid, record.spacing_mm)
        for record in records
        if not np.isnan(record.spacing_mm).any()
    ]
    if not found or np.isnan(found).all(axis=0).any():
        return None
    return np.nanmean(found, axis=0).round(4).tolist()
