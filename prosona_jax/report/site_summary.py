"""Section of the report with the main scores of each site."""

from collections.abc import Sequence

from prosona_jax.evaluation.catalogue import METRICS, STYLE_METRICS, VOLUME_METRICS, Metric, named
from prosona_jax.evaluation.results import Rows, means
from prosona_jax.report import document

_OF_RECORDS = (
    ("samples", named(METRICS, "ged", "dice_match")),
    ("prompts_mean", named(STYLE_METRICS, "dice_mean")),
)
_OF_VOLUMES = (
    ("samples", named(VOLUME_METRICS, "ged", "dice_match")),
    ("prompts_mean", named(VOLUME_METRICS, "dice_mean", "assd_mm")),
)
_WHOSE = {"samples": ", samples", "prompts_mean": ", styles"}  # added to a metric's title


def section(rows: Rows, volume_rows: Rows, samples: int, bootstrap: int) -> document.Section:
    """Returns the section; it has no blocks if the rows name no site.

    Args:
        rows: the rows of the records.
        volume_rows: the rows of the volumes; [] without volumes.
        samples: S.
        bootstrap: resamples of patients for each interval.
    """
    blocks: list[document.Block] = []
    for noun, key, of, chosen in (
        ("Records", "record_id", rows, _OF_RECORDS),
        ("Volumes", "volume", volume_rows, _OF_VOLUMES),
    ):
        sites = sorted({row["site"] for row in of if "site" in row})
        if any(sites):
            blocks.append(_table(noun, key, of, sites, chosen, samples, bootstrap))
    if blocks:
        text = "The scores of each hospital, scanner or collection by itself."
        blocks.insert(0, document.Text(text))
    return document.Section("Per site", blocks)


def _table(
    noun: str,
    key: str,
    rows: Rows,
    sites: Sequence[str],
    chosen: Sequence[tuple[str, tuple[Metric, ...]]],
    samples: int,
    bootstrap: int,
) -> document.Table:
    present = {row["method"] for row in rows}
    shown = [(method, m) for method, metrics in chosen if method in present for m in metrics]
    lines = []
    for site in sites:
        own = [row for row in rows if row["site"] == site]
        cells = [m.cell(means(own, method, (m,), bootstrap).get(m.name)) for method, m in shown]
        counts = (str(len({row[column] for row in own})) for column in ("patient_id", key))
        lines.append((site or "unknown", *counts, *cells))
    titles = [
        m.label(samples) if "@S" in m.title else f"{m.title}{_WHOSE[method]}" for method, m in shown
    ]
    caption = (
        f"{noun} of each site. In brackets: 95 % intervals from {bootstrap} bootstrap resamples of "
        "the site's patients. Dice is given in points."
    )
    header = ("Site", "Patients", noun, *titles)
    return document.Table(header, lines, "l" + "r" * (len(header) - 1), caption)
