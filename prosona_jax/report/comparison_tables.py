"""Tables of a comparison: the scores of each method, and paired differences to a baseline."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prosona_jax.evaluation.catalogue import Metric
from prosona_jax.evaluation.results import DIVERSE, SHARE, Comparison, Intervals, geds
from prosona_jax.report import document

ARROWS = {
    "higher": "\N{NO-BREAK SPACE}↑",
    "lower": "\N{NO-BREAK SPACE}↓",
    "near 0": "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}0",
}


def score_table(
    scores: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    samples: int,
    caption: str,
    *,
    sign: bool = False,
    more: Sequence[Sequence[str]] = (),
) -> document.Table:
    """Returns a table with a row per metric and a column per method, because methods are few."""
    lines = [
        (
            f"{metric.label(samples)}{ARROWS[metric.better]}",
            *(metric.cell(x.get(metric.name), sign=sign) for x in scores.values()),
        )
        for metric in present(metrics, scores.values())
    ]
    return document.Table(("Metric", *scores), [*lines, *more], "l" + "r" * len(scores), caption)


def present(metrics: Iterable[Metric], scores: Iterable[Intervals]) -> list[Metric]:
    """Returns the metrics that any of the scores has."""
    names = {name for own in scores for name in own}
    return [metric for metric in metrics if metric.name in names]


def gain_table(
    gain: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    base: str,
    samples: int,
    note: str,
    *,
    noun: str = "records",
) -> document.Table:
    """Returns the differences to a baseline; for GED also in percent of the baseline's mean.

    `noun` names what has a score: records or volumes.
    """
    shares = [
        (
            f"{metric.label(samples)}, % of the baseline{ARROWS[metric.better]}",
            *(
                metric._replace(points=True).cell(x.get(metric.name + SHARE), sign=True)
                for x in gain.values()
            ),
        )
        for metric in geds(metrics)
    ]
    caption = f"{note} Paired differences: method minus `{base}`, on the same {noun}."
    return score_table(gain, metrics, samples, caption, sign=True, more=shares)


def undefined_row(found: Comparison) -> list[tuple[str, ...]]:
    """Returns the row that counts what the means of distances leave out; [] without distances."""
    if not found.undefined:
        return []
    counts = (f"{found.undefined[x]:g}" if x in found.undefined else "–" for x in found.personal)
    return [("Pairs without a distance", *counts)]


def sample_tables(
    scores: Mapping[str, Intervals],
    gain: Mapping[str, Intervals],
    metrics: Sequence[Metric],
    samples: int,
    note: str,
    *,
    noun: str = "records",
) -> list[document.Table]:
    """Returns the scores of samples, and their differences to those of `DIVERSE` if there are any.

    Methods with the same scores share one column, because they have the same first stage.
    """
    sharing: dict[tuple[str, ...], list[str]] = {}  # methods by their cells
    for label, x in scores.items():
        sharing.setdefault(tuple(m.cell(x.get(m.name)) for m in metrics), []).append(label)
    columns = {", ".join(labels): scores[labels[0]] for labels in sharing.values()}
    gains = {
        ", ".join(labels): gain[labels[0]]
        for labels in sharing.values()
        if DIVERSE not in labels and labels[0] in gain
    }
    tables = [score_table(columns, metrics, samples, note)]
    if gains:
        tables.append(gain_table(gains, metrics, DIVERSE, samples, note, noun=noun))
    return tables


def as_json(found: Comparison) -> dict[str, Any]:
    """Returns the scores for report.json."""
    return {
        "personalised": _plain(found.personal),
        "undefined": found.undefined,
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


def _plain(scores: Mapping[str, Intervals]) -> dict[str, Any]:
    return {
        label: {name: interval._asdict() for name, interval in intervals.items()}
        for label, intervals in scores.items()
    }
