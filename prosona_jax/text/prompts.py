"""Reads prompt files, which list styles and the sentences that describe each style."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import yaml
from jaxtyping import Float, Int

from prosona_jax import unicode
from prosona_jax.text import degrees
from prosona_jax.text import habits as habits_of
from prosona_jax.text.habits import Scale, Stated
from prosona_jax.types import InputError

_FIELDS = ("name", "train", "held_out")


class Style(NamedTuple):
    """One way to draw. The k-th style of the file belongs to the k-th mask of a record."""

    name: str
    train: tuple[str, ...]  # sentences used in training
    held_out: tuple[str, ...]  # sentences never used in training, for the test of new wordings
    degree: float | None = None  # how generous the style is, see degrees.py; None: not known
    habits: Mapping[str, Stated] | None = None  # of its rater, see habits.py; None: not measured
    same_as: str = ""  # an earlier style that has the same habits and sentences; "": none


class Written(NamedTuple):
    """The content of a prompt file."""

    styles: tuple[Style, ...]
    caveat: str | None  # a warning about the sentences, repeated in reports
    scale: Scale | None = None  # of numbers in sentences; None: the habits were not measured


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key that occurs twice; YAML's own loader would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; raises ConstructorError if a key occurs twice."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # the base class refuses such a key
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} occurs twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(text: str, source: str) -> Written:
    """Returns the content of a prompt file, ``styles: [{name, train: [...], held_out: [...]}]``.

    The file may also have a ``caveat: "Short claim: explanation."``. Every report on a model that
    was trained with the prompts repeats it. Cards of measured habits have a ``scale``, and
    ``habits`` in each style. A style ``{name, same_as}`` has all else from an earlier one.

    Args:
        text: YAML.
        source: the name of the file in error messages.

    Raises:
        InputError: the text is not YAML, a field is missing or unknown, a sentence is empty, or a
            style or sentence occurs twice.
    """
    try:
        content = yaml.load(text, _Loader)
    # An impossible date raises ValueError.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: not valid YAML ({reason}); correct the file") from None
    entries = content.get("styles") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{source}: has no list `styles`; see configs/prompts/lidc.yaml")
    if others := sorted(map(str, content.keys() - {"styles", "caveat", "scale"})):
        raise InputError(
            f"{source}: has an unknown field `{others[0]}`; the fields are `styles`, `caveat` and "
            "`scale`"
        )
    caveat = content.get("caveat")
    if caveat is not None and (not isinstance(caveat, str) or ": " not in caveat):
        raise InputError(f"{source}: `caveat` must be a text such as 'Short claim: explanation.'")
    styles: tuple[Style, ...] = ()
    for k, entry in enumerate(entries, 1):
        styles += (_style(entry, f"{source}: style {k}", styles),)
    _once((style.name for style in styles), source, "style")
    sentences = (s for style in distinct(styles) for s in (*style.train, *style.held_out))
    _once((" ".join(s.lower().split()).rstrip(".!?") for s in sentences), source, "sentence")
    scale = habits_of.parse_scale(content["scale"], source) if "scale" in content else None
    return Written(styles, caveat and " ".join(caveat.split()), scale)


def distinct(styles: Sequence[Style]) -> list[Style]:
    """Returns the styles that have sentences of their own."""
    return [style for style in styles if not style.same_as]


def cards(described: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Returns the places of the styles that share a card, by the names of these styles.

    >>> cards([{"name": "A"}, {"name": "B"}, {"name": "C", "same_as": "A"}])
    {'A and C': [0, 2], 'B': [1]}
    """
    groups: dict[str, list[int]] = {}
    for k, style in enumerate(described):
        groups.setdefault(style.get("same_as") or style["name"], []).append(k)
    return {" and ".join(described[k]["name"] for k in group): group for group in groups.values()}


def describe(style: Style) -> dict[str, Any]:
    """Returns a style as run.json holds it, with its sentences even if another one has the same."""
    found: dict[str, Any] = {"name": style.name}
    if style.same_as:
        found["same_as"] = style.same_as
    if style.habits is not None:
        found["habits"] = {name: list(own) for name, own in style.habits.items()}
    return found | {"train": list(style.train), "held_out": list(style.held_out)}


def check_count(styles: Sequence[Style], raters: int, source: str) -> None:
    """Raises InputError if the number of styles is not the number of raters of a record."""
    if len(styles) != raters:
        names = ", ".join(style.name for style in styles)
        raise InputError(
            f"{source}: {len(styles)} styles ({names}) for {raters} masks per image; style k "
            "describes mask k, so there must be as many"
        )


def nearest(
    sentences: Float[np.ndarray, "s e"], trained: Float[np.ndarray, "n e"]
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Returns argmax_n and max_n of s_i . t_n: the nearest training sentence and its similarity.

    Embeddings have length 1, so the product is the cosine similarity, which is 1 for the same
    sentence.
    """
    similarity = sentences @ trained.T
    return similarity.argmax(axis=1), similarity.max(axis=1)


def least_familiar(held_out: Float[np.ndarray, "h e"], trained: Float[np.ndarray, "n e"]) -> float:
    """Returns a similarity to the nearest training sentence that 95 % of held-out sentences reach.

    The scores of the held-out sentences say nothing about a sentence that is less similar to the
    training sentences than almost all held-out ones. The 5 % quantile is used and not the minimum,
    because the minimum may come from one unusual sentence.
    """
    return float(np.percentile(nearest(held_out, trained)[1], 5))


def _style(entry: Any, where: str, earlier: Sequence[Style]) -> Style:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be a mapping with {', '.join(_FIELDS)}")
    if "same_as" in entry:
        return _shared(entry, where, earlier)
    for field in _FIELDS:
        if field not in entry:
            raise InputError(f"{where}: lacks `{field}`")
    if unknown := sorted(map(str, entry.keys() - {*_FIELDS, "degree", "habits"})):
        raise InputError(f"{where}: has an unknown field `{unknown[0]}`")
    name = _name(entry, where)
    return Style(
        name,
        _sentences(entry["train"], f"{where} ({name}): `train`"),
        _sentences(entry["held_out"], f"{where} ({name}): `held_out`"),
        degrees.check(entry.get("degree"), f"{where} ({name})"),
        habits_of.parse_stated(entry["habits"], f"{where} ({name})") if "habits" in entry else None,
    )


def _shared(entry: Mapping[str, Any], where: str, earlier: Sequence[Style]) -> Style:
    """Returns a style that has all but the name from an earlier one."""
    if unknown := sorted(map(str, entry.keys() - {"name", "same_as"})):
        raise InputError(
            f"{where}: has `same_as`, so `{unknown[0]}` comes from that style; delete it"
        )
    if "name" not in entry:
        raise InputError(f"{where}: lacks `name`")
    for style in distinct(earlier):
        if style.name == entry["same_as"]:
            return style._replace(name=_name(entry, where), same_as=style.name)
    raise InputError(
        f"{where}: `same_as` is {entry['same_as']!r}; name an earlier style with sentences of its "
        "own"
    )


def _name(entry: Mapping[str, Any], where: str) -> str:
    name = entry["name"]
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: `name` is {name!r}, not a word")
    return name.strip()


def _sentences(entry: Any, where: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not entry:
        raise InputError(f"{where} must be a list of sentences")
    for sentence in entry:
        if not isinstance(sentence, str) or not _has_words(sentence):
            raise InputError(f"{where} holds {sentence!r}, not a sentence; put it in quotes")
    return tuple(" ".join(sentence.split()) for sentence in entry)


def _has_words(sentence: str) -> bool:
    """Returns whether the sentence has letters or digits, and no invalid character."""
    return any(map(str.isalnum, sentence)) and unicode.is_utf8(sentence)


def _once(names: Iterable[str], source: str, kind: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{source}: the {kind} {name!r} occurs twice; keep one")
        seen.add(name)
