"""Loads a model from a trained workdir."""

import pathlib

from prosona_jax.experiments import stages
from prosona_jax.prediction.model import Model
from prosona_jax.runtime import workdir


def load(folder: str | pathlib.Path, *, encoder: str | None = None) -> Model:
    """Reads the best checkpoints of a workdir.

        >>> import prosona_jax as pj
        >>> model = pj.load("runs/demo")  # doctest: +SKIP

    Args:
        folder: the workdir of a run, or of one method of a comparison.
        encoder: folder or name of the text encoder, if it has moved since the training.

    Raises:
        InputError: no run was trained there, or a checkpoint is missing or damaged.
    """
    folder = pathlib.Path(folder).expanduser()
    run = workdir.read(folder)
    one, params, second = stages.read_stages(folder, run)
    steps = {"stage_one": one} | ({"stage_two": second.step} if second else {})
    return Model(folder, run, params, second, steps=steps, encoder=encoder)
