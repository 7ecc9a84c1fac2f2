"""Reads arrays of an npz file, and their identifiers as text; unpickles nothing."""

import operator
import pathlib
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from data_pipelines import file_formats, identifiers
from prosona_jax.types import InputError, first_line

_AGAIN = "write it again with np.savez"
_HEADERS = {  # {version of a header: what reads it}
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(path: pathlib.Path, keys: Collection[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of these keys that the file holds, {key: array}.

    Raises:
        InputError: the file is missing, damaged, or not an npz file of plain arrays.
    """
    arrays = _take(path, keys, operator.getitem)
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy returns bytes if an entry has no array header
            raise InputError(f"{path}: {key} is not an array; {_AGAIN}")
    return arrays


def shape(path: pathlib.Path, key: str) -> tuple[int, ...]:
    """Returns the shape of an array by its header alone, () if the file does not hold it.

    Raises:
        InputError: as of `read`.
    """
    found: tuple[int, ...] = _take(path, (key,), _shape).get(key, ())
    return found


def _take(
    path: pathlib.Path, keys: Collection[str], take: Callable[[Any, str], Any]
) -> dict[str, Any]:
    """Returns what `take` finds of each key that the file holds; see `read` for the errors."""
    found: dict[str, Any] = {}
    key = ""
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise InputError(f"{path}: is a single array; an npz file is needed (np.savez)")
            for key in keys:
                if key in file:
                    found[key] = take(file, key)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except MemoryError as error:  # a damaged header may cause it, too
        raise InputError(f"{path}: larger than memory, or damaged ({error}); {_AGAIN}") from error
    except Exception as error:  # on damaged bytes NumPy and zip may raise anything
        if "Object arrays" in str(error):
            raise InputError(
                f"{path}: {key} holds Python objects, which NumPy makes of arrays of unequal "
                "shapes and of lists of text and None; store arrays of one shape and text as str"
            ) from error
        is_a = file_formats.words(path) or "of an unknown format"
        # NumPy takes unknown content for a pickle, and its message explains how to unpickle it.
        reason = "" if "pickle" in str(error) else f" ({first_line(error)})"
        raise InputError(
            f"{path}: not a readable npz file, truncated or damaged: it is {is_a}{reason}; {_AGAIN}"
        ) from error
    return found


def _shape(file: Any, key: str) -> tuple[int, ...]:
    with file.zip.open(f"{key}.npy") as entry:
        found: tuple[int, ...] = _HEADERS[np.lib.format.read_magic(entry)](entry)[0]
        return found


def texts(path: pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of identifiers as text of the same shape, see `identifiers.text`.

    Raises:
        InputError: an element is not a valid identifier.
    """
    where = f"{path}: record {{}}" if array.ndim else f"{path}"
    try:
        # `tolist` would lose the precision of floats and the type of raw memory.
        flat = list(array.ravel()) if array.dtype.kind in "fV" else array.ravel().tolist()
    except (SystemError, ValueError) as error:  # characters beyond the last one of Unicode
        raise InputError(f"{path}: {key} is damaged; write it again with np.savez") from error
    found = [identifiers.text(x, where.format(i), key) for i, x in enumerate(flat)]
    return np.array(found, str).reshape(array.shape)


def check_boolean(path: pathlib.Path, key: str, array: np.ndarray) -> None:
    """Raises InputError unless an array holds True and False, or 1 and 0."""
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InputError(f"{path}: {key} is not boolean; store True or False")
