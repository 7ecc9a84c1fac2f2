"""Finds the amounts in a clause, such as 1.5 px and 8 %, and in which direction they point.

`lengths.py` finds the one length of a whole sentence, and refuses where its meaning is not certain.
"""

import re
from typing import NamedTuple

from prosona_jax.text import lengths

_UNITS = (
    {unit: ("mm", mm) for unit, mm in lengths.MM.items()}
    | dict.fromkeys(("px", "pixel", "pixels"), ("px", 1.0))
    | dict.fromkeys(("%", "percent"), ("%", 1.0))
    | dict.fromkeys(("slice", "slices", "section", "sections"), ("slices", 1.0))
)
_TOKEN = re.compile(r"\d*[.,]?\d+|[½¼¾⅓⅔⅛]|[a-zµ]+|[/²%]")
_INWARD = {
    "inside", "within", "inward", "inwards", "in", "inner", "inset", "tighter", "smaller",
    "narrower", "less", "fewer", "shrink", "reduce", "reduced", "reduction", "below", "under",
    "short", "shorter", "lose", "cut", "trim", "shave", "off", "away", "minus", "erode", "contract",
    "retract", "remove", "subtract", "peel", "pull", "withdraw", "lower", "decrease", "back",
}  # fmt: skip
_OUTWARD = {
    "outside", "beyond", "outward", "outwards", "outer", "out", "larger", "bigger", "wider",
    "looser", "broader", "more", "grow", "expand", "enlarge", "enlarged", "above", "past", "over",
    "add", "added", "plus", "dilate", "extend", "gain", "around", "extra", "push", "pad", "widen",
    "increase", "higher", "rim", "buffer",
}  # fmt: skip


class Amount(NamedTuple):
    """An amount without sign."""

    value: float
    unit: str  # "mm", "px", "%" or "slices"
    before: tuple[str, ...]  # the words since the last amount
    after: tuple[str, ...]  # the words up to the next amount


class Found(NamedTuple):
    """The amounts of a clause, and its words with "some" in place of each number."""

    amounts: list[Amount]
    words: str


def find(clause: str) -> Found:
    """Returns the amounts in a clause, in their order.

    A clause with a negation has none, because its amount may be a limit: "not more than 2 px".

        >>> found = find("about one and a half pixels inside, 8 % smaller")
        >>> [(amount.value, amount.unit) for amount in found.amounts]
        [(1.5, 'px'), (8.0, '%')]
        >>> found.words
        'about some pixels inside some % smaller'
    """
    tokens = _tokens(clause)
    places, numbers = _places(tokens)
    if not places or lengths.NEGATIONS.search(clause.lower()):
        return Found([], clause)
    starts, units = zip(*places, strict=True)
    edges = zip((0, *(unit + 1 for unit in units)), (*starts, len(tokens)), strict=True)
    between = [tuple(tokens[a:b]) for a, b in edges]
    amounts, words = [], list(between[0])
    for n, (number, unit) in enumerate(zip(numbers, units, strict=True)):
        name, factor = _UNITS[tokens[unit]]
        amounts.append(Amount(number * factor, name, between[n], between[n + 1]))
        words += ["some", tokens[unit], *between[n + 1]]
    return Found(amounts, " ".join(words))


def states_amount(sentence: str) -> bool:
    """Returns whether a sentence has an amount anywhere, also with a negation.

    >>> states_amount("not more than 2 mm outside"), states_amount("from the first slice on")
    (True, False)
    """
    return bool(_places(_tokens(sentence))[0])


def _tokens(text: str) -> list[str]:
    """Returns the words, numbers and units of a text."""
    return _TOKEN.findall(text.lower().replace("μ", "µ"))  # the Greek letter, and the sign


def _places(tokens: list[str]) -> tuple[list[tuple[int, int]], list[float]]:
    """Returns where each number starts and where its unit is, and the numbers."""
    places: list[tuple[int, int]] = []
    numbers, start = [], 0
    for place, token in enumerate(tokens):
        if token not in _UNITS or tokens[place + 1 : place + 2] in (["²"], ["2"]):
            continue
        offset, number = lengths.number_before(tokens[start:place])
        if number is not None and start + offset < place:  # "the first slice" has no number
            numbers.append(number)
            places.append((start + offset, place))
            start = place + 1
    return places, numbers


def direction(words: str) -> int:
    """Returns -1 if the words of a clause point inwards, 1 outwards, 0 if neither or both do.

    >>> direction("some px inside the others"), direction("some px from the edge")
    (-1, 0)
    """
    own = set(words.split())
    return bool(own & _OUTWARD) - bool(own & _INWARD)
