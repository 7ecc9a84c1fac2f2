"""Describes a data set by a few numbers for a report and by a digest for comparison."""

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from data_pipelines.validation import Intensities, is_empty, unit_doubt
from data_pipelines.volumes import Volume
from prosona_jax.types import Record

# Reasons for leaving a record out: keys of `Tally.skipped`. A source may add reasons of its own.
CORRUPT = "corrupt"
EMPTY = "empty for all raters"
BEYOND_CROP = "nothing drawn within the crop"
_QUANTILES = (0.05, 0.5, 0.95)


class Native(NamedTuple):
    """What is known of a record as its source has it, without its pixels."""

    record: Record  # image f32 [0, W, C] and masks u8 [R, 0, W]
    size: tuple[int, int]  # rows and columns, pixels
    intensities: Intensities

    @classmethod
    def of(cls, record: Record) -> Self:
        """Returns the facts of a record, which still has its own geometry and intensities."""
        height, width = record.masks.shape[1:]
        bare = record._replace(image=record.image[:0].copy(), masks=record.masks[:, :0].copy())
        return cls(bare, (height, width), Intensities.of(record.image))


@dataclasses.dataclass
class Tally:
    """Facts about the source that the finished records do not show any more."""

    skipped: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    masks_cut: int = 0  # records whose masks reach beyond the crop
    native_sizes: set[tuple[int, int]] = dataclasses.field(default_factory=set)  # pixels
    native_spacings: set[tuple[float, float]] = dataclasses.field(default_factory=set)  # mm
    spacings_unknown: int = 0  # records
    windowed_by_volume: bool = False  # some record has the window of its volume
    unit: str = ""  # unit of the intensities, the same in every record
    intensities: list[Intensities] = dataclasses.field(default_factory=list)  # one per record
    doubted: int = 0  # records whose values probably do not have that unit
    first_doubted: dict[str, Any] | None = None  # id and intensities of the first such record

    def add(self, native: Native) -> None:
        """Counts a record."""
        record, seen = native.record, native.intensities
        self.native_sizes.add(native.size)
        row, column = record.spacing_mm.tolist()
        if np.isnan(row):
            self.spacings_unknown += 1
        else:
            self.native_spacings.add((row, column))
        self.unit = record.intensity_unit
        self.windowed_by_volume |= self.unit == "arbitrary" and record.window is not None
        self.intensities.append(seen)
        if unit_doubt(seen, self.unit):
            self.doubted += 1
            self.first_doubted = self.first_doubted or {
                "record_id": record.record_id,
                **seen._asdict(),
            }


def mean_pairwise_dice(record: Record | Volume) -> float:
    """Returns the mean over pairs of present raters of 2 |a and b| / (|a| + |b|).

    Two empty masks agree: 1. NaN with fewer than two raters.
    """
    masks = record.masks[record.rater_valid].reshape(record.rater_valid.sum(), -1).astype(bool)
    scores = [
        (2 * (a & b).sum() + 1e-8) / (a.sum() + b.sum() + 1e-8)
        for a, b in itertools.combinations(masks, 2)
    ]
    return float(np.mean(scores)) if scores else float("nan")


class Fingerprint:
    """Collects the finished records of a data set, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._records = 0
        self._patients: set[str] = set()
        self._volumes: set[str] = set()
        self._dice: list[float] = []
        self._areas: list[np.ndarray] = []
        self._raters_missing = 0
        self._undrawn = 0
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def add(self, record: Record) -> None:
        """Adds one record."""
        for text in (record.record_id, record.patient_id, record.site, record.split):
            self._digest.update(text.encode() + b"\0")
        if record.volume:  # the digest of single images stays what it was before there were volumes
            place = (record.volume, record.slice_mm, record.slice_spacing_mm)
            self._digest.update(f"{place}".encode())
        for array in (record.image, record.masks, record.rater_valid, record.spacing_mm):
            self._digest.update(np.ascontiguousarray(array).tobytes())
        self._patients.add(record.patient_id)
        self._volumes |= {record.volume} - {""}
        self._records += 1
        if is_empty(record):
            self._undrawn += 1
        else:
            self._dice.append(mean_pairwise_dice(record))
            self._areas.append(record.masks[record.rater_valid].sum((1, 2)))
        self._raters_missing += int((~record.rater_valid).sum())
        self._shapes = record.image.shape, record.masks.shape

    def summary(self, tally: Tally, rater_names: Sequence[str] = ()) -> dict[str, Any]:
        """Returns the numbers and the raters' names as JSON values; unknown numbers are None.

        Areas are the 5, 50 and 95 % quantiles over all present masks, in pixels of the finished
        records; Dice is `mean_pairwise_dice` averaged over the records that have a pair; both leave
        out records that are empty for all raters;
        intensities, before windowing, are the medians over the records.
        """
        dice = np.array(self._dice)
        image_shape, masks_shape = self._shapes
        return {
            "records": self._records,
            "patients": len(self._patients),
            **({"volumes": len(self._volumes)} if self._volumes else {}),
            **({"undrawn": self._undrawn} if self._undrawn else {}),
            "raters": masks_shape[0],
            "rater_names": list(rater_names),
            "masks_missing": self._raters_missing,
            "image_shape": list(image_shape),
            "native_sizes": _span(tally.native_sizes),
            "native_spacing_mm": [
                [float(f"{value:.4g}") for value in bound] for bound in _span(tally.native_spacings)
            ]
            if tally.native_spacings
            else None,
            "spacings_unknown": tally.spacings_unknown,
            "intensities": {
                "unit": tally.unit,
                **Intensities(*np.median(tally.intensities, axis=0).tolist())._asdict(),
                "doubted": tally.doubted,
                "first_doubted": tally.first_doubted,
            },
            "inter_rater_dice": None if np.isnan(dice).all() else float(np.nanmean(dice)),
            "mask_area_px": np.quantile(np.concatenate(self._areas), _QUANTILES).tolist(),
            "masks_cut_by_crop": tally.masks_cut,
            "skipped": dict(sorted(tally.skipped.items())),
            "sha256": self._digest.hexdigest(),
        }


def _span(pairs: Iterable[tuple[float, float]]) -> list[list[float]]:
    """Returns the lowest and the highest value of each axis."""
    axes = list(zip(*pairs, strict=True))
    return [[bound(axis) for axis in axes] for bound in (min, max)]


def lines(fingerprint: dict[str, Any], spacing_mm: float) -> list[str]:
    """Returns the fingerprint as lines of text; `spacing_mm` as in `words`."""
    return [f"{name:<19}{value}" for name, value in words(fingerprint, spacing_mm).items()]


def words(fingerprint: dict[str, Any], spacing_mm: float) -> dict[str, str]:
    """Returns the fingerprint in words and with units, {name: text}.

    `spacing_mm` is the size of a pixel to which the records were resampled; 0: they were not.
    """
    f = fingerprint
    low, high = ("x".join(map(str, size)) for size in f["native_sizes"])
    spacing = "unknown"
    if f["native_spacing_mm"]:
        spacing = " to ".join("x".join(map(str, s)) for s in f["native_spacing_mm"]) + " mm"
        if f["spacings_unknown"]:
            spacing += f", unknown in {f['spacings_unknown']} records"
    dice = f["inter_rater_dice"]
    seen = f["intensities"]
    values = " / ".join(f"{seen[name]:.4g}" for name in ("low", "median", "high"))
    skipped = ", ".join(f"{count} {reason}" for reason, count in f["skipped"].items())
    names = ", ".join(f.get("rater_names", ()))  # workdirs from before this field have none
    raters = f"{f['raters']} ({f['masks_missing']} masks declared missing)"
    return {
        "records": f"{f['records']} of {f['patients']} patients"
        + (f", slices of {f['volumes']} volumes" if "volumes" in f else "")
        + (f"; no rater drew on {f['undrawn']}" if "undrawn" in f else ""),
        "raters": f"{raters}: {names}" if names else raters,
        "image": f"{'x'.join(map(str, f['image_shape']))}, from {low} to {high} pixels",
        "spacing": spacing,
        "intensities": f"{seen['unit']}, {values} (0.1 / 50 / 99.9 % of an image, median)",
        "inter-rater Dice": "no pair of raters" if dice is None else f"{dice:.3f}",
        "mask area": f"{_areas(f, spacing_mm)} (5 / 50 / 95 %)",
        "cut by the crop": f"masks of {f['masks_cut_by_crop']} records",
        "skipped": skipped or "none",
        "sha256": f["sha256"],
    }


def _areas(f: dict[str, Any], spacing_mm: float) -> str:
    """Returns the quantiles of the areas in pixels and, if all pixels have one size, in mm²."""
    areas = f["mask_area_px"]
    pixels = " / ".join(f"{area:.0f}" for area in areas) + " pixels"
    native = f["native_spacing_mm"]
    if native is None or f["spacings_unknown"] or not (spacing_mm or native[0] == native[1]):
        return pixels
    size = spacing_mm**2 or native[0][0] * native[0][1]
    return f"{pixels} or {' / '.join(f'{area * size:.1f}' for area in areas)} mm²"
