"""Several processes, simulated by one: which acts first, and what happens if it fails."""

import jax
import numpy as np
import pytest

from prosona_jax.runtime import parallel
from prosona_jax.types import InputError


@pytest.fixture
def play(monkeypatch):
    """Calls first_process_first as one of two processes.

    Returns its result or error, and what it sends to the others: whether process 0 has failed.
    """

    def play(index, action, received=False):
        sent = []
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(
            parallel.multihost_utils,
            "broadcast_one_to_all",
            lambda failed: sent.append(bool(failed)) or (sent[0] if index == 0 else received),
        )
        try:
            return parallel.first_process_first(action), sent
        except InputError as fault:
            return str(fault), sent

    return play


def _fail():
    raise InputError("a.npz: no such file")


def test_every_process_gets_its_result(play):
    assert play(0, lambda: "done") == ("done", [False])
    assert play(1, lambda: "found done") == ("found done", [False])


def test_if_the_first_process_fails_all_processes_fail(play):
    """The others neither act nor wait."""
    acted = []
    assert play(0, _fail) == ("a.npz: no such file", [True])
    stopped = "the first process has stopped; its message says why"
    assert play(1, lambda: acted.append(1), received=True) == (stopped, [False])
    assert not acted


@pytest.mark.parametrize(("answers", "agreed"), [([True, True], True), ([True, False], False)])
def test_processes_agree_if_all_say_yes(monkeypatch, answers, agreed):
    assert parallel.all_agree(True)
    assert not parallel.all_agree(False)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        parallel.multihost_utils, "process_allgather", lambda mine: np.array([mine, answers[1]])
    )
    assert parallel.all_agree(answers[0]) is agreed
