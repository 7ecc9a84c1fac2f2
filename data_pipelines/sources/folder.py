"""Reads a folder of images and of any number of raters' masks, found by two patterns.

    images/{case}.nii.gz      masks/{case}/{rater}.nii.gz

`layouts.patterns` explains the patterns, `voxels` the formats, `layouts.presets` the known layouts
and `layouts.table` the file `cases.csv`. The masks of a record are in the order of the raters'
names. A 2-D image is a record, and a 3-D one becomes one for each slice, see `volumes`. One case at
a time is in memory, of each process.
"""

import collections
import functools
from collections.abc import Iterator
from typing import NamedTuple

import tqdm

from data_pipelines import volumes
from data_pipelines.layouts import finding, loading
from data_pipelines.layouts.finding import Case, Found
from data_pipelines.layouts.loading import Read
from data_pipelines.layouts.survey import NO_UNIT, Faults
from data_pipelines.runners import Run
from data_pipelines.settings import Settings
from data_pipelines.volumes import Volume
from prosona_jax.types import InputError, Record


class _Case(NamedTuple):
    """A case and what all cases share."""

    found: Found  # with none of its cases
    case: Case


def cases(
    settings: Settings, skipped: collections.Counter[str], run: Run
) -> list[_Case | InputError]:
    """Returns the cases in the order of their ids, after the faults in how files lie.

    With `data.on_error` = "raise", all files are read once before the first record is made, so that
    one error lists all faults of the folder, a line each.
    """
    del skipped  # no case is left out
    found = finding.find(settings.location(), finding.layout_of(settings))
    shared = found._replace(cases=[], faults=[], unused=[])
    every = [_Case(shared, case) for case in found.cases]
    faults = [fault.text for fault in found.faults if not fault.case]
    if settings.on_error == "raise":
        survey = Faults(found, settings.label)
        looks = run(functools.partial(_look, settings), every)
        looks = tqdm.tqdm(looks, f"checking {settings.name}", len(every), unit=" cases")
        for case, look in zip(found.cases, looks, strict=True):
            survey.add(case, look)
        faults = survey.faults()
    if faults:
        raise InputError("\n".join(faults))
    left_out = collections.defaultdict(list)
    for fault in found.faults:
        left_out[fault.case].append(fault.text)
    return [
        *(InputError("; ".join(texts)) for texts in left_out.values()),
        *(each for each in every if each.case.id not in left_out),
    ]


def read(
    settings: Settings, case: _Case, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields the record of a 2-D image, those of the slices of a volume, or the case's fault."""
    content = _load(settings, case)
    volume = content.volume
    if content.faults or volume is None:
        yield InputError("; ".join(content.faults))
    elif not volume.intensity_unit:  # so it is with all of them
        raise InputError(f"{settings.name}: case {volume.volume!r} {NO_UNIT}")
    elif len(volume.image) == 1:
        yield _record(volume)
    else:
        yield from volumes.slices(volume, settings, skipped)


def _load(settings: Settings, case: _Case) -> Read:
    unit = settings.unit or case.found.layout.unit
    return loading.read(case.found, case.case, settings.label, unit)


def _look(settings: Settings, case: _Case) -> Iterator[Read]:
    """Yields what is known of a case, without its pixels."""
    content = _load(settings, case)
    volume = content.volume
    if volume is not None:
        bare = volume._replace(image=volume.image[:0].copy(), masks=volume.masks[:, :0].copy())
        content = content._replace(volume=bare)
    yield content


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
