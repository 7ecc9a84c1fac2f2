"""Simulates a CT slice around real contours.

The image is rendered *from* the raters' masks. So a score on it shows that a model can learn and
sample; it is not clinical evidence. The image consists of:

- lung with texture and branching vessels, some of which end at the nodule;
- in most records, a chest wall with fat and ribs, or an organ; some touch the nodule, but none
  covers a pixel that a rater drew;
- the nodule: solid, calcified, part-solid or ground glass. Its edge follows a randomly weighted
  mean of the raters' masks, and is roughened and blurred. So the image is ambiguous where the
  raters disagree, and holds less information than their masks;
- partial volume (the point spread) and noise; a sharp kernel comes with more noise.

Each record is simulated independently: neighbouring slices of a nodule share only its contours.

The constants were set by eye and by comparison with 612 real crops of LIDC-IDRI (71 x 71 pixels
around a nodule on its largest slice). Both columns have the same masks. Percentiles over crops,
in HU:

    10 / 50 / 90 %                               real                  simulated
    lung outside the nodule, mean           -900  -848  -784       -900  -851  -803
    lung outside the nodule, deviation        51    64    93         48    61    76
    noise above 1 pixel's blur                10    17    50          9    17    44
    gradient at the majority's edge per mm   186   299   529        197   329   462
     5 / 50 / 95 %
    mean where all four raters agree       -486   -49   875       -514   -31   535
    mean where they disagree                -706  -457  -144       -714  -443  -159

The image lacks fissures, bronchi, emphysema, cavities, streaks, and real anatomy.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import scipy.ndimage as ndi

SCANNER_HU = (-1024.0, 1300.0)  # range of the image
FAT_HU, SOFT_TISSUE_HU = -100.0, 40.0
WALL_SHARE = 0.78  # share of the records with a chest wall or an organ
CHEST_WALL_SHARE = 0.7  # share of chest walls in those; an organ is convex and has no structure
TOUCHING_SHARE = 0.3  # share of the walls and organs that touch the nodule
KINDS = ("solid", "calcified", "part-solid", "ground glass")
KIND_SHARES = (0.76, 0.09, 0.09, 0.06)
VESSELS_PER_MM2 = 0.011
PATH_POINTS = 48  # number of points along a vessel's centre line


class _Scene(NamedTuple):
    """The inputs for drawing every part of the image."""

    union: np.ndarray  # bool [H, W], pixels that any rater drew
    spacing_mm: float
    rng: np.random.Generator
    fine: np.ndarray  # f32 [H, W], noise of unit variance with grains of about 1 mm
    coarse: np.ndarray  # f32 [H, W], noise of unit variance with patches of about 5 mm


def generator(record_id: str) -> np.random.Generator:
    """Returns the random generator of one record, which depends only on the record's id."""
    digest = hashlib.sha256(record_id.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def simulate_ct(masks: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a CT slice f32 [H, W] in HU that fits the masks of the raters.

    Args:
        masks: u8 {0, 1} [R, H, W], one per rater; at least one is not empty.
        spacing_mm: size of a pixel.
        rng: the record's random generator, see `generator`.
    """
    union = masks.max(axis=0) > 0
    scene = _Scene(
        union,
        spacing_mm,
        rng,
        fine=_smooth_noise(union.shape, 1.0 / spacing_mm, rng),
        coarse=_smooth_noise(union.shape, 5.0 / spacing_mm, rng),
    )
    sharpness = rng.beta(1.0, 1.5)  # sharpness of the reconstruction kernel, 0..1
    image = _lung(scene)
    image += _vessels(scene) * (rng.normal(20.0, 30.0) - image)
    if rng.random() < WALL_SHARE:
        image = _add_wall(image, scene)
    coverage, density = _nodule(masks, scene)
    image += coverage * np.maximum(density - image, 0.0)
    blurred = _blur(image, (0.7 - 0.4 * sharpness) / spacing_mm)
    return np.clip(blurred + _scanner_noise(scene, sharpness), *SCANNER_HU).astype(np.float32)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndi.gaussian_filter(image, sigma, truncate=3.0)


def _smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Returns noise of unit variance, smoothed by a kernel of sigma pixels."""
    # A wide kernel runs on a coarse grid: it looks the same and takes a tenth of the time.
    stride = max(1, int(sigma / 2))
    coarse = [-(-length // stride) + 2 for length in shape]
    noise = _blur(rng.standard_normal(coarse, np.float32), sigma / stride)
    if stride > 1:
        noise = ndi.zoom(noise, stride, order=1)
    return noise[: shape[0], : shape[1]] / noise.std()


def _lung(scene: _Scene) -> np.ndarray:
    """Returns parenchyma [HU]: a mean, patches, and grain with stronger bright values."""
    rng, grain = scene.rng, scene.rng.uniform(10.0, 40.0)
    mean = rng.normal(-868.0, 38.0)
    bright = 0.4 * np.maximum(scene.fine, 0.0)
    return mean + rng.uniform(4.0, 20.0) * scene.coarse + grain * (scene.fine + bright)


def _vessels(scene: _Scene) -> np.ndarray:
    """Returns the share of each pixel that vessels fill, 0..1.

    A vessel is a bent centre line, painted and blurred to its width. Some vessels start at the
    nodule's rim, some branch off another vessel, and half of them cross the slice as dots.
    """
    union, rng = scene.union, scene.rng
    area_mm2 = union.size * scene.spacing_mm**2
    count = 4 + rng.poisson(VESSELS_PER_MM2 * area_mm2 * rng.uniform(0.3, 1.7))
    start = rng.uniform((0.0, 0.0), union.shape, (count, 2))
    angle = rng.uniform(0.0, 2 * np.pi, count)
    radius_mm = np.clip(rng.lognormal(-0.5, 0.45, count), 0.3, 2.2)
    length_mm = np.where(rng.random(count) < 0.5, 0.5, rng.exponential(5.0 + 4.0 * radius_mm))

    rim = np.argwhere(union & ~ndi.binary_erosion(union))
    spiculated = rng.random() < 0.15
    attached = min(count, rng.poisson(5.0 if spiculated else 0.8))
    start[:attached] = rim[rng.integers(len(rim), size=attached)]
    outward = start[:attached] - rim.mean(axis=0)
    angle[:attached] = np.arctan2(outward[:, 1], outward[:, 0]) + rng.normal(0.0, 0.4, attached)
    length_mm[:attached] = rng.exponential(6.0, attached) + 2.0
    radius_mm[:attached] *= 0.7

    along_mm = np.linspace(0.0, 1.0, PATH_POINTS) * length_mm[:, None]  # [count, points]
    bend = rng.normal(0.0, 0.03, (count, 1)) * along_mm + 0.1 * np.sin(
        along_mm / 2 + angle[:, None]
    )
    heading = angle[:, None] + bend
    step = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    step *= length_mm[:, None, None] / PATH_POINTS / scene.spacing_mm
    path = start[:, None] + np.cumsum(step, axis=1)  # [count, points, 2], pixels
    branches = np.arange(attached + 1, count, 3)
    path[branches] += (path[branches - 1, PATH_POINTS // 3] - start[branches])[:, None]

    filled = np.zeros(union.shape)
    # Two widths look real enough, and each width costs a blur.
    for group in (radius_mm < 0.7, radius_mm >= 0.7):
        if group.any():
            mean_mm = float(radius_mm[group].mean())
            filled += _paint(path[group], length_mm[group], mean_mm, scene)
    return 1.0 - np.exp(-1.7 * filled)


def _paint(path: np.ndarray, length_mm: np.ndarray, radius_mm: float, scene: _Scene) -> np.ndarray:
    """Returns blurred lines [H, W] whose brightness grows with their width, up to 1.5."""
    height, width = scene.union.shape
    sigma = 0.6 * radius_mm / scene.spacing_mm
    # A line of this weight per pixel of length, or a dot of its square, blurs to a peak of 1.
    one = np.sqrt(2 * np.pi) * sigma
    weight = one * (length_mm / scene.spacing_mm + one)[:, None] / PATH_POINTS
    taper = np.linspace(1.3, 0.2, PATH_POINTS)
    row, column = np.rint(path).astype(np.int64).transpose(2, 0, 1)
    seen = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = row[seen] * width + column[seen]
    lines = np.bincount(pixel, (weight * taper)[seen], minlength=height * width)
    return _blur(lines.reshape(height, width), sigma) * min(1.5, radius_mm + 0.25)


def _add_wall(image: np.ndarray, scene: _Scene) -> np.ndarray:
    """Returns the image with a chest wall or an organ beside the nodule."""
    rng, spacing_mm = scene.rng, scene.spacing_mm
    chest = rng.random() < CHEST_WALL_SHARE
    radius_mm = rng.uniform(45.0, 130.0) if chest else rng.uniform(25.0, 70.0)
    side = -1.0 if chest else 1.0  # the lung lies inside the chest wall and outside an organ
    toward = rng.uniform(0.0, 2 * np.pi)
    nodule = np.argwhere(scene.union).mean(axis=0) * spacing_mm
    centre = nodule + side * radius_mm * np.array([np.cos(toward), np.sin(toward)])
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    y, x = rows * spacing_mm - centre[0], columns * spacing_mm - centre[1]

    depth = side * (radius_mm - np.hypot(y, x)) + 0.5 * scene.coarse  # mm below the surface
    gap = 0.3 if rng.random() < TOUCHING_SHARE else rng.exponential(8.0) + 0.5
    depth -= depth[scene.union].max() + gap
    wall = SOFT_TISSUE_HU + rng.normal(0.0, 20.0) + 12.0 * scene.fine
    if chest:
        along = radius_mm * np.angle(np.exp(1j * (np.arctan2(x, y) - toward)))  # mm, 0 nearest
        wall = _chest_wall(wall, depth, along, scene)
    return image + np.clip(depth / spacing_mm + 0.5, 0.0, 1.0) * (wall - image)


def _chest_wall(
    wall: np.ndarray, depth: np.ndarray, along: np.ndarray, scene: _Scene
) -> np.ndarray:
    """Returns muscle with fat, which increases outwards, and ribs: marrow in a dense shell."""
    rng = scene.rng
    fat = 1.0 / (1.0 + np.exp(2.0 - 4.0 * scene.coarse - 0.6 * (depth - 14.0)))
    wall = wall + fat * (FAT_HU - SOFT_TISSUE_HU)
    for middle in np.arange(rng.uniform(-60.0, -30.0), 60.0, rng.uniform(25.0, 45.0)):
        half_length, half_width = rng.uniform(6.0, 16.0), rng.uniform(2.5, 4.5)
        across = (depth - 2.0 - half_width) / half_width
        reach = ((along - middle) / half_length) ** 2 + across**2
        wall[reach < 1.0] = rng.uniform(350.0, 900.0)
        wall[reach < 0.5] = rng.uniform(100.0, 300.0)
    return wall


def _nodule(masks: np.ndarray, scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Returns the share of each pixel that the nodule fills, 0..1, and its density [HU]."""
    rng, spacing_mm = scene.rng, scene.spacing_mm
    kind = str(rng.choice(KINDS, p=KIND_SHARES))
    mean_mask = np.tensordot(rng.dirichlet(np.full(len(masks), 2.0)), masks, axes=1)
    mean_mask = _blur(
        mean_mask, (1.2 if kind in ("part-solid", "ground glass") else 0.4) / spacing_mm
    )
    rough = mean_mask + rng.uniform(0.0, 0.25) * scene.fine * (mean_mask > 0.02)
    coverage = np.clip((rough - 0.5) / rng.uniform(0.25, 0.9) + 0.5, 0.0, 1.0)
    # A small nodule does not fill the slice's thickness.
    radius_mm = spacing_mm * np.sqrt(masks.sum() / len(masks) / np.pi)
    coverage *= 1.0 - rng.uniform(0.0, 0.55) * np.exp(-radius_mm / 2.5)

    solid, glass = rng.normal(85.0, 45.0), rng.uniform(-620.0, -340.0)
    densities: dict[str, float | np.ndarray] = {
        "solid": solid,
        "calcified": rng.uniform(300.0, 1300.0),
        "part-solid": np.where(mean_mask + 0.3 * scene.coarse > 0.75, solid, glass),
        "ground glass": glass,
    }
    return coverage, densities[kind] + 25.0 * scene.fine


def _scanner_noise(scene: _Scene, sharpness: float) -> np.ndarray:
    """Returns noise [HU] with little power at low frequencies, as filtered back-projection has."""
    rng, sigma = scene.rng, (0.6 - 0.25 * sharpness) / scene.spacing_mm
    white = rng.standard_normal(scene.union.shape, np.float32)
    noise = _blur(white, sigma) - _blur(white, 2.2 * sigma)
    return noise * (rng.lognormal(np.log(12.0 + 60.0 * sharpness**2), 0.35) / noise.std())
