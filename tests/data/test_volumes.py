"""Volumes become slices: which are kept, how they are cropped, and what all of one share."""

import collections

import numpy as np
import pytest

from data_pipelines import (
    fingerprint,
    finishing,
    prepared,
    runners,
    transforms,
    validation,
    volumes,
)
from data_pipelines.fingerprint import Tally
from data_pipelines.sources import npz
from data_pipelines.volumes import Volume
from prosona_jax.types import InputError


def made(volume="v", depth=6, height=30, width=26, spacing=(3.0, 0.5, 0.7), **fields):
    """Returns noise with two boxes, which share slices 2 and 3 of slices 1 to 4."""
    rng = np.random.default_rng(len(volume))
    masks = np.zeros((2, depth, height, width), np.uint8)
    masks[0, 1:4, 4:10, 12:20] = 1
    masks[1, 2:5, 6:14, 14:18] = 1
    masks[1, 3, 5, 14:18] = 1  # the largest single mask is on slice 3
    masks[0, 3, 4, 11] = 1
    return Volume(
        image=rng.normal(10, 40, (depth, height, width, 1)).astype(np.float32),
        masks=masks,
        rater_valid=np.ones(2, bool),
        patient_id="p",
        volume=volume,
        site="here",
        spacing_mm=np.float32(spacing),
        intensity_unit="arbitrary",
    )._replace(**fields)


def cut(volume, settings):
    skipped = collections.Counter()
    return list(volumes.slices(volume, settings, skipped)), dict(skipped)


def accept(check, record):
    validation.check(record, "x")
    check(record)
    check.agree(record)


@pytest.mark.parametrize(
    ("which", "expected"), [("all", [2, 3]), ("any", [1, 2, 3, 4]), ("largest", [3])]
)
def test_slices_are_kept_by_who_drew_on_them(make_settings, which, expected):
    volume = made()
    records, skipped = cut(volume, make_settings("x", slices=which))
    assert [record.record_id for record in records] == [f"v/{k}" for k in expected]
    assert [record.slice_mm for record in records] == [3.0 * k for k in expected]
    assert not skipped
    for record, k in zip(records, expected, strict=True):
        np.testing.assert_array_equal(record.masks, volume.masks[:, k])
        np.testing.assert_array_equal(record.image, volume.image[k])
        np.testing.assert_array_equal(record.spacing_mm, np.float32([0.5, 0.7]))
        assert (record.volume, record.patient_id, record.site) == ("v", "p", "here")
        validation.check(record, "x")


def test_missing_raters_do_not_decide_which_slices_are_kept(make_settings):
    volume = made(rater_valid=np.array([False, True]))
    records, _ = cut(volume, make_settings("x"))
    assert [record.record_id for record in records] == ["v/2", "v/3", "v/4"]


def test_a_missing_rater_of_a_volume_saw_nothing_if_asked(make_settings):
    volume = made(rater_valid=np.array([False, True]))
    for raters, empty in (("stored", 0), ("by_area", 0)):
        records, _ = cut(volume, make_settings("x", min_raters=1, raters=raters))
        assert [record.record_id for record in records] == ["v/2", "v/3", "v/4"]
        for record in records:
            assert record.rater_valid.all()
            assert not record.masks[empty].any()
            assert record.masks[1 - empty].any()


@pytest.mark.parametrize(("beyond", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (3, range(9))])
def test_slices_beyond_both_ends_are_kept_on_demand(make_settings, beyond, expected):
    volume = made(depth=9)
    image, masks = (
        np.roll(each, 1, axis=axis) for each, axis in ((volume.image, 0), (volume.masks, 1))
    )
    masks[:, 3] = 0  # raters drew on 2, 4 and 5
    settings = make_settings("x", source="folder", slices="any", slices_beyond=beyond)
    records, _ = cut(volume._replace(image=image, masks=masks), settings)
    assert [record.record_id for record in records] == [f"v/{k}" for k in expected]
    assert [bool(record.masks.any()) for record in records] == [k in (2, 4, 5) for k in expected]


def test_padding_beyond_the_object_is_left_out(make_settings):
    volume = made()
    volume.image[5] = 0
    settings = make_settings("x", source="folder", slices="any", slices_beyond=1)
    records, _ = cut(volume, settings)
    assert [record.record_id for record in records] == [f"v/{k}" for k in range(5)]


@pytest.mark.parametrize("crop", ["middle", "organ"])
def test_slices_beyond_count_as_records_but_not_in_facts_about_masks(make_settings, crop):
    settings = make_settings("x", source="folder", slices="any", slices_beyond=1, crop=crop)
    records, _ = cut(made(), settings)
    facts = {}
    for name, own in (("all", records), ("drawn", records[1:-1])):
        tally, found = Tally(), fingerprint.Fingerprint()
        for record in own:
            finished = finishing._finish(record, record, settings, windowed=False)
            tally.add(finished.native)
            found.add(finished.record)
        facts[name] = found.summary(tally)
    assert facts["all"]["records"] == facts["drawn"]["records"] + 2
    assert facts["all"]["undrawn"] == 2
    assert "no rater drew on 2" in fingerprint.words(facts["all"], 0.0)["records"]
    for name in ("inter_rater_dice", "mask_area_px"):
        assert facts["all"][name] == facts["drawn"][name]


def test_single_images_without_a_mask_are_left_out_whatever_is_asked_of_volumes(make_settings):
    settings = make_settings("x", source="folder", slices="any", slices_beyond=1)
    record = cut(made(), settings)[0][0]
    assert finishing._finish(record, record, settings, windowed=False).record is not None
    single = record._replace(volume="")
    assert finishing._finish(single, single, settings, windowed=False).why == fingerprint.EMPTY


@pytest.mark.parametrize(
    "change", [{"slices_beyond": -1}, {"slices_beyond": 1}, {"source": "npz", "slices": "any"}]
)
def test_slices_beyond_are_refused_where_they_mean_nothing(make_settings, change):
    with pytest.raises(InputError, match="slices_beyond"):
        make_settings("x", **({"source": "folder", "slices_beyond": 2} | change))


@pytest.mark.parametrize("which", ["all", "largest", "any"])
def test_a_volume_without_a_slice_is_counted(make_settings, which):
    for change in (
        {"masks": np.zeros((2, 6, 30, 26), np.uint8)},
        {"rater_valid": np.zeros(2, bool)},
    ):
        records, skipped = cut(made(**change), make_settings("x", slices=which, crop="organ"))
        assert records == []
        assert skipped == {volumes.NO_SLICE[which]: 1}


def test_all_slices_of_a_volume_share_one_window(make_settings):
    volume, settings = made(), make_settings("x", percentiles=(5.0, 95.0))
    records, _ = cut(volume, settings)
    low, high = np.percentile(volume.image, (5, 95))
    for record, k in zip(records, (2, 3), strict=True):
        windowed = transforms.window(record, settings).image
        expected = -1 + 2 * (np.clip(volume.image[k], low, high) - low) / (high - low)
        np.testing.assert_allclose(windowed, expected, atol=1e-5)
    own = transforms.window(records[0]._replace(window=None), settings).image
    assert np.abs(own - transforms.window(records[0], settings).image).max() > 0.01


def test_a_volume_in_hounsfield_units_has_no_window_of_its_own(make_settings):
    records, _ = cut(made(intensity_unit="HU"), make_settings("x"))
    assert all(record.window is None for record in records)


@pytest.mark.parametrize("spacing_mm", [0.0, 0.4, 0.9, 1.7])
@pytest.mark.parametrize("size", [8, 9])
def test_a_crop_around_the_organ_is_that_of_the_whole_slice(make_settings, spacing_mm, size):
    volume = made(height=90, width=80)
    volume = volume._replace(masks=np.roll(volume.masks, (30, 25), axis=(2, 3)))
    settings = make_settings("x", size=size, spacing_mm=spacing_mm, crop="organ")
    records, _ = cut(volume, settings)
    drawn = np.argwhere(volume.masks.any(axis=(0, 1)))
    middle = tuple((drawn.min(axis=0) + drawn.max(axis=0)) // 2)
    for record, k in zip(records, (2, 3), strict=True):
        fitted, _ = transforms.fit(record, settings, background=np.float32(0))
        placement = transforms.place((90, 80), record.spacing_mm, settings, centre=middle)
        whole = transforms.sample_image(volume.image[k], placement, background=np.float32(0))
        np.testing.assert_allclose(fitted.image, whole, atol=1e-3)
        assert record.image.shape < volume.image[k].shape


def test_a_crop_at_the_border_is_filled_with_what_becomes_black(make_settings):
    volume, settings = made(), make_settings("x", crop="organ", size=40)
    records, _ = cut(volume, settings)
    windowed = transforms.window(records[0], settings)
    fitted, lost = transforms.fit(windowed, settings, background=np.float32(-1))
    assert not lost
    assert fitted.masks.sum() == volume.masks[:, 2].sum()
    # Rows 4 to 13 are drawn on, so row 8 becomes row 20, and 12 rows lie above the image.
    np.testing.assert_array_equal(fitted.image[:12], -1)
    np.testing.assert_array_equal(np.flatnonzero(fitted.masks[1].any(axis=1)), range(18, 26))
    assert (fitted.image[15:25, 15:25] > -1).any()


def test_masks_beyond_the_crop_are_counted_as_cut(make_settings):
    settings = make_settings("x", crop="organ", size=4)
    records, _ = cut(made(), settings)
    assert all(transforms.fit(r, settings, background=np.float32(0))[1] for r in records)


def test_prepared_records_know_their_volume(make_settings, cache, tmp_path):
    settings = make_settings("x", size=16, slices="any")
    records = [r for name in ("v", "ww") for r in cut(made(name), settings)[0]]
    npz.write(tmp_path / "data.npz", records, "", False)
    settings = make_settings(tmp_path / "data.npz", size=16, percentiles=(1.0, 99.0))
    dataset = prepared.prepare(settings, cache)
    assert dataset.volumes == ["v"] * 4 + ["ww"] * 4
    assert dataset.slice_mm == [3.0, 6.0, 9.0, 12.0] * 2
    assert dataset.slice_spacings_mm == [3.0] * 8
    assert dataset.fingerprint["volumes"] == 2
    assert (
        fingerprint.words(dataset.fingerprint, 0.0)["records"]
        == "8 of 1 patients, slices of 2 volumes"
    )
    assert dataset.sites == ["here"] * 8
    for stored, record in zip(dataset, records, strict=True):
        assert (stored.volume, stored.slice_mm) == (record.volume, record.slice_mm)
        windowed, _ = transforms.fit(
            transforms.window(record, settings), settings, background=np.float32(-1)
        )
        np.testing.assert_allclose(stored.image, windowed.image, atol=1e-4)


@pytest.mark.parametrize("missing", [False, True])
def test_masks_are_sorted_by_their_voxels_in_the_whole_volume(make_settings, tmp_path, missing):
    """Rater 1 draws more on slice 2 and less in all. An exported file is sorted in the same way."""
    masks = np.zeros((3, 6, 30, 26), np.uint8)
    masks[0, 2:5, 4:14, 12:20] = 1
    masks[1, 2, 2:16, 12:22] = 1
    masks[1, 3:5, 5:8, 12:15] = 1
    masks[2, 2:5, 4:14, 13:20] = 1
    volume = made(masks=masks, rater_valid=np.array([True, True, not missing]))
    records, _ = cut(volume, make_settings("x", raters="by_area"))
    order = [1, None, 0] if missing else [1, 2, 0]
    for record, k in zip(records, (2, 3, 4), strict=True):
        for mask, valid, rater in zip(record.masks, record.rater_valid, order, strict=True):
            assert valid == (rater is not None)
            np.testing.assert_array_equal(mask, 0 if rater is None else masks[rater, k])
    stored, _ = cut(volume, make_settings("x"))
    npz.write(tmp_path / "data.npz", [stored[i] for i in (2, 0, 1)], "", False)
    settings = make_settings(tmp_path / "data.npz", size=30, raters="by_area")
    again = prepared.prepare(settings, str(tmp_path / "cache"))
    for one, other in zip([records[i] for i in (2, 0, 1)], again, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks[:, :, 2:28])
        np.testing.assert_array_equal(one.rater_valid, other.rater_valid)


def test_an_exported_file_reads_as_the_same_records(make_settings, tmp_path):
    records, _ = cut(made(), make_settings("x"))
    npz.write(tmp_path / "data.npz", records, "", False)
    settings = make_settings(tmp_path / "data.npz", size=24)
    again = list(finishing.records(settings, Tally(), runners.one_by_one, windowed=False))
    for one, other in zip(records, again, strict=True):
        assert (one.volume, one.slice_mm) == (other.volume, other.slice_mm)
        np.testing.assert_array_equal(one.window, other.window)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"patient_id": "q"},
            "'v/3' has patient_id 'q', record 'v/2' of the same volume 'v' has 'p'",
        ),
        ({"site": "there"}, "has site 'there', record 'v/2' of the same volume 'v' has 'here'"),
        ({"spacing_mm": np.float32([1, np.nan])}, "spacing_mm is"),
        ({"spacing_mm": np.float32([1, 1])}, r"has spacing_mm \[1.0, 1.0\], record 'v/2' of the"),
        ({"slice_spacing_mm": 2.0}, r"has slice_spacing_mm 2.0, record 'v/2' of the same"),
        ({"slice_spacing_mm": 0.0}, "slice_spacing_mm is 0.0; give a distance in mm above 0"),
        (
            {"rater_valid": np.array([True, False])},
            r"has rater_valid \[True, False\], record 'v/2'",
        ),
        ({"slice_mm": 6.0}, "has slice_mm 6, and so has record 'v/2' of the same volume 'v'; give"),
        ({"slice_mm": float("inf")}, "slice_mm is infinite; give a position in mm, or NaN"),
        ({"window": np.zeros((2, 3))}, r"give finite limits \[2,1\], low and high"),
        ({"window": np.full((2, 1), np.nan)}, r"give finite limits \[2,1\], low and high"),
    ],
)
def test_slices_of_one_volume_must_agree(make_settings, change, message):
    first, second = cut(made(), make_settings("x"))[0]
    check = validation.Checker("x")
    accept(check, first)
    with pytest.raises(InputError, match=message):
        accept(check, second._replace(**change))


def test_images_of_no_volume_need_not_agree(make_settings):
    check = validation.Checker("x")
    for record in cut(made(), make_settings("x"))[0]:
        accept(check, record._replace(volume="", site=record.record_id))


def test_slices_without_a_pixel_size_agree(make_settings):
    check = validation.Checker("x")
    for record in cut(made(spacing=(np.nan,) * 3), make_settings("x"))[0]:
        accept(check, record)
        assert np.isnan(record.slice_mm)
