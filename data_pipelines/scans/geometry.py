"""Where the slices of a scan lie in the patient."""

from typing import NamedTuple

import numpy as np

_EVEN = 0.2  # share of the distance of slices by which it may vary, since headers round positions


class Geometry(NamedTuple):
    """Two or more parallel slices, in mm of the patient's LPS."""

    positions: np.ndarray  # f64 [n, 3], the middle of the first pixel of each slice
    steps: np.ndarray  # f64 [2, 3], from a row to the next one, and from a column to the next one

    @property
    def normal(self) -> np.ndarray:
        """The direction f64 [3] at right angles to the slices, of length 1."""
        across = np.cross(self.steps[1], self.steps[0])
        return across / np.linalg.norm(across)

    @property
    def gaps(self) -> np.ndarray:
        """The distance f64 [n - 1] from each slice to the next."""
        return np.abs(np.diff(self.positions @ self.normal))

    @property
    def uneven(self) -> np.ndarray:
        """The indices k of the slices whose distance to slice k + 1 is unusual."""
        usual = np.median(self.gaps)
        return np.flatnonzero(np.abs(self.gaps - usual) > _EVEN * usual)

    @property
    def spacing_mm(self) -> np.ndarray:
        """The distance of slices, the usual one if uneven, and of rows and columns, f64 [3]."""
        usual = np.median if self.affine is None else np.mean
        return np.array([usual(self.gaps), *np.linalg.norm(self.steps, axis=1)])

    @property
    def affine(self) -> np.ndarray | None:
        """The matrix f64 [4, 4] from (slice, row, column, 1) to the patient; None if uneven."""
        first, count = self.positions[0], len(self.positions)
        step = (self.positions[-1] - first) / (count - 1)
        away = np.linalg.norm(self.positions - first - np.arange(count)[:, None] * step, axis=1)
        if self.uneven.size or away.max() > _EVEN * np.median(self.gaps):
            return None
        affine = np.eye(4)
        affine[:3] = np.column_stack([step, *self.steps, first])
        return affine

    def place(self, k: int, row: float, column: float) -> np.ndarray:
        """Returns a point of a slice f64 [3] in the patient."""
        return self.positions[k] + np.array([row, column]) @ self.steps

    def nearest(self, place: np.ndarray) -> tuple[int, float, float, float]:
        """Returns the nearest slice, row and column there, and the distance to that slice in mm."""
        apart = (place - self.positions) @ self.normal
        k = int(np.abs(apart).argmin())
        (row, column), *_ = np.linalg.lstsq(self.steps.T, place - self.positions[k])
        return k, float(row), float(column), float(abs(apart[k]))
