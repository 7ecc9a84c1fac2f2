"""Distances between surfaces: closed forms of boxes and balls, invariances, empty masks."""

import numpy as np
import pytest

from prosona_jax.evaluation import surfaces

ONES = np.ones(3)


def boxes(*corners, size=(4, 6, 5), shape=(20, 24, 22)):
    masks = np.zeros((len(corners), *shape), bool)
    for mask, corner in zip(masks, corners, strict=True):
        mask[tuple(slice(at, at + n) for at, n in zip(corner, size, strict=True))] = True
    return masks


def between(masks, spacing_mm=ONES):
    return surfaces.between(*surfaces.of_masks(masks, np.asarray(spacing_mm, float)))


def ball(centre, radius, shape=(40, 40, 60)):
    at = np.indices(shape) - np.array(centre)[:, None, None, None]
    return (at**2).sum(axis=0) <= radius**2


def test_equal_masks_have_no_distance():
    assert between(boxes((2, 2, 2), (2, 2, 2))) == (0.0, 0.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.5, 0.7)])
def test_flat_plates_lie_as_far_apart_as_they_are_shifted(axis, spacing):
    """All of a plate of one voxel is surface, and every voxel has the same distance: the shift."""
    size, shift = [12, 12, 12], [0, 0, 0]
    size[axis], shift[axis] = 1, 3
    found = between(boxes((4, 4, 4), np.add(4, shift), size=size), spacing)
    assert found == pytest.approx((3 * spacing[axis], 3 * spacing[axis]))


def test_a_shifted_box_has_the_distances_that_are_counted_by_hand():
    """A bar of one voxel by one by ten, shifted by two along itself.

    Eight of its ten voxels lie on the other bar; the last ones are 1 and 2 voxels beyond. The 95th
    percentile of (0 x 8, 1, 2) is at rank 0.95 x 9 = 8.55: 1.55.
    """
    found = between(boxes((3, 3, 3), (3, 3, 5), size=(1, 1, 10)), (1, 1, 2))
    assert found.assd == pytest.approx(2 * (1 + 2) / 10)
    assert found.hd95_max == pytest.approx(2 * 1.55)


def test_concentric_balls_lie_apart_by_the_difference_of_their_radii():
    masks = np.stack([ball((20, 20, 30), 8), ball((20, 20, 30), 14)])
    found = between(masks)
    assert found.assd == pytest.approx(6, abs=0.35)
    assert found.hd95_max == pytest.approx(6, abs=0.6)


def test_a_ball_shifted_by_a_little_has_half_of_the_shift_as_mean_distance():
    """The distance at angle t is |shift cos t|, and its mean over the sphere is shift / 2."""
    masks = np.stack([ball((20, 20, 28), 14), ball((20, 20, 30), 14)])
    assert between(masks).assd == pytest.approx(1, abs=0.2)
    assert between(masks).hd95_max == pytest.approx(2, abs=0.3)


def test_the_larger_direction_decides_hd95():
    """A voxel inside of a long bar: from the voxel it is 0, from the bar's end it is far."""
    masks = np.zeros((2, 1, 1, 41), bool)
    masks[0, 0, 0, 20] = True
    masks[1] = True
    far = np.percentile(np.abs(np.arange(41) - 20), 95)
    assert between(masks).hd95_max == pytest.approx(far)
    assert between(masks[::-1]) == between(masks)
    assert between(masks).assd == pytest.approx((0 + 2 * sum(range(21))) / 42)


def test_where_the_masks_lie_and_what_else_is_there_does_not_matter():
    rng = np.random.default_rng(0)
    one = rng.random((2, 6, 8, 7)) > 0.6
    moved = np.zeros((2, 16, 20, 18), bool)
    moved[:, 5:11, 9:17, 3:10] = one
    assert between(moved) == pytest.approx(between(one))
    more = np.concatenate([moved, np.ones((1, 16, 20, 18), bool)])
    first, second, _ = surfaces.of_masks(more, ONES)
    assert surfaces.between(first, second) == pytest.approx(between(one))


def test_lengths_scale_with_the_voxels():
    one = np.random.default_rng(0).random((2, 6, 8, 7)) > 0.6
    assert between(one, 2.5 * ONES) == pytest.approx(tuple(2.5 * x for x in between(one)))


def test_an_empty_mask_has_no_distance():
    masks = boxes((2, 2, 2), (2, 2, 2))
    masks[1] = False
    assert np.isnan(between(masks)).all()
    assert surfaces.of_masks(np.zeros((2, 3, 3, 3), bool), ONES) == [None, None]
