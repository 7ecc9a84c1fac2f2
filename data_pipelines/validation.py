"""Checks a record before anything is computed from it."""

from typing import Any, NamedTuple, Self

import numpy as np

from prosona_jax.types import InputError, Record

UNITS = ("HU", "unit", "arbitrary")
SPLITS = ("train", "validation", "test")
ONLY_TRAIN = "only_train"  # declared split of a record that is never validated or scored

# Limits beyond which the values of an image probably do not have the unit that the file or the
# user states. They were measured on 1837 crops of lung CT (LIDC-IDRI, 71x71 pixels). In HU no crop
# is doubted, and neither are the 32x32 pixels in its middle. All crops are doubted if -1000..400 HU
# is scaled to 0..1 or to 0..255, and all but one if they hold HU + 1024. This is so with and
# without 6 % of the pixels being padding of -2000.
_AIR_HU = (-1200.0, -300.0)  # air and lung, noise included; the padding of scanners lies below
_LEAST_AIR = 0.01  # share of the pixels; the lowest share in those crops is 0.05
_LEAST_SPREAD_HU = 10.0  # less than the noise of CT spreads
_LEAST_RANGE = 1 / 8  # of 0..1; 12 bits in a 16-bit file span 1/16, the crop of least contrast 0.30


def binary_masks(masks: Any, rater_valid: np.ndarray, where: str) -> np.ndarray:
    """Returns masks of any numeric type as u8 {0, 1} [R, H, W]; masks of missing raters become 0.

    Args:
        masks: [R, H, W]; the content of a missing rater's mask is ignored.
        rater_valid: bool [R].
        where: file and record; error messages start with it.

    Raises:
        InputError: the mask of a rater who is not declared missing holds NaN or is not binary.
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "biuf":
        raise InputError(f"{where}: masks are {masks.dtype}; store them as uint8 0 and 1")
    masks = np.where(rater_valid[:, None, None], masks, 0)
    for rater, mask in enumerate(masks):
        if np.isnan(mask).any():
            raise InputError(
                f"{where}: rater {rater}'s mask holds NaN; declare a missing mask by "
                "rater_valid = False, and store zeros if the rater saw no object"
            )
        if not ((mask == 0) | (mask == 1)).all():
            values = np.unique(mask)[:4].tolist()
            raise InputError(
                f"{where}: rater {rater}'s mask is not binary (values {values}); store 0 and 1"
            )
    return masks.astype(np.uint8)


def float32(values: Any) -> np.ndarray:
    """Returns numbers as f32; those beyond its range become infinite, which the checks reject."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float32)


def is_empty(record: Record) -> bool:
    """Returns whether every mask of the raters who are not missing is empty."""
    return not drawn_by(record)


def drawn_by(record: Record) -> int:
    """Returns how many raters drew something."""
    return int(record.masks[record.rater_valid].any(axis=(1, 2)).sum())


def check(record: Record, file: str) -> None:
    """Raises InputError, one line with file, record, fault and remedy, unless a record is valid."""
    for fault in (_identity_fault, _shape_fault, _image_fault, _mask_fault):
        if message := fault(record):
            raise InputError(f"{file}: record {record.record_id!r}: {message}")


class Checker:
    """Checks the valid records of one data set against earlier ones; reads no pixel."""

    def __init__(self, file: str) -> None:
        """Takes the file or folder with which error messages start."""
        self._file = file
        self._first: Record | None = None
        self._seen: set[str] = set()
        self._volumes: dict[str, Record] = {}  # the first record of each, without image and masks
        self._positions: dict[tuple[str, float], str] = {}  # (volume, mm) -> record id

    def __call__(self, record: Record) -> None:
        """Accepts a record with a new id; else raises InputError, and did not accept it."""
        if record.record_id in self._seen:
            raise InputError(
                f"{self._file}: record {record.record_id!r}: the id occurs twice; give each record "
                "its own"
            )
        self._seen.add(record.record_id)

    def agree(self, record: Record) -> None:
        """Compares an accepted record with the first one, and with the first of its volume.

        Raises:
            InputError: raters, channels or units differ in the data set; or patients, sites, voxel
                sizes or missing raters in a volume; or two of its slices have one position. The
                data set is at fault, since it is unknown which record is wrong.
        """
        first = self._first = self._first or record
        for noun, value, expected in (
            ("raters", len(record.masks), len(first.masks)),
            ("channels", record.image.shape[-1], first.image.shape[-1]),
            ("as intensity unit", record.intensity_unit, first.intensity_unit),
        ):
            if value != expected:
                raise InputError(
                    f"{self._file}: record {record.record_id!r} has {value} {noun}, record "
                    f"{first.record_id!r} has {expected}; one data set needs the same in every "
                    "record (a missing rater is declared by rater_valid = False)"
                )
        if record.volume:
            self._agree_in_volume(record)

    def _agree_in_volume(self, record: Record) -> None:
        nothing = np.zeros(0)
        own = record._replace(image=nothing, masks=nothing, window=None)
        first = self._volumes.setdefault(record.volume, own)
        where = f"{self._file}: record {record.record_id!r}"
        for noun in ("patient_id", "site", "spacing_mm", "slice_spacing_mm", "rater_valid"):
            value, expected = (np.asarray(getattr(of, noun)) for of in (record, first))
            if not np.array_equal(value, expected, equal_nan=value.dtype.kind == "f"):
                raise InputError(
                    f"{where} has {noun} {value.tolist()!r}, record {first.record_id!r} of the "
                    f"same volume {record.volume!r} has {expected.tolist()!r}; give each volume an "
                    "id of its own, or correct the records"
                )
        place = (record.volume, record.slice_mm)
        if not np.isnan(record.slice_mm) and (other := self._positions.get(place)):
            raise InputError(
                f"{where} has slice_mm {record.slice_mm:g}, and so has record {other!r} of the "
                f"same volume {record.volume!r}; give each slice its own position"
            )
        self._positions[place] = record.record_id


def _identity_fault(record: Record) -> str:
    if not record.record_id:
        return "its id is empty; give each record an id of its own"
    if not record.patient_id:
        return "the patient id is empty; records are split by patient and each needs one"
    if record.intensity_unit not in UNITS:
        return f"intensity_unit is {record.intensity_unit!r}; choose one of {UNITS}"
    if np.isinf(record.slice_mm):
        return "slice_mm is infinite; give a position in mm, or NaN if it is unknown"
    if not (np.isnan(record.slice_spacing_mm) or 0 < record.slice_spacing_mm < np.inf):
        return (
            f"slice_spacing_mm is {record.slice_spacing_mm}; give a distance in mm above 0, or NaN "
            "if it is unknown"
        )
    if record.split not in ("", *SPLITS, ONLY_TRAIN):
        choices = (*SPLITS, ONLY_TRAIN)
        return f"split is {record.split!r}; choose one of {choices}, or leave it empty"
    return ""


def _shape_fault(record: Record) -> str:
    image, masks = record.image, record.masks
    for name, array, dtype, rank in (
        ("image", image, np.float32, 3),
        ("masks", masks, np.uint8, 3),
        ("rater_valid", record.rater_valid, np.bool_, 1),
        ("spacing_mm", record.spacing_mm, np.float32, 1),
    ):
        if array.dtype != dtype or array.ndim != rank:
            return (
                f"{name} is {array.dtype} {list(array.shape)}; it must be "
                f"{np.dtype(dtype)} of rank {rank}"
            )
    if masks.shape[1:] != image.shape[:2] or not masks.size or not image.size:
        return (
            f"masks are {list(masks.shape)} on an image {list(image.shape)}; masks [R,H,W] and "
            "image [H,W,C] must share H and W, none of them 0"
        )
    if len(record.rater_valid) != len(masks):
        return f"rater_valid has {len(record.rater_valid)} entries for {len(masks)} masks"
    limits, channels = record.window, image.shape[-1]
    if limits is not None and (limits.shape != (2, channels) or not np.isfinite(limits).all()):
        return f"window is {limits.tolist()}; give finite limits [2,{channels}], low and high"
    return spacing_fault(record.spacing_mm)


def _image_fault(record: Record) -> str:
    return image_fault(record.image, record.intensity_unit)


def _mask_fault(record: Record) -> str:
    if not record.rater_valid.any():
        return "rater_valid is False for every rater; remove the record"
    if record.masks.max() > 1:
        return f"masks are not binary (values up to {record.masks.max()}); store 0 and 1"
    return ""


def spacing_fault(spacing_mm: np.ndarray) -> str:
    """Returns the fault of a pixel size f32 [2], "" if there is none; NaN twice means unknown."""
    if len(spacing_mm) != 2 or not (
        np.isnan(spacing_mm).all() or (np.isfinite(spacing_mm) & (spacing_mm > 0)).all()
    ):
        return f"spacing_mm is {spacing_mm.tolist()}; give two sizes in mm above 0, or NaN twice"
    return ""


def image_fault(image: np.ndarray, intensity_unit: str) -> str:
    """Returns the fault of the values of an image f32 [H, W, C], "" if they have none."""
    if not np.isfinite(image).all():
        return "the image holds NaN or infinite values; fix it or leave it out"
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    if is_constant(image):
        channel = int(np.argmax(low == high))
        return (
            f"channel {channel} of the image is constant ({low[channel]:g}); fix it or leave it out"
        )
    if intensity_unit == "unit" and (low.min() < 0 or high.max() > 1):
        return (
            f"the image spans {low.min():g}..{high.max():g}, outside the 0..1 of intensity_unit "
            "'unit'; scale it, or declare 'arbitrary'"
        )
    return ""


def is_constant(image: np.ndarray) -> bool:
    """Returns whether a channel of an image f32 [H, W, C] has one value alone, or NaN alone."""
    same = image.min(axis=(0, 1)) == image.max(axis=(0, 1))
    return bool((same | np.isnan(image).all(axis=(0, 1))).any())


class Intensities(NamedTuple):
    """Quantiles of the values of an image as its source stores them, over all channels."""

    low: float  # 0.1 % of the values lie below; the minimum would depend on single pixels
    median: float
    high: float  # 99.9 % lie below
    air: float  # share of the pixels within -1200..-300, the HU of air and lung

    @classmethod
    def of(cls, image: np.ndarray) -> Self:
        """Returns the quantiles of an image f32 [H, W, C] that is not windowed."""
        low, median, high = np.quantile(image, (0.001, 0.5, 0.999)).tolist()
        air = (image >= _AIR_HU[0]) & (image <= _AIR_HU[1])
        return cls(low, median, high, float(air.mean()))


def unit_doubt(seen: Intensities, unit: str, where: str = "") -> str:
    """Returns why the values of an image probably do not have the unit, "" if they may have it.

    Args:
        seen: quantiles of the whole image, since a whole slice of CT shows air somewhere.
        unit: "HU", "unit" or "arbitrary"; any values can be "arbitrary".
        where: start of the explanation, such as "in 3 of 9 records ".

    Returns:
        "Short claim: explanation", to which the caller adds the remedy.
    """
    within = f"{where}99.8 % of the pixels lie within {seen.low:.4g} to {seen.high:.4g}"
    if unit == "unit" and seen.high - seen.low < _LEAST_RANGE:
        return (
            f"Nearly no contrast: {within}, a small part of 0 to 1, as if a 16-bit file stored "
            "12-bit values"
        )
    if unit != "HU":
        return ""
    if seen.high - seen.low < _LEAST_SPREAD_HU:
        return f"Not in HU: {within}, and the noise of CT alone spreads wider in HU"
    if seen.median < _AIR_HU[0]:
        return (
            f"Perhaps not in HU: {where}half of the pixels lie below {seen.median:.4g}, and air "
            "has -1000 HU"
        )
    if seen.air < _LEAST_AIR:
        return (
            f"Perhaps not in HU: {within}, and {100 * seen.air:.1f} % have the HU of air or lung "
            f"({_AIR_HU[0]:g} to {_AIR_HU[1]:g}), which CT shows unless all of it is soft tissue"
        )
    return ""
