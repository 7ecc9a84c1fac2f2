"""Sentences with the habits that they ask for, by several authors.

Those that train teach the reader of habits words that the grammar does not have; those of the probe
measure it.
"""

import pathlib
from typing import NamedTuple

from prosona_jax.text import degrees
from prosona_jax.text.habit_grammar import CONFIGS

TRAIN = CONFIGS / "prompts" / "habit_sentences.yaml"
PROBE = CONFIGS / "prompts" / "habit_probe.yaml"


class Sentence(NamedTuple):
    """A sentence and what it asks for."""

    text: str
    asks: dict[str, float]  # in spreads, by axis; {}: for no habit
    topic: str  # "usual" or "other" where `asks` is empty, else ""
    author: str


def read(path: pathlib.Path) -> list[Sentence]:
    """Returns the sentences of one of the two files."""
    found = []
    for entry in degrees.read_yaml(path)["sentences"]:
        asks = entry["asks"]
        topic, habits = (asks, {}) if isinstance(asks, str) else ("", asks)
        habits = {axis: float(value) for axis, value in habits.items()}
        found.append(Sentence(entry["text"], habits, topic, entry["author"]))
    return found
