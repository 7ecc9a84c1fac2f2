r"""Compares methods on the same patients.

    python -m prosona_jax.compare --config=configs/lidc.py --workdir=runs/compare \
      --methods=prob_unet,dpersona,expert_id,prosona --seeds=0,1,2
    python -m prosona_jax.compare --config=configs/lidc.py --workdir=runs/compare --folds=0

Each kind of stage one is trained and scored once per fold and seed. The second stage of each method
is trained on the stage one that it needs. The test scores of all folds are pooled into one table.

A second call with the same flags continues the comparison. A call with other methods, seeds or
folds adds them to the workdir; its report covers only the methods, seeds and folds that its flags
name. Several processes may train different folds and seeds in one workdir at the same time. Several
machines may, too: copy their fold folders into one workdir afterwards. A call that names all folds
and seeds then writes the table.
"""

import pathlib
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from configs.methods import METHODS
from prosona_jax import cli
from prosona_jax.experiments import grid
from prosona_jax.runtime import parallel
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/lidc.py:crops64.", flag_values=_FLAGS
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the comparison.", required=True, flag_values=_FLAGS
)
_METHODS = flags.DEFINE_list(
    "methods", list(METHODS), "Names of methods in configs/methods.py.", flag_values=_FLAGS
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["0"], "Seeds; a record's scores are averaged over them.", flag_values=_FLAGS
)
_FOLDS = flags.DEFINE_list(
    "folds", None, "Test folds; all of config.data.folds if absent.", flag_values=_FLAGS
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "This is one of several processes, such as the hosts of a TPU slice.",
    flag_values=_FLAGS,
)
flags.mark_flag_as_required("config", _FLAGS)


def _numbers(flag: str, values: Sequence[str]) -> list[int]:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [-1]
    if any(number < 0 for number in numbers):
        raise InputError(f"--{flag}={','.join(values)}: give whole numbers from 0, e.g. 0,1,2")
    return numbers


def main() -> None:
    """Runs the comparison."""
    config, folder = _CONFIG.value, pathlib.Path(_WORKDIR.value).expanduser()
    if _DISTRIBUTED.value:
        parallel.join_processes()
    folds = None if _FOLDS.value is None else _numbers("folds", _FOLDS.value)
    seeds = _numbers("seeds", _SEEDS.value)
    grid.compare(config, folder, methods=_METHODS.value, seeds=seeds, folds=folds)


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
