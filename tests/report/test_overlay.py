"""The picture of a prediction: its contours, its views and its legend."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from prosona_jax.report import figures, overlay

IMAGE = np.random.default_rng(0).uniform(-1, 1, (20, 30)).astype(np.float32)
ALL = ((-0.5, 19.5), (-0.5, 29.5))


def draw(count=2, crop=ALL, spacing=(0.5, 0.75), labels=None):
    masks = np.zeros((count, 20, 30), np.uint8)
    for k in range(count):
        masks[k, 4 : 8 + k, 5:9] = 1
    labels = labels or [f"sentence {k}" for k in range(count)]
    spacing = np.array(spacing, np.float32)
    return masks, overlay.draw(IMAGE, masks, labels, spacing_mm=spacing, crop=crop)


def contours(ax):
    """Returns the lines except the scale bar."""
    return [line for line in ax.lines if line.get_transform() == ax.transData]


def test_each_mask_has_its_outline_in_its_own_colour():
    masks, figure = draw()
    for ax in figure.axes:
        for k, line in enumerate(contours(ax)):
            (expected,) = figures.outlines(masks[k])
            np.testing.assert_array_equal(np.stack(line.get_data(), axis=1)[:, ::-1], expected)
            assert to_hex(line.get_color()).upper() == figures.RATERS[k]
        assert len(contours(ax)) == 2
        assert ax.get_aspect() == pytest.approx(0.5 / 0.75)


def test_an_enlargement_around_the_contours_is_beside_the_whole_image():
    whole, near = draw()[1].axes
    np.testing.assert_array_equal(whole.images[0].get_array(), IMAGE)
    assert (whole.get_xlim(), whole.get_ylim()) == (ALL[1], ALL[0][::-1])
    assert (near.get_xlim(), near.get_ylim()) == ((-0.5, 15.5), (15.5, -0.5))
    assert not whole.patches


def test_a_frame_marks_the_part_of_the_image_that_the_model_saw():
    whole, _ = draw(crop=((2.5, 12.5), (-4.5, 11.5)))[1].axes  # partly beyond the image
    (frame,) = whole.patches
    assert frame.get_bbox().extents.tolist() == [-0.5, 2.5, 11.5, 12.5]
    assert not draw(crop=((-6.5, 25.5), (-0.5, 29.5)))[1].axes[0].patches


def test_without_a_contour_there_is_no_enlargement():
    nothing = np.zeros((1, 20, 30), np.uint8)
    figure = overlay.draw(IMAGE, nothing, ["none"], spacing_mm=np.ones(2, np.float32), crop=ALL)
    assert len(figure.axes) == 1


def test_the_legend_shows_the_sentences_unchanged():
    labels = ["a $5 core", "a % of_rim$", "far " * 60]
    figure = draw(count=3, labels=labels)[1]
    (legend,) = figure.legends
    assert [" ".join(text.get_text().split()) for text in legend.get_texts()] == [
        *labels[:2],
        labels[2].strip(),
    ]
    assert figures.png(figure).startswith(b"\x89PNG")


LONG = {
    "sentences": ["outline generously, " * 15] * 12,
    "scripts": ["固い芯を" * 75, "ارسم حدودًا " * 25, "क्षेत्र " * 30, "\U0001f602" * 99, "ß" * 300],
    "words": ["W" * 200, "_" * 200, "$" * 200, "\\" * 200],
    "marks": ["Z" + "\u0301" * 60, "a\x07\u202e" * 40],
}


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", LONG)
def test_nothing_of_the_legend_is_cut_off(name, empty):
    """With one view and with two views of the image, whatever fonts the machine has."""
    labels = LONG[name]
    masks = np.zeros((len(labels), 20, 30), np.uint8)
    masks[:, 4:8, 5:9] = 0 if empty else 1
    spacing = np.ones(2, np.float32)
    figure = overlay.draw(IMAGE, masks, labels, spacing_mm=spacing, crop=ALL)
    figures.png(figure, footnote="データ " * 30)
    figure.set_dpi(figures.DPI)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    for text in (*legend.get_texts(), figure._supxlabel):
        box = text.get_window_extent()
        assert box.x0 >= 0 <= box.y0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    lowest = min(text.get_window_extent().y0 for text in legend.get_texts())
    assert all(ax.get_window_extent().y1 <= lowest for ax in figure.axes)


def test_twelve_contours_all_look_different():
    figure = draw(count=12)[1]
    looks = {(line.get_color(), line.get_linestyle()) for line in contours(figure.axes[0])}
    assert len(looks) == 12


def test_unknown_spacing_has_square_pixels_and_no_scale_bar():
    for ax in draw(spacing=(np.nan, np.nan))[1].axes:
        assert (ax.get_aspect(), len(ax.lines), len(ax.texts)) == (1.0, 2, 0)
    assert len(draw()[1].axes[0].texts) == 1
