"""Evaluation results become the report: what the numbers mean, in sentences."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.catalogue import ACTIVE_NATS, bounds
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import (
    Intervals,
    Results,
    Rows,
    StyleResults,
    collect,
    collect_styles,
)
from prosona_jax.report import charts, document, figures, sample_summary, style_summary
from prosona_jax.report.figures import Panel
from prosona_jax.report.sample_summary import GED, MATCHED
from prosona_jax.report.style_summary import Styled


def write_report(
    folder: str | os.PathLike[str],
    *,
    title: str,
    rows: list[dict[str, Any]],
    history: Mapping[str, Rows],
    latent_kl: Float[np.ndarray, " d"],
    panels: Sequence[Panel],
    provenance: dict[str, Any],
    data: dict[str, Any],
    described: Mapping[str, str],
    caveats: Sequence[str],
    citation: str,
    raters: int,
    samples: int,
    styled: Styled | None,
    by_area: bool,
    bootstrap: int,
) -> dict[str, Any]:
    """Writes report.html, report.md, report.json and rows.csv.

    Args:
        folder: holds the report and nothing else; a report before it is replaced.
        title: heading of the report.
        rows: one per record and method, {"record_id", "patient_id", "method", metric: value};
            absent and NaN values count nowhere. Methods: "samples" (S draws of the prior) and
            "prior_mean" (f(x, mu_p) repeated S times) with the metrics of `catalogue.METRICS` and
            `catalogue.LEAVE_ONE_OUT`, "raters" with the latter alone; "prompts_mean",
            "prompts_train" and "prompts_held_out" with those of `evaluate.evaluate_styles`.
        history: by stage, rows {"step", "split": "train" | "validation", name: value...}.
        latent_kl: mean KL(q || p) of each latent dimension [nats].
        panels: records to draw; their scores are looked up in `rows`.
        provenance: how the run came about; "config", if there, is folded away as JSON.
        data: what was scored, for report.json: split, fingerprint.
        described: the same in words, for the page.
        caveats: "Short claim: explanation." each; a box above the report shows them whole, and
            every figure shows the claim.
        citation: of the data, printed on every figure; "" for none.
        raters: R, raters of the data set.
        samples: S, prior samples per record.
        styled: what the second stage draws; None without one.
        by_area: the raters have no identity; place k is an image's k-th smallest mask.
        bootstrap: resamples of patients behind each interval.

    Returns:
        What report.json holds: the keys that `prosona_jax.score` prints, for the samples, and
        "title", "prior_mean", "difference", "leave_one_out", "latent", "data", "provenance",
        "caveats", "citation", and "styles": for each split of the prompts such a mapping.

    Raises:
        InputError: the folder holds files that no report has written.
    """
    scored = [row for row in rows if row["method"] == "samples"]
    patients = len({row["patient_id"] for row in scored})
    results = collect(rows, bootstrap=bootstrap)
    active = int((latent_kl > ACTIVE_NATS).sum())
    png = functools.partial(figures.png, footnote=document.footnote(caveats, citation))
    note = (
        f"Means over {len(scored)} records; in brackets the 95 % interval, from {bootstrap} "
        f"bootstrap resamples of the {patients} patients. Dice in points: 100 is perfect."
    )
    second = collect_styles(rows, styles=raters, bootstrap=bootstrap) if styled else None
    sections = (
        _findings(results, second, samples, raters, active, latent_kl.size),
        _setting(described, raters, samples, latent_kl.size, by_area),
        *(style_summary.sections(second, styled, panels, note, png) if second and styled else ()),
        sample_summary.pictures(panels, scored, samples, png),
        sample_summary.scores(results, note, raters, samples),
        sample_summary.beside_raters(results, note, raters),
        sample_summary.latent(latent_kl, active, png),
        *(_training(stage, lines, png) for stage, lines in history.items()),
        document.origin(provenance),
    )
    page = document.Document(
        title=title,
        subtitle="A probabilistic U-Net that draws many segmentations of one image"
        + (", and a second stage that draws the one asked for" if styled else "")
        + f", scored against {raters} rater{'s' * (raters > 1)} on {len(scored)} records of "
        f"{patients} patients.",
        warnings=caveats,
        sections=[section for section in sections if section.blocks],
    )
    content = {
        "title": title,
        "records": len(scored),
        "patients": patients,
        "raters": raters,
        "samples": samples,
        **_numbers(results, second),
        "latent": {"kl": latent_kl, "threshold": ACTIVE_NATS, "active": active},
        "data": data,
        "provenance": provenance,
        "caveats": list(caveats),
        "citation": citation,
    }
    return document.write(folder, page, data=content, rows=rows)


def _numbers(results: Results, second: StyleResults | None) -> dict[str, Any]:
    return {
        "metrics": _mapping(results.samples),
        "prior_mean": _mapping(results.prior_mean),
        "difference": _mapping(results.difference),
        "leave_one_out": {name: _mapping(x) for name, x in results.leave_one_out.items()},
        "styles": _styles(second),
    }


def _styles(results: StyleResults | None) -> dict[str, Any]:
    if results is None:
        return {}
    table = [[interval._asdict() for interval in line] for line in results.table]
    own = {"dice_style": [line[k] for k, line in enumerate(table)]}
    return {
        "prompts_mean": _mapping(results.styles) | own,
        "prompts_train": _mapping(results.trained),
        "prompts_held_out": _mapping(results.held_out),
        "difference": _mapping(results.difference),
        "dice_table": table,
        "area": [interval._asdict() for interval in results.areas],
    }


def _findings(
    results: Results,
    second: StyleResults | None,
    samples: int,
    raters: int,
    active: int,
    d: int,
) -> document.Section:
    facts = style_summary.facts(second, raters) if second else []
    facts += [
        (metric.label(samples), metric.number(interval.mean),
         f"{metric.between(interval)}; {metric.better} is better")
        for metric in (GED, MATCHED)
        if (interval := results.samples.get(metric.name))
    ]  # fmt: skip
    gain = results.difference.get("ged")
    if gain:
        number, span = GED.number(gain.mean, sign=True), GED.between(gain, sign=True)
        facts.append(("GED, samples − prior mean", number, f"{span}; lower is better"))
    facts.append(
        ("Active latent dimensions", f"{active} of {d}", f"mean KL above {ACTIVE_NATS} nats")
    )
    verdict = [document.Text(_verdict(gain))] if gain else []
    return document.Section("In short", [document.Facts(facts), *verdict])


def _verdict(gain: Interval) -> str:
    """Whether the model uses its latent, judged by the paired difference in GED."""
    direction = "lower" if gain.mean < 0 else "higher"
    start = (
        "Does the model use its latent? If it did not, every sample would equal `f(x, mu_p)`, "
        "the segmentation at the mean of the prior. On the same records, the GED of the samples "
        f"is {GED.number(abs(gain.mean))} {direction} than that of `f(x, mu_p)` in place of each "
        "sample"
    )
    if not (limits := bounds(gain)):
        return f"{start}. One patient gives no interval, so nothing follows from it."
    low, high = limits
    if high < 0:
        end = "the whole interval lies below zero: it uses its latent, and gains by it."
    elif low > 0:
        end = "the whole interval lies above zero: its samples are worse than no samples at all."
    else:
        end = "the interval includes zero: these records do not show that it does."
    return f"{start} ({GED.between(gain, sign=True)} of the difference); {end}"


def _setting(
    described: Mapping[str, str], raters: int, samples: int, d: int, by_area: bool
) -> document.Section:
    paragraphs = (
        "Raters who outline the same structure disagree, and no one mask is the truth. This model "
        "learns the range of their answers. A U-Net turns the image x into features `U(x)`; a "
        "prior network turns it into a normal distribution, with mean mu_p, of a latent z of "
        f"d = {d} numbers; a few 1×1 convolutions turn features and z into a segmentation "
        "`f(x, z)`. In training, a posterior network that also sees what the raters drew says "
        f"which z to use. Afterwards z is drawn from the prior, here S = {samples} times per "
        "image: these S segmentations are the samples. A pixel belongs to one where its "
        "probability is above 0.5.",
        "The raters of an image are a set without order: nobody knows which person drew "
        "which mask, so no model trained on it can tell how one particular rater draws. Their "
        "masks are put in order of area."
        if by_area
        else f"Rater k of {raters} is the same person or tool in every image.",
    )
    rows = list(described.items())
    table = [document.Table(("What was scored", ""), rows, "ll")] if rows else []
    return document.Section(
        "What was trained, and on what it was scored", [*map(document.Text, paragraphs), *table]
    )


def _training(stage: str, history: Rows, png: Callable[..., bytes]) -> document.Section:
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        # The KL of single dimensions has its own section.
        names = (name for name in row if not name.startswith("kl_z"))
        for name in set(names) - {"step", "split", "seconds"}:
            line = points.setdefault(name, {}).setdefault(row["split"], [])
            line.append((row["step"], row[name]))
    drawn = {
        name: {split: np.array(line).T for split, line in lines.items()}
        for name, lines in sorted(points.items())
    }
    if not drawn:
        return document.Section(f"Training, {stage}", [])
    caption = (
        "Each logged quantity by optimiser step, on its own scale. Scores during training may rest "
        "on fewer samples than those of this report."
    )
    alt = f"Curves of {', '.join(drawn)}"
    figure = document.Figure(
        f"curves-{stage.replace(' ', '-')}", png(charts.curves(drawn)), alt, caption
    )
    return document.Section(f"Training, {stage}", [figure])


def _mapping(intervals: Intervals) -> dict[str, dict[str, float | None]]:
    return {name: interval._asdict() for name, interval in intervals.items()}
