"""Draws the contours of sentences or of a style through a scan."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import distances
from data_pipelines.scans import Scan
from prosona_jax.experiments.sentences import Reading
from prosona_jax.prediction import lesion, margins
from prosona_jax.prediction.drawing import Encoded
from prosona_jax.prediction.scan_segmentation import ScanSegmentation, Shown, volume_ml
from prosona_jax.prediction.seen import Images, Seen

Point = tuple[int, float, float]  # slice, row, column
Masks = Mapping[int, np.ndarray]  # u8 {0, 1} [H, W] by slice


class Asked(NamedTuple):
    """What to draw on a scan."""

    names: Sequence[str]
    draw: Callable[[Encoded], np.ndarray]  # f32 [s, size, size], a contour for each name
    readings: Sequence[Reading] | None  # of sentences
    caveats: Sequence[Sequence[str]]  # of each name
    margin_mm: float  # to add to each contour
    one_object: bool  # keep only the part of a contour that is connected with the point
    fill_holes: bool  # of each slice
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file


def segment(scan: Scan, point: Point, images: Images, asked: Asked) -> list[ScanSegmentation]:
    """Returns the contours through all slices of the object at a point; see `lesion`."""
    start, place = point[0], point[1:]

    def see(k: int, middle: tuple[float, float]) -> Seen:
        return images.see(scan.picture(k)._replace(point=middle))

    slices = lesion.follow(start, place, scan.count, see, asked.draw)
    shown = {k: Shown(each.seen.shown, each.seen.placement) for k, each in slices.items()}
    of_slices = [caveat for each in slices.values() for caveat in each.seen.caveats]
    found = []
    for n, name in enumerate(asked.names):
        masks: Masks = {k: (each.probs[n] > 0.5).astype(np.uint8) for k, each in slices.items()}
        if asked.one_object:
            masks = lesion.one_object(masks, start, place)
        if asked.fill_holes:
            masks = lesion.without_holes(masks)
        beyond_mm = asked.readings[n].beyond_mm if asked.readings else 0.0
        added_mm, of_margin = margins.in_all(name, asked.margin_mm, beyond_mm, scan.spacing_mm)
        of_prompt = asked.caveats[n] if asked.caveats else ()
        doubts = slices[start].seen.doubts(slices[start].probs[n] > 0.5)
        own = [*scan.caveats, *of_slices, *doubts, *of_prompt, *of_margin]
        if added_mm:
            masks = add_margin(masks, added_mm, scan)
        found.append(
            ScanSegmentation(
                prompt=name,
                masks=masks,
                added_mm=added_mm,
                volume_ml=volume_ml(scan, masks),
                caveats=tuple(dict.fromkeys(own)),
                reading=asked.readings[n] if asked.readings else None,
                source=asked.source,
                note=asked.note,
                shown=shown,
            )
        )
    return found


def add_margin(masks: Masks, mm: float, scan: Scan) -> dict[int, np.ndarray]:
    """Returns the contour with a margin in 3-D, which may reach further slices of the scan."""
    reach = [math.ceil(max(mm, 0.0) / size) + 1 for size in scan.spacing_mm]
    first, last = max(min(masks) - reach[0], 0), min(max(masks) + reach[0], scan.count - 1)
    union = np.any(list(masks.values()), axis=0)
    if not union.any():
        return dict(masks)
    box = tuple(
        slice(max(int(at.min()) - more, 0), int(at.max()) + more + 1)
        for at, more in zip(np.nonzero(union), reach[1:], strict=True)
    )
    empty = np.zeros(scan.shape, np.uint8)
    volume = np.stack([masks.get(k, empty)[box] for k in range(first, last + 1)])
    grown = distances.add_margin(volume, mm, scan.spacing_mm)
    found = {}
    for k, part in enumerate(grown, start=first):
        if part.any() or k in masks:
            found[k] = empty.copy()
            found[k][box] = part
    return found
