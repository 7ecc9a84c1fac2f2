"""Matches the paths of files against a pattern such as ``masks/{case}/{rater}.nii.gz``.

| part | stands for |
|---|---|
| `{case}` | the name of the case, the same in both patterns |
| `{rater}` | the name of the rater, in the pattern of masks |
| `{channel}` | one of `data.channels`, in the pattern of images |
| `{site}` | hospital or scanner: a case is then `SITE-CASE`, since sites may count alike |
| `.*` at the end | any suffix of a format that is read |
| `*` | any text without `/` |
| `:` | what follows names an array in an HDF5 or npz file, such as `{case}.h5:t1` |

A part in braces stands for text without `/` that starts with a letter or a digit. It may occur
twice, and then means the same text.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from prosona_jax.types import InputError

PARTS = ("case", "rater", "channel", "site")
SUFFIXES = (
    *(".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".jpg", ".jpeg", ".tif", ".tiff"),
    *(".npz", ".h5", ".hdf5", ".dcm"),
)
_TOKEN = re.compile(r"\{(\w*)\}|(\.\*$)|(\*)")


class Match(NamedTuple):
    """What the parts of a pattern stand for in one path."""

    case: str
    rater: str = ""
    channel: str = ""
    site: str = ""


class Pattern:
    """A pattern of paths, relative to the folder, with `/` between folders."""

    def __init__(
        self, text: str, field: str, *, needed: Sequence[str], allowed: Sequence[str]
    ) -> None:
        """Reads a pattern.

        Args:
            text: the pattern.
            field: the config's field, for messages.
            needed: parts that it must have.
            allowed: further parts that it may have.

        Raises:
            InputError: a part is missing or unknown.
        """
        self.text = text
        parts = re.findall(r"\{(\w*)\}", text)
        for name in needed:
            if name not in parts:
                raise InputError(f"{field}={text!r}: has no {{{name}}}; write it where it varies")
        for name in parts:
            if name not in (*needed, *allowed):
                known = ", ".join(f"{{{each}}}" for each in (*needed, *allowed))
                raise InputError(f"{field}={text!r}: {{{name}}} is unknown; use {known}")
        # Greedy and lazy differ if parts touch, as in {case}_{rater}: then a known case decides.
        self._tries = [re.compile(_expression(text, lazy)) for lazy in ("", "?")]

    def matches(self, path: str) -> list[Match]:
        """Returns how a path can be read by the pattern: the ways differ in where parts end."""
        found = (each.fullmatch(path) for each in self._tries)
        return list(dict.fromkeys(Match(**match.groupdict()) for match in found if match))

    def match(self, path: str, cases: Collection[str]) -> Match | None:
        """Returns how a path is read: as one of the known cases, if it can be read as one."""
        ways = self.matches(path)
        return next((way for way in ways if name(way) in cases), ways[0] if ways else None)

    def folder(self) -> "re.Pattern[str] | None":
        """Returns what matches a folder that belongs to one rater; None if there is none."""
        head = self.text.rpartition("/")[0]
        return re.compile(_expression(head, "")) if "{rater}" in head else None


def name(match: Match) -> str:
    """Returns the id of a case: its name, after its site if the pattern has one."""
    return f"{match.site}-{match.case}" if match.site else match.case


def _expression(text: str, lazy: str) -> str:
    seen: set[str] = set()

    def expand(token: "re.Match[str]") -> str:
        part, suffix, _ = token.groups()
        if suffix:
            return f"(?:(?i:{'|'.join(map(re.escape, SUFFIXES))}))"
        if part is None:
            return "[^/]*"
        if part in seen:
            return f"(?P={part})"
        seen.add(part)
        return rf"(?P<{part}>[^\W_][^/]*{lazy})"

    pieces, end = [], 0
    for token in _TOKEN.finditer(text):
        pieces += [re.escape(text[end : token.start()]), expand(token)]
        end = token.end()
    return "".join([*pieces, re.escape(text[end:])])
