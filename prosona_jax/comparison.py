"""Rows of many methods, folds and seeds become one report: a table, and paired differences."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from prosona_jax import report
from prosona_jax.intervals import Interval
from prosona_jax.results import METRICS, STYLE_METRICS, Intervals, Metric, Rows, differences, means

BASELINES = ("dpersona", "dpersona_heads")
_HELD_OUT = ", held-out sentences"
_IDS = ("record_id", "patient_id")
_NOT_SCORES = (*_IDS, "run", "method", "fold", "seed")


def write_report(
    folder: str | os.PathLike[str],
    *,
    rows: Sequence[dict[str, Any]],
    methods: Sequence[str],
    samples: int,
    raters: int,
    bootstrap: int,
    caveats: Sequence[str],
    citation: str,
    provenance: dict[str, Any],
) -> dict[str, Any]:
    """Writes report.html, report.md, report.json and rows.csv, and returns report.json's content.

    Args:
        folder: holds the report and nothing else; a report before it is replaced.
        rows: one per record, run, seed and method: {"run": the compared method, "seed", "fold",
            "record_id", "patient_id", "method": "samples@<S>", "prompts_train" or
            "prompts_held_out", metric: value}.
        methods: the runs in the order of the tables.
        samples: S of the diversified scores.
        raters: R = K, the styles.
        bootstrap: resamples of patients behind each interval.
        caveats: what a reader must know first, "Short claim: explanation." each.
        citation: of the data.
        provenance: how the numbers came about.
    """
    styled = pool(rows, {"prompts_train": "", "prompts_held_out": _HELD_OUT})
    diverse = pool(rows, {f"samples@{samples}": ""})
    few = pool(rows, {f"samples@{raters}": ""})
    labels = [name for m in methods for name in (m, m + _HELD_OUT)]
    personal = _scores(styled, labels, STYLE_METRICS, bootstrap)
    gains = {
        base: _differences_to(styled, base, labels, bootstrap)
        for base in BASELINES
        if base in personal
    }
    patients = len({row["patient_id"] for row in rows})
    records = len({row["record_id"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    note = (
        f"Means over {records} records, each scored by a model that never saw its patient, and "
        f"averaged over {len(seeds)} seed{'s' * (len(seeds) > 1)}; in brackets the 95 % interval "
        f"from {bootstrap} bootstrap resamples of the {patients} patients. Dice in points."
    )
    diversified = {
        f"{samples}": _scores(diverse, methods, METRICS, bootstrap),
        f"{raters}": _scores(few, methods, METRICS, bootstrap),
    }
    sections = [
        _personal(personal, gains, raters, note),
        *(_gains(gains[base], personal, base, raters, note) for base in gains),
        *(_diverse(scores, int(count), note) for count, scores in diversified.items()),
        _meanings(raters),
        report.Section(
            "Provenance",
            [report.Table(("How it came about", ""), report.entries(
                {k: v for k, v in provenance.items() if k != "config"}), "ll")],
        ),
    ]  # fmt: skip
    document = report.Document(
        title=f"Methods on {records} records",
        subtitle=f"{', '.join(methods)}: whose contour does a style draw, and how surely?",
        warnings=caveats,
        sections=[
            *[section for section in sections if section.blocks],
            *([report.Section("Data", [report.Text(citation)])] if citation else []),
        ],
    )
    content = {
        "records": records,
        "patients": patients,
        "raters": raters,
        "seeds": seeds,
        "personalised": {name: _plain(x) for name, x in personal.items()},
        "differences": {
            base: {name: _plain(x) for name, x in gain.items()} for base, gain in gains.items()
        },
        "diversified": {
            count: {name: _plain(x) for name, x in scores.items()}
            for count, scores in diversified.items()
        },
        "provenance": provenance,
        "caveats": list(caveats),
        "citation": citation,
    }
    return report.write(folder, document, data=content, rows=rows)


def pool(rows: Rows, suffixes: dict[str, str]) -> list[dict[str, Any]]:
    """Returns one row per record and run: each score's mean over the run's seeds.

    Args:
        rows: as in :func:`write_report`.
        suffixes: which methods to keep, and what each adds to the run's name in "method".
    """
    groups: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        if row["method"] in suffixes:
            label = row["run"] + suffixes[row["method"]]
            groups.setdefault((label, row["record_id"], row["patient_id"]), []).append(row)
    return [
        dict(zip(("method", *_IDS), key, strict=True))
        | {
            name: float(np.mean([row[name] for row in group]))
            for name in group[0]
            if name not in _NOT_SCORES
        }
        for key, group in groups.items()
    ]


def _scores(
    rows: Rows, labels: Sequence[str], metrics: Sequence[Metric], bootstrap: int
) -> dict[str, Intervals]:
    """Scores of each method that has rows."""
    scores = {label: means(rows, label, metrics, bootstrap) for label in labels}
    return {label: intervals for label, intervals in scores.items() if intervals}


def _differences_to(
    rows: Rows, base: str, labels: Sequence[str], bootstrap: int
) -> dict[str, Intervals]:
    found = {
        label: differences(rows, label, base, STYLE_METRICS, bootstrap)
        for label in labels
        if label != base
    }
    return {label: intervals for label, intervals in found.items() if intervals}


def _personal(
    personal: dict[str, Intervals], gains: dict[str, Any], raters: int, note: str
) -> report.Section:
    heading = "One contour per style"
    if not personal:
        return report.Section(heading, [])
    shown = [m for m in STYLE_METRICS if any(m.name in x for x in personal.values())]
    shuffled = [
        (f"{label}, prompts shuffled", *(
            m.cell(x.get("dice_others")) if m.name == "dice_mean" else "" for m in shown
        ))
        for label, x in personal.items() if not label.endswith(_HELD_OUT)
    ]  # fmt: skip
    table = [
        *((label, *(m.cell(x.get(m.name)) for m in shown)) for label, x in personal.items()),
        *shuffled,
    ]
    columns = ("Method", *(f"{m.label(raters)}" for m in shown))
    text = (
        "Shuffled: no style keeps its prompt, which leaves the set of masks, hence GED and matched "
        "Dice, as it is."
    )
    return report.Section(
        heading, [report.Table(columns, table, "l" + "r" * len(shown), note), report.Text(text)]
    )


def _gains(
    gain: dict[str, Intervals], personal: dict[str, Intervals], base: str, raters: int, note: str
) -> report.Section:
    shown = [m for m in STYLE_METRICS if any(m.name in x for x in gain.values())]
    table = [
        (label, *(m.cell(x.get(m.name), sign=True) for m in shown), _share(x, personal[base]))
        for label, x in gain.items()
    ]
    ged = next(m for m in STYLE_METRICS if m.name == "ged_dpersona").label(raters)
    columns = ("Method", *(m.label(raters) for m in shown), f"{ged}, share")
    caption = f"{note} Paired: method minus `{base}`, record by record."
    return report.Section(
        f"Differences to {base}",
        [report.Table(columns, table, "l" + "r" * (len(shown) + 1), caption)],
    )


def _share(gain: Intervals, base: Intervals) -> str:
    """The difference in D-Persona's GED as a share of the baseline's mean."""
    difference: Interval = gain["ged_dpersona"]
    return f"{100 * difference.mean / base['ged_dpersona'].mean:+.0f} %".replace("-", "−")


def _diverse(scores: dict[str, Intervals], samples: int, note: str) -> report.Section:
    heading = f"{samples} samples of the first stage"
    if not scores:
        return report.Section(heading, [])
    table = [(label, *(m.cell(x.get(m.name)) for m in METRICS)) for label, x in scores.items()]
    columns = ("Method", *(m.label(samples) for m in METRICS))
    return report.Section(heading, [report.Table(columns, table, "l" + "r" * len(METRICS), note)])


def _meanings(raters: int) -> report.Section:
    every = {m.name: m for m in (*METRICS, *STYLE_METRICS)}
    table = [(m.label(raters), f"`{name}`", m.meaning) for name, m in every.items()]
    return report.Section(
        "What the scores say",
        [report.Table(("Metric", "In rows.csv", "What it says"), table, "lll")],
    )


def _plain(intervals: Intervals) -> dict[str, Any]:
    return {name: interval._asdict() for name, interval in intervals.items()}
