"""The files of a prediction: masks in the image's own format, a picture, and a record of both."""

import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines import images
from data_pipelines.images import output
from data_pipelines.images.picture import Picture
from prosona_jax import unicode
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.report import figures, overlay
from prosona_jax.runtime import provenance
from prosona_jax.types import InputError

_RECORD = "prediction.json"
_LEGEND_LENGTH = 400  # clusters of a sentence that the legend has room for
_LEFT_TO_RIGHT = "\u200e"

_LOG = logging.getLogger("prosona_jax.predict")


def save(
    segmentations: Segmentation | Sequence[Segmentation],
    image: Picture,
    folder: str | os.PathLike[str],
    *,
    probability: bool = False,
) -> dict[str, Any]:
    """Writes masks, `overlay.png` and `prediction.json`, all files or none.

        >>> pj.save(model.segment(image, ["hug the core"]), image, "out/")  # doctest: +SKIP

    Args:
        segmentations: contours on the image, one or several.
        image: what they were drawn on.
        folder: made if absent; files of an earlier prediction on the same image that are not
            written again are removed.
        probability: also write their probabilities, as one npz file: `probability` f32 [K, H, W]
            and `names`.

    Returns:
        What `prediction.json` holds; "files" names all that was written.

    Raises:
        InputError: there is no contour, the folder cannot be written to, or a file would replace
            the image.
    """
    drawn = [segmentations] if isinstance(segmentations, Segmentation) else list(segmentations)
    if not drawn:
        raise InputError(f"{image.path}: there is no contour to save; draw one first")
    stem = images.stem(image)
    masks = np.stack([each.mask for each in drawn])
    names = [each.prompt for each in drawn]
    note = drawn[0].note
    # The caveat first: a format that keeps little of the note keeps its start.
    notes = [f"{note} Prompt: {name}" for name in names]
    files = images.encode_masks(stem, masks, image, names=names, notes=notes)
    if probability:
        files |= images.encode_probabilities(
            stem, np.stack([each.probability for each in drawn]), names
        )
    figure = overlay.draw(
        drawn[0].shown,
        masks,
        [_label(each) for each in drawn],
        spacing_mm=image.spacing_mm,
        crop=drawn[0].crop.limits(),
    )
    files["overlay.png"] = figures.png(figure, footnote=note)
    record = _record(image, drawn) | {"files": [*files, _RECORD]}
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False)
    # Bytes of a path that are no UTF-8 become escapes of JSON.
    files[_RECORD] = f"{text}\n".encode(errors="backslashreplace")
    earlier = _earlier(folder, {name: record[name] for name in ("image", "slice", "axis")})
    for path in output.write(folder, files, image, earlier=earlier):
        _LOG.info("%s", path)
    return record


def _earlier(folder: str | os.PathLike[str], image: dict[str, Any]) -> list[str]:
    """Returns the files of the folder's last prediction, if it was of the same slice of the image.

    A damaged record lists nothing.
    """
    try:
        before = json.loads((pathlib.Path(folder).expanduser() / _RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(before, dict) or any(before.get(name) != x for name, x in image.items()):
        return []
    files = before.get("files")
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []


def _label(drawn: Segmentation) -> str:
    """Returns what the legend says: the sentence, which `prediction.json` has whole, and the area.

    Marks of direction keep the area together beside a sentence that runs from right to left.
    """
    sentence = unicode.shorten(drawn.prompt, _LEGEND_LENGTH)
    return f"{sentence} {_LEFT_TO_RIGHT}({_area(drawn)}){_LEFT_TO_RIGHT}"


def _area(drawn: Segmentation) -> str:
    pixels = f"{drawn.mask.sum()} px"
    if drawn.area_mm2 is None:
        return pixels
    digits = np.format_float_positional(drawn.area_mm2, precision=3, fractional=False, trim="-")
    return f"{pixels}, {digits} mm²"


def _record(image: Picture, drawn: Sequence[Segmentation]) -> dict[str, Any]:
    """Returns what was asked, with what, and what came of it, ready for JSON."""
    known = not np.isnan(image.spacing_mm).any()
    crop = drawn[0].crop
    middle = crop.start + np.array(crop.shape) // 2 * crop.step
    return (
        provenance.describe()
        | drawn[0].source
        | {
            "image": str(image.path),
            "slice": image.slice_index,
            "axis": image.axis,  # along which slices are counted; None where there is none
            "value_range": image.value_range and list(image.value_range),
            "point": middle.round(6).tolist(),  # (row, column) in the middle of the crop
            "spacing_mm": image.spacing_mm.astype(float).round(6).tolist() if known else None,
            "intensity_unit": image.intensity_unit,
            "prompts": [_answer(each) for each in drawn],
            "caveats": list(dict.fromkeys(caveat for each in drawn for caveat in each.caveats)),
        }
    )


def _answer(drawn: Segmentation) -> dict[str, Any]:
    answer = {
        "prompt": drawn.prompt,
        "area_px": int(drawn.mask.sum()),
        "area_mm2": drawn.area_mm2,
    }
    if drawn.reading is None:
        return answer
    reading = drawn.reading
    return answer | {
        "nearest": {
            "prompt": reading.nearest,
            "style": reading.style,
            "similarity": round(reading.similarity, 4),
        },
        "far": reading.far,
        "cut": reading.cut,
    }
