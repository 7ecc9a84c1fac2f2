"""How well the reader of habits reads sentences of people who never saw its training sentences.

    python -m benchmarks.habit_reading

A sentence is right if each habit that it asks for has its sign and no other habit is read; "usual"
if it is understood and all habits are 0; "other" if it is not understood.
"""

import collections

import numpy as np

from prosona_jax.text import encoder, habit_reader, habit_sentences
from prosona_jax.text.habit_reader import UNDERSTOOD
from prosona_jax.text.habits import AXES, Scale

# Raters differ in every axis.
SCALE = Scale("mm", {"margin": 1, "roughness": 1, "tips": 1, "first": 3, "last": 3}, 0.1, 3.0)


def main() -> None:
    """Prints a table for each half of the test sentences."""
    reader = habit_reader.fit(encoder.load(encoder.DEFAULT), SCALE)
    sentences = habit_sentences.read(habit_sentences.PROBE)
    read = reader.read([sentence.text for sentence in sentences])
    counts: dict[str, dict[str, list[bool]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    for sentence, habits, sure in zip(sentences, read.habits, read.answerable, strict=True):
        asked = np.array([np.sign(sentence.asks.get(axis, 0.0)) for axis in AXES])
        understood = bool(sure >= UNDERSTOOD)
        exact = bool((np.sign(habits) == asked).all())
        kind = sentence.topic or ("one habit" if len(sentence.asks) == 1 else "two habits")
        own = counts[sentence.author]
        own[kind].append(not understood if kind == habit_reader.OTHER else understood and exact)
        for axis in sentence.asks:
            place = AXES.index(axis)
            own[f"{axis}, sign"].append(understood and np.sign(habits[place]) == asked[place])
        if sentence.asks:
            own["no opposite sign"].append(bool((habits * asked >= 0).all()))
    print("| | " + " | ".join(counts) + " |\n|---|" + "---|" * len(counts))
    for kind in next(iter(counts.values())):
        cells = [f"{sum(own[kind])} of {len(own[kind])}" for own in counts.values()]
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
