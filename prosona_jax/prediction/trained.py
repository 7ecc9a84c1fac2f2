"""What training leaves for prediction, as it is read from a workdir."""

import pathlib
from typing import NamedTuple

from prosona_jax.evaluation.in_distribution import InDistribution
from prosona_jax.experiments import stages, training_images
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.prediction import caveats
from prosona_jax.runtime import workdir
from prosona_jax.types import Params


class Trained(NamedTuple):
    """A trained model: everything that prediction needs."""

    run: workdir.Run
    step: int  # of stage one's best checkpoint
    stage_one: Params
    second: StageTwo | None  # None: only stage one was trained
    unfinished: list[str]  # a caveat for each stage that was not trained to its last step
    in_distribution: InDistribution | None = None  # the training images; None: not measured

    def caveats(self) -> list[str]:
        """Returns what a user must know about every contour of the model."""
        return [*caveats.of_every_contour(self.run), *self.unfinished]

    def steps(self) -> dict[str, int]:
        """Returns the steps of the best checkpoints by stage."""
        return {"stage_one": self.step} | ({"stage_two": self.second.step} if self.second else {})


def read(folder: pathlib.Path) -> Trained:
    """Returns the best checkpoints of a workdir.

    Raises:
        InputError: no run was trained there, or a file is missing or damaged.
    """
    run = workdir.read(folder)
    step, stage_one, second = stages.read_stages(folder, run)
    measured = training_images.read(stages.stage_one_folder(folder, run))
    return Trained(run, step, stage_one, second, stages.unfinished(folder, run), measured)
