"""Scales intensities and resamples: from a record or a picture to the model's input."""

import math
from typing import NamedTuple, Self

import numpy as np
from scipy import ndimage

from data_pipelines import validation
from data_pipelines.settings import Settings
from prosona_jax.types import ConstantImage, Record

_TRUNCATE = 4.0  # the blur of `sample` ends at this many standard deviations
_LEVELS = 65535  # of a stored image; one level is 1/47 HU in the default window


def limits(
    image: np.ndarray,
    intensity_unit: str,
    settings: Settings,
    of_volume: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the intensities f32 [C] that windowing maps to -1 and to 1.

    "HU": `settings.window_hu`. "unit": 0 and 1. "arbitrary": `of_volume`, f32 [2, C], else
    `settings.percentiles` of each channel over the whole image or volume f32 [..., C].
    """
    if intensity_unit == "arbitrary":
        if of_volume is None:
            axes = tuple(range(image.ndim - 1))
            of_volume = np.percentile(image, settings.percentiles, axis=axes)
        low, high = of_volume
    else:
        low, high = settings.window_hu if intensity_unit == "HU" else (0.0, 1.0)
    channels = image.shape[-1:]
    return np.full(channels, low, np.float32), np.full(channels, high, np.float32)


def window(record: Record, settings: Settings) -> Record:
    """Scales the record's image, see `scale`."""
    where = f"{settings.name}: record {record.record_id!r}"
    image = scale(
        record.image, record.intensity_unit, settings, where=where, of_volume=record.window
    )
    return record._replace(image=image)


def scale(
    image: np.ndarray,
    intensity_unit: str,
    settings: Settings,
    *,
    where: str,
    of_volume: np.ndarray | None = None,
) -> np.ndarray:
    """Clips an image f32 [H, W, C] at its limits and scales it: -1 + 2 (x - low) / (high - low).

    `of_volume` are the limits f32 [2, C] of the volume of an image of unit "arbitrary", if any.

    Raises:
        ConstantImage: the image is constant between the limits; the message starts with `where`.
    """
    low, high = limits(image, intensity_unit, settings, of_volume)
    if (low >= high).any():
        raise ConstantImage(
            f"{where}: percentiles {settings.percentiles} of the image are equal; "
            "widen data.percentiles"
        )
    image = np.clip(image, low, high)
    if validation.is_constant(image):
        raise ConstantImage(
            f"{where}: the image is constant between {low.tolist()} and {high.tolist()} "
            f"({intensity_unit}); check intensity_unit and data.window_hu"
        )
    return -1 + 2 * (image - low) / (high - low)


def encode(image: np.ndarray) -> np.ndarray:
    """Returns an image that spans -1..1 as u16 of the same shape, to be stored."""
    return np.round((image + 1) / 2 * _LEVELS).astype(np.uint16)


def decode(stored: np.ndarray) -> np.ndarray:
    """Returns a stored image as f32, -1..1."""
    return stored.astype(np.float32) * np.float32(2 / _LEVELS) - 1


class Placement(NamedTuple):
    """The positions of the pixels of one grid on another grid, which is called the grid below.

    Pixel o of an axis lies at position start + o step on the axis of the grid below, in pixels.
    """

    shape: tuple[int, int]  # (h, w) of this grid
    below: tuple[int, int]  # (H, W) of the grid below
    start: np.ndarray  # f64 [2], (row, column) below pixel (0, 0)
    step: np.ndarray  # f64 [2], (rows, columns) below from one pixel to the next

    def inverse(self) -> Self:
        """Returns the placement of the grid below on this grid."""
        return type(self)(self.below, self.shape, -self.start / self.step, 1 / self.step)

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Returns (lowest, highest) row and column that this grid covers on the grid below."""
        axes = zip(self.shape, self.start, self.step, strict=True)
        rows, columns = ((start - step / 2, start + (n - 0.5) * step) for n, start, step in axes)
        return rows, columns

    def share_covered(self) -> float:
        """Returns the share of this grid's pixels that lie on the grid below, 0 to 1."""
        return float(np.prod([inside.mean() for inside in self.covered()]))

    def covered(self) -> list[np.ndarray]:
        """Returns which rows bool [h] and which columns bool [w] lie on the grid below."""
        axes = zip(self.positions(), self.below, strict=True)
        return [(positions >= -0.5) & (positions <= n - 0.5) for positions, n in axes]

    def positions(self) -> list[np.ndarray]:
        """Returns the rows f64 [h] and columns f64 [w] of this grid's pixels on the grid below."""
        axes = zip(self.shape, self.start, self.step, strict=True)
        return [start + np.arange(n) * step for n, start, step in axes]


def place(
    below: tuple[int, int],
    spacing_mm: np.ndarray,
    settings: Settings,
    *,
    centre: tuple[int, int] | None = None,
) -> Placement:
    """Returns the model's grid [size, size] on an image of `below` = (H, W) pixels.

    On an axis with input pixels of s_in mm, output pixels of s mm and a centre c, output pixel o
    lies at input position (o - size // 2) s / s_in + c. So c becomes pixel size // 2. If the
    spacing is unknown (NaN) or `settings.spacing_mm` is 0, s / s_in is 1 and nothing is resampled.

    Args:
        below: height and width of the image.
        spacing_mm: f32 [2], size of its pixels.
        settings: target size and spacing.
        centre: pixel (row, column); None: (H // 2, W // 2), where sources put the object.
    """
    resampled = bool(settings.spacing_mm) and not np.isnan(spacing_mm).any()
    step = settings.spacing_mm / spacing_mm.astype(float) if resampled else np.ones(2)
    middle = np.array(centre or (below[0] // 2, below[1] // 2))
    start = middle - settings.size // 2 * step
    return Placement((settings.size, settings.size), below, start, step)


def sample(
    planes: np.ndarray, placement: Placement, *, background: np.ndarray | np.float32
) -> np.ndarray:
    """Returns planes f32 [P, H, W] interpolated linearly on the grid of a placement, f32 [P, h, w].

    If pixels grow by a factor f, the input is first blurred by a Gaussian of (f - 1) / 2 input
    pixels, against aliasing. Without resampling, values are copied exactly. `background`, f32 [P]
    or one number, is the value outside of the input.
    """
    blur = _blur(placement.step)
    if blur.any():
        planes = ndimage.gaussian_filter(
            planes, blur, axes=(1, 2), mode="nearest", truncate=_TRUNCATE
        )
    fill = np.broadcast_to(np.asarray(background, np.float32), len(planes))
    result = np.tile(fill[:, None, None], (1, *placement.shape))
    # Only covered pixels are interpolated: a crop covers a small part of a large image.
    rows, columns = (np.flatnonzero(axis) for axis in placement.covered())
    if not (rows.size and columns.size):
        return result
    start = placement.start + np.array([rows[0], columns[0]]) * placement.step
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for plane, read in zip(planes, result, strict=True):
        read[box] = ndimage.affine_transform(
            plane, placement.step, start, (len(rows), len(columns)), order=1, mode="nearest"
        )
    return result


def _blur(step: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of the blur in pixels of the grid below."""
    return np.maximum(step - 1, 0) / 2


def blur_reach(step: float) -> int:
    """Returns how many pixels around a position `sample` reads, blur and interpolation together."""
    return math.ceil(_TRUNCATE * _blur(np.array(step))) + 1


def sample_image(
    image: np.ndarray, placement: Placement, *, background: np.ndarray | np.float32
) -> np.ndarray:
    """Returns an image f32 [H, W, C] interpolated on the grid of a placement, see `sample`."""
    planes = sample(np.moveaxis(image, -1, 0), placement, background=background)
    return np.moveaxis(planes, 0, -1)


def fit(
    record: Record, settings: Settings, *, background: np.ndarray | np.float32
) -> tuple[Record, bool]:
    """Resamples, then crops or pads to [size, size], in one linear interpolation.

    See `place` for the geometry and `sample` for the interpolation. Masks are interpolated in the
    same way and thresholded at 1/2, which keeps areas in mm^2.

    Args:
        record: a record at its own geometry.
        settings: target size and spacing.
        background: f32 [C] or one number, the image value outside of the input; masks are 0 there.

    Returns:
        The record at the target geometry, and whether a mask lost pixels outside of the crop.
    """
    height, width = record.masks.shape[1:]
    placement = place((height, width), record.spacing_mm, settings)
    seen = np.logical_and.outer(
        *(
            (np.arange(n) >= o[0] - step / 2) & (np.arange(n) <= o[-1] + step / 2)
            for o, n, step in zip(
                placement.positions(), placement.below, placement.step, strict=True
            )
        )
    )
    masks = sample(record.masks.astype(np.float32), placement, background=np.float32(0))
    fitted = record._replace(
        image=sample_image(record.image, placement, background=background),
        masks=(masks >= 0.5).astype(np.uint8),
        spacing_mm=(record.spacing_mm * placement.step).astype(np.float32),
    )
    return fitted, bool(record.masks[:, ~seen].any())
