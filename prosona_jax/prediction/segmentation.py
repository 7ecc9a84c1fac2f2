"""The contours that a model draws on one image, and the styles of a model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import images
from data_pipelines.transforms import Placement
from prosona_jax.prediction.seen import Seen
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


def contours(
    seen: Seen,
    probs: np.ndarray,
    names: Sequence[str],
    readings: Sequence[Reading] | None,
    caveats: Sequence[Sequence[str]],
    *,
    source: dict[str, Any],
    note: str,
) -> list[Segmentation]:
    """Returns the contours of probabilities f32 [s, size, size] of the model's grid on the image.

    Args:
        seen: the image.
        probs: the probabilities.
        names: s prompts.
        readings: of sentences, None for styles and samples.
        caveats: of each sentence, besides those of the image; empty for styles and samples.
        source: the model's description.
        note: the first words of each file.
    """
    pixel_mm2 = float(np.prod(seen.picture.spacing_mm, dtype=float))
    on_image = images.from_model(probs, seen.placement)
    return [
        Segmentation(
            prompt=name,
            probability=on_image[n],
            area_mm2=None if np.isnan(pixel_mm2) else pixel_mm2 * int((on_image[n] > 0.5).sum()),
            caveats=(*seen.caveats, *(caveats[n] if caveats else ())),
            reading=readings[n] if readings else None,
            source=source,
            note=note,
            crop=seen.placement,
            shown=seen.shown,
        )
        for n, name in enumerate(names)
    ]
