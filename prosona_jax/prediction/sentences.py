"""Checks the sentences of a user and compares them with the training sentences."""

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

_SLACK = 1e-4  # a similarity may differ by this much between devices
_SAME = 1e-3  # an embedding may differ by this much between devices and versions


class Reading(NamedTuple):
    """How near a sentence is to the training sentences."""

    nearest: str  # the nearest training sentence
    style: str  # the style of that sentence
    similarity: float  # the cosine similarity to it
    far: bool  # farther from the training sentences than 95 % of the held-out sentences
    cut: bool  # longer than the maximum of the text encoder


def check(sentences: Sequence[str]) -> list[str]:
    """Returns the sentences with single blanks, like those of a prompt file.

    Raises:
        InputError: there is no sentence, one is empty, or one is not valid UTF-8.
    """
    if not sentences:
        raise InputError('no prompt: say what to draw, e.g. --prompt="hug the solid core"')
    sentences = [" ".join(sentence.split()) for sentence in sentences]
    for number, sentence in enumerate(sentences, start=1):
        if not unicode.is_utf8(sentence):  # a shell passes bytes of any encoding
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
    name: str | None,
) -> TextEncoder:
    """Returns the encoder of the training sentences; InputError if the one found differs from it.

    Args:
        folder: the model's workdir.
        described: `Run.prompts`.
        second: the second stage, with the embeddings of the training sentences.
        name: folder or name of the encoder; None takes the name of the training.
    """
    wanted = described["encoder"]
    encoder = text_encoder.load(name or wanted["name"])
    if (encoder.digest, encoder.dim) != (wanted["digest"], wanted["dim"]):
        raise InputError(
            f"{folder}: was trained with the text encoder {wanted['name']!r} of digest "
            f"{wanted['digest']} and {wanted['dim']} dimensions, but the one found here has digest "
            f"{encoder.digest} and {encoder.dim} dimensions; install the encoder of the training, "
            "name its folder as the encoder, or train again with the one found"
        )
    # The digest covers only the weights, but tokenizer and pooling change the embedding too.
    sentence = described["styles"][0]["train"][0]
    difference = np.abs(encoder.embed([sentence])[0] - second.text["train"][0, 0]).max()
    if difference > _SAME:
        raise InputError(
            f"{folder}: the text encoder {encoder.name!r} has the same weights as in training, but "
            f"embeds {sentence!r} differently (by {difference:.1g}); install it with its own "
            "tokenizer and pooling"
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
    """Compares sentences, with embeddings f32 [s, e], with the nearest training sentences."""
    trained, held_out = (
        second.text[split].reshape(-1, text.shape[1]) for split in ("train", "held_out")
    )
    least = prompts.least_familiar(held_out, trained)
    readings = []
    for sentence, index, similarity in zip(sentences, *prompts.nearest(text, trained), strict=True):
        k, number = divmod(int(index), second.text["train"].shape[1])
        style = described["styles"][k]
        nearest = style["train"][number % len(style["train"])]  # shorter lists are repeated
        far = bool(similarity < least - _SLACK)
        cut = encoder.count_tokens(sentence) > encoder.max_tokens
        readings.append(Reading(nearest, style["name"], float(similarity), far, cut))
    return readings


def caveats(sentence: str, reading: Reading, encoder: TextEncoder) -> list[str]:
    """Returns what a user must know about the contour of a sentence."""
    found, prompt = [], f"The prompt {unicode.shorten(sentence, 80)!r}"
    if reading.cut:
        found.append(
            f"{prompt} was cut after {encoder.max_tokens} tokens, because the text encoder reads "
            "no more."
        )
    if reading.far:
        found.append(
            f"{prompt} is far from all training sentences: its similarity to the nearest one, "
            f"{reading.nearest!r}, is {reading.similarity:.2f}."
        )
    return found
