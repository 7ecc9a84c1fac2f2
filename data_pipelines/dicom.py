"""One slice of a DICOM file: what its numbers are, and where it lies.

A file holds one frame or several. In an enhanced file the attributes of a frame stand in functional
groups of its own or of all frames, else at the top; `attribute` finds them in either place.
"""

import contextlib
import importlib
import math
import pathlib
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prosona_jax.types import InputError

AIR_HU = -1000.0
NO_PREAMBLE = "without a DICOM file's preamble of 128 bytes and DICM"
# Functional group and attribute, both named as pydicom names them.
SPACING = ("PixelMeasuresSequence", "PixelSpacing")
THICKNESS = ("PixelMeasuresSequence", "SliceThickness")
GAP = ("PixelMeasuresSequence", "SpacingBetweenSlices")
POSITION = ("PlanePositionSequence", "ImagePositionPatient")
ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
_TRANSFORM = "PixelValueTransformationSequence"
_DECODERS = "pip install pylibjpeg pylibjpeg-openjpeg python-gdcm"
_NATIVE_LUT_BITS = (8, 16)


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Within it whatever goes wrong with a file becomes one line, which the path starts.

    The remedy is for what pydicom gives up on; the faults that are found here name their own.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values against the standard: they are checked here
            yield
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault.__cause__
    except Exception as error:  # pydicom and its decoders raise whatever the bytes lead them to
        if isinstance(error, package().errors.InvalidDicomError):  # its line is for programmers
            raise InputError(f"{path}: truncated, or {NO_PREAMBLE}; {remedy}") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: unreadable or truncated ({reason}); {remedy}") from error


def package() -> types.ModuleType:
    """Returns pydicom; InputError if it is not installed."""
    try:
        return importlib.import_module("pydicom")
    except ImportError as error:
        raise InputError(
            "DICOM needs pydicom, which is missing; run: pip install -e .[dicom]"
        ) from error


def check_image(dataset: Any) -> None:
    """Raises InputError unless the file is of gray pixels that can be decoded here."""
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        kind = package().uid.UID(str(dataset.get("SOPClassUID") or "")).name or "an unknown object"
        raise InputError(
            f"holds no pixels: it is {kind}, or truncated; give the whole file of an image"
        )
    colours = str(dataset.get("PhotometricInterpretation") or "")
    samples = dataset.get("SamplesPerPixel") or 1
    if (colours and not colours.startswith("MONOCHROME")) or samples != 1:
        raise InputError(
            f"is in colour ({colours or samples}); convert it to gray values (MONOCHROME2)"
        )
    if not colours:
        dataset.PhotometricInterpretation = "MONOCHROME2"  # which pydicom wants to be said
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = package().pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        available = not syntax.is_compressed
    if not available:
        raise InputError(
            f"its pixels are compressed as {syntax.name}, for which no decoder is installed; run: "
            f"{_DECODERS}, or save the file without compression"
        )


def count_frames(dataset: Any) -> int:
    """Returns the number of frames, 1 where the file does not say."""
    count = numbers(dataset.get("NumberOfFrames"), "NumberOfFrames", 1)
    if count is None:
        return 1
    if count[0] < 1 or count[0] != int(count[0]):
        raise InputError(f"NumberOfFrames is {count[0]:g}; export the file again")
    return int(count[0])


def holder(dataset: Any, frame: int, group: str) -> Any:
    """Returns where the attributes of a functional group stand: the frame's, all frames', the top.

    A table or a slope may stand at the top of a file whose groups have none.
    """
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (*own[frame : frame + 1], *shared[:1]):
        if found := groups.get(group):
            return found[0]
    return dataset


def attribute(dataset: Any, frame: int, group: str, name: str) -> Any:
    """Returns an attribute of a frame, None where it is absent or empty."""
    value = holder(dataset, frame, group).get(name)
    return None if value is None or value == "" or value == [] else value


def numbers(value: Any, name: str, count: int) -> list[float] | None:
    """Returns an attribute's numbers, None where it is absent or empty.

    Raises:
        InputError: they are of another count, not finite, or no numbers.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    values: list[Any] = list(value) if several else [value]
    if all(each is None or each == "" for each in values):
        return None
    try:
        found = [float(each) for each in values]
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        noun = "a number" if count == 1 else f"{count} numbers"
        raise InputError(f"{name} is {_shown(value)}; it must be {noun}: export the file again")
    return found


def spacing_mm(dataset: Any, frame: int = 0) -> np.ndarray:
    """Returns the size of a pixel f32 [2], (row, column) in mm; NaN where it is not said."""
    values = numbers(attribute(dataset, frame, *SPACING), "PixelSpacing", 2)
    if values is None:
        return np.full(2, np.nan, np.float32)
    if min(values) <= 0:
        raise InputError(f"PixelSpacing is {values}; both sizes must be above 0: export it again")
    return np.array(values, np.float32)


def unit(dataset: Any, frame: int = 0) -> str:
    """Returns what the numbers are: "HU", "arbitrary", or "" for CT that declares no unit."""
    group = holder(dataset, frame, _TRANSFORM)
    tables = group.get("ModalityLUTSequence")
    stated = tables[0].get("ModalityLUTType") if tables else group.get("RescaleType")
    stated = str(stated or "").strip().upper()
    if stated == "HU":
        return "HU"
    if dataset.get("Modality") != "CT":
        return "arbitrary"
    if not stated and not tables:
        return "HU"  # of CT, where the type may be left out
    return "" if stated in ("", "US") else "arbitrary"  # US: unspecified


def values(dataset: Any, frame: int = 0, *, hounsfield: bool) -> np.ndarray:
    """Returns a frame's values f32 [H, W]: stored ones by its slope and intercept, or its table.

    Padding is air in HU, and otherwise as dark as the darkest pixel. Values that are not in HU are
    negated where the highest one is shown as the darkest (MONOCHROME1).

    Raises:
        InputError: an attribute is missing or no number, or pixels are missing.
    """
    stored = _stored(dataset, frame)
    image = _modality(dataset, frame, stored, needed=hounsfield)
    if not hounsfield and str(dataset.PhotometricInterpretation) == "MONOCHROME1":
        image = -image
    padding = _padding(dataset, stored)
    if padding.any():
        rest = image[~padding]
        image[padding] = (
            np.minimum(image[padding], AIR_HU) if hounsfield else rest.min(initial=np.inf)
        )
    return image


def normal(orientation: Sequence[float]) -> np.ndarray:
    """Returns the direction f64 [3] from one slice to the next."""
    row, column = np.reshape(orientation, (2, 3))
    return np.cross(row, column)


def _stored(dataset: Any, frame: int) -> np.ndarray:
    """Returns a frame's stored values [H, W]."""
    check_image(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed and "PixelData" in dataset:
        bits = int(dataset.Rows) * int(dataset.Columns) * count_frames(dataset)
        bits *= int(dataset.BitsAllocated)
        held, expected = len(dataset.PixelData), -(-bits // 8)
        if held not in (expected, expected + expected % 2):  # padded to an even number
            raise ValueError(
                f"{held} bytes of pixels, where its header asks for {expected}: {dataset.Rows} "
                f"rows, {dataset.Columns} columns, frames: {count_frames(dataset)}"
            )
    index = frame if count_frames(dataset) > 1 else None
    stored: np.ndarray = package().pixels.pixel_array(dataset, index=index)
    if stored.ndim != 2:
        raise InputError(f"pixels are {list(stored.shape)}, no slice of rows and columns")
    return stored


def _modality(dataset: Any, frame: int, stored: np.ndarray, *, needed: bool) -> np.ndarray:
    """Returns slope * stored value + intercept, or what a table says, f32 [H, W]."""
    group = holder(dataset, frame, _TRANSFORM)
    if tables := group.get("ModalityLUTSequence"):
        entries, first, bits = tables[0].LUTDescriptor
        if bits not in _NATIVE_LUT_BITS:  # 10 to 15 bits are stored in 16
            tables[0].LUTDescriptor = [entries, first, 16]
        looked_up = package().pixels.apply_modality_lut(stored.astype(np.int32), group)
        return np.asarray(looked_up, np.float32)
    found = {
        name: numbers(group.get(name), name, 1) for name in ("RescaleSlope", "RescaleIntercept")
    }
    if absent := [name for name, value in found.items() if value is None]:
        if needed:
            raise InputError(
                f"has no {' and no '.join(absent)}, needed to make HU of a CT's stored values; "
                "export the slice again with both slope and intercept, or as PNG"
            )
        return stored.astype(np.float32)
    (slope,), (intercept,) = (value or [0.0] for value in found.values())
    return (stored * slope + intercept).astype(np.float32)


def _padding(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Returns where the file has no image, bool [H, W].

    Its value may be written as signed or unsigned, whatever the pixels are, so bits are compared.
    """
    value = numbers(dataset.get("PixelPaddingValue"), "PixelPaddingValue", 1)
    if value is None or stored.dtype.kind not in "iu":
        return np.zeros(stored.shape, bool)
    limit = numbers(dataset.get("PixelPaddingRangeLimit"), "PixelPaddingRangeLimit", 1) or value
    bits = stored.dtype.itemsize * 8
    ends = [int(each[0]) % 2**bits for each in (value, limit)]
    if stored.dtype.kind == "i":
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return (stored >= min(ends)) & (stored <= max(ends))


def _shown(value: Any) -> str:
    shown = str(value)
    return repr(shown if len(shown) <= 40 else f"{shown[:36]} ...")
