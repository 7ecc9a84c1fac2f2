"""Draws the picture of a prediction: one image and the contour of each sentence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prosona_jax.report import fonts
from prosona_jax.report.figures import (
    RATERS,
    Limits,
    around,
    draw_image,
    draw_outlines,
    frame,
    scale_bar,
)

_SIDE_IN = 4.5
_LINE_STYLES = ("-", "--", ":")
_POINTS = 8.0  # size of the legend's letters
_LEGEND_MARGIN_IN = 0.6  # width of the legend's lines and margins


class Look(NamedTuple):
    """How a contour is drawn."""

    colour: str
    style: str  # Matplotlib's line style
    width: float  # points


def draw(
    image: Float32[np.ndarray, "H W"],
    masks: UInt8[np.ndarray, "S H W"],
    labels: Sequence[str],
    *,
    spacing_mm: Float32[np.ndarray, " 2"],
    crop: Limits,
) -> Figure:
    """Draws the whole image and, beside it, an enlargement around the contours, under a legend.

    If the model saw only a part of the image, a frame marks this part.

    Args:
        image: scaled to -1..1.
        masks: {0, 1}, one per label. The first contour is the widest, so that contours that
            coincide stay visible.
        labels: texts of the legend, in any script and of any length.
        spacing_mm: (row, column). NaN means unknown: pixels are square and there is no scale bar.
        crop: lowest and highest row and column that the model saw, in pixels of the image.
    """
    height, width = image.shape
    whole = ((-0.5, height - 0.5), (-0.5, width - 0.5))
    rows, columns = (
        (max(low, start), min(high, end))
        for (low, high), (start, end) in zip(crop, whole, strict=True)
    )
    near = around(masks.max(axis=0) > 0)
    views = [whole] if near == whole else [whole, near]
    figure = Figure(figsize=(_SIDE_IN * len(views), _SIDE_IN), layout="constrained")
    axes = figure.subplots(1, len(views), squeeze=False)[0]
    ways = looks(len(masks))
    for ax, view in zip(axes, views, strict=True):
        draw_image(ax, image, spacing_mm, view)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        draw_contours(ax, masks, ways, finer=1.0 if view == views[-1] else 0.4)
        scale_bar(ax, float(spacing_mm[1]))
    if (rows, columns) != whole:
        axes[0].add_patch(frame((rows, columns)))
    add_legend(figure, ways, labels)
    return figure


def looks(count: int) -> list[Look]:
    """Returns how each of several contours looks; the first is the widest."""
    return [
        Look(RATERS[k % len(RATERS)], _LINE_STYLES[k // len(RATERS) % len(_LINE_STYLES)], width)
        for k, width in enumerate(np.linspace(2.4, 0.8, count).tolist())
    ]


def draw_contours(
    ax: Axes, masks: UInt8[np.ndarray, "S H W"], ways: Sequence[Look], *, finer: float
) -> None:
    """Draws the outlines of masks, with lines that are `finer` times as wide."""
    for mask, look in zip(masks, ways, strict=True):
        draw_outlines(ax, mask, look.colour, finer * look.width, look.style)


def add_legend(
    figure: Figure, ways: Sequence[Look], labels: Sequence[str], *, columns: int = 1
) -> None:
    """Adds a legend above all pictures, and makes the figure higher by it."""
    inches = figure.get_figwidth() / columns - _LEGEND_MARGIN_IN
    texts, family = fonts.set_lines(labels, size=_POINTS, inches=inches)
    legend = figure.legend(
        [Line2D([], [], color=each.colour, ls=each.style, lw=2) for each in ways], texts,
        loc="outside upper left", prop={"family": family, "size": _POINTS}, frameon=False,
        ncols=columns,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    height = legend.get_window_extent().height / figure.dpi
    figure.set_figheight(figure.get_figheight() + height)
