"""The source `npz` reads its format, fills in defaults, and names the fault of a file."""

import collections
import zipfile

import numpy as np
import pytest

from data_pipelines import sources
from data_pipelines.npz import shape
from data_pipelines.sources import npz
from prosona_jax.types import InputError, Record


def read(settings):
    return list(sources.records(settings, collections.Counter()))


def test_a_full_file_is_read(make_npz, make_settings, changed):
    n, raters = changed("masks", ..., 0).shape[:2]
    valid = np.ones((n, raters), bool)
    valid[1, 2] = False
    path = make_npz(
        image=np.random.default_rng(0).random((n, 20, 20, 2)),
        rater_valid=valid,
        site=np.full(n, "here"),
        split=np.full(n, "train"),
        rater_id=np.arange(raters),  # an unknown key is ignored
    )
    found = read(make_settings(path))
    assert [record.record_id for record in found] == [f"r{i:02d}" for i in range(n)]
    record = found[1]
    assert (record.patient_id, record.site, record.split) == ("p00", "here", "train")
    assert (record.image.shape, record.image.dtype) == ((20, 20, 2), np.float32)
    assert (record.masks.dtype, record.masks.shape) == (np.uint8, (3, 20, 20))
    np.testing.assert_array_equal(record.rater_valid, valid[1])
    np.testing.assert_array_equal(record.spacing_mm, np.full(2, 0.7, np.float32), strict=True)
    assert not record.masks[2].any()


def test_optional_keys_have_defaults(make_npz, make_settings):
    path = make_npz(spacing_mm=None)
    record = read(make_settings(path))[0]
    assert record.rater_valid.all()
    assert np.isnan(record.spacing_mm).all()
    assert (record.site, record.split, record.image.shape) == ("", "", (20, 20, 1))
    assert npz.provenance(make_settings(path)) == ("", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"masks": None},
            r"has no masks; an npz data set needs image \[N,H,W\], masks \[N,R,H,W\]",
        ),
        ({"patient_id": None, "image": None}, "has no image and no patient_id; an npz data set"),
        ({"image": np.zeros((12, 20))}, r"image is \[12, 20\], masks are \[12, 3, 20, 20\]; they"),
        ({"image": np.zeros((12, 20, 19))}, "N, H and W must be the same in both"),
        ({"image": np.zeros((0, 20, 20)), "masks": np.zeros((0, 3, 20, 20))}, r"image is \[0, 20"),
        ({"record_id": np.array(["a"])}, r"record_id is \[1\] but masks are .*; it must be \[12\]"),
        ({"spacing_mm": np.ones(2)}, r"spacing_mm is \[2\] but masks are .*; it must be \[12, 2\]"),
        ({"rater_valid": np.ones(3)}, r"rater_valid is \[3\] but masks are .* be \[12, 3\]"),
        ({"rater_valid": np.full((12, 3), 2)}, "rater_valid is not boolean; store True or False"),
        ({"image": np.full((12, 20, 20), "x")}, "image is <U1; store real numbers"),
        ({"masks": np.zeros((12, 3, 20, 20), complex)}, "masks is complex128; store real numbers"),
        (
            {"image": np.full((12, 20, 20), None)},
            "image holds Python objects, which NumPy makes of arrays of unequal shapes",
        ),
    ],
)
def test_a_faulty_file_is_refused(make_npz, make_settings, changes, message):
    path = make_npz(**changes)
    with pytest.raises(InputError, match=message) as caught:
        read(make_settings(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("simulated", ["False", [0, 2.5], [b"1"], np.nan])
def test_simulated_is_true_or_false(make_npz, make_settings, simulated):
    path = make_npz(simulated=np.array(simulated))
    with pytest.raises(InputError) as caught:
        npz.provenance(make_settings(path))
    assert str(caught.value) == f"{path}: simulated is not boolean; store True or False"
    assert npz.provenance(make_settings(make_npz(simulated=np.array(1)))) == ("", True)


def test_a_truncated_file_is_refused_wherever_it_ends(make_npz, make_settings):
    path = make_npz()
    content = path.read_bytes()
    for length in (0, 3, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"data.npz: not a readable npz file"):
            read(make_settings(path))


def test_a_damaged_file_is_refused(make_npz, make_settings):
    path = make_npz()
    content = bytearray(path.read_bytes())
    content[1000:1010] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a readable npz file"):
        read(make_settings(path))


def array(header):
    """Returns a member without any value."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.fixture
def with_member(make_npz):
    """Writes the file with given bytes as its member `masks`."""

    def with_member(content, **changes):
        path = make_npz(masks=None, **changes)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("masks.npy", content)
        return path

    return with_member


def test_a_member_that_is_not_an_array_is_refused(with_member, make_settings):
    path = with_member(b"no array")
    with pytest.raises(InputError) as caught:
        read(make_settings(path))
    assert str(caught.value) == f"{path}: masks is not an array; write it again with np.savez"


def test_an_array_larger_than_memory_is_refused(with_member, make_settings):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904,), }\n"
    path = with_member(array(header))
    with pytest.raises(InputError) as caught:
        read(make_settings(path))
    assert str(caught.value) == (
        f"{path}: larger than memory, or damaged (Unable to allocate 4.00 EiB for an array with "
        "shape (4611686018427387904,) and data type uint8); write it again with np.savez"
    )


def test_other_files_are_refused(tmp_path, make_settings):
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(InputError, match="single.npy: is a single array; an npz file is needed"):
        read(make_settings(tmp_path / "single.npy"))
    with pytest.raises(InputError, match="not a readable npz file"):
        read(make_settings(tmp_path))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "rater 1's mask holds NaN; declare a missing mask by rater_valid = False"),
        (0.5, r"rater 1's mask is not binary \(values \[0.0, 0.5, 1.0\]\); store 0 and 1"),
    ],
)
def test_a_faulty_mask_is_an_error_of_its_record_only(
    make_npz, make_settings, changed, value, message
):
    masks = changed("masks", (2, 1, 0, 0), value, dtype=np.float32)
    found = read(make_settings(make_npz(masks=masks)))
    assert isinstance(found[2], InputError)
    assert "data.npz: record 'r02': " in str(found[2])
    with pytest.raises(InputError, match=message):
        raise found[2]
    assert sum(isinstance(item, Record) for item in found) == 11


def test_written_records_are_read_back(make_npz, make_settings, tmp_path):
    records = read(make_settings(make_npz()))
    npz.write(tmp_path / "again.npz", records, "Someone 2024", simulated=True)
    assert npz.provenance(make_settings(tmp_path / "again.npz")) == ("Someone 2024", True)
    for a, b in zip(records, read(make_settings(tmp_path / "again.npz")), strict=True):
        for before, after in zip(a, b, strict=True):
            np.testing.assert_array_equal(after, before, strict=True)
    with np.load(tmp_path / "again.npz") as file:
        assert file["image"].dtype == np.int16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.npz", "data.npz"]


def test_images_with_fractions_stay_floats(make_npz, make_settings, tmp_path):
    records = read(make_settings(make_npz()))
    halves = [record._replace(image=record.image / 2) for record in records]
    npz.write(tmp_path / "again.npz", halves, "", simulated=False)
    np.testing.assert_array_equal(
        read(make_settings(tmp_path / "again.npz"))[0].image, halves[0].image
    )
    with pytest.raises(InputError, match="its folder does not exist; create it first"):
        npz.write(tmp_path / "absent" / "again.npz", halves, "", simulated=False)


def test_real_files_hold_what_their_description_says(real_data, make_settings):
    found = read(make_settings(real_data / "cells_10_raters.npz"))
    assert len(found) == 46
    assert found[0].masks.shape == (10, 128, 128)
    assert found[0].intensity_unit == "arbitrary"
    assert np.isnan(found[0].spacing_mm).all()


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "b"], ["a", "", "c"]])
def test_raters_need_a_name_each(make_npz, make_settings, names):
    with pytest.raises(InputError, match="for 3 raters; give each a name of its own"):
        npz.rater_names(make_settings(make_npz(rater_id=np.array(names))))


def test_raters_may_have_names(make_npz, make_settings):
    assert npz.rater_names(make_settings(make_npz())) == []
    path = make_npz(rater_id=np.arange(3))
    assert npz.rater_names(make_settings(path)) == ["0", "1", "2"]


def test_raters_are_counted_without_reading_their_masks(with_member, make_settings):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9, 2, 1048576, 1048576), }\n"
    path = with_member(array(header), rater_id=np.array(["Ann", "Bo"]))
    assert shape(path, "masks") == (9, 2, 2**20, 2**20)
    assert npz.rater_names(make_settings(path)) == ["Ann", "Bo"]
    assert shape(path, "intensity_unit") == shape(path, "absent") == ()
    with pytest.raises(InputError, match="not a readable npz file"):
        shape(with_member(b"no array"), "masks")
