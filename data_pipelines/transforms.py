"""Intensities and geometry: from a source's record or a picture to the model's input."""

from typing import NamedTuple, Self

import numpy as np
from scipy import ndimage

from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def limits(
    image: np.ndarray, intensity_unit: str, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the intensities f32 [C] that windowing maps to -1 and to 1.

    "HU": `settings.window_hu`. "unit": 0 and 1. "arbitrary": `settings.percentiles` of each
    channel over the whole image f32 [H, W, C].
    """
    if intensity_unit == "arbitrary":
        low, high = np.percentile(image, settings.percentiles, axis=(0, 1))
    else:
        low, high = settings.window_hu if intensity_unit == "HU" else (0.0, 1.0)
    channels = image.shape[-1:]
    return np.full(channels, low, np.float32), np.full(channels, high, np.float32)


def window(record: Record, settings: Settings) -> Record:
    """Scales the record's image, see `scale`."""
    where = f"{settings.name}: record {record.record_id!r}"
    image = scale(record.image, record.intensity_unit, settings, where=where)
    return record._replace(image=image)


def scale(image: np.ndarray, intensity_unit: str, settings: Settings, *, where: str) -> np.ndarray:
    """Clips an image f32 [H, W, C] at its limits and scales it: -1 + 2 (x - low) / (high - low).

    Raises:
        InputError: nothing is left to see between the limits; the line starts with `where`.
    """
    low, high = limits(image, intensity_unit, settings)
    if (low >= high).any():
        raise InputError(
            f"{where}: percentiles {settings.percentiles} of the image are equal; "
            "widen data.percentiles"
        )
    image = np.clip(image, low, high)
    if (image.min(axis=(0, 1)) == image.max(axis=(0, 1))).any():
        raise InputError(
            f"{where}: the image is constant between {low.tolist()} and {high.tolist()} "
            f"({intensity_unit}); check intensity_unit and data.window_hu"
        )
    return -1 + 2 * (image - low) / (high - low)


class Placement(NamedTuple):
    """Where the pixels of one grid lie on another.

    Pixel o of an axis shows position start + o step of the axis below it, in pixels.
    """

    shape: tuple[int, int]  # (h, w) of this grid
    below: tuple[int, int]  # (H, W) of the grid it lies on
    start: np.ndarray  # f64 [2], (row, column) of pixel (0, 0)
    step: np.ndarray  # f64 [2]

    def inverse(self) -> Self:
        """Returns where the pixels of the grid below lie on this one."""
        return type(self)(self.below, self.shape, -self.start / self.step, 1 / self.step)

    def limits(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Returns (lowest, highest) row and column of what this grid covers of the one below."""
        axes = zip(self.shape, self.start, self.step, strict=True)
        rows, columns = ((start - step / 2, start + (n - 0.5) * step) for n, start, step in axes)
        return rows, columns

    def share_covered(self) -> float:
        """Returns the share of this grid's pixels that lie on the grid below, 0 to 1."""
        return float(np.prod([inside.mean() for inside in self.covered()]))

    def covered(self) -> list[np.ndarray]:
        """Returns which rows bool [h] and which columns bool [w] lie on the grid below."""
        axes = zip(self.positions(), self.below, strict=True)
        return [(places >= -0.5) & (places <= n - 0.5) for places, n in axes]

    def positions(self) -> list[np.ndarray]:
        """Returns the rows f64 [h] and columns f64 [w] below this grid's pixels."""
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

    Output pixel o shows input position (o - size // 2) s / s_in + c for an axis of pixels of s_in
    mm, a target of s mm and a centre c, which so becomes pixel size // 2. Unknown spacing (NaN), or
    `settings.spacing_mm` = 0, resamples nothing: s / s_in is 1.

    Args:
        below: height and width of the image.
        spacing_mm: f32 [2], its pixels' size.
        settings: target size and spacing.
        centre: pixel (row, column); None is (H // 2, W // 2), where a source puts its object.
    """
    resampled = bool(settings.spacing_mm) and not np.isnan(spacing_mm).any()
    step = settings.spacing_mm / spacing_mm.astype(float) if resampled else np.ones(2)
    middle = np.array(centre or (below[0] // 2, below[1] // 2))
    start = middle - settings.size // 2 * step
    return Placement((settings.size, settings.size), below, start, step)


def sample(
    planes: np.ndarray, placement: Placement, *, background: np.ndarray | np.float32
) -> np.ndarray:
    """Returns planes f32 [P, H, W] read on the grid of a placement, linearly: f32 [P, h, w].

    Where pixels grow by a factor f, a Gaussian of (f - 1) / 2 input pixels goes first, against
    aliasing; without resampling values are copied exactly. `background`, f32 [P] or one number,
    is the value beyond the input.
    """
    blur = np.maximum(placement.step - 1, 0) / 2
    if blur.any():
        planes = ndimage.gaussian_filter(planes, blur, axes=(1, 2), mode="nearest")
    fill = np.broadcast_to(np.asarray(background, np.float32), len(planes))
    result = np.tile(fill[:, None, None], (1, *placement.shape))
    # Nothing is read outside: a crop is a small part of a large image that it is brought back to.
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


def sample_image(
    image: np.ndarray, placement: Placement, *, background: np.ndarray | np.float32
) -> np.ndarray:
    """Returns an image f32 [H, W, C] read on the grid of a placement, see `sample`."""
    planes = sample(np.moveaxis(image, -1, 0), placement, background=background)
    return np.moveaxis(planes, 0, -1)


def fit(
    record: Record, settings: Settings, *, background: np.ndarray | np.float32
) -> tuple[Record, bool]:
    """Resamples, then crops or pads to [size, size], in one linear interpolation.

    See `place` for the geometry and `sample` for the interpolation. Masks are interpolated
    likewise and cut at 1/2, which keeps areas in mm^2.

    Args:
        record: at its own geometry.
        settings: target size and spacing.
        background: f32 [C] or one number, image value beyond the input; masks are 0 there.

    Returns:
        The record at the target geometry, and whether a mask lost pixels beyond its border.
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
