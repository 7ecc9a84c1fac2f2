"""Draws what several raters drew on some cases of a data set, under one legend of their names."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from matplotlib.figure import Figure

from prosona_jax.report import overlay
from prosona_jax.report.figures import INK, WIDTH_IN, around, draw_image, scale_bar

_COLUMNS = 3
_POINTS = 8.0  # size of a title's letters
_TITLE_IN = 0.25


class Shown(NamedTuple):
    """One image and the masks of all raters."""

    title: str
    image: Float32[np.ndarray, "H W"]  # scaled to -1..1
    masks: UInt8[np.ndarray, "R H W"]  # {0, 1}
    rater_valid: Bool[np.ndarray, " R"]  # False: this rater has no mask of the image
    spacing_mm: Float32[np.ndarray, " 2"]  # (row, column); NaN: unknown


def draw(cases: Sequence[Shown], names: Sequence[str]) -> Figure:
    """Draws each case, enlarged around the contours; `names` [R] are the texts of the legend."""
    columns = min(_COLUMNS, len(cases))
    rows = -(-len(cases) // columns)
    side = WIDTH_IN / _COLUMNS
    figure = Figure(figsize=(side * columns, rows * (side + _TITLE_IN)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    looks = overlay.looks(len(names))
    for ax in axes:
        ax.axis("off")
    for ax, case in zip(axes, cases, strict=False):
        draw_image(ax, case.image, case.spacing_mm, around(case.masks.max(axis=0) > 0))
        overlay.draw_contours(ax, case.masks, looks, finer=0.8)
        absent = [name for name, valid in zip(names, case.rater_valid, strict=True) if not valid]
        title = case.title + (f"\nwithout {', '.join(absent)}" if absent else "")
        ax.set_title(title, fontsize=_POINTS, color=INK, pad=2, parse_math=False)
        scale_bar(ax, float(case.spacing_mm[1]))
    overlay.add_legend(figure, looks, names, columns=columns)
    return figure
