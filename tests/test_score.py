"""The program `score`: its JSON, its independence of chunk size, and one line per bad input."""

import gzip
import importlib
import json
import pathlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from prosona_jax.evaluation import intervals, masks, metrics
from prosona_jax.types import InputError

COMMAND = importlib.import_module("prosona_jax.score")  # `prosona_jax.score` is a function
NAMES = [
    "ged",
    "ged_dpersona",
    "dice_match",
    "dice_soft",
    "dice_max_samples_per_rater",
    "dice_max_raters_per_sample",
]


def _arrays(*, records=6, samples=5, raters=4, size=8):
    rng = np.random.default_rng(0)
    base = rng.random((records, 1, size, size))
    probs = 0.6 * base + 0.4 * rng.random((records, samples, size, size))
    labels = 0.6 * base + 0.4 * rng.random((records, raters, size, size)) > 0.5
    return {
        "labels": labels.astype(np.uint8),
        "probs": probs.astype(np.float32),
        "patient_id": np.array(["a", "a", "b", "c", "c", "d"])[:records],
        "rater_valid": np.ones((records, raters), bool),
    }


@pytest.fixture
def run(tmp_path, capsys):
    """Saves arrays, scores them, and returns the printed object."""

    def run(arrays):
        np.savez_compressed(tmp_path / "masks.npz", **arrays)
        COMMAND.main(str(tmp_path / "masks.npz"))
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def fault(tmp_path, capsys):
    """Runs on a file that must be refused, and returns the message after the file's name."""

    def fault(arrays, name="masks.npz"):
        path = tmp_path / name
        if arrays is not None:
            np.savez(path, **arrays)
        with pytest.raises(InputError) as stop:
            COMMAND.main(str(path))
        assert capsys.readouterr().out == ""
        line = str(stop.value)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        return line.removeprefix(f"{path}: ")

    return fault


def _score(arrays):
    overlaps = metrics.count_overlaps(arrays["probs"], arrays["labels"], arrays["rater_valid"])
    return metrics.score_batch(overlaps, arrays["rater_valid"])


def test_command_prints_one_object(tmp_path):
    arrays = _arrays(samples=4)
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
    assert list(printed["metrics"]) == [*NAMES, "dice_style", "dice_mean"]
    expected = _score(arrays)
    for name in [*NAMES, "dice_mean"]:
        interval = printed["metrics"][name]
        assert list(interval) == ["mean", "low", "high"]
        assert interval["mean"] == pytest.approx(expected[name].mean(), rel=1e-12)
        assert interval["low"] < interval["mean"] < interval["high"]
    means = [style["mean"] for style in printed["metrics"]["dice_style"]]
    assert means == pytest.approx(expected["dice_style"].mean(axis=0), rel=1e-12)


def test_style_only_where_samples_match_raters(run):
    assert list(run(_arrays(samples=5))["metrics"]) == NAMES


def test_intervals_resample_patients(run):
    arrays = _arrays()
    ged = _score(arrays)["ged"]
    for ids in (arrays["patient_id"], np.array([3, 3, 1, 2, 2, 9])):
        expected = intervals.bootstrap_mean(ged, ids, resamples=masks.RESAMPLES, seed=masks.SEED)
        printed = run(arrays | {"patient_id": ids})
        assert printed["patients"] == 4
        assert list(printed["metrics"]["ged"].values()) == pytest.approx(list(expected))


def test_without_patients_records_are_resampled(run):
    arrays = _arrays()
    del arrays["patient_id"]
    printed = run(arrays)
    assert printed["patients"] == printed["records"] == 6
    assert printed == run(arrays | {"patient_id": np.arange(6)})


def test_one_patient_has_null_bounds(run):
    printed = run(_arrays(samples=4) | {"patient_id": np.full(6, "a")})
    assert printed["patients"] == 1
    for name, found in printed["metrics"].items():
        for interval in found if name == "dice_style" else [found]:
            assert interval["mean"] is not None
            assert interval["low"] is interval["high"] is None


def test_missing_rater(run):
    arrays = _arrays(samples=4)
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
    arrays = _arrays()
    arrays["rater_valid"][2, 1] = False
    assert run(arrays | {"rater_valid": arrays["rater_valid"].astype(np.int32)}) == run(arrays)


def test_rater_valid_defaults_to_all(run):
    arrays = _arrays()
    expected = run(arrays)
    del arrays["rater_valid"]
    assert run(arrays) == expected


def test_chunks_change_nothing(run, monkeypatch):
    arrays = _arrays()
    expected = run(arrays)
    monkeypatch.setattr(masks, "CHUNK_BYTES", 4 * 4 * 9 * 8 * 8)  # four records, then two
    assert run(arrays) == expected


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_hard_masks_of_any_kind(run, dtype):
    arrays = _arrays()
    hard = arrays | {"probs": (arrays["probs"] > 0.5).astype(np.float32)}
    other = {"probs": hard["probs"].astype(dtype), "labels": arrays["labels"].astype(np.int64)}
    assert run(hard | other) == run(hard)


def test_other_keys_are_ignored(run):
    arrays = _arrays()
    assert run(arrays | {"image": np.zeros(3)}) == run(arrays)


def test_real_raters_agree_with_themselves(run, real_data):
    with np.load(real_data / "lidc_crops.npz") as file:
        masks, patients = file["masks"][:60], file["patient_id"][:60]
    printed = run({"labels": masks, "probs": masks, "patient_id": patients})
    assert printed["records"] == 60
    for name in ("ged", "ged_dpersona"):
        assert printed["metrics"][name]["mean"] == pytest.approx(0.0, abs=1e-8)
    for name in [*NAMES[2:], "dice_mean"]:
        assert printed["metrics"][name] == pytest.approx({"mean": 1.0, "low": 1.0, "high": 1.0})


def _set(arrays, key, index, value):
    arrays[key][index] = value
    return arrays


BAD = {
    "no labels": (
        lambda a: {"probs": a["probs"]},
        "has no 'labels'; add it as [N, R, H, W]",
    ),
    "no probs": (
        lambda a: {"labels": a["labels"]},
        "has no 'probs'; add it as [N, S, H, W]",
    ),
    "float labels": (
        lambda a: a | {"labels": a["labels"].astype(np.float32)},
        "labels is float32; store it as bool or integer",
    ),
    "text probs": (
        lambda a: a | {"probs": np.full(a["probs"].shape, "x")},
        "probs is <U1; store it as float",
    ),
    "counts as rater_valid": (
        lambda a: a | {"rater_valid": 2 * a["rater_valid"].astype(np.int32)},
        "rater_valid is not boolean; store True or False",
    ),
    "NaN as patient_id": (
        lambda a: a | {"patient_id": np.array([0, 1, np.nan, 3, 4, 5])},
        "record 2: patient_id is nan; store it as text",
    ),
    "bytes as patient_id that are no text": (
        lambda a: a | {"patient_id": np.array([b"a"] * 5 + [b"\xff"])},
        "record 5: patient_id is b'\\xff', bytes that are not UTF-8; store it as text",
    ),
    "empty patient_id": (
        lambda a: _set(a, "patient_id", 3, ""),
        "a patient_id is empty; name each patient, or leave the key out",
    ),
    "three axes": (
        lambda a: a | {"labels": a["labels"][0]},
        "labels is [4, 8, 8]; it must be [N, R, H, W], none of them 0",
    ),
    "a scalar": (
        lambda a: {"labels": np.uint8(1), "probs": a["probs"]},
        "labels is []; it must be [N, R, H, W], none of them 0",
    ),
    "no record": (
        lambda a: {key: value[:0] for key, value in a.items()},
        "labels is [0, 4, 8, 8]; it must be [N, R, H, W], none of them 0",
    ),
    "no sample": (
        lambda a: a | {"probs": a["probs"][:, :0]},
        "probs is [6, 0, 8, 8]; it must be [N, S, H, W], none of them 0",
    ),
    "other size": (
        lambda a: a | {"probs": a["probs"][..., :4]},
        "labels [6, 4, 8, 8] and probs [6, 5, 8, 4] differ in N, H or W; "
        "store the same records at the same size",
    ),
    "other records": (
        lambda a: a | {"probs": a["probs"][:5]},
        "labels [6, 4, 8, 8] and probs [5, 5, 8, 8] differ in N, H or W; "
        "store the same records at the same size",
    ),
    "short rater_valid": (
        lambda a: a | {"rater_valid": a["rater_valid"][:, :3]},
        "rater_valid is [6, 3]; it must be [N, R] = [6, 4]",
    ),
    "short patient_id": (
        lambda a: a | {"patient_id": a["patient_id"][:5]},
        "patient_id is [5]; it must be [N] = [6]",
    ),
    "NaN": (
        lambda a: _set(a, "probs", (3, 1, 2, 2), np.nan),
        "record 3 has probs that are NaN or outside 0..1; store probabilities, not logits",
    ),
    "logits": (
        lambda a: a | {"probs": 8 * a["probs"] - 4},
        "record 0 has probs that are NaN or outside 0..1; store probabilities, not logits",
    ),
    "grey labels": (
        lambda a: _set(a, "labels", (5, 0, 0, 0), 255),
        "record 5 has labels other than 0 and 1; store foreground as 1",
    ),
    "no valid rater": (
        lambda a: _set(a, "rater_valid", 4, False),
        "record 4 has no valid rater; leave it out",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays(fault, case, monkeypatch):
    monkeypatch.setattr(masks, "CHUNK_BYTES", 2 * 4 * 9 * 8 * 8)  # records count across chunks
    spoil, message = BAD[case]
    assert fault(spoil(_arrays())) == message


UNREADABLE = "not a readable npz file, truncated or damaged: it is "


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file(fault, tmp_path, share):
    path = tmp_path / "masks.npz"
    np.savez_compressed(path, **_arrays())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert fault(None).startswith(UNREADABLE)


def test_damaged_member(fault, tmp_path):
    path = tmp_path / "masks.npz"
    np.savez_compressed(path, **_arrays())
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    assert fault(None).startswith(UNREADABLE)


def test_member_larger_than_memory(fault, tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904,), }\n"
    with zipfile.ZipFile(tmp_path / "masks.npz", "w") as file:
        length = len(header).to_bytes(2, "little")
        file.writestr("labels.npy", b"\x93NUMPY\x01\x00" + length + header)
    assert fault(None) == (
        "larger than memory, or damaged (Unable to allocate 4.00 EiB for an array with shape "
        "(4611686018427387904,) and data type uint8); write it again with np.savez"
    )


def test_pickled_arrays_are_refused(fault):
    message = fault(_arrays() | {"patient_id": np.array(["a"] * 6, object)})
    assert message.startswith("patient_id holds Python objects, which NumPy makes of ")


def test_files_of_other_kinds(fault, tmp_path):
    np.save(tmp_path / "masks.npy", np.zeros(3))
    assert fault(None, "masks.npy") == "is a single array; an npz file is needed (np.savez)"
    (tmp_path / "folder").mkdir()
    assert fault(None, "folder").startswith(UNREADABLE)
    assert fault(None, "absent.npz") == "no such file"


@pytest.mark.parametrize(
    ("content", "is_a"),
    [
        (b"a,b\n1,2\n", "plain text"),
        (pickle.dumps({"a": 1}), "a Python pickle"),
        (gzip.compress(b"PK\x03\x04" + bytes(99), mtime=0), "a zip archive that gzip packed"),
        (b"\x01\x02\xff" * 9, "of an unknown format"),
    ],
)
def test_numpys_advice_to_unpickle_a_file_is_not_shown(fault, tmp_path, content, is_a):
    (tmp_path / "masks.npz").write_bytes(content)
    assert fault(None) == f"{UNREADABLE}{is_a}; write it again with np.savez"


@pytest.mark.parametrize("paths", [[], ["a.npz", "b.npz"]])
def test_one_file_is_needed(paths):
    with pytest.raises(InputError) as stop:
        COMMAND.main(*paths)
    assert str(stop.value) == "name one file: python -m prosona_jax.score MASKS.npz"
