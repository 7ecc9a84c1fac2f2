"""Recognises the format of a file by its first bytes, since the file's name may be wrong."""

import pathlib
import zlib
from collections.abc import Collection
from typing import NamedTuple

IMAGES = ("dicom", "nifti", "npz", "raster")  # formats of one image, see `images`
VOXELS = (*IMAGES, "nrrd", "metaimage", "hdf5")  # formats of a case of a folder, see `voxels`
_HEAD = 1024  # bytes; the NIfTI-2 header is the longest, with 540
_BMP = "a BMP image"  # its first two letters, BM, may also start a text
_GZIP, _GZIP_WINDOW = b"\x1f\x8b", 16 + zlib.MAX_WBITS


class _Mark(NamedTuple):
    offset: int
    letters: bytes
    format: str  # one of `VOXELS`, "" if no reader accepts the file
    words: str  # for messages


_MARKS = (
    _Mark(128, b"DICM", "dicom", "a DICOM file"),
    _Mark(0, b"\x89PNG\r\n\x1a\n", "raster", "a PNG image"),
    _Mark(0, b"\xff\xd8\xff", "raster", "a JPEG image"),
    _Mark(0, b"II*\0", "raster", "a TIFF image"),
    _Mark(0, b"MM\0*", "raster", "a TIFF image"),
    _Mark(0, b"II+\0", "raster", "a TIFF image"),
    _Mark(0, b"MM\0+", "raster", "a TIFF image"),
    _Mark(344, b"n+1\0", "nifti", "a NIfTI file"),
    _Mark(4, b"n+2\0\r\n\x1a\n", "nifti", "a NIfTI file"),
    _Mark(344, b"ni1\0", "", "the .hdr or .img file of a NIfTI pair"),
    _Mark(4, b"ni2\0\r\n\x1a\n", "", "the .hdr or .img file of a NIfTI pair"),
    _Mark(0, b"PK\x03\x04", "npz", "a zip archive"),
    _Mark(0, b"\x93NUMPY", "npz", "a single NumPy array"),
    _Mark(0, b"\0\0\0\x0cjP  ", "", "a JPEG 2000 image"),
    _Mark(0, b"\xff\x4f\xff\x51", "", "a JPEG 2000 image"),
    _Mark(0, b"GIF8", "", "a GIF image"),
    *(_Mark(14, bytes([size, 0, 0, 0]), "", _BMP) for size in (12, 40, 52, 56, 108, 124)),
    _Mark(8, b"WEBP", "", "a WebP image"),
    _Mark(4, b"ftyp", "", "a film, or an image of a telephone (HEIC)"),
    _Mark(0, b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file, as MATLAB 7.3 and others write"),
    _Mark(0, b"MATLAB 5.0", "", "a MATLAB file"),
    _Mark(0, b"NRRD", "nrrd", "an NRRD image"),
    _Mark(0, b"ObjectType", "metaimage", "a MetaImage header"),
    _Mark(0, b"SQLite format 3\0", "", "an SQLite database"),
    _Mark(0, b"%PDF", "", "a PDF document"),
    _Mark(4, b"1AY&SY", "", "a bzip2 file"),
    _Mark(0, b"\xfd7zXZ\0", "", "an xz file"),
    _Mark(0, b"\x28\xb5\x2f\xfd", "", "a Zstandard file"),
    _Mark(0, b"7z\xbc\xaf\x27\x1c", "", "a 7z archive"),
    _Mark(0, b"Rar!", "", "a RAR archive"),
    _Mark(0, b"\xff\xfe", "", "text in UTF-16"),
    _Mark(0, b"\xfe\xff", "", "text in UTF-16"),
    *(_Mark(0, bytes([0x80, protocol]), "", "a Python pickle") for protocol in range(2, 6)),
)


def is_gzip(path: pathlib.Path) -> bool:
    """Returns whether the file is compressed by gzip, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def format_of(path: pathlib.Path, among: Collection[str] = IMAGES) -> str:
    """Returns the format of a file, "" if it is none of `among`."""
    mark = _mark(_head(path))
    if not mark or (mark.format != "nifti" and is_gzip(path)):  # no other format is read compressed
        return ""
    return mark.format if mark.format in among else ""


def words(path: pathlib.Path) -> str:
    """Returns the kind of the file as part of a sentence; "" if it is unknown."""
    if path.is_dir():
        return "a folder"
    try:
        head = _head(path)
    except OSError:  # the caller reports that the file cannot be read
        return ""
    if not head:
        return "an empty file"
    if mark := _mark(head):
        packed = mark.format != "nifti" and is_gzip(path)
        return f"{mark.words} that gzip packed" if packed else mark.words
    if is_gzip(path):
        return "a gzip file of something else than NIfTI" if len(head) == _HEAD else ""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # An error further on may only mean that the head ends within a character.
        if error.start < len(head) - 4:
            return ""
        text = head[: error.start].decode("utf-8")
    return "" if "\0" in text else "plain text"


def _head(path: pathlib.Path) -> bytes:
    """Returns the first bytes, decompressed if gzip compressed them; fewer of a damaged file."""
    with path.open("rb") as file:
        packed = file.read(2 * _HEAD)  # data that do not compress grow a little
    if not packed.startswith(_GZIP):
        return packed[:_HEAD]
    try:
        return zlib.decompressobj(wbits=_GZIP_WINDOW).decompress(packed, _HEAD) or packed
    except zlib.error:
        return packed


def _mark(head: bytes) -> _Mark | None:
    for mark in _MARKS:
        if mark.words == _BMP and not head.startswith(b"BM"):
            continue
        if head[mark.offset :].startswith(mark.letters):
            return mark
    return None
