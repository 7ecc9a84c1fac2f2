"""Paints the pelvis around a prostate as the signal of a T2-weighted sequence.

The signal of urine is about 1.2, of fat 0.75, of muscle 0.2, of air 0. Organs are painted from the
back to the front, each with a soft edge of one pixel.
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.phantom import anatomy as anatomies
from data_pipelines.phantom.anatomy import Anatomy, Outlines
from data_pipelines.phantom.shapes import Field, Grid, ellipse

FAT, MUSCLE, CORTEX, MARROW, URINE = 0.75, 0.2, 0.05, 0.5, 1.2
BAND_MM = 0.9  # half thickness of the capsule, and of other dark bands


class _Scene:
    """The image that is painted, and what every organ needs."""

    def __init__(
        self, anatomy: Anatomy, grid: Grid, outlines: Outlines, rng: np.random.Generator
    ) -> None:
        self.anatomy, self.grid, self.rng = anatomy, grid, rng
        self.fine, self.middle, self.coarse = (Field(rng, mm).on(grid) for mm in (1.6, 3.5, 8.0))
        self.image = (
            FAT
            + 0.04 * self.coarse
            - 0.3 * np.exp(-((self.middle / 0.16) ** 2)) * (self.coarse > 0.3)
        )
        self.outline, self.vesicles = outlines.prostate, outlines.vesicles
        self.centre = anatomies.centre_y(anatomy, grid.z)  # [n, 1, 1]
        self.size = anatomies.profile(anatomy, grid.z)
        self.depth = anatomy.half_depth * np.sqrt(self.size)
        self.width = anatomy.half_width * self.size

    def paint(
        self, distance: np.ndarray, signal: float | np.ndarray, share: float | np.ndarray = 1.0
    ) -> None:
        """Replaces the image where `distance` [mm] is negative, by a share of 0..1."""
        covered = np.clip(0.5 - distance / self.grid.spacing_mm[1], 0, 1) * share
        self.image += covered * (signal - self.image)

    def between(self, low_mm: float, high_mm: float) -> np.ndarray:
        """Returns the share f32 [n, 1, 1] of each slice's thickness between two heights."""
        step = self.grid.spacing_mm[0]
        up = np.clip((self.grid.z - low_mm) / step + 0.5, 0, 1)
        return up * np.clip((high_mm - self.grid.z) / step + 0.5, 0, 1)


class Rectum(NamedTuple):
    """The rectum: where it lies and what fills it."""

    radius_mm: float
    signal: float  # of its content: air, stool or gel; a coil's balloon is dark


def paint(
    anatomy: Anatomy, grid: Grid, outlines: Outlines, rectum: Rectum, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the signal f32 [n, H, W], and the distance [mm] from the rectum's wall."""
    scene = _Scene(anatomy, grid, outlines, rng)
    _walls(scene)
    wall = _rectum(scene, rectum)
    _surroundings(scene)
    _bladder(scene)
    _vesicles(scene)
    _prostate(scene)
    return np.maximum(scene.image, 0).astype(np.float32), wall


def _walls(scene: _Scene) -> None:
    """Paints the pubic bones, the obturator muscles and the levator ani."""
    a, grid, rng = scene.anatomy, scene.grid, scene.rng
    side = np.abs(grid.x)
    muscle = MUSCLE + 0.025 * scene.fine + 0.03 * scene.coarse
    inner = 36.0 + 0.12 * (grid.z + 10) + 0.011 * (grid.y - 2) ** 2 + 1.2 * scene.coarse
    scene.paint(inner - side, muscle)
    # The ischium lies outside of the obturator muscle.
    ischium = inner + 12.5 - side
    scene.paint(ischium, CORTEX)
    scene.paint(ischium + 1.6, MARROW + 0.05 * scene.middle)

    front = -(a.half_depth + rng.uniform(11.0, 15.0))
    # Above the pubic bones lie the rectus muscles, between two layers of fat.
    rectus = np.abs(grid.y - front + 12.0 - 0.004 * side**2 + scene.coarse) - 4.5
    scene.paint(np.maximum(rectus, 0.7 - side), muscle, scene.between(0.0, 200.0))
    # The pubic bones lean forward: their back is farther in front in higher slices.
    above = np.maximum(grid.z + 0.2 * a.half_height, 0)
    pubis = (grid.y - front - 0.42 * side + 1.1 * above + scene.coarse) / 1.08
    scene.paint(pubis, CORTEX)
    scene.paint(pubis + 1.8, MARROW + 0.06 * scene.middle + 0.04 * scene.coarse)
    scene.paint(np.maximum(pubis, side - 3.0), 0.3 + 0.04 * scene.fine)

    reach = ellipse(grid.x, grid.y - scene.centre - 9.0, scene.width + 6.5, scene.depth + 19.0)
    sling = np.abs(reach + 1.2 * scene.coarse) - 1.6
    behind = np.clip((grid.y - scene.centre + 0.35 * a.half_depth) / 4.0, 0, 1)
    scene.paint(sling, muscle, behind * scene.between(-60.0, 0.35 * a.half_height))


def _rectum(scene: _Scene, rectum: Rectum) -> np.ndarray:
    """Paints the rectum: muscle, mucosa, content; returns the distance [mm] from its wall."""
    a, grid = scene.anatomy, scene.grid
    t = grid.z / a.half_height
    radius = rectum.radius_mm * (0.62 + 0.38 / (1 + np.exp(-5 * (t + 0.75))))
    gap = 1.5 + 9.0 / (1 + np.exp(-8 * (t - 1.0)))  # the seminal vesicles lie between
    behind = scene.centre + a.half_depth * np.maximum(np.sqrt(scene.size), 0.86) - a.dent
    y = grid.y - behind - gap - 0.85 * radius
    wall = ellipse(grid.x - 2.0 * np.sin(1.3 * t + a.tilt * 20), y, 1.12 * radius, 0.85 * radius)
    wall += 1.1 * scene.coarse + 0.5 * scene.middle
    scene.paint(wall, MUSCLE + 0.03 * scene.fine)
    scene.paint(wall + 2.0, 0.55 + 0.05 * scene.fine)
    scene.paint(wall + 3.6, rectum.signal * (1 + 0.25 * scene.middle + 0.2 * scene.fine))
    return wall


def _surroundings(scene: _Scene) -> None:
    """Paints the veins and nerves around the prostate, and the urethra below it."""
    a, grid = scene.anatomy, scene.grid
    veins = 0.7 + 0.28 * np.tanh(1.5 * scene.middle) - 0.25 * np.exp(-((scene.fine / 0.3) ** 2))
    lateral = np.clip((np.abs(grid.x) / scene.width - 0.55) / 0.2, 0, 1)
    scene.paint(scene.outline - 4.0 - 0.8 * scene.coarse, veins, 0.8 * lateral)
    complex_ = ellipse(grid.x, grid.y - scene.centre + scene.depth + 4.0, 15.0, 5.0)
    scene.paint(complex_ + scene.coarse, veins + 0.1, scene.between(-60.0, 0.4 * a.half_height))

    below = scene.between(-60.0, a.apex_mm)
    y = grid.y - a.tilt * a.apex_mm
    ring = ellipse(grid.x, y, 8.0, 7.5) + 0.5 * scene.coarse
    scene.paint(ring, MUSCLE + 0.02 * scene.fine, below)
    scene.paint(ring + 3.2, 0.55 + 0.04 * scene.fine, below)
    scene.paint(ring + 6.3, 0.3, below)


def _bladder(scene: _Scene) -> None:
    a, grid, rng = scene.anatomy, scene.grid, scene.rng
    half_height = rng.uniform(20.0, 28.0)
    middle = a.base_mm + 0.93 * half_height
    section = np.sqrt(np.clip(1 - ((grid.z - middle) / half_height) ** 2, 0.0025, 1))
    y = grid.y - scene.centre + 0.45 * a.half_depth
    outside = ellipse(grid.x, y, 34.0 * section, 21.0 * section) + 0.8 * scene.coarse
    present = scene.between(middle - half_height, 200.0)
    scene.paint(outside, MUSCLE + 0.06 + 0.02 * scene.fine, present)
    scene.paint(outside + rng.uniform(2.5, 4.5), URINE, present)


def _vesicles(scene: _Scene) -> None:
    """Paints the seminal vesicles: tubules with fluid, between dark walls."""
    a = scene.anatomy
    present = scene.between(a.base_mm - 0.2 * a.half_height, a.base_mm + anatomies.VESICLES_MM)
    fluid = 1.0 - 0.65 * np.exp(-((scene.middle / 0.35) ** 2)) - 0.15 * np.abs(scene.fine)
    scene.paint(scene.vesicles, 0.25, present)
    scene.paint(scene.vesicles + 0.7, fluid, present)


def _prostate(scene: _Scene) -> None:
    a, grid, rng = scene.anatomy, scene.grid, scene.rng
    present = scene.between(a.apex_mm, a.base_mm)
    x, y, outline = grid.x, grid.y - scene.centre, scene.outline
    up = grid.z / a.half_height
    scene.paint(outline, 0.2, present)

    septa = np.exp(-((scene.middle / 0.22) ** 2))
    peripheral = rng.normal(0.88, 0.06) + 0.07 * scene.coarse + 0.05 * scene.fine - 0.16 * septa
    scene.paint(outline + BAND_MM, peripheral, present)

    # Transition zone: two lobes beside the urethra, from below the middle to the base.
    grown = a.transition * np.clip(0.8 + 0.55 * up, 0.25, 1.0)
    lobe = 0.56 * grown * scene.width
    lobes = ellipse(
        np.abs(x) - 0.7 * lobe, y + 0.24 * scene.depth, lobe, 0.85 * grown * scene.depth
    )
    lobes = np.maximum(lobes + 0.7 * scene.coarse, outline + 2.5)
    nodules = np.tanh(1.8 * scene.coarse + 0.8 * scene.middle)
    stroma = rng.normal(0.46, 0.04) + 0.13 * nodules + 0.05 * scene.fine
    stroma -= 0.14 * np.exp(-(((scene.coarse + 0.4 * scene.middle) / 0.2) ** 2))
    scene.paint(lobes, 0.22, present)
    scene.paint(lobes + BAND_MM, stroma, present)
    # Dark parts: fibromuscular stroma in front, central zone behind at the base.
    front = ellipse(x, y + 0.93 * scene.depth, 0.42 * scene.width, 0.24 * scene.depth)
    front = np.maximum(front + 0.8 * scene.coarse, outline + 0.3)
    scene.paint(front, 0.2 + 0.03 * scene.fine, present)
    central = ellipse(x, y - 0.5 * scene.depth, 0.5 * scene.width, 0.2 * scene.depth)
    central = np.maximum(central + 0.8 * scene.coarse, outline + 1.5)
    scene.paint(central, 0.32, present * scene.between(0.55 * a.half_height, 100.0))
    # Urethra and verumontanum.
    low = scene.between(-100.0, 0.25 * a.half_height)
    urethra = ellipse(x, y - 0.02 * scene.depth, 3.2, 2.8) + 0.4 * scene.middle
    scene.paint(urethra - 1.6, 0.3, low * present)
    scene.paint(urethra, 0.8, low * present)
    _lesion(scene, present)


def _lesion(scene: _Scene, present: np.ndarray) -> None:
    """Paints a dark spot in the peripheral zone of most patients."""
    a, grid, rng = scene.anatomy, scene.grid, scene.rng
    radius, angle, up = rng.uniform(2.5, 6.5), rng.uniform(0.1, 0.9) * np.pi, rng.uniform(-0.7, 0.4)
    if rng.random() > 0.65:
        return
    z = up * a.half_height
    size = float(anatomies.profile(a, z))
    x = grid.x - 0.78 * a.half_width * size * np.cos(angle)
    y = grid.y - a.tilt * z - 0.78 * a.half_depth * np.sqrt(size) * np.sin(angle)
    section = np.sqrt(np.clip(1 - ((grid.z - z) / (1.3 * radius)) ** 2, 0.01, 1))
    spot = ellipse(x, y, radius * section, radius * section) + 0.7 * scene.coarse
    shown = scene.between(z - 1.3 * radius, z + 1.3 * radius) * present
    scene.paint(np.maximum(spot, scene.outline + 1.0), 0.33 + 0.03 * scene.fine, 0.85 * shown)
