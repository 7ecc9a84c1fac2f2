"""The picture of a prediction: one image, and the contour that each sentence draws on it."""

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prosona_jax.figures import READERS, Limits, around, draw_image, draw_outlines, frame, scale_bar

_SIDE_IN = 4.5
_LINE_STYLES = ("-", "--", ":")
_LETTERS_PER_INCH = 14  # of DejaVu Sans at 8 pt


def draw(
    image: Float32[np.ndarray, "H W"],
    masks: UInt8[np.ndarray, "S H W"],
    labels: Sequence[str],
    *,
    spacing_mm: Float32[np.ndarray, " 2"],
    crop: Limits,
) -> Figure:
    """Draws the whole image and, enlarged beside it, what lies around the contours, under a legend.

    A frame shows what the model saw, where that is not all of the image.

    Args:
        image: scaled to -1..1.
        masks: {0, 1}, one for each label; where contours coincide, the first is the widest.
        labels: what the legend says.
        spacing_mm: (row, column); NaN: unknown, then pixels are square and there is no scale bar.
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
    looks = [
        (READERS[k % len(READERS)], _LINE_STYLES[k // len(READERS) % len(_LINE_STYLES)], line)
        for k, line in enumerate(np.linspace(2.4, 0.8, len(masks)))
    ]
    for ax, view in zip(axes, views, strict=True):
        draw_image(ax, image, spacing_mm, view)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        finer = 1.0 if view == views[-1] else 0.4
        for mask, (colour, style, line) in zip(masks, looks, strict=True):
            draw_outlines(ax, mask, colour, finer * line, style)
        scale_bar(ax, float(spacing_mm[1]))
    if (rows, columns) != whole:
        axes[0].add_patch(frame((rows, columns)))
    letters = int(_LETTERS_PER_INCH * figure.get_figwidth())
    texts = [textwrap.fill(label, letters) for label in labels]
    figure.set_figheight(_SIDE_IN + 0.16 * sum(text.count("\n") + 1 for text in texts))
    legend = figure.legend(
        [Line2D([], [], color=colour, ls=style, lw=2) for colour, style, _ in looks], texts,
        loc="outside upper left", fontsize=8, frameon=False,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
