"""Lists the files of a folder, follows links, and leaves out files that operating systems add."""

import os
import pathlib
from collections.abc import Iterable

_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}


def is_litter(path: pathlib.Path) -> bool:
    """Returns whether a system or a program made this file or folder, so that it holds no data.

    These are hidden names (``.DS_Store``, the ``._*`` of macOS, half-written files), and the names
    that Windows and macOS add to folders and archives.
    """
    return path.name.startswith(".") or path.name.lower() in _LITTER


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files and folders in a folder, sorted by name, without litter."""
    return sorted(path for path in folder.iterdir() if not is_litter(path))


def distinct(found: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns folders sorted by path, each once: the folder itself rather than a link to it."""
    by_target: dict[pathlib.Path, pathlib.Path] = {}
    for folder in sorted(found, key=lambda each: (each.resolve() != each.absolute(), each)):
        by_target.setdefault(folder.resolve(), folder)
    return sorted(by_target.values())


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a folder and its subfolders, sorted by path, without litter.

    Links to folders are followed. Each folder is visited once, so a link to a parent folder ends.
    """
    found = []
    seen = {folder.resolve()}
    for root, folders, names in os.walk(folder, followlinks=True):
        here = pathlib.Path(root)
        kept = []
        for name in sorted(folders):
            target = (here / name).resolve()
            if not is_litter(here / name) and target not in seen:
                seen.add(target)
                kept.append(name)
        folders[:] = kept  # where os.walk goes next
        found += [here / name for name in names]
    return sorted(path for path in found if not is_litter(path) and path.is_file())
