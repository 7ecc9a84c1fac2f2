"""Reads from a sentence which habits it asks for: words say in which direction, numbers how far.

A sentence is read clause by clause, with the embedding e of each clause:

    t = (1, e) . W_t                    a score for each topic: an axis, "usual" or "other"
    h_a = (1, e) . w_a                  in spreads, for each axis a
    h_a = sign(h_a) |number| / spread   where the clause has an amount of this axis

A clause is about the axes whose score is at least half of the largest one. If that is "usual", the
clause asks for the usual outline: all habits are 0. If it is "other", or an axis in which the
raters do not differ, the clause is not understood. Of several clauses, the one with an amount
counts, or else the one with the largest |h_a|. An embedding knows little of numbers, so they are
found by rules (`quantities.py`) and replaced by a word before the clause is embedded. Rules also
decide whether an amount of the margin points inwards or outwards, where the clause has a word such
as "beyond". The weights are a ridge regression on single clauses of the grammar's training voices
(`habit_grammar.py`) with habits drawn at random, also beyond those of any rater; on sentences of
several authors on all axes (`habit_sentences.py`); on sentences with degrees, which ask for a
margin or for the usual outline; and on sentences that ask for none.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from prosona_jax.text import degrees, habit_sentences, quantities
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.habit_grammar import HabitGrammar
from prosona_jax.text.habits import AXES, Scale

USUAL, OTHER = "usual", "other"
TOPICS = (*AXES, USUAL, OTHER)  # what a clause can be about
UNDERSTOOD = 0.5  # `Read.answerable` of a sentence that is understood
_GRADED = pathlib.Path(__file__).resolve().parents[2] / "configs" / "prompts" / "degrees"
_CLAUSES = 2000  # of the grammar, on which the weights are fitted
_DEGREES = 1000  # sentences of each kind with and without degrees, on which they are fitted too
_CATEGORIES = ("plain", "comparative", "quantity", "jargon", "colloquial")  # those with degrees
_OTHERS = ("offtopic", "languages")  # those without
_RIDGE = 2.0  # weight of |w|^2
_WIDEST = 4.0  # the habits of these clauses in spreads; nearly all raters lie within 2
_ABOUT = 0.5  # of the largest score, from which on a clause is about an axis
_UNCLEAR = 0.2  # |h| below which a clause says that an axis is usual
_SIDES = {"first": ("later", "earlier"), "last": ("earlier", "later")}  # less, more
_CLAUSE = re.compile(r"[;:?!]|,(?!\d)|\.(?!\d)|\s/\s|\b(?:and(?! a half)|but|while|with)\b")
_STARTS = {"first", "start", "starts", "begin", "begins", "beginning", "before", "sooner"}
_ENDS = {"last", "end", "ends", "stop", "stops", "after", "further", "finish"}
# These name an end only of slices, or beside a word of time: "stay 2 mm outside" is a margin.
_OPENS, _CLOSES = {"open", "set"}, {"close", "go", "stay"}
_BOTH = {"both", "each", "either"}
# In which direction an amount at an end points.
_MORE = {"more", "extra", "additional", "further", "longer", "add", "added", "past"}
_FEWER = {"less", "fewer", "shorter", "short", "skip", "omit", "drop", "remove", "cut"}
_EARLY, _LATE = {"early", "earlier", "before", "sooner"}, {"late", "later", "after"}
_TIMES = {"early", "earlier", "late", "later", "longer", "sooner"}


class Read(NamedTuple):
    """What is read from n sentences."""

    habits: Float[np.ndarray, "n a"]  # in spreads, on `AXES`; 0: as usual, or not said
    answerable: Float[np.ndarray, " n"]  # 0..1; below `UNDERSTOOD`, no clause is understood


class HabitReader:
    """An encoder of sentences that adds the habits that they ask for to their embedding.

    Attributes:
        name, digest, max_tokens: those of the text encoder.
        dim: E + A, the embedding and the habits on the axes `habits.AXES`.
        scale: what numbers mean.
        weights: f32 [E + 1, A + T], of the habits and of `TOPICS`.
    """

    def __init__(
        self, encoder: TextEncoder, scale: Scale, weights: Float[np.ndarray, "e c"]
    ) -> None:
        self.name, self.digest = encoder.name, encoder.digest
        self.max_tokens, self.dim = encoder.max_tokens, encoder.dim + len(AXES)
        self.scale, self.weights = scale, np.asarray(weights, np.float32)
        self._known = np.array([topic in (*scale.spread, USUAL) for topic in TOPICS])
        self._encoder = encoder

    def embed(self, sentences: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Returns embedding and habits of sentences, f32 [n, E + A]; the habits are in spreads.

        Raises:
            InputError: a sentence is empty.
        """
        habits, embedded = self.read(sentences).habits, self._encoder.embed(sentences)
        return np.concatenate([embedded, habits], axis=1, dtype=np.float32)

    def read(self, sentences: Sequence[str]) -> Read:
        """Returns the habits that sentences ask for, and how surely they ask for any.

        Raises:
            InputError: a sentence is empty.
        """
        clauses = [[quantities.find(part) for part in _clauses(text)] for text in sentences]
        each = self._encoder.embed([clause.words for own in clauses for clause in own])
        worded = iter(each @ self.weights[1:] + self.weights[0])
        read = [self._read([(clause, next(worded)) for clause in own]) for own in clauses]
        habits, answerable = zip(*read, strict=True)
        return Read(np.stack(habits), np.array(answerable))

    def _read(
        self, clauses: Sequence[tuple[quantities.Found, np.ndarray]]
    ) -> tuple[np.ndarray, float]:
        """Returns the habits f64 [A] of a sentence, and how surely it asks for any.

        Each clause comes with what its words say: habits and scores of topics.
        """
        found, exact, answerable = np.zeros(len(AXES)), np.zeros(len(AXES), bool), 0.0
        for clause, worded in clauses:
            says, scores = np.split(worded, [len(AXES)])
            amounts = _by_axis(clause.amounts, self.scale)
            for axis, (value, stated) in amounts.items():
                place = AXES.index(axis)
                if axis == "margin":
                    stated = quantities.direction(clause.words)
                sign = stated or says[place]
                found[place] = np.copysign(value / self.scale.spread[axis], sign)
                exact[place] = True
            sure = 1.0 if amounts else (1 + self._lead(scores)) / 2
            answerable = max(answerable, min(sure, 1.0))
            if not amounts and sure >= UNDERSTOOD:
                about = self._about(scores) & ~exact
                found = np.where(about & (np.abs(says) > np.abs(found)), says, found)
        return np.where(exact | (np.abs(found) > _UNCLEAR), found, 0.0), answerable

    def _lead(self, scores: np.ndarray) -> float:
        """Returns by how much the best topic that can be answered leads the best other one."""
        return float(scores[self._known].max() - scores[~self._known].max())

    def _about(self, scores: np.ndarray) -> np.ndarray:
        """Returns on which axes bool [A] a clause says something."""
        best = scores[self._known].max()
        if best == scores[TOPICS.index(USUAL)]:
            return np.zeros(len(AXES), bool)
        return np.asarray((self._known & (scores >= _ABOUT * best))[: len(AXES)])

    def in_words(self, habits: Float[np.ndarray, " a"]) -> str:
        """Returns habits in words: "margin -1.5 px, first slice 3 mm later, tips +0.4 spreads"."""
        spread, parts = self.scale.spread, []
        for axis, value in zip(AXES, habits.tolist(), strict=True):
            if value and axis == "margin":
                parts.append(f"margin {value * spread[axis]:+.2g} {self.scale.unit}")
            elif value and axis in _SIDES:
                less, more = _SIDES[axis]
                side = more if value > 0 else less
                parts.append(f"{axis} slice {abs(value) * spread[axis]:.2g} mm {side}")
            elif value:
                parts.append(f"{axis} {value:+.1f} spreads")
        return ", ".join(parts) or "as usual"

    def count_tokens(self, sentence: str) -> int:
        """Returns the number of tokens before any cut."""
        return self._encoder.count_tokens(sentence)

    def describe(self) -> dict[str, Any]:
        """Returns what run.json says of the reader."""
        return {"axes": list(AXES), "topics": list(TOPICS)}


def fit(encoder: TextEncoder, scale: Scale) -> HabitReader:
    """Returns a reader that is fitted on the grammar's training voices and on other sentences.

    These are sentences of several authors on all axes; and sentences with degrees, whose degree
    counts as one spread of the margin, with sentences that ask for no outline.
    """
    # Clauses on all axes: one on which raters do not differ must not be taken for another.
    every = scale._replace(spread={axis: scale.spread.get(axis, 1.0) for axis in AXES})
    texts, asked = write(every, "train", _CLAUSES, most=1, seed=0)
    ends = np.zeros((len(asked), len(TOPICS) - len(AXES)))
    wanted = [*np.concatenate([np.nan_to_num(asked), np.isfinite(asked), ends], axis=1)]
    graded = degrees.read(_GRADED)
    for kind in (
        [(s.text, "margin", s.degree) for s in graded if s.category in _CATEGORIES and s.degree],
        [(s.text, USUAL, 0.0) for s in graded if s.category in _CATEGORIES and s.degree == 0],
        [(s.text, OTHER, 0.0) for s in graded if s.category in _OTHERS],
    ):
        for n in np.random.default_rng(0).permutation(len(kind))[:_DEGREES]:
            text, topic, degree = kind[n]
            texts.append(text)
            wanted.append(_wanted([topic], {"margin": degree}))
    for sentence in habit_sentences.read(habit_sentences.TRAIN):
        # A sentence is read clause by clause, and nobody said which clause asks for which habit.
        if len(sentence.asks) < 2 or len(_clauses(sentence.text)) < 2:
            texts.append(sentence.text)
            wanted.append(_wanted(list(sentence.asks) or [sentence.topic], sentence.asks))
    # Sentences that differ in a number have the same words.
    words, which = np.unique([quantities.find(text).words for text in texts], return_inverse=True)
    x = encoder.embed(words.tolist())[which].astype(np.float64)
    x = np.pad(x, ((0, 0), (1, 0)), constant_values=1.0)
    penalty = _RIDGE * np.diag(np.arange(x.shape[1]) > 0)  # not of the constant
    return HabitReader(encoder, scale, np.linalg.solve(x.T @ x + penalty, x.T @ np.stack(wanted)))


def _wanted(topics: Sequence[str], habits: Mapping[str, float]) -> np.ndarray:
    """Returns what the regression shall give f64 [A + T] for a sentence."""
    found = np.zeros(len(AXES) + len(TOPICS))
    for axis, value in habits.items():
        found[AXES.index(axis)] = value
    for topic in topics:
        found[len(AXES) + TOPICS.index(topic)] = 1.0
    return found


def write(
    scale: Scale, split: str, count: int, *, most: int, seed: int
) -> tuple[list[str], Float[np.ndarray, "n a"]]:
    """Returns sentences on one to `most` random habits, and these in spreads; NaN: not said."""
    voices, rng = HabitGrammar(split, seed), np.random.default_rng(seed)
    axes = list(scale.spread)
    sentences, asked = [], np.full((count, len(AXES)), np.nan)
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


def _by_axis(amounts: Sequence[quantities.Amount], scale: Scale) -> dict[str, tuple[float, int]]:
    """Returns the amounts of a clause by axis, and their signs if words near them say these."""
    found: dict[str, tuple[float, int]] = {}
    for amount in amounts:
        found |= _meant(amount, scale)
    return {axis: own for axis, own in found.items() if axis in scale.spread}


def _meant(amount: quantities.Amount, scale: Scale) -> dict[str, tuple[float, int]]:
    """Returns an amount in the unit of its axis, or of both ends, with its sign; 0: not said."""
    value, unit = amount.value, amount.unit
    if unit == "%":
        return {"margin": (float(np.log1p(value / 100)) / scale.area_per_margin, 0)}
    if scale.slice_mm and unit in ("slices", "mm") and (ends := _ends(amount)):
        mm = value * (scale.slice_mm if unit == "slices" else 1.0)
        return {end: (mm, _sign(amount, end)) for end in ends}
    return {"margin": (value, 0)} if unit == scale.unit else {}


def _sign(amount: quantities.Amount, end: str) -> int:
    """Returns 1 if the words next to an amount ask for more slices at an end, -1 for fewer."""
    near = {*amount.before[-3:], *amount.after[:6]}
    more, fewer = not near.isdisjoint(_MORE), not near.isdisjoint(_FEWER)
    if more != fewer:
        return 1 if more else -1
    early, late = not near.isdisjoint(_EARLY), not near.isdisjoint(_LATE)
    if early != late:
        return 1 if early == (end == "first") else -1
    return 0


def _ends(amount: quantities.Amount) -> tuple[str, ...]:
    """Returns the ends that the words next to an amount name: "first", "last", or both."""
    near = (*amount.before[::-1][:3], *amount.after[:6])
    if not _BOTH.isdisjoint(near) and not {"end", "ends"}.isdisjoint(near):
        return "first", "last"
    timed = amount.unit == "slices" or not _TIMES.isdisjoint(near)
    starts, ends = (_STARTS | _OPENS, _ENDS | _CLOSES) if timed else (_STARTS, _ENDS)
    for word in near:
        if word in starts | ends:
            return ("first",) if word in starts else ("last",)
    return ()
