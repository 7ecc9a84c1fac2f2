"""The program `score`: its JSON, what may be missing, and its independence of chunk size."""

import importlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from prosona_jax.evaluation import contours, intervals, masks, uncertainty
from tests.masks import file_arrays, score

COMMAND = importlib.import_module("prosona_jax.score")  # `prosona_jax.score` is a function
NAMES = [
    "ged",
    "ged_dpersona",
    "dice_match",
    "iou_match",
    "dice_soft",
    "dice_max_samples_per_rater",
    "dice_max_raters_per_sample",
    "ece_10_all",
    "ece_10_union",
]


@pytest.fixture
def run(tmp_path, capsys):
    """Saves arrays, scores them, and returns the printed object."""

    def run(arrays, tolerance_mm=1.0):
        np.savez_compressed(tmp_path / "masks.npz", **arrays)
        COMMAND._FLAGS(["score", f"--tolerance_mm={tolerance_mm}"])
        COMMAND.main(str(tmp_path / "masks.npz"))
        return json.loads(capsys.readouterr().out)

    return run


def _score(arrays):
    return score(arrays["probs"], arrays["labels"], arrays["rater_valid"])


def test_command_prints_one_object(tmp_path):
    arrays = file_arrays(samples=4)
    np.savez(tmp_path / "masks.npz", **arrays)
    done = subprocess.run(
        [sys.executable, "-m", "prosona_jax.score", str(tmp_path / "masks.npz")],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parent.parent,
    )
    printed = json.loads(done.stdout)
    assert list(printed) == ["records", "patients", "raters", "samples", "metrics"]
    assert [printed[key] for key in list(printed)[:4]] == [6, 4, 4, 4]
    assert list(printed["metrics"]) == [*NAMES, "dice_style", "dice_mean", "s_ncc"]
    expected = _score(arrays)
    for name in [*NAMES, "dice_mean"]:
        interval = printed["metrics"][name]
        assert list(interval) == ["mean", "low", "high"]
        assert interval["mean"] == pytest.approx(expected[name].mean(), rel=1e-12)
        assert interval["low"] < interval["mean"] < interval["high"]
    seen = arrays["probs"], arrays["labels"], arrays["rater_valid"]
    expected_ncc = np.asarray(uncertainty.s_ncc(*seen)).mean()
    assert printed["metrics"]["s_ncc"]["mean"] == pytest.approx(expected_ncc, rel=1e-6)
    means = [style["mean"] for style in printed["metrics"]["dice_style"]]
    assert means == pytest.approx(expected["dice_style"].mean(axis=0), rel=1e-12)


def test_style_only_where_samples_match_raters(run):
    assert list(run(file_arrays(samples=5))["metrics"]) == [*NAMES, "s_ncc"]


def test_contours_of_sample_k_and_rater_k_are_compared_in_mm_where_pixels_have_a_size(run):
    arrays = file_arrays(samples=4)
    arrays["rater_valid"][1, 2] = False
    arrays["labels"][2, 0] = 0
    sizes = np.array([[0.5, 0.7]] * 5 + [[np.nan, np.nan]])
    printed = run(arrays | {"spacing_mm": sizes}, tolerance_mm=0.6)
    bare = run(arrays)
    assert printed["undefined"] == 1 + 4
    assert "undefined" not in bare
    seen = arrays["probs"] > 0.5, arrays["labels"], arrays["rater_valid"], sizes
    expected = [contours.of_styles(*each, 0.6) for each in zip(*seen, strict=True)]
    for name in contours.MEASURES:
        values = np.array([found[name] for found in expected])
        interval = intervals.bootstrap_mean(
            values, arrays["patient_id"], resamples=masks.RESAMPLES, seed=masks.SEED
        )
        assert list(printed["metrics"].pop(name).values()) == pytest.approx(list(interval))
    assert printed["metrics"] == bare["metrics"]
    other = file_arrays(samples=5)  # a sample is no rater's
    assert run(other | {"spacing_mm": sizes}) == run(other)


def test_intervals_resample_patients(run):
    arrays = file_arrays()
    ged = _score(arrays)["ged"]
    for ids in (arrays["patient_id"], np.array([3, 3, 1, 2, 2, 9])):
        expected = intervals.bootstrap_mean(ged, ids, resamples=masks.RESAMPLES, seed=masks.SEED)
        printed = run(arrays | {"patient_id": ids})
        assert printed["patients"] == 4
        assert list(printed["metrics"]["ged"].values()) == pytest.approx(list(expected))


def test_without_patients_records_are_resampled(run):
    arrays = file_arrays()
    del arrays["patient_id"]
    printed = run(arrays)
    assert printed["patients"] == printed["records"] == 6
    assert printed == run(arrays | {"patient_id": np.arange(6)})


def test_one_patient_has_null_bounds(run):
    printed = run(file_arrays(samples=4) | {"patient_id": np.full(6, "a")})
    assert printed["patients"] == 1
    for name, found in printed["metrics"].items():
        for interval in found if name == "dice_style" else [found]:
            assert interval["mean"] is not None
            assert interval["low"] is interval["high"] is None


def test_missing_rater(run):
    arrays = file_arrays(samples=4)
    arrays["rater_valid"][:, 2] = False
    arrays["labels"][:, 2] = 7
    printed = run(arrays)
    style = printed["metrics"]["dice_style"]
    assert style[2] == {"mean": None, "low": None, "high": None}
    others = np.mean([style[k]["mean"] for k in (0, 1, 3)])
    assert printed["metrics"]["dice_mean"]["mean"] == pytest.approx(others)
    arrays.pop("rater_valid")
    kept = run(arrays | {"labels": np.delete(arrays["labels"], 2, axis=1)})
    for name in NAMES:
        assert printed["metrics"][name] == pytest.approx(kept["metrics"][name])


def test_rater_valid_may_be_0_and_1(run):
    arrays = file_arrays()
    arrays["rater_valid"][2, 1] = False
    assert run(arrays | {"rater_valid": arrays["rater_valid"].astype(np.int32)}) == run(arrays)


def test_rater_valid_defaults_to_all(run):
    arrays = file_arrays()
    expected = run(arrays)
    del arrays["rater_valid"]
    assert run(arrays) == expected


def test_chunks_change_nothing(run, monkeypatch):
    arrays = file_arrays()
    expected = run(arrays)
    monkeypatch.setattr(masks, "CHUNK_BYTES", 4 * 4 * 9 * 8 * 8)  # four records, then two
    assert run(arrays) == expected


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_hard_masks_of_any_kind(run, dtype):
    arrays = file_arrays()
    hard = arrays | {"probs": (arrays["probs"] > 0.5).astype(np.float32)}
    other = {"probs": hard["probs"].astype(dtype), "labels": arrays["labels"].astype(np.int64)}
    assert run(hard | other) == run(hard)


def test_other_keys_are_ignored(run):
    arrays = file_arrays()
    assert run(arrays | {"image": np.zeros(3)}) == run(arrays)


def test_real_raters_agree_with_themselves(run, real_data):
    with np.load(real_data / "lidc_crops.npz") as file:
        masks, patients = file["masks"][:60], file["patient_id"][:60]
    printed = run({"labels": masks, "probs": masks, "patient_id": patients})
    assert printed["records"] == 60
    for name in ("ged", "ged_dpersona"):
        assert printed["metrics"][name]["mean"] == pytest.approx(0.0, abs=1e-8)
    for name in [*NAMES[2:], "dice_mean"]:
        best = 0.0 if name.startswith("ece") else 1.0
        assert printed["metrics"][name] == pytest.approx(
            dict.fromkeys(("mean", "low", "high"), best)
        )
