"""Windows map their limits to -1 and 1; resampling keeps areas and reports cut masks."""

import numpy as np
import pytest

from data_pipelines import transforms
from prosona_jax.types import InputError, Record

BLACK = np.float32(-1)


def record_of(image, masks=None, unit="HU", spacing=np.nan):
    image = np.asarray(image, np.float32)
    image = image if image.ndim == 3 else image[..., None]
    masks = np.zeros((1, *image.shape[:2]), np.uint8) if masks is None else np.uint8(masks)
    spacing_mm = np.broadcast_to(np.float32(spacing), 2).copy()
    return Record(image, masks, np.ones(len(masks), bool), "p", "r", "", spacing_mm, unit)


def disc(size, radius, centre):
    rows, columns = np.indices((size, size))
    return ((rows - centre) ** 2 + (columns - centre) ** 2 <= radius**2)[None]


def test_hounsfield_units_are_clipped_at_the_window(make_settings):
    settings = make_settings("x", window_hu=(-1000.0, 400.0))
    image = transforms.window(record_of([[-3024, -1000], [-300, 2000]]), settings).image
    np.testing.assert_allclose(image[..., 0], [[-1, -1], [0, 1]], atol=1e-6)
    assert image.dtype == np.float32


def test_unit_images_become_two_x_minus_one(make_settings):
    image = transforms.window(
        record_of([[0, 0.25], [0.5, 1]], unit="unit"), make_settings("x")
    ).image
    np.testing.assert_allclose(image[..., 0], [[-1, -0.5], [0, 1]], atol=1e-6)


def test_arbitrary_images_span_percentiles_of_each_channel(make_settings):
    ramp = np.arange(101, dtype=np.float32).reshape(1, 101)
    image = np.stack([ramp, 50 * ramp + 7], -1)
    settings = make_settings("x", percentiles=(10.0, 90.0))
    image = transforms.window(record_of(image, unit="arbitrary"), settings).image
    expected = np.clip((ramp - 10) / 80, 0, 1) * 2 - 1
    np.testing.assert_allclose(image[..., 0], expected, atol=1e-5)
    np.testing.assert_allclose(image[..., 1], expected, atol=1e-5)


def test_an_image_that_windowing_makes_constant_is_refused(make_settings):
    with pytest.raises(
        InputError, match=r"x: record 'r': the image is constant between \[-1000.0\] and \[400.0\]"
    ):
        transforms.window(record_of([[1000, 2000]]), make_settings("x"))
    mostly_black = np.zeros((20, 20))
    mostly_black[0, 0] = 1
    with pytest.raises(
        InputError, match=r"percentiles \(1.0, 99.0\) of the image are equal; widen"
    ):
        transforms.window(record_of(mostly_black, unit="arbitrary"), make_settings("x"))


@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_crop_and_pad_copy_pixels_around_the_middle(make_settings, n, size):
    image = np.random.default_rng(0).normal(size=(n, n)).astype(np.float32)
    masks = image[None] > 0
    fitted, _ = transforms.fit(
        record_of(image, masks), make_settings("x", size=size), background=BLACK
    )
    # pixel n // 2 becomes pixel size // 2
    padded = np.pad(image, 4, constant_values=-1)
    start = 4 + n // 2 - size // 2
    part = slice(start, start + size)
    np.testing.assert_array_equal(fitted.image[..., 0], padded[part, part])
    np.testing.assert_array_equal(fitted.masks[0], padded[part, part] > 0)


def test_cropping_twice_is_cropping_once(make_settings):
    record = record_of(np.random.default_rng(0).normal(size=(71, 71)))
    once, _ = transforms.fit(record, make_settings("x", size=30), background=BLACK)
    between, _ = transforms.fit(record, make_settings("x", size=45), background=BLACK)
    twice, _ = transforms.fit(between, make_settings("x", size=30), background=BLACK)
    np.testing.assert_array_equal(once.image, twice.image)


@pytest.mark.parametrize("spacing", [0.4, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("radius_mm", [4.0, 15.0])
def test_resampling_keeps_areas_in_mm(make_settings, spacing, radius_mm):
    n = int(60 / spacing)
    record = record_of(np.zeros((n, n)), disc(n, radius_mm / spacing, n // 2), spacing=spacing)
    fitted, cut = transforms.fit(
        record, make_settings("x", size=100, spacing_mm=0.6), background=BLACK
    )
    area = record.masks.sum() * spacing**2
    assert fitted.masks.sum() * 0.6**2 == pytest.approx(area, rel=0.05)
    assert not cut
    np.testing.assert_array_equal(fitted.spacing_mm, np.full(2, 0.6, np.float32))


def test_resampling_is_exact_for_linear_images_and_uses_each_axis_spacing(make_settings):
    rows, columns = np.indices((40, 40), np.float32) - 20
    record = record_of(rows + 100 * columns, spacing=(1.0, 0.5))
    fitted, _ = transforms.fit(record, make_settings("x", size=9, spacing_mm=0.5), background=BLACK)
    rows, columns = np.indices((9, 9)) - 4
    np.testing.assert_allclose(fitted.image[..., 0], rows / 2 + 100 * columns, atol=1e-3)


def test_shrinking_averages_the_pixels_between(make_settings):
    chessboard = np.indices((64, 64)).sum(0) % 2
    settings = make_settings("x", size=16, spacing_mm=4.0)
    fitted, _ = transforms.fit(record_of(chessboard, spacing=1.0), settings, background=BLACK)
    np.testing.assert_allclose(fitted.image[4:12, 4:12], 0.5, atol=0.02)


def test_unknown_spacing_resamples_nothing(make_settings):
    image = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    fitted, _ = transforms.fit(
        record_of(image), make_settings("x", spacing_mm=0.5), background=BLACK
    )
    np.testing.assert_array_equal(fitted.image[..., 0], image)
    assert np.isnan(fitted.spacing_mm).all()


def test_a_mask_beyond_the_crop_is_reported(make_settings):
    image = np.zeros((20, 20))
    for radius, expected in ((4, False), (6, True)):
        record = record_of(image, disc(20, radius, 10))
        assert transforms.fit(record, make_settings("x", size=10), background=BLACK)[1] == expected


def test_the_background_of_each_channel_fills_the_border(make_settings):
    record = record_of(np.ones((4, 4, 2)))
    fitted, _ = transforms.fit(
        record, make_settings("x", size=8), background=np.array([-1000, 5], np.float32)
    )
    np.testing.assert_array_equal(fitted.image[0, 0], [-1000, 5])
    np.testing.assert_array_equal(fitted.image[4, 4], [1, 1])
