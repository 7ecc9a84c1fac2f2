"""Runs one function on many items: in this process, in several, or under Apache Beam.

A *runner* is opened on a folder of its own and gives `run(function, items)`, which yields the same
under each runner:

    for item in items:
        yield from function(item)

Workers write what a function yields into the folder, one file for each item. This process reads the
files in the order of the items and deletes them, so that neither side holds more than a result. The
function, the items and the results must be picklable.
"""

import collections
import contextlib
import functools
import itertools
import multiprocessing
import os
import pathlib
import pickle
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

from prosona_jax.types import InputError

Function = Callable[[Any], Iterator[Any]]
Run = Callable[[Function, Sequence[Any]], Iterator[Any]]
Runner = Callable[[pathlib.Path], contextlib.AbstractContextManager[Run]]

AHEAD = 2  # items per worker that may be finished or at work before they are read
_INSTALL = "in an environment of its own, run: pip install -e .[beam]"


class _Raised(NamedTuple):
    """The last result of a function that stopped at an error."""

    error: InputError


def one_by_one(function: Function, items: Sequence[Any]) -> Iterator[Any]:
    """Yields the results of each item, computed when they are asked for; needs no folder."""
    for item in items:
        yield from function(item)


@contextlib.contextmanager
def serial(folder: pathlib.Path) -> Iterator[Run]:
    """Gives `one_by_one`."""
    del folder  # nothing is written
    yield one_by_one


@contextlib.contextmanager
def processes(workers: int, folder: pathlib.Path) -> Iterator[Run]:
    """Gives a run in so many processes, at most `AHEAD` items per process before the reader.

    Raises:
        InputError: a process died, such as one that the system killed for its memory.
    """
    with _passes(folder) as folders, contextlib.ExitStack() as opened:
        yield functools.partial(_spread, opened, workers, folders)


@contextlib.contextmanager
def beam(runner: str, options: Sequence[str], folder: pathlib.Path) -> Iterator[Run]:
    """Gives a run as a pipeline of Apache Beam; the results are read when all are there.

    Args:
        runner: name of Beam's runner, such as "DirectRunner".
        options: Beam's options, such as "--direct_num_workers=4".
        folder: on a file system that all workers share.

    Raises:
        InputError: Beam is not installed, or knows no such runner.
    """
    try:
        import apache_beam  # late, since it needs an environment of its own
    except ImportError:
        raise InputError(
            f"--runner={runner} needs apache-beam, which is missing; {_INSTALL}"
        ) from None
    del apache_beam
    with _passes(folder) as folders:
        yield functools.partial(_pipeline, runner, options, folders)


@contextlib.contextmanager
def _passes(folder: pathlib.Path) -> Iterator[Iterator[pathlib.Path]]:
    """Gives a new folder for each pass over items, and removes them all at the end."""

    def folders() -> Iterator[pathlib.Path]:
        for number in itertools.count():
            path = folder / str(number)
            path.mkdir(parents=True)
            yield path

    try:
        yield folders()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _spread(
    opened: contextlib.ExitStack,
    workers: int,
    folders: Iterator[pathlib.Path],
    function: Function,
    items: Sequence[Any],
) -> Iterator[Any]:
    """Returns the results, from processes that end with them or with `opened`."""
    if min(workers, len(items)) < 2:
        return one_by_one(function, items)
    results = _in_processes(min(workers, len(items)), next(folders), function, items)
    # The reader may stop early, and a traceback would then keep the generator and its workers.
    return opened.enter_context(contextlib.closing(results))


def _in_processes(
    workers: int, folder: pathlib.Path, function: Function, items: Sequence[Any]
) -> Generator[Any, None, None]:
    # A fork of this process would copy locks that its threads hold. A server that has imported the
    # program, and nothing else, forks as many workers as are asked for.
    context = multiprocessing.get_context("forkserver")
    pool = futures.ProcessPoolExecutor(workers, context, _start_worker)
    at_work: collections.deque[tuple[futures.Future, pathlib.Path]] = collections.deque()
    try:
        for number, item in enumerate(items):
            path = folder / str(number)
            at_work.append((pool.submit(_write, function, item, path), path))
            if len(at_work) == AHEAD * workers:
                yield from _read(*at_work.popleft())
        while at_work:
            yield from _read(*at_work.popleft())
    except BrokenProcessPool:
        raise InputError(
            f"one of {workers} worker processes died, perhaps for lack of memory; choose a lower "
            "number of --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # waits, so that no worker writes after this


def _start_worker() -> None:
    """Lets the parent process alone decide when a worker ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the whole group of processes
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent is killed; the pool would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _pipeline(
    runner: str,
    options: Sequence[str],
    folders: Iterator[pathlib.Path],
    function: Function,
    items: Sequence[Any],
) -> Iterator[Any]:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    folder = next(folders)
    # A pipeline's own description is too small for the items.
    for number, item in enumerate(items):
        _task(folder, number).write_bytes(pickle.dumps((function, item)))
    try:
        pipeline = apache_beam.Pipeline(runner, PipelineOptions(list(options)))
    except ValueError as error:  # it names the known ones
        raise InputError(f"--runner={runner}: {error}") from None
    with pipeline:
        numbers = pipeline | apache_beam.Create(range(len(items))) | apache_beam.Reshuffle()
        numbers | apache_beam.Map(functools.partial(_work, str(folder)))
    for number in range(len(items)):
        yield from _read(None, folder / str(number))


def _task(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"{number}.task"


def _work(folder: str, number: int) -> None:
    """Reads one task of a pipeline and writes its results."""
    path = pathlib.Path(folder) / str(number)
    function, item = pickle.loads(_task(path.parent, number).read_bytes())
    _write(function, item, path)


def _write(function: Function, item: Any, path: pathlib.Path) -> None:
    """Writes the results of one item, completely or not at all; Beam may call it twice."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with part.open("wb") as file:
        try:
            for result in function(item):
                pickle.dump(result, file)
        except InputError as error:
            pickle.dump(_Raised(error), file)
    os.replace(part, path)


def _read(written: futures.Future | None, path: pathlib.Path) -> Iterator[Any]:
    """Yields the results of one item and deletes their file."""
    if written is not None:
        written.result()
    with path.open("rb") as file:
        while file.peek(1):
            result = pickle.load(file)
            if isinstance(result, _Raised):
                raise result.error
            yield result
    path.unlink()
