"""Reads a whole scan, slice by slice, and writes its masks in the scan's own format and geometry.

A format is a module of this folder with functions `read` and `encode`.

| scan | order of slices | place in the patient | masks become |
|---|---|---|---|
| folder with one series of DICOM | by position | stated | one DICOM-SEG |
| DICOM file of several frames | by position | stated | one DICOM-SEG |
| NIfTI volume | along an axis, see `images.nifti_layout` | the affine's | a .nii.gz each |
| folder of PNG, TIFF or JPEG | by the numbers in the names | unknown | a PNG for each slice |

Slice k is what `images.read` makes of it, so all that draws on an image draws on it. Slices are
counted from 0. Those of DICOM follow the normal of their plane: of axial CT, slice 0 is nearest to
the feet. One slice at a time is read: from its file, from the pixels of the file with several
frames, which are held as they are stored, or from the NIfTI file, mapped into memory. A compressed
NIfTI file is first decompressed to a temporary file, which takes 0.4 s for 300 slices of 512 x 512:
to find a slice within the compressed file would take up to 0.2 s each time.

Places in the patient are in mm of LPS: x grows towards the patient's left, y towards the back, z
towards the head, as in DICOM. NIfTI's own RAS has the opposite x and y.
"""  # fmt: skip

import importlib
import os
import pathlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines import file_formats, folders, images
from data_pipelines.images.given import Given
from data_pipelines.images.picture import file_stem
from data_pipelines.scans.points import FRAMES, locate
from data_pipelines.scans.scan import Asked, Scan
from prosona_jax.types import InputError

__all__ = ["FRAMES", "Scan", "encode", "locate", "read", "stem"]


def read(
    path: str | os.PathLike[str],
    *,
    axis: int | None = None,
    unit: str | None = None,
    series: str | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Scan:
    """Returns a scan; see the module for the formats. Its slices are read later, one at a time.

        >>> scan = pj.read_scan("LIDC-IDRI-0001/")  # doctest: +SKIP
        >>> scan.picture(7).image.shape  # doctest: +SKIP
        (512, 512, 1)

    Args:
        path: a folder or a file. In a folder, DICOM files are found at any depth, images only at
            the top; all other files are ignored.
        axis: 0, 1 or 2, the axis along which slices of a NIfTI volume are counted.
        unit: unit of the values, if the files do not state it; see `images.read`.
        series: SeriesInstanceUID of the one to read, if a folder holds several.
        spacing_mm: (distance of slices, row, column) of a folder of images.
        value_range: the stored values that become 0 and 1; see `images.read`.

    Raises:
        InputError: the scan is missing, damaged, of another format or of one slice only; a series
            or a unit is needed but not given; or the files of a series do not make up one volume.
    """
    path = pathlib.Path(path).expanduser()
    if spacing_mm is not None and not all(0 < size < np.inf for size in spacing_mm):
        raise InputError(f"{path}: spacing is {spacing_mm}; give three sizes in mm above 0")
    given = Given(unit, spacing_mm and spacing_mm[1:], value_range)
    given.check(path)
    name, files = _format(path)
    for option, value, owner, owned in (
        ("axis", axis, "nifti", "a NIfTI file has axes to choose from"),
        ("series", series, "dicom", "DICOM has series to choose from"),
        ("spacing", spacing_mm, "raster", "PNG and TIFF do not state their spacing"),
    ):
        if value is not None and name != owner:
            raise InputError(f"{path}: only {owned}; leave the {option} {value!r} out")
    scan: Scan = _module(name).read(path, files, Asked(axis, series, spacing_mm, given))
    return scan


def encode(
    scan: Scan,
    stem: str,
    masks: Mapping[int, np.ndarray],
    *,
    names: Sequence[str],
    notes: Sequence[str],
    rtstruct: bool = False,
) -> dict[str, bytes]:
    """Returns masks in the format and geometry of their scan, {file's name: content}.

    Args:
        scan: the scan they were predicted on.
        stem: start of the files' names; see `stem`. Of a folder of images, masks are named after
            their slices.
        masks: u8 {0, 1} [K, H, W] by slice. On all other slices the masks are empty, so that only
            slices with an object need memory.
        names: [K], part of each file's name, or label of each segment.
        notes: [K], text that is stored with each mask; see `images.encode_masks`.
        rtstruct: also write the contours as a DICOM RT Structure Set, for planning radiotherapy.

    Raises:
        InputError: the header of a DICOM image cannot be used for a DICOM-SEG, or the scan is not
            DICOM and an RT Structure Set is asked for.
    """
    shape = (len(names), *scan.shape)
    if len(notes) != len(names) or any(mask.shape != shape for mask in masks.values()):
        shapes = sorted({mask.shape for mask in masks.values()})
        raise ValueError(f"masks {shapes} and {len(notes)} notes do not fit {shape}")
    if not set(masks) <= set(range(scan.count)):
        raise ValueError(f"slices {sorted(masks)} are not all in a scan of {scan.count}")
    ordered = {k: masks[k].astype(np.uint8) for k in sorted(masks)}
    stem = file_stem(stem)
    files: dict[str, bytes] = _module(scan.format).encode(scan, stem, ordered, names, notes)
    if rtstruct:
        if scan.format != "dicom":
            raise InputError(
                f"{scan.path}: an RT Structure Set needs DICOM with the attributes of a DICOM-SEG; "
                "leave it out"
            )
        files |= _module("rtstruct").encode(scan, stem, ordered, names, notes)
    return files


def stem(scan: Scan) -> str:
    """Returns the start of the names of all files that belong to a scan."""
    name = scan.path.resolve().name
    is_file = scan.path.is_file()
    return file_stem(pathlib.Path(name.removesuffix(".gz")).stem if is_file else name)


def _format(path: pathlib.Path) -> tuple[str, list[pathlib.Path]]:
    """Returns the module that reads the scan, and its files."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path}: no such file or folder; give the path of a scan")
        name = images.format_of(path)
        if name not in ("dicom", "nifti"):
            raise InputError(
                f"{path}: is {file_formats.words(path)}, and no scan; give a folder of slices or a "
                "NIfTI file, or read it as an image"
            )
        return name, [path]
    try:
        found = [(file_formats.format_of(file), file) for file in folders.files(path)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); fix that") from error
    # A DICOM file may be damaged beyond recognition. To skip it would lose a slice in silence.
    dicom = [file for name, file in found if name == "dicom" or file.suffix.lower() == ".dcm"]
    if dicom:
        return "dicom", dicom
    raster = [file for name, file in found if name == "raster" and file.parent == path]
    if raster:
        return "raster", raster
    volume = next(
        (
            f"; for a volume give its file, such as {file}"
            for name, file in found
            if name == "nifti"
        ),
        "",
    )
    raise InputError(f"{path}: holds no DICOM, PNG or TIFF files; give a folder of slices{volume}")


def _module(name: str) -> types.ModuleType:
    """Imports the module of a format only when it is needed: some need an optional package."""
    return importlib.import_module(f"data_pipelines.scans.{name}")
