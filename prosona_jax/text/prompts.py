"""Styles and the sentences that name them, read from text that a researcher edits."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float, Int

from prosona_jax import unicode
from prosona_jax.types import InputError

_FIELDS = ("name", "train", "held_out")


class Style(NamedTuple):
    """One way to draw, in order: style k of the file is place k of a record's masks."""

    name: str
    train: tuple[str, ...]  # paraphrases drawn in training
    held_out: tuple[str, ...]  # never trained on: they test language


class Written(NamedTuple):
    """What a prompt file holds."""

    styles: tuple[Style, ...]
    caveat: str | None  # what a reader of scores must know of the sentences


class _Loader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, of which YAML's own loader keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; ConstructorError at a key that stands there twice."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no key of a mapping, as the loader itself says
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str, source: str) -> Written:
    """Returns a prompt file's content, ``styles: [{name, train: [...], held_out: [...]}]``.

    Beside the styles there may be a ``caveat: "Short claim: explanation."``, which every report of
    a model that was trained with them repeats.

    Args:
        text: YAML.
        source: what messages call it.

    Raises:
        InputError: no YAML, a field missing or unknown, no sentence, or a style or sentence twice.
    """
    try:
        content = yaml.load(text, _Loader)
    # A date that no calendar has is a ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: no valid YAML ({reason}); mend it there") from None
    entries = content.get("styles") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{source}: has no list `styles`; see configs/prompts/lidc.yaml")
    if others := sorted(map(str, content.keys() - {"styles", "caveat"})):
        raise InputError(f"{source}: has an unknown field `{others[0]}`; all belongs into `styles`")
    caveat = content.get("caveat")
    if caveat is not None and (not isinstance(caveat, str) or ": " not in caveat):
        raise InputError(f"{source}: `caveat` is no text such as 'Short claim: explanation.'")
    styles = tuple(_style(entry, f"{source}: style {k}") for k, entry in enumerate(entries, 1))
    _once((style.name for style in styles), source, "style")
    sentences = (s for style in styles for s in (*style.train, *style.held_out))
    _once((" ".join(s.lower().split()).rstrip(".!?") for s in sentences), source, "sentence")
    return Written(styles, caveat and " ".join(caveat.split()))


def check_count(styles: Sequence[Style], raters: int, source: str) -> None:
    """Raises InputError unless there is one style for each of the raters of a record."""
    if len(styles) != raters:
        names = ", ".join(style.name for style in styles)
        raise InputError(
            f"{source}: {len(styles)} styles ({names}) for {raters} masks per image; style k "
            "describes mask k, so there must be as many"
        )


def nearest(
    sentences: Float[np.ndarray, "s e"], trained: Float[np.ndarray, "n e"]
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Returns argmax_n and max_n of s_i . t_n: the nearest trained sentence, and how near it is.

    Embeddings have length 1, so that the product is the cosine similarity, 1 for the same sentence.
    """
    similarity = sentences @ trained.T
    return similarity.argmax(axis=1), similarity.max(axis=1)


def least_familiar(held_out: Float[np.ndarray, "h e"], trained: Float[np.ndarray, "n e"]) -> float:
    """Returns how near 95 % of held-out sentences are to a trained one: a percentile of the cosine.

    Held-out sentences paraphrase the styles. What lies farther from all trained sentences than
    nearly all of them is beyond what the scores of held-out sentences speak for. The very farthest
    is one odd sentence, and too low a measure.
    """
    return float(np.percentile(nearest(held_out, trained)[1], 5))


def _style(entry: Any, where: str) -> Style:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is no mapping with {', '.join(_FIELDS)}")
    for field in _FIELDS:
        if field not in entry:
            raise InputError(f"{where}: lacks `{field}`")
    if unknown := sorted(map(str, entry.keys() - set(_FIELDS))):
        raise InputError(f"{where}: has an unknown field `{unknown[0]}`")
    name = entry["name"]
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: `name` is {name!r}, not a word")
    return Style(
        name.strip(),
        _sentences(entry["train"], f"{where} ({name}): `train`"),
        _sentences(entry["held_out"], f"{where} ({name}): `held_out`"),
    )


def _sentences(entry: Any, where: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not entry:
        raise InputError(f"{where} is no list of sentences")
    for sentence in entry:
        if not isinstance(sentence, str) or not _has_words(sentence):
            raise InputError(f"{where} holds {sentence!r}, not a sentence; put it in quotes")
    return tuple(" ".join(sentence.split()) for sentence in entry)


def _has_words(sentence: str) -> bool:
    """Whether there is something to read: neither blanks of any width nor half a character."""
    return any(map(str.isalnum, sentence)) and unicode.is_utf8(sentence)


def _once(names: Iterable[str], source: str, kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{source}: the {kind} {name!r} stands there twice; keep one")
        seen.add(name)
