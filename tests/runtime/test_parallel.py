"""Several processes, played by one: who acts first, and what the others learn of its failure."""

import jax
import numpy as np
import pytest

from prosona_jax.runtime import parallel
from prosona_jax.types import InputError


@pytest.fixture
def play(monkeypatch):
    """Calls first_process_first as one process of two, and returns what it tells the others."""

    def play(index, action, told=False):
        said = []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(
            parallel.multihost_utils,
            "broadcast_one_to_all",
            lambda failed: said.append(bool(failed)) or (said[0] if index == 0 else told),
        )
        try:
            return parallel.first_process_first(action), said
        except InputError as fault:
            return str(fault), said

    return play


def _fail():
    raise InputError("a.npz: no such file")


def test_every_process_gets_its_result(play):
    assert play(0, lambda: "done") == ("done", [False])
    assert play(1, lambda: "found done") == ("found done", [False])


def test_where_the_first_process_fails_all_do(play):
    """The others do not act, and do not wait."""
    acted = []
    assert play(0, _fail) == ("a.npz: no such file", [True])
    stopped = "the first process has stopped; its message says why"
    assert play(1, lambda: acted.append(1), told=True) == (stopped, [False])
    assert not acted


@pytest.mark.parametrize(("told", "agreed"), [([True, True], True), ([True, False], False)])
def test_processes_agree_where_all_say_yes(monkeypatch, told, agreed):
    assert parallel.all_agree(True)
    assert not parallel.all_agree(False)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        parallel.multihost_utils, "process_allgather", lambda mine: np.array([mine, told[1]])
    )
    assert parallel.all_agree(told[0]) is agreed
