"""Recognises the layout of a folder: a known one, or two patterns that pair most of its files."""

import collections
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_pipelines import folders
from data_pipelines.layouts import finding, patterns
from data_pipelines.layouts.finding import Found
from data_pipelines.layouts.patterns import Match, Pattern
from data_pipelines.layouts.presets import LAYOUTS, Layout
from data_pipelines.voxels import arrays
from prosona_jax.types import InputError

_ARRAYS = (".npz", ".h5", ".hdf5")
_PIECE = re.compile(r"[^\W\d_]+|\d+|.", re.DOTALL)  # a word, a number, or one other character
_BORDERS = "/:"  # a name does not go beyond these
_MOST_FILES = 4000  # that are looked at
_MOST_SHAPES = 8
_TRIED = 5  # pairs of patterns that are tried on the whole folder


class _Fit(NamedTuple):
    """How well two patterns pair the files of a folder; the greatest is the best."""

    paired: int  # files that are the image or a mask of a case with both
    raters: int  # minus the number of raters: a name of a case is no name of a rater
    case: int  # letters of the case's name, since "case01" says more than "01"
    rater: int  # minus the letters of a rater's name: "01" rather than "seg01"
    images: str
    masks: str


def recognise(root: pathlib.Path) -> tuple[str, Found]:
    """Returns the name of the known layout, "" if the patterns were guessed, and what it finds.

    The layout that pairs most files wins, and a known one rather than a guessed one.

    Raises:
        InputError: the path is no folder, or no two patterns pair any of its files.
    """
    if not root.is_dir():
        raise InputError(f"{root}: is no folder; name the folder of the images and the masks")
    entries, unreadable = _entries(root)
    guesses = [("", layout) for layout in _guesses(entries)]
    best: tuple[int, str, Found] | None = None
    for name, layout in [*LAYOUTS.items(), *guesses]:
        try:
            found = finding.find(root, layout)
        except InputError:
            continue
        files = sum(1 + len(case.masks) for case in found.cases)
        if files and (best is None or files > best[0]):
            best = files, name, found
    if best is None and unreadable:
        raise unreadable[0]
    if best is None:
        raise InputError(
            f"{root}: no image and masks of one case were recognised; give the patterns, such as "
            "--images=images/{case}.nii.gz --masks=masks/{case}/{rater}.nii.gz"
        )
    return best[1], best[2]


def _entries(root: pathlib.Path) -> tuple[list[str], list[InputError]]:
    """Returns what may be an image or a mask: files, arrays in files, folders of a series.

    The second list has the errors of files whose arrays cannot be listed.
    """
    unreadable = []
    files = [file.relative_to(root).as_posix() for file in folders.files(root)]
    found: list[str] = []
    slices: dict[str, list[str]] = collections.defaultdict(list)
    for name in [name for name in files if name.lower().endswith(patterns.SUFFIXES)][:_MOST_FILES]:
        if name.lower().endswith(_ARRAYS):
            try:
                found += [f"{name}:{key}" for key in arrays.keys(root / name)]
            except InputError as fault:
                unreadable.append(fault)
        elif name.lower().endswith(".dcm"):
            slices[name.rpartition("/")[0]].append(name)
        else:
            found.append(name)
    for folder, names in slices.items():
        # Slices of a series lie together. The masks of several raters do, too, and are few.
        found += [folder] if folder and len(names) > _few_masks(slices) else names
    return sorted(found), unreadable


def _few_masks(slices: dict[str, list[str]]) -> float:
    """Returns a number of files between those of the smallest and of the largest folder."""
    counts = [len(names) for names in slices.values()]
    return (min(counts) * max(counts)) ** 0.5 if min(counts) < max(counts) else 1


def _guesses(entries: Sequence[str]) -> list[Layout]:
    """Returns pairs of patterns, the best first."""
    samples = _samples(entries)
    images = _matches(entries, {each for path in samples for each in _images_like(path)}, ())
    masks = _matches(entries, {each for path in samples for each in _masks_like(path)}, ("rater",))
    fits = [
        fit
        for (image, of_images), (mask, of_masks) in itertools.product(images.items(), masks.items())
        if (fit := _fit(image, of_images, mask, of_masks)).paired
    ]
    return [Layout(fit.images, fit.masks) for fit in sorted(fits, reverse=True)[:_TRIED]]


def _samples(entries: Sequence[str]) -> list[str]:
    """Returns some paths of each shape: what is left without words and numbers."""
    shapes: dict[str, list[str]] = collections.defaultdict(list)
    for entry in entries:
        shapes[re.sub(r"[^\W_]+", "", entry)].append(entry)
    largest = sorted(shapes.values(), key=len, reverse=True)[:_MOST_SHAPES]
    return [paths[k] for paths in largest for k in sorted({0, len(paths) // 2, len(paths) - 1})]


def _images_like(path: str) -> Iterator[str]:
    pieces, suffix = _pieces(path)
    for case in _names(pieces):
        yield _pattern(pieces, {"case": case}) + suffix


def _masks_like(path: str) -> Iterator[str]:
    pieces, suffix = _pieces(path)
    for case, rater in itertools.permutations(_names(pieces), 2):
        if case[1] < rater[0] or rater[1] < case[0]:  # nothing would say where one of two ends
            yield _pattern(pieces, {"case": case, "rater": rater}) + suffix


def _pieces(path: str) -> tuple[list[str], str]:
    """Returns the words, numbers and separators of a path, and its suffix."""
    suffix = next((each for each in patterns.SUFFIXES if path.lower().endswith(each)), "")
    end = len(path) - len(suffix)
    return _PIECE.findall(path[:end]), path[end:]


def _names(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """Returns the runs of pieces (start, end) that may be a name."""
    words = [k for k, piece in enumerate(pieces) if piece[0].isalnum()]
    return [
        (start, end + 1)
        for start, end in itertools.combinations_with_replacement(words, 2)
        if not set(pieces[start:end]) & set(_BORDERS)
    ]


def _pattern(pieces: Sequence[str], parts: dict[str, tuple[int, int]]) -> str:
    """Returns pieces with parts instead of runs, also where the same run occurs again."""
    result = list(pieces)
    for name, (start, end) in parts.items():
        own = list(pieces[start:end])
        taken = {k for other, span in parts.items() if other != name for k in range(*span)}
        k = 0
        while k + len(own) <= len(result):
            if list(pieces[k : k + len(own)]) == own and not taken & set(range(k, k + len(own))):
                if k == start or len("".join(own)) > 1:
                    result[k : k + len(own)] = [f"{{{name}}}", *[""] * (len(own) - 1)]
                k += len(own)
            else:
                k += 1
    return "".join(result)


def _matches(
    entries: Sequence[str], texts: set[str], parts: Sequence[str]
) -> dict[str, dict[str, Match]]:
    """Returns what each pattern matches, {pattern: {entry: match}}, if it matches several."""
    found = {}
    for text in sorted(texts):
        pattern = Pattern(text, "", needed=("case", *parts), allowed=())
        matched = {entry: ways[0] for entry in entries if (ways := pattern.matches(entry))}
        if len(matched) > 1 or len(entries) < 4:
            found[text] = matched
    return found


def _fit(image: str, of_images: dict[str, Match], mask: str, of_masks: dict[str, Match]) -> _Fit:
    images = {match.case: entry for entry, match in of_images.items()}
    taken = set(images.values())
    pairs = {
        (match.case, match.rater)
        for entry, match in of_masks.items()
        if match.case in images and entry not in taken
    }
    cases = {case for case, _ in pairs}
    raters = {rater for _, rater in pairs}
    return _Fit(
        len(pairs) + len(cases),
        -len(raters),
        sum(map(len, cases)),
        -sum(map(len, raters)),
        image,
        mask,
    )
