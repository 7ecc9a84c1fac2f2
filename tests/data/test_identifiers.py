"""Every source gives a patient one spelling, and refuses values that are no identifiers."""

import collections
import datetime
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipelines import identifiers, lidc, sources, splits
from prosona_jax.types import InputError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("p1", "p1"),
        (" p1\n", "p1"),
        ("1.2.3\0", "1.2.3"),
        (b"1.2.3\0", "1.2.3"),
        ("Müller".encode(), "Müller"),
        (np.bytes_(b"p1"), "p1"),
        (np.str_("p1"), "p1"),
        (np.array("p1"), "p1"),
        (7, "7"),
        (np.int16(7), "7"),
        (7.0, "7"),
        (np.float32(7.5), "7.5"),
        ("", ""),
        ("Mu\u0308ller", "M\u00fcller"),  # in two code points, and in one
        ("\ufeff\u200bp\u00a01\u00a0\v\u2003\u200e", "p\u00a01"),
        ("\u200b", ""),
        (2.0**53 - 1, "9007199254740991"),
        (2**53 + 1, "9007199254740993"),
        (np.float32(2**24 - 1), "16777215"),
    ],
)
def test_one_identifier_has_one_spelling(value, text):
    assert identifiers.text(value, "file", "patient_id") == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (float("nan"), "nan"),
        (np.inf, "inf"),
        (True, "True"),
        (np.True_, "np.True_"),
        (["1.2.3"], "['1.2.3']"),
        (("a", "b"), "('a', 'b')"),
        ({"uid": 1}, "{'uid': 1}"),
        (np.array(["a"]), "array(['a'], dtype='<U1')"),
        (datetime.date(2020, 1, 1), "datetime.date(2020, 1, 1)"),
        (b"\xff", r"b'\xff', bytes that are not UTF-8"),
        ("p\udcff", r"'p\udcff'"),
        (np.array([b"\1"], "V1")[0], r"np.void(b'\x01')"),
        ([0] * 40, "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ..."),
    ],
)
def test_an_invalid_identifier_is_refused(value, shown):
    with pytest.raises(InputError) as error:
        identifiers.text(value, "data.npz: record 3", "patient_id")
    assert str(error.value) == f"data.npz: record 3: patient_id is {shown}; store it as text"


@pytest.mark.parametrize("value", [2.0**53, -1e300, np.float32(2**24), np.float16(2048)])
def test_a_float_too_large_for_an_integer_is_refused(value):
    with pytest.raises(InputError) as error:
        identifiers.text(value, "file", "patient_id")
    assert str(error.value) == (
        f"file: patient_id is {float(value)!r}, a float too large to differ from the next integer; "
        "store it as text or as an integer"
    )


def test_characters_beyond_unicode_are_reported_as_damage(make_npz, make_settings):
    stored = np.array([f"p{i}" for i in range(12)])
    stored.view(np.uint32)[8] |= 0x110000
    settings = make_settings(make_npz(patient_id=stored))
    with pytest.raises(InputError, match="patient_id is damaged; write it again"):
        list(sources.records(settings, collections.Counter()))


@pytest.fixture
def read(tmp_path, make_settings):
    def read(data):
        path = tmp_path / "data.pickle"
        path.write_bytes(pickle.dumps(data))
        settings = make_settings(path, source="pickled")
        return path, list(sources.records(settings, collections.Counter()))

    return read


def item(series_uid, seed=0):
    image = np.random.default_rng(seed).random((20, 20))
    return {"image": image, "masks": [np.eye(20, dtype=np.uint8)] * 4, "series_uid": series_uid}


def test_series_as_bytes_are_the_same_patients_as_text(read):
    """Eight patients of LIDC-IDRI have two series, which must be in the same split."""
    series = collections.defaultdict(list)
    for uid, patient in lidc.read_series(lidc.find_database()).items():
        series[patient].append(uid)
    uids = [uid for own in series.values() if len(own) > 1 for uid in own]
    spellings = {
        "text": lambda uid: f"{uid}_1",
        "bytes": lambda uid: f"{uid}_1".encode(),
        "NumPy's bytes": lambda uid: np.bytes_(f"{uid}_1"),
        "padded": lambda uid: f"{uid}\0",
    }
    for name, spell in spellings.items():
        _, records = read({k: item(spell(uid), k) for k, uid in enumerate(uids)})
        patients = [record.patient_id for record in records]
        assert sorted(set(patients)) == sorted({p for p, own in series.items() if len(own) > 1})
        assert len(set(patients)) == 8, name
        parts = splits.assign(
            patients, [""] * len(patients), folds=2, fold=0, validation_share=0.0,
            needed=("train", "test"),
        )  # fmt: skip
        train, test = ({patients[i] for i in parts[part]} for part in ("train", "test"))
        assert not train & test


def test_blanks_before_the_number_of_a_series_do_not_count(read):
    _, records = read({"a": item("P1_a"), "b": item("P1 _b"), "c": item("P1\u00a0_c", 1)})
    assert [record.patient_id for record in records] == ["P1"] * 3


def test_a_pickle_names_the_record_without_identifier(read):
    path, found = read({"a": item("s_1"), "b": item(None), "c": item(["s"]), ("d", 1): item("s_1")})
    assert found[0].patient_id == "s"
    assert [str(fault) for fault in found[1:]] == [
        f"{path}: record 'b': series_uid is None; store it as text",
        f"{path}: record 'c': series_uid is ['s']; store it as text",
        f"{path}: record ('d', 1): its key is ('d', 1); store it as text",
    ]


def test_an_npz_reads_bytes_and_numbers_as_text(make_npz, make_settings):
    def patients(**changes):
        settings = make_settings(make_npz(**changes))
        return [r.patient_id for r in sources.records(settings, collections.Counter())]

    expected = [str(i // 2) for i in range(12)]
    number = np.arange(12) // 2
    assert patients(patient_id=number) == expected
    assert patients(patient_id=number.astype(float)) == expected
    assert patients(patient_id=np.array([f"{i}".encode() for i in number])) == expected
    for bad, shown in (
        (np.where(number == 3, np.nan, number), "record 6: patient_id is nan"),
        (number > 2, "record 0: patient_id is False"),
        ((2**24 + number).astype(np.float32), "record 0: patient_id is 16777216.0, a float"),
        (number.astype("<i8").view("V8"), "record 0: patient_id is np.void"),
        (number.astype("M8[D]"), "record 0: patient_id is datetime.date"),
    ):
        with pytest.raises(InputError, match=shown):
            patients(patient_id=bad)


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_folders_of_crops_whose_name_is_not_text(tmp_path, make_settings):
    name = os.fsdecode(b"caf\xe9")
    for kind, file in (("images", "z-1.0_c0.png"), ("gt", "z-1.0_c0_l0.png")):
        (tmp_path / kind / name).mkdir(parents=True)
        Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / kind / name / file)
    settings = make_settings(tmp_path, source="crops")
    (fault,) = sources.records(settings, collections.Counter())
    assert str(fault).endswith(r"z-1.0_c0.png: its folder's name is 'caf\udce9'; store it as text")


def test_the_citation_of_an_npz_may_be_bytes(make_npz, make_settings):
    settings = make_settings(make_npz(citation=np.bytes_("Müller et al.".encode())))
    assert sources.provenance(settings, {"p"}).citation == "Müller et al."
    settings = make_settings(make_npz(citation=np.array(["x", "y"])))
    with pytest.raises(InputError, match=r"citation is \[2\]; store one text$"):
        sources.provenance(settings, {"p"})
