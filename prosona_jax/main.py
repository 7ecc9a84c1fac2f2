"""Trains, evaluates and reports: ``python -m prosona_jax.main --config=... --workdir=...``.

Flags in, files out. Run again with the same flags, it goes on where it was.
"""

import functools
import pathlib
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from data_pipelines import loader, prepared, splits
from data_pipelines.settings import Settings
from prosona_jax import build, evaluate, monitor, parallel, provenance, step, summary, workdir
from prosona_jax.checkpoint import Checkpoints
from prosona_jax.figures import Panel
from prosona_jax.train import Diverged, Preempted, Schedule, train
from prosona_jax.types import InputError

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

_PREEMPTED_STATUS = 128 + signal.SIGTERM  # what a shell reports for a process ended by SIGTERM

Config = ml_collections.ConfigDict


class Data(NamedTuple):
    """A prepared data set and the positions of each split's records in it."""

    dataset: prepared.Dataset
    indices: dict[str, np.ndarray]

    def patients(self) -> dict[str, list[str]]:
        """Returns the patient ids of each split."""
        ids = self.dataset.patient_ids
        return {name: sorted({ids[i] for i in part}) for name, part in self.indices.items()}


def prepare(config: Config) -> Data:
    """Prepares or finds the data set of config.data, and splits it by patient."""
    settings = Settings.from_config(config.data)
    dataset = parallel.first_process_first(
        lambda: prepared.prepare(settings, config.data.cache_dir)
    )
    return Data(dataset, splits.assign(dataset.patient_ids, dataset.declared_splits, **folds))


def fit(config: Config, folder: pathlib.Path, data: Data) -> None:
    """Trains the model of the config in the folder, or goes on training it."""
    network, tx, root = build.model(config), build.optimizer(config), jax.random.key(config.seed)
    devices = parallel.create(config.parallel)
    process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    example = next(iter(loader.eval_batches(data.dataset, data.indices["train"][:1], batch_size=1, process_index=0, process_count=1)))
    state = step.create_state(network, tx, example, root, config.model.posterior_input)
    predict = _predictor(config, network, config.evaluate.validation_samples)

    def validate(params: step.Params) -> dict[str, float]:
        batches = loader.eval_batches(data.dataset, data.indices["validation"], batch_size=config.evaluate.batch_size, **process)
        return evaluate.summarise(evaluate.evaluate(predict(params, batches)))

    train(
        devices.replicate(state),
        workdir=folder,
        train_step=devices.train_step(build.train_step(config, network, tx)),
        shard=devices.shard,
        batches=loader.train_batches(data.dataset, data.indices["train"], batch_size=config.batch_size, seed=config.seed, **process),
        root=root,
        validate=validate,
        schedule=Schedule(config.steps, config.log_every_steps, config.evaluate.every_steps, config.checkpoint_every_steps),
    )
