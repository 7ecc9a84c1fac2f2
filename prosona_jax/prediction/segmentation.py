"""The contours that a model draws on one image, and the styles of a model."""

from typing import Any, NamedTuple

import numpy as np

from data_pipelines.transforms import Placement
from prosona_jax.prediction.sentences import Reading


class Style(NamedTuple):
    """A style that a model was trained on."""

    name: str
    sentences: tuple[str, ...]  # of its training; empty if the model reads no text


class Segmentation(NamedTuple):
    """One contour on one image; arrays are on the image's own grid [H, W]."""

    prompt: str  # a sentence, or the name of a style or sample
    probability: np.ndarray  # f32 [H, W], 0 outside of the model's input
    area_mm2: float | None  # of the mask; None if the pixel size is unknown
    caveats: tuple[str, ...]  # what a user must know before trusting the contour
    reading: Reading | None  # of a sentence; None for a style or a sample
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file
    crop: Placement  # the position of the model's input on the image
    shown: np.ndarray  # f32 [H, W], the image's first channel as the model scales it, -1..1

    @property
    def mask(self) -> np.ndarray:
        """Where the probability exceeds 1/2, u8 {0, 1} [H, W]."""
        return (self.probability > 0.5).astype(np.uint8)
