"""Writes a file completely or not at all."""

import os
import pathlib


def write_whole(path: pathlib.Path, content: bytes) -> None:
    """Writes a file under another name and renames it, so that no reader finds half of it.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
