"""Splits records into train, validation and test by patient."""

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from data_pipelines.validation import ONLY_TRAIN, SPLITS
from prosona_jax.types import InputError


def assign(
    patient_ids: Sequence[str],
    declared_splits: Sequence[str],
    *,
    folds: int,
    fold: int,
    validation_share: float,
    leave_out: Collection[str] = (),
    needed: Collection[str] = SPLITS,
    sites: Sequence[str] = (),
    test_site: str = "",
) -> dict[str, np.ndarray]:
    """Returns the records of each split: {"train", "validation", "test", "all"} -> i64 [n].

    The fold of a patient is a hash of the id modulo `folds`; the patients of fold `fold` are the
    test set. A second, independent hash maps each other patient to a number in [0, 1); patients
    below `validation_share` are the validation set. So the split of a patient does not depend on
    the other patients. With `folds` = 0 the source declares the splits.

    With `test_site` the records of that site are the test set, and `folds` and the declared splits
    do not count. The hash above divides all other patients into validation and training. If a
    patient of the site was also seen elsewhere, the records from elsewhere are in no split.

    A record that is declared "only_train" trains if its patient is a training patient, and is in no
    split otherwise; it is not in "all" either.

    Args:
        patient_ids: the patient of each record.
        declared_splits: the split of each record that the source declares, "" for none.
        folds: number of folds, 0 for declared splits.
        fold: the test fold, 0-based.
        validation_share: in [0, 1).
        leave_out: patients whose records are in no split.
        needed: splits that may not be empty.
        sites: the site of each record; needed for `test_site`.
        test_site: the site to test on; "": none.

    Raises:
        InputError: values out of range, an unknown split, no declared splits, a patient in two
            splits, an unknown patient to leave out, an unknown site, or an empty split.
    """
    _check(folds, fold, validation_share, needed)
    only_train = [declared == ONLY_TRAIN for declared in declared_splits]
    if unknown := sorted(set(leave_out) - set(patient_ids)):
        raise InputError(f"data.leave_out names {unknown[0]!r}, and no record is of this patient")
    elsewhere = [False] * len(patient_ids)
    if test_site:
        elsewhere = [site != test_site for site in sites]
        own = _by_site(patient_ids, sites, test_site, validation_share)
    elif folds:
        own = {p: _split(p, folds, fold, validation_share) for p in patient_ids}
    else:
        own = _declared(patient_ids, declared_splits)
    names = [
        ""
        if patient in leave_out
        or (only and own[patient] != "train")
        or (other and own[patient] == "test")
        else own[patient]
        for patient, only, other in zip(patient_ids, only_train, elsewhere, strict=True)
    ]
    parts = {
        name: np.array([i for i, split in enumerate(names) if split == name], np.int64)
        for name in SPLITS
    }
    scorable = [i for i, name in enumerate(names) if name and not only_train[i]]
    parts["all"] = np.array(scorable, np.int64)
    for name in needed:
        if not len(parts[name]):
            patients = len(set(patient_ids))
            by = f"data.folds={folds}, data.fold={fold}"
            by = f"data.test_site={test_site!r}" if test_site else by
            raise InputError(
                f"the {name} split is empty ({patients} patients, {by}, "
                f"data.validation_share={validation_share}); use more patients, fewer folds or "
                "another share"
            )
    return parts


def _check(folds: int, fold: int, validation_share: float, needed: Collection[str]) -> None:
    """Raises InputError if a value is out of range."""
    if folds < 0 or not (fold == 0 or 0 <= fold < folds):
        raise InputError(f"data.fold={fold} of data.folds={folds}: choose 0 <= fold < folds")
    for name in needed:
        if name not in (*SPLITS, "all"):
            raise InputError(f"data.split={name!r}: choose one of {(*SPLITS, 'all')}")
    if not 0 <= validation_share < 1:
        raise InputError(f"data.validation_share={validation_share}: choose 0 <= share < 1")


def fold_sizes(patient_ids: Sequence[str], folds: int) -> list[int]:
    """Returns the number of records in each fold; an empty list if `folds` is 0."""
    sizes = [0] * folds
    for patient in patient_ids if folds else ():
        sizes[_fold(patient, folds)] += 1
    return sizes


def _split(patient: str, folds: int, fold: int, validation_share: float) -> str:
    if _fold(patient, folds) == fold:
        return "test"
    return _train_or_validation(patient, validation_share)


def _train_or_validation(patient: str, validation_share: float) -> str:
    return "validation" if _hash("validation", patient) < validation_share * 2**64 else "train"


def _by_site(
    patient_ids: Sequence[str], sites: Sequence[str], test_site: str, validation_share: float
) -> dict[str, str]:
    """Returns the split of each patient if the patients of one site are tested."""
    tested = {p for p, site in zip(patient_ids, sites, strict=True) if site == test_site}
    if not tested:
        known = ", ".join(map(repr, sorted(set(sites) - {""}))) or "none"
        raise InputError(
            f"data.test_site={test_site!r}: no record is of this site; sites of the data: {known}"
        )
    return {
        p: "test" if p in tested else _train_or_validation(p, validation_share) for p in patient_ids
    }


def _fold(patient: str, folds: int) -> int:
    return _hash("fold", patient) % folds


def _hash(purpose: str, patient: str) -> int:
    """Returns 64 bits that depend only on the two arguments."""
    return int.from_bytes(hashlib.sha256(f"{purpose}:{patient}".encode()).digest()[:8])


def _declared(patient_ids: Sequence[str], declared_splits: Sequence[str]) -> dict[str, str]:
    """Returns the declared split of each patient, "train" if all records of one only train."""
    split_of: dict[str, str] = {}
    for patient, name in zip(patient_ids, declared_splits, strict=True):
        if name == ONLY_TRAIN:
            continue
        if not name:
            raise InputError(
                f"patient {patient!r} has a record without declared split; set data.folds above 0 "
                "to split by patient id, or declare every record"
            )
        if split_of.setdefault(patient, name) != name:
            raise InputError(
                f"patient {patient!r} is in two splits, {split_of[patient]!r} and {name!r}; move "
                "all records of a patient to one, or set data.folds above 0"
            )
    return dict.fromkeys(patient_ids, "train") | split_of
