"""Draws the contours of sentences, of a style or of samples through a scan."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import distances
from data_pipelines.scans import Scan
from prosona_jax.experiments.sentences import Reading
from prosona_jax.prediction import lesion, margins
from prosona_jax.prediction.scan_segmentation import ScanSamples, ScanSegmentation, volume_ml
from prosona_jax.prediction.seen import Images, Seen
from prosona_jax.types import ConstantImage

Point = tuple[int, float, float]  # slice, row, column
Masks = Mapping[int, np.ndarray]  # u8 {0, 1} [H, W] by slice


class Request(NamedTuple):
    """What to draw on a scan."""

    names: Sequence[str]
    draw: lesion.Draw  # a contour for each name
    guide: lesion.Draw  # a contour that leads through the slices
    readings: Sequence[Reading] | None  # of sentences
    caveats: Sequence[Sequence[str]]  # of each name
    margin_mm: float  # to add to each contour
    one_object: bool  # keep only the part of a contour that is connected with the point
    fill_holes: bool  # of each slice
    source: dict[str, Any]  # the model's description, ready for JSON
    note: str  # the text at the start of the note in each file


class _Object(NamedTuple):
    """An object that was followed through a scan."""

    scan: Scan
    point: Point
    images: Images
    followed: lesion.Followed
    request: Request

    def contour(self, n: int) -> Masks:
        """Returns contour n by slice, without a margin."""
        masks: Masks = {k: each.mask(n) for k, each in self.followed.slices.items()}
        if self.request.one_object:
            masks = lesion.one_object(masks, self.point[0], self.point[1:])
        return lesion.without_holes(masks) if self.request.fill_holes else masks

    @property
    def caveats(self) -> list[str]:
        """What a user must know, whatever was asked for."""
        found = [*self.scan.caveats, *_of_slices(self.followed)]
        found += [
            f"Slice {k} is constant, as padding is, so the object was taken to end before it."
            for k in self.followed.padding
        ]
        ends = {0, self.scan.count - 1} & set(self.followed.slices)
        found += [
            f"The object reaches slice {k}, an end of the scan, and may go on beyond it."
            for k in sorted(ends)
        ]
        return list(dict.fromkeys(found))

    @property
    def at_point(self) -> lesion.Slice:
        """The slice of the point, on which it is judged whether there is an object."""
        return self.followed.slices[self.point[0]]

    def shown(self, drawn: set[int]) -> dict[int, np.ndarray]:
        """Returns the slices that were drawn on, and one more at either end, for pictures."""
        found, slices = {}, self.followed.slices
        for k in range(max(min(drawn) - 1, 0), min(max(drawn) + 2, self.scan.count)):
            try:
                found[k] = (
                    slices[k].seen.shown
                    if k in slices
                    else self.images.scaled(self.scan.picture(k))[..., 0]
                )
            except ConstantImage:
                continue
        return found


def _of_slices(followed: lesion.Followed) -> list[str]:
    """Returns the caveats of all slices, "Short claim: explanation", each claim once."""
    by_claim: dict[str, list[str]] = {}
    for each in followed.slices.values():
        for caveat in each.seen.caveats:
            by_claim.setdefault(caveat.partition(":")[0], []).append(caveat)
    found = []
    for first, *others in by_claim.values():
        more = sum(other != first for other in others)
        found.append(first + f" Likewise on {more} more slices, with other numbers." * (more > 0))
    return found


def segment(scan: Scan, point: Point, images: Images, request: Request) -> list[ScanSegmentation]:
    """Returns the contours through all slices of the object at a point; see `lesion`."""
    found = _follow(scan, point, images, request)
    of_object = found.caveats
    contours = []
    for n, name in enumerate(request.names):
        beyond_mm = request.readings[n].beyond_mm if request.readings else 0.0
        added_mm, of_margin = margins.in_all(name, request.margin_mm, beyond_mm, scan.spacing_mm)
        of_prompt = request.caveats[n] if request.caveats else ()
        doubts = found.at_point.seen.doubts(found.at_point.mask(n))
        masks = found.contour(n)
        if added_mm:
            masks = add_margin(masks, added_mm, scan)
        contours.append(
            ScanSegmentation(
                prompt=name,
                point=point,
                masks=masks,
                added_mm=added_mm,
                volume_ml=volume_ml(scan, masks),
                caveats=tuple(dict.fromkeys([*of_object, *doubts, *of_prompt, *of_margin])),
                reading=request.readings[n] if request.readings else None,
                source=request.source,
                note=request.note,
                shown={},
            )
        )
    shown = found.shown({k for each in contours for k in each.masks})
    return [each._replace(shown=shown) for each in contours]


def sample(scan: Scan, point: Point, images: Images, request: Request) -> ScanSamples:
    """Returns how many of the samples include a voxel, and their volumes."""
    found = _follow(scan, point, images, request)
    counts = {k: np.zeros(scan.shape, np.uint16) for k in found.followed.slices}
    volumes = []
    for n in range(len(request.names)):
        masks = found.contour(n)
        volumes.append(volume_ml(scan, masks))
        for k, mask in masks.items():
            counts[k] += mask
    return ScanSamples(
        point=point,
        samples=len(request.names),
        agreement={k: (each / len(request.names)).astype(np.float32) for k, each in counts.items()},
        volumes_ml=tuple(each for each in volumes if each is not None) or None,
        caveats=(*found.caveats, *found.at_point.seen.unlike),
        source=request.source,
        note=request.note,
        shown=found.shown(set(counts)),
    )


def _follow(scan: Scan, point: Point, images: Images, request: Request) -> _Object:
    def see(k: int, middle: tuple[float, float]) -> Seen:
        return images.see(scan.picture(k)._replace(point=middle))

    followed = lesion.follow(point[0], point[1:], scan.count, see, request.draw, request.guide)
    return _Object(scan, point, images, followed, request)


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
