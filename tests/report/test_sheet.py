"""The sheet of a scan: which slices are shown, in which order, with which contours."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from prosona_jax.report import figures, sheet
from tests.report.test_overlay import contours

SPACING = np.array([0.5, 0.75], np.float32)


def draw(count=6, masked=(2, 3, 4), start=3):
    images = {k: np.full((40, 60), k / 10, np.float32) for k in range(count)}
    masks = {k: np.zeros((2, 40, 60), np.uint8) for k in masked}
    for k, each in masks.items():
        each[0, 20:28, 30 : 32 + k] = each[1, 18:30, 28:40] = 1
    return masks, sheet.draw(images, masks, ["a", "b"], start=start, spacing_mm=SPACING)


def test_slices_are_in_order_after_the_whole_slice():
    masks, figure = draw()
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == [
        "slice 3, whole", "slice 0", "slice 1", "slice 2", "slice 3, of the point", "slice 4",
        "slice 5",
    ]  # fmt: skip
    for ax, k in zip(shown, (3, 0, 1, 2, 3, 4, 5), strict=True):
        assert np.asarray(ax.images[0].get_array())[0, 0] == pytest.approx(k / 10)
        lines = contours(ax)
        assert len(lines) == (2 if k in masks else 0)
        for n, line in enumerate(lines):
            (expected,) = figures.outlines(masks[k][n])
            np.testing.assert_array_equal(np.stack(line.get_data(), axis=1)[:, ::-1], expected)
            assert to_hex(line.get_color()).upper() == figures.RATERS[n]
    views = {(ax.get_xlim(), ax.get_ylim()) for ax in shown[1:]}
    assert len(views) == 1
    assert shown[0].get_xlim() == (-0.5, 59.5)
    assert figures.png(figure).startswith(b"\x89PNG")


def test_few_places_stay_empty():
    for count, (columns, rows) in {1: (2, 1), 3: (4, 1), 9: (5, 2), 11: (6, 2), 12: (5, 3)}.items():
        figure = draw(count, masked=(0,), start=0)[1]
        grid = figure.axes[0].get_gridspec()
        assert (grid.ncols, grid.nrows) == (columns, rows), count


def test_of_many_slices_the_first_the_last_and_the_points_are_shown():
    assert sheet.choose(range(5, 28), 9) == list(range(5, 28))
    for start in (0, 1, 50, 98, 99):
        chosen = sheet.choose(range(100), start)
        assert len(chosen) == 23
        assert chosen == sorted(set(chosen))
        assert {0, start, 99} <= set(chosen)
        assert max(np.diff(chosen)) <= 9
