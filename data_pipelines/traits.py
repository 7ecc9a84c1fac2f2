"""Measures the shape of a mask relative to another mask of the same image, in a few traits.

area         log(A / A_0)
elongation   log of the ratio of the main axes, minus that of the other mask
roughness    mean distance of the contour from its smoothed self, divided by sqrt(A), minus that
             of the other mask
right, down  shift of the centre, in units of sqrt(A_0)
"""

import numpy as np
from jaxtyping import Bool, Float

from data_pipelines import habits

TRAITS = ("area", "elongation", "roughness", "right", "down")
_FEWEST_PX = 12  # of a mask; smaller ones have no shape


def of(masks: Bool[np.ndarray, "s h w"], mean: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "s t"]:
    """Returns the traits of masks; NaN where a mask, or the mean mask, is too small for a shape."""
    found = np.full((len(masks), len(TRAITS)), np.nan)
    if mean.sum() < _FEWEST_PX:
        return found
    base = _shape(mean)
    for n, mask in enumerate(masks):
        if mask.sum() >= _FEWEST_PX:
            own = _shape(mask)
            found[n] = own - base
            found[n, -2:] /= np.sqrt(mean.sum())
    return found


def _shape(mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, " t"]:
    rows, columns = np.nonzero(mask)
    centre = np.array([columns.mean(), rows.mean()])
    # A pixel is a square: its own variance of 1/12 keeps the axes of thin masks above 0.
    spread = np.cov(np.stack([columns, rows]), bias=True) + np.eye(2) / 12
    low, high = np.linalg.eigvalsh(spread)
    area = mask.sum()
    rough = habits.roughness(mask) / np.sqrt(area)
    return np.array([np.log(area), np.log(high / low) / 2, rough, centre[0], centre[1]])
