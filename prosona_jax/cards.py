r"""Measures how each rater outlines, and writes a card with sentences for each of them.

    python -m prosona_jax.cards --config=configs/cells.py --output=cards.yaml \
      --config.data.path=$DATA/cells_10_raters.npz

The habits are measured on the training records of the config's fold. The file is a prompt file:
read it, edit its sentences, check it with prosona_jax.prompts and train with it:

    python -m prosona_jax.main --config=configs/cells.py --workdir=runs/cells \
      --config.prompts.path=cards.yaml --config.stage_two.query=habits ...

With --config.prompts.path=measured a run does all this by itself.
"""  # fmt: skip

import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from prosona_jax import cli
from prosona_jax.experiments import cards, inputs, limits
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file and variant, e.g. configs/cells.py.", flag_values=_FLAGS
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "The file to write; it must not exist.", required=True, flag_values=_FLAGS
)
flags.mark_flag_as_required("config", _FLAGS)


def main() -> None:
    """Measures and writes; prints what is to know about the habits."""
    config, path = _CONFIG.value, pathlib.Path(_OUTPUT.value).expanduser()
    if path.exists():
        raise InputError(f"{path}: exists; name another file, or delete it")
    limits.check(config)
    measured = cards.measure(config, inputs.load_data(config, needed=("train",)))
    cards.write(path, measured)
    for line in (*measured.facts(), *measured.caveats()):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
