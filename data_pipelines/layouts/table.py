"""Reads `cases.csv` of a folder: what the files do not say of a case.

    case,patient_id,site,split
    c01,p7,north,train

Only `case` is needed, and one of the others. Columns may be separated by semicolons.
"""

import csv
import pathlib
from collections.abc import Collection
from typing import NamedTuple

from data_pipelines import identifiers
from data_pipelines.validation import ONLY_TRAIN, SPLITS
from prosona_jax import unicode
from prosona_jax.types import InputError

NAME = "cases.csv"
_COLUMNS = ("case", "patient_id", "site", "split")


class Row(NamedTuple):
    """What a line says of a case."""

    case: str
    patient_id: str = ""
    site: str = ""
    split: str = ""


def read(path: pathlib.Path, cases: Collection[str]) -> tuple[dict[str, Row], list[str]]:
    """Returns the row of each case, and the faults of the file, a line each.

    Args:
        path: the file.
        cases: the cases that the folder holds.
    """
    try:
        rows = _rows(path)
    except InputError as fault:
        return {}, [str(fault)]
    found: dict[str, Row] = {}
    faults = []
    split_of: dict[str, Row] = {}
    for line, row in rows:
        where = f"{path}: line {line}"
        if row.case in found:
            faults.append(f"{where}: case {row.case!r} occurs twice; keep one of the lines")
        elif row.case not in cases:
            faults.append(
                f"{where}: case {row.case!r} has no files; remove the line, or correct the name"
            )
        if row.split not in ("", *SPLITS, ONLY_TRAIN):
            choices = ", ".join((*SPLITS, ONLY_TRAIN))
            faults.append(f"{where}: split {row.split!r} is unknown; choose one of {choices}")
        first = split_of.setdefault(row.patient_id or row.case, row)
        if first.split != row.split and ONLY_TRAIN not in (first.split, row.split):
            faults.append(
                f"{where}: patient {row.patient_id!r} is in two splits, {first.split!r} by case "
                f"{first.case!r} and {row.split!r} by case {row.case!r}; move all cases of a "
                "patient to one"
            )
        found.setdefault(row.case, row)
    missing = sorted(set(cases) - set(found))
    faults += [f"{path}: has no line of case {case!r}; add one" for case in missing]
    return found, faults


def _rows(path: pathlib.Path) -> list[tuple[int, Row]]:
    """Returns the number of each line that is not empty, and its row."""
    try:
        lines = unicode.decode(path.read_bytes(), str(path)).splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); fix that") from error
    header = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if ";" in header else ",")
    names = [column.strip().lower() for column in next(reader, [])]
    if "case" not in names or not set(names) & set(_COLUMNS[1:]):
        raise InputError(
            f"{path}: its first line is {header!r}; it must name case and one of patient_id, site "
            "and split"
        )
    found = []
    for values in reader:
        if any(map(str.strip, values)):
            row = dict(zip(names, values, strict=False))
            where = f"{path}: line {reader.line_num}"
            known = {
                column: identifiers.text(row[column], where, column)
                for column in _COLUMNS
                if column in row
            }
            found.append((reader.line_num, Row(**{"case": "", **known})))
    return found
