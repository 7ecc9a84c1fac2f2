r"""Trains, evaluates and reports.

    python -m prosona_jax.main --config=configs/lidc.py:demo --workdir=runs/demo
    python -m prosona_jax.main --config=configs/lidc.py --workdir=runs/lidc \
      --config.data.source=dicom --config.data.path=/data/LIDC-IDRI
    python -m prosona_jax.main --mode=eval --config=configs/lidc.py --workdir=runs/lidc \
      --config.data.source=npz --config.data.path=OTHER.npz --config.data.split=all

A second call with the same flags continues the run. --config.FIELD=VALUE changes a field of the
config; configs/base.py lists all fields. The most important ones:

    --config.data.source, --config.data.path   the data: see docs/data.md for all sources
    --config.data.size, --config.data.spacing_mm   the model's input, in pixels and mm
    --config.data.fold, --config.data.split   the test fold, and the split that is scored
    --config.steps, --config.stage_two.steps   training steps of each stage
    --config.seed   the seed of all random draws
"""  # fmt: skip

import pathlib

from absl import flags
from ml_collections import config_flags

from prosona_jax import cli
from prosona_jax.experiments import runs
from prosona_jax.runtime import parallel
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/lidc.py:demo.", flag_values=_FLAGS
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run.", required=True, flag_values=_FLAGS
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "eval"],
    "train: train, evaluate, report. eval: score a trained run on the data that --config.data.* "
    "names; all other settings come from the workdir.",
    flag_values=_FLAGS,
)
_EXPORT_MASKS = flags.DEFINE_string(
    "export_masks",
    None,
    "With --mode=eval: a folder in which the scored masks are written, for prosona_jax.score.",
    flag_values=_FLAGS,
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "This is one of several processes, such as the hosts of a TPU slice.",
    flag_values=_FLAGS,
)
flags.mark_flag_as_required("config", _FLAGS)


def main() -> None:
    """Trains or evaluates, as --mode says."""
    if _DISTRIBUTED.value:
        parallel.join_processes()
    folder = pathlib.Path(_WORKDIR.value).expanduser()
    if _MODE.value == "train":
        if _EXPORT_MASKS.value is not None:
            raise InputError(
                "--export_masks needs --mode=eval: train first, then score the workdir with both"
            )
        runs.train(_CONFIG.value, folder)
    else:
        overrides = config_flags.get_override_values(_FLAGS["config"])
        runs.evaluate(folder, overrides, export_masks=_EXPORT_MASKS.value)


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
