"""Draws one contour per sentence on one image, with a trained workdir and no data set.

    python -m prosona_jax.predict --workdir=runs/demo --image=crop.png --output=out \
      --prompt="hug the solid core" --prompt="leave a wide margin"

The folder gets the masks in the image's own format and geometry, `overlay.png` to look at, and
`prediction.json`, which says what was asked, with what, and how far to trust it.
"""  # fmt: skip

import json
import logging
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import app, flags
from absl import logging as absl_logging

from data_pipelines import command, images, transforms
from data_pipelines.images.picture import Picture
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax import (
    build,
    experiment,
    figures,
    overlay,
    predictions,
    prompts,
    provenance,
    text_encoder,
)
from prosona_jax import workdir as workdirs
from prosona_jax.inputs import Config
from prosona_jax.types import InputError

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the trained run.", required=True)
_IMAGE = flags.DEFINE_string("image", None, "PNG, npz, NIfTI or DICOM.", required=True)
_PROMPTS = flags.DEFINE_multi_string("prompt", [], "A sentence; give the flag once for each.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of what is written.", required=True)
_POINT = flags.DEFINE_list(
    "point", None, "row,col: the pixel to crop around, 0-based; default: the middle."
)
_SLICE = flags.DEFINE_integer("slice", None, "Which slice of a volume or set, 0-based.")
_UNIT = flags.DEFINE_string(
    "unit", None, "HU, unit (0..1) or arbitrary, where the file does not say what its numbers are."
)

NOTE = "Research use only, no clinical evidence."
SIMULATED = "Model trained on simulated CT."
_SLACK = 1e-4  # by which a similarity may differ between devices
_SPACING_SLACK = 0.1  # relative, beyond the training images' pixels
_UNITS = {"HU": "in HU", "unit": "from 0 to 1", "arbitrary": "of an arbitrary unit"}

_LOG = logging.getLogger("prosona_jax.predict")


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
    far: bool  # farther from training than each held-out sentence
    cut: bool  # longer than the text encoder reads


def load_model(folder: pathlib.Path) -> Model:
    """Reads a workdir's best checkpoints and finds their text encoder.

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
    one, frozen = experiment.read_stage_one(config, folder / "stage_one", **shape)
    two = experiment.read_stage_two(config, folder / "stage_two", described, **shape)
    wanted = described["encoder"]
    encoder = text_encoder.load(wanted["name"])
    if (encoder.digest, encoder.dim) != (wanted["digest"], wanted["dim"]):
        raise InputError(
            f"{folder}: was trained with the text encoder {wanted['name']!r} of digest "
            f"{wanted['digest']} and {wanted['dim']} numbers, and the one found here has digest "
            f"{encoder.digest} and {encoder.dim}; install that one, or train again with this one"
        )
    steps = {"stage_one": one, "stage_two": two.step}
    return Model(folder, run, config, described, jax.device_get(frozen), two, steps, encoder)


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


def run(
    folder: pathlib.Path,
    image: str,
    sentences: Sequence[str],
    output: str,
    *,
    point: tuple[float, float] | None = None,
    slice_index: int | None = None,
    unit: str | None = None,
) -> dict[str, Any]:
    """Predicts, writes all files or none, and returns what `prediction.json` holds.

    Args:
        folder: the workdir.
        image: path, see `data_pipelines.images`.
        sentences: prompts, one contour each.
        output: folder, made if absent.
        point: (row, column) to crop around, in pixels of the image; None is its middle.
        slice_index: which slice of the file.
        unit: of the image's numbers, where the file does not say.

    Raises:
        InputError: no sentence or a blank one, or what workdir, image and output are at fault for.
    """
    sentences = _checked(sentences)
    picture = images.read(image, slice_index=slice_index, unit=unit)
    model = load_model(folder)
    if picture.image.shape[-1] != model.run.channels:
        raise InputError(
            f"{picture.path}: has {picture.image.shape[-1]} channels, and the model of {folder} "
            f"was trained on {model.run.channels}; convert the image, or name another workdir"
        )
    settings = Settings.from_config(model.config.data)
    crop, placement = images.to_model(picture, settings, point=point)
    answers = answer(model, crop, placement, sentences)
    caveats = _caveats(model, picture, placement, answers)
    for caveat in caveats:
        _LOG.warning("%s", caveat)
    note = " ".join([NOTE, SIMULATED] if model.run.simulated else [NOTE])
    masks = np.stack([each.mask for each in answers])
    files = images.encode_masks(
        pathlib.Path(picture.path.name.removesuffix(".gz")).stem,
        masks,
        picture,
        names=sentences,
        # The caveat first: a format that keeps little of the note keeps its start.
        notes=[f"{note} Prompt: {sentence}" for sentence in sentences],
    )
    figure = overlay.draw(
        transforms.scale(
            picture.image, picture.intensity_unit, settings, where=str(picture.path)
        )[..., 0],
        masks,
        [f"{each.prompt} ({_area(picture, each)})" for each in answers],
        spacing_mm=picture.spacing_mm,
        crop=placement.limits(),
    )  # fmt: skip
    files["overlay.png"] = figures.png(figure, footnote=note)
    record = _record(model, picture, placement, slice_index, answers) | {
        "files": [*files, "prediction.json"],
        "caveats": caveats,
    }
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    files["prediction.json"] = f"{text}\n".encode()
    for path in images.write(output, files, picture):
        _LOG.info("%s", path)
    return record


def _checked(sentences: Sequence[str]) -> list[str]:
    """Returns the sentences with single blanks, as the prompt file's are read."""
    if not sentences:
        raise InputError('no prompt: say what to draw, e.g. --prompt="hug the solid core"')
    sentences = [" ".join(sentence.split()) for sentence in sentences]
    if "" in sentences:
        raise InputError(f"prompt {sentences.index('') + 1} is empty; say what to draw")
    return sentences


def _caveats(
    model: Model, picture: Picture, placement: Placement, answers: Sequence[Answer]
) -> list[str]:
    """Returns what a reader must know before believing a contour."""
    caveats = [NOTE, *([SIMULATED] if model.run.simulated else [])]
    if picture.intensity_unit != model.run.intensity_unit:
        caveats.append(
            f"The image's numbers are {_UNITS[picture.intensity_unit]}, and the model was trained "
            f"on ones {_UNITS[model.run.intensity_unit]}: contrast may be new to it."
        )
    caveats += _about_pixels(model, picture)
    filled = placement.share_covered()
    if filled < 0.5:
        caveats.append(
            f"The image fills {filled:.0%} of what the model sees at once; the rest is taken for "
            "background."
        )
    for number, each in enumerate(answers, start=1):
        called = f"Prompt {number}, {textwrap.shorten(each.prompt, 80, placeholder=' ...')!r},"
        if each.cut:
            caveats.append(
                f"{called} was cut after {model.encoder.max_tokens} tokens, all that the text "
                "encoder reads."
            )
        if each.far:
            caveats.append(
                f"{called} is far from all that the model was trained on: its similarity to the "
                f"nearest sentence, {each.nearest!r}, is {each.similarity:.2f}."
            )
    return caveats


def _about_pixels(model: Model, picture: Picture) -> list[str]:
    """Returns the caveat about the size of the image's pixels, if there is one."""
    size, native = model.config.data.spacing_mm, model.run.native_spacing_mm
    unknown = np.isnan(picture.spacing_mm).any()
    if size and unknown:
        return [
            f"The file does not say how large a pixel is: it is taken for the model's, {size:g} mm."
        ]
    if size or native is None:
        return []
    low, high = np.min(native), np.max(native)
    seen = f"the model, which resamples nothing, was trained on pixels of {low:g} to {high:g} mm"
    if unknown:
        return [f"The file does not say how large a pixel is, and {seen}."]
    row, column = picture.spacing_mm
    if min(row, column) < low * (1 - _SPACING_SLACK) or max(row, column) > high * (
        1 + _SPACING_SLACK
    ):
        return [f"A pixel of the image is {row:.3g} x {column:.3g} mm, and {seen}."]
    return []


def _area_mm2(picture: Picture, mask: np.ndarray) -> float | None:
    area = float(mask.sum() * np.prod(picture.spacing_mm, dtype=float))
    return None if np.isnan(area) else area


def _area(picture: Picture, answered: Answer) -> str:
    area = _area_mm2(picture, answered.mask)
    return f"{answered.mask.sum()} px" + (f", {area:.1f} mm²" if area is not None else "")


def _record(
    model: Model,
    picture: Picture,
    placement: Placement,
    slice_index: int | None,
    answers: Sequence[Answer],
) -> dict[str, Any]:
    """Returns what was asked, with what, and what came of it, ready for JSON."""
    known = not np.isnan(picture.spacing_mm).any()
    middle = placement.start + np.array(placement.shape) // 2 * placement.step
    return provenance.describe() | {
        "workdir": str(model.folder),
        "checkpoint_steps": model.steps,
        "training_data_sha256": model.run.data_digest,
        "simulated_training_data": model.run.simulated,
        "encoder": model.described["encoder"],
        "image": str(picture.path),
        "slice": slice_index,
        "point": middle.round(6).tolist(),  # (row, column) in the middle of the crop
        "spacing_mm": picture.spacing_mm.astype(float).round(6).tolist() if known else None,
        "intensity_unit": picture.intensity_unit,
        "prompts": [
            {
                "prompt": each.prompt,
                "area_px": int(each.mask.sum()),
                "area_mm2": _area_mm2(picture, each.mask),
                "nearest": {
                    "prompt": each.nearest,
                    "style": each.style,
                    "similarity": round(each.similarity, 4),
                },
                "far": each.far,
                "cut": each.cut,
            }
            for each in answers
        ],
    }


def _point(values: Sequence[str] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    try:
        row, column = map(float, values)
    except ValueError:
        raise InputError(f"--point={','.join(values)}: give row,col, such as 120,87") from None
    return row, column


def main(argv: Sequence[str]) -> None:
    """Runs the prediction; exits with 2 on input that the user can mend."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax tells of every file
    logging.getLogger("prosona_jax").setLevel(logging.INFO)
    try:
        run(
            pathlib.Path(_WORKDIR.value),
            _IMAGE.value,
            _PROMPTS.value,
            _OUTPUT.value,
            point=_point(_POINT.value),
            slice_index=_SLICE.value,
            unit=_UNIT.value,
        )
    except InputError as fault:
        command.stop(fault)


if __name__ == "__main__":
    app.run(main)
