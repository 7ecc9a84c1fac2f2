"""One image from a file, and what the modules of the formats share."""

import importlib
import pathlib
import re
import types
from typing import Any, NamedTuple

import numpy as np

from prosona_jax.types import InputError


class Asked(NamedTuple):
    """What the caller says of a file, where the file does not."""

    slice_index: int | None  # which of several, 0-based
    axis: int | None  # along which the slices of a volume are counted
    unit: str | None  # of the numbers


class Picture(NamedTuple):
    """One 2-D image to predict on, at its own geometry."""

    image: np.ndarray  # f32 [H, W, C]
    intensity_unit: str  # "HU", "unit" (0..1) or "arbitrary"
    spacing_mm: np.ndarray  # f32 [2], (row, column) size of a pixel; NaN: unknown
    path: pathlib.Path
    format: str  # the module of this package that writes its masks
    origin: Any  # what that module needs to write masks back: a header, the slice
    caveats: tuple[str, ...] = ()  # what the reader had to assume


def choose_slice(
    path: pathlib.Path, count: int, slice_index: int | None, *, along: str = "", hint: str = ""
) -> int:
    """Returns which of `count` slices is meant, 0-based; of a single one nothing need be said.

    `along` says where they lie, and the hint what else to do where none of several is chosen.

    Raises:
        InputError: there are several and none is chosen, or the choice is out of range.
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
    """Returns the fault of a file that its reader gave up on."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"{path}: unreadable, truncated or damaged ({reason}); copy it again, or export it anew"
    )


def file_name(stem: str, number: int, name: str, suffix: str) -> str:
    """Returns the name of one mask's file, such as crop_1_hug-the-solid-core.png."""
    readable = re.sub(r"[^\w-]+", "-", name)[:40].strip("-")
    return "_".join(filter(None, (stem, str(number), readable))) + suffix
