"""Prepares a data set ahead of training, or exports it as one npz file.

    python -m data_pipelines.prepare --config=configs/lidc.py [--config.data.source=...]
    python -m data_pipelines.prepare --config=configs/lidc.py --export=crops.npz
    python -m data_pipelines.prepare --config=... --runner=DirectRunner -- --direct_num_workers=4

Prints a description of the data and of their splits, and a warning for each property that spoils a
result. With --export the records are written at the config's geometry and in the source's own
intensities. The source "npz" can read that file. All cores read the cases, or with --runner the
workers of Apache Beam, to which the arguments after "--" go. The result is the same.
"""

import functools
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tqdm
from absl import flags
from ml_collections import config_flags

from data_pipelines import (
    caveats,
    fingerprint,
    finishing,
    prepared,
    runners,
    sources,
    splits,
)
from data_pipelines.runners import Runner
from data_pipelines.settings import Settings
from data_pipelines.sources import npz
from prosona_jax import cli, files
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.", flag_values=_FLAGS)
_EXPORT = flags.DEFINE_string(
    "export", "", "Write the records to this npz file.", flag_values=_FLAGS
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes that read the cases; default: one for each core.", lower_bound=1,
    flag_values=_FLAGS,
)  # fmt: skip
_RUNNER = flags.DEFINE_string(
    "runner", "", "Runner of Apache Beam that reads the cases instead, such as DirectRunner.",
    flag_values=_FLAGS,
)  # fmt: skip
flags.mark_flag_as_required("config", _FLAGS)


def export(settings: Settings, path: str, runner: Runner = runners.serial) -> list[str]:
    """Writes all records to an npz file; returns lines that describe it.

    Raises:
        InputError: a faulty source, or no record left.
    """
    file = files.check(path)  # checked first, since reading may take hours
    tally = fingerprint.Tally()
    with runner(file.with_name(f".{file.name}.cases")) as run:
        raw = finishing.records(settings, tally, run, windowed=False)
        records = list(tqdm.tqdm(raw, desc=f"reading {settings.name}", unit=" records"))
    if not records:
        raise InputError(f"{settings.name}: no record is left (skipped: {dict(tally.skipped)})")
    origin = sources.provenance(settings, {record.patient_id for record in records})
    names = sources.rater_names(settings)
    npz.write(file, records, origin.citation, origin.simulated, names)
    skipped = dict(tally.skipped) or "none"
    summary = fingerprint.Fingerprint()
    for record in records:
        summary.add(record)
    found = caveats.of_data(summary.summary(tally, names), spacing_mm=settings.spacing_mm)
    return [f"wrote {len(records)} records to {file}; skipped: {skipped}", *_warnings(found)]


def describe(dataset: prepared.Dataset, data: Mapping[str, Any]) -> list[str]:
    """Returns lines that describe the data set and its splits under the config, and warnings."""
    parts = splits.assign(
        dataset.patient_ids,
        dataset.declared_splits,
        folds=data["folds"],
        fold=data["fold"],
        validation_share=data["validation_share"],
        leave_out=data["leave_out"],
        needed=("all",),
        sites=dataset.sites,
        test_site=data["test_site"],
    )
    patients = np.array(dataset.patient_ids)
    found = caveats.of_data(dataset.fingerprint, spacing_mm=data["spacing_mm"]) + caveats.of_splits(
        dataset.patient_ids,
        {data["fold"]: parts},
        folds=1 if data["test_site"] else data["folds"],
        scored=data["split"],
        trained=True,
    )
    note = ["the images are simulated: no clinical evidence"] if dataset.simulated else []
    return [
        *fingerprint.lines(dataset.fingerprint, data["spacing_mm"]),
        *(
            f"{name:<18} {len(parts[name])} records of {len(set(patients[parts[name]]))} patients"
            for name in splits.SPLITS
        ),
        *([f"cite               {dataset.citation}"] if dataset.citation else []),
        *note,
        *_warnings(found),
    ]


def _warnings(found: Sequence[str]) -> list[str]:
    return [f"warning: {caveat}" for caveat in found]


def _runner(options: Sequence[str]) -> Runner:
    """Returns what the flags say, with the options of Beam."""
    if _RUNNER.value and _WORKERS.value:
        raise InputError("--workers is for one machine without --runner; give one of them")
    if _RUNNER.value:
        return functools.partial(runners.beam, _RUNNER.value, options)
    if options:
        raise InputError(f"unknown arguments {list(options)}; --help lists the flags")
    return functools.partial(runners.processes, _WORKERS.value or _cores())


def _cores() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main(*options: str) -> None:
    """Prepares or exports the data, and prints a description of them."""
    # SIGTERM becomes an exception, so that half-written files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(cli.PREEMPTED_STATUS))
    data = _CONFIG.value.data
    settings, runner = Settings.from_config(data), _runner(options)
    if _EXPORT.value:
        lines = export(settings, _EXPORT.value, runner)
    else:
        lines = describe(prepared.prepare(settings, data.cache_dir, runner), data)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__, positional=True)
