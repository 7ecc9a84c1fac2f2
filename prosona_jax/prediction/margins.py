"""Lengths in sentences: how much of a length the model draws, and how much geometry adds."""

from typing import NamedTuple

import numpy as np

from prosona_jax import unicode
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.runtime.workdir import Run
from prosona_jax.text.degrees import LIMIT, MM
from prosona_jax.types import InputError


class Scale(NamedTuple):
    """Degrees, and how far outside of the usual outline a model draws for them; both ascend."""

    degree: tuple[float, ...]
    mm: tuple[float, ...]

    def read(self, mm: float) -> tuple[float, float]:
        """Returns the degree of a signed length in mm, and the part beyond the scale in mm.

            >>> Scale((-2.0, 0.0, 2.0), (-0.4, 0.0, 0.5)).read(1.25)
            (2.0, 0.75)

        Args:
            mm: the distance from the usual outline, negative inside.
        """
        within = min(max(mm, self.mm[0]), self.mm[-1])
        return float(np.interp(within, self.mm, self.degree)), mm - within


def scale_of(run: Run, second: StageTwo) -> Scale:
    """Returns the scale of a run whose prompts are read as degrees.

    Its styles have a degree, the mean of their training sentences', and a distance, which was
    measured in the training split. 0 mm is the degree 0. If the distances do not ascend, or were
    not measured, a degree has the length that it has in LIDC-IDRI.
    """
    usual = Scale((-LIMIT, 0.0, LIMIT), (-LIMIT * MM, 0.0, LIMIT * MM))
    if run.style_mm is None:
        return usual
    degree = second.text["train"][..., 0].mean(axis=1).tolist()
    points = sorted([*zip(degree, run.style_mm, strict=True), (0.0, 0.0)])
    own = Scale(*map(tuple, zip(*points, strict=True)))
    return own if np.all(np.diff(own.mm) > 0) and own.mm[0] < 0 < own.mm[-1] else usual


def check(margin_mm: float, spacing_mm: np.ndarray) -> float:
    """Returns a user's margin; InputError if it is not finite, or if the pixel size is unknown."""
    if not np.isfinite(margin_mm):
        raise InputError(f"the margin is {margin_mm}; give a finite number of mm")
    if margin_mm and np.isnan(spacing_mm).any():
        raise InputError(
            f"a margin of {margin_mm:g} mm needs the size of a pixel, which the image does not "
            "state; give it as --spacing=ROW,COLUMN or as spacing_mm"
        )
    return float(margin_mm)


def added(name: str, mm: float) -> str:
    """Returns the caveat of a contour that was moved by geometry."""
    verb = "added to" if mm > 0 else "cut off"
    return (
        f"{unicode.shorten(name, 80)!r}: a margin of {abs(mm):g} mm was {verb} the model's contour "
        "by geometry, whatever the image shows there."
    )


def unknown_pixels(name: str) -> str:
    """Returns the caveat of a length that cannot be added."""
    return (
        f"The prompt {unicode.shorten(name, 80)!r} asks for a longer distance than the raters "
        "differ by. The rest was not added, because the pixel size is unknown."
    )
