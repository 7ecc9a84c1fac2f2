"""Finds the properties of a data set or of its splits that spoil a result, with a remedy for each.

A caveat has the form "Short claim: explanation."; reports show the claim on every figure.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines import splits
from data_pipelines.fingerprint import BEYOND_CROP, CORRUPT, EMPTY
from data_pipelines.validation import Intensities, unit_doubt

# A model learns a cut mask, and is scored on it, as if the object ended at the crop's border. If
# one record in twenty is ten points of Dice off, the mean moves by half a point. Methods differ by
# no more than that.
_CUT_SHARE = 0.05
# Fewer than 1 % of single images are doubted wrongly, see `validation`. A share above this limit
# means that the unit of the whole data set is probably wrong.
_DOUBTED_SHARE = 0.05
# A few images without an object are usual. Many mean that masks were lost, or that the data set is
# for another task.
_EMPTY_SHARE = 0.1
# Bootstrap intervals of a mean are too narrow for few patients: of 10, "95 %" means about 90 %.
_FEW_SCORED = 10
# With fewer patients the mean varies by chance more than it differs between checkpoints.
_FEW_VALIDATION = 5
# Above this share the mean is mostly that of one patient, and the bootstrap interval depends on
# whether a resample contains this patient.
_ONE_PATIENT_SHARE = 0.2
# Records of the largest fold over those of the smallest. Hashing hundreds of patients gives 1.2. At
# 1.5, with 4 folds, one model learns from an eighth fewer records than another.
_FOLD_RATIO = 1.5


def of_data(fingerprint: Mapping[str, Any], *, spacing_mm: float) -> list[str]:
    """Returns the caveats of a data set that do not depend on its splits.

    Args:
        fingerprint: see `data_pipelines.fingerprint`.
        spacing_mm: pixel size to which images of known pixel size were resampled; 0: none were.
    """
    f, skipped = fingerprint, fingerprint["skipped"]
    records, found = f["records"], []
    if corrupt := skipped.get(CORRUPT, 0):
        found.append(
            f"Incomplete data: {corrupt} of {records + corrupt} records were corrupt and left out "
            "(data.on_error=skip); fix them; the log names each."
        )
    if (empty := skipped.get(EMPTY, 0)) > _EMPTY_SHARE * (records + empty):
        found.append(
            f"Many empty records: in {empty} of {records + empty} no rater drew anything, and they "
            "were left out; check that their masks were stored. If the masks are empty on purpose, "
            "scores hold only for images with an object."
        )
    beyond = skipped.get(BEYOND_CROP, 0)
    cut, drawn = f["masks_cut_by_crop"] + beyond, records + beyond
    if cut > _CUT_SHARE * drawn:
        found.append(
            f"Masks cut: in {cut} of {drawn} records masks reach beyond the crop, and their parts "
            "outside are neither learned nor scored; raise data.size"
            + (" or data.spacing_mm." if spacing_mm else ".")
        )
    found += _of_intensities(f["intensities"], records)
    unknown = f["spacings_unknown"]
    if spacing_mm and 0 < unknown < records:
        found.append(
            f"Pixel sizes mixed: {unknown} of {records} records do not state their pixel size and "
            f"were not resampled, the others were resampled to {spacing_mm:g} mm; add the sizes, "
            "or set data.spacing_mm=0."
        )
    return found


def _of_intensities(seen: Mapping[str, Any], records: int) -> list[str]:
    if seen["doubted"] <= _DOUBTED_SHARE * records:
        return []
    first = dict(seen["first_doubted"])
    where = f"in {seen['doubted']} of {records} records, such as {first.pop('record_id')!r}, "
    remedy = {
        "HU": "convert the images to HU, or declare their unit ('unit' for 0 to 1, 'arbitrary')",
        "unit": "rewrite the images over their full range, or store them as npz of unit "
        "'arbitrary'",
    }[seen["unit"]]
    return [f"{unit_doubt(Intensities(**first), seen['unit'], where)}; {remedy}."]


def of_splits(
    patient_ids: Sequence[str],
    parts: Mapping[int, Mapping[str, np.ndarray]],
    *,
    folds: int,
    scored: str,
    trained: bool,
) -> list[str]:
    """Returns the caveats of how a data set is split.

    Args:
        patient_ids: the patient of each record.
        parts: {fold: the records of each split}, see `splits.assign`; the scores of several folds
            are pooled.
        folds: data.folds; 0: the source declares the splits; 1: a site is tested.
        scored: the split that is scored.
        trained: True if a model is also trained and chosen on these splits; False if it is only
            scored.
    """
    found = _of_scored(patient_ids, [part[scored] for part in parts.values()], folds)
    if not trained:
        return found
    few = []
    for fold, part in parts.items():
        records = len(part["validation"])
        patients = len({patient_ids[i] for i in part["validation"]})
        if patients < _FEW_VALIDATION:
            prefix = f"fold {fold} of {folds} has " if folds > 1 else ""
            few.append(f"{prefix}{patients} ({_records(records)})")
    if few:
        more = "raise data.validation_share, or use" if folds else "declare more, or use"
        found.append(
            f"Few validation patients: {', '.join(few)}, so the checkpoint is chosen by chance; "
            f"{more} more patients."
        )
    everyone = next(iter(parts.values()))["all"]
    sizes = splits.fold_sizes([patient_ids[i] for i in everyone], folds)
    if sizes and max(sizes) > _FOLD_RATIO * min(sizes):
        found.append(
            f"Unequal folds: of {_records(sum(sizes))} the smallest of {folds} folds holds "
            f"{min(sizes)} and the largest {max(sizes)}, so the models of the folds learn from "
            "different amounts of data; use fewer folds, or declare splits and set data.folds=0."
        )
    return found


def _of_scored(patient_ids: Sequence[str], indices: Sequence[np.ndarray], folds: int) -> list[str]:
    scored = np.concatenate(indices)
    patients = collections.Counter(patient_ids[i] for i in scored)
    if len(patients) < _FEW_SCORED:
        pool = ", or pool all folds (prosona_jax.compare)" if folds > len(indices) else ""
        return [
            f"Few patients scored: {len(patients)} ({_records(len(scored))}), and an interval over "
            f"so few is too narrow; use more patients{pool}."
        ]
    (patient, count), *_ = patients.most_common(1)
    if count > _ONE_PATIENT_SHARE * len(scored):
        return [
            f"One patient weighs most: {patient!r} holds {count} of "
            f"{_records(len(scored))} scored, so the means depend mainly on this patient; keep "
            "fewer of these records, or use more patients."
        ]
    return []


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"
