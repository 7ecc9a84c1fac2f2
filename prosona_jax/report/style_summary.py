"""Sections of the report on the second stage: which rater each style draws, and how well."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from prosona_jax.evaluation.catalogue import (
    CONTOUR_METRICS,
    RETRIEVAL,
    STYLE_METRICS,
    Metric,
    named,
    written,
)
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import StyleResults
from prosona_jax.report import charts, document, figures
from prosona_jax.report.figures import Panel

Png = Callable[..., bytes]
_FACTS = named(STYLE_METRICS, "dice_mean", "ged", "ordered", "own_best")
_MEAN = _FACTS[0]
_SENTENCES = ("Training sentences", "Held-out sentences", "Held-out minus training")


class Styled(NamedTuple):
    """What a report shows about K styles in addition to the scores; d latent dimensions."""

    names: Sequence[str]
    sentences: Sequence[str]  # the first training sentence of each style; [] if no text is read
    by_area: bool  # True: style k is the k-th smallest mask; False: style k is rater k
    tolerance_mm: float  # of the normalised surface Dice
    order: Sequence[int]  # in which the walk passes the styles, from the smallest mean area
    walked: Panel | None  # the image of the walk
    walk: Float32[np.ndarray, "t H W"]  # probabilities along the path
    path: Float[np.ndarray, "t d"]  # this and the other latents: (z - mu_p) / sigma_p
    at_styles: Float[np.ndarray, "k d"]  # in the order of the walk
    at_raters: Float[np.ndarray, "k d"]  # in the order of the walk; NaN: missing in this image
    samples: Float[np.ndarray, "s d"]  # samples of the prior


def facts(results: StyleResults, styles: int) -> list[tuple[str, str, str]]:
    """Returns the three most important numbers.

    "Areas in order" is the third one. If the styles have no order by area, "Own prompt is the best"
    replaces it. Where text is read, the numbers are those of single new sentences, because this is
    what a user gets.
    """
    found = []
    for metric in _FACTS:
        if (own := results.styles.get(metric.name)) is None:
            continue
        shown = results.held_out.get(metric.name, own)
        text = f"{metric.between(shown)}; {metric.better} is better"
        if shown is not own:
            text += (
                f". One new sentence per style; {metric.number(own.mean)} by the mean query of a "
                "style's training sentences"
            )
        found.append((metric.label(styles), metric.number(shown.mean), text))
    return found[:3]


def sections(
    results: StyleResults, styled: Styled, panels: Sequence[Panel], note: str, png: Png
) -> list[document.Section]:
    """Returns the sections on styles; `note` explains the means and intervals of the tables."""
    return [
        _styles(results, styled, note, png),
        _pictures(panels, styled, png),
        _scores(results, styled, note),
        _retrieval(results, styled, note),
        _walk(styled, png),
    ]


def _styles(results: StyleResults, styled: Styled, note: str, png: Png) -> document.Section:
    k = len(styled.names)
    text = (
        f"The first stage is frozen. The second stage turns each of {k} styles into a query. The "
        "query moves the prior's mean to another point of the latent space, and the mask at this "
        "point is the style's contour. "
        + (
            "The query is computed from a sentence. A style's own query, here and "
            "in the pictures below, is the mean over its training sentences. "
            if styled.sentences
            else "No sentence is read: this run is a baseline that knows a style by its number. "
        )
    )
    sentences = styled.sentences or [""] * k
    areas, unit, digits = results.areas_mm2, "mm²", "{:.1f}"
    if not areas:
        areas, unit, digits = results.areas, "pixels", "{:.0f}"
    measured = [m for m in CONTOUR_METRICS if any(m.name in own for own in results.contours)]
    rows = [
        (
            name,
            *([f"“{sentence}”"] if styled.sentences else []),
            _MEAN.cell(own),
            *(metric.cell(apart.get(metric.name)) for metric in measured),
            written(area, digits.format),
        )
        for name, sentence, own, apart, area in zip(
            styled.names,
            sentences,
            (x[k] for k, x in enumerate(results.table)),
            results.contours,
            areas,
            strict=True,
        )
    ]
    columns = ["Style", *(["One of its sentences"] if styled.sentences else [])]
    numbers = ["Dice with its rater", *(metric.title for metric in measured), f"Area, {unit}"]
    align = "l" * len(columns) + "r" * len(numbers)
    table = document.Table((*columns, *numbers), rows, align, note)
    return document.Section(
        "Styles",
        [
            document.Text(text + meaning(styled.by_area)),
            table,
            *whose(styled.names, results.table, png),
        ],
    )


def meaning(by_area: bool) -> str:
    """Returns the sentences that say what style k is: the k-th smallest mask, or rater k."""
    if by_area:
        return (
            "Style k is the k-th smallest of an image's masks, in training and in scoring, because "
            "nobody knows which rater drew which mask. A style can therefore only say how "
            "generously to draw. The data contain nothing else to learn about a style."
        )
    return "Style k is rater k, the same person or tool in every image."


def whose(
    names: Sequence[str], table: list[list[Interval]], png: Png, *, name: str = "whose"
) -> list[document.Block]:
    """Returns a table and a picture of which rater each style draws; `name`: of the picture."""
    caption = (
        "Which rater does each style draw? Dice of the row's masks with the column's rater, with "
        "intervals as above. The highest value of each column should be on the diagonal."
    )
    rows = [
        (name, *(_MEAN.cell(interval) for interval in line))
        for name, line in zip(names, table, strict=True)
    ]
    header = ("Style", *(f"{name}'s rater" for name in names))
    return [
        document.Table(header, rows, "l" + "r" * len(names), caption),
        document.Figure(
            name,
            png(charts.whose(names, np.array([[x.mean for x in line] for line in table]))),
            "Dice of each style's masks with each rater, minus the mean over all styles",
            "The same Dice minus the mean of its column, because some raters are difficult for "
            "every style. Bold: a style with its own rater. Framed: the highest value of a column.",
        ),
    ]


def _pictures(panels: Sequence[Panel], styled: Styled, png: Png) -> document.Section:
    if not panels:
        return document.Section("What each style draws", [])
    text = (
        "For each style: its rater's contour (thick) and the contour that the style draws (pink)."
    )
    drawn = [
        document.Figure(
            f"styles-{number:02d}",
            png(figures.styles_panel(panel, styled.names)),
            f"{panel.record_id}: the rater's contour and the style's contour, for each style",
            f"`{panel.record_id}`",
        )
        for number, panel in enumerate(panels, 1)
    ]
    return document.Section("What each style draws", [document.Text(text), *drawn])


def contours(tolerance_mm: float) -> str:
    """Returns the sentences on the measures of contours, and on what their means leave out."""
    return (
        f"NSD, the normalised surface Dice, has a tolerance of {tolerance_mm:g} mm. A pair of a "
        "style's and its rater's contour has no distance and no NSD if one of the two masks is "
        "empty or the size of a pixel is unknown. It is left out of their means, while Dice counts "
        "a pair with one empty mask as 0."
    )


def _scores(results: StyleResults, styled: Styled, note: str) -> document.Section:
    k = len(styled.names)
    worded = _SENTENCES if results.trained else ()
    known = [metric for metric in STYLE_METRICS if metric.name in results.styles]
    rows = [(metric.label(k), metric.better, *_cells(results, metric)) for metric in known]
    columns = ["Metric", "Better", "Styles", *worded]
    text = (
        "Column “Styles”: each style's own contour. The other columns score single sentences, one "
        "per style at a time, and show the mean over all sentences. The model was never trained on "
        "the held-out sentences. Their loss against the training sentences shows how much the "
        "model depends on the exact wording. "
        if worded
        else ""
    ) + f"GED compares {k} masks with {k} raters. Do not compare it with GED for other counts."
    if results.undefined or any(results.contours):
        text += f" {contours(styled.tolerance_mm)}"
    if results.undefined:
        text += f" Here this concerns {results.undefined} pairs."
    meanings = [(m.label(k), f"`{m.name}`", m.meaning) for m in known]
    return document.Section(
        "Scores of the styles",
        [
            document.Text(text),
            document.Table(columns, rows, "ll" + "r" * (len(columns) - 2), note),
            document.Table(("Metric", "Name in rows.csv", "Meaning"), meanings, "lll"),
        ],
    )


def _retrieval(results: StyleResults, styled: Styled, note: str) -> document.Section:
    known = [metric for metric in RETRIEVAL if metric.name in results.styles]
    if not known:
        return document.Section("Retrieval", [])
    chance = f"{100 / len(styled.names):.1f}"
    rows = [(metric.title, chance, *_cells(results, metric), metric.meaning) for metric in known]
    text = (
        "Do sentences lie close to their raters in the shared space of text and image? The table "
        "shows the share of styles [%] for which the right match is found within an image. "
        "“Chance” is the share that guessing finds if no rater is missing. Where a rater is "
        "missing, guessing finds more, because there are fewer raters to choose from. Column "
        "“Styles”: the mean direction of a style's training sentences. The other columns: one "
        "sentence per style at a time."
    )
    columns = ("Metric", "Chance", "Styles", *_SENTENCES, "Meaning")
    table = document.Table(columns, rows, "l" + "r" * (len(columns) - 2) + "l", note)
    return document.Section("Retrieval", [document.Text(text), table])


def _cells(results: StyleResults, metric: Metric) -> list[str]:
    """Returns a metric's cells: for the styles, and for `_SENTENCES` if text is read."""
    cells = [metric.cell(results.styles[metric.name])]
    if results.trained:
        cells += [metric.cell(x.get(metric.name)) for x in (results.trained, results.held_out)]
        cells.append(metric.cell(results.difference.get(metric.name), sign=True))
    return cells


def _walk(styled: Styled, png: Png) -> document.Section:
    order = list(styled.order)
    names = [styled.names[k] for k in order]
    heading = f"From {names[0]} to {names[-1]}"
    if (shown := styled.walked) is None:
        return document.Section(heading, [])
    shown = shown._replace(masks=shown.masks[order], rater_valid=shown.rater_valid[order])
    strip = figures.walk(shown, styled.walk, names)
    return document.Section(
        heading,
        [
            document.Text(
                "The query moves in straight lines from style to style, in the order of the mean "
                "areas that the styles draw. Top: masks along this path. Bottom: their areas. Each "
                "dot is the area of a rater's mask."
            ),
            document.Figure(
                "walk", png(strip), "Contours and areas along the path", f"`{shown.record_id}`"
            ),
            *(_plane(styled, names, png) if styled.path.shape[1] > 1 else ()),
        ],
    )


def _plane(styled: Styled, names: Sequence[str], png: Png) -> list[document.Block]:
    """Returns a chart of the two latent dimensions along which the styles lie furthest apart."""
    first, second = np.argsort(-np.ptp(styled.at_styles, axis=0), kind="stable")[:2]
    pick = [first, second]
    plane = charts.latent_plane(
        samples=styled.samples[:, pick],
        path=styled.path[:, pick],
        styles=styled.at_styles[:, pick],
        raters=styled.at_raters[:, pick],
        names=names,
        axes=(f"z{first}", f"z{second}"),
    )
    return [
        document.Text(
            "The same path in the latent space of this image. The chart shows the two dimensions "
            "along which the styles lie furthest apart. A ring marks where the posterior, which "
            "sees a rater's mask, places this rater."
        ),
        document.Figure(
            "latent-plane", png(plane), "Samples of the prior, styles, raters and the path",
            "Two latent dimensions, in units of the prior's standard deviation.",
        ),
    ]  # fmt: skip
