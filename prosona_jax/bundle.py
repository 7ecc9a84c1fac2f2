"""A bundle: a folder whose files are written together, completely or not at all."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Collection, Mapping

from prosona_jax.types import InputError


def check(folder: pathlib.Path, names: Collection[str], what: str) -> None:
    """Raises InputError if the folder cannot be written or holds anything but the named entries.

    Args:
        folder: the folder to write; it may be absent.
        names: the files and folders that a bundle of this kind may hold.
        what: the kind, such as "report", for the message.
    """
    folder = folder.resolve()
    try:
        found = {path.name for path in folder.iterdir()} if folder.exists() else set()
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder.parent).close()
    except OSError as error:
        raise InputError(
            f"{folder}: no {what} can be written here ({error}); choose another folder"
        ) from None
    if foreign := sorted(found - set(names)):
        raise InputError(
            f"{folder}: {foreign[0]!r} is not part of a {what}, and writing one replaces the whole "
            "folder; choose another folder or move that file away"
        )


def write(folder: pathlib.Path, files: Mapping[str, bytes]) -> None:
    """Replaces a folder by one with these files; removes what a killed call has left."""
    folder = folder.resolve()
    new, old = (folder.with_name(f".{folder.name}.{age}") for age in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for name, content in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
