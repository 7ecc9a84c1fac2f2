"""Follows an object through the slices of a scan.

All slices are drawn with one query, so with one style. Each has its own prior p(z|x_k), since the
prior knows how large the object is on the slice. One prior, pooled over the slices, lost up to a
point of Dice in 3-D on both real scans on which it was tried.

1. Draw on the slice of the point. The object is the part of the contours at the point.
2. Draw on the next slice around the object's middle. The object is the parts that overlap the
   object of the slice before. Go on until there is none, in both directions.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from data_pipelines import images
from prosona_jax.prediction.drawing import Encoded
from prosona_jax.prediction.seen import Seen

See = Callable[[int, tuple[float, float]], Seen]  # of a slice and the (row, column) of its object
Draw = Callable[[Encoded], np.ndarray]  # f32 [s, size, size]

_NEIGHBOURS_2D = np.ones((3, 3))
_NEIGHBOURS_3D = np.ones((3, 3, 3))


class Slice(NamedTuple):
    """A slice through the object."""

    seen: Seen
    probs: Float[np.ndarray, "s h w"]  # on the slice's own grid


def follow(
    start: int, point: tuple[float, float], count: int, see: See, draw: Draw
) -> dict[int, Slice]:
    """Returns the slices through the object at a point, in order; see the module.

    Args:
        start: the slice of the point.
        point: (row, column) on it.
        count: number of slices of the scan.
        see: encodes a slice around the middle of its object.
        draw: draws s contours.

    Returns:
        At least the slice of the point, also if nothing is drawn there.
    """
    first = see(start, point)
    drawn = _on_image(first, draw)
    whole = at_point(_union(drawn), point)
    found = {start: Slice(first, drawn)}
    for step in (1, -1):
        before, k = whole, start + step
        while before.any() and 0 <= k < count:
            seen = see(k, ndimage.center_of_mass(before))
            drawn = _on_image(seen, draw)
            before = overlapping(_union(drawn), before)
            if before.any():
                found[k] = Slice(seen, drawn)
            k += step
    return dict(sorted(found.items()))


def at_point(mask: UInt8[np.ndarray, "h w"], point: tuple[float, float]) -> np.ndarray:
    """Returns the connected part of a mask that is nearest to a point, bool [H, W]."""
    labels, count = ndimage.label(mask, _NEIGHBOURS_2D)
    if count == 0:
        return np.zeros(mask.shape, bool)
    nearest = ndimage.distance_transform_edt(
        labels == 0, return_distances=False, return_indices=True
    )
    row, column = (int(np.floor(each + 0.5)) for each in point)
    return labels == labels[tuple(nearest[:, row, column])]


def overlapping(mask: UInt8[np.ndarray, "h w"], other: np.ndarray) -> np.ndarray:
    """Returns the connected parts of a mask that overlap another mask, bool [H, W]."""
    labels, _ = ndimage.label(mask, _NEIGHBOURS_2D)
    kept = np.unique(labels[other])
    return np.isin(labels, kept[kept > 0])


def one_object(
    masks: Mapping[int, UInt8[np.ndarray, "h w"]], start: int, point: tuple[float, float]
) -> dict[int, np.ndarray]:
    """Returns the connected part of a contour in 3-D that is nearest to a point of a slice.

    If nothing is drawn on that slice, the largest part is kept.
    """
    volume = np.stack(list(masks.values()))
    labels, count = ndimage.label(volume, _NEIGHBOURS_3D)
    if count > 1:
        own = at_point(masks[start], point)
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        label = labels[list(masks).index(start)][own].max() if own.any() else sizes.argmax()
        volume = (labels == label).astype(np.uint8)
    return dict(zip(masks, volume, strict=True))


def without_holes(masks: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Returns the masks with the holes of each slice filled."""
    return {k: ndimage.binary_fill_holes(mask).astype(np.uint8) for k, mask in masks.items()}


def _on_image(seen: Seen, draw: Draw) -> np.ndarray:
    return images.from_model(draw(seen.encoded), seen.placement)


def _union(probs: Float[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "h w"]:
    return np.asarray((probs > 0.5).any(axis=0), np.uint8)
