"""One cell of a comparison: a method on one fold with one seed, trained once and scored once.

Its rows are kept in rows.json: one per record and method, and one per volume and method if the data
have volumes. A row of a volume has the key "volume" in place of "record_id".
"""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from prosona_jax import checksum, files
from prosona_jax.experiments import (
    build,
    direct,
    inputs,
    predictions,
    prompt_sets,
    second_stages,
    stages,
    volumes,
)
from prosona_jax.experiments.build import Config
from prosona_jax.runtime import parallel, provenance, workdir
from prosona_jax.types import InputError, first_line

_ROWS = "rows.json"
Row = dict[str, Any]


class Cell(NamedTuple):
    """One method on one fold with one seed."""

    method: str
    config: Config
    data: inputs.Data  # split for the fold
    prompts: prompt_sets.Prompts | None
    shared: pathlib.Path  # the folder of the fold and seed, which holds the first stages

    @property
    def folder(self) -> pathlib.Path:
        """The folder of the method's own files."""
        return self.shared / self.method

    @property
    def stage_one(self) -> pathlib.Path:
        """The folder of the first stage, which methods may share."""
        return self.shared / stages.shared_name(self.config.to_dict())

    @property
    def run(self) -> workdir.Run:
        """The config, data and prompts of the cell, as run.json holds them."""
        return inputs.run_of(self.config, self.data, self.prompts)

    def check(self) -> None:
        """Raises InputError if the folder holds another cell, or rows that are damaged."""
        workdir.check(self.folder, self.run)
        for done in (self.folder / _ROWS, self.stage_one / _ROWS):
            if done.exists():
                _read(done)


def score(cell: Cell) -> list[Row]:
    """Returns the rows of a cell; trains and scores it, unless its rows are on disk."""
    parallel.first_process_first(lambda: workdir.claim(cell.folder, cell.run))
    return _once(cell.folder / _ROWS, lambda: _trained(cell))


def _once(done: pathlib.Path, make: Callable[[], list[Row]]) -> list[Row]:
    """Returns the rows in a file; if there is no file, makes the rows and writes them.

    Each row names the commit of the code that scored it, because later code may score differently.
    Raises InputError as :func:`_read` does.
    """
    if done.exists():
        return _read(done)
    commit = provenance.commit()
    rows = [{"commit": commit} | row for row in make()]
    if jax.process_index() == 0:
        files.write_whole(done, json.dumps(checksum.seal({"rows": rows})).encode())
    return rows


def _read(done: pathlib.Path) -> list[Row]:
    """Returns the rows in a file; InputError if the file is damaged or edited."""
    try:
        return checksum.unseal(json.loads(done.read_bytes()))["rows"]
    except ValueError as error:
        raise InputError(
            f"{done}: cannot be used ({first_line(error)}); restore it from a copy, or delete it "
            "to score again"
        ) from None


def _trained(cell: Cell) -> list[Row]:
    """Trains a cell and returns its rows; keeps other processes out of its fold and seed."""
    one = cell.stage_one
    with stages.alone(cell.shared):
        if build.is_direct(cell.config):
            direct.fit(cell.config, one, cell.data)
            return _once(one / _ROWS, lambda: direct.score(cell.config, one, cell.data))
        sampled = _once(one / _ROWS, lambda: _sampled(cell, one))
        return [*sampled, *_styled(cell, one)]


def _sampled(cell: Cell, one: pathlib.Path) -> list[Row]:
    """Trains the cell's stage one in the folder `one` and scores its samples."""
    config, data = cell.config, cell.data
    stages.fit_stage_one(config, one, data)
    _, params = stages.read_stage_one(config, one, channels=data.channels, raters=data.raters)
    rows = []
    # Two counts: many samples show the range; one sample per rater is compared with the styles.
    for samples in dict.fromkeys((config.evaluate.samples, data.raters)):
        scored = predictions.score_stage_one(config, params, data, "test", samples=samples).rows
        found = [inputs.with_ids(row, data.dataset) for row in scored]
        found += volumes.score(config, params, None, data, "test", samples=samples)
        own = {"method": f"samples@{samples}"}
        rows += [row | own for row in found if row["method"] == "samples"]
    return rows


def _styled(cell: Cell, one: pathlib.Path) -> list[Row]:
    """Trains the cell's stage two, if it has one, on this stage one and scores its contours."""
    config, data, two = cell.config, cell.data, cell.folder / "stage_two"
    if not second_stages.exists(config):
        return []
    shape = {"channels": data.channels, "raters": data.raters}
    _, params = stages.read_stage_one(config, one, **shape)
    stages.fit_stage_two(config, two, data, params, cell.prompts)
    second = stages.read_stage_two(config, two, cell.run.prompts, **shape)
    scored = predictions.score_prompts(config, params, second, data, "test")
    found = [inputs.with_ids(row, data.dataset) for row in scored]
    # Samples of volumes are drawn too, but were scored with stage one: one is enough.
    found += volumes.score(config, params, second, data, "test", samples=1)
    methods = {row["method"] for row in scored}
    return [row for row in found if row["method"] in methods]


def split_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Returns the rows of records, and those of volumes."""
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        parts["volume" in row].append(row)
    return parts


def check_scores(before: Sequence[Row], rows: Sequence[Row], cell: Cell) -> None:
    """Raises InputError if a cell's rows were scored by other code than earlier rows.

    Then they have other fields than earlier rows of their method, or none of volumes although the
    data have volumes.
    """
    of_record, of_volume = ({row["method"] for row in part} for part in split_rows(rows))
    known = any(cell.data.dataset.volumes[i] for i in cell.data.indices["test"].tolist())
    if known and (lacking := sorted(of_record - of_volume)):
        raise InputError(
            f"{cell.folder / _ROWS}: was scored by code that knew no volumes, since it has no "
            f"volume of {lacking[0]!r}; delete it and {cell.stage_one / _ROWS} to score again"
        )
    fields = {(row["method"], "volume" in row): row.keys() for row in before}
    for row in rows:
        kind = (row["method"], "volume" in row)
        if differing := sorted(row.keys() ^ fields.get(kind, row.keys())):
            raise InputError(
                f"{cell.folder / _ROWS}: was scored by other code than earlier cells, because only "
                f"some of them have {differing[0]!r}; delete the rows.json files that lack it to "
                "score again"
            )
