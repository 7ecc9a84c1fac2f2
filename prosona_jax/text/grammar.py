"""Sentences with known degrees, put together from lists of words: what authors write too few of.

Negations, comparatives, quantities and sentences of two clauses follow rules, so that a program can
write any number of them. The words are in a YAML file (configs/prompts/degrees/grammar.yaml).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prosona_jax.text.degrees import LIMIT, Sentence, of_mm, of_percent

Words = dict[str, list[Any]]

_WITH_CLAUSES = ("plain", "colloquial", "jargon", "comparative")  # short, and of one clause

_NUMBERS = {0.5: "half a", 1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


class Grammar:
    """Writes sentences of a category, with their degrees.

    Args:
        words: the lists of the YAML file.
        clauses: sentences by authors; those of one clause become parts of two-clause sentences.
        seed: of the choices.
    """

    def __init__(self, words: Words, clauses: Sequence[Sentence], seed: int) -> None:
        self._words = {
            name: [(str(x[0]), float(x[1])) if isinstance(x, list) else str(x) for x in entries]
            for name, entries in words.items()
        }
        self._clauses = [s for s in clauses if s.category in _WITH_CLAUSES]
        self._rng = np.random.default_rng(seed)
        self._makers: dict[str, Callable[[], Sentence]] = {
            "comparative": self._comparative,
            "negation": self._negation,
            "quantity": self._quantity,
            "two_clauses": self._two_clauses,
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

    def _pick(self, name: str) -> Any:
        options = self._words[name]
        return options[self._rng.integers(len(options))]

    def _one(self, *options: Any) -> Any:
        return options[self._rng.integers(len(options))]

    def _sentence(self, category: str, text: str, degree: float) -> Sentence:
        text = " ".join(text.split())
        if self._rng.random() < 0.7:
            text = text[0].upper() + text[1:]
        if self._rng.random() < 0.7:
            text += "?" if text.lower().startswith(("could", "can")) else "."
        degree = float(np.clip(degree, -LIMIT, LIMIT))
        return Sentence(text=text, degree=degree, category=category, author="grammar")

    def _compared(self) -> tuple[str, float]:
        """Returns such as "slightly larger than usual" and its degree."""
        (strength, size), (more, sign), than = (
            self._pick("strength"), self._pick("more"), self._pick("than")
        )  # fmt: skip
        return f"{strength} {more} {than}", sign * size

    def _comparative(self) -> Sentence:
        compared, degree = self._compared()
        thing = self._pick("thing")
        text = self._one(
            f"{self._pick('act')} the {thing} {compared}",
            f"{self._pick('act')} it {compared}",
            f"the {thing} should be {compared}",
            f"the {thing} ought to come out {compared}",
            f"{compared}",
            f"{compared}, please",
            f"{self._pick('noun_act')} a {thing} that is {compared}",
            f"go {compared}",
            f"a {thing} {compared}",
            f"I like mine {compared}",
        )
        return self._sentence("comparative", text, degree)

    def _negation(self) -> Sentence:
        return self._one(
            self._negated_part, self._negated_part, self._negated_failing, self._negated_adjective,
            self._negated_comparison,
        )()  # fmt: skip

    def _negated_part(self) -> Sentence:
        """An outer part that is to be taken or left, said by way of a negation."""
        part, degree = self._pick("outer")
        include, exclude = self._pick("include"), self._pick("exclude")
        taken = [
            f"do not {exclude} {part}",
            f"don't {exclude} {part}",
            f"never {exclude} {part}",
            f"please do not {exclude} {part}",
            f"make sure you don't {exclude} {part}",
            f"there is no reason to {exclude} {part}",
            f"{part} must not be left out",
            f"{part} should not be missing",
            f"I don't want you to {exclude} {part}",
            f"not without {part}",
            f"under no circumstances {exclude} {part}",
            f"refrain from cutting off {part}",
            f"you must not {exclude} {part}",
            f"do not draw it without {part}",
            f"none of {part} may be lost",
            f"avoid losing {part}",
            f"don't forget {part}",
            f"don't fail to {include} {part}",
        ]
        left = [
            f"do not {include} {part}",
            f"don't {include} {part}",
            f"never {include} {part}",
            f"please do not {include} {part}",
            f"make sure you don't {include} {part}",
            f"there is no need to {include} {part}",
            f"{part} must not be included",
            f"{part} does not belong to it",
            f"I don't want {part} in the {self._pick('thing')}",
            f"without {part}",
            f"{self._pick('noun_act')} a {self._pick('thing')} without {part}",
            f"under no circumstances {include} {part}",
            f"refrain from taking in {part}",
            f"you must not {include} {part}",
            f"everything but {part}",
            f"no {part.removeprefix('the ').removeprefix('some ').removeprefix('a ')}",
            f"none of {part} should be in it",
            f"don't fail to {exclude} {part}",
            f"it need not {include} {part}",
        ]
        if self._rng.random() < 0.5:
            return self._sentence("negation", self._one(*taken), degree)
        return self._sentence("negation", self._one(*left), -degree)

    def _negated_failing(self) -> Sentence:
        """A failing to avoid, or one that is no failing."""
        sign, name = self._one((1.0, "failing_small"), (-1.0, "failing_large"))
        failing = self._pick(name)
        text, degree = self._one(
            (f"do not {failing}", 1),
            (f"don't {failing}", 1),
            (f"please don't {failing}", 1),
            (f"never {failing}", 1.25),
            (f"try not to {failing}", 1),
            (f"don't {failing} too much", 0.5),
            (f"whatever you do, don't {failing}", 1.5),
            (f"no need to {failing}", 0.75),
            (f"I would not {failing} here", 1),
            (f"you should not {failing}", 1),
            (f"not the moment to {failing}", 1),
            (f"by no means {failing}", 1.5),
            (f"there is no harm if you {failing}", -1),
            (f"don't hesitate to {failing}", -1.25),
            (f"don't be afraid to {failing}", -1.25),
            (f"I would not mind if you {failing}", -1),
            (f"it is not wrong to {failing}", -1),
            (f"it does not matter if you {failing}", -0.75),
            (f"nobody will complain if you {failing}", -1),
        )
        return self._sentence("negation", text, sign * degree)

    def _negated_adjective(self) -> Sentence:
        adjective, degree = self._pick("adjective")
        while abs(degree) < 1:
            adjective, degree = self._pick("adjective")
        thing, sign = self._pick("thing"), np.sign(degree)
        text, asked = self._one(
            (f"anything but {adjective}", -1.5 * sign),
            (f"anything but a {adjective} {thing}", -1.5 * sign),
            (f"not a {adjective} {thing}", -0.75 * sign),
            (f"not {adjective}", -0.75 * sign),
            (f"the {thing} must not be {adjective}", -0.75 * sign),
            (f"far from {adjective}", -1.25 * sign),
            (f"by no means {adjective}", -1 * sign),
            (f"I do not want a {adjective} {thing}", -0.75 * sign),
            (f"don't make it {adjective}", -0.75 * sign),
            (f"never {adjective}", -1 * sign),
            (f"nothing {adjective}, please", -0.75 * sign),
            (f"not in the least {adjective}", -1 * sign),
            (f"it cannot be {adjective} enough", 2 * sign),
            (f"there is no such thing as too {adjective}", 2 * sign),
            (f"it is not {adjective} enough", 1.25 * sign),
            (f"the last {thing} was not {adjective} enough", 1.25 * sign),
            (f"nothing but a {adjective} {thing} will do", degree),
            (f"nothing less than {adjective}", degree),
            (f"no {thing} other than a {adjective} one", degree),
            (f"don't give me anything but a {adjective} {thing}", degree),
            (f"don't be shy, make it {adjective}", degree),
            ("neither loose nor tight", 0.0),
            ("not small, not large", 0.0),
            ("neither generous nor strict", 0.0),
            (f"the {thing} must be neither too small nor too large", 0.0),
            ("no bias to either side", 0.0),
        )
        return self._sentence("negation", text, float(asked))

    def _negated_comparison(self) -> Sentence:
        (more, sign), than = self._pick("more"), self._pick("than") or "than usual"
        thing = self._pick("thing")
        text, degree = self._one(
            (f"no {more} {than}", 0.0),
            (f"not {more} {than}", 0.0),
            (f"the {thing} should not be any {more} {than}", 0.0),
            (f"never {more} {than}", -0.25 * sign),
            (f"not much {more} {than}", 0.25 * sign),
            (f"not too much {more} {than}", 0.5 * sign),
            (f"not quite so much {more} {than}", 0.25 * sign),
            (f"don't make it {more}", -0.25 * sign),
            (f"nothing would please me more than a {thing} that is {more} {than}", sign),
            (f"why not {more} {than}", sign),
            (f"it wouldn't hurt to be {more} {than}", 0.75 * sign),
        )
        return self._sentence("negation", text, degree)

    def _length(self) -> tuple[str, float]:
        """Returns such as "2 mm" and its millimetres."""
        unit, factor = self._pick("unit")
        low, high = (0.1, 0.8) if factor == 10 else (0.25, 4.0)
        value = round(float(np.exp(self._rng.uniform(np.log(low), np.log(high)))), 2)
        value = self._one(round(value, 1) or 0.5, max(round(2 * value) / 2, 0.5))
        if factor == 10:
            value = min(value, 1.0)
        said = f"{value:g}"
        if value in _NUMBERS and self._rng.random() < 0.5:
            said = _NUMBERS[value]
            if value <= 1 and unit not in ("mm", "cm", "px"):
                unit = unit.removesuffix("s")
        return f"{said} {unit}".replace("px px", "px"), value * factor

    def _quantity(self) -> Sentence:
        if self._rng.random() < 0.35:
            return self._share()
        (length, mm), anchor = self._length(), self._pick("anchor")
        thing = self._pick("thing")
        inward = self._one(
            f"stay {length} inside {anchor}", f"{length} inside {anchor}",
            f"keep {length} away from {anchor} on the inside", f"shrink it by {length}",
            f"shrink the {thing} by {length} all around", f"erode by {length}",
            f"pull {anchor} in by {length}", f"trim {length} off all around",
            f"cut {length} off {anchor}", f"take away {length} everywhere",
            f"{self._pick('act')} the {thing} {length} smaller on each side",
            f"reduce it by {length} in all directions", f"a negative margin of {length}",
            f"move {anchor} {length} inwards", f"stop {length} short of {anchor}",
            f"peel off {length}", f"leave out the outermost {length}", f"-{length}",
            f"minus {length}", f"{length} within {anchor}", f"contract by {length}",
            f"{length} tighter than usual", f"retract {anchor} by {length}",
            f"set the {thing} back {length} from {anchor}", f"shave {length} off the rim",
        )  # fmt: skip
        outward = self._one(
            f"go {length} beyond {anchor}", f"{length} outside {anchor}", f"grow it by {length}",
            f"expand the {thing} by {length} all around", f"dilate by {length}",
            f"push {anchor} out by {length}", f"add {length} all around",
            f"add a margin of {length}", f"a safety margin of {length}", f"{length} of margin",
            f"pad it with {length} in all directions", f"{length} of safety around it",
            f"{self._pick('act')} the {thing} {length} larger on each side",
            f"enlarge it by {length}", f"move {anchor} {length} outwards", f"+{length}",
            f"plus {length}", f"include {length} of surrounding tissue", f"{length} past {anchor}",
            f"leave {length} of lung around it", f"{length} looser than usual",
            f"extend {anchor} by {length}", f"a rim of {length} around the lesion",
            f"let it run {length} past what you see", f"GTV plus {length}",
        )  # fmt: skip
        if self._rng.random() < 0.5:
            return self._sentence("quantity", inward, of_mm(-mm))
        return self._sentence("quantity", outward, of_mm(mm))

    def _share(self) -> Sentence:
        """A quantity in percent of area or diameter, or a factor."""
        percent = float(self._one(3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50))
        size, area = self._one(
            ("area", 1.0), ("area", 1.0), ("size", 1.0), ("surface", 1.0), ("diameter", 2.0),
            ("radius", 2.0), ("width", 2.0),
        )  # fmt: skip
        number = self._one(f"{percent:g} %", f"{percent:g}%", f"{percent:g} percent")
        thing = self._pick("thing")
        smaller = self._one(
            f"{number} smaller", f"{number} smaller than usual", f"{number} less {size}",
            f"reduce the {size} by {number}", f"shrink the {thing} by {number}",
            f"{self._pick('act')} it {number} smaller", f"cut the {size} by {number}",
            f"only {100 - percent:g} % of the usual {size}", f"-{number} {size}",
            f"scale the {thing} by {1 - percent / 100:.2f}", f"take off {number} of the {size}",
            f"{number} tighter", f"{100 - percent:g} % of the normal {size}",
        )  # fmt: skip
        larger = self._one(
            f"{number} larger", f"{number} larger than usual", f"{number} more {size}",
            f"increase the {size} by {number}", f"grow the {thing} by {number}",
            f"{self._pick('act')} it {number} bigger", f"add {number} to the {size}",
            f"{100 + percent:g} % of the usual {size}", f"+{number} {size}",
            f"scale the {thing} by {1 + percent / 100:.2f}", f"{number} on top of the {size}",
            f"{number} wider", f"{100 + percent:g} % of the normal {size}",
        )  # fmt: skip
        factor = area if size in smaller + larger else 1.0
        if self._rng.random() < 0.5:
            return self._sentence("quantity", smaller, of_percent(-percent * factor))
        return self._sentence("quantity", larger, of_percent(percent * factor))

    def _clause(self) -> tuple[str, float]:
        """Returns a short clause of any kind, and its degree."""
        kind = self._rng.random()
        if kind < 0.35:
            compared, degree = self._compared()
            return self._one(f"make it {compared}", f"draw it {compared}", f"go {compared}"), degree
        if kind < 0.6:
            adjective, degree = self._pick("adjective")
            thing = self._pick("thing")
            return self._one(f"draw it {adjective}", f"I want a {adjective} {thing}",
                             f"a {adjective} {thing} is needed"), degree  # fmt: skip
        clause = self._clauses[self._rng.integers(len(self._clauses))]
        text = clause.text.rstrip(".!? ")
        if not text[:2].isupper() and not text.startswith("I "):
            text = text[0].lower() + text[1:]
        assert clause.degree is not None
        return text, clause.degree

    def _two_clauses(self) -> Sentence:
        (first, _), (second, degree) = self._clause(), self._clause()
        part, outer = self._pick("outer")
        (other, _), (adjective, wanted) = self._pick("adjective"), self._pick("adjective")
        thing = self._pick("thing")
        text, asked = self._one(
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
        return self._sentence("two_clauses", text, asked)
