"""A dozen real CT crops of lung nodules, each with the masks of four radiologists.

From LIDC-IDRI (CC BY 3.0), on the slice where the nodule is largest, at native spacing; of twelve
patients in test fold 0 of `configs/lidc.py:crops64`.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from data_pipelines import images
from data_pipelines.images.picture import Picture
from data_pipelines.sources import npz

PATH = pathlib.Path(__file__).with_name("lidc_crops.npz")


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
