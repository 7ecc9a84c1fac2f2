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
from prosona_jax.report import document, site_summary
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
    return site_summary.introduced(blocks)


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
    cells = lambda own: [  # noqa: E731
        metric.cell(means(own, method, (metric,), bootstrap).get(metric.name)) for method in shown
    ]
    caption = (
        f"{metric.label(samples)}{ARROWS[metric.better]} of {drawn}, means over the seeds and the "
        f"{noun.lower()} of each site. {site_summary.intervals(bootstrap)}"
    )
    return site_summary.table(noun, "record_id", pooled, shown, cells, caption)
