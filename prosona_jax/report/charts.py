"""Draws charts: the latent plane, training curves, intervals, calibration and bars."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from prosona_jax.evaluation.calibration import Bins
from prosona_jax.evaluation.catalogue import bounds
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report.figures import FAINT, INK, LINES, RATERS, WIDTH_IN, plain_axes, set_names


def latent_plane(
    *,
    samples: Num[np.ndarray, "s 2"],
    path: Num[np.ndarray, "t 2"],
    styles: Num[np.ndarray, "k 2"],
    raters: Num[np.ndarray, "k 2"],
    names: Sequence[str],
    axes: tuple[str, str],
) -> Figure:
    """Draws two latent dimensions in units of the prior's sigma around its mean.

    Dots are samples of the prior, the line is the path from style to style, and stars are styles.
    A ring shows where the posterior places a rater; a missing rater (NaN) has no ring.
    """
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    ax = figure.subplots()
    dots = ax.scatter(samples[:, 0], samples[:, 1], s=6, color="#b8c4cc", lw=0)
    (line,) = ax.plot(path[:, 0], path[:, 1], color=INK, lw=1, zorder=2)
    stars = []
    for k in range(len(names)):
        colour = RATERS[k % len(RATERS)]
        ax.scatter(
            raters[k, 0],
            raters[k, 1],
            s=70,
            facecolors="none",
            edgecolors=colour,
            lw=1.8,
            zorder=3,
        )
        star = ax.scatter(
            styles[k, 0], styles[k, 1], s=110, marker="*", color=colour, edgecolors="white",
            lw=0.5, zorder=4,
        )  # fmt: skip
        stars.append(star)
    ax.set_xlabel(f"{axes[0]}, sigma of the prior", fontsize=7, color=INK)
    ax.set_ylabel(f"{axes[1]}, sigma of the prior", fontsize=7, color=INK)
    ax.grid(color=FAINT, lw=0.6)
    ax.set_axisbelow(True)
    plain_axes(ax)
    shown, family = set_names(names, size=7.0, inches=1.2)
    legend = figure.legend(
        [dots, line, *stars], ["samples of the prior", "path from style to style", *shown],
        loc="outside right upper", prop={"family": family, "size": 7}, frameon=False,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def curves(charts: Mapping[str, Mapping[str, Num[np.ndarray, "2 n"]]]) -> Figure:
    """Draws one small chart per entry of {chart: {line: [steps, values]}}.

    Values that are not finite leave gaps.
    """
    columns = min(4, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(2.5 * columns, 0.3 + 1.7 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    # Sorted, so that a line has the same colour in every figure.
    names = sorted({name for lines in charts.values() for name in lines})
    colours = {name: LINES[i % len(LINES)] for i, name in enumerate(names)}
    handles = {}
    for ax, (title, lines) in zip(axes, charts.items(), strict=False):
        for name, (steps, values) in lines.items():
            marker = "o" if len(steps) <= 40 else ""
            (handles[name],) = ax.plot(
                steps, values, color=colours[name], lw=1.1, marker=marker, ms=2
            )
        ax.set_title(title, fontsize=8, color=INK, parse_math=False)
        plain_axes(ax)
        ax.locator_params(nbins=5)
        ax.grid(axis="y", color=FAINT, lw=0.6)
    for ax in axes[len(charts) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(charts) - columns) : len(charts)]:
        ax.set_xlabel("step", fontsize=7, color=INK)
        ax.tick_params(labelbottom=True)
    figure.legend(
        [handles[name] for name in names], names, loc="outside upper right", ncols=len(names),
        fontsize=7, frameon=False,
    )  # fmt: skip
    return figure


def forest(charts: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draws {chart: {method: interval}} side by side: a dot per mean and a line per interval.

    The first method is at the top. Each chart has its own scale.
    """
    methods = list(dict.fromkeys(method for one in charts.values() for method in one))
    figure = Figure(figsize=(WIDTH_IN, 0.8 + 0.24 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(charts), squeeze=False, sharey=True)[0]
    for ax, (title, intervals) in zip(axes, charts.items(), strict=True):
        for method, interval in intervals.items():
            row = methods.index(method)
            if limits := bounds(interval):
                ax.plot(limits, [row, row], color=LINES[0], lw=1.4)
            ax.plot(interval.mean, row, "o", color=LINES[0], ms=5)
        ax.set_title(title, fontsize=8, color=INK)
        ax.set_yticks(range(len(methods)), methods, parse_math=False)
        ax.locator_params(axis="x", nbins=6)
        ax.grid(axis="x", color=FAINT, lw=0.6)
        ax.set_axisbelow(True)
        plain_axes(ax)
    axes[0].invert_yaxis()
    return figure


def whose(names: Sequence[str], table: Float[np.ndarray, "k k"]) -> Figure:
    """Draws how much better a style (row) fits a rater (column) than the mean of all styles.

    A cell is table[i, j] - mean_i table[i, j] in points, so that raters who are difficult for every
    style can be compared with the others. The diagonal is bold. A frame marks the highest value of
    each column.
    """
    above = 100 * (table - table.mean(axis=0))
    k = len(names)
    side = min(0.5 * k + 2.2, WIDTH_IN)
    figure = Figure(figsize=(side, 0.8 * side), layout="constrained")
    ax = figure.subplots()
    most = np.nanmax(np.abs(above), initial=0.1)
    heat = ax.imshow(above, cmap="PuOr", vmin=-most, vmax=most)
    for i, j in np.argwhere(~np.isnan(above)).tolist():  # NaN: a rater without a mask
        number = f"{above[i, j].round(1) + 0.0:+.1f}".replace("-", "\N{MINUS SIGN}")  # no -0.0
        weight = "bold" if i == j else "normal"
        colour = "white" if abs(above[i, j]) > 0.6 * most else INK
        ax.text(
            j, i, number, ha="center", va="center", fontsize=6.5, color=colour, fontweight=weight
        )
        if above[i, j] == np.max(above[:, j]):
            ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=INK, lw=1.4))
    ticks, family = set_names(names, size=7.0, inches=1.2)
    ax.set_xticks(
        range(k), ticks, rotation=40, ha="right", rotation_mode="anchor", fontfamily=family,
        parse_math=False,
    )  # fmt: skip
    ax.set_yticks(range(k), ticks, fontfamily=family, parse_math=False)
    ax.set_xlabel("rater", fontsize=8, color=INK)
    ax.set_ylabel("style", fontsize=8, color=INK)
    ax.tick_params(labelsize=7, colors=INK, length=0)
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(heat, ax=ax, shrink=0.7)
    bar.set_label("Dice, points above the column's mean", fontsize=7, color=INK)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    return figure


def reliability(bins: Bins) -> Figure:
    """Draws the share of raters over the share of samples, a dot per bin, and each bin's pixels.

    A bin without pixels has no dot. The diagonal is a perfect calibration.
    """
    known = bins.pixels > 0
    drawn, rated = (x[known] / bins.pixels[known] for x in (bins.samples, bins.raters))
    edges = np.linspace(0, 1, len(bins.pixels) + 1)
    figure = Figure(figsize=(4.2, 4.6), layout="constrained")
    ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    ax.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--")
    ax.plot(drawn, rated, "o-", color=LINES[0], lw=1.2, ms=5, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    ax.set_ylabel("share of raters", fontsize=7, color=INK)
    below.bar(edges[:-1][known], bins.pixels[known], np.diff(edges)[known], align="edge",
              color="#b8c4cc", edgecolor="white", lw=0.6)  # fmt: skip
    below.set_yscale("log")
    below.set_ylim(bottom=bins.pixels[known].min() / 2)  # so that the lowest bar is seen
    below.set_ylabel("pixels", fontsize=7, color=INK)
    below.set_xlabel("share of samples", fontsize=7, color=INK)
    for each in (ax, below):
        each.grid(color=FAINT, lw=0.6)
        each.set_axisbelow(True)
        plain_axes(each)
    return figure


def threshold_bars(
    values: Float[np.ndarray, " d"], *, threshold: float, label: str, prefix: str
) -> Figure:
    """Draws values >= 0 as bars, the largest first, on a logarithmic axis with a threshold line.

    The name of a bar is `prefix` and its index in `values`. Bars above the threshold are blue, the
    others grey. A very small value, for example 0, is drawn as a short bar.
    """
    order = np.argsort(-values, kind="stable")
    floor = threshold / 20
    heights = np.maximum(values[order], 1.15 * floor)
    figure = Figure(figsize=(min(WIDTH_IN, 2.4 + 0.5 * len(values)), 2.4), layout="constrained")
    ax = figure.subplots()
    colours = np.where(values[order] > threshold, LINES[0], "#b8c4cc")
    ax.bar([f"{prefix}{i}" for i in order], heights, color=colours, width=0.62)
    for position, (height, value) in enumerate(zip(heights, values[order], strict=True)):
        ax.annotate(
            f"{value:.2g}", (position, height), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=7, color=INK,
        )  # fmt: skip
    ax.axhline(threshold, color=LINES[1], lw=1, ls="--")
    ax.annotate(
        f"active above {threshold:g}", (1, threshold), xycoords=("axes fraction", "data"),
        xytext=(4, 0), textcoords="offset points", va="center", fontsize=7, color=LINES[1],
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(floor, 2 * max(heights.max(), threshold))
    ax.set_ylabel(label, fontsize=7, color=INK)
    plain_axes(ax)
    return figure
