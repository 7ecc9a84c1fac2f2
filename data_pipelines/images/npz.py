"""Reads npz: one image, or one image of a data set in the format of the source `npz`.

| key | shape | |
|---|---|---|
| `image` | [H,W], or [N,H,W] or [N,H,W,C] to choose from | needed |
| `spacing_mm` | [2], or [N,2] | unknown |
| `intensity_unit` | text | the caller's |
| `window` | [N,2,C], as in a data set | none |

The last column is the default of a missing key.
"""

import io
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines import identifiers, npz, validation
from data_pipelines.images.picture import Asked, Picture, choose_slice
from data_pipelines.percentiles import Window
from prosona_jax.types import InputError

_KEYS = ("image", "spacing_mm", "intensity_unit", "window")


def read(path: pathlib.Path, asked: Asked) -> Picture:
    """Reads the image; see `images.read`."""
    arrays = npz.read(path, _KEYS)
    if "image" not in arrays:
        raise InputError(f"{path}: has no image; store it as [H,W], or several as [N,H,W]")
    images = arrays["image"]
    if images.ndim not in (2, 3, 4) or not images.size or images.dtype.kind not in "biuf":
        raise InputError(
            f"{path}: image is {images.dtype} {list(images.shape)}; store real numbers [H,W], or "
            "several images as [N,H,W] or [N,H,W,C]"
        )
    hint = ", or store one image of C channels as [1,H,W,C]" if images.ndim == 3 else ""
    images = images[None] if images.ndim == 2 else images
    index = choose_slice(path, len(images), asked.slice_index, hint=hint)
    image = validation.float32(images[index])
    unit = asked.unit
    if "intensity_unit" in arrays:
        unit = identifiers.text(arrays["intensity_unit"], str(path), "intensity_unit")
    if unit is None or unit not in validation.UNITS:
        raise InputError(
            f"{path}: intensity_unit is {unit!r}; give the unit, one of {validation.UNITS}"
        )
    spacing = arrays.get("spacing_mm", np.full(2, np.nan))
    if spacing.dtype.kind not in "iuf" or spacing.shape not in ((2,), (len(images), 2)):
        raise InputError(
            f"{path}: spacing_mm is {spacing.dtype} {list(spacing.shape)}; store (row, column) in "
            f"mm as [2] or [{len(images)},2]"
        )
    spacing = np.broadcast_to(spacing, (len(images), 2))[index]
    spacing = validation.float32(spacing)
    image = image if image.ndim == 3 else image[..., None]
    picture = Picture(image, unit, spacing, path, "npz", None)
    if "window" not in arrays:
        return picture
    shape = (len(images), 2, image.shape[-1])
    return picture._replace(window=_window(path, arrays["window"], index, shape))


def _window(
    path: pathlib.Path, stored: np.ndarray, index: int, shape: tuple[int, ...]
) -> Window | None:
    """Returns the window of an image's volume, None if the file has none for this image."""
    if stored.dtype.kind not in "iuf" or stored.shape != shape:
        raise InputError(
            f"{path}: window is {stored.dtype} {list(stored.shape)}; store low and high as "
            f"{list(shape)}, NaN if there is none"
        )
    limits = validation.float32(stored[index])
    # The set has no other voxels of the volume, so these limits hold for any percentiles.
    return (lambda _: limits) if np.isfinite(limits).all() else None


def encode(
    picture: Picture, stem: str, masks: np.ndarray, names: Sequence[str], notes: Sequence[str]
) -> dict[str, bytes]:
    """Returns one npz file with `masks` [K,H,W], `names` [K], `notes` [K] and `spacing_mm` [2]."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream, masks=masks, names=names, notes=notes, spacing_mm=picture.spacing_mm
    )
    return {f"{stem}_masks.npz": stream.getvalue()}
