"""Section of the report on style cards: habits of each rater beside those of its style."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report import document
from prosona_jax.report.figures import FAINT, INK, LINES, WIDTH_IN, plain_axes, set_names

Png = Callable[..., bytes]
_SHOWN = {"margin": 2, "area": 0, "roughness": 3, "tips": 1, "first": 1, "last": 1}  # digits
_ENDS = ("first", "last")  # habits of a volume
_FACTORS = {"area": 100.0, "tips": 100.0}  # shown in percent
_DRAWN = "#C2189B"


class Card(NamedTuple):
    """A rater's card and what its style draws; habits by name."""

    name: str
    raters: int  # above 1: they could not be told apart, and share the card
    sentences: Sequence[str]
    measured: dict[str, Interval]  # of the rater, on training images or volumes
    drawn: dict[str, Interval]  # of the style, on scored ones


class Carded(NamedTuple):
    """What a report shows about style cards."""

    cards: Sequence[Card]
    unit: str  # of margin and roughness: "mm" or "px"
    said: Sequence[str]  # the habits that sentences say
    objects: str  # on which the styles' contours were measured, such as "12 scored volumes"

    @property
    def shown(self) -> list[str]:
        """The habits that were measured on any rater or style."""
        return [h for h in _SHOWN if any(h in c.measured or h in c.drawn for c in self.cards)]

    def title(self, habit: str) -> str:
        """Returns the head of a habit's column."""
        if habit in _ENDS:
            return f"{habit.capitalize()} slice, mm"
        return f"{habit.capitalize()}, {'%' if habit in _FACTORS else self.unit}"


def section(carded: Carded, png: Png) -> document.Section:
    """Returns the section."""
    unsaid = [habit for habit in carded.shown if habit not in (*carded.said, "area")]
    text = (
        "The prompts of this run are style cards: each rater's habits were measured on the "
        "training images, against the consensus of the other raters, and sentences say them. "
        "Margin: mean distance from the consensus' contour, positive outside. Area: relative to "
        "the consensus. "
        "Roughness: mean distance of the contour from its smoothed self. Tips: share of the area "
        "in thin parts. Roughness and tips are differences from the mean of the other raters. "
    )
    if set(_ENDS) & set(carded.shown):
        text += (
            "First and last slice: distance by which contours begin before the consensus and end "
            "after it, negative if they have fewer slices. What a style draws beyond the slices of "
            "the data (`data.slices_beyond`) is not seen. "
        )
    text += (
        "The second number of a cell is the same habit of the contours that the style draws on "
        f"{carded.objects}, again against the other raters."
    )
    if any(card.raters > 1 for card in carded.cards):
        text += (
            " Raters of one row cannot be told apart by these habits. They were measured together, "
            "and their styles have the same sentences and draw the same contours."
        )
    if unsaid:
        text += (
            f" No sentence says {' or '.join(unsaid)}, because raters differ in it by no more than "
            "chance."
        )
    return document.Section(
        "Style cards",
        [
            document.Text(text),
            _sentences(carded),
            _numbers(carded),
            document.Figure(
                "cards",
                png(_chart(carded)),
                "Measured habits of each rater and of the contours of its style",
                "Habits of each rater in training (blue) and of the contours that its style draws "
                f"on {carded.objects} (pink), with 95 % intervals over patients. The dashed line "
                "is the consensus of the other raters.",
            ),
        ],
    )


def _sentences(carded: Carded) -> document.Table:
    rows = [
        (card.name, " ".join(f"“{sentence}”" for sentence in card.sentences))
        for card in carded.cards
    ]
    return document.Table(("Style", "A training sentence and a held-out one"), rows, "ll")


def _numbers(carded: Carded) -> document.Table:
    columns = ("Style", *map(carded.title, carded.shown))
    rows = [(card.name, *(_cell(card, habit) for habit in carded.shown)) for card in carded.cards]
    caption = "The rater [95 % interval over patients]; drawn: the style."
    return document.Table(columns, rows, "l" + "r" * len(carded.shown), caption)


def _cell(card: Card, habit: str) -> str:
    digits = _SHOWN[habit]

    def number(value: float) -> str:
        return f"{_shown(habit, value):+z.{digits}f}"

    own, drawn = card.measured.get(habit), card.drawn.get(habit)
    parts = []
    if own is not None:
        span = "" if own.low is None or own.high is None else (
            f" [{number(own.low)}, {number(own.high)}]"
        )  # fmt: skip
        parts.append(f"{number(own.mean)}{span}")
    if drawn is not None:
        parts.append(f"drawn: {number(drawn.mean)}")
    return "; ".join(parts)


def _shown(habit: str, value: float) -> float:
    """Returns a habit as it is shown; the area is stored as a logarithm."""
    return _FACTORS.get(habit, 1.0) * (np.expm1(value) if habit == "area" else value)


def _chart(carded: Carded) -> Figure:
    """Draws a panel for each habit, with two dots and intervals for each rater."""
    cards = carded.cards
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(cards)), layout="constrained")
    axes = figure.subplots(1, len(carded.shown), sharey=True, squeeze=False)[0]
    names, family = set_names([card.name for card in cards], size=7.0, inches=1.4)
    for ax, habit in zip(axes, carded.shown, strict=True):
        ax.axvline(0, color="#999999", lw=0.8, ls="--")
        for n, card in enumerate(cards):
            for own, offset, colour in (
                (card.measured.get(habit), -0.15, LINES[0]),
                (card.drawn.get(habit), 0.15, _DRAWN),
            ):
                if own is None:
                    continue
                if own.low is not None and own.high is not None:
                    span = [_shown(habit, own.low), _shown(habit, own.high)]
                    ax.plot(span, [n + offset] * 2, color=colour, lw=1.4)
                ax.plot(_shown(habit, own.mean), n + offset, "o", color=colour, ms=3.5)
        ax.set_title(carded.title(habit), fontsize=8, color=INK)
        ax.grid(axis="x", color=FAINT, lw=0.6)
        ax.set_axisbelow(True)
        ax.locator_params(axis="x", nbins=4)  # labels of neighbours must not touch
        plain_axes(ax)
    axes[0].set_yticks(range(len(cards)), names, fontfamily=family, parse_math=False)
    axes[0].set_ylim(len(cards) - 0.4, -0.6)
    return figure
