"""Scores any model's masks against several raters' and prints one JSON object.

    python -m prosona_jax.score MASKS.npz

MASKS.npz holds `labels` {0, 1} [N, R, H, W] and `probs` 0..1 [N, S, H, W] and may hold `patient_id`
[N] and `rater_valid` bool [N, R], as an npz data set does. Every score carries a 95 % interval by
bootstrap over patients; without `patient_id` each record counts as a patient. `dice_style` compares
sample k with rater k in the stored order, which nothing here sorts.
"""

import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, logging

from data_pipelines.sources import npz
from prosona_jax import cli
from prosona_jax.evaluation import intervals, metrics
from prosona_jax.types import InputError

RESAMPLES = 2000
SEED = 0
CHUNK_BYTES = 2**26  # of probabilities and labels as float32, scored at a time


class Masks(NamedTuple):
    """What MASKS.npz holds; N records, R raters, S samples."""

    labels: np.ndarray  # bool or integer {0, 1} [N, R, H, W]
    probs: np.ndarray  # 0..1 [N, S, H, W]
    rater_valid: np.ndarray  # bool [N, R]
    patient_id: np.ndarray | None  # [N]


def read_masks(path: pathlib.Path) -> Masks:
    """Reads MASKS.npz. Raises InputError on an unreadable file, absent keys, dtypes and shapes."""
    stored = npz.read(path, Masks._fields)
    for key, axes in {"labels": "N, R, H, W", "probs": "N, S, H, W"}.items():
        if key not in stored:
            hint = ""
            if key == "labels" and npz.read(path, ("masks",)):
                hint = (
                    " (its 'masks' are a data set's or a prediction's: store the raters' masks as "
                    "'labels', and what a model drew as 'probs')"
                )
            raise InputError(f"{path}: has no {key!r}; add it as [{axes}]{hint}")
    labels, probs, patient_id = stored["labels"], stored["probs"], stored.get("patient_id")
    rater_valid = stored.get("rater_valid", np.ones(labels.shape[:2], bool))
    for key, dtypes, meaning in (("labels", "bui", "bool or integer"), ("probs", "fbui", "float")):
        if stored[key].dtype.kind not in dtypes:
            raise InputError(f"{path}: {key} is {stored[key].dtype}; store it as {meaning}")
    npz.check_boolean(path, "rater_valid", rater_valid)
    if patient_id is not None:
        patient_id = npz.texts(path, "patient_id", patient_id)
    masks = Masks(labels, probs, rater_valid.astype(bool), patient_id)
    _check_shapes(path, masks)
    return masks


def _check_shapes(path: pathlib.Path, masks: Masks) -> None:
    labels, probs = masks.labels.shape, masks.probs.shape
    for key, shape, axes in (("labels", labels, "N, R, H, W"), ("probs", probs, "N, S, H, W")):
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"{path}: {key} is {list(shape)}; it must be [{axes}], none of them 0")
    if (labels[0], *labels[2:]) != (probs[0], *probs[2:]):
        raise InputError(
            f"{path}: labels {list(labels)} and probs {list(probs)} differ in N, H or W; "
            "store the same records at the same size"
        )
    if masks.rater_valid.shape != labels[:2]:
        raise InputError(
            f"{path}: rater_valid is {list(masks.rater_valid.shape)}; it must be [N, R] = "
            f"{list(labels[:2])}"
        )
    if masks.patient_id is not None and masks.patient_id.shape != labels[:1]:
        raise InputError(
            f"{path}: patient_id is {list(masks.patient_id.shape)}; it must be [N] = [{labels[0]}]"
        )
    if masks.patient_id is not None and "" in masks.patient_id:
        raise InputError(f"{path}: a patient_id is empty; name each patient, or leave the key out")


def score_masks(path: pathlib.Path, masks: Masks) -> dict[str, Any]:
    """Returns counts and, per metric, mean and interval.

    Raises InputError on a value out of range, naming ``path`` and the record.
    """
    chunks = [
        metrics.score_batch(metrics.count_overlaps(probs, labels, valid), valid)
        for probs, labels, valid in _chunks(path, masks)
    ]
    scores = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    records, raters = masks.rater_valid.shape
    patients = records if masks.patient_id is None else len(np.unique(masks.patient_id))
    return {
        "records": records,
        "patients": patients,
        "raters": raters,
        "samples": masks.probs.shape[1],
        "metrics": intervals.summarise(scores, masks.patient_id, resamples=RESAMPLES, seed=SEED),
    }


def _chunks(
    path: pathlib.Path, masks: Masks
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields checked (probs f32, labels u8, rater_valid) of some records at a time."""
    records = len(masks.labels)
    count = max(1, CHUNK_BYTES // (4 * (masks.labels[0].size + masks.probs[0].size)))
    for start in range(0, records, count):
        part = slice(start, start + count)
        labels, probs, valid = masks.labels[part], masks.probs[part], masks.rater_valid[part]
        in_range = ((probs >= 0) & (probs <= 1)).all(axis=(1, 2, 3))  # NaN is not
        binary = (((labels == 0) | (labels == 1)).all(axis=(2, 3)) | ~valid).all(axis=1)
        for good, fault in (
            (valid.any(axis=1), "has no valid rater; leave it out"),
            (in_range, "has probs that are NaN or outside 0..1; store probabilities, not logits"),
            (binary, "has labels other than 0 and 1; store foreground as 1"),
        ):
            if not good.all():
                raise InputError(f"{path}: record {start + int(np.argmin(good))} {fault}")
        yield probs.astype(np.float32), labels.astype(np.uint8), valid


def main(argv: Sequence[str]) -> None:
    """Prints the scores of the one file named in ``argv``; exits with 2 on bad input."""
    logging.set_verbosity(logging.WARNING)  # JAX lists absent accelerators as information
    try:
        if len(argv) != 2:
            raise InputError("name one file: python -m prosona_jax.score MASKS.npz")
        path = pathlib.Path(argv[1])
        masks = read_masks(path)
        if masks.patient_id is None:
            logging.warning("%s has no patient_id: intervals resample records", path)
        result = score_masks(path, masks)
    except InputError as error:
        cli.stop(error)
    sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    app.run(main)
