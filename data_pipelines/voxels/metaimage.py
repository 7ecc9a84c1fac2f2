"""Reads a MetaImage, .mha or .mhd, 2-D or 3-D, as voxels.

The header is a few lines `Key = value`. It is read here, since the libraries that do weigh 200 MB.
"""

import math
import pathlib
import zlib

import numpy as np

from data_pipelines.images.picture import unreadable
from data_pipelines.voxels import channels
from data_pipelines.voxels.grid import Grid, Voxels, nowhere
from prosona_jax.types import InputError

_LOCAL = b"LOCAL"  # the values follow the header in the same file
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST = 2**16  # bytes of a header


def read(path: pathlib.Path) -> Voxels:
    """Returns the values; the file does not state their unit."""
    try:
        header, start = _header(path)
        shape = tuple(map(int, header["DimSize"].split()))
        values = _values(path, header, start, shape)
        return Voxels(values.reshape(*(*shape, 1)[:3], -1), _grid(header, shape))
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: its header has no {error}; export the file again") from error
    except Exception as error:  # numbers that are none, damaged zlib streams, missing files
        raise unreadable(path, error) from error


def _header(path: pathlib.Path) -> tuple[dict[str, str], int]:
    """Returns {key: value} and the byte after the header."""
    with path.open("rb") as file:
        head = file.read(_LONGEST)
    found: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in found:
        end = head.index(b"\n", start) if b"\n" in head[start:] else len(head)
        key, separator, value = head[start:end].decode("latin-1").partition("=")
        if not separator or start >= len(head):
            raise InputError(f"{path}: has no MetaImage header; export the file again")
        found[key.strip()] = value.strip()
        start = end + 1
    return found, start


def _values(
    path: pathlib.Path, header: dict[str, str], start: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Returns the values, of which the last axis is that of the channels."""
    kind = _TYPES.get(header["ElementType"])
    count = int(header.get("ElementNumberOfChannels", "1"))
    if len(shape) not in (2, 3) or 0 in shape or kind is None or count < 1:
        raise InputError(
            f"{path}: is {header['ElementType']} {list(shape)} of {count} channels; store real "
            "numbers in 2-D or 3-D, and say with ElementNumberOfChannels how many each pixel has"
        )
    channels.check(path, count)
    name = header["ElementDataFile"]
    if name.encode() == _LOCAL:
        content = path.read_bytes()[start:]
    elif name.startswith("LIST") or "%" in name:
        raise InputError(f"{path}: refers to many files ({name}); export one .mha")
    else:
        content = (path.parent / name).read_bytes()
    if _is_true(header, "CompressedData"):
        content = zlib.decompress(content)
    big = _is_true(header, "BinaryDataByteOrderMSB") or _is_true(header, "ElementByteOrderMSB")
    dtype = np.dtype(kind).newbyteorder(">" if big else "<")
    expected = count * math.prod(shape) * dtype.itemsize
    if len(content) < expected:
        raise EOFError(f"{len(content)} bytes of values, and its header asks for {expected}")
    # HeaderSize -1 means that the values are at the end of their file.
    kept = content[-expected:] if header.get("HeaderSize") == "-1" else content[:expected]
    return np.moveaxis(np.frombuffer(kept, dtype).reshape(count, *shape, order="F"), 0, -1)


def _is_true(header: dict[str, str], key: str) -> bool:
    return header.get(key, "False").lower() in ("true", "1")


def _grid(header: dict[str, str], shape: tuple[int, ...]) -> Grid:
    rank = len(shape)
    sizes = _numbers(header, "ElementSpacing", "ElementSize")
    axes = _numbers(header, "TransformMatrix", "Rotation", "Orientation")
    origin = _numbers(header, "Offset", "Position", "Origin")
    if sizes is None:
        return nowhere(shape)
    if axes is None or origin is None or rank == 2:  # 2-D has no place in a patient
        return nowhere(shape)._replace(spacing_mm=np.array([*sizes, np.nan])[:3])
    affine = np.eye(4)
    affine[:3, :3] = axes.reshape(3, 3).T * sizes
    affine[:3, 3] = origin
    return Grid((shape[0], shape[1], shape[2]), affine, sizes)


def _numbers(header: dict[str, str], *keys: str) -> np.ndarray | None:
    """Returns the numbers of the first of these keys that the header has."""
    text = next((header[key] for key in keys if key in header), None)
    return None if text is None else np.array(text.split(), float)
