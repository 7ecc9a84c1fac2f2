"""Reads records from any source through one interface.

A source is a module of this folder, and its name is the value of `data.source`. If its cases can be
read one by one, it has functions `cases` and `read`, which are those below. Else all of its data
are one case, and it has a function `records(settings, skipped)`, which yields what `read` does. It
also has a function `provenance` if it knows the citation of its data, or simulates images, and a
function `rater_names` if it knows the raters.
"""

import collections
import importlib
from collections.abc import Collection, Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from data_pipelines import lidc, runners
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record

# In every release of LIDC-IDRI the patient ids or the series ids start with one of these.
_LIDC_PREFIXES = ("LIDC-IDRI-", lidc.SERIES_PREFIX)
_LIDC_CITATION = (
    "LIDC-IDRI: Armato et al., Medical Physics 38(2), 2011, doi 10.1118/1.3528204; "
    "The Cancer Imaging Archive (TCIA); CC BY 3.0"
)


class Provenance(NamedTuple):
    """Facts that every report on the data must state."""

    citation: str  # "" if the source names none
    simulated: bool  # the images were rendered from the masks: no clinical evidence


def cases(settings: Settings, skipped: collections.Counter[str], run: runners.Run) -> Sequence[Any]:
    """Returns what `read` takes, in the order of the records.

    A case is small, since it goes to other processes: it names files rather than holds them. The
    error of a case stands in its place.

    Args:
        settings: name the source and its path.
        skipped: gets the number of records that the source leaves out as expected, by reason.
        run: how to read many files, if they must be read to find the cases.

    Raises:
        InputError: the whole file or folder is unusable.
    """
    module = _module(settings)
    return module.cases(settings, skipped, run) if hasattr(module, "cases") else [None]


def read(
    settings: Settings, case: Any, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields the records of a case at their own geometry, not windowed.

    Args:
        settings: name the source and its path.
        case: one of `cases`.
        skipped: gets the number of records that the source leaves out as expected, by reason.

    Yields:
        A record, or the error of a record: the caller decides whether to stop or to continue.

    Raises:
        InputError: the whole file or folder is unusable.
    """
    module = _module(settings)
    if isinstance(case, InputError):
        yield case
    elif hasattr(module, "cases"):
        yield from module.read(settings, case, skipped)
    else:
        yield from module.records(settings, skipped)


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the records of all cases, in order, see `cases` and `read`."""
    for case in cases(settings, skipped, runners.one_by_one):
        yield from read(settings, case, skipped)


def provenance(settings: Settings, patient_ids: Collection[str]) -> Provenance:
    """Returns the citation, by the source or the patient ids, and whether images are simulated."""
    citations, simulated = [], False
    if hasattr(module := _module(settings), "provenance"):
        for part in settings.parts():
            citation, drawn = module.provenance(part)
            citations += [citation] if citation else []
            simulated |= drawn
    if not citations and any(patient.startswith(_LIDC_PREFIXES) for patient in patient_ids):
        citations = [_LIDC_CITATION]
    return Provenance("; ".join(dict.fromkeys(citations)), simulated)


def rater_names(settings: Settings) -> list[str]:
    """Returns the names of the raters in the order of a record's masks; empty if unknown.

    They are unknown, too, if the masks are sorted by area.

    Raises:
        InputError: the raters of `path` and `train_path` are not the same.
    """
    module = _module(settings)
    if settings.raters == "by_area" or not hasattr(module, "rater_names"):
        return []
    first, *others = settings.parts()
    names: list[str] = module.rater_names(first)
    for part in others:
        if (more := module.rater_names(part)) != names:
            raise InputError(
                f"{part.path}: its raters are {', '.join(more) or 'unknown'}, those of "
                f"{first.path} are {', '.join(names) or 'unknown'}; name them alike in both"
            )
    return names


def _module(settings: Settings) -> ModuleType:
    """Imports the source only when it is needed, since some sources need an optional package."""
    return importlib.import_module(f"data_pipelines.sources.{settings.source}")
