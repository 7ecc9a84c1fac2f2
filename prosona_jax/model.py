"""What sentences draw on one image, and what must be known before believing it."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from data_pipelines import images, validation
from data_pipelines.images.picture import Picture
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax import unicode
from prosona_jax.experiments import build, predictions, stages, unseen
from prosona_jax.experiments.build import Config
from prosona_jax.runtime import workdir as workdirs
from prosona_jax.text import encoder as text_encoder
from prosona_jax.text import prompts
from prosona_jax.types import InputError

NOTE = "Research use only, no clinical evidence."
TRAINED_ON_SIMULATED = "Model trained on simulated CT."
_SLACK = 1e-4  # by which a similarity may differ between devices
_SAME = 1e-3  # by which a sentence's embedding may differ between devices and versions


class Model(NamedTuple):
    """Both stages of a workdir, and the encoder that reads their sentences."""

    folder: pathlib.Path
    run: workdirs.Run
    config: Config
    described: dict[str, Any]  # styles, their sentences, and the encoder, as in run.json
    stage_one: Any  # parameters
    stage_two: predictions.StageTwo
    steps: dict[str, int]  # the checkpoints'
    encoder: text_encoder.TextEncoder


class Answer(NamedTuple):
    """What one sentence draws, and how near it is to what the model was trained on."""

    prompt: str
    mask: np.ndarray  # u8 {0, 1} [H, W]
    nearest: str  # sentence in training
    style: str  # that sentence's
    similarity: float  # cosine
    far: bool  # farther from training than 95 % of held-out sentences
    cut: bool  # longer than the text encoder reads


def load_model(folder: pathlib.Path, encoder: str | None = None) -> Model:
    """Reads a workdir's best checkpoints and finds their text encoder.

    Args:
        folder: the workdir.
        encoder: where that encoder lies here; None takes the name that the run knew it by.

    Raises:
        InputError: no run, no trained second stage that reads text, or another encoder than its.
    """
    run = workdirs.read(folder)
    described = run.prompts
    if described is None:
        query = run.config["stage_two"]["query"]
        raise InputError(
            f"{folder}: was trained with config.stage_two.query = {query!r}, which reads no text; "
            "name a workdir trained with 'text'"
        )
    config = ml_collections.ConfigDict(run.config)
    shape = {"channels": run.channels, "raters": run.raters}
    place = stages.stage_one_folder(folder, run)
    one, encoded = stages.read_stage_one(config, place, **shape)
    two = stages.read_stage_two(config, folder / "stage_two", described, **shape)
    steps = {"stage_one": one, "stage_two": two.step}
    found = _encoder(folder, described, two, encoder)
    return Model(folder, run, config, described, jax.device_get(encoded), two, steps, found)


def settings(model: Model) -> Settings:
    """Returns how an image is brought to the model: as in training.

    Training images of unknown pixel size were not resampled, so no other is.
    """
    found = Settings.from_config(model.config.data)
    if model.run.native_spacing_mm is None:
        return dataclasses.replace(found, spacing_mm=0.0)
    return found


def _encoder(
    folder: pathlib.Path,
    described: dict[str, Any],
    second: predictions.StageTwo,
    place: str | None,
) -> text_encoder.TextEncoder:
    """Returns the encoder of the training sentences; InputError if the one found is another."""
    wanted = described["encoder"]
    encoder = text_encoder.load(place or wanted["name"])
    if (encoder.digest, encoder.dim) != (wanted["digest"], wanted["dim"]):
        raise InputError(
            f"{folder}: was trained with the text encoder {wanted['name']!r} of digest "
            f"{wanted['digest']} and {wanted['dim']} numbers, and the one found here has digest "
            f"{encoder.digest} and {encoder.dim}; install that one, name its folder as the "
            "encoder, or train again with this one"
        )
    # The digest is of the weights alone; tokenizer and pooling make an embedding, too.
    sentence = described["styles"][0]["train"][0]
    difference = np.abs(encoder.embed([sentence])[0] - second.text["train"][0, 0]).max()
    if difference > _SAME:
        raise InputError(
            f"{folder}: the text encoder {encoder.name!r} has the weights of the one it was "
            f"trained with, but reads {sentence!r} differently (by {difference:.1g}); install it "
            "with its own tokenizer and pooling"
        )
    return encoder


def answer(
    model: Model, image: np.ndarray, placement: Placement, sentences: Sequence[str]
) -> list[Answer]:
    """Returns what each sentence draws on the model's input f32 [size, size, C], in order.

    A mask is where the probability, read on the pixels of the image itself, exceeds 1/2.
    """
    text = model.encoder.embed(sentences)
    # On one device: a mesh has nothing to split here.
    parts = jax.device_get((model.stage_one, model.stage_two.params, text))
    root = jax.random.key(model.config.seed)
    probs = jax.jit(build.prompt_step(model.config))(parts, image[None], root)[0]
    masks = (images.from_model(np.asarray(probs), placement) > 0.5).astype(np.uint8)

    trained, held_out = (
        model.stage_two.text[split].reshape(-1, text.shape[1]) for split in ("train", "held_out")
    )
    least = prompts.least_familiar(held_out, trained)
    answers = []
    for sentence, mask, place, similarity in zip(
        sentences, masks, *prompts.nearest(text, trained), strict=True
    ):
        style, number = divmod(int(place), model.stage_two.text["train"].shape[1])
        known = model.described["styles"][style]  # its sentences repeat up to the longest list
        nearest = known["train"][number % len(known["train"])]
        far = bool(similarity < least - _SLACK)
        cut = model.encoder.count_tokens(sentence) > model.encoder.max_tokens
        answers.append(Answer(sentence, mask, nearest, known["name"], float(similarity), far, cut))
    return answers


def of_every_contour(run: workdirs.Run) -> list[str]:
    """Returns the caveats that each mask and picture of a run's model carries."""
    return [NOTE, TRAINED_ON_SIMULATED] if run.simulated else [NOTE]


def about_values(picture: Picture) -> list[str]:
    """Returns why an image's values are hardly of the unit that the file or the caller names."""
    seen = validation.Intensities.of(picture.image)
    remedy = {
        "HU": "give the image in HU, or name its unit (--unit, or in the file)",
        "unit": "name the raw values that become 0 and 1 by --range=LOW,HIGH",
    }
    doubt = validation.unit_doubt(seen, picture.intensity_unit)
    return [f"{doubt}; {remedy[picture.intensity_unit]}."] if doubt else []


def caveats(
    model: Model, picture: Picture, placement: Placement, answers: Sequence[Answer]
) -> list[str]:
    """Returns what a reader must know before believing a contour."""
    spacing = None if np.isnan(picture.spacing_mm).any() else [picture.spacing_mm.tolist()]
    said = [
        *of_every_contour(model.run),
        *stages.unfinished(model.folder, model.run),
        *about_values(picture),
        *unseen.about_unit(model.run, picture.intensity_unit),
        *unseen.about_pixels(model.run, spacing, resampled_mm=settings(model).spacing_mm),
        *picture.caveats,
    ]
    filled = placement.share_covered()
    if filled < 0.5:
        said.append(
            f"The image fills {filled:.0%} of what the model sees at once; the rest is taken for "
            "background."
        )
    for number, each in enumerate(answers, start=1):
        called = f"Prompt {number}, {unicode.shorten(each.prompt, 80)!r},"
        if each.cut:
            said.append(
                f"{called} was cut after {model.encoder.max_tokens} tokens, all that the text "
                "encoder reads."
            )
        if each.far:
            said.append(
                f"{called} is far from all that the model was trained on: its similarity to the "
                f"nearest sentence, {each.nearest!r}, is {each.similarity:.2f}."
            )
    return said
