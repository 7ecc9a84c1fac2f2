"""Section of the report on style cards: habits of each rater beside those of its style."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report import document
from prosona_jax.report.figures import FAINT, INK, LINES, WIDTH_IN, plain_axes, set_names

Png = Callable[..., bytes]
_SHOWN = ("margin", "area", "roughness", "tips")  # habits of an image; more than these, of a volume
_FACTORS = {"area": 100.0, "tips": 100.0}  # shown in percent
_DIGITS = {"margin": 2, "area": 0, "roughness": 2, "tips": 1}
_DRAWN = "#C2189B"


class Card(NamedTuple):
    """A rater's card and what its style draws; habits by name."""

    name: str
    raters: int  # above 1: they could not be told apart, and share the card
    sentences: Sequence[str]
    measured: dict[str, Interval]  # of the rater, on training images
    drawn: dict[str, Interval]  # of the style, on scored images


class Carded(NamedTuple):
    """What a report shows about style cards."""

    cards: Sequence[Card]
    unit: str  # of margin and roughness: "mm" or "px"
    said: Sequence[str]  # the habits that sentences say
    records: int  # scored images on which the styles' contours were measured


def section(carded: Carded, png: Png) -> document.Section:
    """Returns the section."""
    unsaid = [habit for habit in _SHOWN if habit not in (*carded.said, "area")]
    text = (
        "The prompts of this run are style cards: each rater's habits were measured on the "
        "training images, against the consensus of the other raters, and sentences say them. "
        "Margin: mean distance from the consensus' contour, positive outside. Area: relative to "
        "the consensus. "
        "Roughness: mean distance of the contour from its smoothed self. Tips: share of the area "
        "in thin parts. Roughness and tips are differences from the mean of the other raters. The "
        "second number of a cell is the same habit of the contours that the style draws on "
        f"{carded.records} scored images, again against the other raters."
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
                "Habits of each rater on training images (blue) and of the contours that its style "
                "draws on scored images (pink), with 95 % intervals over patients. The dashed line "
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
    units = {"margin": carded.unit, "roughness": carded.unit, "area": "%", "tips": "%"}
    columns = ("Style", *(f"{habit.capitalize()}, {units[habit]}" for habit in _SHOWN))
    rows = [(card.name, *(_cell(card, habit) for habit in _SHOWN)) for card in carded.cards]
    caption = "The rater [95 % interval over patients]; drawn: the style."
    return document.Table(columns, rows, "lrrrr", caption)


def _cell(card: Card, habit: str) -> str:
    digits = _DIGITS[habit]

    def number(value: float) -> str:
        return f"{_shown(habit, value):+.{digits}f}"

    own, drawn = card.measured.get(habit), card.drawn.get(habit)
    parts = []
    if own is not None:
        span = "" if own.low is None or own.high is None else (
            f" [{number(own.low)}, {number(own.high)}]"
        )  # fmt: skip
        parts.append(f"{number(own.mean)}{span}")
    if drawn is not None and np.isfinite(drawn.mean):
        parts.append(f"drawn: {number(drawn.mean)}")
    return "; ".join(parts)


def _shown(habit: str, value: float) -> float:
    """Returns a habit as it is shown; the area is stored as a logarithm."""
    return _FACTORS.get(habit, 1.0) * (np.expm1(value) if habit == "area" else value)


def _chart(carded: Carded) -> Figure:
    """Draws a panel for each habit, with two dots and intervals for each rater."""
    cards = carded.cards
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.3 * len(cards)), layout="constrained")
    axes = figure.subplots(1, len(_SHOWN), sharey=True)
    units = {"margin": carded.unit, "roughness": carded.unit, "area": "%", "tips": "%"}
    names, family = set_names([card.name for card in cards], size=7.0, inches=1.4)
    for ax, habit in zip(axes, _SHOWN, strict=True):
        ax.axvline(0, color="#999999", lw=0.8, ls="--")
        for n, card in enumerate(cards):
            for own, offset, colour in (
                (card.measured.get(habit), -0.15, LINES[0]),
                (card.drawn.get(habit), 0.15, _DRAWN),
            ):
                if own is None or not np.isfinite(own.mean):
                    continue
                if own.low is not None and own.high is not None:
                    span = [_shown(habit, own.low), _shown(habit, own.high)]
                    ax.plot(span, [n + offset] * 2, color=colour, lw=1.4)
                ax.plot(_shown(habit, own.mean), n + offset, "o", color=colour, ms=3.5)
        ax.set_title(f"{habit.capitalize()}, {units[habit]}", fontsize=8, color=INK)
        ax.grid(axis="x", color=FAINT, lw=0.6)
        ax.set_axisbelow(True)
        plain_axes(ax)
    axes[0].set_yticks(range(len(cards)), names, fontfamily=family, parse_math=False)
    axes[0].set_ylim(len(cards) - 0.4, -0.6)
    return figure
