"""PNG: gray values of 8 or 16 bits, scaled to 0..1 as in the source `crops`."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, PngImagePlugin

from data_pipelines.images.picture import Picture, choose_slice, file_name
from data_pipelines.sources import crops


def read(path: pathlib.Path, slice_index: int | None, unit: str | None) -> Picture:
    """Reads the image; see `images.read`."""
    del unit  # the file's depth says how its values are scaled
    choose_slice(path, 1, slice_index)
    image = crops.read_png(path)[..., None]
    return Picture(image, "unit", np.full(2, np.nan, np.float32), path, "png", None)


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one PNG of 0 and 255 for each mask, with name and note as its text."""
    del picture  # a PNG has no geometry but its size
    files = {}
    for k, (mask, name, note) in enumerate(zip(masks, names, notes, strict=True), start=1):
        text = PngImagePlugin.PngInfo()
        text.add_itxt("Title", name)
        text.add_itxt("Description", note)
        stream = io.BytesIO()
        Image.fromarray(mask * np.uint8(255)).save(stream, format="PNG", pnginfo=text)
        files[file_name(stem, k, name, ".png")] = stream.getvalue()
    return files
