"""Reads one slice of a DICOM file: its values, their unit, and its geometry.

A file holds one frame or several. In an enhanced file the attributes of a frame are in its own
functional groups, in those shared by all frames, or at the top level; `attribute` looks in all.
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
# (functional group, attribute), by pydicom's names.
SPACING = ("PixelMeasuresSequence", "PixelSpacing")
THICKNESS = ("PixelMeasuresSequence", "SliceThickness")
GAP = ("PixelMeasuresSequence", "SpacingBetweenSlices")
POSITION = ("PlanePositionSequence", "ImagePositionPatient")
ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
_TRANSFORM = "PixelValueTransformationSequence"
_DECODERS = "pip install pylibjpeg pylibjpeg-openjpeg python-gdcm"
_NATIVE_LUT_BITS = (8, 16)
_PADDING = {  # {pixel data: start of the names of its padding attributes}
    "PixelData": "PixelPadding",
    "FloatPixelData": "FloatPixelPadding",
    "DoubleFloatPixelData": "DoubleFloatPixelPadding",
}
_LAYOUT = ("Rows", "Columns", "BitsAllocated")
_INTEGERS = ("BitsStored", "PixelRepresentation")  # float pixels have none of these of


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[None]:
    """Turns every error within it into an InputError of one line that starts with the path.

    The remedy is used for the errors of pydicom; this package's own errors name their remedies.
    """
    try:
        with warnings.catch_warnings():
            # pydicom warns of values that violate the standard; this module checks them.
            warnings.simplefilter("ignore")
            yield
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from fault.__cause__
    except Exception as error:  # on damaged bytes pydicom and its decoders may raise anything
        if isinstance(error, package().errors.InvalidDicomError):  # has a message for programmers
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
    """Raises InputError unless the file holds gray pixels that the installed decoders can read."""
    kind = package().uid.UID(str(dataset.get("SOPClassUID") or "")).name or "an unknown object"
    if not any(name in dataset for name in _PADDING):
        raise InputError(
            f"holds no pixels: it is {kind}, or truncated; give the whole file of an image"
        )
    if kind == "Segmentation Storage":
        raise InputError("holds masks, and no image; give the image that they were drawn on")
    colours = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    samples = dataset.get("SamplesPerPixel") or 1
    if not colours.startswith("MONOCHROME") or samples != 1:
        raise InputError(
            f"is in colour ({colours if samples == 1 else samples}); convert it to gray values "
            "(MONOCHROME2)"
        )
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = colours, 1  # pydicom needs both
    _check_layout(dataset)
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


def _check_layout(dataset: Any) -> None:
    """Raises InputError unless the file states the memory layout of its pixels."""
    for name in (*_LAYOUT, *(_INTEGERS if "PixelData" in dataset else ())):
        if numbers(dataset.get(name), name, 1) is None:
            raise InputError(f"has no {name}; export the file again")
    highest = numbers(dataset.get("HighBit"), "HighBit", 1)
    if "PixelData" in dataset and highest and highest[0] != int(dataset.BitsStored) - 1:
        raise InputError(
            f"HighBit is {highest[0]:g} and BitsStored {dataset.BitsStored}, so the values do not "
            "start at the lowest bit; export the file again"
        )


def count_frames(dataset: Any) -> int:
    """Returns the number of frames, 1 if the file does not state it."""
    count = numbers(dataset.get("NumberOfFrames"), "NumberOfFrames", 1)
    if count is None:
        return 1
    if count[0] < 1 or count[0] != int(count[0]):
        raise InputError(f"NumberOfFrames is {count[0]:g}; export the file again")
    return int(count[0])


def holder(dataset: Any, frame: int, group: str) -> Any:
    """Returns the data set that holds a functional group's attributes: the frame's, shared or top.

    A table or a slope may be at the top level of a file whose groups have none.
    """
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (*own[frame : frame + 1], *shared[:1]):
        if found := groups.get(group):
            return found[0]
    return dataset


def attribute(dataset: Any, frame: int, group: str, name: str) -> Any:
    """Returns an attribute of a frame, None if it is absent or empty.

    If a file has several frames, a position at its top level is that of the first frame only.
    """
    owner = holder(dataset, frame, group)
    if owner is dataset and (group, name) == POSITION and count_frames(dataset) > 1:
        return None
    value = owner.get(name)
    return None if value is None or value == "" or value == [] else value


def numbers(value: Any, name: str, count: int) -> list[float] | None:
    """Returns an attribute's numbers, None if it is absent or empty.

    Raises:
        InputError: it has another count of values, or a value is not finite or not a number.
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
    """Returns the size of a pixel f32 [2], (row, column) in mm; NaN if it is not stated."""
    values = numbers(attribute(dataset, frame, *SPACING), "PixelSpacing", 2)
    if values is None:
        return np.full(2, np.nan, np.float32)
    if min(values) <= 0:
        raise InputError(f"PixelSpacing is {values}; both sizes must be above 0: export it again")
    return np.array(values, np.float32)


def unit(dataset: Any, frame: int = 0) -> str:
    """Returns the unit of the values: "HU", "arbitrary", or "" for CT that declares no unit."""
    group = holder(dataset, frame, _TRANSFORM)
    tables = group.get("ModalityLUTSequence")
    stated = tables[0].get("ModalityLUTType") if tables else group.get("RescaleType")
    stated = str(stated or "").strip().upper()
    if stated == "HU":
        return "HU"
    if dataset.get("Modality") != "CT":
        return "arbitrary"
    if not stated and not tables:
        return "HU"  # CT may leave the type out
    return "" if stated in ("", "US") else "arbitrary"  # US: unspecified


def values(dataset: Any, frame: int = 0, *, hounsfield: bool) -> np.ndarray:
    """Returns a frame's values f32 [H, W]: its slope and intercept, or its table, applied.

    Padding becomes air if the values are HU, else it becomes as dark as the darkest pixel.

    Raises:
        InputError: an attribute is missing or not a number, or pixels are missing.
    """
    stored = _stored(dataset, frame)
    image = _modality(dataset, frame, stored, needed=hounsfield)
    padding = _padding(dataset, frame, stored)
    if padding.all():
        raise InputError("holds nothing but padding; choose another slice, or export it again")
    if padding.any():
        darkest = np.max if is_inverted(dataset) else np.min
        image[padding] = (
            np.minimum(image[padding], AIR_HU) if hounsfield else darkest(image[~padding])
        )
    return image


def is_inverted(dataset: Any) -> bool:
    """Returns whether the file displays its highest value as the darkest."""
    return str(dataset.PhotometricInterpretation) == "MONOCHROME1"


def normal(orientation: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the direction f64 [3] from one slice to the next."""
    row, column = np.reshape(orientation, (2, 3))
    return np.cross(row, column)


def _stored(dataset: Any, frame: int, **options: Any) -> np.ndarray:
    """Returns a frame's stored values [H, W]; options are those of pydicom's decoders."""
    check_image(dataset)
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed and "PixelData" in dataset:
        bits = int(dataset.Rows) * int(dataset.Columns) * count_frames(dataset)
        bits *= int(dataset.BitsAllocated)
        held, expected = len(dataset.PixelData), -(-bits // 8)
        # Pixel data may be padded to an even length.
        if held not in (expected, expected + expected % 2):
            raise ValueError(
                f"{held} bytes of pixels, but its header asks for {expected}: {dataset.Rows} "
                f"rows, {dataset.Columns} columns, frames: {count_frames(dataset)}"
            )
    index = frame if count_frames(dataset) > 1 else None
    stored: np.ndarray = package().pixels.pixel_array(dataset, index=index, **options)
    if stored.ndim != 2:
        raise InputError(f"pixels are {list(stored.shape)}, not one slice of rows and columns")
    return stored


def _modality(dataset: Any, frame: int, stored: np.ndarray, *, needed: bool) -> np.ndarray:
    """Returns slope * stored value + intercept, or the values of a table, f32 [H, W]."""
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
    absent = [name for name, value in found.items() if value is None]
    if absent and needed:
        raise InputError(
            f"has no {' and no '.join(absent)}, needed to make HU of a CT's stored values; "
            "export the slice again with both slope and intercept, or as PNG"
        )
    (slope,), (intercept,) = found["RescaleSlope"] or [1.0], found["RescaleIntercept"] or [0.0]
    return (stored * slope + intercept).astype(np.float32)


def _padding(dataset: Any, frame: int, stored: np.ndarray) -> np.ndarray:
    """Returns which pixels are padding, bool [H, W].

    For integer pixels the bounds have 16 bits at most, and may be signed or unsigned independently
    of the pixels. A bound that BitsStored cannot hold is compared with all bits of a pixel.
    """
    name = next(padding for pixels, padding in _PADDING.items() if pixels in dataset)
    value = numbers(dataset.get(f"{name}Value"), f"{name}Value", 1)
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = numbers(dataset.get(f"{name}RangeLimit"), f"{name}RangeLimit", 1) or value
    low, high = sorted((value[0], limit[0]))
    if stored.dtype.kind == "f":
        return (stored >= low) & (stored <= high)
    bits, signed = min(16, 8 * stored.dtype.itemsize), stored.dtype.kind == "i"
    lowest, highest = _limits(bits, signed)
    first, last = (int(end - lowest) % 2**bits + lowest for end in (low, high))
    least, most = _limits(int(dataset.BitsStored), signed)
    if min(first, last) < least or max(first, last) > most:
        stored = _stored(dataset, frame, correct_unused_bits=False)
    if first <= last:
        return (stored >= first) & (stored <= last)
    return ((stored >= first) & (stored <= highest)) | ((stored >= lowest) & (stored <= last))


def _limits(bits: int, signed: bool) -> tuple[int, int]:
    """Returns the lowest and the highest integer of that number of bits."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _shown(value: Any) -> str:
    shown = str(value)
    return repr(shown if len(shown) <= 40 else f"{shown[:36]} ...")
