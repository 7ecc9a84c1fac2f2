"""Assigns masks to styles: mask k is of style k."""

from typing import Any

import numpy as np

from prosona_jax.types import Record


def none_missing(drawn: Any) -> Any:
    """Gives the missing raters of a record or of a volume an empty mask: they saw no object.

    This is the protocol of the probabilistic U-Net on LIDC-IDRI (Kohl et al., NeurIPS 2018): a
    radiologist who did not mark a nodule held that there is none.
    """
    missing = ~drawn.rater_valid.reshape(-1, *[1] * (drawn.masks.ndim - 1))
    masks = np.where(missing, np.uint8(0), drawn.masks)
    return drawn._replace(masks=masks, rater_valid=np.ones_like(drawn.rater_valid))


def by_area(record: Record) -> Record:
    """Sorts the masks of an image by area, the smallest first: see `sort`."""
    areas = record.masks.sum(axis=(1, 2), dtype=np.int64)
    masks, rater_valid = sort(record.masks, record.rater_valid, areas)
    return record._replace(masks=masks, rater_valid=rater_valid)


def sort(
    masks: np.ndarray, rater_valid: np.ndarray, areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts masks by area, the smallest first: mask k becomes the mask of style k.

    This is for anonymous raters, as in LIDC-IDRI. It follows the protocol of D-Persona (CVPR 2024):
    the k-th smallest mask of an image is "expert" k. If only n of R masks are valid, they are
    spread evenly: sorted mask i gets index round(i (R - 1) / (n - 1)), and a single mask the middle
    index. The other indices are missing raters. Masks of equal area keep their order.

    Args:
        masks: u8 [R, ...], of an image or of a volume.
        rater_valid: bool [R].
        areas: int [R], in pixels or voxels.

    Returns:
        The masks and which of them are valid, in the new order.
    """
    valid = np.flatnonzero(rater_valid)
    ranked = valid[np.argsort(areas[valid], kind="stable")]  # [n]
    last = len(areas) - 1
    indices = np.linspace(0, last, len(ranked)) if len(ranked) > 1 else np.array([last / 2])
    indices = indices.round().astype(int)[: len(ranked)]
    ordered, found = np.zeros_like(masks), np.zeros_like(rater_valid)
    ordered[indices], found[indices] = masks[ranked], True
    return ordered, found
