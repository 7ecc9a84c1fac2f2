"""The program `score` refuses a bad input in one line."""

import gzip
import importlib
import pickle
import zipfile

import numpy as np
import pytest

from prosona_jax.evaluation import masks
from prosona_jax.types import InputError
from tests.masks import file_arrays

COMMAND = importlib.import_module("prosona_jax.score")  # `prosona_jax.score` is a function


@pytest.fixture
def fault(tmp_path, capsys):
    """Runs on a file that must be refused, and returns the message after the file's name."""

    def fault(arrays, name="masks.npz"):
        path = tmp_path / name
        if arrays is not None:
            np.savez(path, **arrays)
        COMMAND._FLAGS(["score", "--tolerance_mm=1"])
        with pytest.raises(InputError) as stop:
            COMMAND.main(str(path))
        assert capsys.readouterr().out == ""
        line = str(stop.value)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        return line.removeprefix(f"{path}: ")

    return fault


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
    "one size of a pixel": (
        lambda a: a | {"spacing_mm": np.ones(6)},
        "spacing_mm is float64 [6]; store numbers [N, 2] = [6, 2]",
    ),
    "pixels without a size": (
        lambda a: a | {"spacing_mm": np.array([[1, 1]] * 5 + [[1, 0]])},
        "record 5 has spacing_mm [1, 0]; give two sizes in mm above 0, or NaN twice",
    ),
    "half a size": (
        lambda a: a | {"spacing_mm": np.array([[1, np.nan]] + [[1, 1]] * 5)},
        "record 0 has spacing_mm [1.0, nan]; give two sizes in mm above 0, or NaN twice",
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
    assert fault(spoil(file_arrays())) == message


UNREADABLE = "not a readable npz file, truncated or damaged: it is "


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file(fault, tmp_path, share):
    path = tmp_path / "masks.npz"
    np.savez_compressed(path, **file_arrays())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert fault(None).startswith(UNREADABLE)


def test_damaged_member(fault, tmp_path):
    path = tmp_path / "masks.npz"
    np.savez_compressed(path, **file_arrays())
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
    message = fault(file_arrays() | {"patient_id": np.array(["a"] * 6, object)})
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
