"""Reads images with a user's own contour on each: pairs of files in a folder, or a data set.

| path | what is read |
|---|---|
| folder | each NAME.png with NAME_mask.png, each NAME.nii.gz with NAME_mask.nii.gz, and so on |
| npz | the records of a data set in the format of the source `npz`, with the masks of one rater |

An image may have any format of `images`, and a mask is a PNG, a TIFF or a NIfTI file on the image's
own pixels. Of volumes, the slice on which the mask is largest is read. The model's input is cropped
around the middle of the mask's bounding box. In a data set it is the middle of the image, as in
training.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import file_formats, folders, images, npz, raster, validation
from data_pipelines.images import nifti
from data_pipelines.images.picture import Picture
from prosona_jax.types import InputError

_MARK = "_mask"


class Case(NamedTuple):
    """An image with the contour that the user drew on it."""

    image: Picture
    mask: np.ndarray  # {0, 1} [H, W]


def read(path: str | pathlib.Path, *, rater: int | None = None, **options: Any) -> list[Case]:
    """Reads all cases, sorted by name; see the module for the formats.

    Args:
        path: a folder, or an npz file.
        rater: whose masks of the npz file, 0-based; images without a mask of this rater are left
            out.
        options: `unit`, `spacing_mm` and `value_range` of `images.read`, for all images.

    Raises:
        InputError: there is no case; a file cannot be read; an image has no mask, or a mask no
            image; or image and mask are not on the same voxels.
    """
    path = pathlib.Path(path).expanduser()
    if path.is_file():
        return list(_of_rater(path, rater, options))
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; name a folder with NAME.png and NAME{_MARK}.png")
    if rater is not None:
        raise InputError(f"{path}: is a folder, which has no raters to choose from; leave it out")
    return [_pair(*files, options) for files in _pairs(path)]


def _pairs(folder: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Returns the image and the mask of each case; other files are ignored."""
    named: dict[str, pathlib.Path] = {}
    for file in folders.entries(folder):
        if not (file.is_file() and file_formats.format_of(file)):
            continue
        stem = pathlib.Path(file.name.removesuffix(".gz")).stem
        if stem in named:
            raise InputError(f"{file}: {named[stem].name} has the same name; rename one of them")
        named[stem] = file
    found = []
    for stem, file in named.items():
        if stem.endswith(_MARK):
            if stem.removesuffix(_MARK) not in named:
                raise InputError(f"{file}: has no image of the same name without {_MARK!r}; add it")
        elif stem + _MARK in named:
            found.append((file, named[stem + _MARK]))
        else:
            raise InputError(
                f"{file}: has no mask {stem}{_MARK}.png or {stem}{_MARK}.nii.gz; add it, or move "
                "the image away"
            )
    if not found:
        raise InputError(f"{folder}: holds no image NAME.png with a mask NAME{_MARK}.png; add them")
    return found


def _pair(image: pathlib.Path, mask: pathlib.Path, options: dict[str, Any]) -> Case:
    """Reads an image and its mask; the point to crop around is in the middle of the mask."""
    if file_formats.format_of(mask) == "nifti":
        drawn = nifti.read_mask(mask)
        labels = drawn.image[..., 0]
        if len(np.unique(labels[labels != 0])) > 1:
            raise InputError(f"{mask}: holds several labels; store 0 and 1")
        shown = images.read(image, slice_index=drawn.slice_index, axis=drawn.axis, **options)
        if shown.format == "nifti" and not nifti.on_one_grid(drawn, shown):
            raise InputError(
                f"{mask}: lies on other voxels than {image.name}; export both on the same grid"
            )
        inside = labels != 0
    else:
        shown = images.read(image, **options)
        inside = raster.read_mask(mask)
    return Case(shown._replace(point=_middle(inside)), inside.astype(np.uint8))


def _middle(mask: np.ndarray) -> tuple[float, float] | None:
    """Returns (row, column) in the middle of a mask's bounding box; None if the mask is empty."""
    if not mask.any():
        return None
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return float(rows[0] + rows[-1]) / 2, float(columns[0] + columns[-1]) / 2


def _of_rater(path: pathlib.Path, rater: int | None, options: dict[str, Any]) -> Iterator[Case]:
    stored = npz.read(path, ("image", "masks", "rater_valid"))
    image, masks = (stored.get(key, np.zeros(0)) for key in ("image", "masks"))
    if image.ndim not in (3, 4) or masks.ndim != 4 or len(image) != len(masks):
        raise InputError(
            f"{path}: image is {list(image.shape)}, masks are {list(masks.shape)}; they must be "
            "[N,H,W] or [N,H,W,C], and [N,R,H,W]"
        )
    count = masks.shape[1]
    if rater is None or not 0 <= rater < count:
        asked = "whose masks?" if rater is None else f"has no rater {rater}:"
        raise InputError(f"{path}: {asked} choose one of its {count} raters, 0..{count - 1}")
    valid = stored.get("rater_valid", np.ones(masks.shape[:2], bool))
    if valid.shape != masks.shape[:2]:
        raise InputError(
            f"{path}: rater_valid is {list(valid.shape)}; it must be {list(masks.shape[:2])}"
        )
    npz.check_boolean(path, "rater_valid", valid)
    for i in np.flatnonzero(valid[:, rater]).tolist():
        where, given = f"{path}: record {i}", np.ones(1, bool)
        (mask,) = validation.binary_masks(masks[i, rater : rater + 1], given, where)
        yield Case(images.read(path, slice_index=i, **options), mask)
