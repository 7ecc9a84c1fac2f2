"""Section of the report on a comparison with the main scores of each site."""

from collections.abc import Mapping, Sequence
from typing import Any

from prosona_jax.evaluation.catalogue import (
    METRICS,
    STYLE_METRICS,
    VOLUME_METRICS,
    Metric,
    named,
)
from prosona_jax.evaluation.results import Rows, means, pool
from prosona_jax.report import document
from prosona_jax.report.comparison_tables import ARROWS

_STYLES, _SAMPLES = "each style's own contour", "samples"
_OF_RECORDS = (
    (_STYLES, named(STYLE_METRICS, "dice_mean")),
    (_SAMPLES, named(METRICS, "ged")),
)
_OF_VOLUMES = (
    (_STYLES, named(VOLUME_METRICS, "dice_mean", "assd_mm")),
    (_SAMPLES, named(VOLUME_METRICS, "ged")),
)


def section(
    rows: Rows, volume_rows: Rows, *, methods: Sequence[str], samples: int, bootstrap: int
) -> document.Section:
    """Returns the section; it has no blocks if the rows name no site.

    Args:
        rows: the rows of the records, of all methods, folds and seeds.
        volume_rows: those of the volumes; [] without volumes.
        methods: the columns of the tables.
        samples: S.
        bootstrap: resamples of patients for each interval.
    """
    in_3d = [{**row, "record_id": row["volume"]} for row in volume_rows]
    drawn_by = {_STYLES: "prompts_mean", _SAMPLES: f"samples@{samples}"}
    blocks: list[document.Block] = []
    for noun, of, chosen in (("Records", rows, _OF_RECORDS), ("Volumes", in_3d, _OF_VOLUMES)):
        by_site: dict[str, list[Mapping[str, Any]]] = {}
        for row in of:
            by_site.setdefault(row.get("site", ""), []).append(row)
        if not any(by_site):
            continue
        for drawn, metrics in chosen:
            pooled = {site: pool(by_site[site], {drawn_by[drawn]: ""}) for site in sorted(by_site)}
            blocks += [
                _table(noun, drawn, pooled, metric, methods, samples, bootstrap)
                for metric in metrics
                if any(pooled.values())
            ]
    if blocks:
        text = "The scores of each hospital, scanner or collection by itself."
        blocks.insert(0, document.Text(text))
    return document.Section("Per site", blocks)


def _table(
    noun: str,
    drawn: str,
    pooled: Mapping[str, Rows],
    metric: Metric,
    methods: Sequence[str],
    samples: int,
    bootstrap: int,
) -> document.Table:
    """Returns one score of each site, with a column for each method that has it."""
    present = {row["method"] for own in pooled.values() for row in own}
    shown = [method for method in methods if method in present]
    lines = []
    for site, own in pooled.items():
        counts = (str(len({row[key] for row in own})) for key in ("patient_id", "record_id"))
        cells = (
            metric.cell(means(own, method, (metric,), bootstrap).get(metric.name))
            for method in shown
        )
        lines.append((site or "unknown", *counts, *cells))
    caption = (
        f"{metric.label(samples)}{ARROWS[metric.better]} of {drawn}, means over the seeds and the "
        f"{noun.lower()} of each site. In brackets: 95 % intervals from {bootstrap} bootstrap "
        "resamples of the site's patients. Dice is given in points."
    )
    header = ("Site", "Patients", noun, *shown)
    return document.Table(header, lines, "l" + "r" * (len(header) - 1), caption)
