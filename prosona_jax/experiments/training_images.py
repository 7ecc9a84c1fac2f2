"""Measures how a run's training images appear to its stage one, and keeps it in the stage's folder.

An image of a prediction is compared with it, see `evaluation/in_distribution.py`.
"""

import json
import pathlib
from typing import Any

import jax
import numpy as np

from prosona_jax import checksum, files
from prosona_jax.evaluation.in_distribution import InDistribution
from prosona_jax.experiments import inputs, predictions
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.types import InputError, Params, first_line

FILE = "in_distribution.json"
_MEASURED = 500  # records of a split that are measured; more change little


def measure(config: Config, params: Params, data: Data) -> InDistribution:
    """Measures at most 500 training and 500 validation images, spread over each split.

    Args:
        config: of the run.
        params: the parameters of its stage one.
        data: its data.
    """
    return InDistribution.of(
        *(
            predictions.appearances(
                config, params, data, inputs.spread(data.drawn(split), _MEASURED)
            )
            for split in ("train", "validation")
        )
    )


def is_kept(folder: pathlib.Path) -> bool:
    """Returns whether a folder of stage one holds what was measured."""
    return (folder / FILE).exists()


def keep(folder: pathlib.Path, found: InDistribution) -> None:
    """Writes what was measured into a folder of stage one, completely or not at all."""
    if jax.process_index() == 0:
        files.write_whole(folder / FILE, encode(found))


def read(folder: pathlib.Path) -> InDistribution | None:
    """Returns what was measured; None if the stage was trained by a version that measured nothing.

    Raises:
        InputError: the file is damaged or edited.
    """
    path = folder / FILE
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be used ({first_line(error)}); restore it from a copy, or remove it "
            "and start the training again, which measures it anew"
        ) from None


def encode(found: InDistribution) -> bytes:
    """Returns what was measured as JSON with a checksum."""
    content: dict[str, Any] = {
        name: np.asarray(value, np.float32).tolist() for name, value in found._asdict().items()
    }
    return f"{json.dumps(checksum.seal(content))}\n".encode()


def decode(content: bytes) -> InDistribution:
    """Returns what `encode` wrote; ValueError, KeyError or TypeError if damaged."""
    fields = checksum.unseal(json.loads(content))
    return InDistribution(
        mean=np.asarray(fields["mean"]),
        precision=np.asarray(fields["precision"]),
        distance_limit=fields["distance_limit"],
        disagreement_limit=fields["disagreement_limit"],
    )
