"""The loop: an interrupted run ends as any other, the best is kept, a failing term stops it.

The training step is a few lines of arithmetic that depend on the batch, the step and the state.
"""

import json
import os
import pathlib
import signal

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from prosona_jax.runtime.checkpoint import read_best
from prosona_jax.runtime.monitor import read_history
from prosona_jax.training.loop import Diverged, Preempted, Schedule, train
from prosona_jax.training.step import TrainState
from prosona_jax.types import Batch

SCHEDULE = Schedule(steps=12, log_every=2, evaluate_every=3, checkpoint_every=4)
GED = {3: 0.75, 6: 0.25, 9: 0.5, 12: 0.375}  # of the validation, by step


class Fault(Exception):
    """Ends a run as a kill would, at a step that the test chooses."""


class Numbers:
    """Batches of one odd number each, in order; the position is the next number."""

    def __init__(self):
        self._number = 1

    def __next__(self):
        image = np.full((1, 1, 1, 1), self._number, np.float32)
        self._number += 2
        none = np.zeros(1)
        return Batch(image, none, none, none, none)

    def get_state(self):
        return {"number": self._number}

    def set_state(self, state):
        self._number = state["number"]


def _initial():
    weight = {"weight": jnp.asarray([0.3, -0.7])}
    return TrainState(jnp.zeros((), jnp.int32), weight, weight, {"momentum": jnp.zeros(2)})


def _step(state, batch, root):
    momentum = 0.9 * state.opt_state["momentum"] + jnp.sin(batch.image[0, 0, 0, 0] + root)
    weight = state.params["weight"] - 0.1 * momentum * state.params["weight"]
    average = 0.8 * state.average["weight"] + 0.2 * weight
    terms = {"dice": weight[0], "kl": weight[1]}
    metrics = {"loss": weight[0] + weight[1], "grad_norm": jnp.abs(momentum[0]), **terms}
    return TrainState(
        state.step + 1, {"weight": weight}, {"weight": average}, {"momentum": momentum}
    ), metrics


def _run(workdir, train_step=_step, scores=GED, schedule=SCHEDULE, **changes):
    validated = iter(sorted(scores))
    done = [row["step"] for row in _history(workdir) if row["split"] == "validation"]
    start = _last_step(workdir)
    for _ in (step for step in done if step <= start):
        next(validated)
    return train(
        _initial(),
        workdir=str(workdir),
        train_step=train_step,
        shard=lambda batch: batch,
        batches=Numbers(),
        root=jnp.asarray(0.5),
        validate=lambda params: {
            "ged": scores[next(validated)],
            "weight": float(params["weight"][0]),
        },
        cost=lambda scores: scores["ged"],
        schedule=schedule,
        **changes,
    )


def _last_step(workdir):
    folder = pathlib.Path(workdir) / "checkpoints" / "last"
    steps = [int(path.name) for path in folder.iterdir()] if folder.exists() else []
    return max(steps, default=0)


def _history(workdir):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in read_history(workdir)]


def _steps(workdir, series):
    folder = pathlib.Path(workdir) / "checkpoints" / series
    return sorted(int(path.name) for path in folder.iterdir())


def _note(workdir, series, step):
    path = pathlib.Path(workdir) / "checkpoints" / series / str(step) / "note" / "metadata"
    note = json.loads(path.read_text())
    assert len(note.pop("sha256")) == 64
    return note


def _when(step, action):
    """Returns the training step; it calls `action` before it computes step number `step`."""

    def train_step(state, batch, root):
        if int(state.step) + 1 == step:
            action()
        return _step(state, batch, root)

    return train_step


def _fail():
    raise Fault


def _terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def _assert_same_end(workdir, reference, state, expected):
    for mine, theirs in zip(_arrays(state), _arrays(expected), strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert _history(workdir) == _history(reference)
    assert _steps(workdir, "last") == _steps(reference, "last") == [8, 12]
    assert _steps(workdir, "best") == _steps(reference, "best") == [6]
    assert _note(workdir, "last", 12) == _note(reference, "last", 12)
    assert _note(workdir, "best", 6) == _note(reference, "best", 6)


def _arrays(state):
    return [
        np.asarray(x)
        for x in (
            state.step,
            state.params["weight"],
            state.average["weight"],
            state.opt_state["momentum"],
        )
    ]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run without interruption: its workdir and its final state."""
    workdir = tmp_path_factory.mktemp("reference")
    return workdir, _run(workdir)


def test_the_history_has_every_row_once_with_the_means_since_the_row_before(reference):
    workdir, _ = reference
    rows = _history(workdir)
    assert [row["step"] for row in rows if row["split"] == "validation"] == [3, 6, 9, 12]
    # Every second step, and before each validation and checkpoint.
    assert [row["step"] for row in rows if row["split"] == "train"] == [2, 3, 4, 6, 8, 9, 10, 12]
    state, numbers, dice = _initial(), Numbers(), []
    for _ in range(2):
        state, metrics = _step(state, next(numbers), jnp.asarray(0.5))
        dice.append(float(metrics["dice"]))
    assert rows[0]["dice"] == pytest.approx(np.mean(dice), rel=1e-6)
    assert set(rows[0]) == {"step", "split", "loss", "grad_norm", "dice", "kl"}


def test_the_best_checkpoint_has_the_lowest_ged_and_the_average(reference):
    workdir, state = reference
    assert _note(workdir, "best", 6)["ged"] == 0.25
    assert _note(workdir, "last", 12) == {"position": {"number": 25}, "best": 0.25}
    step, average, note = read_best(workdir, state.average)
    assert (step, note["step"]) == (6, 6)
    assert float(average["weight"][0]) == note["weight"]


def test_carried_arrays_are_saved_with_the_best_average(tmp_path, reference):
    carry = {"text": np.arange(6, dtype=np.float32).reshape(2, 3)}
    state = _run(tmp_path, carry=carry)
    like = {"average": state.average, "carry": {"text": np.zeros((2, 3), np.float32)}}
    step, tree, _ = read_best(tmp_path, like)
    assert step == 6
    np.testing.assert_array_equal(tree["carry"]["text"], carry["text"])
    _, average, _ = read_best(reference[0], state.average)
    np.testing.assert_array_equal(tree["average"]["weight"], average["weight"])


@pytest.mark.parametrize("step", [1, 4, 5, 7, 9, 12])
def test_a_killed_run_ends_as_a_run_without_interruption(tmp_path, reference, step):
    with pytest.raises(Fault):
        _run(tmp_path, _when(step, _fail))
    assert _last_step(tmp_path) == (step - 1) // 4 * 4
    _assert_same_end(tmp_path, reference[0], _run(tmp_path), reference[1])


def test_a_run_killed_again_and_again_ends_the_same(tmp_path, reference):
    for step in (3, 6, 7, 11):
        with pytest.raises(Fault):
            _run(tmp_path, _when(step, _fail))
    _assert_same_end(tmp_path, reference[0], _run(tmp_path), reference[1])


def test_sigterm_saves_the_state_before_the_run_stops(tmp_path, reference):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"^stopped at step 6, saved; run the same command to"):
        _run(tmp_path, _when(6, _terminate))
    assert signal.getsignal(signal.SIGTERM) is before
    assert _steps(tmp_path, "last") == [4, 6]
    assert _note(tmp_path, "last", 6) == {"position": {"number": 13}, "best": 0.25}
    state = _run(tmp_path)
    for mine, theirs in zip(_arrays(state), _arrays(reference[1]), strict=True):
        assert mine.tobytes() == theirs.tobytes()
    assert _history(tmp_path) == _history(reference[0])


def test_sigterm_at_the_last_step_is_a_finished_run(tmp_path, reference):
    state = _run(tmp_path, _when(12, _terminate))
    _assert_same_end(tmp_path, reference[0], state, reference[1])


def test_a_finished_run_only_returns_its_state(tmp_path, reference):
    _run(tmp_path)
    state = _run(tmp_path, _when(13, _fail))
    _assert_same_end(tmp_path, reference[0], state, reference[1])


def test_the_best_checkpoint_is_on_disk_before_a_note_records_it(tmp_path, monkeypatch):
    """Otherwise a kill between the two would lose it, since no later score might be lower."""
    save, seen = ocp.CheckpointManager.save, []

    def spy(self, step, *, args):
        if self.directory.name == "last" and args["note"].item["best"] is not None:
            (best,) = _steps(tmp_path, "best")
            seen.append(GED[best] == args["note"].item["best"])
        return save(self, step, args=args)

    monkeypatch.setattr(ocp.CheckpointManager, "save", spy)
    _run(tmp_path, schedule=SCHEDULE._replace(checkpoint_every=3))
    assert seen == [True] * 4


def _broken(step, *terms):
    """Returns the training step; from step number `step` on, its `terms` are NaN."""

    def train_step(state, batch, root):
        after, metrics = _step(state, batch, root)
        if int(after.step) >= step:
            metrics |= {term: jnp.asarray(jnp.nan) for term in terms}
        return after, metrics

    return train_step


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        (("kl", "loss", "grad_norm"), "kl"),
        (("loss", "grad_norm"), "grad_norm"),
        (("grad_norm",), "grad_norm"),
        (("loss",), "loss"),
    ],
)
def test_a_term_that_fails_is_named_and_nothing_is_saved_after(tmp_path, terms, named):
    """Step 7 fails; the next row, at step 8, finds it, and no checkpoint of step 8 is saved."""
    with pytest.raises(Diverged) as fault:
        _run(tmp_path, _broken(7, *terms))
    assert str(fault.value).startswith(f"step 7: {named} is nan; earlier checkpoints are kept.")
    assert "\n" not in str(fault.value)
    assert _steps(tmp_path, "last") == [4]
    assert _steps(tmp_path, "best") == [6]
    assert _history(tmp_path)[-1]["step"] == 6


def test_nothing_is_saved_when_the_first_step_fails(tmp_path):
    with pytest.raises(Diverged, match=r"^step 1: dice is nan"):
        _run(tmp_path, _broken(1, "dice"))
    assert _steps(tmp_path, "last") == _steps(tmp_path, "best") == []
    assert _history(tmp_path) == []


def test_no_best_checkpoint_is_saved_without_a_finite_score(tmp_path):
    nan = dict.fromkeys(GED, float("nan"))
    _run(tmp_path, scores=nan)
    assert _steps(tmp_path, "best") == []
    assert _note(tmp_path, "last", 12)["best"] is None
