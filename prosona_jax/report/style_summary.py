"""What the second stage adds to the report: which rater does each prompt draw, and how surely."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from prosona_jax.evaluation.catalogue import RETRIEVAL, STYLE_METRICS, Metric, named, written
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.results import StyleResults
from prosona_jax.report import charts, document, figures
from prosona_jax.report.figures import Panel

Png = Callable[..., bytes]
_FACTS = named(STYLE_METRICS, "dice_mean", "ged", "ordered", "own_best")
_MEAN = _FACTS[0]
_SENTENCES = ("Training sentences", "Held-out sentences", "Held-out minus training")


class Styled(NamedTuple):
    """What a report shows of K styles besides scores; d latent dimensions."""

    names: Sequence[str]
    sentences: Sequence[str]  # the first training sentence of each style; [] if none is read
    by_area: bool  # style k is the k-th smallest mask, else rater k
    order: Sequence[int]  # of the styles on the walk, from the tightest to the most generous
    walked: Panel | None  # the image of the walk
    walk: Float32[np.ndarray, "t H W"]  # masks on the way; here and below, styles are in its order
    path: Float[np.ndarray, "t d"]  # latents here and below: (z - mu_p) / sigma_p
    at_styles: Float[np.ndarray, "k d"]
    at_raters: Float[np.ndarray, "k d"]  # NaN: missing in this image
    samples: Float[np.ndarray, "s d"]


def facts(results: StyleResults, styles: int) -> list[tuple[str, str, str]]:
    """Returns the three numbers that matter most; styles that are persons have no order by area."""
    return [
        (
            metric.label(styles),
            metric.number(interval.mean),
            f"{metric.between(interval)}; {metric.better} is better",
        )
        for metric in _FACTS
        if (interval := results.styles.get(metric.name))
    ][:3]


def sections(
    results: StyleResults, styled: Styled, panels: Sequence[Panel], note: str, png: Png
) -> list[document.Section]:
    """Returns the sections on styles; `note` says what the intervals are."""
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
        f"The first stage is encoded; the second one turns each of {k} styles into a query that "
        "moves the prior to a place in the latent space, and the mask at that place is the "
        "style's contour. "
        + (
            "The query is computed from the embedding of a sentence; a style's own one, here and "
            "in the pictures below, is the mean over its training sentences. "
            if styled.sentences
            else "The query is no sentence's: this run is a baseline that knows styles by number. "
        )
    )
    sentences = styled.sentences or [""] * k
    rows = [
        (
            name,
            *([f"“{sentence}”"] if styled.sentences else []),
            _MEAN.cell(own),
            written(area, "{:.0f}".format),
        )
        for name, sentence, own, area in zip(
            styled.names,
            sentences,
            (x[k] for k, x in enumerate(results.table)),
            results.areas,
            strict=True,
        )
    ]
    columns = ["Style", *(["One of its sentences"] if styled.sentences else [])]
    table = document.Table(
        (*columns, "Dice with its rater", "Area, pixels"), rows, "l" * len(columns) + "rr", note
    )
    return document.Section(
        "Styles",
        [
            document.Text(text + meaning(styled.by_area)),
            table,
            *whose(styled.names, results.table, png),
        ],
    )


def meaning(by_area: bool) -> str:
    """Returns what a style is in the data; `by_area`: the k-th smallest mask, else rater k."""
    if by_area:
        return (
            "Style k is the k-th smallest of an image's masks, in training and in scoring, since "
            "nobody knows which rater drew which. All that a style can mean is how generously to "
            "draw; nothing else was there to be learned."
        )
    return "Style k is rater k, the same person or tool in every image."


def whose(
    names: Sequence[str], table: list[list[Interval]], png: Png, *, name: str = "whose"
) -> list[document.Block]:
    """Returns table and picture of which rater each style draws; `name` is the picture's."""
    caption = (
        "Whose rater does each prompt draw? Dice of the row's masks with the column's rater, and "
        "its interval as above: the diagonal should be the greatest of its column."
    )
    rows = [
        (name, *(_MEAN.cell(interval) for interval in line))
        for name, line in zip(names, table, strict=True)
    ]
    header = ("Asked for", *(f"{name}'s rater" for name in names))
    return [
        document.Table(header, rows, "l" + "r" * len(names), caption),
        document.Figure(
            name,
            png(charts.whose(names, np.array([[x.mean for x in line] for line in table]))),
            "How much closer to each rater each style's masks are than those of all styles",
            "The same, less each column's mean, since some raters are hard for every style. Bold: "
            "a style with its own rater; framed: the greatest of a column.",
        ),
    ]


def _pictures(panels: Sequence[Panel], styled: Styled, png: Png) -> document.Section:
    if not panels:
        return document.Section("What each style draws", [])
    text = "For each style: the contour of its rater, thick, and what the style draws, pink."
    drawn = [
        document.Figure(
            f"styles-{number:02d}",
            png(figures.styles_panel(panel, styled.names)),
            f"{panel.record_id}: rater's and prompted contour for each style",
            f"`{panel.record_id}`",
        )
        for number, panel in enumerate(panels, 1)
    ]
    return document.Section("What each style draws", [document.Text(text), *drawn])


def _scores(results: StyleResults, styled: Styled, note: str) -> document.Section:
    k = len(styled.names)
    worded = _SENTENCES if results.trained else ()
    known = [metric for metric in STYLE_METRICS if metric.name in results.styles]
    rows = [(metric.label(k), metric.better, *_cells(results, metric)) for metric in known]
    columns = ["Metric", "Better", "Styles", *worded]
    text = (
        "Styles: each style's own contour. The other scores are of single sentences, one per "
        "style at a time, and means over all of them. The "
        "held-out ones were never trained on: what they lose is what the model knows by heart "
        "rather than by language. "
        if worded
        else ""
    ) + f"GED is that of {k} masks against {k} raters: never compare it with other counts."
    meanings = [(m.label(k), f"`{m.name}`", m.meaning) for m in known]
    return document.Section(
        "Scores of the styles",
        [
            document.Text(text),
            document.Table(columns, rows, "ll" + "r" * (len(columns) - 2), note),
            document.Table(("Metric", "In rows.csv", "What it says"), meanings, "lll"),
        ],
    )


def _retrieval(results: StyleResults, styled: Styled, note: str) -> document.Section:
    known = [metric for metric in RETRIEVAL if metric.name in results.styles]
    if not known:
        return document.Section("Retrieval", [])
    chance = f"{100 / len(styled.names):.1f}"
    rows = [(metric.title, chance, *_cells(results, metric), metric.meaning) for metric in known]
    text = (
        "Do sentences and raters meet in one space? Shares of styles [%], within each image, "
        "against what guessing would find; where a rater is missing, a prompt has fewer to choose "
        "from, and guessing finds more. Styles: by the mean direction of a style's training "
        "sentences; the others by one sentence per style at a time."
    )
    columns = ("", "Chance", "Styles", *_SENTENCES, "What it says")
    table = document.Table(columns, rows, "l" + "r" * (len(columns) - 2) + "l", note)
    return document.Section("Retrieval", [document.Text(text), table])


def _cells(results: StyleResults, metric: Metric) -> list[str]:
    """Returns a metric's cells: the styles' own, then those of `_SENTENCES` where text is read."""
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
                "areas that they draw. Above, masks on the way; below, their area, with a dot for "
                "each rater's."
            ),
            document.Figure(
                "walk", png(strip), "Contours and area on the way", f"`{shown.record_id}`"
            ),
            *(_plane(styled, names, png) if styled.path.shape[1] > 1 else ()),
        ],
    )


def _plane(styled: Styled, names: Sequence[str], png: Png) -> list[document.Block]:
    """The latent space in the two dimensions along which the styles lie furthest apart."""
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
            "The same way in the latent space of this image, in the two of its dimensions "
            "along which the styles lie furthest apart. Rings: where the posterior, which sees "
            "a rater's mask, puts each rater."
        ),
        document.Figure(
            "latent-plane", png(plane), "Prior samples, styles, raters and the way between",
            "Two dimensions of the latent, in units of the prior's standard deviation.",
        ),
    ]  # fmt: skip
