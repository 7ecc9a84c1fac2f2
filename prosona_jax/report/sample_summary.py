"""Sections of the report on the first stage: samples compared with raters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.calibration import Bins
from prosona_jax.evaluation.catalogue import ACTIVE_NATS, LEAVE_ONE_OUT, LEGEND, METRICS, named
from prosona_jax.evaluation.results import Results, Rows
from prosona_jax.report import charts, document, figures
from prosona_jax.report.figures import Panel

GED, MATCHED = named(METRICS, "ged", "dice_match")


def pictures(
    panels: Sequence[Panel], scored: Rows, samples: int, png: Callable[..., bytes]
) -> document.Section:
    """Returns the pictures: one figure per record, with the contours of raters and samples."""
    if not panels:
        return document.Section("Pictures", [])
    text = (
        "From left to right: the image, where a frame marks the part that the other pictures "
        "enlarge; the raters' contours, with one colour per rater and different widths, so that "
        "contours that coincide stay visible; the contours of samples; and two maps. For each "
        "pixel, the maps show the share of raters and the share of all samples that include it. "
        "The more similar the two maps are, the better the model knows where the raters disagree."
    )
    row_of = {row["record_id"]: row for row in scored}
    drawn = [
        document.Figure(
            f"panel-{number:02d}",
            png(figures.panel(panel)),
            f"{panel.record_id}: image, contours of raters and samples, maps of agreement",
            f"`{panel.record_id}`: {_main_scores(row_of.get(panel.record_id, {}), samples)}",
        )
        for number, panel in enumerate(panels, 1)
    ]
    return document.Section("Pictures", [document.Text(text), *drawn])


def _main_scores(row: Mapping[str, Any], samples: int) -> str:
    present = [metric for metric in METRICS if row.get(metric.name) is not None]
    return "; ".join(f"{metric.label(samples)} {metric.number(row[metric.name])}"
                     for metric in present if metric in (GED, MATCHED))  # fmt: skip


def scores(results: Results, note: str, raters: int, samples: int) -> document.Section:
    """Returns the scores of the samples, those of f(x, mu_p) alone, and their differences."""
    known = [metric for metric in METRICS if metric.name in results.samples]
    rows = [
        (
            metric.label(samples),
            metric.better,
            metric.cell(results.samples[metric.name]),
            metric.cell(results.prior_mean.get(metric.name)),
            metric.cell(results.difference.get(metric.name), sign=True),
        )
        for metric in known
    ]
    columns = ("Metric", "Better", f"{samples} samples", "Prior mean", "Difference")
    caption = (
        f"{note} Prior mean: `f(x, mu_p)` replaces every sample. Difference: samples minus prior "
        "mean, on the same records."
    )
    meanings = [(metric.label(samples), f"`{metric.name}`", metric.meaning) for metric in known]
    warning = (
        f"GED depends on the number of samples and of raters (here S = {samples}, R = {raters}). "
        "Compare it only with values for the same S, the same R and the same convention for empty "
        "masks."
    )
    return document.Section(
        "Scores",
        [
            document.Table(columns, rows, "llrrr", caption),
            document.Text(warning),
            document.Table(("Metric", "Name in report.json", "Meaning"), meanings, "lll", LEGEND),
        ],
    )


def calibration(bins: Bins, png: Callable[..., bytes]) -> document.Section:
    """Returns the section on whether the share of samples says which share of raters agrees."""
    text = (
        "Does the share of samples that include a pixel say which share of raters does? Pixels are "
        "put into ten bins by the share of samples. If the model is calibrated, the share of "
        "raters is the same in each bin, and the dots lie on the diagonal. Below it, the samples "
        "claim more than the raters drew. Here the pixels of all records count together: their "
        f"expected calibration error is {bins.ece_all():.4f}, or {bins.ece_union():.3f} over the "
        "pixels that any sample or rater includes. The scores above are means over single images. "
        "One image has few raters, so there even a calibrated model has an error."
    )
    drawn = document.Figure(
        "calibration",
        png(charts.reliability(bins)),
        "Share of raters over share of samples, by bin",
        "Top: mean share of raters over the mean share of samples in each bin. Bottom: the pixels "
        "in each bin, on a logarithmic axis. Most pixels are background.",
    )
    return document.Section("Calibration of the samples", [document.Text(text), drawn])


def beside_raters(results: Results, note: str, raters: int) -> document.Section:
    """Returns the scores of single raters, and those of a sample that replaces the rater."""
    heading = "Comparison with the raters themselves"
    if not results.leave_one_out["raters"]:
        return document.Section(heading, [])
    columns = {
        "raters": "One rater",
        "samples": "One sample",
        "prior_mean": "Prior mean",
    }
    rows = [
        (
            metric.title,
            metric.better,
            *(metric.cell(results.leave_one_out[method].get(metric.name)) for method in columns),
            metric.meaning,
        )
        for metric in LEAVE_ONE_OUT
    ]
    text = (
        f"How well does one rater represent the other {raters - 1}? Each rater in turn is scored "
        "against the others, as if this rater's mask were the only sample of a model. Then one "
        "random sample of the model replaces this rater, and the formulas stay the same. A model "
        "that draws like the raters has the same scores as the raters. The prior mean is a "
        "compromise and may score better than the raters, because these scores do not test whether "
        "a model shows the raters' whole range."
    )
    table = document.Table(("Metric", "Better", *columns.values(), "Meaning"), rows, "llrrrl", note)
    return document.Section(heading, [document.Text(text), table])


def latent(kl: Float[np.ndarray, " d"], active: int, png: Callable[..., bytes]) -> document.Section:
    """Returns the section that shows how much the model uses each latent dimension."""
    text = (
        "How much does a rater's mask change each latent dimension? The bars show the mean KL "
        "divergence of the posterior, which sees the mask, from the prior, which does not. A "
        f"dimension above {ACTIVE_NATS} nats is called active; {active} of {kl.size} dimensions "
        "are active. The other dimensions carry almost no information about the rater, although "
        "samples may still vary along them."
    )
    bars = charts.threshold_bars(kl, threshold=ACTIVE_NATS, label="mean KL, nats", prefix="z")
    values = ", ".join(f"z{i} {value:.3g}" for i, value in enumerate(kl))
    caption = "Mean KL of each latent dimension, the largest first. The axis is logarithmic."
    figure = document.Figure("latent", png(bars), f"Mean KL in nats: {values}", caption)
    return document.Section("Use of the latent dimensions", [document.Text(text), figure])
