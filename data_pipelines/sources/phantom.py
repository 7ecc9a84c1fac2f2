"""A phantom of prostate MRI of several institutions and observers (see data_pipelines.phantom)."""

import collections
from collections.abc import Iterator

import numpy as np

from data_pipelines import phantom, volumes
from data_pipelines.settings import Settings
from data_pipelines.volumes import Volume
from prosona_jax.types import InputError, Record

CITATION = (
    "phantom of prostate MRI: patients, images, institutions and observers are all simulated by "
    "prosona_jax"
)


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields the slices of `settings.phantom_cases` volumes; see `volumes.slices`.

    Rater k is observer k of `phantom.OBSERVERS` in every record.

    Args:
        settings: `path` must be empty.
        skipped: see `volumes.slices`.

    Raises:
        InputError: a path is set.
    """
    if settings.path:
        raise InputError(
            f"data.path={settings.path}: source 'phantom' needs no file; leave data.path empty"
        )
    for index in range(settings.phantom_cases):
        yield from volumes.slices(volume(phantom.case(index)), settings, skipped)


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
