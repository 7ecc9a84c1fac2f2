"""Draws one contour per sentence on one image, with a trained workdir and no data set.

    python -m prosona_jax.predict --workdir=runs/demo --image=crop.png --output=out \
      --prompt="hug the solid core" --prompt="leave a wide margin"

The folder gets the masks in the image's own format and geometry, `overlay.png` to look at, and
`prediction.json`, which says what was asked, with what, and how far to trust it.
"""  # fmt: skip

import json
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from data_pipelines import command, images, transforms
from data_pipelines.images.picture import Picture
from data_pipelines.transforms import Placement
from prosona_jax import answers, figures, overlay, provenance, texts
from prosona_jax.answers import Answer, Model
from prosona_jax.types import InputError

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the trained run.", required=True)
_IMAGE = flags.DEFINE_string("image", None, "PNG, JPEG, TIFF, npz, NIfTI or DICOM.", required=True)
_PROMPTS = flags.DEFINE_multi_string("prompt", [], "A sentence; give the flag once for each.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of what is written.", required=True)
_POINT = flags.DEFINE_list(
    "point", None, "row,col: the pixel to crop around, 0-based; default: the middle."
)
_SLICE = flags.DEFINE_integer("slice", None, "Which slice of a volume or set, 0-based.")
_ENCODER = flags.DEFINE_string(
    "encoder", None, "Folder of the text encoder, where it lies elsewhere than in training."
)
_AXIS = flags.DEFINE_integer(
    "axis", None, "0, 1 or 2: along which the slices of NIfTI are counted; default: across the "
    "finest pixels.",
)  # fmt: skip
_UNIT = flags.DEFINE_string(
    "unit", None, "HU, unit (0..1) or arbitrary, where the file does not say what its numbers are."
)
_SPACING = flags.DEFINE_list(
    "spacing", None, "row,col: size of a pixel in mm, where the file does not say."
)
_RANGE = flags.DEFINE_list(
    "range", None, "low,high: the stored values that become 0 and 1, where the file does not say."
)

_RECORD = "prediction.json"
_LEGEND_LENGTH = 400  # characters of a sentence
_LEFT_TO_RIGHT = "\N{LEFT-TO-RIGHT MARK}"

_LOG = logging.getLogger("prosona_jax.predict")


def run(
    folder: pathlib.Path,
    image: str,
    sentences: Sequence[str],
    output: str,
    *,
    point: tuple[float, float] | None = None,
    slice_index: int | None = None,
    axis: int | None = None,
    unit: str | None = None,
    spacing_mm: tuple[float, float] | None = None,
    value_range: tuple[float, float] | None = None,
    encoder: str | None = None,
) -> dict[str, Any]:
    """Predicts, writes all files or none, and returns what `prediction.json` holds.

    Args:
        folder: the workdir.
        image: path, see `data_pipelines.images`.
        sentences: prompts, one contour each.
        output: folder, made if absent; masks that it has of this slice are replaced.
        point: (row, column) to crop around, in pixels of the image; None is its middle.
        slice_index: which slice of the file; this and the next four as in `images.read`.
        axis: along which slices are counted.
        unit: of the image's numbers.
        spacing_mm: (row, column) size of a pixel.
        value_range: stored values that become 0 and 1.
        encoder: folder or name of the text encoder, where it is another than in training.

    Raises:
        InputError: no sentence or a blank one, or what workdir, image and output are at fault for.
    """
    sentences = _checked(sentences)
    picture = images.read(
        image,
        slice_index=slice_index,
        axis=axis,
        unit=unit,
        spacing_mm=spacing_mm,
        value_range=value_range,
    )
    model = answers.load_model(folder, encoder)
    if picture.image.shape[-1] != model.run.channels:
        raise InputError(
            f"{picture.path}: has {picture.image.shape[-1]} channels, and the model of {folder} "
            f"was trained on {model.run.channels}; convert the image, or name another workdir"
        )
    settings = answers.settings(model)
    crop, placement = images.to_model(picture, settings, point=point)
    drawn = answers.answer(model, crop, placement, sentences)
    caveats = answers.caveats(model, picture, placement, drawn)
    for caveat in caveats:
        _LOG.warning("%s", caveat)
    note = " ".join(answers.of_every_contour(model.run))
    masks = np.stack([each.mask for each in drawn])
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
        [_label(picture, each) for each in drawn],
        spacing_mm=picture.spacing_mm,
        crop=placement.limits(),
    )  # fmt: skip
    files["overlay.png"] = figures.png(figure, footnote=note)
    record = _record(model, picture, placement, drawn) | {
        "slice": slice_index,
        "value_range": None if value_range is None else list(value_range),
        "files": [*files, _RECORD],
        "caveats": caveats,
    }
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    # Bytes of a path that are no UTF-8 become escapes of JSON.
    files[_RECORD] = f"{text}\n".encode(errors="backslashreplace")
    earlier = _earlier(output, {name: record[name] for name in ("image", "slice", "axis")})
    for path in images.write(output, files, picture, earlier=earlier):
        _LOG.info("%s", path)
    return record


def _checked(sentences: Sequence[str]) -> list[str]:
    """Returns the sentences with single blanks, as the prompt file's are read."""
    if not sentences:
        raise InputError('no prompt: say what to draw, e.g. --prompt="hug the solid core"')
    sentences = [" ".join(sentence.split()) for sentence in sentences]
    for number, sentence in enumerate(sentences, start=1):
        if not texts.is_utf8(sentence):  # a shell passes on bytes of any encoding
            raise InputError(
                f"prompt {number}, {sentence!r}, is not valid UTF-8; set the terminal to UTF-8, or "
                "save the script that gives the prompt as UTF-8"
            )
        if not any(map(str.isprintable, sentence.replace(" ", ""))):
            raise InputError(f"prompt {number} is empty; say what to draw")
    return sentences


def _earlier(output: str, image: dict[str, Any]) -> list[str]:
    """Returns the files of the folder's last prediction, if it was of the same slice of the image.

    A damaged record lists nothing.
    """
    try:
        before = json.loads((pathlib.Path(output).expanduser() / _RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(before, dict) or any(before.get(name) != x for name, x in image.items()):
        return []
    files = before.get("files")
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []


def _area_mm2(picture: Picture, mask: np.ndarray) -> float | None:
    area = float(mask.sum() * np.prod(picture.spacing_mm, dtype=float))
    return None if np.isnan(area) else area


def _label(picture: Picture, answered: Answer) -> str:
    """Returns what the legend says: the sentence, which `prediction.json` has whole, and the area.

    Marks of direction keep the area together beside a sentence that runs from right to left.
    """
    sentence = texts.shorten(answered.prompt, _LEGEND_LENGTH)
    return f"{sentence} {_LEFT_TO_RIGHT}({_area(picture, answered)}){_LEFT_TO_RIGHT}"


def _area(picture: Picture, answered: Answer) -> str:
    area = _area_mm2(picture, answered.mask)
    if area is None:
        return f"{answered.mask.sum()} px"
    digits = np.format_float_positional(area, precision=3, fractional=False, trim="-")
    return f"{answered.mask.sum()} px, {digits} mm²"


def _record(
    model: Model,
    picture: Picture,
    placement: Placement,
    drawn: Sequence[Answer],
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
        "axis": picture.axis,  # along which slices are counted; None where there is none
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
            for each in drawn
        ],
    }


def _pair(flag: flags.FlagHolder, example: str) -> tuple[float, float] | None:
    """Returns the two numbers of a flag; InputError where there are not two."""
    if flag.value is None:
        return None
    try:
        first, second = map(float, flag.value)
    except ValueError:
        raise InputError(f"--{flag.name}={','.join(flag.value)}: give {example}") from None
    return first, second


def main(argv: Sequence[str]) -> None:
    """Runs the prediction; exits with 2 on input that the user can mend."""
    command.begin(argv)
    try:
        run(
            pathlib.Path(_WORKDIR.value).expanduser(),
            _IMAGE.value,
            _PROMPTS.value,
            _OUTPUT.value,
            point=_pair(_POINT, "row,col, such as 120,87"),
            slice_index=_SLICE.value,
            axis=_AXIS.value,
            unit=_UNIT.value,
            spacing_mm=_pair(_SPACING, "row,col in mm, such as 0.7,0.7"),
            value_range=_pair(_RANGE, "low,high, such as 0,4095"),
            encoder=_ENCODER.value,
        )
    except InputError as fault:
        command.stop(fault)


if __name__ == "__main__":
    app.run(main)
