"""Compares methods on the same patients: ``python -m prosona_jax.compare --config=CONFIG ...``.

Each stage one is trained and scored once per fold and seed, each method's second stage on the one
it needs, and out-of-fold scores are pooled into one table. Run again with the same flags, it goes
on where it was. More methods, seeds or folds join those that are there; the report is of what the
flags name. Folds and seeds may be trained side by side, by several processes in one workdir, or on
several machines whose fold folders are then copied into one; a call that names all of them writes
the table.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from configs.methods import METHODS
from data_pipelines import command
from prosona_jax import (
    build,
    comparison,
    experiment,
    inputs,
    parallel,
    predictions,
    provenance,
    report,
    workdir,
)
from prosona_jax.inputs import Config
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
_ROWS = "rows.json"


class Cell(NamedTuple):
    """One method on one fold with one seed."""

    method: str
    config: Config
    data: inputs.Data  # split for the fold
    written: inputs.Prompts | None
    shared: pathlib.Path  # the folder of fold and seed, with the first stages

    @property
    def folder(self) -> pathlib.Path:
        """Holds what belongs to the method alone."""
        return self.shared / self.method

    @property
    def run(self) -> workdir.Run:
        """What the cell is made from."""
        return inputs.run_of(self.config, self.data, self.written)


def configure(config: Config, method: str, *, seed: int, fold: int) -> Config:
    """Returns the config of one method on one fold with one seed; InputError if unknown."""
    if method not in METHODS:
        raise InputError(f"--methods: {method!r} is unknown; choose from {', '.join(METHODS)}")
    if config.data.split != "test":
        raise InputError(
            f"config.data.split is {config.data.split!r}: a comparison is of the folds' test "
            "patients; leave it at 'test'"
        )
    changed = ml_collections.ConfigDict(config.to_dict()).lock()
    changed.seed, changed.data.fold = seed, fold
    changed.update_from_flattened_dict(METHODS[method])
    if changed.stage_two.query == "heads":
        changed.stage_two.tau = changed.model.latent_dim**-0.5  # cancels the projection's sqrt(d)
    build.check(changed)
    return changed


def cells(
    config: Config,
    folder: pathlib.Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> list[Cell]:
    """Returns every method on every fold with every seed; writes nothing into the folder.

    Raises:
        InputError: an unknown method, a fold or split without patients, faulty prompts; something
            named twice, or nothing named at all.
    """
    for flag, values in (("methods", methods), ("seeds", seeds), ("folds", folds)):
        _check_distinct(flag, values)
    every = [(method, seed, fold) for fold in folds for seed in seeds for method in methods]
    configs = [configure(config, method, seed=seed, fold=fold) for method, seed, fold in every]
    # No method changes data or sentences: each fold and each query needs them once.
    data = {
        fold: inputs.load_data(changed, needed=("train", "validation", "test"))
        for fold, changed in {changed.data.fold: changed for changed in configs}.items()
    }
    raters = data[folds[0]].raters
    for changed in configs:
        experiment.check(changed, raters)
    written = {
        query: inputs.load_prompts(changed, raters)
        for query, changed in {changed.stage_two.query: changed for changed in configs}.items()
    }
    return [
        Cell(
            method,
            changed,
            data[fold],
            written[changed.stage_two.query],
            folder / f"fold{fold}-seed{seed}",
        )
        for (method, seed, fold), changed in zip(every, configs, strict=True)
    ]


def stage_one_name(config: Config) -> str:
    """Returns a name that configs share if and only if their first stages are the same."""
    relevant = {
        name: value
        for name, value in workdir.fields(config.to_dict()).items()
        if not name.startswith(("stage_two.", "prompts."))
    }
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
    return f"stage_one-{digest[:8]}"


def score(cell: Cell) -> list[dict[str, Any]]:
    """Trains a cell and returns its rows; found done, reads them."""
    parallel.first_process_first(lambda: workdir.claim(cell.folder, cell.run))
    return _once(cell.folder / _ROWS, lambda: _trained(cell))


def _once(done: pathlib.Path, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Returns the rows in a file; where there is none, makes and writes them.

    A row tells which commit's code scored it, for a later one may score otherwise.
    """
    if done.exists():
        return json.loads(done.read_text())
    commit = provenance.commit()
    rows = [{"commit": commit} | row for row in make()]
    if jax.process_index() == 0:
        partial = done.with_suffix(".partial")
        partial.write_text(json.dumps(rows))
        os.replace(partial, done)
    return rows


def _trained(cell: Cell) -> list[dict[str, Any]]:
    """Trains a cell and returns its rows, while no other process works on its fold and seed."""
    one = cell.shared / stage_one_name(cell.config)
    with _alone(cell.shared):
        return [*_once(one / _ROWS, lambda: _sampled(cell, one)), *_styled(cell, one)]


def _alone(folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Keeps other comparisons out of a folder; of the processes of one, the first does."""
    return workdir.hold(folder) if jax.process_index() == 0 else contextlib.nullcontext()


def _sampled(cell: Cell, one: pathlib.Path) -> list[dict[str, Any]]:
    """Trains the cell's stage one in the folder `one` and scores its samples."""
    config, data = cell.config, cell.data
    experiment.fit_stage_one(config, one, data)
    _, params = experiment.read_stage_one(config, one, channels=data.channels, raters=data.raters)
    # Both counts: many samples show the range, as many as readers can be held against styles.
    return [
        inputs.with_ids(row, data.dataset) | {"method": f"samples@{samples}"}
        for samples in dict.fromkeys((config.evaluate.samples, data.raters))
        for row in predictions.score_stage_one(config, params, data, "test", samples=samples).rows
        if row["method"] == "samples"
    ]


def _styled(cell: Cell, one: pathlib.Path) -> list[dict[str, Any]]:
    """Trains the cell's stage two on that stage one and scores its contours, if it has one."""
    config, data, two = cell.config, cell.data, cell.folder / "stage_two"
    if config.stage_two.query == "none":
        return []
    shape = {"channels": data.channels, "raters": data.raters}
    _, params = experiment.read_stage_one(config, one, **shape)
    experiment.fit_stage_two(config, two, data, params, cell.written)
    second = experiment.read_stage_two(config, two, cell.run.prompts, **shape)
    return [
        inputs.with_ids(row, data.dataset)
        for row in predictions.score_prompts(config, params, second, data, "test")
    ]


def run(
    config: Config,
    folder: pathlib.Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> None:
    """Scores every method on every fold with every seed, then writes ``<folder>/report``."""
    every = cells(config, folder, methods, seeds, folds)
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
        scored = [row | origin for row in score(cell)]
        _check_scores(rows, scored, cell.folder / _ROWS)
        rows += scored
    if jax.process_index() == 0:
        with _alone(folder):
            _report(config, place, rows, every, methods, seeds, folds)


def _check_scores(
    before: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], file: pathlib.Path
) -> None:
    """Raises InputError unless the rows of a file hold the scores of those of their kind before."""
    known = {row["method"]: row.keys() for row in before}
    for row in rows:
        if differing := sorted(row.keys() ^ known.get(row["method"], row.keys())):
            raise InputError(
                f"{file}: was scored by other code than the cells before it, for {differing[0]!r} "
                "is in one of them alone; delete the rows.json that lack it, to score again"
            )


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
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax and TFDS tell of every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)
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
