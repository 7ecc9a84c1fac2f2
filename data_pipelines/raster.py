"""Reads PNG, JPEG and TIFF files: the gray values of an image, or a mask."""

import contextlib
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from data_pipelines import file_formats, validation
from prosona_jax.types import InputError, first_line

FORMATS = ("PNG", "JPEG", "TIFF")
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # a tag of TIFF, and its value for inverted gray values
_SAMPLE_FORMAT, _UNSIGNED, _SIGNED = 339, 1, 2  # a tag of TIFF, and two of its values


class _Opened(NamedTuple):
    pixels: Any  # a decoded Pillow image, upright
    format: str
    pages: int
    white_is_zero: bool
    sample_format: int  # tag of a TIFF: signed or unsigned


class Gray(NamedTuple):
    """Gray values as a file stores them."""

    values: np.ndarray  # f32 [H, W]
    white: float  # the highest value of this bit depth; NaN if there is none
    transparent: float  # share of the pixels that are not opaque, 0 to 1
    inverted: bool  # True: white is stored as 0


def count_pages(file: pathlib.Path) -> int:
    """Returns the number of images in a file; a TIFF may hold several."""
    with _open(file) as opened:
        return opened.pages


def measure(file: pathlib.Path) -> tuple[int, tuple[int, int]]:
    """Returns the number of images in a file, and (height, width) of the first, upright."""
    with _open(file) as opened:
        width, height = opened.pixels.size
        return opened.pages, (height, width)


def read_gray(file: pathlib.Path, page: int = 0) -> Gray:
    """Reads one image as gray values.

    Colour becomes luminance. The image is rotated as a camera's tag asks. Transparent pixels are
    blended with black.

    Raises:
        InputError: no such file, or it cannot be read completely.
    """
    with _open(file, page) as opened:
        image = opened.pixels
        alpha = _alpha(image)
        if image.mode.startswith(("I", "F")):  # 16 bits, 32 bits, floats
            pixels = np.asarray(image)
            if image.mode == "I" and opened.sample_format == _UNSIGNED:  # Pillow ignores this tag
                pixels = pixels.view(np.uint32)
            values = validation.float32(pixels)
            sixteen = image.mode.startswith("I;16") or opened.format == "PNG"
            white = 65535.0 if sixteen else float("nan")
        elif opened.sample_format == _SIGNED:
            raise InputError(
                f"{file}: its values are signed and have 8 bits; save them with 16 bits"
            )
        else:
            values, white = np.asarray(image.convert("L")).astype(np.float32), 255.0
            if opened.white_is_zero:  # Pillow has inverted 8-bit values
                values = white - values
    if alpha is not None:
        values = values * alpha
    transparent = 0.0 if alpha is None else float(np.mean(alpha < 1))
    return Gray(values, white, transparent, opened.white_is_zero)


def read_colours(file: pathlib.Path, page: int = 0) -> np.ndarray | None:
    """Reads red, green and blue of one image, f32 [H, W, 3] from 0 to 255; None: it is stored gray.

    Transparent pixels are blended with black.

    Raises:
        InputError: no such file, or it cannot be read completely.
    """
    with _open(file, page) as opened:
        image = opened.pixels
        if Image.getmodebase(image.mode) == "L":
            return None
        alpha = _alpha(image)
        colours = np.asarray(image.convert("RGB")).astype(np.float32)
    return colours if alpha is None else colours * alpha[..., None]


def read_mask(file: pathlib.Path) -> np.ndarray:
    """Reads a mask as bool [H, W]: every pixel that is not black is foreground.

    An image of one colour may instead store the mask in its transparency. In a palette, index 0
    must be the only black colour.

    Raises:
        InputError: the file cannot be read, it is a JPEG, whose values are not exact, or its
            colours contradict its transparency or its palette.
    """
    remedy = "save the mask as a gray PNG of 0 and 255, without transparency or palette"
    with _open(file) as opened:
        image = opened.pixels
        if opened.format == "JPEG":
            raise InputError(
                f"{file}: is a JPEG image, and JPEG changes the pixels at a mask's edge; {remedy}"
            )
        if opened.white_is_zero and image.mode.startswith(("I", "F")):
            raise InputError(f"{file}: its white is 0 (WhiteIsZero), so 0 is not black; {remedy}")
        alpha = _alpha(image)
        drawn = _drawn(image)
        indices = np.asarray(image) if image.mode == "P" else None
    visible = np.ones_like(drawn) if alpha is None else alpha > 0
    if indices is not None and ((drawn != (indices > 0)) & visible).any():
        raise InputError(
            f"{file}: its palette gives index 0 a colour, or makes another index black, so its "
            f"indices and its colours are different masks; {remedy}"
        )
    if alpha is None or ((alpha == alpha.flat[0]).all() and visible.all()):
        return drawn
    if drawn.all() or not drawn.any():  # the image has one colour: the mask is in its transparency
        return visible
    if (drawn & visible == visible).all() or (drawn & visible == drawn).all():
        return drawn & visible
    raise InputError(f"{file}: its transparency and its colours are different masks; {remedy}")


def _alpha(image: Any) -> np.ndarray | None:
    """Returns the opacity of each pixel, f32 [H, W] in 0..1; None if the file has none."""
    if image.mode.endswith(("A", "a")):
        alpha = image.getchannel("A" if image.mode.endswith("A") else "a")
        return np.asarray(alpha).astype(np.float32) / np.float32(255)
    key = image.info.get("transparency")
    if key is None:
        return None
    if image.mode.startswith("I"):
        return (np.asarray(image) != key).astype(np.float32)
    return np.asarray(image.convert("RGBA").getchannel("A")).astype(np.float32) / np.float32(255)


def _drawn(image: Any) -> np.ndarray:
    """Returns which colours are not black, bool [H, W]. Luminance would not do: dark blue has 0."""
    if image.mode.startswith(("1", "I", "F")) or image.mode == "L":
        pixels = np.asarray(image)[..., None]
    else:
        pixels = np.asarray(image.convert("RGBA"))[..., :3]
    return np.any(pixels, axis=-1)


@contextlib.contextmanager
def _open(file: pathlib.Path, page: int = 0) -> Iterator[_Opened]:
    """Opens and decodes an image; every error becomes an InputError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of metadata that are not used here
            # Pillow gets a stream: given a path, it scrambles a TIFF that it must rotate.
            with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
                # An MPO file of a telephone is a JPEG with previews as further images.
                kind = "JPEG" if image.format == "MPO" else str(image.format)
                pages = 1 if kind == "JPEG" else int(getattr(image, "n_frames", 1))
                image.seek(page)
                if ";16" in str(image.tile) and not image.mode.startswith(("I", "F")):
                    raise InputError(
                        f"{file}: its colours have 16 bits, and Pillow reads only 8; save it as "
                        "gray of 8 or 16 bits"
                    )
                image.load()
                tags = getattr(image, "tag_v2", {})
                white_is_zero = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
                sample_format = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
                # Pillow itself rotates a TIFF as its tag asks.
                upright = image if kind == "TIFF" else ImageOps.exif_transpose(image)
                yield _Opened(upright, kind, pages, white_is_zero, sample_format)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{file}: no such file") from None
    except Exception as error:  # on damaged bytes Pillow's decoders may raise anything
        is_a = file_formats.words(file) or "of an unknown format"
        reason = f" ({first_line(error)})"
        if isinstance(error, UnidentifiedImageError):  # its message only repeats the path
            tiff = " (or one of a kind that is not read, such as numbers of 64 bits)"
            reason = tiff if is_a == "a TIFF image" else ""
        raise InputError(
            f"{file}: not a readable PNG, JPEG or TIFF, truncated or damaged: it is "
            f"{is_a}{reason}; save it again as PNG"
        ) from error
