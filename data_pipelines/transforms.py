"""Intensities and geometry: from a source's record to the model's input."""

import numpy as np
from scipy import ndimage

from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def limits(record: Record, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Returns the intensities f32 [C] that windowing maps to -1 and to 1.

    "HU": `settings.window_hu`. "unit": 0 and 1. "arbitrary": `settings.percentiles` of each
    channel over the source's whole image.
    """
    if record.intensity_unit == "arbitrary":
        low, high = np.percentile(record.image, settings.percentiles, axis=(0, 1))
    else:
        low, high = settings.window_hu if record.intensity_unit == "HU" else (0.0, 1.0)
    channels = record.image.shape[-1:]
    return np.full(channels, low, np.float32), np.full(channels, high, np.float32)


def window(record: Record, settings: Settings) -> Record:
    """Clips the image at its limits and scales it: -1 + 2 (x - low) / (high - low).

    Raises:
        InputError: nothing is left to see between the limits.
    """
    low, high = limits(record, settings)
    if (low >= high).any():
        raise InputError(
            f"{settings.name}: record {record.record_id!r}: percentiles {settings.percentiles} "
            "of the image are equal; widen data.percentiles"
        )
    image = np.clip(record.image, low, high)
    if (image.min(axis=(0, 1)) == image.max(axis=(0, 1))).any():
        raise InputError(
            f"{settings.name}: record {record.record_id!r}: the image is constant between "
            f"{low.tolist()} and {high.tolist()} ({record.intensity_unit}); check intensity_unit "
            "and data.window_hu"
        )
    return record._replace(image=-1 + 2 * (image - low) / (high - low))


def fit(
    record: Record, settings: Settings, *, background: np.ndarray | np.float32
) -> tuple[Record, bool]:
    """Resamples, then crops or pads to [size, size], in one linear interpolation.

    Output pixel o shows input position (o - size // 2) s / s_in + n // 2 for an axis of n pixels
    of s_in mm and a target of s mm: the pixel n // 2, where a source puts its object, becomes
    pixel size // 2, and without resampling values are copied exactly. Where pixels grow, a
    Gaussian of (s / s_in - 1) / 2 input pixels goes first, against aliasing. Masks are
    interpolated likewise and cut at 1/2, which keeps areas in mm^2. Unknown spacing (NaN), or
    `spacing_mm` = 0, resamples nothing.

    Args:
        record: at its own geometry.
        settings: target size and spacing.
        background: f32 [C] or one number, image value beyond the input; masks are 0 there.

    Returns:
        The record at the target geometry, and whether a mask lost pixels beyond its border.
    """
    resampled = bool(settings.spacing_mm) and not np.isnan(record.spacing_mm).any()
    steps = settings.spacing_mm / record.spacing_mm.astype(float) if resampled else np.ones(2)
    height_width = record.masks.shape[1:]
    at = [
        n // 2 + (np.arange(settings.size) - settings.size // 2) * step
        for n, step in zip(height_width, steps, strict=True)
    ]
    inside = np.logical_and.outer(
        *((o >= -0.5) & (o <= n - 0.5) for o, n in zip(at, height_width, strict=True))
    )
    seen = np.logical_and.outer(
        *(
            (np.arange(n) >= o[0] - step / 2) & (np.arange(n) <= o[-1] + step / 2)
            for o, n, step in zip(at, height_width, steps, strict=True)
        )
    )
    image = np.moveaxis(_sample(np.moveaxis(record.image, -1, 0), at, steps), 0, -1)
    masks = _sample(record.masks.astype(np.float32), at, steps)
    fitted = record._replace(
        image=np.where(inside[..., None], image, background),
        masks=((masks >= 0.5) & inside).astype(np.uint8),
        spacing_mm=np.full(2, settings.spacing_mm, np.float32) if resampled else record.spacing_mm,
    )
    return fitted, bool(record.masks[:, ~seen].any())


def _sample(planes: np.ndarray, at: list[np.ndarray], steps: np.ndarray) -> np.ndarray:
    """Returns f32 planes [P, h, w] read at rows `at[0]` and columns `at[1]` of [P, H, W]."""
    blur = np.maximum(steps - 1, 0) / 2
    if blur.any():
        planes = ndimage.gaussian_filter(planes, blur, axes=(1, 2), mode="nearest")
    shape, offset = (len(at[0]), len(at[1])), (at[0][0], at[1][0])
    return np.stack(
        [
            ndimage.affine_transform(plane, steps, offset, shape, order=1, mode="nearest")
            for plane in planes
        ]
    )
