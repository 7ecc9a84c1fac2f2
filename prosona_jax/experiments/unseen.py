"""Caveats about images that differ from the training images of a run."""

from collections.abc import Sequence

import numpy as np

from prosona_jax.runtime.workdir import Run

_UNITS = {"HU": "in HU", "unit": "from 0 to 1", "arbitrary": "in an arbitrary unit"}
_SPACING_SLACK = 0.1  # relative: pixels beyond the training images' range by less are accepted


def about_unit(run: Run, unit: str) -> list[str]:
    """Returns a caveat if the intensities of images have another unit than in training."""
    if unit == run.intensity_unit:
        return []
    return [
        f"Other intensities: these images have values {_UNITS[unit]}, but the training images had "
        f"values {_UNITS[run.intensity_unit]}; the contrast may be new to the model."
    ]


def about_window(run: Run, unit: str, *, by_volume: bool) -> list[str]:
    """Returns a caveat if images of unit "arbitrary" have other windows than in training.

    Args:
        run: the run of the model.
        unit: the unit of the images.
        by_volume: their windows are percentiles of whole volumes.
    """
    if unit != "arbitrary" or run.intensity_unit != unit or by_volume == run.windowed_by_volume:
        return []
    if by_volume:
        return [
            "Window of the whole volume: these images are clipped at percentiles of their volumes, "
            "but the training images were clipped at percentiles of themselves, so a tissue may "
            "have another value."
        ]
    return [
        "Window of a slice alone: these images are clipped at percentiles of themselves, but the "
        "training images were clipped at percentiles of their whole volumes, so a tissue may have "
        "another value; give the slices as parts of their volumes."
    ]


def about_pixels(
    run: Run, native_spacing_mm: Sequence[Sequence[float]] | None, *, resampled_mm: float
) -> list[str]:
    """Returns a caveat if the pixels of images differ in size from those of the training images.

    Args:
        run: the run of the model. Training images of unknown pixel size were not resampled.
        native_spacing_mm: (row, column) of the smallest and of the largest pixels; None: unknown.
        resampled_mm: the pixel size that images of known pixel size were resampled to; 0: none
            were resampled.
    """
    if run.native_spacing_mm is None:
        return _about_pixels_of_unknown(native_spacing_mm, resampled_mm)
    trained_mm = run.config["data"]["spacing_mm"]
    native = _span(run.native_spacing_mm)
    trained = f"the model was trained on images with pixels of {native}, without resampling"
    if trained_mm:
        trained = f"the model was trained on images resampled to {trained_mm:g} mm"
    if native_spacing_mm is None:
        if trained_mm:
            return [f"Pixel size unknown: it is assumed to be {trained_mm:g} mm, as in training."]
        return [f"Pixel size unknown: {trained}."]
    sizes = [[resampled_mm]] if resampled_mm else native_spacing_mm
    trained_sizes = [[trained_mm]] if trained_mm else run.native_spacing_mm
    smaller = np.min(sizes) < np.min(trained_sizes) * (1 - _SPACING_SLACK)
    if smaller or _larger(sizes, trained_sizes):
        how = "were resampled to" if resampled_mm else "have pixels of"
        return [f"Other pixel size: these images {how} {_span(sizes)}, but {trained}."]
    # Resampling cannot add the detail that an image lacks.
    all_trained = [*trained_sizes, *run.native_spacing_mm]
    if trained_mm and resampled_mm and _larger(native_spacing_mm, all_trained):
        return [
            f"Coarse pixels: these images had pixels of {_span(native_spacing_mm)} before "
            f"resampling, but {trained} from {native}, which show finer detail."
        ]
    return []


def _about_pixels_of_unknown(
    native_spacing_mm: Sequence[Sequence[float]] | None, resampled_mm: float
) -> list[str]:
    """Returns a caveat for a run whose training images have an unknown pixel size."""
    alike = "objects must be about as large in pixels as in the training images."
    if native_spacing_mm is None:
        return [
            "Pixel size unknown: it is unknown for these images and for the training images, and "
            f"none are resampled; {alike}"
        ]
    if resampled_mm:
        return [
            "Resampled unlike in training: these images, with pixels of "
            f"{_span(native_spacing_mm)}, were resampled to {resampled_mm:g} mm, but the training "
            "images, of unknown pixel size, were not resampled; score with data.spacing_mm=0."
        ]
    return [
        "Not resampled: the pixel size of the training images is unknown, so these images keep "
        f"their pixels of {_span(native_spacing_mm)}; {alike}"
    ]


def _larger(sizes_mm: Sequence[Sequence[float]], trained_mm: Sequence[Sequence[float]]) -> bool:
    """Whether the largest pixel is larger than the largest pixel of the training images."""
    largest = max(map(max, trained_mm))
    return bool(np.max(sizes_mm) > largest * (1 + _SPACING_SLACK))


def _span(spacing_mm: Sequence[Sequence[float]]) -> str:
    low, high = np.min(spacing_mm), np.max(spacing_mm)
    return f"{low:.3g} mm" if low == high else f"{low:.3g} to {high:.3g} mm"
