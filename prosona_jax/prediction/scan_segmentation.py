"""The contours that a model draws through a scan."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.scans import Scan
from prosona_jax.experiments.sentences import Reading

_ML = 1e-3  # of a mm3
_ROUNDING = 1e-6  # of a share in f32


class ScanSegmentation(NamedTuple):
    """One contour through the slices of one scan; arrays are on the scan's own grid [H, W]."""

    prompt: str  # a sentence, or the name of a style
    point: tuple[int, float, float]  # (slice, row, column) in the object
    masks: Mapping[int, np.ndarray]  # u8 {0, 1} [H, W] by slice; empty on all other slices
    added_mm: float  # margin added to the model's contour by geometry; negative: cut off
    volume_ml: float | None  # None if the distances of slices or pixels are unknown
    caveats: tuple[str, ...]  # what a user must know before trusting the contour
    reading: Reading | None  # of a sentence; None for a style
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file
    shown: Mapping[int, np.ndarray]  # f32 [H, W] as the model scales it, -1..1, for pictures


class ScanSamples(NamedTuple):
    """Samples of the prior through the slices of one scan, as shares on its own grid [H, W].

    Each sample is one draw for all slices, so it is consistent through them.
    """

    point: tuple[int, float, float]  # (slice, row, column) in the object
    samples: int  # how many
    agreement: Mapping[int, np.ndarray]  # f32 [H, W] by slice, share of samples; 0 on all others
    volumes_ml: tuple[float, ...] | None  # of each sample; None as in `ScanSegmentation`
    caveats: tuple[str, ...]
    source: dict[str, Any]
    note: str
    shown: Mapping[int, np.ndarray]

    @property
    def entropy(self) -> dict[int, np.ndarray]:
        """The entropy f32 [H, W] by slice, in bits: -p log2 p - (1 - p) log2 (1 - p) of shares p.

        It is 1 where half of the samples include a voxel, and 0 where all agree.
        """
        found = {}
        for k, share in self.agreement.items():
            sides = np.stack([share, 1 - share])
            found[k] = -(sides * np.log2(np.where(sides > 0, sides, 1))).sum(axis=0)
        return found

    def at_least(self, share: float) -> dict[int, np.ndarray]:
        """Returns the voxels u8 [H, W] by slice that at least this share of samples includes."""
        least = share - _ROUNDING
        return {k: (each >= least).astype(np.uint8) for k, each in self.agreement.items()}


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
