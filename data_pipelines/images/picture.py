"""Defines the type of one image, and functions that the modules of the formats share."""

import importlib
import os
import pathlib
import re
import types
import unicodedata
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.percentiles import Window
from prosona_jax import unicode
from prosona_jax.types import InputError

# A name has at most 255 bytes on common disks. While a file is written, it is named `.NAME.part`.
_NAME_BYTES = 255 - len("..part")
_CLIPPED_SHARE = 0.01  # share of the pixels; a few pixels outside of a range are usual
_STEM_BYTES = 200  # this leaves room for the number, a few words and the suffix
_IN_WORDS = {
    "Pc",
    "Mn",
    "Mc",
}  # categories that are kept beside letters and digits: _ and the like, marks


class Asked(NamedTuple):
    """The arguments of the caller on a file."""

    slice_index: int | None  # index of the slice, page or frame, 0-based
    axis: int | None  # axis along which the slices of a volume are counted
    unit: str | None  # unit of the values, if the file does not state it


class Picture(NamedTuple):
    """One 2-D image to predict on, at its own geometry."""

    image: np.ndarray  # f32 [H, W, C]
    intensity_unit: str  # "HU", "unit" (0..1) or "arbitrary"
    spacing_mm: np.ndarray  # f32 [2], (row, column) size of a pixel; NaN: unknown
    path: pathlib.Path
    format: str  # name of the module in this package that writes its masks
    origin: Any  # data that this module needs to write masks: a header, the slice
    caveats: tuple[str, ...] = ()  # assumptions of the reader
    inverted: bool = False  # high values are dark: `images.read` inverts them, after any range
    slice_index: int | None = None  # the index that the caller asked for
    axis: int | None = None  # the axis along which the slices of a volume were counted
    value_range: tuple[float, float] | None = None  # stored values that became 0 and 1
    point: tuple[float, float] | None = None  # (row, column) to crop around; None: the middle
    window: Window | None = None  # of the volume of which it is a slice; None: only it is known


def scaled(picture: Picture, value_range: tuple[float, float]) -> Picture:
    """Returns the picture with the range of its stored values scaled to 0..1."""
    low, high = value_range
    values = (picture.image - low) / (high - low)
    clipped = float(np.mean((values < 0) | (values > 1)))
    caveats = picture.caveats
    if clipped > _CLIPPED_SHARE:
        caveats += (
            f"Clipped: {clipped:.0%} of the pixels lie beyond the range {low:g} to {high:g} and "
            "became 0 or 1.",
        )
    image = np.clip(values, 0, 1).astype(np.float32)
    return picture._replace(
        image=image, intensity_unit="unit", value_range=value_range, caveats=caveats
    )


def bright(picture: Picture) -> Picture:
    """Returns the picture with bright high values; HU are never inverted."""
    if not picture.inverted or picture.intensity_unit == "HU":
        return picture
    image = 1 - picture.image if picture.intensity_unit == "unit" else -picture.image
    return picture._replace(image=image, inverted=False)


def choose_slice(
    path: pathlib.Path, count: int, slice_index: int | None, *, along: str = "", hint: str = ""
) -> int:
    """Returns the index of the chosen slice, 0-based; a single slice need not be chosen.

    In an error message, `along` follows the number of slices, and `hint` names another remedy.

    Raises:
        InputError: there are several slices and none is chosen, or the index is out of range.
    """
    if slice_index is None and count == 1:
        return 0
    if slice_index is None:
        raise InputError(f"{path}: holds {count} slices{along}; choose one of 0..{count - 1}{hint}")
    if not 0 <= slice_index < count:
        raise InputError(
            f"{path}: has no slice {slice_index}; it holds {count}{along}, counted from 0: choose "
            "another"
        )
    return slice_index


def extra(module: str, part: str, path: pathlib.Path) -> types.ModuleType:
    """Imports a package of the extra `part`; raises InputError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{path}: needs {module}, which is missing; run: pip install -e .[{part}]"
        ) from error


def unreadable(path: pathlib.Path, error: Exception) -> InputError:
    """Returns the error for a file that another package cannot read."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{path}: unreadable, truncated or damaged ({reason}); copy it again, or export it anew"
    )


def file_name(stem: str, number: int, name: str, suffix: str) -> str:
    """Returns the name of one mask's file, such as crop_1_hug-the-solid-core.png.

    It keeps the letters, their marks and the digits of the name, in any script, as far as there is
    room beside the stem. The stem must come from `file_stem`.
    """
    letters = unicode.bare(unicodedata.normalize("NFC", name))
    safe = "".join(map(_in_file_name, unicode.clusters(letters)))
    room = _NAME_BYTES - _size(f"{stem}_{number}_{suffix}")
    readable = unicode.start(unicode.start(re.sub("-+", "-", safe), 40), room, _size).strip("-")
    return "_".join((stem, str(number), *filter(None, [readable]))) + suffix


def file_stem(stem: str, end: str = "") -> str:
    """Returns the start of files' names, without leading "." (hidden file) and "-" (option).

    If the stem is cut because it is long, its end stays.
    """
    return (unicode.start(stem.lstrip("-."), _STEM_BYTES - _size(end), _size) or "image") + end


def _in_file_name(cluster: str) -> str:
    if not (cluster[0].isalnum() or cluster[0] == "_"):
        return "-"
    return "".join(c for c in cluster if c.isalnum() or unicodedata.category(c) in _IN_WORDS)


def _size(part: str) -> int:
    return len(os.fsencode(part))
