"""Writes the files of a prediction with their record, beside those of other predictions.

The first prediction in a folder has the record `prediction.json` and the picture `overlay.png`.
Another image, slice or object gets `prediction_STEM.json` and `overlay_STEM.png`, so that no record
is lost. A new prediction on the same one replaces all files of the last one.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.images import output
from prosona_jax import unicode
from prosona_jax.experiments.sentences import Reading
from prosona_jax.types import InputError

_RECORD, _PICTURE = "prediction", "overlay"  # names without suffix
_DRAWN_ON = ("image", "slice", "axis", "index")  # fields that tell predictions apart
_LEGEND_LENGTH = 400  # grapheme clusters of a sentence that fit into the legend
_LEFT_TO_RIGHT = "\u200e"


def write(
    folder: str | os.PathLike[str],
    files: Mapping[str, bytes],
    picture: bytes,
    record: Mapping[str, Any],
    *,
    stem: str,
    sources: Sequence[pathlib.Path],
) -> dict[str, Any]:
    """Writes files, picture and record, all or none; see the module.

    Args:
        folder: it is made if absent.
        files: {name: content}.
        picture: the content of a PNG file.
        record: what was drawn on ("image", and "slice", "axis" or "index"), and all else to tell.
        stem: start of the names of the files.
        sources: files that are never replaced.

    Returns:
        The record with "files", the names of all that were written.

    Raises:
        InputError: the folder cannot be written to, or a file would replace a source or a file of
            another prediction.
    """
    folder = pathlib.Path(folder).expanduser()
    kept = read(folder)
    own = next((name for name, each in kept.items() if _is_same(each, record)), None)
    if own is None:
        own = f"{_RECORD}.json" if f"{_RECORD}.json" not in kept else f"{_RECORD}_{stem}.json"
    shown = own.replace(_RECORD, _PICTURE, 1).removesuffix(".json") + ".png"
    written = dict(files) | {shown: picture}
    whole = {**record, "files": [*written, own]}
    for name, each in kept.items():
        if name != own and (clash := set(whole["files"]) & set(each["files"])):
            raise InputError(
                f"{folder / min(clash)}: belongs to the prediction on {each['image']} in {name}; "
                "choose another folder"
            )
    text = json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False)
    # Bytes of a path that are not UTF-8 become JSON escapes.
    written[own] = f"{text}\n".encode(errors="backslashreplace")
    earlier = kept[own]["files"] if own in kept else []
    output.write(folder, written, sources, earlier=earlier)
    return whole


def read(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Returns the records of a folder by the names of their files, without damaged ones."""
    found = {}
    for path in sorted(pathlib.Path(folder).expanduser().glob(f"{_RECORD}*.json")):
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        files = content.get("files") if isinstance(content, dict) else None
        if isinstance(files, list) and isinstance(content.get("image"), str):
            found[path.name] = content | {"files": [x for x in files if isinstance(x, str)]}
    return found


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two records are of predictions on the same image, slice and point."""
    return all(one.get(name) == other.get(name) for name in _DRAWN_ON)


def label(prompt: str, reading: Reading | None, added_mm: float, size: str) -> str:
    """Returns the legend's text: the sentence, shortened if it is long, its reading, and the size.

    Direction marks keep the size together next to a sentence that runs from right to left.
    """
    if reading is not None and reading.nearest is None:  # a training sentence would be too long
        size = f"{reading.understood}; {size}"
    if added_mm:
        size = f"{size}, with {round(added_mm, 2):+g} mm by geometry"
    return f"{unicode.shorten(prompt, _LEGEND_LENGTH)} {_LEFT_TO_RIGHT}({size}){_LEFT_TO_RIGHT}"


def digits(number: float) -> str:
    """Returns a size with three digits."""
    return np.format_float_positional(number, precision=3, fractional=False, trim="-")
