r"""Checks a prompt file and says what is to know about its sentences, before any training.

    python -m prosona_jax.prompts configs/prompts/lidc.yaml \
      --degree_reader=configs/prompts/degree_reader.safetensors
    python -m prosona_jax.prompts FILE --raters=4

A broken file ends the program with status 2 and one line. Otherwise it lists near copies between
styles and between training and held-out sentences, words that the encoder does not know, sentences
that are too long, kinds of sentences that a style lacks, and how well the styles can be told from
each other by their sentences.
"""  # fmt: skip

import sys

from absl import flags

from prosona_jax import cli
from prosona_jax.experiments import prompt_check, prompt_sets
from prosona_jax.text import degree_reader, encoder, prompts
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()
_RATERS = flags.DEFINE_integer(
    "raters", None, "Masks of each image of the data; there must be as many styles.",
    flag_values=_FLAGS,
)  # fmt: skip
_ENCODER = flags.DEFINE_string(
    "encoder", encoder.DEFAULT, "Text encoder: a name on the hub, or a folder.", flag_values=_FLAGS
)
_DEGREE_READER = flags.DEFINE_string(
    "degree_reader", "", "File of a degree reader, if the config names one; \"\": none.",
    flag_values=_FLAGS,
)  # fmt: skip


def main(*paths: str) -> None:
    """Prints one line for each finding."""
    if len(paths) != 1:
        raise InputError("name one file: python -m prosona_jax.prompts FILE")
    written = prompt_sets.read(paths[0])
    if _RATERS.value is not None:
        prompts.check_count(written.styles, _RATERS.value, paths[0])
    network, reader = encoder.load(_ENCODER.value), None
    if _DEGREE_READER.value:
        reader = degree_reader.load(prompt_sets.find(_DEGREE_READER.value), network)
    for line in prompt_check.lines(prompts.distinct(written.styles), network, reader):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__, positional=True)
