"""A caveat is given, with its remedy, exactly if a value lies beyond its threshold."""

import numpy as np
import pytest

from data_pipelines import caveats, splits


def fingerprint(**changes):
    """Returns the fingerprint of a data set of 100 records without caveats."""
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


CUT = "records masks reach beyond the crop, and their parts outside are neither learned nor scored;"


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
                "(data.on_error=skip); fix them; the log names each."
            ],
        ),
        ({"skipped": {"empty for all raters": 11}}, 0, []),
        (
            {"skipped": {"empty for all raters": 12}},
            0,
            [
                "Many empty records: in 12 of 112 no rater drew anything, and they were left out; "
                "check that their masks were stored. If the masks are empty on purpose, scores "
                "hold only for images with an object."
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
        ({"spacings_unknown": 1}, 0, []),  # no record is resampled
        ({"spacings_unknown": 100}, 0.5, []),
        (
            {"spacings_unknown": 1},
            0.5,
            [
                "Pixel sizes mixed: 1 of 100 records do not state their pixel size and were not "
                "resampled, the others were resampled to 0.5 mm; add the sizes, or set "
                "data.spacing_mm=0."
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
                "within 0 to 0.06, a small part of 0 to 1, as if a 16-bit file stored 12-bit "
                "values; rewrite the images over their full range, or store them as npz of unit "
                "'arbitrary'."
            ],
        ),
    ],
)
def test_caveats_of_a_data_set(changes, spacing_mm, said):
    assert caveats.of_data(fingerprint(**changes), spacing_mm=spacing_mm) == said


def declared(**patients):
    """Returns patients' ids and their split: {"test": [records of each patient]}."""
    ids = [f"{s}{k}" for s, own in patients.items() for k, n in enumerate(own) for _ in range(n)]
    names = [patient.rstrip("0123456789") for patient in ids]
    parts = splits.assign(ids, names, folds=0, fold=0, validation_share=0, needed=())
    return ids, {0: parts}


def caveats_of(parts, *, folds=0, scored="test", trained=True):
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
                "Few validation patients: 4 (12 records), so the checkpoint is chosen by chance; "
                "declare more, or use more patients."
            ],
        ),
        ({"train": [1], "validation": [1] * 5, "test": [4, *[1] * 16]}, []),
        (
            {"train": [1], "validation": [1] * 5, "test": [1, 5, *[1] * 15]},
            [
                "One patient weighs most: 'test1' holds 5 of 21 records scored, so the means "
                "depend mainly on this patient; keep fewer of these records, or use more patients."
            ],
        ),
        (
            {"train": [1], "validation": [1], "test": [1]},
            [
                f"Few patients scored: 1 (1 record), {FEW}.",
                "Few validation patients: 1 (1 record), so the checkpoint is chosen by chance; "
                "declare more, or use more patients.",
            ],
        ),
    ],
)
def test_caveats_of_declared_splits(patients, said):
    parts = declared(**patients)
    assert caveats_of(parts) == said
    # If a model was trained on other data, only the scored patients matter, in any split.
    assert caveats_of(parts, trained=False) == [each for each in said if "validation" not in each]


def test_any_split_can_be_the_one_that_is_scored():
    parts = declared(train=[1] * 12, validation=[1] * 5, test=[1])
    assert caveats_of(parts, scored="train") == caveats_of(parts, scored="all") == []
    said = caveats_of(parts, scored="validation", trained=False)
    assert said == [f"Few patients scored: 5 (5 records), {FEW}."]


def folds_of(sizes):
    """Returns patients of one record each: sizes[k] patients fall into fold k."""
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


def test_unequal_folds_give_a_caveat_only_if_a_model_is_trained_on_them():
    even = assigned(folds_of([10, 12, 15, 11]), 4, [0])
    assert caveats_of(even, folds=4) == []
    parts = assigned(folds_of([10, 12, 16, 11]), 4, [0])
    assert caveats_of(parts, folds=4, trained=False) == []
    assert caveats_of(parts, folds=4) == [
        "Unequal folds: of 49 records the smallest of 4 folds holds 10 and the largest 16, so "
        "the models of the folds learn from different amounts of data; use fewer folds, or declare "
        "splits and set data.folds=0."
    ]


def test_test_patients_are_counted_over_all_folds_and_validation_patients_per_fold():
    """The validation patients of a fold are not its test patients."""
    patients = folds_of([7, 6])
    one = assigned(patients, 2, [1])
    assert caveats_of(one, folds=2)[0] == (
        f"Few patients scored: 6 (6 records), {FEW}, or pool all folds (prosona_jax.compare)."
    )
    both = assigned(patients, 2, [0, 1], share=0.3)
    counts = [len(part["validation"]) for part in both[1].values()]
    assert counts == [2, 1]
    assert caveats_of(both, folds=2) == [
        "Few validation patients: fold 0 of 2 has 2 (2 records), fold 1 of 2 has 1 (1 record), so "
        "the checkpoint is chosen by chance; raise data.validation_share, or use more patients."
    ]


def test_an_empty_fold_is_the_smallest():
    patients = [p for p in folds_of([5, 5]) if splits.fold_sizes([p], 2) == [1, 0]]
    parts = splits.assign(patients, [""] * 5, folds=2, fold=1, validation_share=0.5, needed=())
    said = caveats.of_splits(patients, {1: parts}, folds=2, scored="test", trained=True)
    assert said[0].startswith("Few patients scored: 0 (0 records), ")
    assert said[-1].startswith("Unequal folds: of 5 records the smallest of 2 folds holds 0 and ")
    assert len(np.unique(patients)) == 5
