"""What will spoil a result is told with its remedy, on one side of each threshold alone."""

import numpy as np
import pytest

from data_pipelines import caveats, splits


def fingerprint(**changes):
    """A sound data set's, of 100 records."""
    seen = {"unit": "HU", "low": -1000.0, "median": -800.0, "high": 300.0, "air": 0.7}
    return {
        "records": 100,
        "skipped": {},
        "masks_cut_by_crop": 0,
        "spacings_unknown": 0,
        "intensities": seen | {"doubted": 0, "first_doubted": None},
    } | changes


def doubted(unit, count, **first):
    record = {"record_id": "r7", "low": 0.0, "median": 0.01, "high": 0.06, "air": 0.0} | first
    return {"intensities": {"unit": unit, "doubted": count, "first_doubted": record}}


CUT = "records masks reach beyond the crop, and what lies there is neither learned nor scored;"


@pytest.mark.parametrize(
    ("changes", "spacing_mm", "said"),
    [
        ({}, 0.5, []),
        ({"skipped": {"nodule whose series is absent": 900}}, 0.5, []),  # part of a collection
        (
            {"skipped": {"corrupt": 1}},
            0,
            [
                "Incomplete data: 1 of 101 records were corrupt and left out "
                "(data.on_error=skip); mend them, the log names each."
            ],
        ),
        ({"skipped": {"empty for all raters": 11}}, 0, []),
        (
            {"skipped": {"empty for all raters": 12}},
            0,
            [
                "Many empty records: 12 of 112 have no mask of any rater and were left out; check "
                "that their masks were stored. If nothing is there, scores hold for images with an "
                "object alone."
            ],
        ),
        ({"masks_cut_by_crop": 5}, 0, []),
        ({"masks_cut_by_crop": 6}, 0, [f"Masks cut: in 6 of 100 {CUT} raise data.size."]),
        (
            {"masks_cut_by_crop": 6},
            0.5,
            [f"Masks cut: in 6 of 100 {CUT} raise data.size or data.spacing_mm."],
        ),
        (
            {"masks_cut_by_crop": 5, "skipped": {"nothing drawn within the crop": 1}},
            0,
            [f"Masks cut: in 6 of 101 {CUT} raise data.size."],
        ),
        ({"spacings_unknown": 1}, 0, []),  # all are taken as they are
        ({"spacings_unknown": 100}, 0.5, []),
        (
            {"spacings_unknown": 1},
            0.5,
            [
                "Pixel sizes mixed: 1 of 100 records do not say theirs and were taken as they are, "
                "the others were resampled to 0.5 mm; add the sizes, or set data.spacing_mm=0."
            ],
        ),
        (doubted("HU", 5), 0, []),
        (
            doubted("HU", 6),
            0,
            [
                "Not in HU: in 6 of 100 records, such as 'r7', 99.8 % of the pixels lie within 0 "
                "to 0.06, and the noise of CT alone spreads wider in HU; convert the images to "
                "HU, or declare their unit ('unit' for 0 to 1, 'arbitrary')."
            ],
        ),
        (
            doubted("unit", 100),
            0,
            [
                "Nearly no contrast: in 100 of 100 records, such as 'r7', 99.8 % of the pixels lie "
                "within 0 to 0.06, a small part of 0 to 1, as where 12 bits are stored in a file "
                "of 16; rewrite the images over their full range, or store them as npz of unit "
                "'arbitrary'."
            ],
        ),
    ],
)
def test_what_spoils_a_data_set(changes, spacing_mm, said):
    assert caveats.of_data(fingerprint(**changes), spacing_mm=spacing_mm) == said


def declared(**patients):
    """Returns patients' ids and their split: {"test": [records of each patient]}."""
    ids = [f"{s}{k}" for s, own in patients.items() for k, n in enumerate(own) for _ in range(n)]
    names = [patient.rstrip("0123456789") for patient in ids]
    parts = splits.assign(ids, names, folds=0, fold=0, validation_share=0, needed=())
    return ids, {0: parts}


def said_of(parts, *, folds=0, scored="test", trained=True):
    return caveats.of_splits(*parts, folds=folds, scored=scored, trained=trained)


FEW = "and an interval over so few is too narrow; use more patients"


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        ({"train": [1], "validation": [1] * 5, "test": [1] * 10}, []),
        (
            {"train": [1], "validation": [1] * 5, "test": [2] * 9},
            [f"Few patients scored: 9 (18 records), {FEW}."],
        ),
        (
            {"train": [1], "validation": [9, 1, 1, 1], "test": [1] * 10},
            [
                "Few validation patients: 4 (12 records), so luck chooses the checkpoint; "
                "declare more, or use more patients."
            ],
        ),
        ({"train": [1], "validation": [1] * 5, "test": [4, *[1] * 16]}, []),
        (
            {"train": [1], "validation": [1] * 5, "test": [1, 5, *[1] * 15]},
            [
                "One patient weighs most: 'test1' holds 5 of 21 records scored, so means are "
                "largely this patient's; keep fewer of them, or use more patients."
            ],
        ),
        (
            {"train": [1], "validation": [1], "test": [1]},
            [
                f"Few patients scored: 1 (1 record), {FEW}.",
                "Few validation patients: 1 (1 record), so luck chooses the checkpoint; "
                "declare more, or use more patients.",
            ],
        ),
    ],
)
def test_what_spoils_declared_splits(patients, said):
    parts = declared(**patients)
    assert said_of(parts) == said
    # Of a model that other data trained the scored patients alone matter, here and in any split.
    assert said_of(parts, trained=False) == [each for each in said if "validation" not in each]


def test_any_split_can_be_the_one_that_is_scored():
    parts = declared(train=[1] * 12, validation=[1] * 5, test=[1])
    assert said_of(parts, scored="train") == said_of(parts, scored="all") == []
    said = said_of(parts, scored="validation", trained=False)
    assert said == [f"Few patients scored: 5 (5 records), {FEW}."]


def folds_of(sizes):
    """Patients of one record each, so many of each fold."""
    of_fold = {k: [] for k in range(len(sizes))}
    for number in range(1000):
        patient = f"p{number}"
        of_fold[splits.fold_sizes([patient], len(sizes)).index(1)].append(patient)
    return [p for k, n in enumerate(sizes) for p in of_fold[k][:n]]


def assigned(patients, folds, chosen, share=0.5):
    return patients, {
        fold: splits.assign(
            patients, [""] * len(patients), folds=folds, fold=fold, validation_share=share
        )
        for fold in chosen
    }


def test_unequal_folds_are_told_where_they_train():
    even = assigned(folds_of([10, 12, 15, 11]), 4, [0])
    assert said_of(even, folds=4) == []
    parts = assigned(folds_of([10, 12, 16, 11]), 4, [0])
    assert said_of(parts, folds=4, trained=False) == []
    assert said_of(parts, folds=4) == [
        "Unequal folds: of 49 records the smallest of 4 folds holds 10 and the largest 16, so "
        "their models learn from unequally much; use fewer folds, or declare splits and set "
        "data.folds=0."
    ]


def test_folds_are_pooled_for_the_scores_and_told_apart_for_the_choice_of_checkpoints():
    """Validation patients of a fold are no test patients of it."""
    patients = folds_of([7, 6])
    one = assigned(patients, 2, [1])
    assert said_of(one, folds=2)[0] == (
        f"Few patients scored: 6 (6 records), {FEW}, or pool all folds (prosona_jax.compare)."
    )
    both = assigned(patients, 2, [0, 1], share=0.3)
    counts = [len(part["validation"]) for part in both[1].values()]
    assert counts == [2, 1]
    assert said_of(both, folds=2) == [
        "Few validation patients: fold 0 of 2 has 2 (2 records), fold 1 of 2 has 1 (1 record), so "
        "luck chooses the checkpoint; raise data.validation_share, or use more patients."
    ]


def test_an_empty_fold_is_the_smallest():
    patients = [p for p in folds_of([5, 5]) if splits.fold_sizes([p], 2) == [1, 0]]
    parts = splits.assign(patients, [""] * 5, folds=2, fold=1, validation_share=0.5, needed=())
    said = caveats.of_splits(patients, {1: parts}, folds=2, scored="test", trained=True)
    assert said[0].startswith("Few patients scored: 0 (0 records), ")
    assert said[-1].startswith("Unequal folds: of 5 records the smallest of 2 folds holds 0 and ")
    assert len(np.unique(patients)) == 5
