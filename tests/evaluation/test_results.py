"""Rows of a comparison, pooled over seeds and folds."""

import math

import pytest

from prosona_jax.evaluation import results
from tests.report.compared import scored


def test_pooling_averages_a_record_over_seeds_and_joins_the_folds():
    row = {"record_id": "r0", "patient_id": "p1", "method": "samples@4", "run": "a"}
    rows = [
        row | {"fold": 0, "seed": 0, "ged": 0.1, "dice_match": 0.8},
        row | {"fold": 0, "seed": 1, "ged": 0.2, "dice_match": 0.6},
        row | {"fold": 0, "seed": 2, "ged": 0.6, "dice_match": 0.4},
        row | {"fold": 0, "seed": 0, "ged": 9.0, "method": "samples@50"},
        row | {"fold": 0, "seed": 0, "ged": 0.7, "dice_match": 0.5, "run": "b"},
        row | {"fold": 1, "seed": 0, "ged": 0.4, "dice_match": 0.3}
        | {"record_id": "r1", "patient_id": "p2"},
    ]  # fmt: skip
    pooled = results.pool(rows, {"samples@4": ", few"})
    found = {
        (row.pop("method"), row.pop("record_id"), row.pop("patient_id")): row for row in pooled
    }
    assert found == {
        ("a, few", "r0", "p1"): pytest.approx({"ged": 0.3, "dice_match": 0.6}),
        ("b, few", "r0", "p1"): {"ged": 0.7, "dice_match": 0.5},
        ("a, few", "r1", "p2"): {"ged": 0.4, "dice_match": 0.3},
    }


def test_pooling_labels_rows_with_the_run_and_the_suffix_of_the_method():
    pooled = results.pool(scored("prosona"), {"prompts_mean": "", "prompts_held_out": "+"})
    assert [row["method"] for row in pooled] == ["prosona"] * 4 + ["prosona+"] * 4
    assert [row["ged"] for row in pooled] == pytest.approx(
        [0.35, 0.37, 0.39, 0.41, 0.41, 0.43, 0.45, 0.47]
    )


def test_a_score_that_is_nan_in_one_seed_is_nan_after_pooling():
    rows = scored("prosona")
    rows[0]["ged"] = math.nan
    pooled = results.pool(rows, {"samples@50": ""})
    assert [math.isnan(row["ged"]) for row in pooled] == [True, False, False, False]
    assert pooled[0]["dice_match"] == pytest.approx(0.35)
