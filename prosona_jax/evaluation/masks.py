"""Scores any model's masks against the masks of several raters, with intervals over patients."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from prosona_jax.evaluation import contours, intervals, metrics, uncertainty
from prosona_jax.types import InputError

RESAMPLES = 2000
SEED = 0
CHUNK_BYTES = 2**26  # probabilities and labels, as float32, that are scored at a time


class Masks(NamedTuple):
    """The masks to score; N records, R raters, S samples."""

    labels: np.ndarray  # bool or integer {0, 1} [N, R, H, W]
    probs: np.ndarray  # 0..1 [N, S, H, W]
    rater_valid: np.ndarray  # bool [N, R]
    patient_id: np.ndarray | None  # text [N]
    spacing_mm: np.ndarray | None  # [N, 2], (row, column); NaN: unknown


def score(
    labels: np.ndarray,
    probs: np.ndarray,
    *,
    rater_valid: np.ndarray | None = None,
    patient_id: Sequence[str] | np.ndarray | None = None,
    spacing_mm: np.ndarray | None = None,
    tolerance_mm: float = 1.0,
    where: str = "masks",
) -> dict[str, Any]:
    """Scores S masks of each record against the masks of R raters.

        >>> import numpy as np
        >>> labels = np.zeros((1, 2, 4, 4), np.uint8)
        >>> labels[..., :2] = 1
        >>> scores = score(labels, labels.astype(np.float32))
        >>> scores["metrics"]["ged"]["mean"]
        0.0

    Every score is a mean over records, with a 95 % interval by bootstrap over patients.

    Args:
        labels: raters' masks, bool or integer {0, 1} [N, R, H, W].
        probs: probabilities 0..1 [N, S, H, W]; above 1/2 is foreground.
        rater_valid: bool [N, R], False where a rater has no mask of a record; None: all have one.
        patient_id: [N]; None: each record counts as a patient.
        spacing_mm: (row, column) size of the pixels of each record [N, 2], NaN twice where it is
            unknown. With it, and if S = R, sample k is also compared with rater k in mm, see
            `contours.of_styles`.
        tolerance_mm: of the normalised surface Dice.
        where: how an error message starts, for example the name of a file.

    Returns:
        Counts, and for each metric its mean and interval, as `python -m prosona_jax.score` prints
        them. "undefined" is the number of pairs that the means in mm leave out.

    Raises:
        InputError: types, shapes or values are wrong; for values, the message names the record.
    """
    labels, probs = np.asarray(labels), np.asarray(probs)
    valid = np.ones(labels.shape[:2], bool) if rater_valid is None else np.asarray(rater_valid)
    for key, array, dtypes, meaning in (
        ("labels", labels, "bui", "bool or integer"),
        ("probs", probs, "fbui", "float"),
    ):
        if array.dtype.kind not in dtypes:
            raise InputError(f"{where}: {key} is {array.dtype}; store it as {meaning}")
    if not np.isin(valid, (0, 1)).all():
        raise InputError(f"{where}: rater_valid is not boolean; store True or False")
    patients = None if patient_id is None else np.asarray(patient_id).astype(str)
    sizes = None if spacing_mm is None else np.asarray(spacing_mm)
    masks = Masks(labels, probs, valid.astype(bool), patients, sizes)
    _check_shapes(where, masks)
    if sizes is not None:
        _check_sizes(where, sizes, len(labels))
    if not tolerance_mm > 0:
        raise InputError(f"tolerance_mm is {tolerance_mm:g}; it must be above 0")
    return _scores(where, masks, tolerance_mm)


def _check_shapes(where: str, masks: Masks) -> None:
    labels, probs = masks.labels.shape, masks.probs.shape
    for key, shape, axes in (("labels", labels, "N, R, H, W"), ("probs", probs, "N, S, H, W")):
        if len(shape) != 4 or 0 in shape:
            raise InputError(
                f"{where}: {key} is {list(shape)}; it must be [{axes}], none of them 0"
            )
    if (labels[0], *labels[2:]) != (probs[0], *probs[2:]):
        raise InputError(
            f"{where}: labels {list(labels)} and probs {list(probs)} differ in N, H or W; "
            "store the same records at the same size"
        )
    if masks.rater_valid.shape != labels[:2]:
        raise InputError(
            f"{where}: rater_valid is {list(masks.rater_valid.shape)}; it must be [N, R] = "
            f"{list(labels[:2])}"
        )
    if masks.patient_id is not None and masks.patient_id.shape != labels[:1]:
        raise InputError(
            f"{where}: patient_id is {list(masks.patient_id.shape)}; it must be [N] = [{labels[0]}]"
        )
    if masks.patient_id is not None and "" in masks.patient_id:
        raise InputError(f"{where}: a patient_id is empty; name each patient, or leave the key out")


def _check_sizes(where: str, sizes: np.ndarray, records: int) -> None:
    if sizes.dtype.kind not in "fiu" or sizes.shape != (records, 2):
        raise InputError(
            f"{where}: spacing_mm is {sizes.dtype} {list(sizes.shape)}; store numbers [N, 2] = "
            f"[{records}, 2]"
        )
    good = (np.isfinite(sizes) & (sizes > 0)).all(axis=1) | np.isnan(sizes).all(axis=1)
    if not good.all():
        raise InputError(
            f"{where}: record {int(np.argmin(good))} has spacing_mm "
            f"{sizes[np.argmin(good)].tolist()}; give two sizes in mm above 0, or NaN twice"
        )


def _scores(where: str, masks: Masks, tolerance_mm: float) -> dict[str, Any]:
    """Returns the counts, and for each metric its mean and interval."""
    records, raters = masks.rater_valid.shape
    sizes = masks.spacing_mm if masks.probs.shape[1] == raters else None
    chunks = []
    for part, probs, labels, valid in _chunks(where, masks):
        own = metrics.score_batch(metrics.count_overlaps(probs, labels, valid), valid)
        own["s_ncc"] = np.asarray(uncertainty.s_ncc(probs, labels, valid), np.float64)
        if sizes is not None:
            seen = zip(probs > 0.5, labels, valid, sizes[part], strict=True)
            found = [contours.of_styles(*each, tolerance_mm) for each in seen]
            names = (*contours.MEASURES, "undefined")
            own |= {name: np.array([x[name] for x in found]) for name in names}
        chunks.append(own)
    scores = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    undefined = {"undefined": int(scores.pop("undefined").sum())} if sizes is not None else {}
    patients = records if masks.patient_id is None else len(np.unique(masks.patient_id))
    return {
        "records": records,
        "patients": patients,
        "raters": raters,
        "samples": masks.probs.shape[1],
        **undefined,
        "metrics": intervals.summarise(scores, masks.patient_id, resamples=RESAMPLES, seed=SEED),
    }


def _chunks(where: str, masks: Masks) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields (which, probs f32, labels u8, rater_valid) of a few records, after checks."""
    records = len(masks.labels)
    count = max(1, CHUNK_BYTES // (4 * (masks.labels[0].size + masks.probs[0].size)))
    for start in range(0, records, count):
        part = slice(start, start + count)
        labels, probs, valid = masks.labels[part], masks.probs[part], masks.rater_valid[part]
        in_range = ((probs >= 0) & (probs <= 1)).all(axis=(1, 2, 3))  # False for NaN
        binary = (((labels == 0) | (labels == 1)).all(axis=(2, 3)) | ~valid).all(axis=1)
        for good, fault in (
            (valid.any(axis=1), "has no valid rater; leave it out"),
            (in_range, "has probs that are NaN or outside 0..1; store probabilities, not logits"),
            (binary, "has labels other than 0 and 1; store foreground as 1"),
        ):
            if not good.all():
                raise InputError(f"{where}: record {start + int(np.argmin(good))} {fault}")
        yield part, probs.astype(np.float32), labels.astype(np.uint8), valid
