r"""Trains a degree reader: it reads from a sentence how generous the outline shall be.

    python -m prosona_jax.train_reader --output=reader.safetensors
    python -m prosona_jax.train_reader --output=reader.safetensors --encoder=FOLDER \
      --degrees=FOLDER --prompts=FILE

It needs no image. `--degrees` is a folder of sentences with degrees (YAML) and a grammar.yaml, and
the styles of `--prompts` may have a degree too. The reader averages `--members` networks (2), which
differ in their seeds: with `--seed=s`, the m members have the seeds s m to s m + m - 1. Afterwards
the reader is scored on the half of the probe that chooses between readers (configs/prompts/probe).
A config names the file in `prompts.degree_reader`.
"""  # fmt: skip

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from prosona_jax import cli, files
from prosona_jax.evaluation import probe
from prosona_jax.experiments import prompt_sets
from prosona_jax.text import degree_reader, degrees, encoder, grammar
from prosona_jax.training import degrees as training

_SENTENCES_PER_CATEGORY = 1000  # of the grammar
_SHARES = {"authors": 1.0, "grammar": 0.5, "styles": 0.3}  # of the batches, relative

_FLAGS = flags.FlagValues()
_OUTPUT = flags.DEFINE_string(
    "output", None, "File to write (safetensors).", required=True, flag_values=_FLAGS
)
_ENCODER = flags.DEFINE_string(
    "encoder", encoder.DEFAULT, "Text encoder: a name on the hub, or a folder.", flag_values=_FLAGS
)
_DEGREES = flags.DEFINE_string(
    "degrees", "configs/prompts/degrees", "Folder of sentences with degrees.", flag_values=_FLAGS
)
_PROMPTS = flags.DEFINE_string(
    "prompts", "configs/prompts/lidc.yaml", "Prompt file whose styles have degrees.",
    flag_values=_FLAGS,
)  # fmt: skip
_PROBE = flags.DEFINE_string(
    "probe", "configs/prompts/probe", "Folder of test sentences.", flag_values=_FLAGS
)
_STEPS = flags.DEFINE_integer(
    "steps", training.Settings().steps, "Optimiser updates.", flag_values=_FLAGS
)
_MEMBERS = flags.DEFINE_integer(
    "members", 2, "Networks whose answers are averaged.", lower_bound=1, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer("seed", 0, "Of all draws.", lower_bound=0, flag_values=_FLAGS)

_LOG = logging.getLogger("prosona_jax.train_reader")


def main() -> None:
    """Trains, writes the file, and prints the scores."""
    output = files.check(_OUTPUT.value)  # checked first, since training takes minutes
    read = encoder.load(_ENCODER.value)
    folder = prompt_sets.find(_DEGREES.value)
    authors, words = degrees.read(folder), degrees.read_yaml(folder / "grammar.yaml")
    own = [
        degrees.Sentence(sentence, style.degree, "style", style.name)
        for style in prompt_sets.read(_PROMPTS.value).styles
        if style.degree is not None
        for sentence in style.train
    ]
    members = [
        _train(read, {"authors": authors, "styles": own}, words, _SEED.value * _MEMBERS.value + n)
        for n in range(_MEMBERS.value)
    ]
    reader = degree_reader.DegreeReader(read, training.Settings().rank, np.stack(members))
    degree_reader.save(output, reader)
    chosen = [s for s in degrees.read(prompt_sets.find(_PROBE.value)) if s.half == "choose"]
    found = reader.read([s.text for s in chosen])
    asked = np.array([np.nan if s.degree is None else s.degree for s in chosen])
    scores = probe.scores([s.category for s in chosen], asked, found.degree, found.answerable)
    sys.stdout.write("\n".join(probe.table(scores)) + "\n")


def _train(
    read: encoder.TextEncoder,
    groups: Mapping[str, Sequence[degrees.Sentence]],
    words: dict[str, list[Any]],
    seed: int,
) -> np.ndarray:
    """Returns a member, trained on the groups and on the sentences of its own grammar."""
    written = grammar.Grammar(words, groups["authors"], seed).write(_SENTENCES_PER_CATEGORY)
    groups = {**groups, "grammar": written}
    sizes = ", ".join(f"{len(group)} of {name}" for name, group in groups.items())
    _LOG.info("member of seed %d: %s", seed, sizes)
    return training.fit(
        read,
        [(_SHARES[name], group) for name, group in groups.items() if group],
        training.Settings(steps=_STEPS.value, seed=seed),
        log=lambda step, loss: _LOG.info("step %d: loss %.3f", step, loss),
    )


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__)
