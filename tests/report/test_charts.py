"""Charts show the given values."""

import numpy as np
import pytest

from prosona_jax.evaluation.calibration import Bins
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report import charts, figures


def test_curves_hold_the_given_values():
    given = {
        "kl": {
            "train": np.array([[1, 2, 3], [0.1, np.nan, 0.3]]),
            "validation": np.array([[2], [0.2]]),
        },
        "ged": {"validation": np.array([[2], [0.4]])},
    }
    figure = charts.curves(given)
    lines = {
        ax.get_title(): [(list(x.get_xdata()), list(x.get_ydata())) for x in ax.lines]
        for ax in figure.axes
    }
    assert lines["ged"] == [([2], [0.4])]
    assert lines["kl"][1] == ([2], [0.2])
    np.testing.assert_array_equal(lines["kl"][0], given["kl"]["train"])
    colours = [ax.lines[-1].get_color() for ax in figure.axes]
    assert colours[0] == colours[1]  # one colour for validation in every chart
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["train", "validation"]
    assert figure.get_figwidth() * figures.DPI == 1000


def test_the_colour_of_a_line_does_not_depend_on_the_order_of_charts():
    both = {name: np.array([[1], [0.5]]) for name in ("validation", "train")}
    for given in ({"a": both}, {"first": {"validation": both["validation"]}, "a": both}):
        figure = charts.curves(given)
        validation, train = (line.get_color() for line in figure.axes[len(given) - 1].lines)
        assert (train, validation) == tuple(figures.LINES[:2])
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["train", "validation"]
        assert [line.get_color() for line in legend.get_lines()] == [train, validation]


def test_every_style_has_a_star_and_a_missing_rater_has_no_ring():
    rng = np.random.default_rng(0)
    styles, raters = rng.normal(size=(2, 3, 2))
    raters[1] = np.nan
    figure = charts.latent_plane(
        samples=rng.normal(size=(9, 2)), path=styles, styles=styles, raters=raters,
        names=("small", "middle", "large"), axes=("z0", "z1"),
    )  # fmt: skip
    assert figures.png(figure).startswith(b"\x89PNG")  # without a warning
    rings, stars = figure.axes[0].collections[1::2], figure.axes[0].collections[2::2]
    for k in range(3):
        np.testing.assert_array_equal(stars[k].get_offsets(), styles[k : k + 1])
        shown = rings[k].get_offsets().compressed()
        np.testing.assert_array_equal(shown, raters[k] if k != 1 else [])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["samples of the prior", "path from style to style", "small", "middle", "large"]


NAMES = (
    "a_$x^2$",
    "_hidden",
    "W" * 99,
    "固い芯を" * 9,
    "ارسم حدودًا",
    "\u202e\x07",
    "\U0001f602 core",
)


def test_names_of_any_script_and_length_fit_into_the_figure():
    rng, k = np.random.default_rng(0), len(NAMES)
    plane = charts.latent_plane(
        samples=rng.normal(size=(9, 2)), path=rng.normal(size=(3, 2)), names=NAMES,
        styles=rng.normal(size=(k, 2)), raters=rng.normal(size=(k, 2)), axes=("z0", "z1"),
    )  # fmt: skip
    heat = charts.whose(NAMES, rng.uniform(size=(k, k)))
    masks = np.zeros((k, 20, 30), np.uint8)
    masks[:, 4:8, 5:9] = 1
    panel = figures.Panel(
        "a", masks[0].astype(np.float32), masks, np.ones(k, bool), masks.astype(np.float32),
        masks.astype(np.float32), np.ones(2, np.float32),
    )  # fmt: skip
    styles = figures.styles_panel(panel, NAMES)
    walk = figures.walk(panel, panel.probs, NAMES)
    drawn = {
        plane: plane.legends[0].get_texts()[2:],
        heat: [*heat.axes[0].get_xticklabels(), *heat.axes[0].get_yticklabels()],
        styles: [ax.title for ax in styles.axes[1 : k + 1]],
        walk: walk.axes[-1].get_xticklabels(),
    }
    for figure, names in drawn.items():
        figures.png(figure)  # without a warning
        figure.set_dpi(figures.DPI)
        figure.draw_without_rendering()
        assert [text.get_text() for text in names[:2]] == ["a_$x^2$", "_hidden"]
        assert names[5].get_text() == r"\u202e\x07"
        for text in names:
            box = text.get_window_extent()
            assert box.x0 >= 0 <= box.y0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1


def test_curves_hide_unused_axes():
    figure = charts.curves({str(i): {"train": np.array([[1], [i]])} for i in range(5)})
    assert [ax.get_visible() for ax in figure.axes] == [True] * 5 + [False] * 3


def test_a_forest_has_a_dot_and_a_line_for_each_method():
    given = {
        "Dice": {"a": Interval(80.0, 70.0, 90.0), "b": Interval(60.0, None, None)},
        "GED": {"b": Interval(0.2, 0.1, 0.4)},
    }
    dice, ged = charts.forest(given).axes
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in dice.lines]
    assert drawn == [([70, 90], [0, 0]), ([80], [0]), ([60], [1])]
    assert [list(line.get_ydata()) for line in ged.lines] == [[1, 1], [1]]
    assert [label.get_text() for label in dice.get_yticklabels()] == ["a", "b"]
    assert dice.get_ylim()[0] > dice.get_ylim()[1]  # the first method is on top


def test_each_cell_is_the_difference_to_the_mean_of_its_column():
    """The column means are .6 and .5; the third rater has no mask."""
    table = np.array([[0.7, 0.5, np.nan], [0.6, 0.2, np.nan], [0.5, 0.8, np.nan]])
    ax = charts.whose(["small", "middle", "large"], table).axes[0]
    found = {tuple(map(int, text.get_position())): text.get_text() for text in ax.texts}
    assert found == {
        (0, 0): "+10.0", (0, 1): "+0.0", (0, 2): "−10.0",
        (1, 0): "+0.0", (1, 1): "−30.0", (1, 2): "+30.0",
    }  # fmt: skip
    framed = [tuple(int(x + 0.5) for x in frame.get_xy()) for frame in ax.patches]
    assert framed == [(0, 0), (1, 2)]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["small", "middle", "large"]


def test_the_reliability_has_a_dot_for_each_bin_with_pixels():
    pixels = np.array([90.0, 0, 0, 0, 0, 4, 0, 0, 0, 6])
    bins = Bins(pixels, pixels, pixels * 0.5, pixels * 0.25)
    bins.samples[-1] = 6
    above, below = charts.reliability(bins).axes
    diagonal, dots = above.lines
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    np.testing.assert_allclose(dots.get_xydata(), [[0.5, 0.25], [0.5, 0.25], [1, 0.25]])
    assert [bar.get_height() for bar in below.patches] == [90, 4, 6]
    assert [bar.get_x() for bar in below.patches] == pytest.approx([0, 0.5, 0.9])
    assert below.get_ylim()[0] < 4


def test_bars_are_sorted_and_filled_above_the_threshold():
    values = np.array([0.02, 0.0, 1.5, 0.01])
    figure = charts.threshold_bars(values, threshold=0.01, label="nats", prefix="z")
    ax = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches][:3], [1.5, 0.02, 0.01])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["z2", "z0", "z3", "z1"]
    assert [text.get_text() for text in ax.texts][:4] == ["1.5", "0.02", "0.01", "0"]
    filled = [bar.get_facecolor() == ax.patches[0].get_facecolor() for bar in ax.patches]
    assert filled == [True, True, False, False]  # a value equal to the threshold is not filled
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.01, 0.01])
