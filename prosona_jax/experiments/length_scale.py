"""Lengths in sentences: the degree that a model draws for a length, and the part beyond."""

from typing import NamedTuple

import numpy as np

from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.runtime.workdir import Run
from prosona_jax.text.degrees import LIMIT, MM


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
