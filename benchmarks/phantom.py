"""Draws the picture of the phantom: two patients of two institutions, and the observers' contours.

python -m benchmarks.phantom docs/images/phantom.png
"""

import argparse
import pathlib

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from data_pipelines import phantom
from prosona_jax.report import figures

CASES = (9, 7)
SHARES = (-0.18, 0.12, 0.5, 0.85, 1.18)  # heights of the slices: 0 is the apex, 1 the base
_NOTE = "Phantom: patients, images, institutions and observers are all simulated."


def main() -> None:
    """Writes the picture to the file that the command names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=pathlib.Path)
    picture = parser.parse_args().picture
    picture.write_bytes(figures.png(draw(), footnote=_NOTE))


def draw() -> Figure:
    """Returns the figure: a row for each case, from the apex to above the base."""
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    table = figure.subplots(len(CASES), len(SHARES))
    for row, index in zip(table, CASES, strict=True):
        case = phantom.case(index)
        low, high = np.percentile(case.image, (1, 99))
        image = 2 * (case.image - low) / (high - low) - 1
        slices = np.flatnonzero(case.prostate.any(axis=(1, 2)))
        apex, base = slices[0], slices[-1]
        for ax, share in zip(row, SHARES, strict=True):
            at = round(apex + share * (base - apex))
            figures.draw_image(ax, image[at], case.spacing_mm[1:])
            for mask, colour in zip(case.masks, figures.RATERS, strict=False):
                figures.draw_outlines(ax, mask[at], colour, 0.7)
            height_mm = (at - apex) * case.site.slice_mm
            ax.set_title(f"{height_mm:+.0f} mm from the apex", fontsize=6, color=figures.INK)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        site = case.site
        about = f"{site.name}\n{site.tesla:g} T, {site.coil} coil\n{site.spacing_mm} mm"
        row[0].set_ylabel(about, fontsize=6, color=figures.INK)
        figures.scale_bar(row[0], site.spacing_mm)
    names = [observer.name for observer in phantom.OBSERVERS]
    lines = [Line2D([], [], color=colour) for colour in figures.RATERS[: len(names)]]
    figure.legend(lines, names, loc="outside upper center", ncols=5, fontsize=6, frameon=False)
    return figure


if __name__ == "__main__":
    main()
