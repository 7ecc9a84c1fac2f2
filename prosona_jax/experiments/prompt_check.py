"""Checks the sentences of a prompt file before anything is trained with them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from prosona_jax.text import lengths
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.encoder import TextEncoder
from prosona_jax.text.prompts import Style

NEAR = 0.97  # cosine similarity from which two sentences count as copies
_SPLITS = ("train", "held_out")
_FEW = 0.02  # share of a style's training sentences below which a kind counts as missing
# Kinds of sentences that users write. A model misreads those that it never saw.
_KINDS = {
    "a negation": re.compile(r"\b(not|never|without|no|nothing|avoid|leave out)\b|n['’]t\b"),
    "a number": re.compile(r"\d|%|percent|half|twice|double"),
    "a comparison": re.compile(r"\bthan\b|\b(usual|usually|normal|average|typical)\b"),
    "two clauses": re.compile(r"\b(but|however|although|though|instead|rather than|even if)\b|;"),
    "a question": re.compile(r"\?"),
    "at most four words": re.compile(r"^\s*(\S+\s+){0,3}\S+\s*$"),
    "more than twenty words": re.compile(r"^\s*(\S+\s+){20,}"),
}


class Separability(NamedTuple):
    """How well a style's held-out sentences are told from those of the other styles."""

    style: str
    right: float  # share whose nearest training sentence is of the own style
    taken_for: str  # the style that takes most of the others; "" if none does


def lines(
    styles: Sequence[Style], encoder: TextEncoder, reader: DegreeReader | None = None
) -> Iterator[str]:
    """Yields what is to know about the sentences of a prompt file, one line each.

    Args:
        styles: the content of the file.
        encoder: the text encoder.
        reader: reads the sentences as degrees, if they are trained with so.
    """
    for style in styles:
        degree = "" if style.degree is None else f", degree {style.degree:+g}"
        yield (
            f"style {style.name}: {len(style.train)} training and {len(style.held_out)} held-out "
            f"sentences{degree}"
        )
    owned = [(s.name, split, t) for s in styles for split in _SPLITS for t in getattr(s, split)]
    texts = [text for *_, text in owned]
    embedded = encoder.embed(texts)
    yield from _copies(owned, embedded)
    for name, split, text in owned:
        if encoder.count_tokens(text) > encoder.max_tokens:
            yield f"too long: {name}, {split}: {text!r} is cut after {encoder.max_tokens} tokens"
        if unread := encoder.unread(text):
            yield f"unread: {name}, {split}: the encoder does not know {', '.join(unread)}"
    for style in styles:
        if missing := missing_kinds(style.train):
            yield f"missing: style {style.name} has hardly a training sentence with " + (
                ", or with ".join(missing)
            )
    read = embedded if reader is None else reader.embed(texts)
    for found in separability(styles, dict(zip(texts, read, strict=True))):
        others = f", most others for {found.taken_for}" if found.taken_for else ""
        yield (
            f"separable: {found.right:.0%} of the held-out sentences of {found.style} are taken "
            f"for it{others}"
        )


def _copies(
    owned: Sequence[tuple[str, str, str]], embedded: Float[np.ndarray, "n e"]
) -> Iterator[str]:
    """Yields pairs of different styles or splits, whose sentences should differ."""
    similar = embedded @ embedded.T
    for i, j in np.argwhere(np.triu(similar >= NEAR, 1)).tolist():
        if owned[i][:2] != owned[j][:2]:
            (a, _, one), (b, _, other) = owned[i], owned[j]
            yield f"near copies: {a}: {one!r} and {b}: {other!r} (similarity {similar[i, j]:.2f})"


def missing_kinds(sentences: Sequence[str]) -> list[str]:
    """Returns the kinds of sentences that hardly occur.

    >>> missing_kinds(["Do not cut the rim, but keep it 2 mm tighter than usual."] * 9)
    ['a question', 'at most four words', 'more than twenty words']
    """
    # The pattern knows digits, and the rules for lengths know "an eighth of an inch" too.
    has_number = _KINDS["a number"].search
    found = {
        kind: sum(bool(pattern.search(sentence.lower())) for sentence in sentences)
        for kind, pattern in _KINDS.items()
    } | {
        "a number": sum(
            bool(has_number(sentence.lower())) or lengths.find_mm(sentence) is not None
            for sentence in sentences
        )
    }
    return [kind for kind, count in found.items() if count < max(1, _FEW * len(sentences))]


def separability(styles: Sequence[Style], read: Mapping[str, np.ndarray]) -> list[Separability]:
    """Returns for each style how its held-out sentences compare with the training sentences.

    Args:
        styles: the content of the file.
        read: the numbers f32 [e] that each sentence is read as.
    """
    trained = [read[text] for style in styles for text in style.train]
    owner = np.repeat(np.arange(len(styles)), [len(style.train) for style in styles])
    found = []
    for k, style in enumerate(styles):
        chosen = owner[cdist([read[text] for text in style.held_out], trained).argmin(axis=1)]
        wrong = np.bincount(chosen[chosen != k], minlength=len(styles))
        taken_for = styles[int(wrong.argmax())].name if wrong.any() else ""
        found.append(Separability(style.name, float((chosen == k).mean()), taken_for))
    return found
