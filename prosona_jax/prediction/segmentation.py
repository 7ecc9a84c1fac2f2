"""What a model draws on one image, and the styles that it knows."""

from typing import Any, NamedTuple

import numpy as np

from data_pipelines.transforms import Placement
from prosona_jax.prediction.sentences import Reading


class Style(NamedTuple):
    """A style that a model was trained on."""

    name: str
    sentences: tuple[str, ...]  # that it was trained with; none where no text is read


class Segmentation(NamedTuple):
    """One contour on one image; shapes are those of the image's own grid [H, W]."""

    prompt: str  # what was asked: a sentence, or the name of a style or sample
    probability: np.ndarray  # f32 [H, W], 0 beyond what the model saw
    area_mm2: float | None  # of the mask; None where the size of a pixel is unknown
    caveats: tuple[str, ...]  # what to know before believing it
    reading: Reading | None  # of a sentence
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # what each file of it says first
    crop: Placement  # what the model saw of the image
    shown: np.ndarray  # f32 [H, W], the image's first channel as the model scales it, -1..1

    @property
    def mask(self) -> np.ndarray:
        """Where the probability exceeds 1/2, u8 {0, 1} [H, W]."""
        return (self.probability > 0.5).astype(np.uint8)
