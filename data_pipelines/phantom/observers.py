"""The observers of the phantom: known habits, and random errors in each case."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from data_pipelines.phantom.anatomy import DETAIL, VESICLES_MM, Anatomy, Outlines
from data_pipelines.phantom.shapes import Field, Grid


class Observer(NamedTuple):
    """The habits of an observer, the same in all cases and at all sites."""

    name: str
    margin_mm: float  # distance of the outline from the true one, positive outside
    smooth_mm: float  # detail of this scale and below is not followed, see `follows`
    apex_slices: int  # slices drawn beyond the apex; negative: left out
    base_slices: int  # slices drawn beyond the base; negative: left out
    vesicles: bool  # whether the seminal vesicles are included

    def follows(self, scale_mm: float) -> float:
        """Returns the share of the outline's detail of a scale that the observer draws, 0..1."""
        return float(np.exp(-0.5 * (self.smooth_mm / scale_mm) ** 2))


OBSERVERS = (
    Observer("observer A", 0.0, 0.5, 0, 0, False),
    Observer("observer B", -1.5, 2.0, -1, -1, False),
    Observer("observer C", 2.0, 6.0, 1, 0, True),
    Observer("observer D", 1.0, 3.0, 0, 1, False),
    Observer("observer E", -0.5, 9.0, -2, 0, True),
)
ERROR_MM, ERROR_SCALE_MM = 0.6, 12.0  # deviation and scale of the outline's random displacement
END_SHARES = (0.15, 0.7, 0.15)  # one slice less, as by habit, one more; at each end of each case
MISSING_SHARE = 1 / 8  # share of the cases that one of the observers did not read


def draw(
    anatomy: Anatomy, grid: Grid, outlines: Outlines, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the masks u8 [R, n, H, W] of the observers, and who read the case, bool [R].

    The mask of an observer who did not read the case is empty.
    """
    valid = readers(rng)
    masks = np.zeros((len(OBSERVERS), *outlines.smooth.shape), np.uint8)
    for mask, observer, reads in zip(masks, OBSERVERS, valid, strict=True):
        error = Field(rng, ERROR_SCALE_MM)
        more = rng.choice((-1, 0, 1), 2, p=END_SHARES)
        if reads:
            outwards = np.float32(ERROR_MM) * error.on(grid) + observer.margin_mm
            mask[:] = _drawn(observer, anatomy, grid, outlines, outwards, more)
    return masks, valid


def readers(rng: np.random.Generator) -> np.ndarray:
    """Returns who reads a case, bool [R]: all, or in MISSING_SHARE of the cases all but one."""
    valid = np.ones(len(OBSERVERS), bool)
    missing = rng.integers(len(OBSERVERS))
    valid[missing] = rng.random() >= MISSING_SHARE
    return valid


def _drawn(
    observer: Observer,
    anatomy: Anatomy,
    grid: Grid,
    outlines: Outlines,
    outwards: np.ndarray,
    more: np.ndarray,
) -> np.ndarray:
    """Returns a mask u8 [n, H, W] with the outline moved outwards [mm] and `more` slices."""
    seen = outlines.smooth - outwards
    for part, (scale, _) in zip(outlines.detail, DETAIL, strict=True):
        seen -= np.float32(observer.follows(scale)) * part
    first, last = extent(anatomy, grid)
    first -= observer.apex_slices + int(more[0])
    last += observer.base_slices + int(more[1])
    drawn = seen <= 0
    drawn[: max(first, 0)] = drawn[last + 1 :] = False
    if observer.vesicles:
        drawn |= _vesicles(anatomy, grid, outlines.vesicles - outwards)
    return one_object(drawn)


def truth(anatomy: Anatomy, grid: Grid, outlines: Outlines) -> tuple[np.ndarray, np.ndarray]:
    """Returns the true prostate and the true seminal vesicles outside of it, u8 [n, H, W] each."""
    first, last = extent(anatomy, grid)
    prostate = outlines.prostate <= 0
    prostate[:first] = prostate[last + 1 :] = False
    prostate = one_object(prostate)
    vesicles = _vesicles(anatomy, grid, outlines.vesicles) & (prostate == 0)
    return prostate, vesicles.astype(np.uint8)


def extent(anatomy: Anatomy, grid: Grid) -> tuple[int, int]:
    """Returns the indices of the first and the last slice of the true prostate."""
    z = grid.z.ravel()
    (slices,) = np.nonzero((z >= anatomy.apex_mm) & (z <= anatomy.base_mm))
    return int(slices[0]), int(slices[-1])


def one_object(drawn: np.ndarray) -> np.ndarray:
    """Returns the largest connected part of a mask, without holes within a slice, u8 [n, H, W]."""
    result = np.zeros(drawn.shape, np.uint8)
    (box,) = ndimage.find_objects(drawn.astype(np.int8))  # all that follows is slow
    parts, count = ndimage.label(drawn[box])
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    largest = parts == 1 + np.argmax(sizes[1:])
    within_slice = np.zeros((3, 3, 3), bool)
    within_slice[1] = ndimage.generate_binary_structure(2, 1)
    result[box] = ndimage.binary_fill_holes(largest, within_slice)
    return result


def _vesicles(anatomy: Anatomy, grid: Grid, outline: np.ndarray) -> np.ndarray:
    """Returns where an outline of the seminal vesicles is drawn, bool [n, H, W].

    It starts two slices below the base, so that it meets the prostate of an observer who leaves
    out a slice there.
    """
    low = anatomy.base_mm - 2 * grid.spacing_mm[0]
    high = anatomy.base_mm + VESICLES_MM
    return (outline <= 0) & (grid.z >= low) & (grid.z <= high)
