"""Compares methods on the same patients: ``python -m prosona_jax.compare --config=CONFIG ...``.

Each stage one is trained and scored once per fold and seed, each method's second stage on the one
it needs, and out-of-fold scores are pooled into one table. Run again with the same flags, it goes
on where it was. More methods, seeds or folds join those that are there; the report is of what the
flags name. Folds and seeds may be trained side by side, by several processes in one workdir, or on
several machines whose fold folders are then copied into one; a call that names all of them writes
the table.
"""

import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from absl import app, flags
from ml_collections import config_flags

from configs.methods import METHODS
from data_pipelines import command
from prosona_jax import comparison, experiment, grid, inputs, parallel, provenance, report, workdir
from prosona_jax.build import Config
from prosona_jax.grid import Cell
from prosona_jax.types import InputError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/lidc.py:crops64.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the comparison.", required=True)
_METHODS = flags.DEFINE_list("methods", list(METHODS), "Of configs/methods.py.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds; scores of a record are averaged over them.")
_FOLDS = flags.DEFINE_list("folds", None, "Test folds; all of config.data.folds if absent.")

_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes, such as the hosts of a TPU slice."
)

_LOG = logging.getLogger("prosona_jax.compare")


def run(
    config: Config,
    folder: pathlib.Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> None:
    """Scores every method on every fold with every seed, then writes ``<folder>/report``."""
    for flag, values in (("methods", methods), ("seeds", seeds), ("folds", folds)):
        _check_distinct(flag, values)
    every = grid.cells(config, folder, methods, seeds, folds)
    whole = _whole(config, every[0])
    place = folder / "report"
    parallel.first_process_first(lambda: workdir.claim(folder, whole))
    parallel.first_process_first(lambda: report.check(place))
    for cell in every:  # before the first is trained, which takes hours
        workdir.check(cell.folder, cell.run)
    rows: list[dict[str, Any]] = []
    for cell in every:
        fold, seed = cell.config.data.fold, cell.config.seed
        _LOG.info("fold %d, seed %d: %s", fold, seed, cell.method)
        origin = {"run": cell.method, "fold": fold, "seed": seed}
        scored = [row | origin for row in grid.score(cell)]
        grid.check_scores(rows, scored, cell)
        rows += scored
    with experiment.alone(folder):
        if jax.process_index() == 0:
            _report(config, place, rows, every, methods, seeds, folds)


def _whole(config: Config, cell: Cell) -> workdir.Run:
    """What all cells have in common: not seed, fold and what follows from it, nor prompts."""
    common = config.to_dict()
    del common["seed"], common["data"]["fold"]
    return cell.run._replace(config=common, patients={}, prompts=None)


def _report(
    config: Config,
    folder: pathlib.Path,
    rows: Sequence[dict[str, Any]],
    cells: Sequence[Cell],
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> None:
    data = cells[0].data
    prompts = next((cell.run.prompts for cell in cells if cell.run.prompts), None)
    comparison.write_report(
        folder,
        rows=rows,
        methods={method: METHODS[method] for method in methods},
        samples=config.evaluate.samples,
        by_area=config.data.raters == "by_area",
        styles=inputs.style_names(prompts, data.raters),
        bootstrap=config.evaluate.bootstrap,
        caveats=inputs.about(data),
        citation=data.dataset.citation,
        provenance=provenance.describe()
        | {
            "folds": list(folds),
            "seeds": list(seeds),
            "scored_by": sorted({row["commit"] or "unknown" for row in rows}),  # commits
            "data_set": data.dataset.fingerprint,
            "prompts": prompts and {"encoder": prompts["encoder"]},
            "config": config.to_dict(),
        },
    )
    _LOG.info("report: %s", folder / "report.html")


def _check_distinct(flag: str, values: Sequence[Any]) -> None:
    if not values:
        raise InputError(f"--{flag} is empty; name at least one")
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"--{flag}: {value} stands there more than once; name it once")


def _numbers(flag: str, values: Sequence[str]) -> list[int]:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise InputError(f"--{flag}={','.join(values)}: give whole numbers from 0, e.g. 0,1,2")
    return numbers


def main(argv: Sequence[str]) -> None:
    """Runs the comparison; exits as `prosona_jax.main` does."""
    command.begin(argv)
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    config = _CONFIG.value
    with experiment.ending():
        folds = list(range(max(config.data.folds, 1)))
        if _FOLDS.value is not None:
            folds = _numbers("folds", _FOLDS.value)
        seeds = _numbers("seeds", _SEEDS.value)
        run(config, pathlib.Path(_WORKDIR.value), _METHODS.value, seeds, folds)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
