"""The institutions of the phantom: scanner, coil and protocol."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from data_pipelines.phantom.shapes import Field, Grid
from data_pipelines.phantom.tissues import Rectum


class Site(NamedTuple):
    """What an institution's images have in common; intensities are in its own arbitrary unit."""

    name: str
    tesla: float
    coil: str  # "surface" or "endorectal"
    spacing_mm: float  # of pixels
    slice_mm: float  # thickness, and distance of the slices
    blur_mm: float  # standard deviation of the point spread within a slice
    gamma: float  # contrast curve: signal^gamma
    noise: float  # standard deviation of each channel before the magnitude; urine is 1.2
    shading: float  # deviation of the logarithm of a surface coil's sensitivity
    gain: float  # units of the image per unit of signal
    offset: float  # units


SITES = (
    Site("institution 1", 3.0, "surface", 0.5, 3.0, 0.30, 1.0, 0.035, 0.12, 420.0, 0.0),
    Site("institution 2", 3.0, "surface", 0.4, 3.6, 0.36, 1.25, 0.05, 0.2, 1500.0, 40.0),
    Site("institution 3", 1.5, "endorectal", 0.6, 3.0, 0.33, 0.9, 0.03, 0.1, 150.0, 0.0),
    Site("institution 4", 1.5, "surface", 0.8, 4.0, 0.45, 0.75, 0.075, 0.12, 95.0, 12.0),
    Site("institution 5", 3.0, "surface", 0.65, 3.3, 0.35, 1.1, 0.045, 0.3, 7000.0, 0.0),
)
_COIL_MM, _COIL_GAIN = 16.0, 3.5  # an endorectal coil's reach, and its gain at the rectum's wall
_AIR, _STOOL, _GEL = 0.02, 0.4, 0.95


def rectum(site: Site, rng: np.random.Generator) -> Rectum:
    """Returns the rectum of a patient; an endorectal coil widens it with a dark balloon."""
    if site.coil == "endorectal":
        return Rectum(rng.uniform(17.0, 19.0), _AIR)
    return Rectum(
        rng.uniform(11.0, 16.0), float(rng.choice((_AIR, _STOOL, _GEL), p=(0.4, 0.4, 0.2)))
    )


def image(
    signal: np.ndarray, wall: np.ndarray, site: Site, grid: Grid, rng: np.random.Generator
) -> np.ndarray:
    """Returns the image f32 [n, H, W] in the site's unit.

    The signal S becomes gain * |b S^gamma + noise| + offset, with the sensitivity b of the coils
    and complex noise, so that magnitudes have Rice's distribution.

    Args:
        signal: f32 [n, H, W], see `tissues.paint`.
        wall: f32 [n, H, W], distance [mm] from the rectum's wall.
        site: the institution.
        grid: positions of the voxels.
        rng: of this case.
    """
    sensitivity = np.exp(site.shading * Field(rng, 45.0).on(grid))
    if site.coil == "endorectal":
        sensitivity *= 1 + _COIL_GAIN * np.exp(-np.maximum(wall, 0) / _COIL_MM)
    blur = site.blur_mm / site.spacing_mm
    seen = ndimage.gaussian_filter(signal, (0.4, blur, blur), mode="nearest", truncate=3.0)
    seen = sensitivity * seen**site.gamma
    noise = rng.standard_normal((2, *signal.shape), np.float32) * site.noise
    gain = site.gain * np.exp(rng.normal(0.0, 0.12))
    return (gain * np.hypot(seen + noise[0], noise[1]) + site.offset).astype(np.float32)
