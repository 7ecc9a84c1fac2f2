"""A phantom of prostate MRI of several institutions and observers (see data_pipelines.phantom)."""

import collections
from collections.abc import Iterator

import numpy as np

from data_pipelines import phantom, volumes
from data_pipelines.runners import Run
from data_pipelines.settings import Settings
from data_pipelines.volumes import Volume
from prosona_jax.types import InputError, Record

CITATION = (
    "phantom of prostate MRI: patients, images, institutions and observers are all simulated by "
    "prosona_jax"
)


def cases(settings: Settings, skipped: collections.Counter[str], run: Run) -> range:
    """Returns the numbers of the `settings.phantom_cases` cases.

    Raises:
        InputError: a path is set.
    """
    del skipped, run  # no case is left out, and no file is read
    if settings.path:
        raise InputError(
            f"data.path={settings.path}: source 'phantom' needs no file; leave data.path empty"
        )
    return range(settings.phantom_cases)


def read(
    settings: Settings, case: int, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields the slices of a case; see `volumes.slices`.

    Rater k is observer k of `phantom.OBSERVERS` in every record.
    """
    return volumes.slices(volume(phantom.case(case)), settings, skipped)


def volume(case: phantom.Case) -> Volume:
    """Returns the volume of a case with what the observers drew."""
    return Volume(
        image=case.image[..., None],
        masks=case.masks,
        rater_valid=case.rater_valid,
        patient_id=case.patient_id,
        volume=case.patient_id,
        site=case.site.name,
        spacing_mm=case.spacing_mm.astype(np.float32),
        intensity_unit="arbitrary",
    )


def rater_names(settings: Settings) -> list[str]:
    """Returns the names of the observers, in the order of the masks."""
    return [observer.name for observer in phantom.OBSERVERS]


def provenance(settings: Settings) -> tuple[str, bool]:
    """Returns a citation that calls the data a phantom, and that images are simulated."""
    return CITATION, True
