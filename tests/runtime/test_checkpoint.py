"""Checkpoints: bit-identical round trips, how many are kept, and which of an earlier attempt."""

import jax
import pytest

from prosona_jax.runtime import parallel
from prosona_jax.runtime.checkpoint import Checkpoints, is_saved, read_best
from prosona_jax.types import InputError
from tests.runtime.saved import array_of, assert_identical, resume, save, steps_in, tree_of


@pytest.mark.parametrize("saved", ["plain", "mesh"])
@pytest.mark.parametrize("wanted", ["plain", "mesh"])
def test_a_round_trip_is_bit_identical(tmp_path, saved, wanted):
    """Also from one device to four and back: a checkpoint does not depend on their number."""
    put = {"plain": lambda tree: tree, "mesh": parallel.create("mesh").replicate}
    tree, note = tree_of(3), {"best": 0.25, "position": {"next_index": 12}}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("last", 3, put[saved](tree), note)
    checkpoints.close()
    step, restored, found = resume(tmp_path, like=put[wanted](tree_of()))
    assert (step, found) == (3, note)
    assert_identical(restored, tree)
    for leaf in jax.tree.leaves(restored):
        assert len(leaf.sharding.device_set) == (4 if wanted == "mesh" else 1)


def test_last_keeps_two_and_best_one(tmp_path):
    save(tmp_path, "last", 2, 4, 6)
    save(tmp_path, "best", 2, 4, 6)
    assert steps_in(tmp_path, "last") == [4, 6]
    assert steps_in(tmp_path, "best") == [6]


@pytest.mark.parametrize("step", [1, 2])
def test_a_step_that_is_not_after_those_saved_is_an_error(tmp_path, step):
    """Orbax would skip it without an error."""
    save(tmp_path, "last", 2)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=rf"last: step {step} is not after the saved steps"):
        checkpoints.save("last", step, array_of(9), {"best": 9})
    checkpoints.close()
    _, tree, note = resume(tmp_path)
    assert_identical(tree, array_of(2))
    assert note["best"] == 0.25


def test_is_saved_is_true_for_a_complete_last_checkpoint_only(tmp_path):
    save(tmp_path, "last", 2)
    save(tmp_path, "best", 4)
    assert [is_saved(tmp_path, step) for step in (1, 2, 4)] == [False, True, False]


def test_nothing_saved_is_none(tmp_path):
    assert resume(tmp_path) is None
    with pytest.raises(InputError, match=r"best: no checkpoint here; train first, or restore"):
        read_best(tmp_path, array_of())


def test_starting_over_removes_the_best_of_an_earlier_attempt(tmp_path):
    """Orbax saves no step below the newest, so the old best would stay for ever."""
    save(tmp_path, "best", 6)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(array_of()) is None
    checkpoints.save("best", 2, array_of(2), {"best": 0.5})
    checkpoints.close()
    step, tree, note = read_best(tmp_path, array_of())
    assert (step, note) == (2, {"best": 0.5})
    assert_identical(tree, array_of(2))


@pytest.mark.parametrize(("best", "kept"), [(4, True), (6, False)])
def test_resuming_removes_the_best_of_an_attempt_that_went_further(tmp_path, best, kept):
    """Otherwise it would stay for ever, and the resumed training could save no better one."""
    save(tmp_path, "last", 4)
    save(tmp_path, "best", best)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(array_of())[0] == 4
    assert checkpoints.has_best() == kept
    checkpoints.save("best", 5, array_of(5), {"best": 0.5})
    checkpoints.close()
    assert read_best(tmp_path, array_of())[0] == 5
