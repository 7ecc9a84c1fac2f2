"""Chooses the words of the grammar at random."""

from typing import Any

import numpy as np

from prosona_jax.text.degrees import LIMIT, Sentence

Words = dict[str, list[Any]]  # by list: words, or words with their degrees


class Chooser:
    """Draws words from the lists of the grammar's file."""

    def __init__(self, words: Words, seed: int) -> None:
        """Takes the lists of the file, and the seed of all draws."""
        self._words = {
            name: [(str(x[0]), float(x[1])) if isinstance(x, list) else str(x) for x in entries]
            for name, entries in words.items()
        }
        self.rng = np.random.default_rng(seed)

    def pick(self, name: str) -> Any:
        """Returns an entry of a list of the YAML file: a word, or a word and its degree."""
        options = self._words[name]
        return options[self.rng.integers(len(options))]

    def one(self, *options: Any) -> Any:
        """Returns one of the options."""
        return options[self.rng.integers(len(options))]

    def sentence(self, category: str, text: str, degree: float) -> Sentence:
        """Returns a sentence, mostly with a capital letter and a full stop."""
        text = " ".join(text.split())
        if self.rng.random() < 0.7:
            text = text[0].upper() + text[1:]
        if self.rng.random() < 0.7:
            text += "?" if text.lower().startswith(("could", "can")) else "."
        degree = float(np.clip(degree, -LIMIT, LIMIT))
        return Sentence(text=text, degree=degree, category=category, author="grammar")

    def compared(self) -> tuple[str, float]:
        """Returns such as "slightly larger than usual" and its degree."""
        (strength, size), (more, sign), than = (
            self.pick("strength"), self.pick("more"), self.pick("than")
        )  # fmt: skip
        return f"{strength} {more} {than}", sign * size
