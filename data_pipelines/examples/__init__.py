"""Real CT of lung nodules with the masks of four radiologists: twelve crops and a piece of a scan.

All are of LIDC-IDRI (CC BY 3.0), at native spacing. Each crop shows the slice on which its nodule
is largest; their patients are in test fold 0 of `configs/lidc.py:crops64`. The piece of a scan
holds the only nodule of LIDC-IDRI-0001 that all four radiologists drew: 16 slices of 128x128 pixels
of the 512x512. The model of the package was not trained on any of these patients.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from data_pipelines import images, npz, scans
from data_pipelines.images import nifti
from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan

_FOLDER = pathlib.Path(__file__).parent
PATH = _FOLDER / "lidc_crops.npz"
SCAN = _FOLDER / "lidc_scan.nii.gz"
_RATERS = _FOLDER / "lidc_scan_raters.nii.gz"  # u8 [column, row, slice, rater] on the scan's grid


class Example(NamedTuple):
    """An image and what its raters drew."""

    image: Picture
    masks: np.ndarray  # u8 {0, 1} [R, H, W]; their order means nothing
    record_id: str
    citation: str  # of the data: show it wherever the image is shown


def examples() -> list[Example]:
    """Returns the crops that come with the package, the smallest nodule first.

    >>> import prosona_jax as pj
    >>> example = pj.examples()[-1]
    >>> example.image.image.shape, example.masks.shape, example.image.intensity_unit
    ((71, 71, 1), (4, 71, 71), 'HU')
    >>> example.citation.partition(":")[0]
    'LIDC-IDRI'
    """
    stored = npz.read(PATH, ("masks", "record_id", "citation"))
    citation = str(stored["citation"])
    return [
        Example(images.read(PATH, slice_index=index), masks, str(record_id), citation)
        for index, (masks, record_id) in enumerate(
            zip(stored["masks"], stored["record_id"], strict=True)
        )
    ]


class ExampleScan(NamedTuple):
    """A scan and what its raters drew."""

    scan: Scan
    point: tuple[int, float, float]  # (slice, row, column) in the nodule
    masks: np.ndarray  # u8 {0, 1} [R, D, H, W], slices first; their order means nothing
    citation: str  # of the data: show it wherever the scan is shown


def example_scan() -> ExampleScan:
    """Returns the piece of a scan that comes with the package.

    >>> import prosona_jax as pj
    >>> example = pj.example_scan()
    >>> example.scan.count, example.scan.shape, example.scan.spacing_mm.tolist()
    (16, (128, 128), [2.5, 0.703125, 0.703125])
    >>> volumes_ml = example.masks.sum(axis=(1, 2, 3)) * example.scan.spacing_mm.prod() / 1000
    >>> volumes_ml.round(1).tolist()
    [7.3, 5.7, 6.1, 6.8]
    """
    with nifti.opened(_RATERS, "arbitrary") as (volume, _):
        masks = np.asarray(volume.dataobj).transpose(3, 2, 1, 0)
    citation = str(npz.read(PATH, ("citation",))["citation"])
    return ExampleScan(scans.read(SCAN, unit="HU"), (7, 64.0, 64.0), masks, citation)
