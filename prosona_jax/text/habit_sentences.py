"""Sentences of many authors with the habits that they ask for (configs/prompts/habit_sentences.yaml).

They teach the reader of habits words that the grammar does not have.
"""

from typing import NamedTuple

from prosona_jax.text import degrees
from prosona_jax.text.habit_grammar import CONFIGS

_SENTENCES = CONFIGS / "prompts" / "habit_sentences.yaml"


class Sentence(NamedTuple):
    """A sentence and what it asks for."""

    text: str
    asks: dict[str, float]  # in spreads, by axis; {}: for no habit
    topic: str  # "usual" or "other" where `asks` is empty, else ""
    author: str


def read() -> list[Sentence]:
    """Returns the sentences of the file."""
    found = []
    for entry in degrees.read_yaml(_SENTENCES)["sentences"]:
        asks = entry["asks"]
        topic, habits = (asks, {}) if isinstance(asks, str) else ("", asks)
        found.append(Sentence(entry["text"], habits, topic, entry["author"]))
    return found
