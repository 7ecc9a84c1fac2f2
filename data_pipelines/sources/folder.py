"""Reads a folder of images and of any number of raters' masks, found by two patterns.

    images/{case}.nii.gz      masks/{case}/{rater}.nii.gz

`layouts.patterns` explains the patterns, `voxels` the formats, `layouts.presets` the known layouts
and `layouts.table` the file `cases.csv`. The masks of a record are in the order of the raters'
names. A 2-D image is a record, and a 3-D one becomes one for each slice, see `volumes`. One case at
a time is in memory.
"""

import collections
from collections.abc import Iterator

import tqdm

from data_pipelines import volumes
from data_pipelines.layouts import finding, loading
from data_pipelines.layouts.finding import Case, Found
from data_pipelines.layouts.loading import NO_UNIT, Read
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the records of all cases, in the order of their ids; see `sources.records`.

    With `data.on_error` = "raise", all files are read once before the first record is made, so that
    one error lists all faults of the folder, a line each.
    """
    layout = finding.layout_of(settings)
    found = finding.find(settings.location(), layout)
    unit = settings.unit or layout.unit
    of_all = [fault.text for fault in found.faults if not fault.case]
    if settings.on_error == "raise":
        of_all = [fault.text for fault in found.faults]
        for case in tqdm.tqdm(found.cases, desc=f"checking {settings.name}", unit=" cases"):
            of_all += faults(found, case, read(found, case, settings.label, unit))
    if of_all:
        raise InputError("\n".join(of_all))
    yield from (InputError(fault.text) for fault in found.faults)
    for case in found.cases:
        content = read(found, case, settings.label, unit)
        if wrong := faults(found, case, content):
            yield InputError("; ".join(wrong))
        elif len(content.image) == 1:
            yield _record(case, content)
        else:
            yield from volumes.slices(_volume(case, content), settings, skipped)


def rater_names(settings: Settings) -> list[str]:
    """Returns the names of the raters, in the order of a record's masks."""
    return finding.find(settings.location(), finding.layout_of(settings)).raters


def read(found: Found, case: Case, labels: tuple[int, ...], unit: str) -> Read:
    """Returns a case in memory, with its faults."""
    return loading.read(found.root, case, found.raters, labels, unit)


def faults(found: Found, case: Case, content: Read) -> list[str]:
    """Returns the faults of a case, a line each; an unknown unit is one."""
    if content.faults or content.unit:
        return content.faults
    return [f"{found.root / next(iter(case.images.values()))}: {NO_UNIT}"]


def _record(case: Case, content: Read) -> Record:
    return Record(
        image=content.image[0],
        masks=content.masks[:, 0],
        rater_valid=content.rater_valid,
        patient_id=case.patient_id,
        record_id=case.id,
        site=case.site,
        spacing_mm=content.spacing_mm[1:],
        intensity_unit=content.unit,
        split=case.split,
    )


def _volume(case: Case, content: Read) -> volumes.Volume:
    return volumes.Volume(
        image=content.image,
        masks=content.masks,
        rater_valid=content.rater_valid,
        patient_id=case.patient_id,
        volume=case.id,
        site=case.site,
        spacing_mm=content.spacing_mm,
        intensity_unit=content.unit,
        split=case.split,
    )
