"""Writes a prediction: masks in the image's own format, a picture, and a record of both."""

import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from data_pipelines import images
from data_pipelines.images.picture import Picture
from data_pipelines.scans import Scan
from prosona_jax.prediction import records, scan_saving
from prosona_jax.prediction.scan_segmentation import ScanSamples, ScanSegmentation
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.report import figures, overlay
from prosona_jax.runtime import provenance
from prosona_jax.types import InputError

Drawn = Segmentation | ScanSegmentation


def save(
    segmentations: Drawn | Sequence[Drawn] | ScanSamples,
    image: Picture | Scan,
    folder: str | os.PathLike[str],
    *,
    probability: bool = False,
) -> dict[str, Any]:
    """Writes masks, `overlay.png` and `prediction.json`, all files or none.

        >>> pj.save(model.segment(image, ["hug the core"]), image, "out/")  # doctest: +SKIP

    If the folder holds a prediction on another image, slice or object, picture and record get the
    name of the image too.

    Args:
        segmentations: contours on the image, one or several; or, of a scan, its samples.
        image: the image or the scan on which they were drawn.
        folder: it is made if absent. Files of an earlier prediction on the same image are removed
            if they are not written again.
        probability: also write the probabilities, as one npz file: `probability` f32 [K, H, W]
            and `names`; not of a scan.

    Returns:
        The content of `prediction.json`; "files" names all files that were written.

    Raises:
        InputError: there is no contour, the folder cannot be written to, or a file would replace
            the image or a file of another prediction.
    """
    if isinstance(image, Scan):
        if probability:
            raise InputError(f"{image.path}: probabilities of a scan are not written; leave it out")
        return scan_saving.save(cast(Any, segmentations), image, folder)
    if isinstance(segmentations, Segmentation):
        segmentations = [segmentations]
    drawn = list(cast(Sequence[Segmentation], segmentations))
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
        [records.label(each.prompt, each.reading, each.added_mm, _area(each)) for each in drawn],
        spacing_mm=image.spacing_mm,
        crop=drawn[0].crop.limits(),
    )
    return records.write(
        folder, files, figures.png(figure, footnote=note), _record(image, drawn),
        stem=stem, sources=[image.path],
    )  # fmt: skip


def _area(drawn: Segmentation) -> str:
    pixels = f"{drawn.mask.sum()} px"
    return pixels if drawn.area_mm2 is None else f"{pixels}, {records.digits(drawn.area_mm2)} mm²"


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
