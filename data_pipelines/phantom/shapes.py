"""Distances in mm from simple outlines, and smooth random fields, on the grid of a volume."""

from typing import NamedTuple, Self

import numpy as np

# The mean over positions of the sum of squared weights of a cubic B-spline.
_SPLINE_POWER = 151 / 315


class Grid(NamedTuple):
    """Positions in mm of a volume's voxels, with axes that broadcast to [n, H, W].

    x runs to the patient's left, y to the back, z to the head. The prostate's centre is 0, 0, 0.
    """

    z: np.ndarray  # f32 [n, 1, 1]
    y: np.ndarray  # f32 [H, 1]
    x: np.ndarray  # f32 [W]
    spacing_mm: tuple[float, float]  # between slices, between pixels

    @classmethod
    def of(cls, z: np.ndarray, size: int, spacing_mm: float, middle_mm: np.ndarray) -> Self:
        """Returns the grid of square slices at z [mm] whose middle lies at (y, x) [mm]."""
        along = (np.arange(size) - (size - 1) / 2) * spacing_mm
        y, x = ((along + middle).astype(np.float32) for middle in middle_mm)
        step_mm = float(z[1] - z[0])
        return cls(z.astype(np.float32)[:, None, None], y[:, None], x, (step_mm, spacing_mm))


class Field:
    """A random smooth function of the position, with mean 0 and variance 1.

    Normal values on a lattice of `scale_mm` are the weights of cubic B-splines. So the function is
    smooth over about `scale_mm`, and is the same on every grid.
    """

    def __init__(self, rng: np.random.Generator, scale_mm: float, reach_mm: float = 80.0) -> None:
        """Draws the values of the lattice, which covers +-reach_mm along each axis."""
        self._scale_mm, self._first = scale_mm, int(np.ceil(reach_mm / scale_mm)) + 2
        self._values = rng.standard_normal((2 * self._first + 1,) * 3, np.float32)

    def on(self, grid: Grid) -> np.ndarray:
        """Returns the function f32 [n, H, W]; its lattice must cover the grid."""
        values = self._values / np.float32(_SPLINE_POWER**1.5)
        for axis in (grid.z, grid.y, grid.x):  # each contracts the first axis, appends its own
            first, weights = self._weights(axis.ravel())
            part = values[first : first + weights.shape[1]]
            values = np.tensordot(part, weights, axes=(0, 1))
        return values

    def _weights(self, position_mm: np.ndarray) -> tuple[int, np.ndarray]:
        """Returns the first lattice point that counts, and the weights f32 [positions, points]."""
        place = position_mm / self._scale_mm + self._first
        first = int(np.floor(place.min())) - 1
        points = first + np.arange(int(np.ceil(place.max())) + 2 - first)
        away = np.abs(place[:, None] - points)
        near = 2 / 3 - away**2 + away**3 / 2
        far = np.maximum(2 - away, 0) ** 3 / 6
        return first, np.where(away < 1, near, far).astype(np.float32)


def ellipse(
    x: np.ndarray, y: np.ndarray, half_width: float | np.ndarray, half_depth: float | np.ndarray
) -> np.ndarray:
    """Returns the distance from an ellipse around (0, 0), negative inside; exact to first order."""
    u, v = x / half_width, y / half_depth
    level = np.sqrt(u**2 + v**2) + 1e-3
    slope = np.sqrt((u / half_width) ** 2 + (v / half_depth) ** 2) + 1e-3 / np.mean(half_depth)
    return (level - 1) * level / slope


def star(x: np.ndarray, y: np.ndarray, radius_mm: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Returns the distance f32 [n, H, W] from star-shaped outlines around (0, 0) in each slice.

    Args:
        x: broadcasts to f32 [n, H, W], as y does.
        y: see x.
        radius_mm: f32 [n, angles], equally spaced angles from the x axis towards the y axis.
        pixel_mm: size of a pixel, to divide the difference of radii by its slope.
    """
    x, y = np.broadcast_arrays(x, y)
    angles = radius_mm.shape[1]
    place = np.arctan2(y, x) * np.float32(angles / (2 * np.pi)) % angles
    share, whole = np.modf(place)
    below = whole.astype(np.int32) % angles
    slices = np.arange(len(radius_mm))[:, None, None]
    radius = (
        radius_mm[slices, below] * (1 - share) + radius_mm[slices, (below + 1) % angles] * share
    )
    outside = np.hypot(x, y) - radius
    rows, columns = np.gradient(outside, pixel_mm, axis=(1, 2))
    # At the centre, where the angle jumps, the slope means nothing.
    return outside / np.clip(np.hypot(rows, columns), 0.7, 2.5)
