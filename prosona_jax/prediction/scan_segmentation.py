"""The contours that a model draws through a scan."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.scans import Scan
from data_pipelines.transforms import Placement
from prosona_jax.experiments.sentences import Reading

_ML = 1e-3  # of a mm3


class Shown(NamedTuple):
    """A slice as the model saw it, for pictures."""

    image: np.ndarray  # f32 [H, W], the first channel as the model scales it, -1..1
    crop: Placement  # the position of the model's input on the slice


class ScanSegmentation(NamedTuple):
    """One contour through the slices of one scan; arrays are on the scan's own grid [H, W]."""

    prompt: str  # a sentence, or the name of a style or sample
    masks: Mapping[int, np.ndarray]  # u8 {0, 1} [H, W] by slice; empty on all other slices
    added_mm: float  # margin added to the model's contour by geometry; negative: cut off
    volume_ml: float | None  # None if the distances of slices or pixels are unknown
    caveats: tuple[str, ...]  # what a user must know before trusting the contour
    reading: Reading | None  # of a sentence; None for a style or a sample
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file
    shown: Mapping[int, Shown]  # the slices of the masks


def volume_ml(scan: Scan, masks: Mapping[int, np.ndarray]) -> float | None:
    """Returns the volume of a contour; each slice reaches halfway to its neighbours.

    The first and the last slice of the scan reach as far beyond as within.
    """
    if np.isnan(scan.spacing_mm).any():
        return None
    distance, height, width = scan.spacing_mm
    gaps = np.full(scan.count - 1, distance) if scan.geometry is None else scan.geometry.gaps
    below, above = np.append(gaps[0], gaps), np.append(gaps, gaps[-1])
    thickness = (below + above) / 2  # [n]
    mm3 = sum(thickness[k] * int(mask.sum()) for k, mask in masks.items()) * height * width
    return float(mm3 * _ML)
