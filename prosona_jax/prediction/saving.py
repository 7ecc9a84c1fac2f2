"""Writes a prediction: masks in the image's own format, a picture, and a record of both."""

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
_LEGEND_LENGTH = 400  # grapheme clusters of a sentence that fit into the legend
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
        image: the image on which they were drawn.
        folder: it is made if absent. Files of an earlier prediction on the same image are removed
            if they are not written again.
        probability: also write the probabilities, as one npz file: `probability` f32 [K, H, W]
            and `names`.

    Returns:
        The content of `prediction.json`; "files" names all files that were written.

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
    # The caveat comes first, because some formats keep only the start of a note.
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
    # Bytes of a path that are not UTF-8 become JSON escapes.
    files[_RECORD] = f"{text}\n".encode(errors="backslashreplace")
    earlier = _earlier(folder, {name: record[name] for name in ("image", "slice", "axis")})
    for path in output.write(folder, files, [image.path], earlier=earlier):
        _LOG.info("%s", path)
    return record


def _earlier(folder: str | os.PathLike[str], image: dict[str, Any]) -> list[str]:
    """Returns the files of the folder's last prediction, if it was on the same image and slice.

    A damaged record gives an empty list.
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
    """Returns the legend's text: the sentence, shortened if it is long, its reading, and the area.

    Direction marks keep the area together next to a sentence that runs from right to left.
    """
    sentence, result = unicode.shorten(drawn.prompt, _LEGEND_LENGTH), _area(drawn)
    if drawn.reading is not None and drawn.reading.degree is not None:
        result = f"{drawn.reading.understood}; {result}"
    if drawn.added_mm:
        result = f"{result}, with {round(drawn.added_mm, 2):+g} mm by geometry"
    return f"{sentence} {_LEFT_TO_RIGHT}({result}){_LEFT_TO_RIGHT}"


def _area(drawn: Segmentation) -> str:
    pixels = f"{drawn.mask.sum()} px"
    if drawn.area_mm2 is None:
        return pixels
    digits = np.format_float_positional(drawn.area_mm2, precision=3, fractional=False, trim="-")
    return f"{pixels}, {digits} mm²"


def _record(image: Picture, drawn: Sequence[Segmentation]) -> dict[str, Any]:
    """Returns the image, the model, the prompts and their results, ready for JSON."""
    has_spacing = not np.isnan(image.spacing_mm).any()
    crop = drawn[0].crop
    middle = crop.start + np.array(crop.shape) // 2 * crop.step
    return (
        provenance.describe()
        | drawn[0].source
        | {
            "image": str(image.path),
            "slice": image.slice_index,
            "axis": image.axis,  # along which slices are counted; None if the format has none
            "value_range": image.value_range and list(image.value_range),
            "point": middle.round(6).tolist(),  # (row, column) in the middle of the crop
            "spacing_mm": image.spacing_mm.astype(float).round(6).tolist() if has_spacing else None,
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
        "added_mm": drawn.added_mm,
    }
    if drawn.reading is None:
        return answer
    reading = drawn.reading
    return answer | reading._asdict()
