"""Writes the report on a comparison of methods: pooled scores and paired differences."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prosona_jax.evaluation.catalogue import LEGEND, METRICS, STYLE_METRICS, Metric, named
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import (
    DIVERSE,
    GEDS,
    HELD_OUT,
    SHARE,
    Comparison,
    Intervals,
    compare,
)
from prosona_jax.report import charts, document, figures, style_summary
from prosona_jax.report.style_summary import Png

_DRAWN = named(STYLE_METRICS, "dice_mean", "ged")
_ARROWS = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓"}


class Compared(NamedTuple):
    """What the report on a comparison shows; R raters, K = R styles."""

    # One row per record, run, seed and method, with the keys "run" (the compared method), "seed",
    # "fold", "commit" (of the code that scored the record), "record_id", "patient_id", "method"
    # ("samples@<S>", "prompts_mean", "prompts_train" or "prompts_held_out"), and the metrics.
    rows: Sequence[dict[str, Any]]
    # The compared methods in the order of the tables, each with the config fields that it changes.
    methods: Mapping[str, Mapping[str, Any]]
    samples: int  # S of the scores of samples
    styles: Sequence[str]  # names of the styles
    by_area: bool  # True: raters have no identity; an image's masks are sorted by area
    bootstrap: int  # resamples of patients for each interval
    # "Short claim: explanation." each. The page shows them in full, and every figure the claims.
    caveats: Sequence[str]
    citation: str  # of the data, printed below every figure; "" for none
    provenance: dict[str, Any]  # where the numbers come from; "config", if present, is collapsed


def write_report(folder: str | os.PathLike[str], compared: Compared) -> dict[str, Any]:
    """Writes report.html, report.md, report.json and rows.csv, and returns report.json's content.

    Args:
        folder: holds the report and nothing else; an earlier report is replaced.
        compared: the content of the report.

    Raises:
        InputError: the folder holds files that are not part of a report.
    """
    methods, raters = compared.methods, len(compared.styles)
    found = compare(
        compared.rows,
        methods=list(methods),
        samples=compared.samples,
        raters=raters,
        bootstrap=compared.bootstrap,
    )
    page = document.Document(
        title=f"Methods on {found.records} records of {found.patients} patients",
        subtitle=f"Compared methods: {', '.join(methods)}. All are scored against the same "
        f"{raters} raters.",
        warnings=compared.caveats,
        sections=[section for section in _sections(compared, found) if section.blocks],
    )
    content = {
        "records": found.records,
        "patients": found.patients,
        "raters": raters,
        "seeds": found.seeds,
        "methods": methods,
        "styles": list(compared.styles),
        **_numbers(found),
        "provenance": compared.provenance,
        "caveats": list(compared.caveats),
        "citation": compared.citation,
    }
    return document.write(folder, page, data=content, rows=compared.rows)


def _sections(compared: Compared, found: Comparison) -> Iterator[document.Section]:
    """Yields the sections of the report in their order; a section may have no blocks."""
    styles, samples, raters = compared.styles, compared.samples, len(compared.styles)
    footnote = document.footnote(compared.caveats, compared.citation)
    png = functools.partial(figures.png, footnote=footnote)
    note = (
        f"Means over {found.records} records. Each record was scored by models that did not see "
        f"its patient in training, and each score is the mean over {len(found.seeds)} "
        f"seed{'s' * (len(found.seeds) > 1)}. In brackets: 95 % intervals from "
        f"{compared.bootstrap} bootstrap resamples of the {found.patients} patients. They do not "
        "include the spread between repeated trainings. Dice is given in points: 100 is perfect. "
        "↑: higher is better. ↓: lower is better."
    )
    yield _personal(found.personal, raters, style_summary.meaning(compared.by_area), note, png)
    for base, gain in found.gains.items():
        yield _gains(gain, base, raters, note)
    for method, table in found.tables.items():
        yield _whose(table, method, styles, png)
    for count, scores in found.diversified.items():
        yield _diverse(scores, found.diversity_gains[count], count, note)
    yield from _meanings(found.personal, raters, samples)
    yield _methods(compared.methods)
    yield document.origin(compared.provenance)
    yield document.Section("Data", [document.Text(compared.citation)] if compared.citation else [])


def _numbers(found: Comparison) -> dict[str, Any]:
    """Returns the scores for report.json."""
    return {
        "personalised": _plain(found.personal),
        "dice_tables": {
            method: [[interval._asdict() for interval in line] for line in table]
            for method, table in found.tables.items()
        },
        "differences": {base: _plain(gain) for base, gain in found.gains.items()},
        "diversified": {count: _plain(scores) for count, scores in found.diversified.items()},
        "diversified_differences": {
            DIVERSE: {count: _plain(gain) for count, gain in found.diversity_gains.items()}
        },
    }


def _table(
    scores: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    samples: int,
    caption: str,
    *,
    sign: bool = False,
    more: Sequence[Sequence[str]] = (),
) -> document.Table:
    """Returns a table with a row per metric and a column per method, because methods are few."""
    table = [
        (
            f"{metric.label(samples)}{_ARROWS[metric.better]}",
            *(metric.cell(x.get(metric.name), sign=sign) for x in scores.values()),
        )
        for metric in metrics
        if any(metric.name in x for x in scores.values())
    ]
    return document.Table(("Metric", *scores), [*table, *more], "l" + "r" * len(scores), caption)


def _personal(
    personal: Mapping[str, Intervals], raters: int, meaning: str, note: str, png: Png
) -> document.Section:
    heading = "One contour per style"
    if not personal:
        return document.Section(heading, [])
    text = (
        "Each method draws one contour for every style. The contour of style k is compared with "
        f"that of rater k. {meaning} “Prompts shuffled” means that each style gets the query of "
        "another style, also in methods that read no sentences. The set of contours stays the "
        "same, and therefore GED and matched Dice too."
    )
    if any(label.endswith(HELD_OUT) for label in personal):
        text += (
            " A method that reads text draws a style's contour from the mean query of the style's "
            "training sentences. Its single sentences are scored too: the training sentences, and "
            "the held-out sentences, on which it was never trained."
        )
    drawn = charts.forest(
        {
            metric.label(raters) + _ARROWS[metric.better]: {
                label: metric.scaled(scores[metric.name])
                for label, scores in personal.items()
                if metric.name in scores
            }
            for metric in _DRAWN
        }
    )
    figure = document.Figure(
        "styles",
        png(drawn),
        "Dice with the own rater and GED of each method, with intervals",
        "Means and 95 % intervals over patients. Two intervals may overlap although the interval "
        "of the paired difference below excludes zero.",
    )
    return document.Section(
        heading, [document.Text(text), _table(personal, STYLE_METRICS, raters, note), figure]
    )


def _gains(gain: Mapping[str, Intervals], base: str, raters: int, note: str) -> document.Section:
    heading = f"Differences to {base}"
    if not gain:
        return document.Section(heading, [])
    return document.Section(heading, [_gain_table(gain, STYLE_METRICS, base, raters, note)])


def _gain_table(
    gain: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    base: str,
    samples: int,
    note: str,
) -> document.Table:
    """Returns the differences to a baseline; for GED also in percent of the baseline's mean."""
    shares = [
        (
            f"{metric.label(samples)}, % of the baseline{_ARROWS[metric.better]}",
            *(
                metric._replace(points=True).cell(x.get(metric.name + SHARE), sign=True)
                for x in gain.values()
            ),
        )
        for metric in GEDS
    ]
    caption = f"{note} Paired differences: method minus `{base}`, on the same records."
    return _table(gain, metrics, samples, caption, sign=True, more=shares)


def _whose(
    table: list[list[Interval]], method: str, styles: Sequence[str], png: Png
) -> document.Section:
    blocks = style_summary.whose(styles, table, png, name=f"whose-{method}")
    return document.Section(f"Styles against raters: {method}", blocks)


def _diverse(
    scores: Mapping[str, Intervals], gain: Mapping[str, Intervals], samples: int, note: str
) -> document.Section:
    heading = f"{samples} samples of the first stage"
    if not scores:
        return document.Section(heading, [])
    sharing: dict[tuple[str, ...], list[str]] = {}  # methods by their cells
    for label, x in scores.items():
        sharing.setdefault(tuple(m.cell(x.get(m.name)) for m in METRICS), []).append(label)
    columns = {", ".join(labels): scores[labels[0]] for labels in sharing.values()}
    gains = {
        ", ".join(labels): gain[labels[0]]
        for labels in sharing.values()
        if DIVERSE not in labels and labels[0] in gain
    }
    text = (
        "These are samples of the first stage, without a style. Methods with the same first stage "
        f"share one column. GED depends on the number of samples: compare it only at S = {samples}."
    )
    blocks: list[document.Block] = [document.Text(text), _table(columns, METRICS, samples, note)]
    if gains:
        blocks.append(_gain_table(gains, METRICS, DIVERSE, samples, note))
    return document.Section(heading, blocks)


def _meanings(
    personal: Mapping[str, Intervals], raters: int, samples: int
) -> list[document.Section]:
    styled = [m for m in STYLE_METRICS if any(m.name in scores for scores in personal.values())]
    kinds: dict[str, tuple[Sequence[Metric], int]] = {
        **({"one contour per style": (styled, raters)} if styled else {}),
        "samples": (METRICS, samples),
    }
    return [
        document.Section(
            f"What the scores of {kind} mean",
            [
                document.Table(
                    ("Metric", "Name in rows.csv", "Meaning"),
                    [(m.label(count), f"`{m.name}`", m.meaning) for m in metrics],
                    "lll",
                    LEGEND if metrics is METRICS else "",
                )
            ],
        )
        for kind, (metrics, count) in kinds.items()
    ]


def _methods(methods: Mapping[str, Mapping[str, Any]]) -> document.Section:
    table = [
        (name, ", ".join(f"`{field}` = {_value(x)}" for field, x in changes.items()) or "none")
        for name, changes in methods.items()
    ]
    columns = ("Method", "Changes to the configuration below")
    return document.Section("The methods", [document.Table(columns, table, "ll")])


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(scores: Mapping[str, Intervals]) -> dict[str, Any]:
    return {
        label: {name: interval._asdict() for name, interval in intervals.items()}
        for label, intervals in scores.items()
    }
