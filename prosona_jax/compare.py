"""Compares methods on the same patients: ``python -m prosona_jax.compare --config=CONFIG ...``.

Each stage one is trained and scored once per fold and seed, each method's second stage on the one
it needs, and out-of-fold scores are pooled into one table. Run again with the same flags, it goes
on where it was. More methods, seeds or folds join those that are there; the report is of what the
flags name. Folds and seeds may be trained side by side, by several processes in one workdir, or on
several machines whose fold folders are then copied into one; a call that names all of them writes
the table.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from configs.methods import METHODS
from prosona_jax import cli
from prosona_jax.experiments import grid
from prosona_jax.runtime import parallel
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
    cli.begin(argv)
    config, folder = _CONFIG.value, pathlib.Path(_WORKDIR.value).expanduser()
    with cli.ending():
        if _DISTRIBUTED.value:
            parallel.join_processes()
        folds = list(range(max(config.data.folds, 1)))
        if _FOLDS.value is not None:
            folds = _numbers("folds", _FOLDS.value)
        seeds = _numbers("seeds", _SEEDS.value)
        grid.compare(config, folder, _METHODS.value, seeds, folds)


if __name__ == "__main__":
    app.run(main, flags_parser=cli.parse_flags)
