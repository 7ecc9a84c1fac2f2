"""Reads the LIDC crops published by DeepMind: a folder tree of PNG files.

    [train|val|test/]images/<patient>/z-<mm>_c<i>.png
    [train|val|test/]gt/<patient>/z-<mm>_c<i>_l<k>.png

Images have 8 or 16 bits and are scaled to 0..1. Colour becomes luminance. Transparent pixels are
blended with black. In masks every pixel that is not black is foreground; see `raster.read_mask`.
Raters k count from 0 or 1. The folders above `images` declare the split. Spacing is unknown.
"""

import collections
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from data_pipelines import folders, identifiers, raster
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record

# Also for the folders in the published archives, such as lidc_crops_val.
_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the tree's records, sorted by path; see `sources.records`."""
    del skipped  # this source leaves nothing out
    root = settings.location()
    trees = [root, *folders.entries(root)] if root.is_dir() else []
    trees = [tree for tree in trees if (tree / "images").is_dir() and (tree / "gt").is_dir()]
    trees = folders.distinct(trees)
    patients = folders.distinct([each for tree in trees for each in _patients(tree / "images")])
    images = [(file.parents[2], file) for file in _pngs(patients)]
    if not images:
        raise InputError(
            f"{root}: holds no images/<patient>/*.png beside gt/<patient>/*_l<k>.png, alone or "
            "under train, val and test; check data.path"
        )
    masks = _masks(trees)
    raters = sorted({k for found in masks.values() for k in found})
    for tree, file in images:
        name = file.relative_to(tree / "images").with_suffix("")
        try:
            yield _record(tree, file, str(name), masks.get((tree, name), {}), raters)
        except InputError as fault:
            yield fault


def _patients(folder: pathlib.Path) -> list[pathlib.Path]:
    return [patient for patient in folders.entries(folder) if patient.is_dir()]


def _pngs(patients: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the PNG files in the folders of patients, in the order of the folders."""
    return [
        file
        for patient in patients
        for file in folders.entries(patient)
        if file.suffix.lower() == ".png"
    ]


def _masks(
    trees: list[pathlib.Path],
) -> dict[tuple[pathlib.Path, pathlib.Path], dict[int, list[pathlib.Path]]]:
    """Returns the mask files of each image, {(tree, patient/stem): {rater: files}}."""
    found: dict[tuple[pathlib.Path, pathlib.Path], dict[int, list[pathlib.Path]]]
    found = collections.defaultdict(dict)
    for tree in trees:
        for file in _pngs(_patients(tree / "gt")):
            if match := re.fullmatch(r"(.+)_l(\d+)", file.stem):
                name = file.parent.relative_to(tree / "gt") / match[1]
                found[tree, name].setdefault(int(match[2]), []).append(file)
    return found


def _record(
    tree: pathlib.Path,
    file: pathlib.Path,
    name: str,
    masks: dict[int, list[pathlib.Path]],
    raters: list[int],
) -> Record:
    if not masks or masks.keys() != set(raters):
        absent = ", ".join(f"{file.stem}_l{k}.png" for k in raters if k not in masks)
        raise InputError(
            f"{file}: gt/{file.parent.name} lacks {absent or 'its masks'}; add them, or use an npz "
            "file with rater_valid if a rater is missing"
        )
    if twice := next((files for files in masks.values() if len(files) > 1), None):
        first, second = twice[:2]
        raise InputError(f"{file}: {first.name} and {second.name} are of one rater; delete one")
    planes = [raster.read_mask(masks[k][0]) for k in raters]
    image = _image(file)
    for k, plane in zip(raters, planes, strict=True):
        if plane.shape != image.shape:
            raise InputError(
                f"{masks[k][0]}: is {list(plane.shape)}, its image {list(image.shape)}; both must "
                "have the same size"
            )
    return Record(
        image=image[..., None],
        masks=np.stack(planes).astype(np.uint8),
        rater_valid=np.ones(len(raters), bool),
        patient_id=identifiers.text(file.parent.name, str(file), "its folder's name"),
        record_id=identifiers.text(name, str(file), "its name"),
        site="",
        spacing_mm=np.full(2, np.nan, np.float32),
        intensity_unit="unit",
        split=_SPLITS.get(tree.name.rpartition("_")[2], ""),
    )


def _image(file: pathlib.Path) -> np.ndarray:
    """Returns an image as f32 [H, W] in 0..1."""
    gray = raster.read_gray(file)
    if np.isnan(gray.white):
        raise InputError(
            f"{file}: its values are signed or have 32 bits; save it as PNG of 8 or 16 bits"
        )
    image = gray.values / np.float32(gray.white)
    return 1 - image if gray.inverted else image
