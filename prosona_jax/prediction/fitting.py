"""Fits the style of one user to their own contours, and scores it on images left out of the fit."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines import images as formats
from data_pipelines import validation
from data_pipelines.images.picture import Picture, file_stem
from prosona_jax.evaluation import metrics
from prosona_jax.prediction import likeness
from prosona_jax.prediction.drawing import Drawer
from prosona_jax.prediction.profile import Profile
from prosona_jax.prediction.seen import Images, Seen, on_crop
from prosona_jax.prediction.styles import Styles
from prosona_jax.types import InputError

LEAST = 3  # images; with two, each score would rest on a fit to one


class _Case(NamedTuple):
    """An image with the contour of the user."""

    seen: Seen
    mask: np.ndarray  # u8 {0, 1} [H, W]
    cut: np.ndarray  # u8 {0, 1} [size, size], the mask on the model's grid
    queries: np.ndarray  # f32 [1 + K, d]: 0, the prior's mean, then the styles on this image


def fit(
    name: str,
    pictures: Sequence[Picture],
    masks: Sequence[np.ndarray],
    *,
    images: Images,
    drawer: Drawer,
    styles: Styles,
) -> Profile:
    """Returns the style fitted to all contours, with its scores on images left out of the fit.

    Raises:
        InputError: as in `Model.fit_style`.
    """
    _check_name(name, styles)
    cases = [_see(*each, images, styles) for each in _checked(pictures, masks)]
    _check_distinct(cases)
    known = np.stack([_dice(drawer, case, case.queries) for case in cases])  # [n, 1 + K]
    own, best = [], []
    for i, case in enumerate(cases):
        own.append(_dice(drawer, case, _fitted(drawer, [*cases[:i], *cases[i + 1 :]])[None])[0])
        best.append(known[i, _best(np.delete(known, i, axis=0))])
    query = _fitted(drawer, cases)
    place = _places(drawer, cases, [query[None]] * len(cases))[0]
    at_styles = _places(drawer, cases, [case.queries[1:] for case in cases])
    text, meanings = styles.vocabulary()
    meaning = None
    if len(text):
        told = [drawer.queries(case.seen.encoded, text) for case in cases]
        distance = np.linalg.norm(_places(drawer, cases, told) - place, axis=1)
        meaning = meanings[int(distance.argmin())]
    names = [style.name for style in styles.all]
    return Profile(
        name=name,
        query=tuple(query.tolist()),
        model_sha256=drawer.sha256,
        dice=tuple(map(float, own)),
        dice_best_style=tuple(map(float, best)),
        dice_prior_mean=tuple(known[:, 0].tolist()),
        best_style=names[_best(known) - 1],
        like=likeness.between(place, at_styles, names),
        degree=meaning if isinstance(meaning, float) else None,
        sentence=meaning if isinstance(meaning, str) else None,
        caveats=_caveats(cases),
    )


def _check_name(name: str, styles: Styles) -> None:
    if pathlib.PurePath(name).name != name or file_stem(name) != name or not name.isprintable():
        raise InputError(f"name {name!r}: cannot name a file; choose letters and digits")
    if name in (style.name for style in styles.all):
        raise InputError(f"name {name!r}: is a style of the model; choose another name")


def _checked(
    pictures: Sequence[Picture], masks: Sequence[np.ndarray]
) -> list[tuple[Picture, np.ndarray]]:
    """Returns each image with its mask as u8 {0, 1} [H, W]; InputError if they do not fit."""
    if len(pictures) != len(masks):
        raise InputError(f"{len(pictures)} images and {len(masks)} masks; give one mask per image")
    if len(pictures) < LEAST:
        raise InputError(
            f"{len(pictures)} images with a contour are too few; a style needs {LEAST} or more"
        )
    found = []
    for picture, mask in zip(pictures, masks, strict=True):
        where, shape = _name_of(picture), picture.image.shape[:2]
        if np.shape(mask) != shape:
            raise InputError(
                f"{where}: its mask is {list(np.shape(mask))} and the image {list(shape)}; draw "
                "the contour on the image's own pixels"
            )
        (binary,) = validation.binary_masks(np.asarray(mask)[None], np.ones(1, bool), where)
        if not binary.any():
            raise InputError(f"{where}: its mask is empty; leave the image out")
        found.append((picture, binary))
    return found


def _name_of(picture: Picture) -> str:
    """Returns the path of an image, with its index if the file holds several."""
    index = picture.slice_index
    return f"{picture.path}" if index is None else f"{picture.path}: image {index}"


def _see(picture: Picture, mask: np.ndarray, images: Images, styles: Styles) -> _Case:
    """Returns an encoded image; InputError if its contour lies outside of the model's input."""
    seen = images.see(picture)
    cut = on_crop(mask[None], seen)[0]
    if not cut.any():
        raise InputError(
            f"{_name_of(picture)}: the model's input shows no part of the contour; give a point in "
            "the contour, and the image is cropped around it"
        )
    queries = styles.queries(seen.encoded)
    return _Case(seen, mask, cut, np.concatenate([np.zeros_like(queries[:1]), queries]))


def _check_distinct(cases: Sequence[_Case]) -> None:
    """Raises InputError if an image occurs twice: left out, it would still be seen by the fit."""
    for i, case in enumerate(cases):
        if any(np.array_equal(case.seen.crop, other.seen.crop) for other in cases[:i]):
            where = _name_of(case.seen.picture)
            raise InputError(f"{where}: the same image is given twice; leave it out once")


def _fitted(drawer: Drawer, cases: Sequence[_Case]) -> np.ndarray:
    """Returns the query f32 [d] that draws all contours best; their order does not matter.

    The fit starts at the best of the prior's mean and the styles.
    """
    cases = sorted(cases, key=lambda case: case.seen.crop.tobytes())  # so that sums are the same
    masks = np.stack([case.cut for case in cases])
    starts = np.mean([case.queries for case in cases], axis=0)
    return drawer.fit([case.seen.encoded for case in cases], masks, starts)


def _dice(drawer: Drawer, case: _Case, queries: np.ndarray) -> np.ndarray:
    """Returns the Dice f64 [s] of queries f32 [s, d] and the user, on the image's own pixels."""
    probs = drawer.draw(case.seen.encoded, queries)
    drawn = formats.from_model(probs, case.seen.placement) > 0.5
    return np.array([metrics.dice(each, case.mask) for each in drawn])


def _best(known: np.ndarray) -> int:
    """Returns the column of the style with the highest mean; column 0 is the prior's mean."""
    return 1 + int(known[:, 1:].mean(axis=0).argmax())


def _places(drawer: Drawer, cases: Sequence[_Case], queries: Sequence[np.ndarray]) -> np.ndarray:
    """Returns where queries f32 [s, d] of each image lie, f32 [s, n d], in standard deviations.

    Distances are root mean squares over images, because a query shifts each latent as far as its
    prior is wide.
    """
    latents = [
        drawer.project(case.seen.encoded, query) for case, query in zip(cases, queries, strict=True)
    ]
    return np.concatenate(latents, axis=1) / np.float32(len(cases) ** 0.5)


def _caveats(cases: Sequence[_Case]) -> tuple[str, ...]:
    """Returns the caveats of the images, and whether contours reach beyond the model's input."""
    found = [caveat for case in cases for caveat in case.seen.caveats]
    beyond = 0
    for case in cases:
        inside = formats.from_model(np.ones((1, *case.cut.shape)), case.seen.placement)[0] > 0.5
        beyond += bool((case.mask > inside).any())
    if beyond:
        found.append(
            f"Contours cut: {beyond} of {len(cases)} reach beyond the model's input, and no style "
            "draws there."
        )
    return tuple(dict.fromkeys(found))
