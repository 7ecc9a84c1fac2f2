"""Assigns the masks of a record to styles: mask k is of style k."""

import numpy as np

from prosona_jax.types import Record


def by_area(record: Record) -> Record:
    """Sorts the masks by area, the smallest first: mask k becomes the mask of style k.

    This is for anonymous raters, as in LIDC-IDRI. It follows the protocol of D-Persona (CVPR 2024):
    the k-th smallest mask of an image is "expert" k. If only n of R masks are valid, they are
    spread evenly: sorted mask i gets index round(i (R - 1) / (n - 1)), and a single mask the middle
    index. The other indices are missing raters. Masks of equal area keep their order.
    """
    areas = record.masks.sum(axis=(1, 2), dtype=np.int64)  # [R]
    valid = np.flatnonzero(record.rater_valid)
    ranked = valid[np.argsort(areas[valid], kind="stable")]  # [n]
    last = len(areas) - 1
    indices = np.linspace(0, last, len(ranked)) if len(ranked) > 1 else np.array([last / 2])
    indices = indices.round().astype(int)[: len(ranked)]
    masks, rater_valid = np.zeros_like(record.masks), np.zeros_like(record.rater_valid)
    masks[indices], rater_valid[indices] = record.masks[ranked], True
    return record._replace(masks=masks, rater_valid=rater_valid)
