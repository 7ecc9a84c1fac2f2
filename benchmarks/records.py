"""Prints which records the published tables of docs/results.md are about.

    python -m benchmarks.records                           # a line for each table's scores
    python -m benchmarks.records lidc_crops64 | sha256sum  # its records, one a line

The digest of the records is the one in the line. docs/protocol.md has these lines.
"""

import csv
import gzip
import hashlib
import pathlib
import sys
from collections.abc import Sequence

SCORES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "results"
# Scores, in a file or the files of a folder: what docs/results.md calls the tables made from them.
TABLES = {
    "lidc_crops64_main": "samples of the prior; Prompts",
    "lidc_crops64": "What language adds; in place of another",
    "lidc_crops64_degrees": "sentences by degree",
}


def rows(name: str) -> list[dict[str, str]]:
    """Returns the rows of published scores, {column: text}, of a file or of a folder's files."""
    folder = SCORES / name
    files = sorted(folder.glob("*.csv.gz")) if folder.is_dir() else [SCORES / f"{name}.csv.gz"]
    found: list[dict[str, str]] = []
    for path in files:
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            found += csv.DictReader(file)
    return found


def listing(name: str) -> list[str]:
    """Returns sorted lines "record_id patient_id fold", one for each record of published scores.

    Rows that name no test fold are of the main run, which tests fold 0.
    """
    return sorted(
        {f"{row['record_id']} {row['patient_id']} {row.get('fold', '0')}" for row in rows(name)}
    )


def digest(lines: Sequence[str]) -> str:
    """Returns the SHA-256 of the lines as `sha256sum` gives it: each one ends with a newline."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def summary(name: str) -> str:
    """Returns the line of docs/protocol.md: tables, records, patients, folds and digest."""
    lines = listing(name)
    _, patients, folds = zip(*(line.split() for line in lines), strict=True)
    cells = (
        name,
        TABLES[name],
        str(len(lines)),
        str(len(set(patients))),
        ", ".join(sorted(set(folds))),
        f"`{digest(lines)}`",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Prints a summary of each file, or the records of the files that the arguments name."""
    names = sys.argv[1:]
    if unknown := sorted(set(names) - set(TABLES)):
        sys.exit(f"{unknown[0]}: not a published table; choose from {', '.join(TABLES)}")
    for name in names:
        print(*listing(name), sep="\n")
    for name in () if names else TABLES:
        print(summary(name))


if __name__ == "__main__":
    main()
