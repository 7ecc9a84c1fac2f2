"""The files of a folder as people copy them: among what systems leave there, and with links."""

import os
import pathlib
from collections.abc import Iterable

_LITTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}


def is_litter(path: pathlib.Path) -> bool:
    """Returns whether a system or a program left this file or folder: nobody put data there.

    Hidden names count (``.DS_Store``, the ``._*`` of macOS, half-written files), and those that
    Windows and macOS write into folders and archives.
    """
    return path.name.startswith(".") or path.name.lower() in _LITTER


def entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what lies in a folder, by name, without litter."""
    return sorted(path for path in folder.iterdir() if not is_litter(path))


def distinct(found: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns folders by path, each place once: the folder itself rather than a link to it."""
    places: dict[pathlib.Path, pathlib.Path] = {}
    for folder in sorted(found, key=lambda each: (each.resolve() != each.absolute(), each)):
        places.setdefault(folder.resolve(), folder)
    return sorted(places.values())


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a folder and of those in it, by path, without litter.

    Links to folders are followed, each folder once: a link to a folder above ends there.
    """
    found = []
    seen = {folder.resolve()}
    for root, folders, names in os.walk(folder, followlinks=True):
        here = pathlib.Path(root)
        kept = []
        for name in sorted(folders):
            place = (here / name).resolve()
            if not is_litter(here / name) and place not in seen:
                seen.add(place)
                kept.append(name)
        folders[:] = kept  # where os.walk goes next
        found += [here / name for name in names]
    return sorted(path for path in found if not is_litter(path) and path.is_file())
