"""Train, validation and test by patient."""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from data_pipelines.validation import SPLITS
from prosona_jax.types import InputError


def assign(
    patient_ids: Sequence[str],
    declared_splits: Sequence[str],
    *,
    folds: int,
    fold: int,
    validation_share: float,
    needed: Collection[str] = SPLITS,
) -> dict[str, np.ndarray]:
    """Returns the records of each split: {"train", "validation", "test", "all"} -> i64 [n].

    A patient's fold is a hash of the id modulo `folds`; `fold` is the test set. Of the other
    patients those whose second, independent hash, as a fraction of 1, is below
    `validation_share` are the validation set. So a patient's split never depends on who else is
    in the data. With `folds` = 0 the splits are those that the source declares.

    Args:
        patient_ids: the patient of each record.
        declared_splits: the source's split of each record, "" for none.
        folds: number of folds, 0 for declared splits.
        fold: the test fold, 0-based.
        validation_share: in [0, 1).
        needed: splits that may not be empty.

    Raises:
        InputError: values out of range, an unknown split, no declared splits, a patient in two
            splits, or an empty split.
    """
    if folds < 0 or not (fold == 0 or 0 <= fold < folds):
        raise InputError(f"data.fold={fold} of data.folds={folds}: choose 0 <= fold < folds")
    for name in needed:
        if name not in (*SPLITS, "all"):
            raise InputError(f"data.split={name!r}: choose one of {(*SPLITS, 'all')}")
    if not 0 <= validation_share < 1:
        raise InputError(f"data.validation_share={validation_share}: choose 0 <= share < 1")
    if folds:
        names = [_split(patient, folds, fold, validation_share) for patient in patient_ids]
    else:
        names = list(declared_splits)
    _check_leaks(patient_ids, names)
    parts = {
        name: np.array([i for i, split in enumerate(names) if split == name], np.int64)
        for name in SPLITS
    }
    parts["all"] = np.arange(len(names))
    for name in needed:
        if not len(parts[name]):
            patients = len(set(patient_ids))
            raise InputError(
                f"the {name} split is empty ({patients} patients, data.folds={folds}, data.fold="
                f"{fold}, data.validation_share={validation_share}); use more patients, fewer "
                "folds or another share"
            )
    return parts


def fold_sizes(patient_ids: Sequence[str], folds: int) -> list[int]:
    """Returns the number of records in each of the folds; none for declared splits, 0 folds."""
    sizes = [0] * folds
    for patient in patient_ids if folds else ():
        sizes[_fold(patient, folds)] += 1
    return sizes


def _split(patient: str, folds: int, fold: int, validation_share: float) -> str:
    if _fold(patient, folds) == fold:
        return "test"
    return "validation" if _hash("validation", patient) < validation_share * 2**64 else "train"


def _fold(patient: str, folds: int) -> int:
    return _hash("fold", patient) % folds


def _hash(purpose: str, patient: str) -> int:
    """64 bits that depend on both arguments alone."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{patient}".encode()).digest()[:8])


def _check_leaks(patient_ids: Sequence[str], names: Sequence[str]) -> None:
    home: dict[str, str] = {}
    for patient, name in zip(patient_ids, names, strict=True):
        if not name:
            raise InputError(
                f"patient {patient!r} has a record without declared split; set data.folds above 0 "
                "to split by patient id, or declare every record"
            )
        if home.setdefault(patient, name) != name:
            raise InputError(
                f"patient {patient!r} is in two splits, {home[patient]!r} and {name!r}; move all "
                "records of a patient to one, or set data.folds above 0"
            )
