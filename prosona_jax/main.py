"""Trains, evaluates and reports: ``python -m prosona_jax.main --config=... --workdir=...``.

Flags in, files out. Run again with the same flags, it goes on where it was.
"""

import contextlib
import functools
import logging
import pathlib
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import ml_collections
import numpy as np
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from data_pipelines import command, fingerprint, loader, prepared, splits
from data_pipelines.settings import Settings
from prosona_jax import build, evaluate, monitor, parallel, provenance, step, summary, workdir
from prosona_jax.checkpoint import Checkpoints
from prosona_jax.figures import Panel
from prosona_jax.train import Diverged, Preempted, Schedule, train
from prosona_jax.types import Batch, InputError, Record

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/lidc.py:demo.", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "eval"],
    "train: train, evaluate, report. eval: score a trained workdir on the data that "
    "--config.data.* names; everything else comes from the workdir.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One of several processes, such as the hosts of a TPU slice."
)

_SIMULATED = (
    "CT simulated: the contours are real, but the images are rendered from the readers' own "
    "shapes. A score on them is an exercise and no clinical evidence."
)
_DIVERGED_STATUS = 3
_PREEMPTED_STATUS = 128 + signal.SIGTERM  # what a shell reports for a process ended by SIGTERM

_LOG = logging.getLogger("prosona_jax.main")
Config: TypeAlias = ml_collections.ConfigDict
Predict: TypeAlias = Callable[
    ..., Iterable[tuple[Batch, step.Prediction]]
]  # (params, host batches)


class Data(NamedTuple):
    """A prepared data set and the positions of each split's records in it."""

    dataset: prepared.Dataset
    indices: dict[str, np.ndarray]

    def patients(self) -> dict[str, list[str]]:
        """Returns the patient ids of each split."""
        ids = self.dataset.patient_ids
        return {name: sorted({ids[i] for i in part}) for name, part in self.indices.items()}


def _data(config: Config, needed: Sequence[str]) -> Data:
    """Prepares or finds the data set of config.data, and splits it by patient."""
    settings = Settings.from_config(config.data)
    dataset = parallel.first_process_first(
        lambda: prepared.prepare(settings, config.data.cache_dir)
    )
    if dataset.simulated:
        _LOG.warning("%s", _SIMULATED)
    for line in fingerprint.lines(dataset.fingerprint):
        _LOG.info("%s", line)
    indices = splits.assign(
        dataset.patient_ids,
        dataset.declared_splits,
        folds=config.data.folds,
        fold=config.data.fold,
        validation_share=config.data.validation_share,
        needed=needed,
    )
    return Data(dataset, indices)


def _process() -> dict[str, int]:
    return {"process_index": jax.process_index(), "process_count": jax.process_count()}


def _predictor(config: Config, samples: int) -> Predict:
    devices = parallel.create(config.parallel)
    eval_step = devices.eval_step(build.eval_step(config, build.model(config), samples))
    root = jax.random.key(config.seed)
    return functools.partial(evaluate.predict, eval_step=eval_step, parallel=devices, root=root)


def _initial_state(config: Config, dataset: prepared.Dataset) -> step.TrainState:
    first = dataset[0]
    return parallel.create(config.parallel).replicate(
        step.create_state(
            build.model(config),
            build.optimizer(config),
            jax.random.key(config.seed),
            image_shape=first.image.shape,
            posterior_masks=len(first.masks) if config.model.posterior_input == "all" else 1,
        )
    )


def _fit(config: Config, folder: pathlib.Path, data: Data) -> None:
    """Trains the model of the config in the folder, or goes on training it."""
    network, tx = build.model(config), build.optimizer(config)
    devices = parallel.create(config.parallel)
    predict = _predictor(config, config.evaluate.validation_samples)

    def validate(params: step.Params) -> dict[str, float]:
        batches = loader.eval_batches(
            data.dataset,
            data.indices["validation"],
            batch_size=config.evaluate.batch_size,
            **_process(),
        )
        return evaluate.summarise(evaluate.evaluate(predict(params, batches)))

    train(
        _initial_state(config, data.dataset),
        workdir=str(folder),
        train_step=devices.train_step(build.train_step(config, network, tx)),
        shard=devices.shard,
        batches=loader.train_batches(
            data.dataset,
            data.indices["train"],
            batch_size=config.batch_size,
            seed=config.seed,
            **_process(),
        ),
        root=jax.random.key(config.seed),
        validate=validate,
        schedule=Schedule(
            config.steps,
            config.log_every_steps,
            config.evaluate.every_steps,
            config.checkpoint_every_steps,
        ),
    )


def _report(config: Config, folder: pathlib.Path, report: pathlib.Path, data: Data) -> None:
    """Scores the best checkpoint of the folder on config.data.split and writes the report."""
    start = time.monotonic()
    with contextlib.closing(Checkpoints(folder)) as checkpoints:
        restored = checkpoints.restore("best", _initial_state(config, data.dataset).average)
    if restored is None:
        raise InputError(f"{folder}: no checkpoint here; train first, with --mode=train")
    best_step, params, _ = restored
    predict = _predictor(config, config.evaluate.samples)
    batch_size = config.evaluate.batch_size
    scored = data.indices[config.data.split]
    batches = loader.eval_batches(data.dataset, scored, batch_size=batch_size, **_process())
    result = evaluate.evaluate(predict(params, batches))
    # Every process predicts all panels, so that the first has them without asking the others.
    chosen = np.array(evaluate.spread_by_score(result.rows, config.evaluate.panels), np.int64)
    batches = loader.eval_batches(
        data.dataset,
        chosen,
        batch_size=batch_size // jax.process_count(),
        process_index=0,
        process_count=1,
    )
    panels = [
        _panel(data.dataset[index], samples)
        for batch, prediction in predict(params, batches)
        for index, samples in zip(batch.index, prediction.samples, strict=True)
    ]
    if jax.process_index() > 0:
        return
    run = workdir.read(folder)
    summary.write_report(
        report,
        title=_title(config, data.dataset),
        rows=[_with_ids(row, data.dataset) for row in result.rows],
        history=monitor.read_history(folder),
        latent_kl=result.latent_kl,
        panels=panels,
        provenance=provenance.describe()
        | {
            "checkpoint": f"step {best_step}, the lowest GED on validation patients",
            "seed": config.seed,
            "training_seconds": round(monitor.training_seconds(folder)),
            "scoring_seconds": round(time.monotonic() - start),
            "training_data_sha256": run.data_digest,
            "config": config.to_dict(),
        },
        data={"split": _split(config), "data_set": data.dataset.fingerprint},
        caveats=_caveats(config, data, run),
        citation=data.dataset.citation,
        raters=len(data.dataset[0].masks),
        samples=config.evaluate.samples,
        bootstrap=config.evaluate.bootstrap,
    )
    _LOG.info("report: %s", report / "report.html")


def _title(config: Config, dataset: prepared.Dataset) -> str:
    data = (config.data.path and pathlib.Path(config.data.path).stem) or config.data.source
    return f"Probabilistic U-Net on {data}" + (" (simulated CT)" if dataset.simulated else "")


def _split(config: Config) -> str:
    data = config.data
    if not data.folds:
        return f"{data.split}, as the source declares"
    return f"{data.split}; test fold {data.fold} of {data.folds} patient folds"


def _caveats(config: Config, data: Data, run: workdir.Run) -> list[str]:
    """Returns what a reader must know before believing a number."""
    caveats = [_SIMULATED] if data.dataset.simulated else []
    seen = {*run.patients["train"], *run.patients["validation"]}
    known = seen.intersection(data.dataset.patient_ids[i] for i in data.indices[config.data.split])
    if known:
        caveats.append(
            f"Known patients: {len(known)} of the scored patients were among those that trained or "
            "selected the model, so these scores are too good."
        )
    corrupt = data.dataset.fingerprint["skipped"].get("corrupt", 0)
    if corrupt:
        caveats.append(
            f"Incomplete data: {corrupt} corrupt records were left out (data.on_error=skip)."
        )
    return caveats


def _with_ids(row: evaluate.Row, dataset: prepared.Dataset) -> evaluate.Row:
    position = row["index"]
    scores = {name: value for name, value in row.items() if name != "index"}
    ids = {
        "record_id": dataset.record_ids[position],
        "patient_id": dataset.patient_ids[position],
    }
    return ids | scores


def _panel(record: Record, samples: np.ndarray) -> Panel:
    return Panel(
        record_id=record.record_id,
        image=record.image[..., 0],
        masks=record.masks,
        rater_valid=record.rater_valid,
        probs=samples,
        spacing_mm=record.spacing_mm,
    )


def run_training(config: Config, folder: pathlib.Path) -> None:
    """Trains, then scores config.data.split and writes ``<workdir>/report``."""
    build.check(config)
    data = _data(config, needed=("train", "validation", config.data.split))
    run = workdir.Run(config.to_dict(), data.dataset.fingerprint["sha256"], data.patients())
    parallel.first_process_first(lambda: workdir.claim(folder, run))
    _fit(config, folder, data)
    _report(config, folder, folder / "report", data)


def run_evaluation(config: Config, folder: pathlib.Path, overrides: Mapping[str, Any]) -> None:
    """Scores a trained workdir on other data: ``<workdir>/eval-<file stem or source>``."""
    trained = ml_collections.ConfigDict(workdir.read(folder).config)
    for name, value in overrides.items():
        if not name.startswith("data."):
            raise InputError(
                f"--config.{name} cannot be changed with --mode=eval: only config.data.* can, the "
                f"rest comes from {folder}"
            )
        trained.data[name.removeprefix("data.")] = value
    data = _data(trained, needed=(trained.data.split,))
    stem = pathlib.Path(trained.data.path).stem or trained.data.source
    _report(trained, folder, folder / f"eval-{stem}", data)


def main(argv: Sequence[str]) -> None:
    """Runs the mode; exits with 2 on bad input, 3 on divergence, 143 after SIGTERM."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax and TFDS tell of every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    folder = pathlib.Path(_WORKDIR.value)
    try:
        if _MODE.value == "train":
            run_training(_CONFIG.value, folder)
        else:
            overrides = config_flags.get_override_values(flags.FLAGS["config"])
            run_evaluation(_CONFIG.value, folder, overrides)
    except InputError as fault:
        command.stop(fault)
    except Diverged as fault:
        command.stop(fault, _DIVERGED_STATUS)
    except Preempted as notice:
        command.stop(notice, _PREEMPTED_STATUS)


if __name__ == "__main__":
    app.run(main, flags_parser=command.parse_flags)
