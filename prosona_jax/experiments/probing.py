"""Asks a trained model for test sentences and measures whether it draws what they ask for."""

import pathlib
from collections.abc import Sequence

import ml_collections
import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation import probe
from prosona_jax.experiments import inputs, predictions, stages
from prosona_jax.experiments import sentences as prompts
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.runtime import workdir
from prosona_jax.text.degrees import Sentence
from prosona_jax.types import InputError, Params

RECORDS = 24  # images on which the sentences are drawn, spread over the split


def scores(
    folder: str | pathlib.Path, sentences: Sequence[Sentence], *, encoder: str | None = None
) -> list[probe.Score]:
    """Returns the scores of each category of sentences, drawn on the run's test split.

    Args:
        folder: the workdir of a run whose prompts are text.
        sentences: test sentences.
        encoder: folder or name of the text encoder, if it differs from the one in training.

    Raises:
        InputError: no run was trained there, it reads no text, or its data are missing.
    """
    folder = pathlib.Path(folder).expanduser()
    run = workdir.read(folder)
    config = ml_collections.ConfigDict(run.config)
    _, stage_one, second = stages.read_stages(folder, run)
    if run.prompts is None or second is None:
        raise InputError(f"{folder}: reads no text; name a workdir trained with 'text'")
    data = inputs.load_data(config, needed=("test",))
    reader = prompts.find_reader(folder, run.prompts, second, encoder)
    text, readings = prompts.read(
        [sentence.text for sentence in sentences],
        run=run,
        second=second,
        reader=reader,
    )
    confidence = [r.similarity if r.answerable is None else r.answerable for r in readings]
    indices = data.indices["test"]
    chosen = indices[np.unique(np.linspace(0, len(indices) - 1, RECORDS).round().astype(int))]
    area = _areas(config, stage_one, second, data, chosen, text)
    # The mean of log areas: a large nodule must not decide alone. 1 keeps empty masks finite.
    mean = np.log(area + 1).mean(axis=0)
    degree = np.array([np.nan if s.degree is None else s.degree for s in sentences])
    categories = [sentence.category for sentence in sentences]
    return probe.scores(categories, degree, mean, np.array(confidence, float))


def _areas(
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    indices: np.ndarray,
    text: Float[np.ndarray, "n e"],
) -> Float[np.ndarray, "r n"]:
    """Returns the area in pixels that each sentence draws on each record."""
    k, (n, e) = second.styles, text.shape
    sets = -(-n // k)
    # A set of prompts has one for each style; here they are any sentences, K at a time.
    padded = np.resize(text, (sets * k, e)).reshape(sets, k, e)
    asked = second._replace(text={"probe": np.moveaxis(padded, 0, 1)})
    found = []
    for batch, (drawn,) in predictions.predict_stage_two(
        config, stage_one, asked, data, indices, prompts_of=("probe",)
    ):
        pairs = np.asarray(drawn.overlaps.pairs)  # [b, p, k + r, k + r]
        areas = np.diagonal(pairs, axis1=2, axis2=3)[..., :k].reshape(len(pairs), -1)[:, :n]
        found.append(areas[np.asarray(batch.valid) > 0])
    return np.concatenate(found).astype(float)
