"""Following an object through slices, with a drawer that knows where balls lie."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from configs import lidc
from data_pipelines import transforms
from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from data_pipelines.scans.geometry import Geometry
from data_pipelines.settings import Settings
from prosona_jax.prediction import lesion, on_scan, scan_segmentation
from prosona_jax.prediction.seen import Seen
from prosona_jax.types import ConstantImage

SIDE, SLICES = 40, 12


def _ball(middle, radius):
    grid = np.moveaxis(np.indices((SLICES, SIDE, SIDE)), 0, -1)
    return np.linalg.norm(grid - middle, axis=-1) <= radius


def _scan(*balls):
    """Returns `see` and `draw` of a scan whose contours are these balls, and the places seen."""
    volume, seen = np.zeros((SLICES, SIDE, SIDE), bool), {}
    for middle, radius in balls:
        volume |= _ball(middle, radius)
    settings = Settings.from_config(_config())

    def see(k, point):
        seen[k] = point
        centre = tuple(int(x + 0.5) for x in point)
        placement = transforms.place((SIDE, SIDE), np.full(2, np.nan), settings, centre=centre)
        features = transforms.sample(
            volume[k][None].astype(np.float32), placement, background=np.float32(0)
        )
        empty = np.zeros((SIDE, SIDE, 1), np.float32)
        picture = Picture(empty, "HU", np.ones(2, np.float32), pathlib.Path("x"), "npz", None)
        return Seen(picture, empty, placement, (jnp.asarray(features), None), empty[..., 0], (), ())

    return see, lambda encoded: np.asarray(encoded[0]), seen


def _config():
    data = lidc.get_config("smoke").data
    data.size, data.spacing_mm = 24, 0.0
    return data


def _measured(spacing_mm, geometry):
    return Scan(
        path=pathlib.Path("x"), format="nifti", count=4, shape=(2, 2), spacing_mm=spacing_mm,
        geometry=geometry, caveats=(), files=(), read_slice=lambda k: None, origin=None,
    )  # fmt: skip


def test_it_follows_one_of_two_objects_to_both_ends():
    near, far = ((6, 14, 15), 4.2), ((6, 32, 33), 3.0)
    see, draw, seen = _scan(near, far)
    found = lesion.follow(6, (14.0, 15.0), SLICES, see, draw, draw).slices
    assert list(found) == [3, 4, 5, 6, 7, 8, 9]  # 5 of 57 pixels are left on slices 2 and 10
    expected = _ball(*near)
    for k, each in found.items():
        np.testing.assert_array_equal(each.mask(0), expected[k])
    # Both ends were looked at, around the middle of the slice before.
    assert {2, 10} < set(seen)
    assert seen[10] == pytest.approx((14, 15))


def test_a_contour_does_not_depend_on_the_others_that_are_drawn_with_it():
    """A second contour, wider and with another middle, moves no crop, and may end later."""
    see, draw, seen = _scan(((6, 14, 15), 4.2))
    alone = lesion.follow(6, (14.0, 15.0), SLICES, see, draw, draw).slices
    middles = dict(seen)

    def wide(encoded):
        own = draw(encoded)
        return np.concatenate([own, np.maximum(own, np.roll(own, 6, axis=2)), np.ones_like(own)])

    both = lesion.follow(6, (14.0, 15.0), SLICES, see, wide, draw).slices
    assert set(alone) < set(both)
    for k, middle in middles.items():
        assert seen[k] == pytest.approx(middle)
    for k, each in both.items():
        expected = alone[k].mask(0) if k in alone else np.zeros((SIDE, SIDE), np.uint8)
        np.testing.assert_array_equal(each.mask(0), expected)
    assert both[0].mask(2).any()


def test_the_slice_of_the_point_is_returned_if_nothing_is_there():
    see, draw, _ = _scan()
    found = lesion.follow(3, (5.0, 5.0), SLICES, see, draw, draw).slices
    assert list(found) == [3]
    assert not found[3].mask(0).any()


def test_a_contour_ends_below_a_tenth_of_its_largest_area():
    """A vessel leaves a disc of 49 pixels; whether it is followed depends on its own contour."""
    areas = {4: (49, 49), 5: (49, 49), 6: (4, 5), 7: (49, 5), 8: (0, 4), 9: (0, 5)}
    see, _, seen = _scan()
    nearest = np.linalg.norm(np.indices((24, 24)) - 12.0, axis=0).ravel().argsort(kind="stable")

    def drawn(encoded):
        (k,) = [k for k in seen if k not in done]
        done.add(k)
        probs = np.zeros((2, 24, 24), np.float32)
        for n, area in enumerate(areas.get(k, (0, 0))):
            probs[n].flat[nearest[:area]] = 1
        return probs

    done, disc = set(), np.zeros((1, 24, 24), np.float32)
    disc[0].flat[nearest[:49]] = 1
    found = lesion.follow(5, (20.0, 20.0), SLICES, see, drawn, lambda encoded: disc).slices
    assert {k: each.reached.tolist() for k, each in found.items()} == {
        4: [True, True], 5: [True, True], 6: [False, True], 7: [False, True],
    }  # fmt: skip
    assert {k: int(each.mask(1).sum()) for k, each in found.items()} == {4: 49, 5: 49, 6: 5, 7: 5}
    assert not found[7].mask(0).any()


def test_padding_ends_an_object_but_not_at_the_point():
    see, draw, _ = _scan(((6, 14, 15), 4.2))

    def padded(k, point):
        if k >= 8:
            raise ConstantImage("constant")
        return see(k, point)

    found = lesion.follow(6, (14.0, 15.0), SLICES, padded, draw, draw)
    assert list(found.slices) == [3, 4, 5, 6, 7]
    assert found.padding == [8]
    with pytest.raises(ConstantImage):
        lesion.follow(8, (14.0, 15.0), SLICES, padded, draw, draw)


def test_a_point_beside_an_object_takes_the_nearest():
    mask = np.zeros((9, 9), np.uint8)
    mask[1:3, 1:3] = mask[6:8, 5:8] = 1
    part = lesion.at_point(mask, (4.9, 5.0))
    assert part[6:8, 5:8].all()
    assert part.sum() == 6


def test_one_object_is_connected_in_3d_and_has_no_holes():
    ball = _ball((6, 14, 15), 4.2) & ~_ball((6, 14, 15), 1.2)
    both = ball | _ball((6, 32, 33), 3.0)
    masks = {k: both[k].astype(np.uint8) for k in range(2, 11)}
    own = lesion.one_object(masks, 6, (14.0, 19.0))
    np.testing.assert_array_equal(np.stack(list(own.values())), ball[2:11])
    filled = lesion.without_holes(own)
    np.testing.assert_array_equal(np.stack(list(filled.values())), _ball((6, 14, 15), 4.2)[2:11])


def test_a_slice_reaches_halfway_to_its_neighbours():
    positions = np.array([[0, 0, z] for z in (0.0, 2.0, 5.0, 6.0)])
    steps = np.array([[0, 0.5, 0], [0.5, 0, 0]])
    scan = _measured(np.array([2.0, 0.5, 0.5]), Geometry(positions, steps))
    mask = np.ones((2, 2), np.uint8)  # 1 mm2
    for k, mm in enumerate((2.0, 2.5, 2.0, 1.0)):
        found = scan_segmentation.volume_ml(scan, {k: mask})
        assert found == pytest.approx(mm / 1000)
    assert scan_segmentation.volume_ml(_measured(np.full(3, np.nan), None), {0: mask}) is None


def test_a_margin_reaches_the_next_slices():
    """Around a single voxel, a margin is a ball, to half a voxel."""
    scan = _measured(np.array([2.0, 1.0, 1.0]), None)
    scan = dataclasses.replace(scan, count=9, shape=(SIDE, SIDE))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20, 11] = 1
    grown = on_scan.add_margin({4: mask}, 4.5, scan)
    assert list(grown) == [2, 3, 4, 5, 6]
    grid = np.moveaxis(np.indices((9, SIDE, SIDE)), 0, -1) - np.array([4, 20, 11])
    ball = np.linalg.norm(grid * scan.spacing_mm, axis=-1) <= 5
    np.testing.assert_array_equal(np.stack(list(grown.values())), ball[2:7])
    shrunk = on_scan.add_margin(grown, -1.6, scan)
    assert 0 < sum(each.sum() for each in shrunk.values()) < ball.sum()
