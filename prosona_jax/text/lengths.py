"""Finds the length in a sentence, such as the 5 mm in "half a centimetre beyond the edge".

A text encoder reads numbers only roughly, while the rules of lengths are simple. So the value comes
from here, and the degree reader says only whether it lies inside or outside of the usual outline.
"""

import re

MM = {
    **dict.fromkeys(("mm", "millimetre", "millimetres", "millimeter", "millimeters"), 1.0),
    **dict.fromkeys(("cm", "centimetre", "centimetres", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("µm", "micron", "microns", "micrometre", "micrometres"), 1e-3),
    **dict.fromkeys(("micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("inch", "inches"), 25.4),
}
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = (
    {word: float(n) for n, word in enumerate(_ONES)}
    | {word: 10.0 * n for n, word in enumerate(_TENS, 2)}
    | {"couple": 2.0, "no": 0.0}
)
_PARTS = {
    "half": 2, "halve": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "eighth": 8,
    "tenth": 10, "sixteenth": 16, "twentieth": 20, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip
_FRACTIONS = {"½": 1 / 2, "¼": 1 / 4, "¾": 3 / 4, "⅓": 1 / 3, "⅔": 2 / 3, "⅛": 1 / 8} | {
    form: 1 / n for part, n in _PARTS.items() for form in (part, f"{part}s")
}
_FILLERS = ("a", "an", "of", "the", "and", "full", "whole", "good", "mere", "extra")
# A length before one of these is a property of the lesion or of the image.
_THINGS = {
    "nodule", "nodules", "lesion", "lesions", "tumour", "tumours", "tumor", "tumors", "mass",
    "node", "nodes", "spot", "thick", "slice", "slices", "section", "sections", "kernel",
    "reconstruction", "spacing", "pixel", "pixels", "voxel", "voxels", "one", "ones",
}  # fmt: skip
# With these the length is a limit, or it is not meant at all.
NEGATIONS = re.compile(
    r"\b(not|never|without|neither|nor|nothing|none|cannot|avoid|refrain|unless)\b|n['’]t\b"
)
# With these the length is the sum of both sides, or one of several.
_SUMS = {"wide", "diameter", "diameters", "width", "across", "total", "twice", "double", "square"}
_TOKEN = re.compile(r"\d*[.,]?\d+|[½¼¾⅓⅔⅛]|[a-zµ]+|[/²]")


def find_mm(sentence: str) -> float | None:
    """Returns the length in a sentence in mm, without a sign.

    None: there is no length, or its meaning is not certain. It is not certain if there is a second
    number, a negation, or a word such as "diameter".

        >>> find_mm("Go half a centimetre beyond the edge of this 12 mm nodule.")
        5.0
        >>> find_mm("take away two tenths of a millimetre")
        0.2
        >>> find_mm("not more than 2 mm outside") is None
        True
    """
    text = sentence.lower().replace("μ", "µ")  # the Greek letter, and the sign of a unit
    if NEGATIONS.search(text):
        return None
    tokens = _TOKEN.findall(text)
    found: list[float] = []
    used: set[int] = set()  # places of the numbers of lengths
    for place, token in enumerate(tokens):
        if token in MM and tokens[place + 1 : place + 2] not in (["²"], ["2"]):
            start, number = number_before(tokens[:place])
            used |= set(range(start, place))
            if tokens[place + 1 : place + 4] == ["and", "a", "half"]:  # "a millimetre and a half"
                used.add(place + 3)
                number = None if number is None else number + 0.5
            if number is not None and not _THINGS.intersection(tokens[place + 1 : place + 2]):
                found.append(number * MM[token])
    others = any(
        _is_digits(token) or token in (_NUMBERS.keys() | _FRACTIONS.keys()) - {"no", "one"}
        for place, token in enumerate(tokens)
        if place not in used
    )
    sums = _SUMS.intersection(tokens)
    return None if len(found) != 1 or others or sums else found[0]


def number_before(before: list[str]) -> tuple[int, float | None]:
    """Returns where the number at the end of a list of words starts, and its value."""
    start = len(before)
    while start and (
        _is_digits(before[start - 1])
        or before[start - 1] in (*_NUMBERS, *_FRACTIONS, *_FILLERS, "hundred", "/")
    ):
        start -= 1
    value: float | None = None
    joins = False  # after "and", as in "two and a half"
    words = before[start:]
    for place, word in enumerate(words):
        if word in _FRACTIONS:
            part = _FRACTIONS[word]
            value = part if value is None else value + part if joins else value * part
        elif word == "hundred":
            value = 100 * (1 if value is None else value)
        elif word in _NUMBERS or _is_digits(word):
            own = _NUMBERS[word] if word in _NUMBERS else float(word.replace(",", "."))
            if place and words[place - 1] == "/" and value is not None and own:
                value /= own
            elif value is None or (value >= 20 and own < 10):  # "twenty five"
                value = own + (value or 0.0)
            else:  # "2 and 3"
                return start, None
        joins = word == "and" or (joins and word in ("a", "an"))
    if value is None and {"a", "an"}.intersection(words):
        value = 1.0
    return start, value


def _is_digits(token: str) -> bool:
    return token[-1].isdigit()
