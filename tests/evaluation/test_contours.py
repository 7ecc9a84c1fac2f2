"""Measures of contours in mm: closed forms, a loop over pairs, invariances, what is unknown."""

import math

import numpy as np
import pytest

from prosona_jax.evaluation import contours, surfaces

ONES = np.ones(2)


def disc(radius, centre=(32, 32), size=64):
    rows, columns = np.indices((size, size))
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def box(top, left, height, width, size=24):
    mask = np.zeros((size, size), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def nsd(one, other, tolerance_mm, pixel_mm=ONES):
    pixel_mm = np.asarray(pixel_mm, float)
    return contours.nsd(*(contours.of_mask(m, pixel_mm) for m in (one, other)), tolerance_mm)


def measured(one, other, pixel_mm=ONES, tolerance_mm=1.0):
    """Returns the measures of one style and its rater."""
    return contours.of_styles(
        one[None], other[None].astype(np.uint8), np.ones(1, bool), np.float32(pixel_mm),
        tolerance_mm,
    )  # fmt: skip


@pytest.mark.parametrize(("radius", "apart"), [(4.0, 1.0), (5.0, 1.0), (4.0, 2.0)])
def test_concentric_discs_lie_apart_by_the_difference_of_their_radii(radius, apart):
    """On pixels of 0.1 mm all distances are that difference, up to the size of a pixel."""
    pair = [disc(10 * r, (70, 70), 141) for r in (radius, radius + apart)]
    near, far = (measured(*pair, (0.1, 0.1), apart + slack) for slack in (0.15, -0.15))
    assert near["assd_mm"] == pytest.approx(apart, abs=0.05)
    assert near["hd95_max_mm"] == pytest.approx(apart, abs=0.1)
    assert near["nsd_length"] == 1
    assert far["nsd_length"] == 0
    assert near["undefined"] == 0


def test_pixels_are_no_voxels():
    """A disc's inner pixels are no border, although no slice lies above or below them."""
    (found,) = surfaces.of_masks(disc(9)[None], ONES)
    assert 40 < found.voxels.sum() < 2 * np.pi * 9


def test_the_contour_of_a_rectangle_has_straight_sides_and_four_cut_corners():
    pixel_mm = np.array([2.0, 0.5])
    length = contours.of_mask(box(3, 4, 6, 9), pixel_mm).length_mm
    assert length.sum() == pytest.approx(2 * 5 * 2.0 + 2 * 8 * 0.5 + 4 * math.hypot(2, 0.5) / 2)
    edge = contours.of_mask(box(0, 0, 6, 9), pixel_mm).length_mm  # the image ends there
    assert edge.sum() == pytest.approx(length.sum())


def test_two_pixels_that_touch_at_a_corner_have_two_contours_in_the_cell_between():
    length = contours.of_mask(np.eye(2, dtype=bool), ONES).length_mm
    assert length[1, 1] == pytest.approx(math.sqrt(2))
    assert length.sum() == pytest.approx(8 * math.sqrt(2) / 2)


@pytest.mark.parametrize(("height", "width", "more"), [(5, 6, 3), (8, 4, 7)])
def test_a_rectangle_that_ends_later_has_the_nsd_that_is_counted_by_hand(height, width, more):
    """Left, top and bottom of both agree; a's right side and what b has beyond it do not."""
    perimeter = lambda w: 2 * (height - 1) + 2 * (w - 1) + 2 * math.sqrt(2)  # noqa: E731
    of_a = (height - 1) + 2 * (width - 1) + 2 * math.sqrt(2)
    of_b = (height - 1) + 2 * width + math.sqrt(2)
    found = nsd(box(5, 5, height, width), box(5, 5, height, width + more), 0.5)
    assert found == pytest.approx((of_a + of_b) / (perimeter(width) + perimeter(width + more)))


def test_nsd_is_that_of_a_loop_over_all_pairs_of_cells():
    rng = np.random.default_rng(0)
    pixel_mm = np.array([0.7, 0.4])
    for _ in range(5):
        pair = rng.random((2, 9, 8)) > 0.6
        lines = [contours.of_mask(mask, pixel_mm) for mask in pair]
        cells = [np.argwhere(line.length_mm > 0) * pixel_mm for line in lines]
        apart = np.linalg.norm(cells[0][:, None] - cells[1][None], axis=-1)
        for tolerance in (0.3, 0.75, 1.5):
            within = sum(
                line.length_mm[line.length_mm > 0][apart.min(axis=axis) <= tolerance].sum()
                for line, axis in zip(lines, (1, 0), strict=True)
            )
            total = sum(line.length_mm.sum() for line in lines)
            assert nsd(*pair, tolerance, pixel_mm) == pytest.approx(within / total)


@pytest.mark.parametrize(
    ("tolerance_mm", "expected"),
    [(0.5, 0.393693794782), (1.0, 0.560360461449), (2.0, 0.771766470642)],
)
def test_nsd_is_that_of_deepminds_surface_distance(tolerance_mm, expected):
    """Values of `compute_surface_dice_at_tolerance`, surface-distance 0.1."""
    pair = disc(8, (30, 31)), disc(10, (32, 30))
    assert nsd(*pair, tolerance_mm, (0.7, 0.5)) == pytest.approx(expected, abs=1e-11)


def test_the_order_place_and_unit_of_two_masks_do_not_matter():
    one, other = disc(9, (30, 31)), disc(11, (33, 30))
    expected = measured(one, other)
    moved = [np.roll(mask, (5, -7), (0, 1)) for mask in (one, other)]
    for found in (measured(other, one), measured(*moved), measured(one.T, other.T)):
        assert found == pytest.approx(expected)
    twice = measured(one, other, (2, 2), 2.0)
    for name in ("hd95_max_mm", "assd_mm"):
        assert twice[name] == pytest.approx(2 * expected[name])
    assert twice["nsd_length"] == pytest.approx(expected["nsd_length"])
    assert 0 < expected["nsd_length"] < 1


def test_a_distance_of_exactly_the_tolerance_is_within():
    """Ten pixels of 0.1 mm are a little more than 1 mm, since 0.1 is rounded to float32."""
    one, other = box(5, 2, 1, 4), box(15, 2, 1, 4)
    pixel_mm = np.float32([0.1, 0.1])
    assert 10 * float(pixel_mm[0]) > 1
    assert nsd(one, other, 1.0, pixel_mm) == 1
    assert nsd(one, other, 0.999, pixel_mm) < 1


def _styles():
    drawn = np.stack([disc(8), disc(10), disc(12)])
    masks = np.stack([disc(9), disc(10), disc(9)]).astype(np.uint8)
    return drawn, masks


def test_each_style_is_compared_with_its_own_rater():
    drawn, masks = _styles()
    found = contours.of_styles(drawn, masks, np.ones(3, bool), np.float32([1, 1]), 1.5)
    for k in range(3):
        alone = measured(drawn[k], masks[k], tolerance_mm=1.5)
        for name in contours.MEASURES:
            assert found[f"{name}_{k + 1}"] == pytest.approx(alone[name])
    for name in contours.MEASURES:
        assert found[name] == pytest.approx(np.mean([found[f"{name}_{k}"] for k in (1, 2, 3)]))
    order = [2, 0, 1]
    turned = contours.of_styles(
        drawn[order], masks[order], np.ones(3, bool), np.float32([1, 1]), 1.5
    )
    assert [turned[f"assd_mm_{k}"] for k in (1, 2, 3)] == [found[f"assd_mm_{k + 1}"] for k in order]
    assert turned["assd_mm"] == pytest.approx(found["assd_mm"])


def test_an_empty_mask_is_counted_and_a_missing_rater_is_not():
    drawn, masks = _styles()
    masks[0] = 0
    found = contours.of_styles(drawn, masks, np.array([True, False, True]), np.float32([1, 1]), 1.0)
    assert found["undefined"] == 1
    assert np.isnan([found[f"{name}_{k}"] for name in contours.MEASURES for k in (1, 2)]).all()
    assert found["assd_mm"] == found["assd_mm_3"] > 0
    nothing = contours.of_styles(
        np.zeros_like(drawn), np.zeros_like(masks), np.ones(3, bool), np.float32([1, 1]), 1.0
    )
    assert (nothing["undefined"], np.isnan(nothing["assd_mm"])) == (3, True)


def test_without_the_size_of_a_pixel_nothing_is_known():
    drawn, masks = _styles()
    unknown = np.full(2, np.nan, np.float32)
    found = contours.of_styles(drawn, masks, np.array([True, True, False]), unknown, 1.0)
    assert found.pop("undefined") == 2
    assert len(found) == 4 * len(contours.MEASURES)
    assert np.isnan(list(found.values())).all()
