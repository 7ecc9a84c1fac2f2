"""Reads PNG, JPEG and TIFF as gray values, and writes masks as PNG.

Values of 8 and 16 bits are scaled to 0..1, unless the caller gives another unit than "unit".
"""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, PngImagePlugin

from data_pipelines import raster
from data_pipelines.images.picture import Asked, Picture, choose_slice, file_name
from prosona_jax.types import InputError


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads the image; see `images.read`."""
    page = choose_slice(path, raster.count_pages(path), asked.slice_index)
    gray = raster.read_gray(path, page)
    values = gray.values
    if asked.unit in (None, "unit"):
        if np.isnan(gray.white):
            raise InputError(
                f"{path}: its values are signed or have 32 bits, and the file does not state their "
                "unit; give the unit, HU or arbitrary, or the range that becomes 0..1"
            )
        values = values / np.float32(gray.white)
    caveats: tuple[str, ...] = ()
    if gray.transparent:
        caveats = (
            f"Transparent: {gray.transparent:.0%} of the pixels are not opaque and were blended "
            "with black.",
        )
    unit, unknown = asked.unit or "unit", np.full(2, np.nan, np.float32)
    return Picture(
        values[..., None], unit, unknown, path, "raster", None, caveats, inverted=gray.inverted
    )


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one PNG for each mask; see `pngs`."""
    del picture  # a PNG has no geometry except its size
    return pngs(stem, masks, names, notes)


def pngs(
    stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one PNG of 0 and 255 for each mask, with name and note as its text chunks."""
    files = {}
    for k, (mask, name, note) in enumerate(zip(masks, names, notes, strict=True), start=1):
        text = PngImagePlugin.PngInfo()
        text.add_itxt("Title", name)
        text.add_itxt("Description", note)
        stream = io.BytesIO()
        Image.fromarray(mask * np.uint8(255)).save(stream, format="PNG", pnginfo=text)
        files[file_name(stem, k, name, ".png")] = stream.getvalue()
    return files
