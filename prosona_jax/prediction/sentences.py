"""Sentences that a user types: checked, embedded, and held against those of the training."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prosona_jax import unicode
from prosona_jax.experiments import predictions
from prosona_jax.text import encoder as text_encoder
from prosona_jax.text import prompts
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.types import InputError

_SLACK = 1e-4  # by which a similarity may differ between devices
_SAME = 1e-3  # by which a sentence's embedding may differ between devices and versions


class Reading(NamedTuple):
    """How near a sentence is to what the model was trained on."""

    nearest: str  # sentence in training
    style: str  # that sentence's
    similarity: float  # cosine
    far: bool  # farther from training than 95 % of held-out sentences
    cut: bool  # longer than the text encoder reads


def check(sentences: Sequence[str]) -> list[str]:
    """Returns the sentences with single blanks, as the prompt file's are read.

    Raises:
        InputError: there is none, one is empty, or UTF-8 cannot hold it.
    """
    if not sentences:
        raise InputError('no prompt: say what to draw, e.g. --prompt="hug the solid core"')
    sentences = [" ".join(sentence.split()) for sentence in sentences]
    for number, sentence in enumerate(sentences, start=1):
        if not unicode.is_utf8(sentence):  # a shell passes on bytes of any encoding
            raise InputError(
                f"prompt {number}, {sentence!r}, is not valid UTF-8; set the terminal to UTF-8, or "
                "save the script that gives the prompt as UTF-8"
            )
        if not any(map(str.isprintable, sentence.replace(" ", ""))):
            raise InputError(f"prompt {number} is empty; say what to draw")
    return sentences


def find_encoder(
    folder: pathlib.Path,
    described: dict[str, Any],
    second: predictions.StageTwo,
    place: str | None,
) -> TextEncoder:
    """Returns the encoder of the training sentences; InputError if the one found is another."""
    wanted = described["encoder"]
    encoder = text_encoder.load(place or wanted["name"])
    if (encoder.digest, encoder.dim) != (wanted["digest"], wanted["dim"]):
        raise InputError(
            f"{folder}: was trained with the text encoder {wanted['name']!r} of digest "
            f"{wanted['digest']} and {wanted['dim']} numbers, and the one found here has digest "
            f"{encoder.digest} and {encoder.dim}; install that one, name its folder as the "
            "encoder, or train again with this one"
        )
    # The digest is of the weights alone; tokenizer and pooling make an embedding, too.
    sentence = described["styles"][0]["train"][0]
    difference = np.abs(encoder.embed([sentence])[0] - second.text["train"][0, 0]).max()
    if difference > _SAME:
        raise InputError(
            f"{folder}: the text encoder {encoder.name!r} has the weights of the one it was "
            f"trained with, but reads {sentence!r} differently (by {difference:.1g}); install it "
            "with its own tokenizer and pooling"
        )
    return encoder


def read(
    sentences: Sequence[str],
    text: np.ndarray,
    *,
    second: predictions.StageTwo,
    described: dict[str, Any],
    encoder: TextEncoder,
) -> list[Reading]:
    """Returns how near sentences, and their embeddings f32 [s, e], are to those of the training."""
    trained, held_out = (
        second.text[split].reshape(-1, text.shape[1]) for split in ("train", "held_out")
    )
    least = prompts.least_familiar(held_out, trained)
    readings = []
    for sentence, place, similarity in zip(sentences, *prompts.nearest(text, trained), strict=True):
        style, number = divmod(int(place), second.text["train"].shape[1])
        known = described["styles"][style]  # its sentences repeat up to the longest list
        nearest = known["train"][number % len(known["train"])]
        far = bool(similarity < least - _SLACK)
        cut = encoder.count_tokens(sentence) > encoder.max_tokens
        readings.append(Reading(nearest, known["name"], float(similarity), far, cut))
    return readings


def caveats(sentence: str, reading: Reading, encoder: TextEncoder) -> list[str]:
    """Returns what a reader must know of what a sentence draws."""
    said, called = [], f"The prompt {unicode.shorten(sentence, 80)!r}"
    if reading.cut:
        said.append(
            f"{called} was cut after {encoder.max_tokens} tokens, all that the text encoder reads."
        )
    if reading.far:
        said.append(
            f"{called} is far from all that the model was trained on: its similarity to the "
            f"nearest sentence, {reading.nearest!r}, is {reading.similarity:.2f}."
        )
    return said
