"""The project's own file format: one npz file with all records.

| key | shape | |
|---|---|---|
| `image` | [N,H,W] or [N,H,W,C], numbers | needed |
| `masks` | [N,R,H,W], 0 and 1 | needed |
| `patient_id`, `record_id` | [N], text | needed |
| `intensity_unit` | "HU", "unit" (0..1) or "arbitrary" | needed |
| `spacing_mm` | [N,2], row and column, NaN for unknown | NaN |
| `rater_valid` | [N,R], False: the rater has no mask of the image | all True |
| `site`, `split` | [N], text; splits are train, validation, test, only_train | "" |
| `volume` | [N], text; the volume of which the image is a slice | "" |
| `slice_mm`, `slice_spacing_mm` | [N], position along the slice axis; from slice to slice | NaN |
| `window` | [N,2,C], "arbitrary" values that become -1 and 1, see `types.Record` | NaN |
| `rater_id` | [R], text; the names of the raters | none |
| `citation` | text to show with the data | "" |
| `simulated` | True: images rendered from the masks | False |

Other keys are ignored. The last column is the default of a missing key.
"""

import collections
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines import npz, styles, validation
from data_pipelines.settings import Settings
from prosona_jax import files
from prosona_jax.types import InputError, Record

_NEEDED = ("image", "masks", "patient_id", "record_id", "intensity_unit")
_OPTIONAL = (
    "spacing_mm",
    "rater_valid",
    "site",
    "split",
    "volume",
    "slice_mm",
    "slice_spacing_mm",
    "window",
)


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the file's records in order; see `sources.records`."""
    del skipped  # this source leaves nothing out
    path = settings.location()
    arrays = _read(path)
    _check(path, arrays)
    if settings.raters == "by_area":
        _sort_volumes(arrays)
    for i in range(len(arrays["image"])):
        try:
            yield _record(path, arrays, i)
        except InputError as fault:
            yield fault


def provenance(settings: Settings) -> tuple[str, bool]:
    """Returns the file's citation, "" if it has none, and whether its images are simulated."""
    path = settings.location()
    stored = npz.read(path, ("citation", "simulated"))
    citation = npz.texts(path, "citation", stored.get("citation", np.array("")))
    if citation.ndim:
        raise InputError(f"{path}: citation is {list(citation.shape)}; store one text")
    simulated = stored.get("simulated", np.array(False))
    npz.check_boolean(path, "simulated", simulated)
    return str(citation), bool(simulated.any())


def rater_names(settings: Settings) -> list[str]:
    """Returns the names of the raters, in the order of the masks; empty if the file has none."""
    path = settings.location()
    stored = npz.read(path, ("rater_id",))
    if not stored:
        return []
    names = npz.texts(path, "rater_id", stored["rater_id"])
    raters = (*npz.shape(path, "masks"), 0, 0)[1]
    if names.shape != (raters,) or len(set(names.tolist())) < raters or "" in names:
        raise InputError(
            f"{path}: rater_id is {names.tolist()} for {raters} raters; give each a name of its own"
        )
    return [str(name) for name in names]


def write(
    path: str | os.PathLike[str],
    records: Sequence[Record],
    citation: str,
    simulated: bool,
    rater_names: Sequence[str] = (),
) -> None:
    """Writes records of equal shapes as an npz file, completely or not at all.

    Images are stored as int16 if that loses nothing, else as float32.

    Raises:
        InputError: the file cannot be written.
    """
    path = files.check(path)
    image = np.stack([record.image for record in records])
    image = image[..., 0] if image.shape[-1] == 1 else image
    if (image == np.clip(np.round(image), -(2**15), 2**15 - 1)).all():
        image = image.astype(np.int16)
    named: dict[str, Any] = {"rater_id": list(rater_names)} if rater_names else {}
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                image=image,
                masks=np.stack([record.masks for record in records]),
                rater_valid=np.stack([record.rater_valid for record in records]),
                patient_id=[record.patient_id for record in records],
                record_id=[record.record_id for record in records],
                site=[record.site for record in records],
                split=[record.split for record in records],
                **_of_volumes(records),
                **named,
                spacing_mm=np.stack([record.spacing_mm for record in records]),
                intensity_unit=records[0].intensity_unit,
                citation=citation,
                simulated=simulated,
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _sort_volumes(arrays: dict[str, np.ndarray]) -> None:
    """Sorts the masks of each volume by their voxels, in place, see `styles.sort`."""
    masks = arrays["masks"] = arrays["masks"].copy()
    rater_valid = arrays["rater_valid"] = arrays["rater_valid"].astype(bool)
    for volume in sorted(set(arrays["volume"].tolist()) - {""}):
        own = arrays["volume"] == volume
        if not (rater_valid[own] == rater_valid[own][0]).all():
            continue  # `validation.Checker` refuses such a volume
        stacked = np.moveaxis(masks[own], 1, 0)  # [R, slices, H, W]
        voxels = np.count_nonzero(stacked, axis=(1, 2, 3))
        ordered, valid = styles.sort(stacked, rater_valid[own][0], voxels)
        masks[own], rater_valid[own] = np.moveaxis(ordered, 0, 1), valid


def _of_volumes(records: Sequence[Record]) -> dict[str, Any]:
    """Returns the keys that only a file of volumes has."""
    if not any(record.volume for record in records):
        return {}
    none = np.full((2, records[0].image.shape[-1]), np.nan, np.float32)
    return {
        "volume": np.array([record.volume for record in records]),
        "slice_mm": np.array([record.slice_mm for record in records]),
        "slice_spacing_mm": np.array([record.slice_spacing_mm for record in records]),
        "window": np.stack([none if r.window is None else r.window for r in records]),
    }


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of all keys above; missing optional ones get their default."""
    arrays = npz.read(path, (*_NEEDED, *_OPTIONAL))
    if missing := [key for key in _NEEDED if key not in arrays]:
        raise InputError(
            f"{path}: has no {' and no '.join(missing)}; an npz data set needs image [N,H,W], "
            "masks [N,R,H,W] of 0 and 1, patient_id [N], record_id [N] and intensity_unit"
        )
    n, raters = (*arrays["masks"].shape, 0, 0)[:2]
    channels = (*arrays["image"].shape, 1)[3:4]
    defaults = {
        "spacing_mm": np.full((n, 2), np.nan),
        "rater_valid": np.ones((n, raters), bool),
        "site": np.full(n, ""),
        "split": np.full(n, ""),
        "volume": np.full(n, ""),
        "slice_mm": np.full(n, np.nan),
        "slice_spacing_mm": np.full(n, np.nan),
        "window": np.full((n, 2, *channels), np.nan),
    }
    return defaults | arrays


def _check(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Converts identifiers to text; raises InputError if shapes or types do not fit together."""
    image, masks = arrays["image"], arrays["masks"]
    shapes = f"image is {list(image.shape)}, masks are {list(masks.shape)}"
    if image.ndim not in (3, 4) or masks.ndim != 4 or not image.size:
        raise InputError(f"{path}: {shapes}; they must be [N,H,W] or [N,H,W,C], and [N,R,H,W]")
    if masks.shape[::2] != image.shape[:2] or masks.shape[3] != image.shape[2]:
        raise InputError(f"{path}: {shapes}; N, H and W must be the same in both")
    n, raters = masks.shape[:2]
    channels = (*image.shape, 1)[3]
    for key, shape in (
        ("patient_id", (n,)),
        ("record_id", (n,)),
        ("site", (n,)),
        ("split", (n,)),
        ("volume", (n,)),
        ("slice_mm", (n,)),
        ("slice_spacing_mm", (n,)),
        ("window", (n, 2, channels)),
        ("spacing_mm", (n, 2)),
        ("rater_valid", (n, raters)),
        ("intensity_unit", ()),
    ):
        if arrays[key].shape != shape:
            raise InputError(
                f"{path}: {key} is {list(arrays[key].shape)} but masks are {list(masks.shape)}; "
                f"it must be {list(shape)}"
            )
    for key, kinds in (
        ("image", "biuf"),
        ("masks", "biuf"),
        ("spacing_mm", "iuf"),
        ("slice_mm", "iuf"),
        ("slice_spacing_mm", "iuf"),
        ("window", "iuf"),
    ):
        if arrays[key].dtype.kind not in kinds:
            raise InputError(f"{path}: {key} is {arrays[key].dtype}; store real numbers")
    for key in ("patient_id", "record_id", "site", "split", "volume", "intensity_unit"):
        arrays[key] = npz.texts(path, key, arrays[key])
    npz.check_boolean(path, "rater_valid", arrays["rater_valid"])


def _record(path: pathlib.Path, arrays: dict[str, np.ndarray], i: int) -> Record:
    rater_valid = arrays["rater_valid"][i].astype(bool)
    record_id = str(arrays["record_id"][i])
    image = validation.float32(arrays["image"][i])
    window = validation.float32(arrays["window"][i])
    return Record(
        image=image if image.ndim == 3 else image[..., None],
        masks=validation.binary_masks(
            arrays["masks"][i], rater_valid, f"{path}: record {record_id!r}"
        ),
        rater_valid=rater_valid,
        patient_id=str(arrays["patient_id"][i]),
        record_id=record_id,
        site=str(arrays["site"][i]),
        spacing_mm=validation.float32(arrays["spacing_mm"][i]),
        intensity_unit=str(arrays["intensity_unit"]),
        split=str(arrays["split"][i]),
        volume=str(arrays["volume"][i]),
        slice_mm=float(arrays["slice_mm"][i]),
        slice_spacing_mm=float(arrays["slice_spacing_mm"][i]),
        window=None if np.isnan(window).all() else window,
    )
