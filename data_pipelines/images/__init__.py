"""Reads one image for a model, and writes its masks in the image's own format and geometry.

A format is a module of this folder with functions `read` and `encode`; `file_formats.py` recognises
it by a file's first bytes.

| file | image | unit | spacing | masks become |
|---|---|---|---|---|
| PNG, JPEG, TIFF | gray; colour becomes luminance | "unit", or given | given | a PNG each |
| npz | `image` [H,W]; [N,H,W] or [N,H,W,C] as in a data set | the file's | the file's | one npz |
| NIfTI | 2-D, or a slice of 3-D | given | the affine's | a .nii.gz each |
| DICOM | one frame | of CT "HU" | PixelSpacing | one DICOM-SEG |

In the table, "given" means that the caller gives it. The content of a file decides its format, not
its name. Gray values of 8 and 16 bits are scaled to 0..1. A NIfTI file does not state the unit of
its values; for CT it is usually HU. DICOM other than CT is "arbitrary". If high values are dark
(MONOCHROME1, a TIFF whose white is zero), the values are inverted, unless they are HU. A
`value_range` refers to the values before inversion.
"""

import importlib
import io
import os
import pathlib
import types
from collections.abc import Sequence

import numpy as np

from data_pipelines import file_formats, folders, transforms
from data_pipelines.images.given import Given
from data_pipelines.images.picture import Asked, Picture, file_stem
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax.types import InputError

# {suffix of the name: format}, used if the content is too damaged to recognise.
_SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), "raster"),
    ".npz": "npz",
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    ".dcm": "dicom",
}
_READ = "PNG, JPEG, TIFF, npz, NIfTI or DICOM"


def read(
    path: str | os.PathLike[str],
    *,
    slice_index: int | None = None,
    axis: int | None = None,
    unit: str | None = None,
    spacing_mm: tuple[float, float] | None = None,
    value_range: tuple[float, float] | None = None,
    point: tuple[float, float] | None = None,
) -> Picture:
    """Reads one image; see the module for the formats.

        >>> pj.read_image("crop.dcm", point=(210, 143))  # doctest: +SKIP
        >>> pj.read_image("ct.nii.gz", slice_index=40, unit="HU")  # doctest: +SKIP

    Args:
        path: the file.
        slice_index: index of the slice in a volume or of the image in a set, 0-based; None if the
            file holds only one.
        axis: 0, 1 or 2, the axis along which slices of a NIfTI volume are counted; None: see
            `nifti_layout`.
        unit: "HU", "unit" (0..1) or "arbitrary", if the file does not state it: NIfTI, PNG, JPEG,
            TIFF, npz without `intensity_unit`, and CT DICOM whose RescaleType is unspecified.
        spacing_mm: (row, column) size of a pixel, if the file does not state it.
        value_range: the stored values that become 0 and 1, if the file does not state a unit. The
            unit becomes "unit", and values outside of the range are clipped.
        point: (row, column) of the object in the image's own pixels, 0-based. The model's input is
            a crop around it. None: the middle of the image.

    Raises:
        InputError: the file is missing, damaged or of an unknown format; a slice or a unit is
            needed but not given; the given unit or spacing contradicts the file; or the image
            is constant or holds NaN.
    """
    path = pathlib.Path(path).expanduser()
    _check_file(path)
    given = Given(unit, spacing_mm, value_range)
    given.check(path)
    name = format_of(path)
    if axis is not None and name != "nifti":
        raise InputError(f"{path}: only a NIfTI file has axes to choose from; leave the axis out")
    asked = Asked(slice_index, axis, given.stored_unit)
    picture = given.apply(_module(name).read(path, asked))
    return picture._replace(slice_index=slice_index, point=_inside(picture, point))


def _check_file(path: pathlib.Path) -> None:
    """Raises InputError if the path is not a file."""
    if path.is_dir():
        first = next((file for file in folders.entries(path) if file.is_file()), None)
        example = f", such as {first}" if first else ""
        raise InputError(f"{path}: is a folder; give one image{example}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an image")


def format_of(path: pathlib.Path) -> str:
    """Returns the module of this package that reads the file; InputError if none does."""
    try:
        if found := file_formats.format_of(path):
            return found
        is_a = file_formats.words(path)
        packed = file_formats.is_gzip(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); fix that") from error
    if is_a in ("", "an empty file"):  # damaged or truncated: only its name is left to go by
        for suffix, name in _SUFFIXES.items():
            if path.name.lower().endswith(suffix):
                return name
    remedy = "unpack it" if packed else f"convert it to {_READ}"
    raise InputError(f"{path}: is {is_a or 'of an unknown format'}; {remedy}")


def _inside(picture: Picture, point: tuple[float, float] | None) -> tuple[float, float] | None:
    """Returns the point as floats; InputError if it is outside of the image."""
    if point is None:
        return None
    row, column = point
    height, width = picture.image.shape[:2]
    if not (0 <= row <= height - 1 and 0 <= column <= width - 1):
        raise InputError(
            f"{picture.path}: the point ({row:g}, {column:g}) is outside of the image; give "
            f"(row, column) within 0..{height - 1} and 0..{width - 1}"
        )
    return float(row), float(column)


def to_model(
    picture: Picture, settings: Settings, of_volume: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, Placement]:
    """Returns the scaled image, the model's input as for prepared data, and its placement.

    The image is resampled if its spacing is known. A larger image is cropped around the pixel
    nearest to its point; a smaller one is padded with -1. See `transforms`.

    Args:
        picture: an image from `read`.
        settings: settings of the data that the model was trained on; their source is not used.
        of_volume: the limits of its volume, see `transforms.scale`.

    Returns:
        The whole image f32 [H, W, C], scaled to -1..1; the model's input f32 [size, size, C]; and
        the placement of the second on the first.

    Raises:
        InputError: the image is constant after windowing.
    """
    centre = None
    if picture.point is not None:
        row, column = picture.point
        centre = (int(row + 0.5), int(column + 0.5))
    scaled = transforms.scale(
        picture.image,
        picture.intensity_unit,
        settings,
        where=str(picture.path),
        of_volume=of_volume,
    )
    shape = (picture.image.shape[0], picture.image.shape[1])
    placement = transforms.place(shape, picture.spacing_mm, settings, centre=centre)
    crop = transforms.sample_image(scaled, placement, background=np.float32(-1))
    return scaled, crop, placement


def from_model(probs: np.ndarray, placement: Placement) -> np.ndarray:
    """Returns probabilities f32 [S, size, size] on the image's own pixels, f32 [S, H, W].

    They are interpolated linearly, like the model's input, and are 0 outside of the model's grid. A
    mask is where they exceed 1/2.
    """
    return transforms.sample(
        probs.astype(np.float32), placement.inverse(), background=np.float32(0)
    )


def stem(picture: Picture) -> str:
    """Returns the start of the names of all files that belong to an image.

    It has the slice, so that files of two slices may lie in one folder.
    """
    end = "" if picture.slice_index is None else f"_slice{picture.slice_index}"
    return file_stem(pathlib.Path(picture.path.name.removesuffix(".gz")).stem, end)


def encode_probabilities(
    stem: str, probabilities: np.ndarray, names: Sequence[str]
) -> dict[str, bytes]:
    """Returns probabilities f32 [K, H, W] as one npz file with `probability` and `names`."""
    stream = io.BytesIO()
    np.savez_compressed(stream, probability=probabilities, names=names)
    return {f"{file_stem(stem)}_probability.npz": stream.getvalue()}


def encode_masks(
    stem: str,
    masks: np.ndarray,
    picture: Picture,
    *,
    names: Sequence[str],
    notes: Sequence[str],
) -> dict[str, bytes]:
    """Returns masks in the format and geometry of their image, {file's name: content}.

    If each mask has its own file, the files are in the order of the masks.

    Args:
        stem: start of the files' names; see `file_stem`.
        masks: u8 {0, 1} [K, H, W].
        picture: the image they were predicted on.
        names: [K], part of each file's name, or label of each segment.
        notes: [K], text that is stored with each mask, such as its prompt and its caveats. Some
            formats can store only the start of it.

    Raises:
        InputError: the header of a DICOM image cannot be used for a DICOM-SEG.
    """
    if masks.shape[1:] != picture.image.shape[:2] or not len(masks) == len(names) == len(notes):
        raise ValueError(
            f"masks {masks.shape}, {len(names)} names and {len(notes)} notes do not fit the image "
            f"{picture.image.shape}"
        )
    files: dict[str, bytes] = _module(picture.format).encode(
        picture, file_stem(stem), masks.astype(np.uint8), names, notes
    )
    return files


def _module(name: str) -> types.ModuleType:
    """Imports the reader of a format only when it is needed: some need an optional package."""
    return importlib.import_module(f"data_pipelines.images.{name}")
