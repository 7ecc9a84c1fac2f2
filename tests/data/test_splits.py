"""A split depends only on the patient; no patient is in two splits; an empty split is an error."""

import numpy as np
import pytest

from data_pipelines import splits
from prosona_jax.types import InputError

PATIENTS = [f"LIDC-IDRI-{i // 2:04d}" for i in range(800)]  # two records each


def assign(patients=PATIENTS, declared=None, **changes):
    fields = {"folds": 4, "fold": 0, "validation_share": 0.15, **changes}
    return splits.assign(patients, declared or [""] * len(patients), **fields)


def names(parts, n):
    found = np.full(n, "", dtype="<U10")
    for name in splits.SPLITS:
        found[parts[name]] = name
    return found


def test_every_record_is_in_one_split_and_no_patient_in_two():
    parts = assign()
    together = np.concatenate([parts[name] for name in splits.SPLITS])
    np.testing.assert_array_equal(np.sort(together), np.arange(800))
    np.testing.assert_array_equal(parts["all"], np.arange(800))
    patients = [set(np.array(PATIENTS)[parts[name]]) for name in splits.SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 400


def test_every_patient_is_tested_in_one_fold():
    tests = np.concatenate([assign(fold=fold)["test"] for fold in range(4)])
    np.testing.assert_array_equal(np.sort(tests), np.arange(800))


def test_the_sizes_of_folds_are_those_of_their_test_sets():
    sizes = [len(assign(fold=fold)["test"]) for fold in range(4)]
    assert splits.fold_sizes(PATIENTS, 4) == sizes
    assert splits.fold_sizes(PATIENTS, 0) == []


def test_shares_are_as_configured():
    parts = assign()
    assert len(parts["test"]) / 800 == pytest.approx(1 / 4, abs=0.05)
    assert len(parts["validation"]) / 800 == pytest.approx(0.15 * 3 / 4, abs=0.03)


def test_validation_patients_do_not_depend_on_the_fold():
    in_validation = [set(assign(fold=fold)["validation"]) for fold in range(4)]
    tests = [set(assign(fold=fold)["test"]) for fold in range(4)]
    assert in_validation[0] - tests[1] == in_validation[1] - tests[0]


def test_a_patient_keeps_its_split_when_others_come_or_go():
    before = names(assign(), 800)
    more = ["another", *PATIENTS[:300], "one more", *PATIENTS[300:]]
    after = names(assign(more), 802)
    np.testing.assert_array_equal(np.delete(after, [0, 301]), before)


def test_patients_of_published_runs_keep_their_split():
    parts = assign(PATIENTS[:24])
    found = {name: sorted({int(PATIENTS[i][-4:]) for i in parts[name]}) for name in splits.SPLITS}
    assert found == {"train": [1, 2, 3, 5, 6, 8, 10, 11], "validation": [7], "test": [0, 4, 9]}


def test_declared_splits_are_used_unchanged():
    parts = assign(["a", "a", "b", "c"], ["train", "train", "validation", "test"], folds=0, fold=0)
    assert {name: list(part) for name, part in parts.items()} == {
        "train": [0, 1],
        "validation": [2],
        "test": [3],
        "all": [0, 1, 2, 3],
    }


def test_records_that_only_train_train_with_the_training_patients():
    before = assign()
    patients, declared = [*PATIENTS, *PATIENTS[::2], "new"], [""] * 800 + ["only_train"] * 401
    parts = assign(patients, declared)
    for name in ("validation", "test", "all"):
        np.testing.assert_array_equal(parts[name], before[name])
    added = parts["train"][len(before["train"]) :]
    assert {patients[i] for i in added} - {"new"} == {PATIENTS[i] for i in before["train"]}
    assert added.min() >= 800


def test_records_that_only_train_follow_declared_splits():
    declared = ["train", "validation", "test", *["only_train"] * 4]
    parts = assign(["a", "b", "c", "a", "b", "c", "d"], declared, folds=0)
    assert {name: list(part) for name, part in parts.items()} == {
        "train": [0, 3, 6],
        "validation": [1],
        "test": [2],
        "all": [0, 1, 2],
    }


def test_patients_that_are_left_out_are_in_no_split():
    left = (PATIENTS[0], PATIENTS[7])
    parts, before = assign(leave_out=left), assign()
    for name, part in parts.items():
        expected = [i for i in before[name] if PATIENTS[i] not in left]
        np.testing.assert_array_equal(part, expected)
    with pytest.raises(InputError, match="data.leave_out names 'nobody', and no record is of this"):
        assign(leave_out=("nobody",))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            ["train", "test", "validation"],
            "patient 'a' is in two splits, 'train' and 'test'; move all records of a patient",
        ),
        (["train", "", "test"], "patient 'a' has a record without declared split; set data.folds"),
        (["train", "train", "test"], r"the validation split is empty \(2 patients, data.folds=0"),
    ],
)
def test_faulty_declared_splits_are_refused(declared, message):
    with pytest.raises(InputError, match=message):
        assign(["a", "a", "b"], declared, folds=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 4}, "data.fold=4 of data.folds=4: choose 0 <= fold < folds"),
        ({"fold": -1}, "data.fold=-1 of data.folds=4"),
        ({"folds": -1}, "data.fold=0 of data.folds=-1"),
        ({"validation_share": 1.0}, "data.validation_share=1.0: choose 0 <= share < 1"),
        ({"validation_share": 0.0}, "the validation split is empty .* use more patients, fewer"),
        ({"folds": 1}, "the train split is empty"),
    ],
)
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        assign(**changes)


def test_only_needed_splits_must_not_be_empty():
    parts = assign(["a"], needed=("all",))
    assert len(parts["all"]) == 1
    with pytest.raises(InputError, match="the all split is empty"):
        assign([], needed=("all",))


SITES = ["north", "south", "east", "south"]


def by_site(test_site, patients=PATIENTS, **changes):
    sites = [SITES[int(patient[-4:]) % 4] for patient in patients]
    return assign(patients, sites=sites, test_site=test_site, **changes), np.array(sites)


@pytest.mark.parametrize("folds", [0, 4])
def test_the_records_of_a_site_are_the_test_set_and_the_others_train_and_validate(folds):
    parts, sites = by_site("south", folds=folds, fold=min(folds, 1))
    np.testing.assert_array_equal(parts["test"], np.flatnonzero(sites == "south"))
    learned = np.concatenate([parts["train"], parts["validation"]])
    np.testing.assert_array_equal(np.sort(learned), np.flatnonzero(sites != "south"))
    assert len(parts["validation"]) / len(learned) == pytest.approx(0.15, abs=0.05)
    np.testing.assert_array_equal(parts["all"], np.arange(800))
    patients = [set(np.array(PATIENTS)[parts[name]]) for name in splits.SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 400


def test_a_patient_validates_whichever_site_is_tested():
    north, south = (set(by_site(site)[0]["validation"].tolist()) for site in ("north", "south"))
    _, sites = by_site("south")
    assert north - set(np.flatnonzero(sites == "south")) == south - set(
        np.flatnonzero(sites == "north")
    )


def test_a_patient_of_two_sites_is_tested_at_the_site_alone():
    patients, sites = ["a", "a", "b", "c"], ["south", "north", "north", "south"]
    parts = assign(patients, sites=sites, test_site="south", validation_share=0, needed=())
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [2], "validation": [], "test": [0, 3], "all": [0, 2, 3],
    }  # fmt: skip


def test_a_site_leaves_out_patients_and_never_tests_what_only_trains():
    patients, sites = ["a", "b", "c", "d"], ["south", "south", "north", "north"]
    declared = ["only_train", "", "only_train", ""]
    parts = assign(
        patients, declared, sites=sites, test_site="south", validation_share=0, needed=(),
        leave_out=("d",),
    )  # fmt: skip
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [2], "validation": [], "test": [1], "all": [1],
    }  # fmt: skip


def test_an_unknown_site_is_refused_with_the_sites_that_there_are():
    with pytest.raises(InputError, match="data.test_site='west': no record is of this site; sites"):
        by_site("west")
    with pytest.raises(InputError, match="sites of the data: 'east', 'north', 'south'$"):
        by_site("west")
    with pytest.raises(InputError, match="sites of the data: none$"):
        assign(["a"], sites=[""], test_site="west")
