"""One image from a file to the model's grid, and its masks back in the image's own geometry.

| file | image | unit | spacing | masks become |
|---|---|---|---|---|
| PNG, JPEG, TIFF | gray; colour becomes luminance | "unit", or given | given | a PNG each |
| npz | `image` [H,W]; [N,H,W] or [N,H,W,C] as in a data set | the file's | the file's | one npz |
| NIfTI | 2-D, or a slice of 3-D | given | the affine's | a .nii.gz each |
| DICOM | one frame | of CT "HU" | PixelSpacing | one DICOM-SEG |

The content of a file decides what it is, not its name. Gray values of 8 and 16 bits are scaled to
0..1. A NIfTI file does not say what its numbers mean; of CT they usually are HU. DICOM other than
CT is "arbitrary". Where high values are dark (MONOCHROME1, a TIFF whose white is zero) they are
turned, unless they are HU; a range is that of the values before.
"""

import importlib
import io
import os
import pathlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import content, folders, transforms, validation
from data_pipelines.images.picture import Asked, Picture, bright, file_stem, scaled
from data_pipelines.settings import Settings
from data_pipelines.transforms import Placement
from prosona_jax.types import InputError

# What is taken for which format by its name, where the content is too damaged to tell.
_SUFFIXES = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), "raster"),
    ".npz": "npz",
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    ".dcm": "dicom",
}
_READ = "PNG, JPEG, TIFF, npz, NIfTI or DICOM"
_SAME_SPACING = 1e-3  # relative


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
        slice_index: which one of a volume or a set, 0-based; None if the file holds one.
        axis: 0, 1 or 2: along which the slices of a NIfTI volume are counted; None: see `nifti`.
        unit: "HU", "unit" (0..1) or "arbitrary" where the file does not say: NIfTI, PNG, JPEG,
            TIFF, npz without `intensity_unit`, and CT DICOM whose RescaleType is unspecified.
        spacing_mm: (row, column) size of a pixel, where the file does not say.
        value_range: the stored values that become 0 and 1 of the unit "unit", where the file does
            not say what its numbers are; what lies beyond is clipped.
        point: (row, column) of the object in the image's own pixels, 0-based: a model sees what
            lies around it. None is the middle.

    Raises:
        InputError: no such file, an unknown or damaged one, no slice or unit chosen where one is
            needed, another unit or spacing than the file's own, NaN, or a constant image.
    """
    path = pathlib.Path(path).expanduser()
    _check_asked(path, unit, spacing_mm, value_range)
    asked = Asked(slice_index, axis, "arbitrary" if value_range else unit)
    name = _format(path)
    if axis is not None and name != "nifti":
        raise InputError(f"{path}: has no axes to choose from, as NIfTI has; leave the axis out")
    picture: Picture = _module(name).read(path, asked)
    if asked.unit not in (None, picture.intensity_unit):
        what, it = ("range", value_range) if value_range else ("unit", unit)
        raise InputError(
            f"{path}: its numbers are of the unit {picture.intensity_unit!r}, as the file says; "
            f"leave the {what} {it!r} out"
        )
    if value_range:
        picture = scaled(picture, value_range)
    picture = bright(picture)
    if spacing_mm is not None:
        picture = picture._replace(spacing_mm=_spacing(picture, spacing_mm))
    for fault in (
        validation.spacing_fault(picture.spacing_mm),
        validation.image_fault(picture.image, picture.intensity_unit),
    ):
        if fault:
            raise InputError(f"{path}: {fault}")
    return picture._replace(slice_index=slice_index, point=_inside(picture, point))


def _check_asked(
    path: pathlib.Path,
    unit: str | None,
    spacing_mm: tuple[float, float] | None,
    value_range: tuple[float, float] | None,
) -> None:
    """Raises InputError for what no image can fulfil."""
    if path.is_dir():
        first = next((file for file in folders.entries(path) if file.is_file()), None)
        example = f", such as {first}" if first else ""
        raise InputError(f"{path}: is a folder; give one image{example}")
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the path of an image")
    if unit not in (None, *validation.UNITS):
        raise InputError(f"{path}: unit is {unit!r}; choose one of {validation.UNITS}")
    if spacing_mm is not None and not all(0 < size < np.inf for size in spacing_mm):
        raise InputError(f"{path}: spacing is {spacing_mm}; give two sizes in mm above 0")
    if value_range is not None:
        low, high = value_range
        if not -np.inf < low < high < np.inf:
            raise InputError(f"{path}: range is {value_range}; give (low, high) with low < high")
        if unit not in (None, "unit"):
            raise InputError(f"{path}: a range makes 0..1 of the numbers; leave {unit!r} out")


def _inside(picture: Picture, point: tuple[float, float] | None) -> tuple[float, float] | None:
    """Returns the point; InputError if it is outside of the image."""
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


def _spacing(picture: Picture, given: tuple[float, float]) -> np.ndarray:
    """Returns what the caller gives; InputError if the file says another spacing."""
    known = picture.spacing_mm
    if not np.isnan(known).any() and not np.allclose(known, given, rtol=_SAME_SPACING, atol=0):
        raise InputError(
            f"{picture.path}: its pixels are {known[0]:g} x {known[1]:g} mm, as the file says; "
            f"leave the spacing {given} out"
        )
    return np.array(given, np.float32)


def to_model(picture: Picture, settings: Settings) -> tuple[np.ndarray, np.ndarray, Placement]:
    """Returns the scaled image, the model's input as preparation makes it, and where that lies.

    A larger image is cropped around the pixel nearest to its point, a smaller one is padded with
    -1, and where spacing is known it is resampled; see `transforms`.

    Args:
        picture: what `read` returns.
        settings: those of the data that the model learned from; their source is not used.

    Returns:
        The whole image f32 [H, W, C], scaled to -1..1; the model's input f32 [size, size, C]; and
        the placement of the second on the first.

    Raises:
        InputError: windowing leaves nothing to see.
    """
    centre = None
    if picture.point is not None:
        row, column = picture.point
        centre = (int(row + 0.5), int(column + 0.5))
    scaled = transforms.scale(
        picture.image, picture.intensity_unit, settings, where=str(picture.path)
    )
    shape = (picture.image.shape[0], picture.image.shape[1])
    placement = transforms.place(shape, picture.spacing_mm, settings, centre=centre)
    crop = transforms.sample_image(scaled, placement, background=np.float32(-1))
    return scaled, crop, placement


def from_model(probs: np.ndarray, placement: Placement) -> np.ndarray:
    """Returns probabilities f32 [S, size, size] on the image's own pixels, f32 [S, H, W].

    Linear, like the way to the model; 0 beyond the model's grid. A mask is where they exceed 1/2.
    """
    return transforms.sample(
        probs.astype(np.float32), placement.inverse(), background=np.float32(0)
    )


def stem(picture: Picture) -> str:
    """Returns what the names of an image's files start with."""
    return file_stem(pathlib.Path(picture.path.name.removesuffix(".gz")).stem)


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

    Files come in the order of the masks where each has its own.

    Args:
        stem: what the files' names start with; see `file_stem`.
        masks: u8 {0, 1} [K, H, W].
        picture: the image they were predicted on.
        names: [K], one for each mask: part of the file's name, or the segment's label.
        notes: [K], what travels with each mask, such as its prompt and what it is no evidence for;
            the formats that keep little of it keep its start.

    Raises:
        InputError: the header of a DICOM image does not allow for a DICOM-SEG.
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


def write(
    folder: str | os.PathLike[str],
    files: Mapping[str, bytes],
    picture: Picture,
    *,
    earlier: Sequence[str] = (),
) -> list[pathlib.Path]:
    """Writes files {name: content} that belong to an image, all of them or none.

    Args:
        folder: made if absent.
        files: what to write; files of these names are replaced.
        picture: the image.
        earlier: names of files in the folder that these replace: what is not written again goes.

    Raises:
        InputError: the folder cannot be written to, or a file would replace the image or a folder.
    """
    folder = pathlib.Path(folder).expanduser()
    paths = {folder / name: content for name, content in files.items()}
    if picture.path.resolve() in (path.resolve() for path in paths):
        raise InputError(f"{picture.path}: would be replaced; choose another folder for the masks")
    for path in paths:
        if os.path.isdir(path):
            raise InputError(
                f"{path}: is a folder; move it, or choose another folder for the masks"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(paths)
        _remove(folder, earlier, kept=[*paths, picture.path])
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another") from error
    return list(paths)


def _write_whole(contents: Mapping[pathlib.Path, bytes]) -> None:
    """Writes all under other names, then renames: what cannot be written leaves nothing behind."""
    parts = {path: path.with_name(f".{path.name}.part") for path in contents}
    try:
        for path, part in parts.items():
            part.write_bytes(contents[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _remove(folder: pathlib.Path, names: Sequence[str], *, kept: Sequence[pathlib.Path]) -> None:
    """Removes files from the folder, by their plain names, but none of those that are kept."""
    for name in names:
        path = folder / name
        if pathlib.PurePath(name).name != name or not os.path.isfile(path):
            continue
        if not any(path.samefile(other) for other in kept):  # some disks tell no case apart
            path.unlink()


def _format(path: pathlib.Path) -> str:
    try:
        if found := content.format_of(path):
            return found
        is_a = content.words(path)
        packed = content.is_gzip(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); mend that") from error
    if is_a in ("", "an empty file"):  # damaged, or truncated: its name is all there is
        for suffix, name in _SUFFIXES.items():
            if path.name.lower().endswith(suffix):
                return name
    remedy = "unpack it" if packed else f"convert it to {_READ}"
    raise InputError(f"{path}: is {is_a or 'of an unknown format'}; {remedy}")


def _module(name: str) -> types.ModuleType:
    """Imports the reader of a format when it is needed: some are extras."""
    return importlib.import_module(f"data_pipelines.images.{name}")
