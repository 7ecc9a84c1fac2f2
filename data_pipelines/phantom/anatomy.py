"""The shape of one patient's prostate and seminal vesicles, drawn at random."""

from typing import NamedTuple

import numpy as np

from data_pipelines.phantom.shapes import Field, Grid, ellipse, star

APEX, BASE = -0.92, 0.95  # ends of the prostate along z, in half heights
VESICLES_MM = 14.0  # how far the seminal vesicles reach above the base
# Detail of the outline: scales in mm, and standard deviations in mm.
DETAIL = ((3.0, 0.45), (6.0, 0.9), (14.0, 0.9))
_ANGLES = 360
_BEYOND = 0.6  # mm by which the outline shrinks per mm beyond the apex or the base


class Anatomy(NamedTuple):
    """Sizes in mm, and the random parts of the outline."""

    half_width: float
    half_depth: float
    half_height: float
    tilt: float  # mm to the back per mm to the head
    transition: float  # size of the transition zone, 0..1; large glands have a large one
    dent: float  # depth of the posterior groove
    waves: np.ndarray  # f64 [2, 5], cosine and sine of the outline's harmonics, share of the radius
    twist: np.ndarray  # f64 [2, 5], change of the waves per half height
    detail: tuple[Field, ...]  # one per line of DETAIL
    vesicle: tuple[float, float, float]  # half length, half thickness, slope of the side arms

    @property
    def apex_mm(self) -> float:
        """Height z of the lower end of the prostate."""
        return APEX * self.half_height

    @property
    def base_mm(self) -> float:
        """Height z of the upper end of the prostate."""
        return BASE * self.half_height


def draw(rng: np.random.Generator) -> Anatomy:
    """Returns the anatomy of a random patient."""
    growth = rng.beta(1.6, 2.6)  # benign hyperplasia of the transition zone
    return Anatomy(
        half_width=rng.normal(23.0, 1.3) + 6.0 * growth,
        half_depth=rng.normal(15.5, 1.1) + 7.0 * growth,
        half_height=rng.normal(20.0, 1.4) + 5.0 * growth,
        tilt=rng.normal(0.12, 0.05),
        transition=0.62 + 0.32 * growth,
        dent=rng.uniform(0.5, 3.0) * (1 - 0.6 * growth),
        waves=rng.normal(0.0, 1.0, (2, 5)) * (0.02, 0.02, 0.016, 0.012, 0.008),
        twist=rng.normal(0.0, 1.0, (2, 5)) * (0.02, 0.015, 0.012, 0.008, 0.006),
        detail=tuple(Field(rng, scale) for scale, _ in DETAIL),
        vesicle=(rng.uniform(19.0, 26.0), rng.uniform(3.6, 5.6), rng.normal(0.12, 0.1)),
    )


class Outlines(NamedTuple):
    """Distances in mm from outlines on a grid, f32 [n, H, W], negative inside."""

    smooth: np.ndarray  # of the prostate without detail
    detail: tuple[np.ndarray, ...]  # how far each line of DETAIL moves it outwards
    vesicles: np.ndarray

    @property
    def prostate(self) -> np.ndarray:
        """The distance from the true outline."""
        return self.smooth - sum(self.detail)


def outlines(anatomy: Anatomy, grid: Grid) -> Outlines:
    """Returns the outlines of a patient's organs on a grid."""
    fields = zip(anatomy.detail, DETAIL, strict=True)
    detail = tuple(np.float32(deviation) * field.on(grid) for field, (_, deviation) in fields)
    return Outlines(_smooth(anatomy, grid), detail, _vesicles(anatomy, grid, detail[1]))


def profile(anatomy: Anatomy, z: np.ndarray | float) -> np.ndarray:
    """Returns the size of the cross-section at heights z [mm], 1 in the middle."""
    t = np.clip(z / anatomy.half_height, APEX, BASE)
    power = np.where(t < 0, np.float32(2.1), np.float32(3.0))
    return (1 - np.abs(t) ** power) ** (1 / power)


def centre_y(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """Returns y [mm] of the centre of the cross-section at heights z [mm]."""
    return anatomy.tilt * np.clip(z, anatomy.apex_mm, anatomy.base_mm)


def _smooth(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Returns the distance f32 [n, H, W] within the slice from the outline without detail.

    Beyond the apex and the base it continues the last cross-section, ever smaller: this is what an
    observer sees who draws too many slices.
    """
    z = np.clip(grid.z[:, :, 0], anatomy.apex_mm, anatomy.base_mm)  # [n, 1]
    t = z / anatomy.half_height
    angle = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    size = profile(anatomy, z)
    radius = 1 / np.hypot(
        np.cos(angle) / (anatomy.half_width * size),
        np.sin(angle) / (anatomy.half_depth * np.sqrt(size)),
    )
    order = np.arange(1, 6)[:, None]
    waves = anatomy.waves[:, None] + t * anatomy.twist[:, None]  # [2, n, 5]
    radius *= 1 + waves[0] @ np.cos(order * angle) + waves[1] @ np.sin(order * angle)
    behind = np.angle(np.exp(1j * (angle - np.pi / 2)))
    radius -= anatomy.dent * size * np.exp(-((behind / 0.5) ** 2))
    radius -= 0.06 * radius * np.exp(-((np.abs(behind) - 2.3) ** 2) / 0.2)  # narrower in front
    y = grid.y - centre_y(anatomy, grid.z)
    distance = star(grid.x, y, radius.astype(np.float32), grid.spacing_mm[1])
    beyond = np.maximum(grid.z - anatomy.base_mm, anatomy.apex_mm - grid.z)
    return distance + _BEYOND * np.maximum(beyond, 0)


def within(grid: Grid, low_mm: float, high_mm: float) -> np.ndarray:
    """Returns whether the middle of each slice lies between two heights, bool [n, 1, 1]."""
    return (grid.z >= low_mm) & (grid.z <= high_mm)


def _vesicles(anatomy: Anatomy, grid: Grid, lobes: np.ndarray) -> np.ndarray:
    """Returns the distance from the seminal vesicles, which meet in the middle.

    They start within the base and reach VESICLES_MM above it.
    """
    length, thickness, slope = anatomy.vesicle
    up = (grid.z - anatomy.base_mm) / VESICLES_MM  # 0 at the base, 1 at the upper end
    size = np.sqrt(np.clip(1 - (np.abs(up - 0.35) / 0.75) ** 3, 0.02, 1))
    side = np.abs(grid.x)
    y = grid.y - vesicles_y(anatomy, grid.z) + slope * side - 0.006 * side**2
    arms = ellipse(side - 0.45 * length, y, 0.6 * length * size, thickness * size)
    return arms - 0.2 * thickness * lobes


def vesicles_y(anatomy: Anatomy, z: np.ndarray) -> np.ndarray:
    """Returns y [mm] of the middle of the seminal vesicles at heights z [mm]."""
    behind = anatomy.half_depth * np.sqrt(profile(anatomy, anatomy.base_mm))
    return centre_y(anatomy, z) + 0.8 * behind + 0.25 * np.maximum(z - anatomy.base_mm, 0)
