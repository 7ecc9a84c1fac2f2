"""Scores any model's masks against several raters' and prints one JSON object.

    python -m prosona_jax.score MASKS.npz

MASKS.npz holds `labels` {0, 1} [N, R, H, W] and `probs` 0..1 [N, S, H, W] and may hold `patient_id`
[N], `rater_valid` bool [N, R] and `spacing_mm` [N, 2], as an npz data set does. Every score has a
95 % interval by bootstrap over patients; without `patient_id` each record counts as a patient.
`dice_style` compares sample k with rater k in the stored order; this program sorts neither. With
`spacing_mm`, distances and the normalised surface Dice of these pairs are scored in mm, too.
"""

import json
import logging
import pathlib
import sys

import numpy as np
from absl import flags

from data_pipelines import npz
from prosona_jax import cli
from prosona_jax.evaluation import masks
from prosona_jax.types import InputError

_FLAGS = flags.FlagValues()

_TOLERANCE = flags.DEFINE_float(
    "tolerance_mm", 1.0, "Tolerance of the normalised surface Dice.", flag_values=_FLAGS
)

_LOG = logging.getLogger("prosona_jax.score")


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of MASKS.npz; InputError on an unreadable file or an absent key."""
    stored = npz.read(path, masks.Masks._fields)
    for key, axes in {"labels": "N, R, H, W", "probs": "N, S, H, W"}.items():
        if key not in stored:
            hint = ""
            if key == "labels" and npz.read(path, ("masks",)):
                hint = (
                    " (its 'masks' come from a data set or a prediction: store the raters' masks "
                    "as 'labels' and the model's as 'probs')"
                )
            raise InputError(f"{path}: has no {key!r}; add it as [{axes}]{hint}")
    if "patient_id" in stored:
        stored["patient_id"] = npz.texts(path, "patient_id", stored["patient_id"])
    return stored


def main(*paths: str) -> None:
    """Prints the scores of one file."""
    if len(paths) != 1:
        raise InputError("name one file: python -m prosona_jax.score MASKS.npz")
    path = pathlib.Path(paths[0])
    arrays = read(path)
    if "patient_id" not in arrays:
        _LOG.warning("%s has no patient_id: the bootstrap resamples records, not patients", path)
    result = masks.score(**arrays, tolerance_mm=_TOLERANCE.value, where=str(path))
    sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    cli.launch(main, _FLAGS, manual=__doc__, positional=True)
