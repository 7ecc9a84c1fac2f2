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
from data_pipelines.layouts.loading import Read
from data_pipelines.layouts.survey import NO_UNIT, Survey
from data_pipelines.settings import Settings
from data_pipelines.volumes import Volume
from prosona_jax.types import InputError, Record


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the records of all cases, in the order of their ids; see `sources.records`.

    With `data.on_error` = "raise", all files are read once before the first record is made, so that
    one error lists all faults of the folder, a line each.
    """
    layout = finding.layout_of(settings)
    found = finding.find(settings.location(), layout)
    unit = settings.unit or layout.unit
    faults = [fault.text for fault in found.faults if not fault.case]
    if settings.on_error == "raise":
        survey = Survey(found, settings.label)
        for case in tqdm.tqdm(found.cases, desc=f"checking {settings.name}", unit=" cases"):
            survey.add(case, loading.read(found, case, settings.label, unit))
        faults = survey.faults()
    if faults:
        raise InputError("\n".join(faults))
    left_out = collections.defaultdict(list)
    for fault in found.faults:
        left_out[fault.case].append(fault.text)
    yield from (InputError("; ".join(texts)) for texts in left_out.values())
    for case in found.cases:
        if case.id not in left_out:
            content = loading.read(found, case, settings.label, unit)
            yield from _of_case(content, settings, skipped)
            del content  # before the next one is read


def _of_case(
    content: Read, settings: Settings, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields the record of a 2-D image, those of the slices of a volume, or the case's fault."""
    volume = content.volume
    if content.faults or volume is None:
        yield InputError("; ".join(content.faults))
    elif not volume.intensity_unit:  # so it is with all of them
        raise InputError(f"{settings.name}: case {volume.volume!r} {NO_UNIT}")
    elif len(volume.image) == 1:
        yield _record(volume)
    else:
        yield from volumes.slices(volume, settings, skipped)


def rater_names(settings: Settings) -> list[str]:
    """Returns the names of the raters, in the order of a record's masks."""
    return finding.find(settings.location(), finding.layout_of(settings)).raters


def _record(volume: Volume) -> Record:
    """Returns the only slice of a volume as a single image."""
    return Record(
        image=volume.image[0],
        masks=volume.masks[:, 0],
        rater_valid=volume.rater_valid,
        patient_id=volume.patient_id,
        record_id=volume.volume,
        site=volume.site,
        spacing_mm=volume.spacing_mm[1:],
        intensity_unit=volume.intensity_unit,
        split=volume.split,
    )
