"""Draws the picture of a prediction on a scan: slices around the object, under one legend."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from matplotlib.figure import Figure

from prosona_jax.report import overlay
from prosona_jax.report.figures import INK, WIDTH_IN, around, draw_image, frame, scale_bar

_MOST = 23  # slices; with the whole slice, four rows of six pictures
_COLUMNS = (4, 5, 6)
_POINTS = 7.0  # size of a title's letters
_TITLE_IN = 0.2


def draw(
    images: Mapping[int, np.ndarray],
    masks: Mapping[int, np.ndarray],
    labels: Sequence[str],
    *,
    start: int,
    spacing_mm: Float32[np.ndarray, " 2"],
) -> Figure:
    """Draws the whole slice of the point, then slices in order, enlarged around the contours.

    If there are too many slices, some between the first and the last are left out, evenly.

    Args:
        images: f32 [H, W] by slice, scaled to -1..1.
        masks: u8 {0, 1} [S, H, W] by slice; empty on all others.
        labels: S texts of the legend.
        start: the slice of the point.
        spacing_mm: (row, column); NaN: unknown.
    """
    empty = np.zeros((len(labels), *images[start].shape), np.uint8)
    window = around(np.any([each.any(axis=0) for each in masks.values()], axis=0))
    shown = choose(sorted(images), start)
    count = len(shown) + 1
    # As few empty places as possible; then as few rows.
    columns = min(count, min(_COLUMNS, key=lambda columns: (-count % columns, -columns)))
    rows = -(-count // columns)
    side = WIDTH_IN / columns
    figure = Figure(figsize=(WIDTH_IN, rows * (side + _TITLE_IN)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    looks = overlay.looks(len(labels))
    for ax in axes:
        ax.axis("off")
    for ax, k in zip(axes, [start, *shown], strict=False):
        whole = ax is axes[0]
        draw_image(ax, images[k], spacing_mm, None if whole else window)
        overlay.draw_contours(ax, masks.get(k, empty), looks, finer=0.3 if whole else 0.6)
        title = f"slice {k}, whole" if whole else f"slice {k}" + ", of the point" * (k == start)
        ax.set_title(title, fontsize=_POINTS, color=INK, pad=2)
    axes[0].add_patch(frame(window))
    for ax in axes[:2]:
        scale_bar(ax, float(spacing_mm[1]))
    overlay.add_legend(figure, looks, labels)
    return figure


def choose(slices: Sequence[int], start: int) -> list[int]:
    """Returns at most 23 of the slices in order: evenly, with the first, the last and `start`."""
    places = np.linspace(0, len(slices) - 1, min(_MOST, len(slices))).round().astype(int)
    chosen = [slices[place] for place in places]
    if start not in chosen:
        nearest = min(range(1, len(chosen) - 1), key=lambda n: abs(chosen[n] - start))
        chosen[nearest] = start
    return chosen
