"""Reads from a sentence which habits it asks for: words say in which direction, numbers how far.

A sentence is read clause by clause, with the embedding e of each clause:

    h_a = (1, e) . w_a                  in spreads, for each axis a
    h_a = sign(h_a) |number| / spread   where the clause has an amount of this axis

Of several clauses, the one with an amount counts, or else the one with the largest |h_a|. An
embedding knows little of numbers, so they are found by rules (`quantities.py`) and replaced by a
word before the clause is embedded. Rules also decide whether an amount of the margin points inwards
or outwards, where the clause has a word such as "beyond". The weights w are
a ridge regression on single clauses of the grammar's training voices (`habit_grammar.py`) with
habits drawn at random, also beyond those of any rater, and on sentences with degrees, which ask
for a margin.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from prosona_jax.text import degrees, quantities
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.habit_grammar import HabitGrammar
from prosona_jax.text.habits import AXES, Scale

_GRADED = pathlib.Path(__file__).resolve().parents[2] / "configs" / "prompts" / "degrees"
_CLAUSES = 2000  # of the grammar, on which the weights are fitted
_DEGREES = 2000  # sentences with degrees, on which they are fitted too
_WEIGHT = 0.3  # of such a sentence
_CATEGORIES = ("plain", "comparative", "quantity", "jargon", "colloquial")  # of these sentences
_RIDGE = 2.0  # weight of |w|^2
_WIDEST = 4.0  # the habits of these clauses in spreads; nearly all raters lie within 2
_UNCLEAR = 0.3  # |h| below which a clause says nothing of an axis
_CLAUSE = re.compile(r"[;:?!]|,(?!\d)|\.(?!\d)|\s/\s|\b(?:and(?! a half)|but|while|with)\b")
_STARTS = {"first", "start", "starts", "begin", "begins", "beginning", "before", "sooner"}
_ENDS = {"last", "end", "ends", "stop", "stops", "after", "further", "finish"}
# These name an end only of slices, or beside a word of time: "stay 2 mm outside" is a margin.
_OPENS, _CLOSES = {"open", "set"}, {"close", "go", "stay"}
_TIMES = {"early", "earlier", "late", "later", "longer", "sooner"}


class HabitReader:
    """An encoder of sentences that adds the habits that they ask for to their embedding.

    Attributes:
        name, digest, max_tokens: those of the text encoder.
        dim: E + A, the embedding and the habits on the axes `habits.AXES`.
        scale: what numbers mean.
        weights: f32 [E + 1, A].
    """

    def __init__(
        self, encoder: TextEncoder, scale: Scale, weights: Float[np.ndarray, "e a"]
    ) -> None:
        self.name, self.digest = encoder.name, encoder.digest
        self.max_tokens, self.dim = encoder.max_tokens, encoder.dim + len(AXES)
        self.scale, self.weights = scale, np.asarray(weights, np.float32)
        self._encoder = encoder

    def embed(self, sentences: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Returns embedding and habits of sentences, f32 [n, E + A]; the habits are in spreads.

        Raises:
            InputError: a sentence is empty.
        """
        clauses = [[quantities.find(part) for part in _clauses(text)] for text in sentences]
        each = self._encoder.embed([clause.words for own in clauses for clause in own])
        worded = iter(each @ self.weights[1:] + self.weights[0])
        habits = [self._read([(clause, next(worded)) for clause in own]) for own in clauses]
        embedded = self._encoder.embed(sentences)
        return np.concatenate([embedded, np.reshape(habits, (-1, len(AXES)))], 1, dtype=np.float32)

    def _read(self, clauses: Sequence[tuple[quantities.Found, np.ndarray]]) -> np.ndarray:
        """Returns the habits f64 [A] that clauses ask for; each comes with what its words say."""
        found, exact = np.zeros(len(AXES)), np.zeros(len(AXES), bool)
        known = np.array([axis in self.scale.spread for axis in AXES])
        for clause, worded in clauses:
            amounts = _by_axis(clause.amounts, self.scale)
            for axis, value in amounts.items():
                place = AXES.index(axis)
                sign = worded[place]
                if axis == "margin":
                    sign = quantities.direction(clause.words) or sign
                found[place] = np.copysign(value / self.scale.spread[axis], sign)
                exact[place] = True
            if not amounts:
                says = known & ~exact & (np.abs(worded) > np.maximum(_UNCLEAR, np.abs(found)))
                found = np.where(says, worded, found)
        return found

    def in_words(self, habits: Float[np.ndarray, " a"]) -> str:
        """Returns habits in words, such as "margin -1.5 px, tips +0.4 spreads"."""
        own = {axis: value for axis, value in zip(AXES, habits.tolist(), strict=True) if value}
        units = {"margin": self.scale.unit, "first": "mm", "last": "mm"}
        parts = [
            f"{axis} {value * self.scale.spread[axis]:+.2g} {units[axis]}"
            if axis in units
            else f"{axis} {value:+.1f} spreads"
            for axis, value in own.items()
        ]
        return ", ".join(parts) or "as usual"

    def count_tokens(self, sentence: str) -> int:
        """Returns the number of tokens before any cut."""
        return self._encoder.count_tokens(sentence)

    def describe(self) -> dict[str, Any]:
        """Returns what run.json says of the reader."""
        return {"axes": list(AXES)}


def fit(encoder: TextEncoder, scale: Scale) -> HabitReader:
    """Returns a reader that is fitted on the grammar's training voices and on graded sentences.

    A degree of a graded sentence counts as one spread of the margin.
    """
    texts, asked = write(scale, "train", _CLAUSES, most=1, seed=0)
    graded = [s for s in degrees.read(_GRADED) if s.category in _CATEGORIES and s.degree]
    chosen = np.random.default_rng(0).permutation(len(graded))[:_DEGREES]
    margins = np.zeros((len(chosen), len(AXES)))
    margins[:, AXES.index("margin")] = [graded[n].degree for n in chosen]
    asked = np.concatenate([asked, margins])
    texts += [graded[n].text for n in chosen]
    x = encoder.embed([quantities.find(text).words for text in texts]).astype(np.float64)
    x = np.pad(x, ((0, 0), (1, 0)), constant_values=1.0)
    weighed = np.repeat([1.0, _WEIGHT], [_CLAUSES, len(chosen)])[:, None] * x
    penalty = _RIDGE * np.diag(np.arange(x.shape[1]) > 0)  # not of the constant
    return HabitReader(encoder, scale, np.linalg.solve(x.T @ weighed + penalty, weighed.T @ asked))


def write(
    scale: Scale, split: str, count: int, *, most: int, seed: int
) -> tuple[list[str], Float[np.ndarray, "n a"]]:
    """Returns sentences on one to `most` random habits, and these in spreads; 0: not said."""
    voices, rng = HabitGrammar(split, seed), np.random.default_rng(seed)
    axes = list(scale.spread)
    sentences, asked = [], np.zeros((count, len(AXES)))
    for row in asked:
        said = {}
        for axis in rng.permutation(axes)[: rng.integers(1, most + 1)]:
            value = rng.uniform(-_WIDEST, _WIDEST) * (rng.random() > 0.15)
            row[AXES.index(axis)] = value
            if axis == "margin" and rng.random() < 0.3:
                said["area"] = value * scale.spread[axis] * scale.area_per_margin
            else:
                said[str(axis)] = value * scale.spread[axis]
        sentences.append(voices.sentence(said, scale))
    return sentences, asked


def _clauses(sentence: str) -> list[str]:
    """Returns the clauses of a sentence; the sentence itself if it has no letter or digit."""
    parts = [part.strip() for part in _CLAUSE.split(sentence)]
    return [part for part in parts if any(map(str.isalnum, part))] or [sentence]


def _by_axis(amounts: Sequence[quantities.Amount], scale: Scale) -> dict[str, float]:
    """Returns the amounts of a clause by axis, without sign."""
    found = (_meant(amount, scale) for amount in amounts)
    return {axis: value for axis, value in found if axis in scale.spread}


def _meant(amount: quantities.Amount, scale: Scale) -> tuple[str, float]:
    """Returns the axis of an amount, "" if it has none, and its value in the axis' unit."""
    value, unit = amount.value, amount.unit
    if unit == "%":
        return "margin", float(np.log1p(value / 100)) / scale.area_per_margin
    if scale.slice_mm and unit in ("slices", "mm") and (end := _end(amount)):
        return end, value * (scale.slice_mm if unit == "slices" else 1.0)
    return ("margin" if unit == scale.unit else ""), value


def _end(amount: quantities.Amount) -> str:
    """Returns "first" or "last" if the words next to an amount name this end, else ""."""
    near = (*amount.before[::-1][:3], *amount.after[:6])
    timed = amount.unit == "slices" or not _TIMES.isdisjoint(near)
    starts, ends = (_STARTS | _OPENS, _ENDS | _CLOSES) if timed else (_STARTS, _ENDS)
    for word in near:
        if word in starts | ends:
            return "first" if word in starts else "last"
    return ""
