"""Writes a file completely or not at all."""

import os
import pathlib
import tempfile

from prosona_jax.types import InputError


def check(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the path of a file to write; raises InputError if it cannot be written."""
    path = pathlib.Path(path).expanduser()
    if not path.parent.is_dir():
        raise InputError(f"{path}: its folder does not exist; create it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file to write in it")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        fault = f"cannot be written ({error.strerror}); choose another folder"
        raise InputError(f"{path}: {fault}") from error
    return path


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
