"""Whether what is read is what was written: a SHA-256 that lies beside the content."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from prosona_jax.types import Array

_KEY = "sha256"


class ChecksumError(ValueError):
    """The content is not what was written; the message says how that shows."""


def seal(content: dict[str, Any], arrays: Iterable[tuple[str, Array]] = ()) -> dict[str, Any]:
    """Returns the content with the checksum of itself, and of arrays that are kept elsewhere.

    Args:
        content: a JSON object without the key "sha256".
        arrays: names and values, always in the same order. Where and how they are stored is no
            part of the checksum.
    """
    return content | {_KEY: _digest(content, arrays)}


def unseal(stored: Any, arrays: Iterable[tuple[str, Array]] = ()) -> dict[str, Any]:
    """Returns the content that was sealed.

    Raises:
        ChecksumError: content or arrays have another checksum, or there is none.
    """
    if not isinstance(stored, dict) or _KEY not in stored:
        raise ChecksumError("no checksum: damaged, or written by an earlier version")
    content = {name: value for name, value in stored.items() if name != _KEY}
    if stored[_KEY] != _digest(content, arrays):
        raise ChecksumError("damaged or edited: its checksum differs")
    return content


def _digest(content: dict[str, Any], arrays: Iterable[tuple[str, Array]]) -> str:
    read_again = json.loads(json.dumps(content))  # tuples become lists, all keys strings
    digest = hashlib.sha256(json.dumps(read_again, sort_keys=True).encode())
    for name, array in arrays:
        values = np.asarray(array)
        digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
