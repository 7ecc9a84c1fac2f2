"""What in a data set or in its splits will spoil a result, each with its remedy.

A caveat is "Short claim: explanation."; reports show the claim on every figure.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines import splits
from data_pipelines.fingerprint import BEYOND_CROP, CORRUPT, EMPTY
from data_pipelines.validation import Intensities, unit_doubt

# A cut mask is learned and scored as if the object ended at the crop. One record in twenty that is
# ten points of Dice off moves the mean by half a point, which is what methods differ by.
_CUT_SHARE = 0.05
# Of single images fewer than 1 % are doubted wrongly, see `validation`: more than this is a kind.
_DOUBTED_SHARE = 0.05
# A few images without an object are usual; many mean that masks were lost, or another question.
_EMPTY_SHARE = 0.1
# Bootstrap intervals of a mean are too narrow for few patients: of 10, "95 %" means about 90 %.
_FEW_SCORED = 10
# The mean of fewer differs by luck more than checkpoints do.
_FEW_VALIDATION = 5
# Above it the mean is about this patient, and the interval, over patients, rests on whether a
# resample holds it.
_ONE_PATIENT_SHARE = 0.2
# Largest fold to smallest: hashing hundreds of patients gives 1.2; at 1.5, of 4 folds, one model
# learns from an eighth less records than another.
_FOLD_RATIO = 1.5


def of_data(fingerprint: Mapping[str, Any], *, spacing_mm: float) -> list[str]:
    """Returns the caveats of a data set, however it is split.

    Args:
        fingerprint: see `data_pipelines.fingerprint`.
        spacing_mm: what pixels of known size were resampled to; 0: none were.
    """
    f, skipped = fingerprint, fingerprint["skipped"]
    records, said = f["records"], []
    if corrupt := skipped.get(CORRUPT, 0):
        said.append(
            f"Incomplete data: {corrupt} of {records + corrupt} records were corrupt and left out "
            "(data.on_error=skip); mend them, the log names each."
        )
    if (empty := skipped.get(EMPTY, 0)) > _EMPTY_SHARE * (records + empty):
        said.append(
            f"Many empty records: {empty} of {records + empty} have no mask of any rater and were "
            "left out; check that their masks were stored. If nothing is there, scores hold for "
            "images with an object alone."
        )
    beyond = skipped.get(BEYOND_CROP, 0)
    cut, drawn = f["masks_cut_by_crop"] + beyond, records + beyond
    if cut > _CUT_SHARE * drawn:
        said.append(
            f"Masks cut: in {cut} of {drawn} records masks reach beyond the crop, and what lies "
            "there is neither learned nor scored; raise data.size"
            + (" or data.spacing_mm." if spacing_mm else ".")
        )
    said += _of_intensities(f["intensities"], records)
    unknown = f["spacings_unknown"]
    if spacing_mm and 0 < unknown < records:
        said.append(
            f"Pixel sizes mixed: {unknown} of {records} records do not say theirs and were taken "
            f"as they are, the others were resampled to {spacing_mm:g} mm; add the sizes, or set "
            "data.spacing_mm=0."
        )
    return said


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
        parts: by fold, the records of each split, see `splits.assign`; scores of several folds are
            pooled.
        folds: data.folds; 0: declared splits.
        scored: the split that is scored.
        trained: a model is trained and chosen on these splits, not only scored.
    """
    said = _of_scored(patient_ids, [part[scored] for part in parts.values()], folds)
    if not trained:
        return said
    few = []
    for fold, part in parts.items():
        records = len(part["validation"])
        patients = len({patient_ids[i] for i in part["validation"]})
        if patients < _FEW_VALIDATION:
            named = f"fold {fold} of {folds} has " if folds else ""
            few.append(f"{named}{patients} ({_records(records)})")
    if few:
        more = "raise data.validation_share, or use" if folds else "declare more, or use"
        said.append(
            f"Few validation patients: {', '.join(few)}, so luck chooses the checkpoint; {more} "
            "more patients."
        )
    sizes = splits.fold_sizes(patient_ids, folds)
    if sizes and max(sizes) > _FOLD_RATIO * min(sizes):
        said.append(
            f"Unequal folds: of {_records(sum(sizes))} the smallest of {folds} folds holds "
            f"{min(sizes)} and the largest {max(sizes)}, so their models learn from unequally "
            "much; use fewer folds, or declare splits and set data.folds=0."
        )
    return said


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
            f"{_records(len(scored))} scored, so means are largely this patient's; keep fewer of "
            "them, or use more patients."
        ]
    return []


def _records(count: int) -> str:
    return f"{count} record{'s' * (count != 1)}"
