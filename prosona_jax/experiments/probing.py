"""Asks a trained model for test sentences and measures whether it draws what they ask for."""

import csv
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import Float

from prosona_jax.evaluation import probe
from prosona_jax.experiments import inputs, predictions, prompt_sets, stages
from prosona_jax.experiments import sentences as prompts
from prosona_jax.experiments.build import Config
from prosona_jax.experiments.inputs import Data
from prosona_jax.experiments.predictions import StageTwo
from prosona_jax.report.language_summary import Asked, Language
from prosona_jax.runtime import workdir
from prosona_jax.runtime.workdir import Run
from prosona_jax.text import degrees
from prosona_jax.text.degrees import Sentence
from prosona_jax.types import InputError, Params

RECORDS = 24  # images on which the sentences are drawn, spread over the split
_RISING = 10  # sentences in the picture of rising degrees
_WORST = 5


class _Trained(NamedTuple):
    """A trained run with the data to draw on."""

    folder: pathlib.Path
    run: Run
    config: Config
    stage_one: Params
    second: StageTwo
    data: Data


class _Drawn(NamedTuple):
    """What one model makes of n sentences."""

    area: Float[np.ndarray, "r n"]  # pixels, of each record
    confidence: Float[np.ndarray, " n"]  # that a sentence can be answered
    readings: list[prompts.Reading]
    text: Float[np.ndarray, "n e"]


class Measured(NamedTuple):
    """What models make of n sentences."""

    log_area: Float[np.ndarray, " n"]  # mean over the records of log(pixels + 1)
    answerable: Float[np.ndarray, " n"]  # the models' mean confidence that it can be answered


def read(path: str, half: str) -> list[Sentence]:
    """Returns the test sentences of a folder, all ("both") or those of one half.

    Raises:
        InputError: a file is damaged, or there is no such sentence.
    """
    found = [s for s in degrees.read(prompt_sets.find(path)) if half in ("both", s.half)]
    if not found:
        raise InputError(f"{path}: no sentence is of the half {half!r}")
    return found


def measure(
    folders: Sequence[str], sentences: Sequence[Sentence], *, encoder: str | None = None
) -> Measured:
    """Draws sentences on the runs' test splits.

    Args:
        folders: workdirs of runs whose prompts are text, such as the folds of one method. Their
            records count together.
        sentences: test sentences.
        encoder: folder or name of the text encoder, if it differs from the one in training.

    Raises:
        InputError: no run was trained there, it reads no text, or its data are missing.
    """
    drawn = []
    for name in folders:
        folder = pathlib.Path(name).expanduser()
        run = workdir.read(folder)
        config = ml_collections.ConfigDict(run.config)
        _, stage_one, second = stages.read_stages(folder, run)
        if run.prompts is None or second is None:
            raise InputError(f"{folder}: reads no text; name a workdir trained with 'text'")
        data = inputs.load_data(config, needed=("test",))
        trained = _Trained(folder, run, config, stage_one, second, data)
        drawn.append(_draw(trained, inputs.spread(data.drawn("test"), RECORDS), sentences, encoder))
    return _measured(drawn)


def scores(sentences: Sequence[Sentence], measured: Measured) -> list[probe.Score]:
    """Returns the scores of each category of sentences."""
    categories = [sentence.category for sentence in sentences]
    return probe.scores(categories, _asked(sentences), measured.log_area, measured.answerable)


def write(path: str, sentences: Sequence[Sentence], measured: Measured) -> None:
    """Writes a CSV file with a line per sentence, in the order given.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(("category", "text", "degree", *Measured._fields))
            for sentence, *numbers in zip(sentences, *measured, strict=True):
                asked = "" if sentence.degree is None else f"{sentence.degree:g}"
                rounded = [f"{number:.6f}" for number in numbers]
                lines.writerow((sentence.category, sentence.text, asked, *rounded))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); choose another --output") from None


def of_run(
    folder: pathlib.Path,
    run: Run,
    config: Config,
    stage_one: Params,
    second: StageTwo,
    data: Data,
    shown: int,
) -> Language:
    """Returns the report's part about test sentences, for the half that is for tables.

    Args:
        folder: the workdir.
        run: its description.
        config: names the sentences in `prompts.probe`, and the split.
        stage_one: parameters.
        second: a second stage that reads text.
        data: the data set.
        shown: index of the record in the pictures.
    """
    sentences = read(config.prompts.probe, "report")
    indices = inputs.spread(data.drawn(config.data.split), RECORDS)
    trained = _Trained(folder, run, config, stage_one, second, data)
    drawn = _draw(trained, indices, sentences, None)
    asked, measured = _asked(sentences), _measured([drawn])
    can = np.array([n for n, s in enumerate(sentences) if s.category not in probe.UNANSWERABLE])
    # Ranks put areas and degrees on one scale, for any model.
    wrong = np.abs(
        np.argsort(np.argsort(measured.log_area[can])) - np.argsort(np.argsort(asked[can]))
    )
    worst = can[np.argsort(-wrong, kind="stable")[:_WORST]]
    plain = np.array([n for n in can if sentences[n].category == "plain"])
    rising: list[int] = []
    for step in np.linspace(-degrees.LIMIT, degrees.LIMIT, min(_RISING, len(plain))):
        rest = plain[~np.isin(plain, rising)]
        rising.append(int(rest[np.abs(asked[rest] - step).argmin()]))
    rising.sort(key=lambda n: asked[n])
    chosen = [*rising, *worst.tolist()]
    masks = _masks(trained, shown, drawn.text[chosen])
    pictured = [
        Asked(sentences[n].text, float(asked[n]), drawn.readings[n].understood, mask)
        for n, mask in zip(chosen, masks, strict=True)
    ]
    return Language(
        scores=scores(sentences, measured),
        records=len(indices),
        rising=pictured[: len(rising)],
        worst=pictured[len(rising) :],
    )


def _asked(sentences: Sequence[Sentence]) -> Float[np.ndarray, " n"]:
    return np.array([np.nan if s.degree is None else s.degree for s in sentences])


def _measured(drawn: Sequence[_Drawn]) -> Measured:
    area = np.concatenate([each.area for each in drawn])
    # The mean of logs: a large nodule must not decide alone. 1 keeps empty masks finite.
    log_area = np.log(area + 1).mean(axis=0)
    return Measured(log_area, np.mean([each.confidence for each in drawn], axis=0))


def _draw(
    trained: _Trained, indices: np.ndarray, sentences: Sequence[Sentence], encoder: str | None
) -> _Drawn:
    folder, run, config, stage_one, second, data = trained
    assert run.prompts is not None
    reader = prompts.find_reader(folder, run.prompts, second, encoder)
    text, readings = prompts.read(
        [sentence.text for sentence in sentences], run=run, second=second, reader=reader
    )
    confidence = [r.similarity if r.answerable is None else r.answerable for r in readings]
    found = []
    for batch, (drawn,) in predictions.predict_stage_two(
        config, stage_one, _asking(second, text), data, indices,
        prompts_of=("probe",), everywhere=True,
    ):  # fmt: skip
        pairs = np.asarray(drawn.overlaps.pairs)  # [b, p, k + r, k + r]
        areas = np.diagonal(pairs, axis1=2, axis2=3)[..., : second.styles]
        found.append(areas.reshape(len(pairs), -1)[np.asarray(batch.valid) > 0, : len(text)])
    return _Drawn(np.concatenate(found).astype(float), np.array(confidence, float), readings, text)


def _masks(
    trained: _Trained, index: int, text: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "n H W"]:
    """Returns the probabilities that sentences draw on one record."""
    _, _, config, stage_one, second, data = trained
    ((_, (drawn,)),) = predictions.predict_stage_two(
        config, stage_one, _asking(second, text), data, np.array([index]),
        prompts_of=("probe",), drawn=True,
    )  # fmt: skip
    probs = np.asarray(drawn.probs)[0]  # [p, k, H, W]
    return probs.reshape(-1, *probs.shape[2:])[: len(text)]


def _asking(second: StageTwo, text: Float[np.ndarray, "n e"]) -> StageTwo:
    """Returns the second stage with any sentences as prompts, K at a time; the last repeat."""
    k, (n, e) = second.styles, text.shape
    sets = -(-n // k)
    padded = np.resize(text, (sets * k, e)).reshape(sets, k, e)
    return second._replace(text={"probe": np.moveaxis(padded, 0, 1)})
