"""Section of the report on test sentences: does the model draw what a user asks for?"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.probe import Score
from prosona_jax.report import document, figures
from prosona_jax.report.figures import Panel

Png = Callable[..., bytes]


class Asked(NamedTuple):
    """A test sentence and what a model makes of it on one image."""

    sentence: str
    degree: float  # what it asks for, -2..2
    understood: str  # in words
    prob: Float[np.ndarray, "H W"]


class Language(NamedTuple):
    """What a report shows about test sentences."""

    scores: Sequence[Score]
    records: int  # images on which they were drawn
    rising: Sequence[Asked]  # in the order of the degrees that they ask for
    worst: Sequence[Asked]


def section(language: Language, shown: Panel, png: Png) -> document.Section:
    """Returns the section; the pictures are of one image."""
    count = sum(score.sentences for score in language.scores)
    text = (
        f"{count} test sentences, whose authors saw no training sentence, were drawn on "
        f"{language.records} images. Each has a degree: how generous an outline it asks for, from "
        "-2, the smallest that any rater draws, to 2, the largest. The table shows for each "
        "category the rank correlation of drawn area and asked degree, the share of pairs of "
        "sentences that are drawn in the right order, and for sentences that cannot be answered "
        "the AUROC of telling them from all others. In brackets: 95 % intervals over sentences."
    )
    return document.Section(
        "A user's own words",
        [
            document.Text(text),
            table(language.scores),
            _picture(
                "rising", shown, language.rising, png,
                "One image under plain test sentences, from the smallest asked degree to the "
                "largest. In brackets: the asked degree.",
            ),
            _picture(
                "misread", shown, language.worst, png,
                "The test sentences that are drawn most wrongly, by the difference between the "
                "rank of the area and the rank of the asked degree.",
            ),
        ],
    )  # fmt: skip


def table(scores: Sequence[Score]) -> document.Table:
    """Returns the table of the scores by category."""
    rows = [
        (
            score.category.replace("_", " "),
            str(score.sentences),
            _with_interval(score.spearman),
            "" if np.isnan(score.pairs) else f"{score.pairs:.2f}",
            _with_interval(score.auroc),
        )
        for score in scores
    ]
    columns = ("Sentences", "Number", "Rank correlation", "Pairs in order", "AUROC")
    return document.Table(columns, rows, "lrrrr")


def _with_interval(score: Interval) -> str:
    return "" if np.isnan(score.mean) else f"{score.mean:.2f} [{score.low:.2f}, {score.high:.2f}]"


def _picture(
    name: str, shown: Panel, asked: Sequence[Asked], png: Png, caption: str
) -> document.Figure:
    titles = [f"{each.sentence} ({each.degree:+g})" for each in asked]
    figure = figures.sentences_panel(shown, titles, np.stack([each.prob for each in asked]))
    read = "; ".join(f"“{each.sentence}”: {each.understood}" for each in asked)
    return document.Figure(
        name, png(figure), f"One image, {len(asked)} sentences and their contours", f"{caption} "
        f"Dashed: where half of the raters agree. Understood as: {read}."
    )  # fmt: skip
