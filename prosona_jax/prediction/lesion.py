"""Follows an object through the slices of a scan, and draws it on all of them with one latent.

A slice knows only itself, so its prior p(z|x_k) differs from that of the next slice. All slices of
an object get the same latent here: that of one query and one prior N(mu, sigma^2), which is pooled
over the slices k of the object with weights w_k, the object's area there:

    mu = sum_k w_k mu_k,  sigma^2 = sum_k w_k sigma_k^2,  sum_k w_k = 1

1. Draw on the slice of the point. The object is the part of the contours at the point.
2. Draw on the next slice around the object's middle. The object is the parts that overlap the
   object of the slice before. Go on until there is none, in both directions.
3. Pool the prior and draw again on all these slices.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from data_pipelines import images
from prosona_jax.models.distributions import Gaussian
from prosona_jax.prediction.drawing import Encoded
from prosona_jax.prediction.seen import Seen

Masks = UInt8[np.ndarray, "s h w"]
See = Callable[[int, tuple[float, float]], Seen]  # of a slice and the (row, column) of its object
Draw = Callable[[Encoded], np.ndarray]  # f32 [s, size, size]

_NEIGHBOURS_2D = np.ones((3, 3))
_NEIGHBOURS_3D = np.ones((3, 3, 3))


class Slice(NamedTuple):
    """A slice through the object."""

    seen: Seen
    probs: Float[np.ndarray, "s h w"]  # on the slice's own grid
    area: int  # pixels of the object: the union of its contours


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
    found = {start: Slice(first, drawn, int(whole.sum()))}
    for step in (1, -1):
        before, k = whole, start + step
        while before.any() and 0 <= k < count:
            seen = see(k, ndimage.center_of_mass(before))
            drawn = _on_image(seen, draw)
            before = overlapping(_union(drawn), before)
            if before.any():
                found[k] = Slice(seen, drawn, int(before.sum()))
            k += step
    return dict(sorted(found.items()))


def draw_together(slices: Mapping[int, Slice], draw: Draw) -> dict[int, np.ndarray]:
    """Returns the probabilities f32 [s, H, W] of each slice, drawn with the pooled prior."""
    prior = pool([each.seen.encoded[1] for each in slices.values()], _areas(slices))
    return {
        k: _on_image(each.seen, lambda encoded: draw((encoded[0], prior)))
        for k, each in slices.items()
    }


def pool(priors: list[Gaussian], weights: Float[np.ndarray, " n"]) -> Gaussian:
    """Returns one prior for n slices, [1, d]; the weights need not sum to 1."""
    share = jnp.asarray(weights / weights.sum(), jnp.float32)[:, None]
    mu = jnp.concatenate([each.mu for each in priors])  # [n, d]
    variance = jnp.exp(2 * jnp.concatenate([each.log_sigma for each in priors]))
    pooled = jnp.sum(share * variance, axis=0, keepdims=True)
    return Gaussian(jnp.sum(share * mu, axis=0, keepdims=True), jnp.log(pooled) / 2)


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


def _areas(slices: Mapping[int, Slice]) -> Float[np.ndarray, " n"]:
    """Returns the weight of each slice; equal weights if nothing is drawn."""
    areas = np.array([each.area for each in slices.values()], float)
    return areas if areas.any() else np.ones(len(areas))


def _on_image(seen: Seen, draw: Draw) -> np.ndarray:
    return images.from_model(draw(seen.encoded), seen.placement)


def _union(probs: Float[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "h w"]:
    return np.asarray((probs > 0.5).any(axis=0), np.uint8)
