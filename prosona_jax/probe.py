r"""Measures how well a trained model understands a user's own words.

    python -m prosona_jax.probe --workdir=runs/lidc
    python -m prosona_jax.probe --workdir=runs/cmp/fold0-seed0/prosona \
      --workdir=runs/cmp/fold1-seed0/prosona
    python -m prosona_jax.probe --workdir=runs/lidc --half=choose --sentences=FOLDER \
      --output=probe.csv

Each test sentence (configs/prompts/probe) is drawn on records of each run's test split. The table
has, for each category, the rank correlation of drawn area and asked degree, the share of pairs of
sentences that are drawn in the right order, and for sentences that cannot be answered the AUROC of
recognising them. `--output` writes what each sentence drew.
"""  # fmt: skip

import sys

from absl import flags

from prosona_jax import cli
from prosona_jax.evaluation import probe
from prosona_jax.experiments import probing

_FLAGS = flags.FlagValues()
_WORKDIRS = flags.DEFINE_multi_string(
    "workdir", None, "Folder of the trained run; may be repeated, and the records count together.",
    required=True, flag_values=_FLAGS,
)  # fmt: skip
_SENTENCES = flags.DEFINE_string(
    "sentences", "configs/prompts/probe", "Folder of test sentences.", flag_values=_FLAGS
)
_HALF = flags.DEFINE_enum(
    "half", "report", ["report", "choose", "both"],
    "report: for a table; choose: to choose between models.", flag_values=_FLAGS,
)  # fmt: skip
_OUTPUT = flags.DEFINE_string(
    "output", None, "CSV file to write, with a line per sentence.", flag_values=_FLAGS
)
_ENCODER = flags.DEFINE_string(
    "encoder", None, "Folder of the text encoder, if it is not where training found it.",
    flag_values=_FLAGS,
)  # fmt: skip


def main() -> None:
    """Prints the table."""
    sentences = probing.read(_SENTENCES.value, _HALF.value)
    measured = probing.measure(_WORKDIRS.value, sentences, encoder=_ENCODER.value)
    if _OUTPUT.value:
        probing.write(_OUTPUT.value, sentences, measured)
    found = probing.scores(sentences, measured)
    sys.stdout.write("\n".join(probe.table(found)) + "\n")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
