"""Checkpoints: bit-identical round trips, how many are kept, and how damaged ones are handled."""

import gc
import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.runtime import parallel
from prosona_jax.runtime.checkpoint import Checkpoints, is_saved, read_best
from prosona_jax.types import InputError

# At the first fault of a damaged checkpoint, Orbax stops and drops the reads that it had prepared.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine 'Store._get_array_metadatas' was never awaited:RuntimeWarning"
)


@pytest.fixture(autouse=True)
def _dropped_here():
    """Collects the dropped reads here, so that their warnings do not appear in another module."""
    yield
    gc.collect()


def _tree(seed=0):
    generator = np.random.default_rng(seed)
    return {
        "step": jnp.asarray(seed, jnp.int32),
        "params": {"kernel": jnp.asarray(generator.normal(size=(3, 5)), jnp.float32)},
        "moments": (jnp.asarray(generator.normal(size=7), jnp.bfloat16), jnp.zeros(())),
    }


def _array(seed=0):
    """One array. With several, Orbax's threads would warn about those after a damaged one."""
    return {"kernel": _tree(seed)["params"]["kernel"]}


def _save(workdir, series, *steps):
    checkpoints = Checkpoints(workdir)
    for step in steps:
        checkpoints.save(series, step, _array(step), {"best": step / 8, "position": {"at": step}})
    checkpoints.close()


def _resume(workdir, like=None):
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.resume(_array() if like is None else like)
    finally:
        checkpoints.close()


def _steps(workdir, series):
    return sorted(int(folder.name) for folder in (workdir / "checkpoints" / series).iterdir())


def _assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def _damage(workdir, step, how):
    """Removes or cuts short every array and note of a step."""
    folder = workdir / "checkpoints" / "last" / str(step)
    files = [p for p in folder.rglob("*") if p.is_file() and ("d" in p.parts or p.suffix)]
    assert files
    for path in files:
        path.unlink() if how == "removed" else path.write_bytes(path.read_bytes()[:10])


@pytest.mark.parametrize("saved", ["plain", "mesh"])
@pytest.mark.parametrize("wanted", ["plain", "mesh"])
def test_a_round_trip_is_bit_identical(tmp_path, saved, wanted):
    """Also from one device to four and back: a checkpoint does not depend on their number."""
    put = {"plain": lambda tree: tree, "mesh": parallel.create("mesh").replicate}
    tree, note = _tree(3), {"best": 0.25, "position": {"next_index": 12}}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save("last", 3, put[saved](tree), note)
    checkpoints.close()
    step, restored, found = _resume(tmp_path, like=put[wanted](_tree()))
    assert (step, found) == (3, note)
    _assert_identical(restored, tree)
    for leaf in jax.tree.leaves(restored):
        assert len(leaf.sharding.device_set) == (4 if wanted == "mesh" else 1)


def test_last_keeps_two_and_best_one(tmp_path):
    _save(tmp_path, "last", 2, 4, 6)
    _save(tmp_path, "best", 2, 4, 6)
    assert _steps(tmp_path, "last") == [4, 6]
    assert _steps(tmp_path, "best") == [6]


@pytest.mark.parametrize("step", [1, 2])
def test_a_step_that_is_not_after_those_saved_is_an_error(tmp_path, step):
    """Orbax would skip it without an error."""
    _save(tmp_path, "last", 2)
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=rf"last: step {step} is not after the saved steps"):
        checkpoints.save("last", step, _array(9), {"best": 9})
    checkpoints.close()
    _, tree, note = _resume(tmp_path)
    _assert_identical(tree, _array(2))
    assert note["best"] == 0.25


def test_is_saved_is_true_for_a_complete_last_checkpoint_only(tmp_path):
    _save(tmp_path, "last", 2)
    _save(tmp_path, "best", 4)
    assert [is_saved(tmp_path, step) for step in (1, 2, 4)] == [False, True, False]


def test_nothing_saved_is_none(tmp_path):
    assert _resume(tmp_path) is None
    with pytest.raises(InputError, match=r"best: no checkpoint here; train first, or restore"):
        read_best(tmp_path, _array())


def test_starting_over_removes_the_best_of_an_earlier_attempt(tmp_path):
    """Orbax saves no step below the newest, so the old best would stay for ever."""
    _save(tmp_path, "best", 6)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(_array()) is None
    checkpoints.save("best", 2, _array(2), {"best": 0.5})
    checkpoints.close()
    step, tree, note = read_best(tmp_path, _array())
    assert (step, note) == (2, {"best": 0.5})
    _assert_identical(tree, _array(2))


@pytest.mark.parametrize(("best", "kept"), [(4, True), (6, False)])
def test_resuming_removes_the_best_of_an_attempt_that_went_further(tmp_path, best, kept):
    """Otherwise it would stay for ever, and the resumed training could save no better one."""
    _save(tmp_path, "last", 4)
    _save(tmp_path, "best", best)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.resume(_array())[0] == 4
    assert checkpoints.has_best() == kept
    checkpoints.save("best", 5, _array(5), {"best": 0.5})
    checkpoints.close()
    assert read_best(tmp_path, _array())[0] == 5


@pytest.mark.parametrize("how", ["removed", "cut short"])
def test_an_unreadable_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, how):
    _save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 4, how)
    with caplog.at_level(logging.WARNING, "prosona_jax.runtime.checkpoint"):
        step, tree, note = _resume(tmp_path)
    assert (step, note) == (2, {"best": 0.25, "position": {"at": 2}})
    _assert_identical(tree, _array(2))
    (warning,) = [
        r.getMessage() for r in caplog.records if r.name == "prosona_jax.runtime.checkpoint"
    ]
    assert warning.startswith(f"checkpoint {tmp_path}/checkpoints/last/4 cannot be read (")
    assert warning.endswith("); trying the one before")
    assert "\n" not in warning
    assert (tmp_path / "checkpoints" / "unreadable-last-4").is_dir()
    assert _steps(tmp_path, "last") == [2]


def test_a_step_set_aside_can_be_saved_again(tmp_path):
    _save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 4, "removed")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.resume(_array())
    checkpoints.save("last", 4, _array(4), {"best": None})
    checkpoints.close()
    step, tree, note = _resume(tmp_path)
    assert (step, note) == (4, {"best": None})
    _assert_identical(tree, _array(4))


def test_it_is_an_error_if_no_checkpoint_can_be_read(tmp_path):
    _save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 2, "removed")
    _damage(tmp_path, 4, "cut short")
    for _ in range(2):  # the second time too: no checkpoint was renamed
        with pytest.raises(InputError) as fault:
            _resume(tmp_path)
        assert str(fault.value) == (
            f"{tmp_path}/checkpoints/last: none of the checkpoints [2, 4] can be read; restore the "
            "folder from a copy, or remove it to start over"
        )
    assert _steps(tmp_path, "last") == [2, 4]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A workdir with both series; the array is too large to be stored in Orbax's own tables."""
    workdir = tmp_path_factory.mktemp("large")
    checkpoints = Checkpoints(workdir)
    for step in (2, 4):
        checkpoints.save("last", step, _large(step), {"best": step / 8, "position": {"at": step}})
    checkpoints.save("best", 4, _large(4), {"step": 4, "ged": 0.125})
    checkpoints.close()
    return workdir


def _large(seed=0):
    return {"kernel": jnp.asarray(np.random.default_rng(seed).normal(size=(60, 200)), jnp.float32)}


def _flip(path, share, bit):
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)


def _values_file(folder):
    """Returns the file with the array's values, which is by far the largest."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


# Orbax's threads also warn about damaged metadata, where no test can catch it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_never_changes_a_checkpoint_that_is_read(large, tmp_path):
    """For bits of each file: read_best returns the saved values, or it raises."""
    shutil.copytree(large, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "best" / "4"
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused = {}
    for path, content in files.items():
        for number, share in enumerate((0.0, 0.3, 0.5, 0.7, 1.0)):
            _flip(path, share, number)
            try:
                step, tree, note = read_best(tmp_path / "run", _large())
            except InputError as fault:
                refused[path] = str(fault)
            else:
                assert (step, note) == (4, {"step": 4, "ged": 0.125})
                _assert_identical(tree, _large(4))
            path.write_bytes(content)
    assert {folder / "note" / "metadata", _values_file(folder)} <= refused.keys()
    for message in refused.values():
        assert message.startswith(f"{folder}: cannot be read (")
        assert "\n" not in message


@pytest.mark.parametrize("what", ["values", "note"])
def test_a_flipped_bit_falls_back_to_the_checkpoint_before(large, tmp_path, caplog, what):
    shutil.copytree(large, tmp_path / "run")
    series = tmp_path / "run" / "checkpoints" / "last"
    if what == "values":
        _flip(_values_file(series / "4"), 0.5, 3)
    else:
        note = series / "4" / "note" / "metadata"
        note.write_text(note.read_text().replace('"at": 4', '"at": 5'))
    with caplog.at_level(logging.WARNING, "prosona_jax.runtime.checkpoint"):
        step, tree, note = _resume(tmp_path / "run", _large())
    assert (step, note) == (2, {"best": 0.25, "position": {"at": 2}})
    _assert_identical(tree, _large(2))
    assert [
        r.getMessage() for r in caplog.records if r.name == "prosona_jax.runtime.checkpoint"
    ] == [
        f"checkpoint {series}/4 cannot be read (damaged or edited: its checksum differs); trying "
        "the one before"
    ]
    assert (series.parent / "unreadable-last-4").is_dir()
    assert _steps(tmp_path / "run", "last") == [2]


def test_a_damaged_best_is_refused(large, tmp_path):
    shutil.copytree(large, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints" / "best" / "4"
    _flip(_values_file(folder), 0.5, 0)
    with pytest.raises(InputError) as fault:
        read_best(tmp_path / "run", _large())
    assert str(fault.value) == (
        f"{folder}: cannot be read (damaged or edited: its checksum differs); restore the folder "
        "from a copy, or train in another workdir"
    )


def test_a_checkpoint_without_a_checksum_is_refused(tmp_path):
    _save(tmp_path, "best", 6)
    note = tmp_path / "checkpoints" / "best" / "6" / "note" / "metadata"
    note.write_text(json.dumps({"best": 0.75}))
    with pytest.raises(InputError) as fault:
        read_best(tmp_path, _array())
    assert str(fault.value) == (
        f"{note.parents[1]}: cannot be read (no checksum: damaged, or written by an earlier "
        "version); restore the folder from a copy, or train in another workdir"
    )


def test_a_checkpoint_that_one_process_cannot_read_is_used_by_none(tmp_path, monkeypatch):
    _save(tmp_path, "best", 6)
    asked = []
    monkeypatch.setattr(parallel, "all_agree", lambda mine: asked.append(mine))
    with pytest.raises(InputError, match=r"cannot be read \(another process cannot read it\); re"):
        read_best(tmp_path, _array())
    assert asked == [True]


def _files(workdir):
    return {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}


def test_the_best_can_be_read_while_a_training_writes(tmp_path):
    """Reading must not remove a half-written checkpoint of another process."""
    _save(tmp_path, "best", 6)
    half = tmp_path / "checkpoints" / "best" / "8.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "d").write_text("half")
    before = _files(tmp_path)
    step, tree, note = read_best(tmp_path, _array())
    assert (step, note["best"]) == (6, 0.75)
    _assert_identical(tree, _array(6))
    assert _files(tmp_path) == before


def test_a_best_with_another_tree_is_not_renamed(tmp_path):
    """The requested model may be the wrong one, so nothing is changed."""
    _save(tmp_path, "best", 6)
    before = _files(tmp_path)
    with pytest.raises(InputError, match=r"best/6: cannot be read \(.+\); restore the folder"):
        read_best(tmp_path, {"kernel": jnp.zeros((4, 5))})
    assert _files(tmp_path) == before
