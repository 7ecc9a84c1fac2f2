"""Section of the report on the latent dimensions: what each one does to a contour."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from prosona_jax.evaluation.disentanglement import Separation
from prosona_jax.report import document
from prosona_jax.report.figures import (
    INK,
    WIDTH_IN,
    Panel,
    around,
    draw_image,
    draw_outlines,
    scale_bar,
)

_DRAWN, _MEAN = "#FF4FD8", "white"
_STRONG = 0.3  # an effect from here on is named beside the pictures
_SIGNS = {
    "area": ("larger", "smaller"),
    "elongation": ("longer", "rounder"),
    "roughness": ("rougher", "smoother"),
    "right": ("to the right", "to the left"),
    "down": ("down", "up"),
}


class Explored(NamedTuple):
    """What d latent dimensions do to T traits, with N places on each walk."""

    traits: Sequence[str]
    samples: Separation  # measured on samples of the prior
    shares: Float[np.ndarray, "d t"] | None  # of the raters' variance; None: no latent of a rater
    records: int
    steps: Sequence[float]  # in sigma of the prior
    walks: Bool[np.ndarray, "d n h w"]  # on the panel's image
    shown: Panel


def section(
    explored: Explored, kl: Float[np.ndarray, " d"], png: Callable[..., bytes]
) -> document.Section:
    """Returns the section; the dimensions are in the order of their KL, the largest first."""
    found, order = explored.samples, np.argsort(-kl, kind="stable").tolist()
    text = (
        "What does each latent dimension do to a contour? Samples of the prior were drawn on "
        f"{explored.records} images, and their traits were measured: area (as a logarithm), "
        "elongation, roughness of the line, and the shift of the centre to the right and down. A "
        "linear regression within images gives the effect of one sigma of a dimension, in standard "
        "deviations of the trait among the samples. An effect of 1 means that this dimension alone "
        "decides the trait. Explained is the share of a trait's variance that all dimensions "
        "explain together. Images are mirrored and turned in training, so no dimension can mean "
        "right or left in all images."
    )
    scores = (
        f"Disentanglement is {found.disentanglement:.2f}: 1 if each dimension changes one trait "
        f"at most. Completeness is {found.completeness:.2f}: 1 if each trait is changed by one "
        "dimension alone. Both are computed from the effects, after Eastwood and Williams (2018)."
    )
    blocks: list[document.Block] = [
        document.Text(text),
        _effects(explored, order),
        document.Text(scores),
        document.Figure(
            "latent-walk",
            png(_walks(explored, order)),
            "Contours on one image along each latent dimension",
            "One image, drawn along each dimension in units of the prior's sigma; the others stay "
            "at the prior's mean, whose contour is white. The words name the effects of "
            f"{_STRONG:g} or more in the direction to the right.",
        ),
    ]
    if explored.shares is not None:
        blocks += [
            document.Text(
                "How much of the difference between raters does each dimension explain? The table "
                "compares the posterior's mean of each rater's mask with the traits of that mask, "
                "within images: the squared correlation, in percent. Dimensions that vary together "
                "explain the same part."
            ),
            _shares(explored, explored.shares, order),
        ]
    return document.Section("What the latent dimensions do", blocks)


def numbers(explored: Explored) -> dict[str, Any]:
    """Returns the section's numbers for report.json."""
    found = explored.samples
    return {
        "traits": list(explored.traits),
        "effects": found.effects,
        "explained": found.explained,
        "disentanglement": found.disentanglement,
        "completeness": found.completeness,
        "rater_shares": explored.shares,
    }


def _effects(explored: Explored, order: Sequence[int]) -> document.Table:
    found = explored.samples
    rows = [(f"z{i}", *(f"{x:+.2f}" for x in found.effects[i])) for i in order]
    rows.append(("explained, %", *(f"{100 * x:.0f}" for x in found.explained)))
    columns = ("Dimension", *(name.capitalize() for name in explored.traits))
    return document.Table(columns, rows, "l" + "r" * len(explored.traits))


def _shares(
    explored: Explored, shares: Float[np.ndarray, "d t"], order: Sequence[int]
) -> document.Table:
    rows = [(f"z{i}", *(f"{100 * x:.0f}" for x in shares[i])) for i in order]
    columns = ("Dimension", *(f"{name.capitalize()}, %" for name in explored.traits))
    return document.Table(columns, rows, "l" + "r" * len(explored.traits))


def words(effects: Float[np.ndarray, " t"], traits: Sequence[str]) -> str:
    """Returns the strong effects of a dimension, the largest first.

    >>> words(np.array([0.8, -0.4, 0.1]), ("area", "elongation", "roughness"))
    'larger, rounder'
    """
    strong = [t for t in np.argsort(-np.abs(effects)).tolist() if abs(effects[t]) >= _STRONG]
    return ", ".join(_SIGNS[traits[t]][int(effects[t] < 0)] for t in strong) or "little"


def _walks(explored: Explored, order: Sequence[int]) -> Figure:
    """Draws a row for each dimension and a column for each step."""
    walks, shown = explored.walks.astype(np.uint8), explored.shown
    window = around(walks.reshape(-1, *walks.shape[2:]).max(0))
    mean = walks[0, list(explored.steps).index(0)]
    columns = len(explored.steps)
    figure = Figure(figsize=(0.75 * WIDTH_IN, 1.35 * len(order) + 0.2), layout="constrained")
    axes = figure.subplots(len(order), columns, squeeze=False)
    for place, (row, i) in enumerate(zip(axes, order, strict=True)):
        for ax, step, mask in zip(row, explored.steps, walks[i], strict=True):
            draw_image(ax, shown.image, shown.spacing_mm, window)
            draw_outlines(ax, mean, _MEAN, 0.8)
            draw_outlines(ax, mask, _DRAWN, 1.2)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if place == 0:
                ax.set_title(f"{step:+g} sigma" if step else "mean", fontsize=7, color=INK)
        said = words(explored.samples.effects[i], explored.traits).replace(", ", "\n")
        row[0].set_ylabel(
            f"z{i}\n{said}", rotation=0, ha="right", va="center", fontsize=7, color=INK
        )
    scale_bar(axes[0, 0], float(shown.spacing_mm[1]))
    return figure
