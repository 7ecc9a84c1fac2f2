"""Writes the report on a comparison of methods: pooled scores and paired differences."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prosona_jax.evaluation.catalogue import LEGEND, METRICS, STYLE_METRICS, Metric, named
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import HELD_OUT, Comparison, Intervals, compare
from prosona_jax.evaluation.volume_results import compare_volumes
from prosona_jax.report import (
    charts,
    document,
    figures,
    site_comparison,
    style_summary,
    volume_comparison,
)
from prosona_jax.report.comparison_tables import (
    ARROWS,
    as_json,
    gain_table,
    present,
    sample_tables,
    score_table,
    undefined_row,
)
from prosona_jax.report.style_summary import Png
from prosona_jax.report.volume_summary import Volumes

_DRAWN = named(STYLE_METRICS, "dice_mean", "ged")


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
    tolerance_mm: float  # of the normalised surface Dice
    bootstrap: int  # resamples of patients for each interval
    # "Short claim: explanation." each. The page shows them in full, and every figure the claims.
    caveats: Sequence[str]
    citation: str  # of the data, printed below every figure; "" for none
    provenance: dict[str, Any]  # where the numbers come from; "config", if present, is collapsed
    # Rows like those above, with "volume" in place of "record_id"; None: the records are no slices.
    volumes: Volumes | None = None


def write_report(folder: str | os.PathLike[str], compared: Compared) -> dict[str, Any]:
    """Writes report.html, report.md, report.json, rows.csv and, of volumes, rows_volumes.csv.

    Args:
        folder: holds the report and nothing else; an earlier report is replaced.
        compared: the content of the report.

    Returns:
        The content of report.json.

    Raises:
        InputError: the folder holds files that are not part of a report.
    """
    methods, raters = compared.methods, len(compared.styles)
    asked = list(methods), compared.samples, raters, compared.bootstrap
    found = compare(compared.rows, *asked)
    of_volumes = compared.volumes
    volumes = compare_volumes(of_volumes.rows, *asked) if of_volumes else None
    page = document.Document(
        title=f"Methods on {found.records} records of {found.patients} patients",
        subtitle=f"Compared methods: {', '.join(methods)}. All are scored against the same "
        f"{raters} raters.",
        warnings=compared.caveats,
        sections=[section for section in _sections(compared, found, volumes) if section.blocks],
    )
    content = {
        "records": found.records,
        "patients": found.patients,
        "raters": raters,
        "seeds": found.seeds,
        "methods": methods,
        "styles": list(compared.styles),
        **as_json(found),
        "volumes": volume_comparison.as_json(of_volumes, volumes) if of_volumes and volumes else {},
        "provenance": compared.provenance,
        "caveats": list(compared.caveats),
        "citation": compared.citation,
    }
    volume_rows = of_volumes.rows if of_volumes else ()
    return document.write(folder, page, data=content, rows=compared.rows, volume_rows=volume_rows)


def _sections(
    compared: Compared, found: Comparison, volumes: Comparison | None
) -> Iterator[document.Section]:
    """Yields the sections of the report in their order; a section may have no blocks."""
    styles, samples, raters = compared.styles, compared.samples, len(compared.styles)
    footnote = document.footnote(compared.caveats, compared.citation)
    png = functools.partial(figures.png, footnote=footnote)
    note = _note(found, "record", compared.bootstrap)
    yield _personal(found, compared, note, png)
    for base, gain in found.gains.items():
        yield _gains(gain, base, raters, note)
    for method, table in found.tables.items():
        yield _whose(table, method, styles, png)
    for count, scores in found.diversified.items():
        yield _diverse(scores, found.diversity_gains[count], count, note)
    of_volumes = compared.volumes
    if of_volumes and volumes:
        in_3d = _note(volumes, "volume", compared.bootstrap)
        yield volume_comparison.section(of_volumes, volumes, raters, in_3d)
    yield site_comparison.section(
        compared.rows,
        of_volumes.rows if of_volumes else [],
        methods=list(compared.methods),
        samples=samples,
        bootstrap=compared.bootstrap,
    )
    yield from _meanings(found, raters, samples)
    yield _methods(compared.methods)
    yield document.origin(compared.provenance)
    yield document.Section("Data", [document.Text(compared.citation)] if compared.citation else [])


def _note(found: Comparison, noun: str, bootstrap: int) -> str:
    """Returns what a caption says of the scores of records or volumes."""
    return (
        f"Means over {found.records} {noun}s. Each {noun} was scored by models that did not see "
        f"its patient in training, and each score is the mean over {len(found.seeds)} "
        f"seed{'s' * (len(found.seeds) > 1)}. In brackets: 95 % intervals from "
        f"{bootstrap} bootstrap resamples of the {found.patients} patients. They do not "
        "include the spread between repeated trainings. Dice is given in points: 100 is perfect. "
        "↑: higher is better. ↓: lower is better."
    )


def _personal(found: Comparison, compared: Compared, note: str, png: Png) -> document.Section:
    heading, personal, raters = "One contour per style", found.personal, len(compared.styles)
    if not personal:
        return document.Section(heading, [])
    text = (
        "Each method draws one contour for every style. The contour of style k is compared with "
        f"that of rater k. {style_summary.meaning(compared.by_area)} “Prompts shuffled” means that "
        "each style gets the query of another style, also in methods that read no sentences. The "
        "set of contours stays the same, and therefore GED and matched Dice too."
    )
    if any(label.endswith(HELD_OUT) for label in personal):
        text += (
            " A method that reads text draws a style's contour from the mean query of the style's "
            "training sentences. Its single sentences are scored too: the training sentences, and "
            "the held-out sentences, on which it was never trained."
        )
    if found.undefined:
        text += (
            f" {style_summary.contours(compared.tolerance_mm)} A difference of these leaves out "
            "the records in which one of the two methods has none."
        )
    drawn = charts.forest(
        {
            metric.label(raters) + ARROWS[metric.better]: {
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
        heading,
        [
            document.Text(text),
            score_table(personal, STYLE_METRICS, raters, note, more=undefined_row(found)),
            figure,
        ],
    )


def _gains(gain: Mapping[str, Intervals], base: str, raters: int, note: str) -> document.Section:
    heading = f"Differences to {base}"
    if not gain:
        return document.Section(heading, [])
    return document.Section(heading, [gain_table(gain, STYLE_METRICS, base, raters, note)])


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
    text = (
        "These are samples of the first stage, without a style. Methods with the same first stage "
        f"share one column. GED depends on the number of samples: compare it only at S = {samples}."
    )
    tables = sample_tables(scores, gain, METRICS, samples, note)
    return document.Section(heading, [document.Text(text), *tables])


def _meanings(found: Comparison, raters: int, samples: int) -> list[document.Section]:
    """Returns what the scores in the tables mean; rows of earlier code lack newer ones."""
    drawn = [x for scores in found.diversified.values() for x in scores.values()]
    kinds: dict[str, tuple[Sequence[Metric], int]] = {
        "one contour per style": (present(STYLE_METRICS, found.personal.values()), raters),
        "samples": (present(METRICS, drawn), samples),
    }
    return [
        document.Section(
            f"What the scores of {kind} mean",
            [
                document.Table(
                    ("Metric", "Name in rows.csv", "Meaning"),
                    [(m.label(count), f"`{m.name}`", m.meaning) for m in metrics],
                    "lll",
                    LEGEND if kind == "samples" else "",
                )
            ],
        )
        for kind, (metrics, count) in kinds.items()
        if metrics
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
