"""Rows of many methods, folds and seeds become one report: tables, and paired differences."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from prosona_jax.evaluation.catalogue import LEGEND, METRICS, STYLE_METRICS, Metric, named
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import DIVERSE, GEDS, HELD_OUT, SHARE, Intervals, compare
from prosona_jax.report import charts, document, figures, style_summary
from prosona_jax.report.style_summary import Png

_DRAWN = named(STYLE_METRICS, "dice_mean", "ged")
_ARROWS = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓"}


def write_report(
    folder: str | os.PathLike[str],
    *,
    rows: Sequence[dict[str, Any]],
    methods: Mapping[str, Mapping[str, Any]],
    samples: int,
    styles: Sequence[str],
    by_area: bool,
    bootstrap: int,
    caveats: Sequence[str],
    citation: str,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Writes report.html, report.md, report.json and rows.csv, and returns report.json's content.

    Args:
        folder: holds the report and nothing else; a report before it is replaced.
        rows: one per record, run, seed and method: {"run": the compared method, "seed", "fold",
            "commit": of the code that scored it, "record_id", "patient_id", "method":
            "samples@<S>", "prompts_mean", "prompts_train" or "prompts_held_out", metric: value}.
        methods: the runs in the order of the tables, and the config fields that each changes.
        samples: S of the diversified scores.
        styles: names of the K styles, as many as raters.
        by_area: the raters have no identity; place k is an image's k-th smallest mask.
        bootstrap: resamples of patients behind each interval.
        caveats: what a reader must know first, "Short claim: explanation." each.
        citation: of the data.
        provenance: how the numbers came about; "config", if there, is folded away as JSON.
    """
    found = compare(
        rows, methods=list(methods), samples=samples, raters=len(styles), bootstrap=bootstrap
    )
    note = (
        f"Means over {found.records} records, each scored by a model that never saw its patient, "
        f"and averaged over {len(found.seeds)} seed{'s' * (len(found.seeds) > 1)}; in brackets the "
        f"95 % interval from {bootstrap} bootstrap resamples of the {found.patients} patients, in "
        "which the spread between trainings is not. "
        "Dice in points: 100 is perfect. ↑ higher, ↓ lower is better."
    )
    png = functools.partial(figures.png, footnote=document.footnote(caveats, citation))
    raters = len(styles)
    sections = [
        _personal(found.personal, raters, style_summary.meaning(by_area), note, png),
        *(_gains(gain, base, raters, note) for base, gain in found.gains.items()),
        *(_whose(table, method, styles, png) for method, table in found.tables.items()),
        *(
            _diverse(scores, found.diversity_gains[count], count, note)
            for count, scores in found.diversified.items()
        ),
        *_meanings(found.personal, raters, samples),
        _methods(methods),
        document.origin(provenance),
        document.Section("Data", [document.Text(citation)] if citation else []),
    ]
    page = document.Document(
        title=f"Methods on {found.records} records of {found.patients} patients",
        subtitle=f"{', '.join(methods)}, each against the same {raters} raters.",
        warnings=caveats,
        sections=[section for section in sections if section.blocks],
    )
    content = {
        "records": found.records,
        "patients": found.patients,
        "raters": raters,
        "seeds": found.seeds,
        "methods": methods,
        "personalised": _plain(found.personal),
        "styles": list(styles),
        "dice_tables": {
            method: [[interval._asdict() for interval in line] for line in table]
            for method, table in found.tables.items()
        },
        "differences": {base: _plain(gain) for base, gain in found.gains.items()},
        "diversified": {count: _plain(scores) for count, scores in found.diversified.items()},
        "diversified_differences": {
            DIVERSE: {count: _plain(gain) for count, gain in found.diversity_gains.items()}
        },
        "provenance": provenance,
        "caveats": list(caveats),
        "citation": citation,
    }
    return document.write(folder, page, data=content, rows=rows)


def _table(
    scores: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    samples: int,
    caption: str,
    *,
    sign: bool = False,
    more: Sequence[Sequence[str]] = (),
) -> document.Table:
    """A row per metric and a column per method: intervals are wide, and methods are few."""
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
        "Each method draws one contour for every style, and style k's is held against rater k's. "
        f"{meaning} Prompts shuffled: no style keeps its own query, be it a sentence or not, which "
        "leaves the set of contours, hence GED and matched Dice, as it is."
    )
    if any(label.endswith(HELD_OUT) for label in personal):
        text += (
            " A method that reads text draws a style's contour by the mean query of the style's "
            "training sentences. Single sentences are scored besides: those of training, and "
            "held-out ones, on which it never trained."
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
        "Dice with the own rater, and GED, of each method, with intervals",
        "Means and 95 % intervals over patients. Where two intervals overlap the paired difference "
        "below can still be clear of zero.",
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
    """Differences to a baseline; those in GED besides as a share of its mean."""
    shares = [
        (
            f"{metric.label(samples)}, % of the baseline's{_ARROWS[metric.better]}",
            *(
                metric._replace(points=True).cell(x.get(metric.name + SHARE), sign=True)
                for x in gain.values()
            ),
        )
        for metric in GEDS
    ]
    caption = f"{note} Paired: method minus `{base}`, record by record."
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
    sharing: dict[tuple[str, ...], list[str]] = {}
    for label, x in scores.items():
        sharing.setdefault(tuple(m.cell(x.get(m.name)) for m in METRICS), []).append(label)
    columns = {", ".join(labels): scores[labels[0]] for labels in sharing.values()}
    gains = {
        ", ".join(labels): gain[labels[0]]
        for labels in sharing.values()
        if DIVERSE not in labels and labels[0] in gain
    }
    text = (
        "What the first stage draws when no style is asked for; methods that share it stand in one "
        f"column. GED depends on the number of samples: compare it only at S = {samples}."
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
            f"What the scores of {kind} say",
            [
                document.Table(
                    ("Metric", "In rows.csv", "What it says"),
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
        (name, ", ".join(f"`{field}` = {_value(x)}" for field, x in changes.items()) or "nothing")
        for name, changes in methods.items()
    ]
    columns = ("Method", "What it changes in the configuration below")
    return document.Section("The methods", [document.Table(columns, table, "ll")])


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(scores: Mapping[str, Intervals]) -> dict[str, Any]:
    return {
        label: {name: interval._asdict() for name, interval in intervals.items()}
        for label, intervals in scores.items()
    }
