"""Makes finished records of a source's cases: each case by itself, then all cases in order.

`finish` reads one case, in any process. `records` collects the cases in one process, since ids must
be unique and all records must agree.
"""

import collections
import functools
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import sources, styles, transforms, validation
from data_pipelines.fingerprint import BEYOND_CROP, CORRUPT, EMPTY, Native, Tally
from data_pipelines.runners import Run
from data_pipelines.settings import Settings
from prosona_jax.types import InputError, Record


class Task(NamedTuple):
    """A case to read."""

    part: Settings  # the settings of the file or folder that holds it
    case: Any  # one of `sources.cases`
    only_train: bool  # its records are declared to train only


class Finished(NamedTuple):
    """What became of a valid record of a source."""

    native: Native
    record: Record | None  # of the target geometry; None: left out
    why: str = ""  # it was left out
    cut: bool = False  # a mask reaches beyond the crop


def records(settings: Settings, tally: Tally, run: Run, *, windowed: bool) -> Iterator[Record]:
    """Yields checked records of one size, in the order of the source.

    Args:
        settings: the data set; records of `train_path` are declared to train only.
        tally: counts the records, and those that are left out.
        run: how the cases are read, see `runners`.
        windowed: True: images u16, see `transforms.encode`; False: f32, the source's intensities.

    Raises:
        InputError: the source is unusable; records disagree; or, unless faults are skipped, the
            first fault of a record.
    """
    checker = validation.Checker(settings.name)
    tasks = _tasks(settings, tally, run)
    for item in run(functools.partial(finish, settings, windowed), tasks):
        if isinstance(item, collections.Counter):
            tally.skipped.update(item)
            continue
        try:
            if isinstance(item, InputError):
                raise item
            checker(item.native.record)
        except InputError as fault:
            if settings.on_error == "raise":
                raise
            tally.skipped[CORRUPT] += 1
            logging.getLogger(__name__).warning("skipped, data.on_error=skip: %s", fault)
            continue
        checker.agree(item.native.record)
        if item.record is None:
            tally.skipped[item.why] += 1
            continue
        tally.add(item.native)
        tally.masks_cut += item.cut
        yield item.record


def _tasks(settings: Settings, tally: Tally, run: Run) -> list[Task]:
    """Returns all cases of `path` and of `train_path`, in order."""
    return [
        Task(part, case, only_train=number > 0)
        for number, part in enumerate(settings.parts())
        for case in sources.cases(part, tally.skipped, run)
    ]


def finish(
    settings: Settings, windowed: bool, task: Task
) -> Iterator[Finished | InputError | collections.Counter[str]]:
    """Yields what became of each record of a case, and last what the source left out, by reason.

    A fault is yielded, since the caller decides what to do with it. Unless `settings.on_error` is
    "skip", nothing follows it.
    """
    skipped: collections.Counter[str] = collections.Counter()
    for item in sources.read(task.part, task.case, skipped):
        try:
            if isinstance(item, InputError):
                raise item
            if task.only_train:
                item = item._replace(split=validation.ONLY_TRAIN)
            validation.check(item, settings.name)
            record = transforms.window(item, settings) if windowed else item
        except InputError as fault:
            yield fault
            if settings.on_error == "raise":
                return
            continue
        yield _finish(item, record, settings, windowed)
    yield skipped


def _finish(item: Record, record: Record, settings: Settings, windowed: bool) -> Finished:
    """Returns the finished form of a record, which may be windowed, of the source's `item`."""
    native = Native.of(item)
    empty = validation.is_empty(record)
    beyond = empty and bool(record.volume) and settings.slices_beyond > 0
    if empty and not beyond:
        return Finished(native, None, EMPTY)
    if settings.min_raters:
        if validation.drawn_by(record) < settings.min_raters and not beyond:
            return Finished(native, None, f"drawn by fewer raters than {settings.min_raters}")
        record = styles.none_missing(record)
    low: np.ndarray | np.float32 = np.float32(-1)
    if not windowed:
        low, _ = transforms.limits(item.image, item.intensity_unit, settings, item.window)
    fitted, cut = transforms.fit(record, settings, background=low)
    if validation.is_empty(fitted) and not beyond:
        return Finished(native, None, BEYOND_CROP)
    if windowed:
        fitted = fitted._replace(image=transforms.encode(fitted.image))
        # The masks of a volume are sorted as a whole, by the source.
        if settings.raters == "by_area" and not record.volume:
            fitted = styles.by_area(fitted)
    return Finished(native, fitted, cut=cut)
