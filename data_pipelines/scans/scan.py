"""Defines the type of a scan."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import percentiles
from data_pipelines.images.given import Given, check_values, values
from data_pipelines.images.picture import Picture
from data_pipelines.scans.geometry import Geometry
from prosona_jax.types import InputError


class Asked(NamedTuple):
    """The arguments of the caller on a scan; see `scans.read`."""

    axis: int | None
    series: str | None
    spacing_mm: tuple[float, float, float] | None
    given: Given


@dataclasses.dataclass(frozen=True)
class Scan:
    """The slices of one scan, in order. Only their geometry is in memory."""

    path: pathlib.Path
    format: str  # name of the module in this package that writes its masks
    count: int  # number of slices, n
    shape: tuple[int, int]  # (H, W) of each slice
    spacing_mm: np.ndarray  # f64 [3], (distance of slices, row, column); NaN: unknown
    geometry: Geometry | None  # None: unknown
    caveats: tuple[str, ...]  # of the scan; each picture has its own
    files: tuple[pathlib.Path, ...]  # that were read, in order
    read_slice: Callable[[int], Picture]  # whatever its values are
    origin: Any  # data that the module needs to write masks

    @property
    def affine(self) -> np.ndarray | None:
        """From index (slice, row, column, 1) to the patient's LPS in mm, f64 [4, 4].

        None: the place is unknown, or slices are unevenly spaced; then see `positions`.
        """
        return None if self.geometry is None else self.geometry.affine

    @property
    def positions(self) -> np.ndarray | None:
        """The middle of the first pixel of each slice in the patient's LPS, f64 [n, 3] in mm."""
        return None if self.geometry is None else self.geometry.positions

    def picture(self, k: int) -> Picture:
        """Reads slice k as `images.read` does: the same values, unit and spacing.

        Raises:
            InputError: the slice cannot be read.
            ConstantImage: it is constant, as padding or air beyond the body may be.
        """
        with self._naming(k):
            picture = self._read(k)
            check_values(picture)
        return picture._replace(window=self.window)

    @functools.cached_property
    def window(self) -> percentiles.Window:
        """From percentiles to the limits of the whole scan, for which all slices are read twice."""
        return percentiles.window(self._values)

    def _values(self) -> Iterator[np.ndarray]:
        """Yields the values f32 [H, W, C] of each slice; InputError if one cannot be read."""
        for k in range(self.count):
            with self._naming(k):
                slice_values = values(self._read(k))
            yield slice_values

    def _read(self, k: int) -> Picture:
        picture = self.read_slice(range(self.count)[k])
        if picture.image.shape[:2] != self.shape:
            raise InputError("changed while it was read; start again")
        return picture

    @contextlib.contextmanager
    def _naming(self, k: int) -> Iterator[None]:
        """Puts scan and slice in front of an InputError."""
        try:
            yield
        except InputError as fault:
            raise type(fault)(
                f"{self.path}: slice {k}: {str(fault).removeprefix(f'{self.path}: ')}"
            ) from fault


def check_count(path: pathlib.Path, count: int) -> None:
    """Raises InputError if there are fewer than two slices, whose distance would be unknown."""
    if count < 2:
        raise InputError(
            f"{path}: holds one slice; give the folder of the whole scan, or read it as an image"
        )
