"""Margins that geometry adds to the contour of a model: their check, and what is said of them."""

import numpy as np

from prosona_jax import unicode
from prosona_jax.types import InputError


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


def in_all(
    name: str, margin_mm: float, beyond_mm: float, spacing_mm: np.ndarray
) -> tuple[float, list[str]]:
    """Returns the margin that geometry adds to the contour of a prompt, and its caveats.

    Args:
        name: the prompt.
        margin_mm: margin that the user asks for.
        beyond_mm: part of the length in a sentence that no rater drew; 0 for a style. It is not
            added if the pixel size is unknown.
        spacing_mm: size of a pixel or voxel; NaN: unknown.
    """
    found = []
    if beyond_mm and np.isnan(spacing_mm).any():
        found.append(unknown_pixels(name))
        beyond_mm = 0.0
    added_mm = margin_mm + beyond_mm
    if added_mm:
        found.append(added(name, added_mm))
    return added_mm, found


def added(name: str, mm: float) -> str:
    """Returns the caveat of a contour that was moved by geometry."""
    verb = "added to" if mm > 0 else "cut off"
    return (
        f"{unicode.shorten(name, 80)!r}: a margin of {round(abs(mm), 2):g} mm was {verb} the "
        "model's contour by geometry, whatever the image shows there."
    )


def unknown_pixels(name: str) -> str:
    """Returns the caveat of a length that cannot be added."""
    return (
        f"The prompt {unicode.shorten(name, 80)!r} asks for a longer distance than the raters "
        "differ by. The rest was not added, because the pixel size is unknown."
    )
