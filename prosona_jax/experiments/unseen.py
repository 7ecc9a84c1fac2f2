"""What images have that the model of a run has never seen."""

from collections.abc import Sequence

import numpy as np

from prosona_jax.runtime.workdir import Run

_UNITS = {"HU": "in HU", "unit": "from 0 to 1", "arbitrary": "of an arbitrary unit"}
_SPACING_SLACK = 0.1  # relative, beyond the training images' pixels


def about_unit(run: Run, unit: str) -> list[str]:
    """Returns what the intensities of images have that the model of a run has never seen."""
    if unit == run.intensity_unit:
        return []
    return [
        f"Other intensities: these are {_UNITS[unit]}, and the model was trained on ones "
        f"{_UNITS[run.intensity_unit]}; contrast may be new to it."
    ]


def about_pixels(
    run: Run, native_spacing_mm: Sequence[Sequence[float]] | None, *, resampled_mm: float
) -> list[str]:
    """Returns how the pixels of images differ from those that the model of a run was trained on.

    Args:
        run: the model's; of training images whose size of a pixel is unknown none was resampled.
        native_spacing_mm: (row, column) of the smallest and of the largest pixels; None: unknown.
        resampled_mm: what images of known size were resampled to; 0: they are taken as they are.
    """
    if run.native_spacing_mm is None:
        return _about_pixels_of_unknown(native_spacing_mm, resampled_mm)
    trained_mm = run.config["data"]["spacing_mm"]
    trained = f"the model, which resamples nothing, was trained on {_span(run.native_spacing_mm)}"
    if trained_mm:
        trained = f"the model was trained on images resampled to {trained_mm:g} mm"
    if native_spacing_mm is None:
        if trained_mm:
            return [f"Pixel size unknown: it is taken for the model's, {trained_mm:g} mm."]
        return [f"Pixel size unknown: {trained}."]
    sizes = [[resampled_mm]] if resampled_mm else native_spacing_mm
    known = [[trained_mm]] if trained_mm else run.native_spacing_mm
    if np.min(sizes) < np.min(known) * (1 - _SPACING_SLACK) or _larger(sizes, known):
        done = ", to which these were resampled" if resampled_mm else ""
        return [f"Other pixel size: {_span(sizes)}{done}, and {trained}."]
    # Finer detail than an image has no resampling gives.
    if trained_mm and resampled_mm and _larger(native_spacing_mm, [*known, *run.native_spacing_mm]):
        return [
            f"Coarse pixels: of {_span(native_spacing_mm)}, and {trained} from "
            f"{_span(run.native_spacing_mm)}, which show finer detail."
        ]
    return []


def _about_pixels_of_unknown(
    native_spacing_mm: Sequence[Sequence[float]] | None, resampled_mm: float
) -> list[str]:
    alike = "objects must be about as large in pixels as those of the training images."
    if native_spacing_mm is None:
        return [
            "Pixel size unknown: of these images as of those of training, and none is resampled; "
            f"{alike}"
        ]
    if resampled_mm:
        return [
            "Resampled unlike in training: these images were brought from "
            f"{_span(native_spacing_mm)} to {resampled_mm:g} mm, and the training images, of "
            "unknown pixel size, were not; score with data.spacing_mm=0."
        ]
    return [
        "Not resampled: the training images are of unknown pixel size, so pixels of "
        f"{_span(native_spacing_mm)} are taken as they are; {alike}"
    ]


def _larger(sizes_mm: Sequence[Sequence[float]], known_mm: Sequence[Sequence[float]]) -> bool:
    """Whether the largest pixel is larger than the largest known one."""
    largest = max(map(max, known_mm))
    return bool(np.max(sizes_mm) > largest * (1 + _SPACING_SLACK))


def _span(spacing_mm: Sequence[Sequence[float]]) -> str:
    low, high = np.min(spacing_mm), np.max(spacing_mm)
    return f"{low:.3g} mm" if low == high else f"{low:.3g} to {high:.3g} mm"
