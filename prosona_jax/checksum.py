"""Detects damaged or edited files: a SHA-256 is stored beside the content."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from prosona_jax.types import Array

_KEY = "sha256"


class ChecksumError(ValueError):
    """The content differs from what was saved; the message says how that was detected."""


def seal(content: dict[str, Any], arrays: Iterable[tuple[str, Array]] = ()) -> dict[str, Any]:
    """Returns the content plus a checksum of it and of arrays that are stored elsewhere.

    Args:
        content: a JSON object without the key "sha256".
        arrays: names and values, always in the same order. The checksum does not depend on where
            and how they are stored.
    """
    return content | {_KEY: _digest(content, arrays)}


def unseal(stored: Any, arrays: Iterable[tuple[str, Array]] = ()) -> dict[str, Any]:
    """Returns the content without its checksum, after checking it.

    Raises:
        ChecksumError: the checksum does not match content and arrays, or is missing.
    """
    if not isinstance(stored, dict) or _KEY not in stored:
        raise ChecksumError("no checksum: damaged, or written by an earlier version")
    content = {name: value for name, value in stored.items() if name != _KEY}
    if stored[_KEY] != _digest(content, arrays):
        raise ChecksumError("damaged or edited: its checksum differs")
    return content


def _digest(content: dict[str, Any], arrays: Iterable[tuple[str, Array]]) -> str:
    read_again = json.loads(json.dumps(content))  # tuples become lists, and keys become strings
    digest = hashlib.sha256(json.dumps(read_again, sort_keys=True).encode())
    for name, array in arrays:
        values = np.asarray(array)
        digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
