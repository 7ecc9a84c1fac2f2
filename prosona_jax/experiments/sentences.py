"""Checks the sentences of a user and compares them with the training sentences."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from prosona_jax import unicode
from prosona_jax.experiments import predictions
from prosona_jax.experiments.length_scale import scale_of
from prosona_jax.runtime.workdir import Run
from prosona_jax.text import encoder as text_encoder
from prosona_jax.text import lengths, prompts, quantities
from prosona_jax.text.degree_reader import ANSWERABLE, DegreeReader
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.habit_reader import UNDERSTOOD, HabitReader
from prosona_jax.text.habits import AXES, parse_scale
from prosona_jax.types import InputError

_SLACK = 1e-4  # a similarity may differ by this much between devices
_SAME = 1e-3  # an embedding may differ by this much between devices and versions
_NO_DEGREE = "contradicts itself, is not English, or does not say how generous the outline shall be"


class Reading(NamedTuple):
    """How a model understood a sentence."""

    understood: str  # in words
    style: str  # the style that it is nearest to
    degree: float | None  # how generous an outline it asks for, -2..2; None: the model reads none
    length_mm: float | None  # distance from the usual outline that it asks for, negative inside
    beyond_mm: float  # the part of `length_mm` that the model does not draw, because no rater did
    answerable: float | None  # 0..1, that it can be answered; None: embeddings alone are read
    nearest: str | None  # the training sentence nearest by embedding; None: more is read
    similarity: float | None  # the cosine similarity to it
    far: bool  # hardly understood: below the limit of `answerable`, or of `similarity`
    fault: str  # what is wrong with a sentence that cannot be answered; "": nothing is known
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


def find_reader(
    folder: pathlib.Path,
    described: dict[str, Any],
    second: predictions.StageTwo,
    name: str | None,
) -> TextEncoder | DegreeReader | HabitReader:
    """Returns what read the training sentences; InputError if the text encoder found differs.

    Args:
        folder: the model's folder.
        described: `Run.prompts`.
        second: the second stage, with the training sentences as numbers.
        name: folder or name of the encoder; None takes the name of the training.
    """
    wanted = described["encoder"]
    encoder = text_encoder.load(name or wanted["name"])
    if encoder.digest != wanted["digest"]:
        raise InputError(
            f"{folder}: was trained with the text encoder {wanted['name']!r} of digest "
            f"{wanted['digest']}, but the one found here has digest {encoder.digest}; install the "
            "encoder of the training, name its folder as the encoder, or train again with the one "
            "found"
        )
    reader: TextEncoder | DegreeReader | HabitReader = encoder
    if "degree_reader" in wanted:
        rank = wanted["degree_reader"]["rank"]
        reader = DegreeReader(encoder, rank, second.text["degree_reader"])
    if "habit_reader" in wanted:
        scale = parse_scale(described["scale"], str(folder))
        reader = HabitReader(encoder, scale, second.text["habit_reader"])
    # The digest covers only the weights, but tokenizer and pooling change the numbers too. Habits,
    # which follow an embedding, jump where a clause is just about another topic.
    sentence = described["styles"][0]["train"][0]
    difference = reader.embed([sentence])[0] - second.text["train"][0, 0]
    difference = np.abs(difference[: encoder.dim]).max()
    if difference > _SAME:
        raise InputError(
            f"{folder}: the text encoder {encoder.name!r} has the same weights as in training, but "
            f"embeds {sentence!r} differently (by {difference:.1g}); install it with its own "
            "tokenizer and pooling"
        )
    return reader


def read(
    sentences: Sequence[str],
    *,
    run: Run,
    second: predictions.StageTwo,
    reader: TextEncoder | DegreeReader | HabitReader,
) -> tuple[np.ndarray, list[Reading]]:
    """Returns what the second stage gets of sentences, f32 [s, e], and how they are understood."""
    assert run.prompts is not None
    styles = run.prompts["styles"]
    cut = [reader.count_tokens(sentence) > reader.max_tokens for sentence in sentences]
    if isinstance(reader, DegreeReader):
        return _read_degrees(sentences, run, second, reader, cut)
    if isinstance(reader, HabitReader):
        return _read_habits(sentences, run, second, reader, cut)
    text = reader.embed(sentences)
    trained, held_out = (
        second.text[split].reshape(-1, text.shape[1]) for split in ("train", "held_out")
    )
    least = prompts.least_familiar(held_out, trained)
    readings = []
    for index, similarity, is_cut in zip(*prompts.nearest(text, trained), cut, strict=True):
        k, number = divmod(int(index), second.text["train"].shape[1])
        train = styles[k]["train"]
        nearest = train[number % len(train)]  # shorter lists are repeated
        readings.append(
            Reading(
                understood=f"like {nearest!r} (similarity {similarity:.2f})",
                style=styles[k]["name"],
                degree=None,
                length_mm=None,
                beyond_mm=0.0,
                answerable=None,
                nearest=nearest,
                similarity=round(float(similarity), 4),
                far=bool(similarity < least - _SLACK),
                fault="",
                cut=is_cut,
            )
        )
    return text, readings


def _read_habits(
    sentences: Sequence[str],
    run: Run,
    second: predictions.StageTwo,
    reader: HabitReader,
    cut: Sequence[bool],
) -> tuple[np.ndarray, list[Reading]]:
    """Does what `read` does, by habits."""
    assert run.prompts is not None
    own = second.text["train"][..., -len(AXES) :].mean(axis=1)  # f32 [k, a]
    habits, answerable = reader.read(sentences)
    fault = (
        "is not English, or asks for nothing in which the raters of the training differ: "
        f"{', '.join(reader.scale.spread)}"
    )
    readings = [
        Reading(
            understood=reader.in_words(asked),
            style=run.prompts["styles"][int(np.linalg.norm(asked - own, axis=1).argmin())]["name"],
            degree=None,
            length_mm=None,
            beyond_mm=0.0,
            answerable=round(float(sure), 4),
            nearest=None,
            similarity=None,
            far=bool(sure < UNDERSTOOD),
            fault=fault if sure < UNDERSTOOD else "",
            cut=is_cut,
        )
        for asked, sure, is_cut in zip(habits, answerable, cut, strict=True)
    ]
    return reader.embed(sentences), readings


def _read_degrees(
    sentences: Sequence[str],
    run: Run,
    second: predictions.StageTwo,
    reader: DegreeReader,
    cut: Sequence[bool],
) -> tuple[np.ndarray, list[Reading]]:
    """Does what `read` does, by degree. The reader decides in which direction a length points."""
    assert run.prompts is not None
    scale, own = scale_of(run, second), second.text["train"][..., 0].mean(axis=1)  # f32 [k]
    found, readings, degrees = reader.read(sentences), [], []
    for n, sentence in enumerate(sentences):
        degree, sure = float(found.degree[n]), float(found.answerable[n])
        length_mm, beyond_mm, understood = lengths.find_mm(sentence), 0.0, in_words(degree)
        if length_mm is not None:
            understood = in_words(0.0)
            if length_mm:
                understood = f"{length_mm:g} mm {_side(degree)} {understood}"
            length_mm = math.copysign(length_mm, degree)
            degree, beyond_mm = scale.read(length_mm)
        degrees.append(degree)
        readings.append(
            Reading(
                understood=f"{understood}, degree {degree:+z.1f} of -2 to 2",
                style=run.prompts["styles"][int(np.abs(degree - own).argmin())]["name"],
                degree=round(degree, 3),
                length_mm=length_mm,
                beyond_mm=round(beyond_mm, 4),
                answerable=round(sure, 4),
                nearest=None,
                similarity=None,
                far=sure < ANSWERABLE,
                fault=_NO_DEGREE if sure < ANSWERABLE else "",
                cut=cut[n],
            )
        )
    return np.array(degrees, np.float32)[:, None], readings


def in_words(degree: float) -> str:
    """Returns how generous an outline of a degree is.

    >>> in_words(-1.4), in_words(0.1), in_words(2.0)
    ('clearly inside the usual outline', 'the usual outline', 'far outside the usual outline')
    """
    for least, strength in ((1.75, "far"), (1.1, "clearly"), (0.6, "somewhat"), (0.2, "slightly")):
        if abs(degree) >= least:
            return f"{strength} {_side(degree)} the usual outline"
    return "the usual outline"


def _side(degree: float) -> str:
    return "inside" if degree < 0 else "outside"


def caveats(sentence: str, reading: Reading, max_tokens: int) -> list[str]:
    """Returns what a user must know about the contour of a sentence."""
    found, prompt = [], f"The prompt {unicode.shorten(sentence, 80)!r}"
    if reading.cut:
        found.append(
            f"{prompt} was cut after {max_tokens} tokens, because the text encoder reads no more."
        )
    if reading.fault:
        found.append(
            f"{prompt} was hardly understood: the model takes it for a sentence that "
            f"{reading.fault}."
        )
    if reading.nearest is not None and quantities.states_amount(sentence):
        found.append(
            f"{prompt} states an amount, but this model reads embeddings, which know little of "
            "numbers: what it draws may differ from it by any amount. For an exact margin, leave "
            "it out of the prompt and give it as --margin_mm or margin_mm."
        )
    if reading.nearest is not None and reading.far:
        found.append(
            f"{prompt} is far from all training sentences: its similarity to the nearest one, "
            f"{reading.nearest!r}, is {reading.similarity:.2f}."
        )
    return found
