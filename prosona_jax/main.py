"""Trains, evaluates and reports: ``python -m prosona_jax.main --config=... --workdir=...``.

Flags in, files out. Run again with the same flags, it goes on where it was.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from prosona_jax import cli
from prosona_jax.experiments import runs
from prosona_jax.runtime import parallel

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


def main(argv: Sequence[str]) -> None:
    """Runs the mode; exits with 2 on bad input, 3 on divergence, 143 after SIGTERM."""
    cli.begin(argv)
    folder = pathlib.Path(_WORKDIR.value).expanduser()
    with cli.ending():
        if _DISTRIBUTED.value:
            parallel.join_processes()
        if _MODE.value == "train":
            runs.train(_CONFIG.value, folder)
        else:
            overrides = config_flags.get_override_values(flags.FLAGS["config"])
            runs.score(folder, overrides)


if __name__ == "__main__":
    app.run(main, flags_parser=cli.parse_flags)
