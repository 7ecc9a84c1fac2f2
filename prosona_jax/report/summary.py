"""Writes the report on a run: its numbers, tables and figures, and what they mean."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.calibration import Bins
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
from prosona_jax.evaluation.volume_results import VolumeResults, collect_volumes
from prosona_jax.report import (
    card_summary,
    charts,
    document,
    figures,
    language_summary,
    latent_summary,
    sample_summary,
    site_summary,
    style_summary,
    volume_summary,
)
from prosona_jax.report.card_summary import Card, Carded
from prosona_jax.report.figures import Panel
from prosona_jax.report.language_summary import Language
from prosona_jax.report.latent_summary import Explored
from prosona_jax.report.sample_summary import GED, MATCHED
from prosona_jax.report.style_summary import Styled
from prosona_jax.report.volume_summary import Volumes


class Evaluated(NamedTuple):
    """What the report on a run shows; R raters, S samples, d latent dimensions."""

    title: str
    # One row per record and method. "samples" (S draws of the prior) and "prior_mean" (f(x, mu_p)
    # repeated S times) have the metrics of `catalogue.METRICS` and `catalogue.LEAVE_ONE_OUT`,
    # "raters" has only the latter. "prompts_mean", "prompts_train" and "prompts_held_out" have
    # those of `scoring.evaluate_styles`. Absent values and NaN are left out of every mean.
    rows: list[dict[str, Any]]
    # By stage: rows {"step", "split": "train" | "validation", name: value...}.
    history: Mapping[str, Rows]
    latent_kl: Float[np.ndarray, " d"]  # mean KL(q || p) of each latent dimension, nats
    bins: Bins  # the pixels of all records by the share of samples that include them
    panels: Sequence[Panel]  # the records to draw; their scores are in `rows`
    provenance: dict[str, Any]  # where the numbers come from; "config", if present, is collapsed
    data: dict[str, Any]  # the scored data, for report.json: split and fingerprint
    described: Mapping[str, str]  # the scored data in words, for the page
    # "Short claim: explanation." each. The page shows them in full, and every figure the claims.
    caveats: Sequence[str]
    citation: str  # of the data, printed below every figure; "" for none
    raters: int  # R
    samples: int  # S, drawn from the prior for each record
    styled: Styled | None  # what the second stage draws; None without a second stage
    language: Language | None  # what it draws for test sentences; None: not asked for any
    carded: Carded | None  # the raters' measured habits; None: prompts are no measured cards
    by_area: bool  # True: raters have no identity; an image's masks are sorted by area
    bootstrap: int  # resamples of patients for each interval
    explored: Explored | None = None  # what the latent dimensions do; None: not measured
    volumes: Volumes | None = None  # the scores of volumes; None: the records are no slices

    def scored(self) -> Rows:
        """Returns the rows of the samples, one per record."""
        return [row for row in self.rows if row["method"] == "samples"]

    def patients(self) -> int:
        """Returns the number of patients."""
        return len({row["patient_id"] for row in self.scored()})

    def active(self) -> int:
        """Returns the number of active latent dimensions."""
        return int((self.latent_kl > ACTIVE_NATS).sum())


def write_report(folder: str | os.PathLike[str], evaluated: Evaluated) -> dict[str, Any]:
    """Writes report.html, report.md, report.json, rows.csv and, of volumes, rows_volumes.csv.

    Args:
        folder: holds the report and nothing else; an earlier report is replaced.
        evaluated: the content of the report.

    Returns:
        The content of report.json. For the samples it has the keys that `prosona_jax.score` prints.
        The other keys are "title", "prior_mean", "difference", "leave_one_out", "latent",
        "calibration", "data", "provenance", "caveats", "citation", "language", the scores of test
        sentences, "volumes", "cards", the raters' habits beside those of their styles, and
        "styles", which has a mapping for each split of the prompts.

    Raises:
        InputError: the folder holds files that are not part of a report.
    """
    rows, bootstrap, raters = evaluated.rows, evaluated.bootstrap, evaluated.raters
    results = collect(rows, bootstrap=bootstrap)
    second = collect_styles(rows, styles=raters, bootstrap=bootstrap) if evaluated.styled else None
    volumes = evaluated.volumes
    in_3d = None
    if volumes is not None:
        styles = len(volumes.styles)
        in_3d = collect_volumes(volumes.rows, styles=styles, bootstrap=bootstrap)
    records, patients = len(evaluated.scored()), evaluated.patients()
    page = document.Document(
        title=evaluated.title,
        subtitle="A probabilistic U-Net that draws many segmentations of one image"
        + (", with a second stage that draws in a given style" if second else "")
        + f". It was scored against {raters} rater{'s' * (raters > 1)} on {records} records of "
        f"{patients} patients.",
        warnings=evaluated.caveats,
        sections=[
            section for section in _sections(evaluated, results, second, in_3d) if section.blocks
        ],
    )
    content = {
        "title": evaluated.title,
        "records": records,
        "patients": patients,
        "raters": raters,
        "samples": evaluated.samples,
        **_numbers(results, second),
        "language": [score._asdict() for score in evaluated.language.scores]
        if evaluated.language
        else [],
        "cards": [_card(card) for card in evaluated.carded.cards] if evaluated.carded else [],
        "latent": {
            "kl": evaluated.latent_kl,
            "threshold": ACTIVE_NATS,
            "active": evaluated.active(),
            **(latent_summary.numbers(evaluated.explored) if evaluated.explored else {}),
        },
        "calibration": evaluated.bins._asdict(),
        "volumes": volume_summary.numbers(volumes, in_3d) if volumes and in_3d else {},
        "data": evaluated.data,
        "provenance": evaluated.provenance,
        "caveats": list(evaluated.caveats),
        "citation": evaluated.citation,
    }
    return document.write(
        folder, page, data=content, rows=rows, volume_rows=volumes.rows if volumes else ()
    )


def _sections(
    evaluated: Evaluated,
    results: Results,
    second: StyleResults | None,
    in_3d: VolumeResults | None,
) -> Iterator[document.Section]:
    """Yields the sections of the report in their order; a section may have no blocks."""
    kl, panels, styled = evaluated.latent_kl, evaluated.panels, evaluated.styled
    raters, samples, active = evaluated.raters, evaluated.samples, evaluated.active()
    footnote = document.footnote(evaluated.caveats, evaluated.citation)
    png = functools.partial(figures.png, footnote=footnote)
    scored = evaluated.scored()
    note = (
        f"Means over {len(scored)} records. In brackets: 95 % intervals from "
        f"{evaluated.bootstrap} bootstrap resamples of the {evaluated.patients()} patients. Dice "
        "is given in points: 100 is perfect."
    )
    yield _findings(results, second, samples, raters, active, kl.size)
    yield _setting(evaluated.described, raters, samples, kl.size, evaluated.by_area)
    if second and styled:
        yield from style_summary.sections(second, styled, panels, note, png)
        if evaluated.carded:
            yield card_summary.section(evaluated.carded, png)
        if evaluated.language and styled.walked:
            yield language_summary.section(evaluated.language, styled.walked, png)
    yield sample_summary.pictures(panels, scored, samples, png)
    yield sample_summary.scores(results, note, raters, samples)
    yield sample_summary.calibration(evaluated.bins, png)
    yield sample_summary.beside_raters(results, note, raters)
    volumes, bootstrap = evaluated.volumes, evaluated.bootstrap
    if volumes and in_3d:
        yield volume_summary.section(volumes, in_3d, samples, bootstrap)
    of_volumes = volumes.rows if volumes else []
    yield site_summary.section(evaluated.rows, of_volumes, samples, bootstrap)
    yield sample_summary.latent(kl, active, png)
    if evaluated.explored:
        yield latent_summary.section(evaluated.explored, kl, png)
    for stage, history in evaluated.history.items():
        yield _training(stage, history, png)
    yield document.origin(evaluated.provenance)


def _numbers(results: Results, second: StyleResults | None) -> dict[str, Any]:
    return {
        "metrics": _mapping(results.samples),
        "prior_mean": _mapping(results.prior_mean),
        "difference": _mapping(results.difference),
        "leave_one_out": {name: _mapping(x) for name, x in results.leave_one_out.items()},
        "styles": _styles(second),
    }


def _card(card: Card) -> dict[str, Any]:
    habits = {"measured": _mapping(card.measured), "drawn": _mapping(card.drawn)}
    return {"name": card.name, "sentences": list(card.sentences)} | habits


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
        "area_mm2": [interval._asdict() for interval in results.areas_mm2],
        "contours": [_mapping(own) for own in results.contours],
        "undefined": results.undefined,
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
        facts.append(("GED, samples minus prior mean", number, f"{span}; lower is better"))
    facts.append(
        ("Active latent dimensions", f"{active} of {d}", f"mean KL above {ACTIVE_NATS} nats")
    )
    verdict = [document.Text(_verdict(gain))] if gain else []
    return document.Section("In short", [document.Facts(facts), *verdict])


def _verdict(gain: Interval) -> str:
    """Returns whether the model uses its latent variable, from the paired difference in GED."""
    direction = "lower" if gain.mean < 0 else "higher"
    start = (
        "Does the model use its latent variable z? If it did not, every sample would be equal to "
        "`f(x, mu_p)`, the segmentation at the mean of the prior. On the same records, the GED of "
        f"the samples is {GED.number(abs(gain.mean))} {direction} than the GED of `f(x, mu_p)` "
        "alone"
    )
    if not (limits := bounds(gain)):
        return f"{start}. One patient gives no interval, so this difference shows nothing."
    low, high = limits
    if high < 0:
        end = "The whole interval is below zero: the model uses z, and its samples gain from it."
    elif low > 0:
        end = "The whole interval is above zero: the samples are worse than `f(x, mu_p)` alone."
    else:
        end = "The interval includes zero: these records do not show that the model uses z."
    return f"{start} (difference: {GED.between(gain, sign=True)}). {end}"


def _setting(
    described: Mapping[str, str], raters: int, samples: int, d: int, by_area: bool
) -> document.Section:
    paragraphs = (
        "Raters who outline the same structure disagree, and no single mask is the truth. This "
        "model learns the range of their masks. A U-Net turns the image x into features `U(x)`. A "
        "prior network turns x into a normal distribution, with mean mu_p, of a latent variable z "
        f"of d = {d} numbers. A few 1×1 convolutions turn the features and z into a segmentation "
        "`f(x, z)`. In training, a posterior network, which also sees the raters' masks, says "
        f"which z to use. After training, z is drawn from the prior, here S = {samples} times per "
        "image. These S segmentations are the samples. A pixel belongs to the mask of a sample if "
        "its probability is above 0.5.",
        "The raters of an image have no fixed order: nobody knows which person drew which mask. A "
        "model that is trained on these data cannot learn how one particular rater draws. The "
        "masks of each image are sorted by area."
        if by_area
        else f"Rater k of {raters} is the same person or tool in every image.",
    )
    rows = list(described.items())
    table = [document.Table(("Scored data", "Value"), rows, "ll")] if rows else []
    return document.Section(
        "The model and the scored data", [*map(document.Text, paragraphs), *table]
    )


def _training(stage: str, history: Rows, png: Callable[..., bytes]) -> document.Section:
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        # Another section shows the KL of the single dimensions.
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
        "Each logged quantity over the optimiser steps. Each chart has its own scale. Scores "
        "during training may be computed from fewer samples than the scores of this report."
    )
    alt = f"Training curves of {', '.join(drawn)}"
    figure = document.Figure(
        f"curves-{stage.replace(' ', '-')}", png(charts.curves(drawn)), alt, caption
    )
    return document.Section(f"Training, {stage}", [figure])


def _mapping(intervals: Intervals) -> dict[str, dict[str, float | None]]:
    return {name: interval._asdict() for name, interval in intervals.items()}
