"""The source `pickled` reads the dictionaries of both projects, and never runs code of a file."""

import collections
import os
import pickle

import numpy as np
import pytest

from data_pipelines import sources
from data_pipelines.sources import pickled
from prosona_jax.types import InputError, Record


def items(n=4, white=1.0, dtype=np.float64):
    rng = np.random.default_rng(0)
    mask = np.zeros((8, 8))
    mask[2:5, 2:5] = 1
    return {
        f"key{i}": {
            "image": (white * rng.random((8, 8))).astype(dtype),
            "masks": [mask, mask, 0 * mask, mask.astype(np.uint8)],
            "series_uid": f"1.2.{i // 2}_{i}",
        }
        for i in range(n)
    }


@pytest.fixture
def read(tmp_path, make_settings):
    def read(data, name="set.pickle", **options):
        content = data if isinstance(data, bytes) else pickle.dumps(data, **options)
        (tmp_path / name).write_bytes(content)
        settings = make_settings(tmp_path / name, source="pickled")
        return list(sources.records(settings, collections.Counter()))

    return read


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol_are_read(tmp_path, protocol):
    data = {
        "c": np.arange(12.0).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
        "view": np.arange(20, dtype=np.float32).reshape(5, 4)[::2, 1:],
        "big_endian": np.arange(3, dtype=">i4"),
        "bool": np.array([True, False]),
        "text": np.array(["ab", "c"]),
        "scalars": (np.float32(0.5), np.str_("uid"), 7, None, [b"bytes"]),
        "set": {1, 2},
    }
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(data, protocol=protocol))
    found = pickled.load(tmp_path / "x.pickle")
    assert found.keys() == data.keys()
    for key in ("c", "fortran", "view", "big_endian", "bool", "text"):
        np.testing.assert_array_equal(found[key], data[key], strict=True)
    assert found["scalars"] == data["scalars"]
    assert found["set"] == data["set"]


def test_arrays_of_older_numpy_are_read(tmp_path):
    content = pickle.dumps(np.arange(3), protocol=3).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in content
    (tmp_path / "x.pickle").write_bytes(content)
    np.testing.assert_array_equal(pickled.load(tmp_path / "x.pickle"), np.arange(3))


@pytest.mark.parametrize(("white", "dtype"), [(1, np.float64), (255, np.uint8), (255, np.float32)])
def test_images_are_scaled_to_unit_range(read, white, dtype):
    data = items(white=white, dtype=dtype)
    record = read(data)[1]
    assert (record.record_id, record.patient_id, record.intensity_unit) == ("key1", "1.2.0", "unit")
    np.testing.assert_allclose(record.image[..., 0], data["key1"]["image"] / white, atol=1e-6)
    assert record.image.dtype == np.float32
    np.testing.assert_array_equal(record.masks.sum((1, 2)), [9, 9, 0, 9])
    assert np.isnan(record.spacing_mm).all()


def test_a_folder_of_files_is_one_set(read, tmp_path, make_settings):
    read(items(), name="a.pickle")
    read(items(), name="b.pkl")
    found = list(sources.records(make_settings(tmp_path, source="pickled"), collections.Counter()))
    assert [record.record_id for record in found[3:5]] == ["a/key3", "b/key0"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable pickle, truncated or damaged (EOFError); copy it again"),
        (pickle.dumps([]), "is not a dictionary of records; see data_pipelines.sources"),
    ],
)
def test_a_damaged_file_of_a_folder_is_one_fault(read, tmp_path, make_settings, content, message):
    read(items(), name="a.pickle")
    (tmp_path / "b.pickle").write_bytes(content)
    read(items(), name="c.pickle")
    found = list(sources.records(make_settings(tmp_path, source="pickled"), collections.Counter()))
    assert str(found.pop(4)) == f"{tmp_path / 'b.pickle'}: {message}"
    assert [record.record_id for record in found[3:5]] == ["a/key3", "c/key0"]


class Call:
    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "posix.system"),
        (eval, "builtins.eval"),
        (exec, "builtins.exec"),
        (getattr, "builtins.getattr"),
        (__import__, "builtins.__import__"),
        (np.load, "numpy.load"),
        (np.memmap, "numpy.memmap"),
        (np.lib.npyio.NpzFile, "numpy.lib.npyio.NpzFile"),
    ],
)
def test_a_hostile_pickle_is_refused_and_not_run(read, tmp_path, function, name, protocol):
    canary = tmp_path / "canary"
    hostile = {"key0": Call(function, f"open({str(canary)!r}, 'w')")}
    with pytest.raises(
        InputError, match=r"refused, the pickle asks for .*; only builtins"
    ) as caught:
        read(hostile, protocol=protocol)
    module = name.rpartition(".")[0].replace("builtins", "(builtins|__builtin__)")
    assert caught.match(f"set.pickle: refused, the pickle asks for {module}.{name.split('.')[-1]}")
    assert not canary.exists()


def test_the_codec_gadget_and_object_arrays_are_refused(read):
    import codecs

    with pytest.raises(InputError, match="asks for the codec 'zlib'; only plain arrays are read"):
        read({"key0": Call(codecs.encode, "x", "zlib")})
    with pytest.raises(InputError, match="holds an array of Python objects, which NumPy"):
        read({"key0": np.array([{}, None])})
    with pytest.raises(InputError, match="holds an array of type 'V12'; only numbers and text"):
        read({"key0": np.zeros(2, "f8, i4")})


def test_numpys_own_reconstruction_never_runs(read):
    # This state gives NumPy's dtype a false size; it must not reach NumPy.
    forged = pickle.dumps(np.arange(3.0), protocol=3).replace(b"K\x03\x85", b"K\x7f\x85")
    with pytest.raises(
        InputError, match=r"not a readable pickle, truncated or damaged .ValueError."
    ):
        read(forged)


def test_a_truncated_pickle_is_refused_wherever_it_ends(read):
    content = pickle.dumps(items())
    for length in (0, 1, 50, len(content) // 2, len(content) - 1):
        with pytest.raises(
            InputError, match=r"set.pickle: not a readable pickle, truncated or dam"
        ):
            read(content[:length])


@pytest.mark.parametrize("data", [[], {}, 7, np.zeros(3)])
def test_other_contents_are_refused(read, data):
    with pytest.raises(InputError, match=r"set.pickle: is not a dictionary of records"):
        read(data)


def test_an_empty_folder_is_refused(tmp_path, make_settings):
    with pytest.raises(InputError, match=r"the folder holds no .pickle or .pkl file; check data.p"):
        list(sources.records(make_settings(tmp_path, source="pickled"), collections.Counter()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": None}, r"masks is not a list of arrays \[H,W\]; add it or drop"),
        ({"masks": [None]}, r"rater 0's mask is NoneType on an image \[8, 8\]; store an array"),
        ({"masks": []}, r"masks is not a list of arrays \[H,W\]; add it or drop"),
        ({"masks": np.array(1)}, r"masks is not a list of arrays \[H,W\]; add it or drop"),
        (
            {"masks": [np.zeros((8, 8)), np.zeros((9, 8))]},
            r"rater 1's mask is \[9, 8\] on an image \[8, 8\]; store an array",
        ),
        ({"masks": [np.zeros((7, 8))]}, r"rater 0's mask is \[7, 8\] on an image \[8, 8\]; store"),
        ({"masks": [np.full((8, 8), np.nan)]}, "rater 0's mask holds NaN; declare a missing mask"),
        ({"masks": [np.full((8, 8), 3)]}, "rater 0's mask is not binary"),
        ({"image": "x"}, r"image is not an array of numbers \[H,W\] or \[H,W,C\]"),
    ],
)
def test_a_faulty_record_is_named_and_the_others_are_read(read, change, message):
    data = items()
    data["key2"] = {**data["key2"], **change}
    found = read(data)
    assert isinstance(found[2], InputError)
    assert "set.pickle: record 'key2': " in str(found[2])
    with pytest.raises(InputError, match=message):
        raise found[2]
    assert sum(isinstance(item, Record) for item in found) == 3


def test_a_record_without_a_key_is_named(read):
    data = items()
    del data["key0"]["series_uid"]
    data["key1"] = 3
    for fault in read(data)[:2]:
        with pytest.raises(InputError, match="is not a dictionary with image, masks, series_uid"):
            raise fault
