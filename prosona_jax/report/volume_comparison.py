"""Section of the report on a comparison: all slices of a volume count together."""

from typing import Any

from prosona_jax.evaluation.catalogue import VOLUME_METRICS, VOLUME_SAMPLES
from prosona_jax.evaluation.results import Comparison
from prosona_jax.report import comparison_tables, document
from prosona_jax.report.comparison_tables import (
    gain_table,
    present,
    sample_tables,
    score_table,
    undefined_row,
)
from prosona_jax.report.volume_summary import LATENT, MEANING, Volumes


def section(volumes: Volumes, found: Comparison, raters: int, note: str) -> document.Section:
    """Returns the section; `note` begins each caption."""
    blocks: list[document.Block] = [document.Text(MEANING), document.Text(LATENT[volumes.latent])]
    if found.personal:
        blocks += _personal(found, raters, note)
    for count, sampled in found.diversified.items():
        if sampled:
            gain = found.diversity_gains[count]
            blocks.append(
                document.Text(
                    f"{count} samples of the first stage, without a style. Methods with the same "
                    "first stage share one column."
                )
            )
            blocks += sample_tables(sampled, gain, VOLUME_SAMPLES, count, note, noun="volumes")
    blocks.append(_meanings(found))
    return document.Section("Per volume", blocks)


def _personal(found: Comparison, raters: int, note: str) -> list[document.Block]:
    """Returns the scores of one contour per style, and their differences to each baseline."""
    text = (
        "One contour per style. Sentences are scored by their overlaps alone. A pair of volumes "
        "has no distance if one of them is empty or the size of a voxel is unknown. It is left out "
        "of the means of distances, and a difference of distances leaves out the volumes in which "
        "one of the two methods has none. Dice counts an empty volume as 0."
    )
    return [
        document.Text(text),
        score_table(found.personal, VOLUME_METRICS, raters, note, more=undefined_row(found)),
        *(
            gain_table(gain, VOLUME_METRICS, base, raters, note, noun="volumes")
            for base, gain in found.gains.items()
            if gain
        ),
    ]


def _meanings(scores: Comparison) -> document.Table:
    every = [
        *scores.personal.values(),
        *(x for of in scores.diversified.values() for x in of.values()),
    ]
    rows = [(m.title, f"`{m.name}`", m.meaning) for m in present(VOLUME_METRICS, every)]
    return document.Table(("Metric", "Name in rows_volumes.csv", "Meaning"), rows, "lll")


def as_json(volumes: Volumes, found: Comparison) -> dict[str, Any]:
    """Returns the scores of volumes for report.json."""
    return {
        "volumes": found.records,
        "patients": found.patients,
        "latent": volumes.latent,
        **comparison_tables.as_json(found),
    }
