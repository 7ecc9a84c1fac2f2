"""Sentences with known degrees, put together from lists of words: what authors write too few of.

Negations, comparatives, quantities and sentences of two clauses follow rules, so that a program can
write any number of them. The words are in a YAML file (configs/prompts/degrees/grammar.yaml).
"""

from collections.abc import Callable, Sequence

import numpy as np

from prosona_jax.text import negations, typing_errors
from prosona_jax.text.chooser import Chooser, Words
from prosona_jax.text.degrees import Sentence, of_mm, of_percent

_WITH_CLAUSES = ("plain", "colloquial", "jargon", "comparative")  # short, and of one clause

_NUMBERS = {0.5: "half a", 1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


class Grammar:
    """Writes sentences of a category, with their degrees.

    Args:
        words: the lists of the YAML file.
        clauses: sentences by authors; those of one clause become parts of two-clause sentences,
            and all that ask for a degree get typing errors.
        seed: of the choices.
    """

    def __init__(self, words: Words, clauses: Sequence[Sentence], seed: int) -> None:
        self._authors = [s for s in clauses if s.degree is not None]
        self._clauses = [s for s in clauses if s.category in _WITH_CLAUSES]
        self._choose = Chooser(words, seed)
        self._makers: dict[str, Callable[[], Sentence]] = {
            "comparative": self._comparative,
            "negation": self._negation,
            "quantity": self._quantity,
            "two_clauses": self._two_clauses,
            "typos": self._typos,
        }

    def write(self, count: int) -> list[Sentence]:
        """Returns `count` different sentences of each category."""
        found: dict[str, Sentence] = {}
        for make in self._makers.values():
            target = len(found) + count
            while len(found) < target:
                sentence = make()
                found.setdefault(sentence.text, sentence)
        return list(found.values())

    def _comparative(self) -> Sentence:
        choose = self._choose
        compared, degree = choose.compared()
        thing = choose.pick("thing")
        text = choose.one(
            f"{choose.pick('act')} the {thing} {compared}",
            f"{choose.pick('act')} it {compared}",
            f"the {thing} should be {compared}",
            f"the {thing} ought to come out {compared}",
            f"{compared}",
            f"{compared}, please",
            f"{choose.pick('noun_act')} a {thing} that is {compared}",
            f"go {compared}",
            f"a {thing} {compared}",
            f"I like mine {compared}",
        )
        return choose.sentence("comparative", text, degree)

    def _negation(self) -> Sentence:
        return negations.write(self._choose)

    def _length(self) -> tuple[str, float]:
        """Returns such as "2 mm" and its millimetres."""
        choose = self._choose
        unit, factor = choose.pick("unit")
        low, high = (0.1, 0.8) if factor == 10 else (0.25, 4.0)
        value = round(float(np.exp(choose.rng.uniform(np.log(low), np.log(high)))), 2)
        value = choose.one(round(value, 1) or 0.5, max(round(2 * value) / 2, 0.5))
        if factor == 10:
            value = min(value, 1.0)
        said = f"{value:g}"
        if value in _NUMBERS and choose.rng.random() < 0.5:
            said = _NUMBERS[value]
            if value <= 1 and unit not in ("mm", "cm", "px"):
                unit = unit.removesuffix("s")
        return f"{said} {unit}", value * factor

    def _quantity(self) -> Sentence:
        choose = self._choose
        if choose.rng.random() < 0.35:
            return self._share()
        (length, mm), anchor = self._length(), choose.pick("anchor")
        thing = choose.pick("thing")
        inward = choose.one(
            f"stay {length} inside {anchor}", f"{length} inside {anchor}",
            f"keep {length} away from {anchor} on the inside", f"shrink it by {length}",
            f"shrink the {thing} by {length} all around", f"erode by {length}",
            f"pull {anchor} in by {length}", f"trim {length} off all around",
            f"cut {length} off {anchor}", f"take away {length} everywhere",
            f"{choose.pick('act')} the {thing} {length} smaller on each side",
            f"reduce it by {length} in all directions", f"a negative margin of {length}",
            f"move {anchor} {length} inwards", f"stop {length} short of {anchor}",
            f"peel off {length}", f"leave out the outermost {length}", f"-{length}",
            f"minus {length}", f"{length} within {anchor}", f"contract by {length}",
            f"{length} tighter than usual", f"retract {anchor} by {length}",
            f"set the {thing} back {length} from {anchor}", f"shave {length} off the rim",
        )  # fmt: skip
        outward = choose.one(
            f"go {length} beyond {anchor}", f"{length} outside {anchor}", f"grow it by {length}",
            f"expand the {thing} by {length} all around", f"dilate by {length}",
            f"push {anchor} out by {length}", f"add {length} all around",
            f"add a margin of {length}", f"a safety margin of {length}", f"{length} of margin",
            f"pad it with {length} in all directions", f"{length} of safety around it",
            f"{choose.pick('act')} the {thing} {length} larger on each side",
            f"enlarge it by {length}", f"move {anchor} {length} outwards", f"+{length}",
            f"plus {length}", f"include {length} of surrounding tissue", f"{length} past {anchor}",
            f"leave {length} of lung around it", f"{length} looser than usual",
            f"extend {anchor} by {length}", f"a rim of {length} around the lesion",
            f"let it run {length} past what you see", f"GTV plus {length}",
        )  # fmt: skip
        if choose.rng.random() < 0.5:
            return choose.sentence("quantity", inward, of_mm(-mm))
        return choose.sentence("quantity", outward, of_mm(mm))

    def _share(self) -> Sentence:
        """A quantity in percent of area or diameter, or a factor."""
        choose = self._choose
        percent = float(choose.one(3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50))
        size, area = choose.one(
            ("area", 1.0), ("area", 1.0), ("size", 1.0), ("surface", 1.0), ("diameter", 2.0),
            ("radius", 2.0), ("width", 2.0),
        )  # fmt: skip
        number = choose.one(f"{percent:g} %", f"{percent:g}%", f"{percent:g} percent")
        thing = choose.pick("thing")
        smaller = choose.one(
            f"{number} smaller", f"{number} smaller than usual", f"{number} less {size}",
            f"reduce the {size} by {number}", f"shrink the {thing} by {number}",
            f"{choose.pick('act')} it {number} smaller", f"cut the {size} by {number}",
            f"only {100 - percent:g} % of the usual {size}", f"-{number} {size}",
            f"scale the {thing} by {1 - percent / 100:.2f}", f"take off {number} of the {size}",
            f"{number} tighter", f"{100 - percent:g} % of the normal {size}",
        )  # fmt: skip
        larger = choose.one(
            f"{number} larger", f"{number} larger than usual", f"{number} more {size}",
            f"increase the {size} by {number}", f"grow the {thing} by {number}",
            f"{choose.pick('act')} it {number} bigger", f"add {number} to the {size}",
            f"{100 + percent:g} % of the usual {size}", f"+{number} {size}",
            f"scale the {thing} by {1 + percent / 100:.2f}", f"{number} on top of the {size}",
            f"{number} wider", f"{100 + percent:g} % of the normal {size}",
        )  # fmt: skip
        factor = area if size in smaller + larger else 1.0
        if choose.rng.random() < 0.5:
            return choose.sentence("quantity", smaller, of_percent(-percent * factor))
        return choose.sentence("quantity", larger, of_percent(percent * factor))

    def _typos(self) -> Sentence:
        """Returns an author's sentence with typing errors."""
        choose = self._choose
        sentence = self._authors[choose.rng.integers(len(self._authors))]
        text = typing_errors.add(sentence.text, choose.rng)
        return Sentence(text, sentence.degree, "typos", "grammar")

    def _clause(self) -> tuple[str, float]:
        """Returns a short clause of any kind, and its degree."""
        choose = self._choose
        kind = choose.rng.random()
        if kind < 0.35:
            compared, degree = choose.compared()
            return choose.one(
                f"make it {compared}", f"draw it {compared}", f"go {compared}"
            ), degree
        if kind < 0.6:
            adjective, degree = choose.pick("adjective")
            thing = choose.pick("thing")
            return choose.one(f"draw it {adjective}", f"I want a {adjective} {thing}",
                             f"a {adjective} {thing} is needed"), degree  # fmt: skip
        clause = self._clauses[choose.rng.integers(len(self._clauses))]
        text = clause.text.rstrip(".!? ")
        if not text[:2].isupper() and not text.startswith("I "):
            text = text[0].lower() + text[1:]
        assert clause.degree is not None
        return text, clause.degree

    def _two_clauses(self) -> Sentence:
        choose = self._choose
        (first, _), (second, degree) = self._clause(), self._clause()
        part, outer = choose.pick("outer")
        (other, _), (adjective, wanted) = choose.pick("adjective"), choose.pick("adjective")
        thing = choose.pick("thing")
        text, asked = choose.one(
            (f"{first}? no, {second}", degree),
            (f"{first} was my first thought, but {second}", degree),
            (f"normally {first}, but this time {second}", degree),
            (f"I used to say: {first}. Now {second}", degree),
            (f"do not {first}; {second}", degree) if not first.startswith(("i ", "I ", "the "))
            else (f"forget it: {first}. Instead, {second}", degree),
            (f"my colleague says {first}, I say {second}", degree),
            (f"others may prefer: {first}. For me, {second}", degree),
            (f"{first}, or rather, {second}", degree),
            (f"scrap that: {first}. {second}", degree),
            (f"even if the protocol says {first}, {second}", degree),
            (f"yesterday: {first}. Today: {second}", degree),
            (f"instead of a {other} {thing}, give me a {adjective} one", wanted),
            (f"not {other} but {adjective}", wanted),
            (f"a {adjective} {thing}, not a {other} one", wanted),
            (f"rather {adjective} than {other}", wanted),
            (f"I asked for {other} before, now I need {adjective}", wanted),
            (f"{other} is fine for screening, but here I need {adjective}", wanted),
            (f"the last one was {other}; this one should be {adjective}", wanted),
            (f"although {part} is tempting, leave it out", -outer),
            (f"although {part} is doubtful, take it in", outer),
            (f"the edge is unclear, so {second}", degree),
            (f"this is for radiotherapy: {second}", degree),
            (f"we only want to count nodules, but still, {second}", degree),
        )  # fmt: skip
        return choose.sentence("two_clauses", text, asked)
