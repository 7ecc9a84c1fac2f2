"""Measured habits: closed forms on discs, invariances, and made raters who come back in order."""

import numpy as np
import pytest
from scipy import ndimage

from data_pipelines import habits
from prosona_jax.types import Record

SIZE = 64
ROWS, COLUMNS = np.mgrid[:SIZE, :SIZE]
BY_NAME = {name: place for place, name in enumerate(habits.OF_IMAGES)}


def disc(radius, centre=(32, 32)):
    return (np.hypot(ROWS - centre[0], COLUMNS - centre[1]) <= radius).astype(np.uint8)


def star(radius, depth, spikes=9, centre=(32, 32)):
    """A disc with a wavy edge."""
    angle = np.arctan2(ROWS - centre[0], COLUMNS - centre[1])
    edge = radius + depth * np.sin(spikes * angle)
    return (np.hypot(ROWS - centre[0], COLUMNS - centre[1]) <= edge).astype(np.uint8)


def with_arm(radius, length):
    """A disc with a thin arm to the right."""
    mask = disc(radius)
    mask[31:34, 32 : 32 + radius + length] = 1
    return mask


def record(masks, patient="p", spacing=np.nan, valid=None):
    masks = np.asarray(masks, np.uint8)
    return Record(
        np.zeros((*masks.shape[1:], 1), np.float32), masks,
        np.ones(len(masks), bool) if valid is None else np.array(valid), patient, patient, "",
        np.full(2, spacing, np.float32), "arbitrary",
    )  # fmt: skip


def of(masks, name):
    """Returns a habit of each rater."""
    masks = np.asarray(masks)
    return habits.of_slice(masks, np.ones(len(masks), bool)).habits[BY_NAME[name]]


def test_a_larger_disc_has_its_distance_as_margin_and_its_area():
    masks = [disc(14), disc(14), disc(14), disc(16), disc(12)]
    margin, area = of(masks, "margin"), of(masks, "area")
    np.testing.assert_allclose(margin[[0, 3, 4]], [0, 2, -2], atol=0.2)
    sizes = np.array([mask.sum() for mask in masks])
    np.testing.assert_allclose(area, np.log(sizes / sizes[0]), atol=1e-12)


def test_lengths_are_in_mm_where_pixels_have_a_size():
    masks = [disc(14), disc(14), disc(14), disc(16)]
    found, pixels = habits.measure([record(masks, spacing=0.5)]), habits.measure([record(masks)])
    assert (found.unit, pixels.unit) == ("mm", "px")
    np.testing.assert_allclose(found.values["margin"], 0.5 * pixels.values["margin"])
    np.testing.assert_array_equal(found.values["area"], pixels.values["area"])
    mixed = habits.measure([record(masks, spacing=0.5), record(masks)])
    assert mixed.unit == "px"


def test_a_wavy_contour_is_rougher_than_a_smooth_one():
    plain, wavy = habits.roughness(disc(16)), habits.roughness(star(16, 3))
    smoothed = ndimage.gaussian_filter(star(16, 3).astype(float), 4) > 0.5
    assert habits.roughness(smoothed) < wavy / 2
    assert plain < wavy / 4
    rough = of([disc(16), disc(16), star(16, 3)], "roughness")
    assert rough[2] > 0.3 > 0 > rough[0] == rough[1]


def test_a_thin_arm_is_a_tip_and_a_larger_disc_is_none():
    tips = of([disc(12), with_arm(12, 12), disc(13)], "tips")
    arm = with_arm(12, 12).sum() - disc(12).sum()
    assert tips[1] == pytest.approx(arm / with_arm(12, 12).sum(), abs=0.03)
    assert abs(habits.thin(disc(13), 3.6) - habits.thin(disc(12), 3.6)) < 0.02


def test_places_and_quarter_turns_change_nothing():
    masks = np.array([star(12, 2), with_arm(11, 8), disc(13)])
    own = habits.of_slice(masks, np.ones(3, bool)).habits
    for changed in (np.roll(masks, (5, -7), axis=(1, 2)), np.rot90(masks, axes=(1, 2))):
        found = habits.of_slice(changed, np.ones(3, bool)).habits
        np.testing.assert_allclose(found, own, atol=5e-3)


def test_the_consensus_of_two_lies_between_them():
    """A vote of two who must agree would be the smaller disc."""
    masks = np.array([disc(10), disc(14), disc(12)])
    assert abs(of(masks, "margin")[2]) < 0.3


def test_raters_without_a_mask_have_no_habits():
    masks = [disc(12), disc(12), disc(15), np.zeros((SIZE, SIZE))]
    found = habits.of_slice(np.asarray(masks), np.array([True, True, False, True])).habits
    assert np.isnan(found[:, 2:]).all()
    assert np.isfinite(found[:, :2]).all()
    alone = habits.of_slice(np.asarray(masks[:1]), np.ones(1, bool)).habits
    assert np.isnan(alone).all()


def test_a_drawn_mask_takes_the_place_of_its_raters():
    masks, drawn = np.array([disc(12)] * 3), np.array([disc(14), disc(12), disc(10)])
    found = habits.of_slice(masks, np.ones(3, bool), drawn=drawn).habits
    np.testing.assert_allclose(found[0], [2, 0, -2], atol=0.35)


def made_raters(count=24, offsets=(-2.0, 0.0, 0.5, 3.0)):
    """Records whose raters draw a disc with their own margin, and some noise."""
    generator = np.random.default_rng(0)
    return [
        record(
            [disc(14 + own + generator.normal(0, 0.4), (32, 31 + n % 3)) for own in offsets],
            patient=f"p{n}",
        )
        for n in range(count)
    ]


def test_made_raters_come_back_in_order():
    margin = habits.measure(made_raters()).values["margin"].mean(axis=0)
    assert (np.diff(margin) > 0).all()
    # Against the median of the three others: 0.5, 0.5, 0 and 0.
    np.testing.assert_allclose(margin, [-2.5, -0.5, 0.5, 3.0], atol=0.35)


def test_the_ends_of_a_volume_are_measured_in_mm():
    """Slices 0 to 5 of 2.5 mm; the third rater starts a slice early and ends two slices early."""
    ends = ((1, 4), (1, 4), (0, 2))
    slices = [
        record([disc(12) * (a <= n <= b) for a, b in ends])._replace(
            volume="v", slice_mm=2.5 * n, record_id=f"v/{n}"
        )
        for n in range(6)
    ]
    found = habits.measure(slices)
    assert len(found.patient_ids) == 1
    assert found.slice_mm == 2.5
    assert found.values["first"][0, 2] == 2.5
    assert found.values["last"][0, 2] == -5.0
    area = disc(12).sum()
    assert found.values["area"][0, 2] == pytest.approx(np.log(3 * area / (4 * area)))


def test_the_ends_of_what_is_drawn_are_measured_on_the_whole_volume():
    """Raters draw slices 2 to 4 of 0 to 6; the first style 1 to 6, and the second 3 alone."""
    masks = [[disc(12) * (2 <= n <= 4)] * 3 for n in range(7)]
    drawn = [
        np.array([disc(14) * (n >= 1), disc(10) * (n == 3), disc(12) * (2 <= n <= 4)])
        for n in range(7)
    ]
    slices = [
        record(own)._replace(volume="v", slice_mm=3.0 * n, record_id=f"v/{n}")
        for n, own in enumerate(masks)
    ]
    found = habits.measure(slices, drawn)
    np.testing.assert_array_equal(found.values["first"], [[3.0, -3.0, 0.0]])
    np.testing.assert_array_equal(found.values["last"], [[6.0, -3.0, 0.0]])
    # The margin is a mean over slices that raters drew on; the area is that of the volume.
    np.testing.assert_allclose(found.values["margin"], [[2, -2, 0]], atol=0.35)
    sizes = [disc(radius).sum() for radius in (14, 10, 12)]
    expected = np.log([6 * sizes[0], sizes[1], 3 * sizes[2]]) - np.log(3 * sizes[2])
    np.testing.assert_allclose(found.values["area"], expected[None])


def test_the_unit_of_lengths_can_be_given():
    masks = [disc(14), disc(14), disc(14), disc(16)]
    pixels = habits.measure([record(masks, spacing=0.5)], unit="px")
    np.testing.assert_allclose(pixels.values["margin"][0, 3], 2, atol=0.2)
    unknown = habits.measure([record(masks, spacing=0.5), record(masks)], unit="mm").values
    np.testing.assert_allclose(unknown["margin"][:, 3], [1, np.nan], atol=0.1)
    assert np.isfinite(unknown["area"]).all()
