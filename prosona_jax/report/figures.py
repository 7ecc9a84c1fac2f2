"""Draws figures of images with contours, and encodes them as PNG. Without pyplot: no global state.

Figures without an image are in charts.py. summary.py, sample_summary.py and style_summary.py place
the figures in the report.

Figures are laid out for a page 10 inches wide and have a white background in every theme.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Num, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from skimage.measure import find_contours

from prosona_jax import unicode
from prosona_jax.report import fonts

DPI = 200
WIDTH_IN = 10.0
INK, FAINT = "#333333", "#dddddd"
# Okabe and Ito's colours, which colour-blind people can distinguish; yellow is too pale for lines.
RATERS = (
    *("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2"),
    *("#9C6ADE", "#A3A500", "#F8766D", "#A0785A"),  # our additions, for data with more raters
)
_SAMPLE = "#4DD0E1"
_PROMPT = "#FF4FD8"  # differs from the raters' colours, and is visible on black and on white
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_NAME_LENGTH = 100  # maximum length of a style's name, or of a sentence that replaces it
_BAR_UM = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))

Limits = tuple[tuple[float, float], tuple[float, float]]  # (lowest, highest) row and column


class Panel(NamedTuple):
    """One image, the masks of its R raters, and S samples of a model."""

    record_id: str
    image: Float32[np.ndarray, "H W"]  # one channel, scaled to -1..1
    masks: UInt8[np.ndarray, "R H W"]  # {0, 1}
    rater_valid: Bool[np.ndarray, " R"]
    probs: Float32[np.ndarray, "S H W"]
    prompted: Float32[np.ndarray, "R H W"] | None  # of one prompt per style
    spacing_mm: Float32[np.ndarray, " 2"]  # (row, column); NaN: unknown


def png(figure: Figure, *, footnote: str = "") -> bytes:
    """Returns the figure as PNG, with `footnote` below it. The same figure gives the same bytes."""
    if footnote:
        inches = 0.98 * figure.get_figwidth()
        (lines,), family = fonts.set_lines([footnote], size=6.5, inches=inches)
        label = figure.supxlabel(
            lines, x=0.01, ha="left", fontsize=6.5, color=INK, fontfamily=family, parse_math=False
        )
        figure.set_figheight(figure.get_figheight() + label.get_window_extent().height / figure.dpi)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def outlines(mask: Num[np.ndarray, "H W"]) -> list[Float[np.ndarray, "points 2"]]:
    """Returns the closed lines [(row, column)] where a mask or probability map crosses 1/2.

    Pixel centres have integer coordinates. Outside the image the mask counts as 0, so the outline
    of a region that touches the border runs along the border.
    """
    padded = np.pad(np.asarray(mask, np.float64), 1)
    return [line - 1 for line in find_contours(padded, 0.5)]


def panel(shown: Panel, *, max_samples: int = 16) -> Figure:
    """Draws the image, the raters' contours, the samples' contours, and two maps of agreement.

    All pictures except the first show the part of the image around all masks. The maps show, for
    each pixel, the share of raters and the share of all samples that include it.
    """
    masks = shown.masks[shown.rater_valid]  # [valid R, H, W]
    samples = (shown.probs > 0.5).astype(np.uint8)  # [S, H, W]
    few = shown.probs[:max_samples]
    window = around(np.concatenate([masks, samples]).max(0) > 0)

    figure = Figure(figsize=(WIDTH_IN, 2.15), layout="constrained")
    axes = figure.subplots(1, 5)
    for ax, part in zip(axes[:3], (None, window, window), strict=True):
        draw_image(ax, shown.image, shown.spacing_mm, part)
    axes[0].add_patch(frame(window))
    widths = np.linspace(2.4, 0.8, len(masks))  # contours that coincide stay visible
    raters = np.flatnonzero(shown.rater_valid).tolist()
    for mask, rater, width in zip(masks, raters, widths, strict=True):
        draw_outlines(axes[1], mask, RATERS[rater % len(RATERS)], width)
    for prob in few:
        draw_outlines(axes[2], prob, to_rgba(_SAMPLE, 0.8), 0.6)
    for ax, drawn in zip(axes[3:], (masks, samples), strict=True):
        shares = drawn.mean(0) if len(drawn) else np.zeros(shown.image.shape)
        heat = draw_image(ax, shares, shown.spacing_mm, window, cmap="magma", lowest=0.0)
    figure.colorbar(heat, ax=axes[3:], shrink=0.8, ticks=(0, 0.5, 1)).ax.tick_params(labelsize=7)

    titles = (
        f"Image, {shown.image.shape[0]} × {shown.image.shape[1]} px",
        _count("rater", masks),
        f"{len(few)} of {_count('sample', samples)}",
        "Share of raters",
        "Share of samples",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=8, color=INK)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for ax in axes[:2]:
        scale_bar(ax, float(shown.spacing_mm[1]))
    return figure


def styles_panel(shown: Panel, names: Sequence[str]) -> Figure:
    """Draws for each style the rater's contour (thick) and the contour of its prompt (thin)."""
    assert shown.prompted is not None
    drawn = np.concatenate([shown.masks, (shown.prompted > 0.5).astype(np.uint8)])
    window = around(drawn.max(0) > 0)
    pictures = len(names) + 1
    rows = -(-pictures // 6)  # at most six in a row, and rows of nearly equal length
    columns = -(-pictures // rows)
    figure = Figure(figsize=(WIDTH_IN, 2.15 * rows * 5 / columns), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    titles, family = set_names(names, size=8.0, inches=0.9 * WIDTH_IN / columns)
    for ax in axes:
        ax.axis("off")
    for index, ax in enumerate(axes[:pictures]):
        draw_image(ax, shown.image, shown.spacing_mm, window)
        if index == 0:
            ax.set_title("Image", fontsize=8, color=INK)
            scale_bar(ax, float(shown.spacing_mm[1]))
            continue
        k = index - 1
        ax.set_title(titles[k], fontsize=8, color=INK, fontfamily=family, parse_math=False)
        if shown.rater_valid[k]:
            draw_outlines(ax, shown.masks[k], RATERS[k % len(RATERS)], 2.4)
        draw_outlines(ax, shown.prompted[k], _PROMPT, 1.2)
    return figure


def sentences_panel(
    shown: Panel, titles: Sequence[str], probs: Float[np.ndarray, "N H W"]
) -> Figure:
    """Draws the contour of each sentence, and dashed the mean of the raters' masks at 1/2."""
    masks = shown.masks[shown.rater_valid]
    usual = masks.mean(axis=0) if len(masks) else np.zeros(shown.image.shape)
    window = around(np.concatenate([masks, probs > 0.5]).max(0) > 0)
    columns = 5
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(WIDTH_IN, 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    names, family = set_names(titles, size=7.0, inches=0.9 * WIDTH_IN / columns, most=3)
    for ax in axes:
        ax.axis("off")
    for ax, name, prob in zip(axes, names, probs, strict=False):
        draw_image(ax, shown.image, shown.spacing_mm, window)
        ax.set_title(name, fontsize=7, color=INK, fontfamily=family, parse_math=False)
        draw_outlines(ax, usual, "white", 0.8, "--")
        draw_outlines(ax, prob, _PROMPT, 1.4)
    scale_bar(axes[0], float(shown.spacing_mm[1]))
    return figure


def walk(
    shown: Panel, probs: Float32[np.ndarray, "T H W"], names: Sequence[str], *, pictures: int = 9
) -> Figure:
    """Draws masks along the path from the first style to the last, and their areas.

    `probs` has T equally spaced points. Style k of K is at point k (T - 1) / (K - 1), from 0.
    """
    points = len(probs)
    size = float(np.prod(shown.spacing_mm))
    unit, size = ("pixels", 1.0) if np.isnan(size) else ("mm²", size)
    areas = (probs > 0.5).sum((1, 2)) * size
    positions = np.linspace(0, len(names) - 1, points)  # in units of styles
    window = around((probs > 0.5).max(0))
    figure = Figure(figsize=(WIDTH_IN, 3.1), layout="constrained")
    grid = figure.add_gridspec(2, pictures, height_ratios=(1, 1.3))
    for column, point in enumerate(np.linspace(0, points - 1, pictures).round().astype(int)):
        ax = figure.add_subplot(grid[0, column])
        draw_image(ax, shown.image, shown.spacing_mm, window)
        ax.axis("off")
        draw_outlines(ax, probs[point], _PROMPT, 1.2)
    ax = figure.add_subplot(grid[1, :])
    ax.plot(positions, areas, color=LINES[0], lw=1.4)
    for k, mask in enumerate(shown.masks):
        if shown.rater_valid[k]:
            colour = RATERS[k % len(RATERS)]
            ax.plot(k, mask.sum() * size, "o", color=colour, ms=6, clip_on=False, zorder=3)
    ticks, family = set_names(names, size=7.0, inches=0.9 * WIDTH_IN / len(names), most=5)
    ax.set_xticks(range(len(names)), ticks, fontfamily=family, parse_math=False)
    ax.set_ylabel(f"area, {unit}", fontsize=7, color=INK)
    ax.set_ylim(bottom=0)
    ax.grid(axis="y", color=FAINT, lw=0.6)
    plain_axes(ax)
    return figure


def around(drawn: np.ndarray) -> Limits:
    """Returns the limits of a square around the drawn pixels, with a margin, within the image.

    If no pixel is drawn, the limits are those of the whole image.
    """
    if not drawn.any():
        return (-0.5, drawn.shape[0] - 0.5), (-0.5, drawn.shape[1] - 0.5)
    spans = [np.flatnonzero(drawn.any(axis)) for axis in (1, 0)]
    side = max(16, 1.6 * max(span[-1] - span[0] + 1 for span in spans))
    limits = []
    for span, size in zip(spans, drawn.shape, strict=True):
        length = min(side, size)
        start = np.clip((span[0] + span[-1] + 1 - length) / 2, 0, size - length)
        limits.append((start - 0.5, start + length - 0.5))
    return limits[0], limits[1]


def draw_image(
    ax: Axes,
    image: Num[np.ndarray, "H W"],
    spacing_mm: Float32[np.ndarray, " 2"],
    window: Limits | None = None,
    *,
    cmap: str = "gray",
    lowest: float = -1.0,
) -> AxesImage:
    """Draws the part of an image within a window, with the true aspect ratio of its pixels.

    The colours cover the values from `lowest` to 1. Without a window, the whole image is drawn.
    Pixels of unknown spacing (NaN) are square.
    """
    row, column = spacing_mm
    aspect = float(row / column) if np.isfinite(spacing_mm).all() else 1.0
    drawn = ax.imshow(image, cmap=cmap, vmin=lowest, vmax=1, interpolation="nearest", aspect=aspect)
    if window is not None:
        ax.set(xlim=window[1], ylim=window[0][::-1])
    return drawn


def frame(window: Limits) -> Rectangle:
    """Returns a white frame around (lowest, highest) row and column."""
    (top, bottom), (left, right) = window
    return Rectangle((left, top), right - left, bottom - top, fill=False, ec="white", lw=0.8)


def draw_outlines(
    ax: Axes, mask: np.ndarray, colour: str | tuple, width: float, style: str = "-"
) -> None:
    """Draws the outlines of a mask or probability map; `style` is Matplotlib's line style."""
    for line in outlines(mask):
        ax.plot(line[:, 1], line[:, 0], color=colour, lw=width, ls=style, solid_joinstyle="miter")


def _count(noun: str, masks: np.ndarray) -> str:
    empty = int((masks.max((1, 2), initial=0) == 0).sum())
    plural = "" if len(masks) == 1 else "s"
    return f"{len(masks)} {noun}{plural}" + (f", {empty} empty" if empty else "")


def scale_bar(ax: Axes, column_mm: float) -> None:
    """Draws a scale bar with a round length of at most 40 % of the picture's width, if one fits.

    `column_mm` is the width of a pixel. If it is unknown (NaN), there is no scale bar.
    """
    left, right = ax.get_xlim()
    width_um = 1000 * (right - left) * column_mm
    length = max((um for um in _BAR_UM if um <= 0.4 * width_um), default=None)
    if length is None:
        return
    share = length / width_um
    label = f"{length} µm" if length < 1000 else f"{length // 1000} mm"
    stroke = [withStroke(linewidth=3, foreground="black")]
    ax.plot([0.05, 0.05 + share], [0.06, 0.06], transform=ax.transAxes, color="white", lw=1.6,
            solid_capstyle="butt", path_effects=stroke)  # fmt: skip
    ax.text(0.05, 0.09, label, transform=ax.transAxes, color="white", fontsize=7,
            path_effects=[withStroke(linewidth=1.5, foreground="black")])  # fmt: skip


def set_names(
    names: Sequence[str], *, size: float, inches: float, most: int = 2
) -> tuple[list[str], list[str]]:
    """Returns names, each cut to at most `most` lines, and the fonts that can draw them."""
    short = [unicode.shorten(name, _NAME_LENGTH) for name in names]
    shown, family = fonts.set_lines(short, size=size, inches=inches)
    lines = [name.split("\n") for name in shown]
    return ["\n".join(own[:most]) + (" ..." if len(own) > most else "") for own in lines], family


def plain_axes(ax: Axes) -> None:
    """Removes the top and right lines of a chart's frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color("#999999")
    ax.tick_params(labelsize=7, colors=INK, width=0.6, length=2.5)
