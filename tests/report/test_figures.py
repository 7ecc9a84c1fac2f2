"""Figures show contours and maps at the right position, and equal input gives equal bytes."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from prosona_jax.report import figures

ORANGE = np.array(to_rgb("#E69F00"))  # the first rater's contour
ROWS, COLUMNS = slice(6, 10), slice(12, 18)


def _panel(**changes):
    masks = np.zeros((3, 32, 40), np.uint8)
    masks[:, ROWS, COLUMNS] = 1
    panel = figures.Panel(
        record_id="a",
        image=np.full((32, 40), -1, np.float32),
        masks=masks,
        rater_valid=np.array([True, False, False]),
        probs=np.stack([masks[0], masks[0], 0 * masks[0], masks[0]]).astype(np.float32),
        prompted=None,
        spacing_mm=np.array([0.5, 0.5], np.float32),
    )
    return panel._replace(**changes)


def _decode(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _titles(figure):
    return [ax.get_title() for ax in figure.axes[:5]]


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def test_outline_of_a_square_runs_between_its_pixels_and_their_neighbours():
    mask = np.zeros((12, 20), np.uint8)
    mask[3:7, 10:16] = 1
    (line,) = figures.outlines(mask)
    np.testing.assert_array_equal(line[0], line[-1])
    np.testing.assert_array_equal(line.min(0), [2.5, 9.5])
    np.testing.assert_array_equal(line.max(0), [6.5, 15.5])
    row, column = line.T
    area = 0.5 * abs(row[:-1] @ column[1:] - row[1:] @ column[:-1])
    assert area == pytest.approx(4 * 6 - 4 / 8)  # each of the 4 corners cuts off 1/8 pixel


def test_outline_at_the_border_is_closed_and_an_empty_mask_has_none():
    (line,) = figures.outlines(np.ones((4, 5), np.uint8))
    np.testing.assert_array_equal([line.min(0), line.max(0)], [[-0.5, -0.5], [3.5, 4.5]])
    assert figures.outlines(np.zeros((4, 5), np.float32)) == []


def test_outline_of_probabilities_interpolates_to_one_half():
    probs = np.tile(np.linspace(0, 1, 9, dtype=np.float32), (7, 1))  # one half in column 4
    probs[:, 8] = 0  # probabilities fall from 7/8 to 0: one half at column 7 + 3/7
    (line,) = figures.outlines(probs)
    middle = line[np.abs(line[:, 0] - 3) < 0.1, 1]
    np.testing.assert_allclose(np.sort(middle), [4, 7 + 3 / 7], rtol=1e-6)


def test_panel_draws_the_contour_where_the_mask_is():
    figure = figures.panel(_panel())
    pixels = _decode(figures.png(figure)) / 255
    near = np.abs(pixels - ORANGE).max(-1) < 0.05
    y, x = np.nonzero(near)
    scale = figures.DPI / figure.dpi
    display = np.stack([x + 0.5, len(pixels) - y - 0.5], axis=1) / scale
    column, row = figure.axes[1].transData.inverted().transform(display).T
    for drawn, span in ((row, ROWS), (column, COLUMNS)):  # within the line's width
        assert drawn.min() == pytest.approx(span.start - 0.5, abs=0.2)
        assert drawn.max() == pytest.approx(span.stop - 0.5, abs=0.2)


def test_panel_maps_are_shares_of_valid_raters_and_of_samples():
    panel = _panel(rater_valid=np.array([True, True, False]))
    panel.masks[1] = 0
    figure = figures.panel(panel)
    raters, samples = (figure.axes[i].images[0].get_array() for i in (3, 4))
    np.testing.assert_array_equal(raters, panel.masks[:2].mean(0))
    np.testing.assert_array_equal(samples, 0.75 * panel.masks[0])
    assert _titles(figure) == [
        "Image, 32 × 40 px", "2 raters, 1 empty", "4 of 4 samples, 1 empty",
        "Share of raters", "Share of samples",
    ]  # fmt: skip


def test_panel_leaves_out_missing_raters_and_samples_beyond_the_limit():
    figure = figures.panel(_panel(), max_samples=3)
    assert _titles(figure)[1:3] == ["1 rater", "3 of 4 samples, 1 empty"]
    assert len(figure.axes[1].lines) - 1 == 1  # without the scale bar
    assert len(figure.axes[2].lines) == 2  # the third of the three is empty


def test_panel_enlarges_the_drawn_part_and_shows_the_whole_image_without_one():
    limits = {ax.get_xlim() + ax.get_ylim() for ax in figures.panel(_panel()).axes[1:5]}
    assert limits == {(6.5, 22.5, 15.5, -0.5)}  # 16 px is the minimum, around columns 12..17
    blank = _panel(masks=np.zeros((3, 32, 40), np.uint8), probs=np.zeros((4, 32, 40), np.float32))
    ax = figures.panel(blank).axes[1]
    assert ax.get_xlim() + ax.get_ylim() == (-0.5, 39.5, 31.5, -0.5)


def test_panel_without_any_valid_rater_has_an_empty_map():
    figure = figures.panel(_panel(rater_valid=np.zeros(3, bool)))
    assert not figure.axes[3].images[0].get_array().any()


def test_scale_bar_has_a_round_length_and_needs_a_spacing():
    figure = figures.panel(_panel(spacing_mm=np.array([1.0, 0.5], np.float32)))
    assert _texts(figure.axes[0]) == ["5 mm"]  # of 20 mm
    assert _texts(figure.axes[1]) == ["2 mm"]  # of 8 mm
    assert np.ptp(figure.axes[0].lines[0].get_xdata()) == pytest.approx(5 / 20)
    assert figure.axes[0].get_aspect() == 2
    unknown = figures.panel(_panel(spacing_mm=np.full(2, np.nan, np.float32)))
    assert _texts(unknown.axes[0]) == []
    assert unknown.axes[0].get_aspect() == 1


@pytest.mark.parametrize(
    ("spacing_mm", "label", "share"),
    [
        (0.02, "200 µm", 0.2 / 0.8),  # the picture is 0.8 mm wide; at most 0.32 mm are allowed
        (2.5e-3, "20 µm", 0.2),  # the picture is 100 µm wide; 50 µm would be too long
        (0.0625, "1 mm", 0.4),  # exactly 40 % of the picture
        (5e-5, None, None),  # the picture is 2 µm wide
    ],
)
def test_scale_bar_of_a_small_picture_is_shorter_or_left_out(spacing_mm, label, share):
    ax = figures.panel(_panel(spacing_mm=np.full(2, spacing_mm, np.float32))).axes[0]
    assert _texts(ax) == ([label] if label else [])
    assert [np.ptp(line.get_xdata()) for line in ax.lines] == (
        [pytest.approx(share)] if label else []
    )


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.5), (np.nan, np.nan)])
def test_every_picture_has_the_true_aspect_ratio_of_the_pixels(spacing_mm):
    panel = _panel(spacing_mm=np.array(spacing_mm, np.float32))
    panel = panel._replace(prompted=panel.masks.astype(np.float32))
    names, probs = ("small", "middle", "large"), panel.masks.astype(np.float32)
    figures_of = {
        "panel": (figures.panel(panel), 5),
        "styles": (figures.styles_panel(panel, names), 4),
        "walk": (figures.walk(panel, probs, names, pictures=3), 3),
    }
    for name, (figure, pictures) in figures_of.items():
        shown = [ax for ax in figure.axes if ax.images][:pictures]  # the last one is the colour bar
        assert len(shown) == pictures, name
        assert {ax.get_aspect() for ax in shown} == {1.0 if np.isnan(spacing_mm[0]) else 2.0}, name
        windows = {ax.get_xlim() + ax.get_ylim() for ax in shown[name == "panel" :]}
        assert windows == {(6.5, 22.5, 15.5, -0.5)}, name
        for ax in shown[: 3 if name == "panel" else pictures]:
            np.testing.assert_array_equal(ax.images[0].get_array(), panel.image)
            assert ax.images[0].get_clim() == (-1, 1)


def test_the_walk_has_areas_in_mm2_if_the_pixels_have_a_size():
    areas = {}
    for label, spacing_mm in (("area, mm²", (2.0, 0.25)), ("area, pixels", (np.nan, np.nan))):
        panel = _panel(spacing_mm=np.array(spacing_mm, np.float32))
        figure = figures.walk(panel, panel.masks.astype(np.float32), ("a", "b", "c"), pictures=2)
        ax = figure.axes[-1]
        assert ax.get_ylabel() == label
        path, *dots = (line.get_ydata() for line in ax.lines)
        areas[label] = path.tolist()
        assert [float(dot[0]) for dot in dots] == path[panel.rater_valid].tolist()
    assert areas["area, mm²"] == [0.5 * area for area in areas["area, pixels"]]


def test_a_footnote_adds_height_and_is_not_read_as_a_formula():
    bare = _decode(figures.png(figures.panel(_panel())))
    noted = _decode(figures.png(figures.panel(_panel()), footnote="costs $1 or $2_x, " * 40))
    assert bare.shape[:2] == (430, 2000)
    assert noted.shape[1] == 2000
    assert noted.shape[0] > 430 + 50
    assert (noted[460:] < 128).any()


def test_png_is_deterministic():
    first, second = (figures.png(figures.panel(_panel()), footnote="Data: A") for _ in range(2))
    assert first == second
