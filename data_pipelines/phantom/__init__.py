"""A phantom of T2-weighted prostate MRI of several institutions, drawn by several observers.

Everything is made by chance and by rules: no patient, scanner or person is behind it. Anatomy,
scanners and the observers' habits are known, so a method can be tested on whether it finds them. A
score on the phantom is an exercise and no clinical evidence.

- `anatomy`: the shape of a patient's prostate and seminal vesicles
- `tissues`: the pelvis around them as T2-weighted signal
- `sites`: the institutions, each with its scanner, coil and protocol
- `observers`: the observers, each with habits that are the same in all cases
- `shapes`: distances and smooth random fields, of which the others are made
"""

from typing import NamedTuple

import numpy as np

from data_pipelines.phantom import anatomy as anatomies
from data_pipelines.phantom import observers, sites, tissues
from data_pipelines.phantom.observers import OBSERVERS
from data_pipelines.phantom.shapes import Grid
from data_pipelines.phantom.sites import SITES, Site

__all__ = ["OBSERVERS", "SITES", "Case", "case"]
FIELD_MM = 96.0  # height and width of a slice
_BELOW = 3  # slices below the apex


class Case(NamedTuple):
    """A patient's volume, what the observers drew on it, and what is true."""

    patient_id: str
    site: Site
    image: np.ndarray  # f32 [n, H, W], from the apex to the base
    spacing_mm: np.ndarray  # f64 [3]: between slices, rows and columns
    masks: np.ndarray  # u8 {0, 1} [R, n, H, W]
    rater_valid: np.ndarray  # bool [R], False: the observer did not read this case
    prostate: np.ndarray  # u8 {0, 1} [n, H, W], the truth
    vesicles: np.ndarray  # u8 {0, 1} [n, H, W], the true seminal vesicles outside of the prostate


def case(index: int, seed: int = 0) -> Case:
    """Returns case `index`, which depends only on the index and the seed.

    The anatomy does not depend on the site, which is that of `index` modulo their number.
    """
    shape, place, painted, drawn, scanned = (
        np.random.default_rng((seed, index, purpose)) for purpose in range(5)
    )
    anatomy, site = anatomies.draw(shape), SITES[index % len(SITES)]
    grid = _grid(anatomy, site, place)
    outlines = anatomies.outlines(anatomy, grid)
    rectum = sites.rectum(site, painted)
    signal, wall = tissues.paint(anatomy, grid, outlines, rectum, painted)
    masks, rater_valid = observers.draw(anatomy, grid, outlines, drawn)
    prostate, vesicles = observers.truth(anatomy, grid, outlines)
    return Case(
        patient_id=f"phantom{index:03d}",
        site=site,
        image=sites.image(signal, wall, site, grid, scanned),
        spacing_mm=np.array([site.slice_mm, site.spacing_mm, site.spacing_mm]),
        masks=masks,
        rater_valid=rater_valid,
        prostate=prostate,
        vesicles=vesicles,
    )


def _grid(anatomy: anatomies.Anatomy, site: Site, rng: np.random.Generator) -> Grid:
    """Returns the voxels of a scan that was planned by hand: nearly centred on the prostate."""
    first = anatomy.apex_mm - (_BELOW + rng.uniform(-0.5, 0.5)) * site.slice_mm
    above = anatomy.base_mm + anatomies.VESICLES_MM + 2 * site.slice_mm
    z = np.arange(first, above, site.slice_mm)
    size = 2 * round(FIELD_MM / site.spacing_mm / 2)
    return Grid.of(z, size, site.spacing_mm, rng.uniform(-4.0, 4.0, 2))
