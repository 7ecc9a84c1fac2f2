"""Section of the report on volumes: all slices of a volume count together."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from prosona_jax.evaluation.catalogue import VOLUME_METRICS, named
from prosona_jax.evaluation.volume_results import VolumeResults
from prosona_jax.report import document

LATENT = {
    "volume": "All slices of a volume are drawn with one latent. The prior is pooled over the "
    "slices, and a style's query is its mean over them.",
    "draw": "All slices of a volume share one standard normal draw, and each has its own prior and "
    "its own query of a style. A scan is predicted in this way.",
    "slice": "Each slice is drawn by itself, so a sample is not consistent through a volume.",
}
MEANING = (
    "Here a volume is what one record is above: intersections and unions are added over its "
    "slices. Only the prepared slices are seen. These are slices on which raters drew and, with "
    "`data.slices_beyond`, some beyond both ends. What a model would draw on the others by mistake "
    "costs nothing. "
    "Distances run between the centres of surface voxels of the prepared masks, which end at "
    "the crop and at the first and the last of these slices."
)
_COLUMNS = {
    "prompts_mean": "Styles",
    "prompts_train": "Training sentences",
    "prompts_held_out": "Held-out sentences",
    "samples": "{samples} samples",
    "prior_mean": "Prior mean",
    "raters": "Raters",
}
_OF_STYLE = named(VOLUME_METRICS, "dice_mean", "hd95_max_mm", "assd_mm", "bias_ml")


class Volumes(NamedTuple):
    """What a report shows about volumes."""

    rows: list[dict[str, Any]]  # of `volumes.evaluate`, with the patient and perhaps the site
    latent: str  # config.evaluate.latent
    styles: Sequence[str]  # the names of the styles; [] without a second stage


def section(
    found: Volumes, results: VolumeResults, samples: int, bootstrap: int
) -> document.Section:
    """Returns the section; `samples` is S."""
    note = (
        f"Means over {results.volumes} volumes. In brackets: 95 % intervals from {bootstrap} "
        f"bootstrap resamples of the {results.patients} patients. Dice is given in points."
    )
    blocks: list[document.Block] = [document.Text(MEANING), document.Text(LATENT[found.latent])]
    if results.undefined:
        blocks.append(
            document.Text(
                f"{results.undefined} pairs of a drawn and a rater's volume have no distance, "
                "because one of them is empty or the size of a voxel is unknown. They are left out "
                "of the means of distances. Dice counts an empty volume as 0."
            )
        )
    if results.styles:
        blocks.append(_styles(found.styles, results, note))
    blocks += _scores(results, samples, note)
    return document.Section("Per volume", blocks)


def _styles(names: Sequence[str], results: VolumeResults, note: str) -> document.Table:
    rows = [
        (name, *(metric.cell(own.get(metric.name)) for metric in _OF_STYLE))
        for name, own in zip(names, results.styles, strict=True)
    ]
    own = results.methods["prompts_mean"]
    mean = ("mean", *(metric.cell(own.get(metric.name)) for metric in _OF_STYLE))
    titles = [metric.title for metric in _OF_STYLE]
    return document.Table(("Style", *titles), [*rows, mean], "lrrrr", note)


def _scores(results: VolumeResults, samples: int, note: str) -> list[document.Block]:
    columns = {method: title for method, title in _COLUMNS.items() if results.methods.get(method)}
    known = [m for m in VOLUME_METRICS if any(m.name in results.methods[x] for x in columns)]
    rows = [
        (m.title, m.better, *(m.cell(results.methods[method].get(m.name)) for method in columns))
        for m in known
    ]
    titles = (title.format(samples=samples) for title in columns.values())
    caption = (
        f"{note} Raters: each rater against the others; distances and differences are means over "
        "the pairs of raters. Prior mean: `f(x, mu_p)`, against every rater."
    )
    header = ("Metric", "Better", *titles)
    meanings = [(m.title, f"`{m.name}`", m.meaning) for m in known]
    return [
        document.Table(header, rows, "ll" + "r" * len(columns), caption),
        document.Table(("Metric", "Name in rows_volumes.csv", "Meaning"), meanings, "lll"),
    ]


def numbers(found: Volumes, results: VolumeResults) -> dict[str, Any]:
    """Returns the scores of volumes for report.json."""
    return {
        "volumes": results.volumes,
        "patients": results.patients,
        "latent": found.latent,
        "undefined": results.undefined,
        **{
            method: {name: interval._asdict() for name, interval in scores.items()}
            for method, scores in results.methods.items()
        },
        "styles": [
            {name: interval._asdict() for name, interval in own.items()} for own in results.styles
        ],
    }
