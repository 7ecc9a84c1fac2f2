"""A runner yields the same results in the same order, wherever they are computed."""

import functools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from data_pipelines import runners
from prosona_jax.types import InputError
from tests.data import tasks

ROOT = pathlib.Path(__file__).resolve().parents[2]
TWO = functools.partial(runners.processes, 2)


def test_two_processes_give_the_results_in_order(tmp_path):
    with TWO(tmp_path / "cases") as run:
        found = list(run(tasks.twice, range(7)))
    assert [each[:2] for each in found] == [(n, half) for n in range(7) for half in "ab"]
    makers = {maker for *_, maker in found}
    assert os.getpid() not in makers
    assert len(makers) <= 2
    assert not (tmp_path / "cases").exists()


def test_one_item_or_one_worker_needs_no_process(tmp_path):
    with TWO(tmp_path / "cases") as run:
        assert list(run(tasks.twice, [3])) == list(tasks.twice(3))
    with runners.processes(1, tmp_path / "cases") as run:
        assert next(run(tasks.twice, range(9))) == (0, "a", os.getpid())


class Counted(list):
    """Counts how many of its items were handed out."""

    drawn = 0

    def __iter__(self):
        for item in super().__iter__():
            self.drawn += 1
            yield item


def test_few_items_are_ahead_of_the_reader(tmp_path):
    items, ahead, files = Counted(range(12)), [], []
    with TWO(tmp_path / "cases") as run:
        for read, _ in enumerate(run(tasks.once, items)):
            ahead.append(items.drawn - read)
            files.append(len(list((tmp_path / "cases").rglob("*"))) - 1)
    limit = runners.AHEAD * 2
    assert ahead == [limit] * 9 + [3, 2, 1]
    assert max(files) <= limit


def test_an_error_comes_after_the_results_before_it(tmp_path):
    found = []

    def read():
        with TWO(tmp_path / "cases") as run:
            for each in run(tasks.faulty_at_two, range(5)):
                found.append(each)

    with pytest.raises(InputError, match="^item 2 is faulty$"):
        read()
    assert found == [0, 0, 1, 10, 2]
    assert not (tmp_path / "cases").exists()


def test_a_worker_that_dies_is_one_line(tmp_path):
    with pytest.raises(InputError) as error, TWO(tmp_path / "cases") as run:
        list(run(tasks.killed_at_two, range(5)))
    assert str(error.value) == (
        "one of 2 worker processes died, perhaps for lack of memory; choose a lower number of "
        "--workers"
    )
    assert not (tmp_path / "cases").exists()


def test_a_reader_that_stops_leaves_no_worker_and_no_file(tmp_path):
    def read():
        with TWO(tmp_path / "cases") as run:
            results = run(tasks.twice, range(50))
            next(results)
            assert multiprocessing.active_children()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as interrupt:
        read()
    assert interrupt.value.__traceback__  # which keeps the generator
    assert multiprocessing.active_children() == []
    assert not (tmp_path / "cases").exists()


KILLED = """
import os, pathlib, signal, sys
from data_pipelines import runners
from tests.data import tasks
with runners.processes(2, pathlib.Path(sys.argv[1])) as run:
    next(run(tasks.twice, range(50)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """They hold the ends of its pipes, so that `run` returns only when they have ended."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "cases")],
        cwd=ROOT, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_beam_that_is_missing_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with (
        pytest.raises(InputError) as error,
        runners.beam("DirectRunner", [], tmp_path / "cases") as run,
    ):
        list(run(tasks.twice, range(2)))
    assert str(error.value) == (
        "--runner=DirectRunner needs apache-beam, which is missing; in an environment of its own, "
        "run: pip install -e .[beam]"
    )
