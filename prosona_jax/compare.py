"""Compares methods on the same patients: ``python -m prosona_jax.compare --config=CONFIG ...``.

Each stage one is trained once per fold and seed, each method's second stage on the one it needs,
and out-of-fold scores are pooled into one table. Run again with the same flags, it goes on where it
was; more methods, seeds or folds are added to what is there.
"""

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from configs.methods import METHODS
from data_pipelines import command
from prosona_jax import build, comparison, experiment, inputs, parallel, provenance, workdir
from prosona_jax.inputs import Config
from prosona_jax.train import Diverged, Preempted
from prosona_jax.types import InputError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/lidc.py:crops64.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the comparison.", required=True)
_METHODS = flags.DEFINE_list("methods", list(METHODS), "Of configs/methods.py.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds; scores of a record are averaged over them.")
_FOLDS = flags.DEFINE_list("folds", None, "Test folds; all of config.data.folds if absent.")

_LOG = logging.getLogger("prosona_jax.compare")
_ROWS = "rows.json"


def configure(config: Config, method: str, *, seed: int, fold: int) -> Config:
    """Returns the config of one method on one fold with one seed; InputError if unknown."""
    if method not in METHODS:
        raise InputError(f"--methods: {method!r} is unknown; choose from {', '.join(METHODS)}")
    changed = ml_collections.ConfigDict(config.to_dict())
    changed.seed, changed.data.fold = seed, fold
    changed.update_from_flattened_dict(METHODS[method])
    build.check(changed)
    return changed


def stage_one_name(config: Config) -> str:
    """Returns a name that configs share if and only if their first stages are the same."""
    relevant = {k: v for k, v in config.to_dict().items() if k not in ("stage_two", "prompts")}
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
    return f"stage_one-{digest[:8]}"


def score(config: Config, method: str, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Trains one method on one fold with one seed and returns its rows; found done, reads them."""
    done = folder / method / _ROWS
    if done.exists():
        return json.loads(done.read_text())
    data = inputs.load_data(config, needed=("train", "validation", "test"))
    shape = {"channels": data.channels, "raters": data.raters}
    written = inputs.load_prompts(config, data.raters)
    run = workdir.Run(
        config.to_dict(),
        data.dataset.fingerprint["sha256"],
        data.patients(),
        data.channels,
        data.raters,
        written.describe() if written else None,
        data.dataset.simulated,
    )
    parallel.first_process_first(lambda: workdir.claim(folder / method, run))
    one = folder / stage_one_name(config)
    experiment.fit_stage_one(config, one, data)
    _, params = experiment.read_stage_one(config, one, **shape)
    # Both counts: many samples show the range, as many as readers can be held against styles.
    rows = []
    for samples in (config.evaluate.samples, data.raters):
        scored = experiment.score_stage_one(config, params, data, "test", samples=samples)
        rows += [
            r | {"method": f"samples@{samples}"} for r in scored.rows if r["method"] == "samples"
        ]
    if config.stage_two.query != "none":
        two = folder / method / "stage_two"
        experiment.fit_stage_two(config, two, data, params, written)
        second = experiment.read_stage_two(config, two, run.prompts, **shape)
        for prompts_of in ("train", "held_out") if written else ("train",):
            rows += experiment.score_stage_two(
                config, params, second, data, "test", prompts_of=prompts_of
            )
    rows = [inputs.with_ids(row, data.dataset) for row in rows]
    if jax.process_index() == 0:
        partial = done.with_suffix(".partial")
        partial.write_text(json.dumps(rows))
        os.replace(partial, done)
    return rows


def run(
    config: Config,
    folder: pathlib.Path,
    methods: Sequence[str],
    seeds: Sequence[int],
    folds: Sequence[int],
) -> None:
    """Scores every method on every fold with every seed, then writes ``<workdir>/report``."""
    cells = [(fold, seed, method) for fold in folds for seed in seeds for method in methods]
    configs = [configure(config, method, seed=seed, fold=fold) for fold, seed, method in cells]
    rows: list[dict[str, Any]] = []
    for (fold, seed, method), changed in zip(cells, configs, strict=True):
        _LOG.info("fold %d, seed %d: %s", fold, seed, method)
        found = score(changed, method, folder / f"fold{fold}-seed{seed}")
        rows += [row | {"run": method, "fold": fold, "seed": seed} for row in found]
    if jax.process_index() > 0:
        return
    data = inputs.load_data(config, needed=("test",))
    comparison.write_report(
        folder / "report",
        rows=rows,
        methods=methods,
        samples=config.evaluate.samples,
        raters=data.raters,
        bootstrap=config.evaluate.bootstrap,
        caveats=[inputs.SIMULATED] if data.dataset.simulated else [],
        citation=data.dataset.citation,
        provenance=provenance.describe()
        | {
            "folds": list(folds),
            "seeds": list(seeds),
            "data_sha256": data.dataset.fingerprint["sha256"],
            "config": config.to_dict(),
        },
    )
    _LOG.info("report: %s", folder / "report" / "report.html")


def _numbers(flag: str, values: Sequence[str]) -> list[int]:
    try:
        return [int(value) for value in values]
    except ValueError:
        raise InputError(f"--{flag}={','.join(values)}: give whole numbers, e.g. 0,1,2") from None


def main(argv: Sequence[str]) -> None:
    """Runs the comparison; exits as `prosona_jax.main` does."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax and TFDS tell of every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)
    config = _CONFIG.value
    try:
        folds = _FOLDS.value or [str(fold) for fold in range(max(config.data.folds, 1))]
        run(
            config, pathlib.Path(_WORKDIR.value), _METHODS.value,
            _numbers("seeds", _SEEDS.value), _numbers("folds", folds),
        )  # fmt: skip
    except InputError as fault:
        command.stop(fault)
    except Diverged as fault:
        command.stop(fault, command.DIVERGED_STATUS)
    except Preempted as notice:
        command.stop(notice, command.PREEMPTED_STATUS)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
