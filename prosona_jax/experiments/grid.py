"""A comparison: trains every method once on every fold with every seed, and reports the scores."""

import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections

from configs.methods import METHODS
from prosona_jax.experiments import cards, cells, inputs, prompt_sets, second_stages, stages
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.cells import Cell
from prosona_jax.report import comparison, document
from prosona_jax.report.volume_summary import Volumes
from prosona_jax.runtime import parallel, provenance, workdir
from prosona_jax.types import InputError

_LOG = logging.getLogger(__name__)


def _configure(config: Config, method: str, *, seed: int, fold: int) -> Config:
    """Returns the config of one method on one fold with one seed; InputError if unknown."""
    if method not in METHODS:
        raise InputError(f"--methods: {method!r} is unknown; choose from {', '.join(METHODS)}")
    if config.data.split != "test":
        raise InputError(
            f"config.data.split is {config.data.split!r}: a comparison scores the test patients "
            "of each fold; leave it at 'test'"
        )
    if config.data.test_site and fold:
        raise InputError(
            f"--folds: {fold}, but config.data.test_site is {config.data.test_site!r}, and the "
            "patients of a site are one test set; leave --folds out"
        )
    changed = ml_collections.ConfigDict(config.to_dict()).lock()
    changed.seed, changed.data.fold = seed, fold
    changed.update_from_flattened_dict(METHODS[method])
    stages.check(changed)
    if not METHODS[method] and not second_stages.of(changed).reads_text:
        raise InputError(
            f"--methods: {method} is the config as it is, but config.stage_two.query is "
            f"{changed.stage_two.query!r} and reads no text; set it to 'text' or 'habits'"
        )
    if second_stages.of(changed).unscaled:
        changed.stage_two.tau = changed.model.latent_dim**-0.5  # cancels the projection's sqrt(d)
    return changed


def _cells(
    config: Config,
    folder: pathlib.Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> list[Cell]:
    """Returns every method on every fold with every seed; writes nothing into the folder.

    Raises:
        InputError: an unknown method, a fold or split without patients, or faulty prompts.
    """
    every = [(method, seed, fold) for fold in folds for seed in seeds for method in methods]
    configs = [_configure(config, method, seed=seed, fold=fold) for method, seed, fold in every]
    # All methods have the same data and prompts. Data are read once and split once per fold.
    dataset = inputs.load_dataset(config)
    data = {
        fold: inputs.split_data(changed, dataset, needed=("train", "validation", "test"))
        for fold, changed in {changed.data.fold: changed for changed in configs}.items()
    }
    inputs.warn(inputs.about_splits(config, data, trained=True))
    raters = data[folds[0]].raters
    for changed in configs:
        stages.check_raters(changed, raters)
    prompts = {
        key: prompt_sets.load(changed, raters, cards.written(changed, data[changed.data.fold]))
        for key, changed in {_prompted(changed): changed for changed in configs}.items()
    }
    return [
        Cell(
            method,
            changed,
            data[fold],
            prompts[_prompted(changed)],
            folder / f"fold{fold}-seed{seed}",
        )
        for (method, seed, fold), changed in zip(every, configs, strict=True)
    ]


def _prompted(config: Config) -> tuple[str, int | None]:
    """Returns what a cell's prompts depend on: its query and, if they are measured, its fold."""
    return config.stage_two.query, config.data.fold if cards.wanted(config) else None


def compare(
    config: Config,
    folder: str | os.PathLike[str],
    *,
    methods: Sequence[str] = tuple(METHODS),
    seeds: Sequence[int] = (0,),
    folds: Sequence[int] | None = None,
) -> None:
    """Scores every method on every fold with every seed, then writes ``<folder>/report``.

        >>> pj.compare(config, "runs/compare", methods=["prosona", "dpersona"])  # doctest: +SKIP

    Args:
        config: the config of a run; its seed and fold are replaced.
        folder: the folder of the comparison. If a comparison was interrupted there, it continues.
        methods: names from configs/methods.py.
        seeds: the seeds of the runs; the scores of a record are averaged over them.
        folds: the test folds; None: all of config.data.folds.

    Raises:
        InputError: a method is unknown, data or prompts are faulty, or the folder holds another
            comparison.
    """
    folder = pathlib.Path(folder).expanduser()
    own_folds = 1 if config.data.test_site else max(config.data.folds, 1)
    folds = range(own_folds) if folds is None else folds
    for flag, values in (("methods", methods), ("seeds", seeds), ("folds", folds)):
        _check_distinct(flag, values)
    every = _cells(config, folder, methods, seeds, folds)
    whole = _whole(config, every[0])
    report_folder = folder / "report"
    parallel.first_process_first(lambda: workdir.claim(folder, whole))
    parallel.first_process_first(lambda: document.check(report_folder))
    for cell in every:  # before the training, which takes hours
        cell.check()
    rows: list[cells.Row] = []
    for cell in every:
        fold, seed = cell.config.data.fold, cell.config.seed
        _LOG.info("fold %d, seed %d: %s", fold, seed, cell.method)
        origin = {"run": cell.method, "fold": fold, "seed": seed}
        scored = [row | origin for row in cells.score(cell)]
        cells.check_scores(rows, scored, cell)
        rows += scored
    with stages.alone(folder):
        if jax.process_index() == 0:
            _report(config, report_folder, rows, every, methods, seeds, folds)


def _whole(config: Config, cell: Cell) -> workdir.Run:
    """Returns what all cells share, without seed, prompts, and the fold and its patients."""
    common = config.to_dict()
    del common["seed"], common["data"]["fold"]
    return cell.run._replace(config=common, patients={}, records=None, prompts=None)


def _report(
    config: Config,
    folder: pathlib.Path,
    rows: Sequence[cells.Row],
    every: Sequence[Cell],
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> None:
    data, by_fold = every[0].data, {cell.config.data.fold: cell.data for cell in every}
    prompts = next((cell.run.prompts for cell in every if cell.run.prompts), None)
    styles = inputs.style_names(prompts, data.raters)
    of_records, of_volumes = cells.split_rows(rows)
    compared = comparison.Compared(
        rows=of_records,
        volumes=Volumes(of_volumes, config.evaluate.latent, styles) if of_volumes else None,
        methods={method: METHODS[method] for method in methods},
        samples=config.evaluate.samples,
        by_area=config.data.raters == "by_area",
        styles=styles,
        tolerance_mm=config.evaluate.tolerance_mm,
        bootstrap=config.evaluate.bootstrap,
        caveats=[
            *inputs.about_data(config, data.dataset),
            *inputs.about_splits(config, by_fold, trained=True),
            *inputs.about_prompts(prompts),
        ],
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
    comparison.write_report(folder, compared)
    _LOG.info("report: %s", folder / "report.html")


def _check_distinct(flag: str, values: Sequence[Any]) -> None:
    if not values:
        raise InputError(f"--{flag} is empty; name at least one")
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"--{flag}: {value} is named more than once; name it once")
