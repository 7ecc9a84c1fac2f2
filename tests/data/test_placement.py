"""Resampling from an image to the model's grid and back: copies, areas, centroids, corners."""

import collections
import pathlib

import numpy as np
import pytest

from data_pipelines import images, sources, transforms
from data_pipelines.images.picture import Picture
from prosona_jax.types import InputError


def picture(image, unit="HU", spacing=np.nan):
    image = np.asarray(image, np.float32)
    image = image if image.ndim == 3 else image[..., None]
    spacing_mm = np.broadcast_to(np.float32(spacing), 2).copy()
    return Picture(image, unit, spacing_mm, pathlib.Path("x.png"), "png", None)


def noise(*shape):
    return np.random.default_rng(0).uniform(-1000, 400, shape).astype(np.float32)


def smooth_disc(shape, centre, radius):
    """Returns a disc whose probability falls smoothly at its border and is 1/2 at the radius."""
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return (1 / (1 + np.exp(distance - radius)))[None].astype(np.float32)


def test_an_image_is_prepared_as_a_training_record_is(make_npz, make_settings):
    path = make_npz()
    for changes in ({"size": 12}, {"size": 32}, {"size": 24, "spacing_mm": 0.5}):
        settings = make_settings(path, **changes)
        records = list(sources.records(settings, collections.Counter()))
        for k in (0, 7):
            windowed = transforms.window(records[k], settings)
            expected, _ = transforms.fit(windowed, settings, background=np.float32(-1))
            _, found, _ = images.to_model(images.read(path, slice_index=k), settings)
            np.testing.assert_array_equal(found, expected.image, strict=True)


@pytest.mark.parametrize("point", [(0, 0), (39, 49), (20.4, 7.6), (12.5, 0.0)])
def test_the_pixel_at_the_point_becomes_the_middle(make_settings, point):
    settings = make_settings("x", size=16)
    values = noise(40, 50)
    _, found, placement = images.to_model(picture(values)._replace(point=point), settings)
    row, column = int(point[0] + 0.5), int(point[1] + 0.5)
    padded = np.pad((values + 1000) / 700 - 1, 8, constant_values=-1)
    expected = padded[row : row + 16, column : column + 16]  # 8 pixels before the point, 7 after it
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-6)
    assert placement.positions()[0][8] == row
    assert placement.positions()[1][8] == column


@pytest.mark.parametrize(
    "point", [(-1, 0), (0, 50), (40, 3), (float("nan"), 1), (39.5, 0), (1, float("inf"))]
)
def test_a_point_outside_is_refused(tmp_path, point):
    path = tmp_path / "x.npz"
    np.savez(path, image=noise(40, 50), intensity_unit="arbitrary")
    with pytest.raises(InputError) as error:
        images.read(path, point=point)
    assert str(error.value) == (
        f"{path}: the point ({point[0]:g}, {point[1]:g}) is outside of the image; give "
        "(row, column) within 0..39 and 0..49"
    )


def test_an_image_that_windowing_makes_constant_is_refused(make_settings):
    bright = picture(noise(9, 9) + 3000)
    with pytest.raises(InputError, match=r"^x.png: the image is constant between \[-1000.0\]"):
        images.to_model(bright, make_settings("elsewhere"))


@pytest.mark.parametrize("size", [15, 16, 64])
@pytest.mark.parametrize("point", [None, (0, 0), (22, 30), (3.2, 29)])
def test_at_scale_1_the_way_back_is_exact(make_settings, size, point):
    values = noise(23, 31)
    _, _, placement = images.to_model(
        picture(values)._replace(point=point), make_settings("x", size=size)
    )
    probs = np.random.default_rng(1).uniform(size=(3, size, size)).astype(np.float32)
    row, column = (11, 15) if point is None else (int(point[0] + 0.5), int(point[1] + 0.5))
    expected = np.zeros((3, 23 + 2 * size, 31 + 2 * size), np.float32)
    top, left = row + size - size // 2, column + size - size // 2
    expected[:, top : top + size, left : left + size] = probs
    expected = expected[:, size : size + 23, size : size + 31]
    np.testing.assert_array_equal(images.from_model(probs, placement), expected, strict=True)


@pytest.mark.parametrize("spacing", [(0.3, 0.3), (0.6, 0.6), (0.9, 0.9), (1.4, 1.4), (0.5, 1.1)])
@pytest.mark.parametrize("place", ["middle", "off the middle", "corner"])
def test_a_disc_goes_to_the_model_and_back(make_settings, spacing, place):
    """The disc is evaluated on the model's grid, so the test depends only on the geometry."""
    settings = make_settings("x", size=64, spacing_mm=0.6)
    spacing_mm = np.float32(spacing)
    shape = tuple(int(n) for n in 48 / spacing_mm)
    centre = {"middle": None, "off the middle": (11.3, 20.8), "corner": (0, 0)}[place]
    _, _, placement = images.to_model(
        picture(noise(*shape), spacing=spacing)._replace(point=centre), settings
    )
    # The disc of 9 mm lies around the model's middle, 1 pixel = 0.6 mm.
    back = images.from_model(smooth_disc((64, 64), (32, 32), 15), placement)[0] >= 0.5
    row, column = (
        (shape[0] // 2, shape[1] // 2) if centre is None else [int(c + 0.5) for c in centre]
    )
    rows, columns = np.indices(shape)
    distance_mm = np.hypot((rows - row) * spacing_mm[0], (columns - column) * spacing_mm[1])
    exact = distance_mm <= 9
    assert back.shape == shape
    assert back.sum() == pytest.approx(exact.sum(), rel=0.05)
    for axis in (rows, columns):
        assert axis[back].mean() == pytest.approx(axis[exact].mean(), abs=0.5)


def test_the_inverse_placement(make_settings):
    settings = make_settings("x", size=10, spacing_mm=0.5)
    placement = transforms.place((30, 40), np.float32([1.0, 0.25]), settings, centre=(4, 9))
    inverse = placement.inverse()
    assert inverse.shape == (30, 40)
    assert inverse.below == (10, 10)
    # Pixel (4, 9) lies on the model's pixel (5, 5); a row is 2 of its rows, a column half of one.
    assert inverse.positions()[0][4] == 5
    assert inverse.positions()[0][3] == 3
    assert inverse.positions()[1][9] == 5
    assert inverse.positions()[1][11] == 6
    for name in ("start", "step"):
        np.testing.assert_allclose(getattr(inverse.inverse(), name), getattr(placement, name))
