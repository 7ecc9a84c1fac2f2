"""Sentences with the degree that they ask for, how generous an outline shall be, and their files.

-2 is the smallest outline that any rater draws, 0 the usual one, 2 the largest. None: the sentence
cannot be answered, since it contradicts itself or asks for something else.
"""

import hashlib
import pathlib
from typing import Any, NamedTuple

import numpy as np
import yaml

from prosona_jax import unicode
from prosona_jax.types import InputError

LIMIT = 2.0
# In LIDC-IDRI the smallest of four outlines lies 0.46 mm inside of their mean and the largest
# 0.51 mm outside, by the radius of a disc of equal area. Their areas are 0.81 and 1.24 of the mean.
MM = 0.25  # of a degree
PERCENT = 10.0  # of the area, of a degree


class Sentence(NamedTuple):
    """A sentence and what it asks for."""

    text: str
    degree: float | None  # -2..2; None: cannot be answered
    category: str  # such as "negation"
    author: str

    @property
    def half(self) -> str:
        """Of a probe: "choose" or "report", as the SHA-256 of the text decides."""
        odd = hashlib.sha256(self.text.encode()).digest()[0] % 2
        return "report" if odd else "choose"


def of_mm(mm: float) -> float:
    """Returns the degree of a signed distance from the usual outline, cut at the limits."""
    return float(np.clip(mm / MM, -LIMIT, LIMIT))


def of_percent(percent: float) -> float:
    """Returns the degree of a signed change of the outline's area, cut at the limits."""
    return float(np.clip(percent / PERCENT, -LIMIT, LIMIT))


def read(folder: pathlib.Path) -> list[Sentence]:
    """Returns the sentences of all YAML files ``{category, sentences: [{text, degree, author}]}``.

    Raises:
        InputError: there is none, or one is damaged; the line names file and sentence.
    """
    paths = sorted(path for path in folder.glob("*.yaml") if path.name != "grammar.yaml")
    if not paths:
        raise InputError(f"{folder}: holds no YAML file of sentences; see configs/prompts/probe")
    return [sentence for path in paths for sentence in _read_file(path)]


def read_yaml(path: pathlib.Path) -> Any:
    """Returns the content of a YAML file; InputError if it cannot be read or is not YAML."""
    try:
        return yaml.safe_load(unicode.decode(path.read_bytes(), str(path)))
    except (OSError, yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({reason}); correct the file") from None


def _read_file(path: pathlib.Path) -> list[Sentence]:
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("sentences"), list):
        raise InputError(f"{path}: needs `category` and a list `sentences`")
    category = str(content.get("category") or path.stem)
    return [_sentence(entry, category, f"{path}: sentence {n}") for n, entry in
            enumerate(content["sentences"], 1)]  # fmt: skip


def _sentence(entry: Any, category: str, where: str) -> Sentence:
    if not isinstance(entry, dict) or not {"text", "degree"} <= entry.keys():
        raise InputError(f"{where}: needs `text` and `degree`")
    text, degree = entry["text"], entry["degree"]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}: `text` is {text!r}; put a sentence in quotes")
    author = str(entry.get("author", ""))
    return Sentence(" ".join(text.split()), check(degree, where), category, author)


def check(degree: Any, where: str) -> float | None:
    """Returns a degree from a file; InputError if it is neither a number from -2 to 2 nor null."""
    number = isinstance(degree, int | float) and not isinstance(degree, bool)
    if degree is not None and not (number and abs(degree) <= LIMIT):
        raise InputError(f"{where}: `degree` is {degree!r}; give a number from -2 to 2, or null")
    return None if degree is None else float(degree)
