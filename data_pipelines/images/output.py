"""The files that belong to an image or a scan, such as masks: all of them are written, or none."""

import os
import pathlib
from collections.abc import Mapping, Sequence

from prosona_jax.types import InputError


def write(
    folder: str | os.PathLike[str],
    files: Mapping[str, bytes],
    sources: Sequence[pathlib.Path],
    *,
    earlier: Sequence[str] = (),
) -> list[pathlib.Path]:
    """Writes files {name: content} of an image or a scan: all of them, or none on an error.

    Args:
        folder: folder to write to; it is made if it does not exist.
        files: the files; existing files of these names are replaced.
        sources: the files of the image or of the scan, which are never replaced or deleted.
        earlier: names of files that an earlier call wrote to the folder; those that are not written
            again are deleted.

    Raises:
        InputError: the folder cannot be written to, or a file would replace a source or a folder.
    """
    folder = pathlib.Path(folder).expanduser()
    paths = {folder / name: content for name, content in files.items()}
    resolved = {path.resolve() for path in paths}
    for source in sources:
        if source.resolve() in resolved:
            raise InputError(f"{source}: would be replaced; choose another folder for the masks")
    for path in paths:
        if os.path.isdir(path):
            raise InputError(
                f"{path}: is a folder; move it, or choose another folder for the masks"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(paths)
        _remove(folder, earlier, kept=[*paths, *sources])
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another") from error
    return list(paths)


def _write_whole(contents: Mapping[pathlib.Path, bytes]) -> None:
    """Writes all files under other names, then renames them; on an error no file is left."""
    parts = {path: path.with_name(f".{path.name}.part") for path in contents}
    try:
        for path, part in parts.items():
            part.write_bytes(contents[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _remove(folder: pathlib.Path, names: Sequence[str], *, kept: Sequence[pathlib.Path]) -> None:
    """Deletes files from the folder by their names, except kept ones; ignores names with a path."""
    for name in names:
        path = folder / name
        if pathlib.PurePath(name).name != name or not os.path.isfile(path):
            continue
        if not any(path.samefile(other) for other in kept):  # some disks ignore the case of names
            path.unlink()
