"""A data set is written once, is read back unchanged, and says what was left out of it."""

import collections
import json
import os
import pickle

import numpy as np
import pytest

from data_pipelines import finishing, prepared, runners, sources, transforms
from data_pipelines.fingerprint import Tally
from data_pipelines.sources import npz
from prosona_jax.types import InputError
from tests.data.conftest import folders

HALF_LEVEL = 1.0 / 65535 + 1e-6


def test_records_come_back_as_the_transforms_made_them(make_npz, make_settings, cache):
    n = 12
    valid = np.ones((n, 3), bool)
    valid[4, 1] = False
    path = make_npz(rater_valid=valid, split=np.full(n, "test"), site=np.full(n, "here"))
    settings = make_settings(path, size=24, spacing_mm=0.5)
    dataset = prepared.prepare(settings, cache)
    assert len(dataset) == n
    raw = list(sources.records(settings, collections.Counter()))
    for i, record in enumerate(raw):
        windowed = transforms.window(record, settings)
        expected, _ = transforms.fit(windowed, settings, background=np.float32(-1))
        found = dataset[i]
        np.testing.assert_allclose(found.image, expected.image, atol=HALF_LEVEL)
        assert found.image.dtype == np.float32
        for name in ("masks", "rater_valid", "spacing_mm"):
            np.testing.assert_array_equal(
                getattr(found, name), getattr(expected, name), strict=True
            )
        assert found[3:6] == expected[3:6]
        assert found.split == "test"
    assert dataset.record_ids[3] == "r03"
    assert dataset.patient_ids[3] == "p01"
    assert dataset.declared_splits == ["test"] * n
    assert dataset[-1].record_id == "r11"
    with pytest.raises(IndexError):
        dataset[n]


def test_a_second_file_only_trains(make_npz, make_settings, cache):
    ids = np.array([f"more {i}" for i in range(12)])
    first = make_npz(citation=np.array("First"))
    more = make_npz("more.npz", record_id=ids, citation=np.array("Second"))
    dataset = prepared.prepare(make_settings(first, train_path=str(more)), cache)
    assert dataset.record_ids[:12] == [f"r{i:02d}" for i in range(12)]
    assert dataset.record_ids[12:] == ids.tolist()
    assert dataset.declared_splits == [""] * 12 + ["only_train"] * 12
    assert dataset.citation == "First; Second"
    np.testing.assert_array_equal(dataset[3].image, dataset[15].image)
    with pytest.raises(InputError, match=f"{first}: record 'r00': the id occurs twice"):
        prepared.prepare(make_settings(first, train_path=str(first)), cache)
    with pytest.raises(InputError, match="none.npz: no such file or folder; set data.path"):
        prepared.prepare(make_settings(first, train_path="none.npz"), cache)


def test_who_is_missing_saw_nothing_if_asked(make_npz, make_settings, changed, cache):
    valid = np.ones((12, 3), bool)
    valid[4, 1] = valid[7, :2] = False
    path = make_npz(rater_valid=valid)
    stored = prepared.prepare(make_settings(path), cache)
    asked = prepared.prepare(make_settings(path, min_raters=1), cache)
    assert stored[4].rater_valid.tolist() == [True, False, True]
    for i in range(12):
        assert asked[i].rater_valid.all()
        np.testing.assert_array_equal(asked[i].masks.any(axis=(1, 2)), valid[i])
        np.testing.assert_array_equal(asked[i].masks[valid[i]], stored[i].masks[valid[i]])
    two = prepared.prepare(make_settings(path, min_raters=2), cache)
    assert two.record_ids == [f"r{i:02d}" for i in range(12) if i != 7]
    assert two.fingerprint["skipped"] == {"drawn by fewer raters than 2": 1}
    with pytest.raises(InputError, match="data.min_raters=-1: give 0 or a number of raters"):
        make_settings(path, min_raters=-1)


def test_nodules_that_one_reader_drew_have_three_empty_masks(real_data, make_settings, cache):
    path = real_data / "lidc_crops_fewer.npz"
    options = {"size": 64, "min_raters": 1, "raters": "by_area"}
    found = prepared.prepare(make_settings(path, **options), cache)
    assert len(found) == 1225
    drawn = [int(found[i].masks.any(axis=(1, 2)).sum()) for i in range(1225)]
    assert [drawn.count(raters) for raters in (1, 2, 3, 4)] == [559, 340, 326, 0]
    first = found[drawn.index(2)]
    assert first.masks.any(axis=(1, 2)).tolist() == [False, False, True, True]


def test_the_ends_of_the_window_come_back_exactly(make_npz, make_settings, changed, cache):
    image = changed("image", (slice(None), 0, slice(0, 2)), [-1000, 400])
    found = prepared.prepare(make_settings(make_npz(image=image)), cache)[0].image
    assert (found[0, 0, 0], found[0, 1, 0]) == (-1, 1)


def test_a_data_set_is_written_once_and_again_when_something_changed(
    make_npz, make_settings, changed, cache, monkeypatch
):
    path = make_npz()
    first = prepared.prepare(make_settings(path), cache)
    with monkeypatch.context() as patch:
        patch.setattr(prepared, "_write", None)
        assert prepared.prepare(make_settings(path), cache).fingerprint == first.fingerprint
    prepared.prepare(make_settings(path, size=16), cache)
    make_npz(image=changed("image", (0, 0, 0), 5))
    assert prepared.prepare(make_settings(path), cache).fingerprint != first.fingerprint
    assert len(folders(cache)) == 3


def test_equal_content_has_an_equal_digest(make_npz, make_settings, cache):
    digests = {
        prepared.prepare(make_settings(make_npz(name)), cache).fingerprint["sha256"]
        for name in ("one.npz", "two.npz")
    }
    assert len(digests) == 1


def test_empty_records_are_skipped_and_counted(make_npz, make_settings, changed, cache):
    masks = changed("masks", 3, 0)
    masks[5, 0] = 0  # one rater's empty mask is valid
    valid = np.ones((12, 3), bool)
    valid[6, 1:] = False
    masks[6, 0] = 0  # the two others have no mask of the image
    corner = np.zeros((20, 20), np.uint8)
    corner[0, 0] = 1
    masks[7] = corner
    path = make_npz(masks=masks, rater_valid=valid)
    dataset = prepared.prepare(make_settings(path, size=16), cache)
    assert dataset.fingerprint["skipped"] == {
        "empty for all raters": 2,
        "nothing drawn within the crop": 1,
    }
    assert len(dataset) == 9
    assert dataset.fingerprint["masks_missing"] == 0
    assert "r05" in dataset.record_ids


def test_a_corrupt_record_stops_or_is_skipped_and_counted(
    make_npz, make_settings, changed, cache, caplog
):
    path = make_npz(image=changed("image", (2, 0, 0), np.nan, dtype=np.float32))
    message = f"{path}: record 'r02': the image holds NaN or infinite values; fix it or"
    with pytest.raises(InputError) as caught:
        prepared.prepare(make_settings(path), cache)
    assert str(caught.value).startswith(message)
    assert not folders(cache)

    dataset = prepared.prepare(make_settings(path, on_error="skip"), cache)
    assert dataset.fingerprint["skipped"] == {"corrupt": 1}
    assert len(dataset) == 11
    assert message in caplog.text


def test_the_window_and_the_source_can_find_a_record_corrupt(
    make_npz, make_settings, changed, cache
):
    image = changed("image", 2, -2000)
    image[2, 0, 0] = -1500  # not constant, but below the window
    masks = changed("masks", (5, 0, 0, 0), 0.5, dtype=np.float32)
    settings = make_settings(make_npz(image=image, masks=masks), on_error="skip")
    assert prepared.prepare(settings, cache).fingerprint["skipped"] == {"corrupt": 2}


def test_records_that_disagree_are_an_error_even_if_faults_are_skipped(
    tmp_path, make_settings, cache
):
    image, mask = np.random.default_rng(0).random((20, 20)), np.eye(20)
    path = tmp_path / "set.pickle"
    sizes = {"a": 3, "b": 4, "c": 4}
    path.write_bytes(
        pickle.dumps(
            {k: {"image": image, "masks": [mask] * n, "series_uid": k} for k, n in sizes.items()}
        )
    )
    with pytest.raises(InputError) as caught:
        prepared.prepare(make_settings(path, source="pickled", on_error="skip"), cache)
    assert str(caught.value) == (
        f"{path}: record 'b' has 4 raters, record 'a' has 3; one data set needs the same in every "
        "record (a missing rater is declared by rater_valid = False)"
    )


def test_no_record_left_is_an_error(make_npz, make_settings, changed, cache):
    path = make_npz(masks=changed("masks", ..., 0))
    with pytest.raises(
        InputError, match=r"no record is left \(skipped: {'empty for all raters': 12}\); check data"
    ):
        prepared.prepare(make_settings(path), cache)
    assert not folders(cache)


def test_masks_cut_by_the_crop_are_counted(make_npz, make_settings, cache):
    assert prepared.prepare(make_settings(make_npz()), cache).fingerprint["masks_cut_by_crop"] == 0
    small = prepared.prepare(make_settings(make_npz(), size=7), cache)
    assert small.fingerprint["masks_cut_by_crop"] == 12


def test_several_channels_and_unknown_spacing(make_npz, make_settings, changed, cache):
    n = len(changed("image", 0, 0))
    image = np.random.default_rng(0).random((n, 20, 20, 3))
    path = make_npz(image=image, intensity_unit=np.array("unit"), spacing_mm=None)
    dataset = prepared.prepare(make_settings(path, spacing_mm=0.5), cache)
    np.testing.assert_allclose(dataset[0].image, 2 * image[0] - 1, atol=HALF_LEVEL)
    assert np.isnan(dataset[0].spacing_mm).all()
    assert dataset.fingerprint["native_spacing_mm"] is None


def test_raw_records_exported_and_read_again_are_the_same_data(
    make_npz, make_settings, cache, tmp_path
):
    settings = make_settings(make_npz(), size=26)
    records = list(finishing.records(settings, Tally(), runners.one_by_one, windowed=False))
    assert records[0].image.min() == -1000  # the padding beside the crop
    npz.write(tmp_path / "export.npz", records, "", simulated=False)
    again = make_settings(tmp_path / "export.npz", size=26)
    digests = [prepared.prepare(each, cache).fingerprint["sha256"] for each in (settings, again)]
    assert digests[0] == digests[1]


def test_citation_and_simulated_come_from_the_source(make_npz, make_settings, cache):
    dataset = prepared.prepare(make_settings(make_npz()), cache)
    assert (dataset.citation, dataset.simulated) == ("", False)
    path = make_npz("cited.npz", citation=np.array("Someone 2024"), simulated=np.array(True))
    dataset = prepared.prepare(make_settings(path), cache)
    assert (dataset.citation, dataset.simulated) == ("Someone 2024", True)
    path = make_npz("lidc.npz", patient_id=np.full(12, "LIDC-IDRI-0001"))
    assert "doi 10.1118/1.3528204" in prepared.prepare(make_settings(path), cache).citation


def test_the_index_is_plain_json(make_npz, make_settings, cache):
    prepared.prepare(make_settings(make_npz(spacing_mm=None)), cache)
    index = json.loads((folders(cache)[0] / "index.json").read_text(), parse_constant=pytest.fail)
    assert index["settings"]["window_hu"] == [-1000.0, 400.0]


def test_a_tilde_in_the_cache_path_is_the_home_folder(
    make_npz, make_settings, tmp_path, monkeypatch
):
    monkeypatch.setitem(os.environ, "HOME", str(tmp_path))
    prepared.prepare(make_settings(make_npz()), "~/sets")
    assert folders(tmp_path / "sets")


def test_real_crops_have_the_known_fingerprint(real_data, make_settings, cache):
    settings = make_settings(real_data / "lidc_crops.npz", size=64)
    dataset = prepared.prepare(settings, cache)
    found = dataset.fingerprint
    assert (found["records"], found["patients"], found["raters"]) == (612, 385, 4)
    assert found["inter_rater_dice"] == pytest.approx(0.823, abs=5e-4)
    assert found["mask_area_px"] == pytest.approx([23, 84, 602], abs=0.5)
    assert found["masks_cut_by_crop"] == 0
    assert found["skipped"] == {}
    assert found["intensities"]["doubted"] == found["spacings_unknown"] == 0
    assert "Armato" in dataset.citation
    assert not dataset.simulated
