"""Finds the cases of a folder: the image and the raters' masks of each."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from data_pipelines import folders, identifiers
from data_pipelines.layouts import patterns, table
from data_pipelines.layouts.patterns import Pattern
from data_pipelines.layouts.presets import LAYOUTS, Layout
from data_pipelines.settings import Settings
from data_pipelines.voxels import arrays
from prosona_jax.types import InputError

_MOST_SHOWN = 3  # files in a message


class Case(NamedTuple):
    """The files of one case, as paths relative to the folder, with `:KEY` of an array."""

    id: str
    images: dict[str, str]  # {channel: file}; the channel is "" if there is only one file
    masks: dict[str, str]  # {rater: file}
    patient_id: str
    site: str
    split: str


class Fault(NamedTuple):
    """What is wrong with the files of a case."""

    case: str  # "": the folder as a whole
    text: str  # one line with file, fault and remedy


class Found(NamedTuple):
    """What a folder holds."""

    root: pathlib.Path
    layout: Layout
    cases: list[Case]  # in the order of their ids; only those with an image and a mask
    raters: list[str]  # sorted
    faults: list[Fault]
    unused: list[str]  # files with the suffix of an image that fit no pattern


def layout_of(settings: Settings) -> Layout:
    """Returns the layout that settings name: fields that they give replace those of a preset.

    Raises:
        InputError: there is neither a preset nor both patterns.
    """
    known = LAYOUTS.get(settings.layout, Layout("", ""))
    layout = Layout(
        settings.images or known.images,
        settings.masks or known.masks,
        tuple(settings.channels) or known.channels,
        known.unit,
    )
    if not (layout.images and layout.masks):
        raise InputError(
            f"{settings.name}: give data.images and data.masks, the patterns of the files, such as "
            "images/{case}.nii.gz and masks/{case}/{rater}.nii.gz, or data.layout, one of "
            f"{', '.join(LAYOUTS)}; python -m data_pipelines.inspect {settings.path} guesses them"
        )
    return layout


def find(root: pathlib.Path, layout: Layout) -> Found:
    """Returns the cases of a folder and the faults in how their files lie; opens no image.

    Raises:
        InputError: the path is no folder, a pattern is wrong, or no file fits the patterns.
    """
    if not root.is_dir():
        raise InputError(f"{root}: is no folder; the source 'folder' needs one")
    if layout.masks.lower().endswith(".txt"):
        raise InputError(
            f"data.masks={layout.masks!r}: masks in text files are not read; the spinal cord grey "
            "matter challenge gives its masks also as .nii.gz: use data.layout=scgm"
        )
    needed = ("case", "channel") if layout.separate else ("case",)
    images_at = Pattern(layout.images, "data.images", needed=needed, allowed=("site",))
    masks_at = Pattern(layout.masks, "data.masks", needed=("case", "rater"), allowed=("site",))
    listing = _Listing(root)
    images = _images(listing, images_at, masks_at, layout)
    masks = _masks(listing, masks_at, images)
    raters = sorted({rater for of_case in masks.values() for rater in of_case})
    if not (images and raters) and listing.faults:
        raise InputError(listing.faults[0].text)  # the files may fit, and cannot be opened
    if not images or not raters:
        pattern, noun = (masks_at, "mask") if images else (images_at, "image")
        shown = ", ".join(listing.files[:_MOST_SHOWN]) or "none"
        raise InputError(
            f"{root}: no {noun} fits the pattern {pattern.text!r}; its files are {shown}, and so "
            "on: correct the pattern or the path"
        )
    _check_rater_folders(listing, masks_at, raters)
    rows: Mapping[str, table.Row] = {}
    if table.NAME in listing.files:
        rows, faults = table.read(root / table.NAME, images)
        listing.faults += [Fault("", text) for text in faults]
    cases = []
    for case, (site, files) in sorted(images.items()):
        row = rows.get(case, table.Row(case))
        missing = [each for each in layout.separate if each not in files]
        if case not in masks:
            listing.fault(case, next(iter(files.values())), "no rater has a mask of it", masks_at)
        elif missing:
            entry, of = next(iter(files.values()), case), ", ".join(missing)
            listing.fault(case, entry, f"its case has no channel {of}", images_at)
        else:
            ordered = {each: files[each] for each in layout.separate or files}
            patient = row.patient_id or case
            place = row.site or site
            cases.append(Case(case, ordered, masks[case], patient, place, row.split))
    used = {
        entry.partition(":")[0]
        for case in images
        for entry in (*images[case][1].values(), *masks.get(case, {}).values())
    }
    return Found(root, layout, cases, raters, listing.faults, listing.unused(used))


class _Listing:
    """The files and folders of a folder, and the faults that were found in them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.files = [file.relative_to(root).as_posix() for file in folders.files(root)]
        self.folders = sorted(
            {each.as_posix() for file in self.files for each in pathlib.PurePosixPath(file).parents}
            - {"."}
        )
        self.faults: list[Fault] = []

    def fault(self, case: str, entry: str, what: str, pattern: Pattern) -> None:
        """Adds a fault whose remedy is to add a file, or to correct its name."""
        self.faults.append(
            Fault(case, f"{self.root / entry}: {what}; add it as {pattern.text}, or move it away")
        )

    def entries(self, pattern: Pattern) -> Iterable[str]:
        """Yields all that the pattern may mean: arrays in files, files, or folders."""
        path, colon, _ = pattern.text.rpartition(":")
        if colon:
            inside = Pattern(path, "", needed=(), allowed=patterns.PARTS)
            for file in filter(inside.matches, self.files):
                try:
                    yield from (f"{file}:{key}" for key in arrays.keys(self.root / file))
                except InputError as fault:
                    text = Fault(patterns.name(inside.matches(file)[0]), str(fault))
                    self.faults += [] if text in self.faults else [text]
        elif pattern.text.endswith((".*", *patterns.SUFFIXES)):
            yield from self.files
        else:
            yield from self.folders

    def unused(self, used: set[str]) -> list[str]:
        """Returns the files with the suffix of an image that no case uses."""
        return [
            file
            for file in self.files
            if file.lower().endswith(patterns.SUFFIXES)
            and file not in used
            and not any(parent.as_posix() in used for parent in pathlib.PurePosixPath(file).parents)
        ]


def _images(
    listing: _Listing, images_at: Pattern, masks_at: Pattern, layout: Layout
) -> dict[str, tuple[str, dict[str, str]]]:
    """Returns the site and the files of each case, {case: (site, {channel: file})}."""
    matched = []
    for entry in listing.entries(images_at):
        ways = images_at.matches(entry)
        if layout.separate:
            ways = [way for way in ways if way.channel in layout.separate]
        matched += [(entry, way) for way in ways[:1]]
    cases = {patterns.name(match) for _, match in matched}
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for entry, match in matched:
        # In one folder the pattern of images may fit masks, too: then the mask's case is another.
        of = masks_at.match(entry, cases)
        own = patterns.name(match)
        if of is not None and patterns.name(of) in cases - {own}:
            continue
        case = _identifier(listing, entry, own)
        _, files = found.setdefault(case, (match.site, {}))
        other = files.setdefault(match.channel, entry)
        if other != entry:
            text = f"{listing.root / entry}: is an image of case {case!r} as is {other}; keep one"
            listing.faults.append(Fault(case, text))
    return found


def _masks(
    listing: _Listing, masks_at: Pattern, images: Mapping[str, tuple[str, dict[str, str]]]
) -> dict[str, dict[str, str]]:
    """Returns the files of each case by rater, {case: {rater: file}}."""
    taken = {entry for _, files in images.values() for entry in files.values()}
    found: dict[str, dict[str, str]] = {}
    for entry in listing.entries(masks_at):
        match = masks_at.match(entry, images)
        if match is None or entry in taken:
            continue
        case = _identifier(listing, entry, patterns.name(match))
        rater = _identifier(listing, entry, match.rater)
        if case not in images:
            text = (
                f"{listing.root / entry}: is a mask of case {case!r}, which has no image; add the "
                "image, or correct the name"
            )
            listing.faults.append(Fault(case, text))
            continue
        other = found.setdefault(case, {}).setdefault(rater, entry)
        if other != entry:
            text = (
                f"{listing.root / entry}: is a mask of case {case!r} by rater {rater!r} as is "
                f"{other}; keep one"
            )
            listing.faults.append(Fault(case, text))
    return found


def _check_rater_folders(listing: _Listing, masks_at: Pattern, raters: list[str]) -> None:
    """Adds a fault for each folder of a rater who has no mask."""
    if (folder := masks_at.folder()) is None:
        return
    for path in sorted(listing.root.glob("/".join("*" * (masks_at.text.count("/"))))):
        name = path.relative_to(listing.root).as_posix()
        match = folder.fullmatch(name)
        if match and path.is_dir() and match["rater"] not in raters:
            text = f"{path}: rater {match['rater']!r} has a folder and no mask; remove it, or add "
            listing.faults.append(Fault("", text + masks_at.text))


def _identifier(listing: _Listing, entry: str, text: str) -> str:
    return identifiers.text(text, str(listing.root / entry), "the name")
