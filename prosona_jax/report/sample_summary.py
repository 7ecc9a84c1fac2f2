"""What the first stage adds to the report: samples against raters, in tables and pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.catalogue import ACTIVE_NATS, LEAVE_ONE_OUT, LEGEND, METRICS, named
from prosona_jax.evaluation.results import Results, Rows
from prosona_jax.report import charts, document, figures
from prosona_jax.report.figures import Panel

GED, MATCHED = named(METRICS, "ged", "dice_match")


def pictures(
    panels: Sequence[Panel], scored: Rows, samples: int, png: Callable[..., bytes]
) -> document.Section:
    """Returns the panels: one record a figure, what raters and samples drew on it."""
    if not panels:
        return document.Section("Pictures", [])
    text = (
        "From left to right: the image, with a frame around the part that the others enlarge; the "
        "raters' contours, a colour for each, thin over thick where they coincide; contours of "
        "samples; and for each pixel the share of raters and of all samples that include it. The "
        "closer the last two maps, the better the model knows where raters disagree."
    )
    score_of = {row["record_id"]: row for row in scored}
    drawn = [
        document.Figure(
            f"panel-{number:02d}",
            png(figures.panel(panel)),
            f"{panel.record_id}: image, contours of raters and samples, maps of agreement",
            f"`{panel.record_id}`: {_scored(score_of.get(panel.record_id, {}), samples)}",
        )
        for number, panel in enumerate(panels, 1)
    ]
    return document.Section("Pictures", [document.Text(text), *drawn])


def _scored(row: Mapping[str, Any], samples: int) -> str:
    present = [metric for metric in METRICS if row.get(metric.name) is not None]
    return "; ".join(f"{metric.label(samples)} {metric.number(row[metric.name])}"
                     for metric in present if metric in (GED, MATCHED))  # fmt: skip


def scores(results: Results, note: str, raters: int, samples: int) -> document.Section:
    """Returns the table of the samples' scores beside those of f(x, mu_p) alone."""
    rows = [
        (
            metric.label(samples),
            metric.better,
            metric.cell(results.samples[metric.name]),
            metric.cell(results.prior_mean.get(metric.name)),
            metric.cell(results.difference.get(metric.name), sign=True),
        )
        for metric in METRICS
        if metric.name in results.samples
    ]
    columns = ("Metric", "Better", f"{samples} samples", "Prior mean", "Difference")
    caption = (
        f"{note} Prior mean: `f(x, mu_p)` in place of every sample. Difference: samples minus "
        "prior mean, record by record."
    )
    meanings = [(metric.label(samples), f"`{metric.name}`", metric.meaning) for metric in METRICS]
    warning = (
        f"GED depends on the number of samples and of raters (S = {samples}, R = {raters}): "
        "compare it only with figures of the same S, the same R and the same convention."
    )
    return document.Section(
        "Scores",
        [
            document.Table(columns, rows, "llrrr", caption),
            document.Text(warning),
            document.Table(("Metric", "In report.json", "What it says"), meanings, "lll", LEGEND),
        ],
    )


def beside_raters(results: Results, note: str, raters: int) -> document.Section:
    """Returns each rater's own scores beside those of one sample in the same place."""
    heading = "Beside the raters themselves"
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
        f"How well does one rater stand for the other {raters - 1}? Each in turn is scored "
        "against them, as if that rater's mask were a model's only sample. Then one random sample "
        "of the model takes that rater's place, under the same formulas: a model that draws as "
        "the raters do scores as they do. The prior mean, a middle course, may score above them, "
        "for these scores do not ask whether a model shows the raters' whole range."
    )
    table = document.Table(
        ("Metric", "Better", *columns.values(), "What it says"), rows, "llrrrl", note
    )
    return document.Section(heading, [document.Text(text), table])


def latent(kl: Float[np.ndarray, " d"], active: int, png: Callable[..., bytes]) -> document.Section:
    """Returns the use of each latent dimension."""
    text = (
        "How far does sight of a rater's mask move each latent dimension? The mean KL divergence "
        "of the posterior, which sees it, from the prior, which does not. A dimension above "
        f"{ACTIVE_NATS} nats is called active; {active} of {kl.size} are. The others carry next to "
        "nothing about the rater, though samples may still vary along them."
    )
    bars = charts.threshold_bars(kl, threshold=ACTIVE_NATS, label="mean KL, nats", prefix="z")
    values = ", ".join(f"z{i} {value:.3g}" for i, value in enumerate(kl))
    caption = "Mean KL of each latent dimension, largest first; logarithmic axis."
    figure = document.Figure("latent", png(bars), f"Mean KL in nats: {values}", caption)
    return document.Section("Use of the latent", [document.Text(text), figure])
