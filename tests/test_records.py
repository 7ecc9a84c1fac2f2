"""Which records the published scores are about."""

import collections

import pytest

from benchmarks import records
from configs import lidc
from data_pipelines import splits


@pytest.mark.parametrize("scores", records.TABLES)
def test_each_record_was_tested_in_the_fold_of_its_patient(scores):
    patients = collections.defaultdict(list)
    for line in records.listing(scores):
        _, patient, fold = line.split()
        patients[int(fold)].append(patient)
    for fold, own in patients.items():
        parts = splits.assign(
            own,
            [""] * len(own),
            folds=lidc.get_config("crops64").data.folds,
            fold=fold,
            validation_share=0.0,
            needed=(),
        )
        assert len(parts["test"]) == len(own)


@pytest.mark.parametrize("scores", records.TABLES)
def test_all_methods_were_scored_on_all_records(scores):
    scored = collections.defaultdict(set)
    for row in records.rows(scores):
        scored[row.get("run"), row["method"]].add(row["record_id"])
    assert len(scored) > 1
    assert {len(own) for own in scored.values()} == {len(records.listing(scores))}


def test_scores_that_are_not_listed_name_no_record():
    published = {path.name.removesuffix(".csv.gz") for path in records.SCORES.iterdir()}
    unlisted = published - set(records.TABLES)
    assert [scores for scores in unlisted if "record_id" in records.rows(scores)[0]] == []


def test_the_digest_is_that_of_sha256sum():
    # printf 'b p 0\nc q 1\n' | sha256sum
    expected = "bb346e9a6ebad4702f2ba5d67714f77b8bc0d0049a8644b92bc2dc9188d156eb"
    assert records.digest(["b p 0", "c q 1"]) == expected
