"""Section of the report with the main scores of each site."""

from collections.abc import Callable, Iterable, Mapping, Sequence

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
    return introduced(blocks)


def introduced(blocks: Sequence[document.Block]) -> document.Section:
    """Returns the section of these tables; it stays without blocks if there are none."""
    text = document.Text("The scores of each hospital, scanner or collection by itself.")
    return document.Section("Per site", [text, *blocks] if blocks else [])


def table(
    noun: str,
    key: str,
    of_site: Mapping[str, Rows],
    titles: Sequence[str],
    cells: Callable[[Rows], Iterable[str]],
    caption: str,
) -> document.Table:
    """Returns a table with a row for each site.

    Args:
        noun: what is counted, "Records" or "Volumes".
        key: the column that identifies it.
        of_site: the rows of each site.
        titles: of the columns of scores.
        cells: returns the scores of a site's rows.
        caption: what the scores are.
    """
    lines = []
    for site, own in of_site.items():
        counts = (str(len({row[column] for row in own})) for column in ("patient_id", key))
        lines.append((site or "unknown", *counts, *cells(own)))
    header = ("Site", "Patients", noun, *titles)
    return document.Table(header, lines, "l" + "r" * (len(header) - 1), caption)


def intervals(bootstrap: int) -> str:
    """Returns the end of a table's caption."""
    return (
        f"In brackets: 95 % intervals from {bootstrap} bootstrap resamples of the site's patients. "
        "Dice is given in points."
    )


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
    of_site = {site: [row for row in rows if row["site"] == site] for site in sites}
    titles = [
        m.label(samples) if "@S" in m.title else f"{m.title}{_WHOSE[method]}" for method, m in shown
    ]
    cells = lambda own: [  # noqa: E731
        m.cell(means(own, method, (m,), bootstrap).get(m.name)) for method, m in shown
    ]
    caption = f"{noun} of each site. {intervals(bootstrap)}"
    return table(noun, key, of_site, titles, cells, caption)
