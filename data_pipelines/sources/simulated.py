"""The default source: LIDC's real contours on a simulated CT (see data_pipelines.simulate)."""

import collections
from collections.abc import Iterator

from data_pipelines import lidc, simulate
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields slices of each nodule with four raters, or with `settings.min_raters` or more.

    Of four raters these are 5079 records of 554 patients with slices="all", and 895 with "largest":
    in one of the 896 nodules the raters share no slice.

    Args:
        settings: `path` must be empty.
        skipped: gets the number of nodules without a shared slice, and of slices whose masks lie
            completely outside of a small crop.

    Raises:
        InputError: the wheel with the contours is missing, or a path is set.
    """
    if settings.path:
        raise InputError(
            f"data.path={settings.path}: source 'simulated' needs no file; leave data.path empty"
        )
    for nodule in lidc.nodules_of(lidc.find_database(), settings.min_raters):
        size = settings.native_size(nodule.spacing_mm)
        for z_mm in lidc.slices(nodule, settings.slices, skipped):
            masks = lidc.masks(nodule, z_mm, lidc.window(nodule, z_mm, size))
            if not masks.any():
                skipped["nothing drawn within the crop"] += 1
                continue
            rng = simulate.generator(lidc.record_id(nodule, z_mm))
            image = simulate.simulate_ct(masks, nodule.spacing_mm, rng)
            yield lidc.record(nodule, z_mm, image, masks)


def provenance(settings: Settings) -> tuple[str, bool]:
    """Returns no citation, since the patient ids imply it, and that images are simulated."""
    return "", True
