"""Reads a list of points in many scans: a CSV file with a header, and a line for each point.

    case,slice,row,column            case,x,y,z
    LIDC-IDRI-0001,7,366,315         ct_012.nii.gz,-52.3,18.1,-115

The first kind is for the frame `index`, the second for all others; see `points`. A case is a folder
or a file in the folder of the cases; the suffix of a file may be left out. Other columns are
ignored. Columns may be separated by semicolons.
"""

import csv
import pathlib
from collections.abc import Iterator

from data_pipelines import folders
from data_pipelines.images.picture import file_stem
from prosona_jax import unicode
from prosona_jax.types import InputError

_COLUMNS = {"index": ("slice", "row", "column")}
_OTHERS = ("x", "y", "z")


def read(path: str | pathlib.Path, frame: str) -> dict[str, list[str]]:
    """Returns the points of each case, as `scans.locate` takes them, in the order of the file.

    Raises:
        InputError: the file cannot be read, lacks a column or a value, or has no line.
    """
    path = pathlib.Path(path).expanduser()
    try:
        text = unicode.decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); name a CSV file") from error
    columns = ("case", *_COLUMNS.get(frame, _OTHERS))
    found: dict[str, list[str]] = {}
    for line, (case, *point) in _rows(path, text, columns):
        if not case or not all(point):
            raise InputError(
                f"{path}: line {line}: has no {_missing(columns, case, point)}; add it"
            )
        found.setdefault(case, []).append(",".join(point))
    if not found:
        raise InputError(f"{path}: holds no point; add a line for each below {','.join(columns)}")
    names: dict[str, str] = {}
    for case in found:
        other = names.setdefault(folder_name(case), case)
        if other != case:
            raise InputError(f"{path}: {case!r} and {other!r} would get one folder; rename a case")
    return found


def _rows(
    path: pathlib.Path, text: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of each line that is not empty, and its values in these columns."""
    lines = text.splitlines()
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if ";" in header else ",")
    names = [name.strip().lower() for name in next(reader, [])]
    if absent := [name for name in columns if name not in names]:
        raise InputError(
            f"{path}: has no column {' and no column '.join(absent)}; its first line must name "
            f"{','.join(columns)} for this frame of points"
        )
    places = [names.index(name) for name in columns]
    for row in reader:
        if any(map(str.strip, row)):
            yield reader.line_num, [row[at].strip() if at < len(row) else "" for at in places]


def _missing(columns: tuple[str, ...], case: str, point: list[str]) -> str:
    return next(name for name, value in zip(columns, [case, *point], strict=True) if not value)


def find(folder: str | pathlib.Path, case: str) -> pathlib.Path:
    """Returns the path of a case; InputError if the folder has none, or several."""
    folder = pathlib.Path(folder).expanduser()
    try:
        entries = folders.entries(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error}); name a folder of cases") from error
    exact = [path for path in entries if path.name == case]
    named = exact or [path for path in entries if path.is_file() and _bare(path) == case]
    if len(named) != 1:
        fault = f"has {len(named)} files of the case" if named else "has no case"
        raise InputError(f"{folder}: {fault} {case!r}; name one file or folder in it")
    return named[0]


def folder_name(case: str) -> str:
    """Returns the name of the folder for the results of a case."""
    return file_stem(case.replace("/", "_").replace("\\", "_"))


def _bare(path: pathlib.Path) -> str:
    return pathlib.Path(path.name.removesuffix(".gz")).stem
