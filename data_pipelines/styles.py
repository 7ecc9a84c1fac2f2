"""Which mask of a record belongs to which style; style k is place k of its masks."""

import numpy as np

from prosona_jax.types import Record


def by_area(record: Record) -> Record:
    """Puts the masks in order of area, the smallest first: place k is style k.

    For raters without identity, as in LIDC-IDRI, after D-Persona's protocol (CVPR 2024): the k-th
    smallest mask of an image is "expert" k. Of R places, n valid masks take those that spread them
    evenly, i -> round(i (R - 1) / (n - 1)), one alone the middle; the other places are missing.
    Masks of equal area keep their order.
    """
    areas = record.masks.sum(axis=(1, 2), dtype=np.int64)  # [R]
    valid = np.flatnonzero(record.rater_valid)
    ranked = valid[np.argsort(areas[valid], kind="stable")]  # [n]
    last = len(areas) - 1
    places = np.linspace(0, last, len(ranked)) if len(ranked) > 1 else np.array([last / 2])
    places = places.round().astype(int)[: len(ranked)]
    masks, rater_valid = np.zeros_like(record.masks), np.zeros_like(record.rater_valid)
    masks[places], rater_valid[places] = record.masks[ranked], True
    return record._replace(masks=masks, rater_valid=rater_valid)
