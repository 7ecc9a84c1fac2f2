"""What the caller states of an image, because its file does not: unit, range, size of a pixel."""

import pathlib
from typing import NamedTuple

import numpy as np

from data_pipelines import validation
from data_pipelines.images.picture import Picture, bright, scaled
from prosona_jax.types import ConstantImage, InputError

_SAME_SPACING = 1e-3  # relative


class Given(NamedTuple):
    """The caller's statements on an image; see `images.read`."""

    unit: str | None
    spacing_mm: tuple[float, float] | None
    value_range: tuple[float, float] | None

    @property
    def stored_unit(self) -> str | None:
        """The unit of the stored values; a range scales values of no known unit."""
        return "arbitrary" if self.value_range else self.unit

    def check(self, path: pathlib.Path) -> None:
        """Raises InputError if a statement is invalid for every image."""
        if self.unit not in (None, *validation.UNITS):
            raise InputError(f"{path}: unit is {self.unit!r}; choose one of {validation.UNITS}")
        if self.spacing_mm is not None and not all(0 < size < np.inf for size in self.spacing_mm):
            raise InputError(f"{path}: spacing is {self.spacing_mm}; give two sizes in mm above 0")
        if self.value_range is not None:
            low, high = self.value_range
            if not -np.inf < low < high < np.inf:
                raise InputError(
                    f"{path}: range is {self.value_range}; give (low, high) with low < high"
                )
            if self.unit not in (None, "unit"):
                raise InputError(
                    f"{path}: a range scales the values to 0..1; leave {self.unit!r} out"
                )

    def apply(self, picture: Picture) -> Picture:
        """Returns what a format's reader read, with the range and the spacing, high values bright.

        Raises:
            InputError: a statement contradicts the file, or as from `check_values`.
        """
        picture = self.state(picture)
        check_values(picture)
        return picture

    def state(self, picture: Picture) -> Picture:
        """Returns what `apply` returns, of any values; InputError if a statement contradicts."""
        path = picture.path
        if self.stored_unit not in (None, picture.intensity_unit):
            name, value = ("range", self.value_range) if self.value_range else ("unit", self.unit)
            raise InputError(
                f"{path}: the file states the unit {picture.intensity_unit!r} for its values; "
                f"leave the {name} {value!r} out"
            )
        if self.value_range:
            picture = scaled(picture, self.value_range)
        picture = bright(picture)
        if self.spacing_mm is not None:
            picture = picture._replace(spacing_mm=_spacing(picture, self.spacing_mm))
        return picture


def check_values(picture: Picture) -> None:
    """Raises InputError if an image is constant (then it is a `ConstantImage`) or holds NaN."""
    for fault in (
        validation.spacing_fault(picture.spacing_mm),
        validation.image_fault(picture.image, picture.intensity_unit),
    ):
        if fault:
            kind = ConstantImage if validation.is_constant(picture.image) else InputError
            raise kind(f"{picture.path}: {fault}")


def values(picture: Picture) -> np.ndarray:
    """Returns the values of a slice, which may be constant; InputError if one is not finite."""
    if not np.isfinite(picture.image).all():
        fault = validation.image_fault(picture.image, picture.intensity_unit)
        raise InputError(f"{picture.path}: {fault}")
    return picture.image


def _spacing(picture: Picture, given: tuple[float, float]) -> np.ndarray:
    """Returns the spacing that the caller gives; InputError if the file states another one."""
    stated = picture.spacing_mm
    if not np.isnan(stated).any() and not np.allclose(stated, given, rtol=_SAME_SPACING, atol=0):
        raise InputError(
            f"{picture.path}: the file states pixels of {stated[0]:g} x {stated[1]:g} mm; leave "
            f"the spacing {given} out"
        )
    return np.array(given, np.float32)
