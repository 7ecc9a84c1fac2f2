"""What a record must be before anything is computed from it."""

from typing import Any, NamedTuple, Self

import numpy as np

from prosona_jax.types import InputError, Record

UNITS = ("HU", "unit", "arbitrary")
SPLITS = ("train", "validation", "test")

# When the values of an image are hardly of the unit that a file or a user says. Measured on 1837
# crops of lung CT (LIDC-IDRI, 71x71 pixels): in HU none is doubted, nor are the 32x32 pixels in its
# middle; -1000..400 HU scaled to 0..1 or to 0..255 is doubted in all, HU + 1024 in all but one,
# whether 6 % of the pixels are padding of -2000 or not.
_AIR_HU = (-1200.0, -300.0)  # air and lung, noise included; what scanners pad with lies below
_LEAST_AIR = 0.01  # share of the pixels; 0.05 is the least of those crops
_LEAST_SPREAD_HU = 10.0  # less than the noise of CT
_LEAST_RANGE = 1 / 8  # of 0..1; 12 bits in a file of 16 fill 1/16, the flattest of the crops 0.30


def binary_masks(masks: Any, rater_valid: np.ndarray, where: str) -> np.ndarray:
    """Returns masks of any numeric type as u8 {0, 1} [R, H, W], those of missing raters empty.

    Args:
        masks: [R, H, W]; what a missing rater's mask holds does not matter.
        rater_valid: bool [R].
        where: file and record, the start of an error's line.

    Raises:
        InputError: a present rater's mask is undeclared as missing (NaN), or not binary.
    """
    masks = np.asarray(masks)
    if masks.dtype.kind not in "biuf":
        raise InputError(f"{where}: masks are {masks.dtype}; store them as uint8 0 and 1")
    masks = np.where(rater_valid[:, None, None], masks, 0)
    for rater, mask in enumerate(masks):
        if np.isnan(mask).any():
            raise InputError(
                f"{where}: rater {rater}'s mask holds NaN; declare a missing mask by "
                "rater_valid = False, an empty opinion by zeros"
            )
        if not ((mask == 0) | (mask == 1)).all():
            values = np.unique(mask)[:4].tolist()
            raise InputError(
                f"{where}: rater {rater}'s mask is not binary (values {values}); store 0 and 1"
            )
    return masks.astype(np.uint8)


def float32(values: Any) -> np.ndarray:
    """Returns numbers as f32; those beyond its range become infinite, which the checks refuse."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(np.float32)


def is_empty(record: Record) -> bool:
    """Whether no rater that read the image drew anything."""
    return not record.masks[record.rater_valid].any()


class Checker:
    """Checks the records of one data set, each by itself and against those before it."""

    def __init__(self, file: str) -> None:
        """Takes the file or folder that an error's line starts with."""
        self._file = file
        self._first: Record | None = None
        self._seen: set[str] = set()

    def __call__(self, record: Record) -> None:
        """Accepts a sound record whose id is new.

        Raises:
            InputError: one line with file, record, fault and remedy; the set is unchanged.
        """
        where = f"{self._file}: record {record.record_id!r}"
        for fault in (_identity_fault, _shape_fault, _image_fault, _mask_fault):
            if message := fault(record):
                raise InputError(f"{where}: {message}")
        if record.record_id in self._seen:
            raise InputError(f"{where}: the id occurs twice; give each record its own")
        self._seen.add(record.record_id)

    def agree(self, record: Record) -> None:
        """Compares an accepted record with the first one.

        Raises:
            InputError: raters, channels or units differ: a fault of the set, since neither record
                is known to be the wrong one.
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


def _identity_fault(record: Record) -> str:
    if not record.record_id:
        return "its id is empty; give each record an id of its own"
    if not record.patient_id:
        return "the patient id is empty; records are split by patient and each needs one"
    if record.intensity_unit not in UNITS:
        return f"intensity_unit is {record.intensity_unit!r}; choose one of {UNITS}"
    if record.split not in ("", *SPLITS):
        return f"split is {record.split!r}; choose one of {SPLITS}, or leave it empty"
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
    """Says what is wrong with the size of a pixel f32 [2], "" if nothing; unknown is NaN twice."""
    if len(spacing_mm) != 2 or not (
        np.isnan(spacing_mm).all() or (np.isfinite(spacing_mm) & (spacing_mm > 0)).all()
    ):
        return f"spacing_mm is {spacing_mm.tolist()}; give two sizes in mm above 0, or NaN twice"
    return ""


def image_fault(image: np.ndarray, intensity_unit: str) -> str:
    """Says what is wrong with the values of an image f32 [H, W, C], "" if nothing."""
    if not np.isfinite(image).all():
        return "the image holds NaN or infinite values; mend it or leave it out"
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    if (low == high).any():
        channel = int(np.argmax(low == high))
        return (
            f"channel {channel} of the image is constant ({low[channel]:g}); "
            "mend it or leave it out"
        )
    if intensity_unit == "unit" and (low.min() < 0 or high.max() > 1):
        return (
            f"the image spans {low.min():g}..{high.max():g}, outside the 0..1 of intensity_unit "
            "'unit'; scale it, or declare 'arbitrary'"
        )
    return ""


class Intensities(NamedTuple):
    """Where the values of an image lie, in the numbers of its source, over all channels."""

    low: float  # 0.1 % of the values lie below; single pixels are no measure
    median: float
    high: float  # 99.9 % lie below
    air: float  # share of the pixels from -1200 to -300, the HU of air and lung

    @classmethod
    def of(cls, image: np.ndarray) -> Self:
        """Returns those of an image f32 [H, W, C] that is not windowed."""
        low, median, high = np.quantile(image, (0.001, 0.5, 0.999)).tolist()
        air = (image >= _AIR_HU[0]) & (image <= _AIR_HU[1])
        return cls(low, median, high, float(air.mean()))


def unit_doubt(seen: Intensities, unit: str, where: str = "") -> str:
    """Says why an image's values are hardly of the unit, "" if they may well be.

    Args:
        seen: of the whole image: a slice of CT shows air somewhere.
        unit: "HU", "unit" or "arbitrary", of which any values are.
        where: begins the explanation, such as "in 3 of 9 records ".

    Returns:
        "Short claim: explanation", to which the caller adds the remedy.
    """
    within = f"{where}99.8 % of the pixels lie within {seen.low:.4g} to {seen.high:.4g}"
    if unit == "unit" and seen.high - seen.low < _LEAST_RANGE:
        return (
            f"Nearly no contrast: {within}, a small part of 0 to 1, as where 12 bits are stored in "
            "a file of 16"
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
