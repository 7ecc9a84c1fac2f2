"""How far the contours of an image's styles lie from those of their raters, in mm.

    hd95_max_mm, assd_mm  distances of border pixels, see `surfaces.Distances`
    nsd_length            normalised surface Dice (Nikolov et al. 2018): the share of both
                          contours' length that lies within the tolerance of the other contour

The contour for `nsd_length` is that of marching squares. It lies in cells between four neighbouring
pixels, and the length of its part in a cell follows from which of the four are of the mask. The
distance of a cell from another contour is that of its centre to the centre of the nearest cell of
that contour, as in DeepMind's `surface-distance`. Beyond the image no pixel is of a mask.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from prosona_jax.evaluation import measures, surfaces

MEASURES = ("hd95_max_mm", "assd_mm", "nsd_length")
_ROUNDING = 1e-6  # pixels' sizes are float32: ten pixels of 0.1 mm shall lie within 1 mm


class InMm(NamedTuple):
    """What measures in mm need beside the masks of records."""

    pixel_mm: Callable[[int], Float[np.ndarray, " 2"]]  # (row, column), of a record by its index
    tolerance_mm: float  # of `nsd_length`


class Contour(NamedTuple):
    """The contour of a mask that is not empty, in the cells between pixels."""

    length_mm: Float[np.ndarray, "h1 w1"]  # in each cell; 0: no contour
    distance_mm: Float[np.ndarray, "h1 w1"]  # from every cell to the nearest cell with contour


def of_mask(mask: Bool[np.ndarray, "h w"], pixel_mm: Float[np.ndarray, " 2"]) -> Contour | None:
    """Returns the contour of a mask, None if it is empty; `pixel_mm` is (row, column)."""
    if not mask.any():
        return None
    row, column = pixel_mm
    padded = np.pad(mask, 1)
    # The four pixels around a cell: upper left, upper right, lower left, lower right.
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    count = np.sum([a, b, c, d], axis=0)
    two = count == 2
    length = np.select(
        [count % 2 == 1, two & (a == b), two & (a == c), two],
        [np.hypot(row, column) / 2, column, row, np.hypot(row, column)],
        0.0,
    )
    return Contour(length, ndimage.distance_transform_edt(length == 0, sampling=pixel_mm))


def nsd(one: Contour | None, other: Contour | None, tolerance_mm: float) -> float:
    """Returns the normalised surface Dice of two masks of one image, NaN if one is empty.

    With the lengths l_a, l_b of the contours' parts and their distances d_ab, d_ba in mm from the
    other contour:

        nsd = (sum l_a [d_ab <= tolerance] + sum l_b [d_ba <= tolerance]) / (sum l_a + sum l_b)
    """
    if one is None or other is None:
        return np.nan
    near = tolerance_mm * (1 + _ROUNDING)
    within = sum(a.length_mm[b.distance_mm <= near].sum() for a, b in ((one, other), (other, one)))
    return min(float(within / (one.length_mm.sum() + other.length_mm.sum())), 1.0)


def of_styles(
    drawn: Bool[np.ndarray, "k h w"],
    masks: UInt8[np.ndarray, "k h w"],
    rater_valid: Bool[np.ndarray, " k"],
    pixel_mm: Float[np.ndarray, " 2"],
    tolerance_mm: float,
) -> dict[str, float]:
    """Returns each of `MEASURES` for style k against rater k, "_<k>" from 1, and their means.

    A measure is NaN where the rater is missing, where a mask is empty, or if the size of a pixel
    is unknown. The means are over the raters whose measures are known, and "undefined" is the
    number of the other raters who are not missing.
    """
    styles = len(drawn)
    valid = np.flatnonzero(rater_valid).tolist()
    if np.isnan(pixel_mm).any():
        own = {k + 1: dict.fromkeys(MEASURES, np.nan) for k in valid}
        return measures.of_styles(own, styles, MEASURES)
    size = np.asarray(pixel_mm, float)
    both = np.concatenate([drawn, masks.astype(bool)])
    if both.any():
        (box,) = ndimage.find_objects(both.any(axis=0).astype(np.uint8))
        both = both[:, *box]
    found = surfaces.of_masks(both, size)
    lines = [of_mask(mask, size) for mask in both]
    own = {}
    for k in valid:
        apart = surfaces.between(found[k], found[styles + k])
        share = nsd(lines[k], lines[styles + k], tolerance_mm)
        own[k + 1] = dict(zip(MEASURES, (*apart, share), strict=True))
    return measures.of_styles(own, styles, MEASURES)
