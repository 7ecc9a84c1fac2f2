"""The contours that a model draws on one image."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import distances, images
from data_pipelines.transforms import Placement
from prosona_jax.experiments.sentences import Reading
from prosona_jax.prediction import margins
from prosona_jax.prediction.seen import Seen


class Segmentation(NamedTuple):
    """One contour on one image; arrays are on the image's own grid [H, W]."""

    prompt: str  # a sentence, or the name of a style, profile or sample
    mask: np.ndarray  # u8 {0, 1} [H, W]: probability > 1/2, then moved by `added_mm`
    probability: np.ndarray  # f32 [H, W], 0 outside of the model's input
    added_mm: float  # margin added to the model's contour by geometry; negative: cut off
    area_mm2: float | None  # of the mask; None if the pixel size is unknown
    caveats: tuple[str, ...]  # what a user must know before trusting the contour
    reading: Reading | None  # of a sentence; None for a style or a sample
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file
    crop: Placement  # the position of the model's input on the image
    shown: np.ndarray  # f32 [H, W], the image's first channel as the model scales it, -1..1


def contours(
    seen: Seen,
    probs: np.ndarray,
    names: Sequence[str],
    readings: Sequence[Reading] | None,
    caveats: Sequence[Sequence[str]],
    *,
    margin_mm: float,
    source: dict[str, Any],
    note: str,
) -> list[Segmentation]:
    """Returns the contours of probabilities f32 [s, size, size] of the model's grid on the image.

    Args:
        seen: the image.
        probs: the probabilities.
        names: s prompts.
        readings: of sentences, None for styles and samples.
        caveats: of each prompt, besides those of the image; empty if there are none.
        margin_mm: margin to add to each contour, besides the part of a sentence's length that
            the model does not draw.
        source: the model's description.
        note: the first words of each file.
    """
    spacing_mm = seen.picture.spacing_mm
    pixel_mm2 = float(np.prod(spacing_mm, dtype=float))
    on_image = images.from_model(probs, seen.placement)
    found = []
    for n, name in enumerate(names):
        beyond_mm = readings[n].beyond_mm if readings else 0.0
        added_mm, of_margin = margins.in_all(name, margin_mm, beyond_mm, spacing_mm)
        mask = (on_image[n] > 0.5).astype(np.uint8)
        own = [*seen.doubts(mask), *(caveats[n] if caveats else ()), *of_margin]
        if added_mm:
            mask = distances.add_margin(mask, added_mm, spacing_mm)
        found.append(
            Segmentation(
                prompt=name,
                mask=mask,
                probability=on_image[n],
                added_mm=added_mm,
                area_mm2=None if np.isnan(pixel_mm2) else pixel_mm2 * int(mask.sum()),
                caveats=(*seen.caveats, *own),
                reading=readings[n] if readings else None,
                source=source,
                note=note,
                crop=seen.placement,
                shown=seen.shown,
            )
        )
    return found
