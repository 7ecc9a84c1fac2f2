"""Checkpoints that are damaged, half written or of another model: set aside, or refused."""

import gc
import json
import logging
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.runtime import parallel
from prosona_jax.runtime.checkpoint import Checkpoints, read_best
from prosona_jax.types import InputError
from tests.runtime.saved import array_of, assert_identical, resume, save, steps_in

# At the first fault of a damaged checkpoint, Orbax stops and drops the reads that it had prepared.
pytestmark = pytest.mark.filterwarnings(
    "ignore:coroutine 'Store._get_array_metadatas' was never awaited:RuntimeWarning"
)


@pytest.fixture(autouse=True)
def _dropped_here():
    """Collects the dropped reads here, so that their warnings do not appear in another module."""
    yield
    gc.collect()


def _damage(workdir, step, how):
    """Removes or cuts short every array and note of a step."""
    folder = workdir / "checkpoints" / "last" / str(step)
    files = [p for p in folder.rglob("*") if p.is_file() and ("d" in p.parts or p.suffix)]
    assert files
    for path in files:
        path.unlink() if how == "removed" else path.write_bytes(path.read_bytes()[:10])


@pytest.mark.parametrize("how", ["removed", "cut short"])
def test_an_unreadable_checkpoint_falls_back_to_the_one_before(tmp_path, caplog, how):
    save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 4, how)
    with caplog.at_level(logging.WARNING, "prosona_jax.runtime.checkpoint"):
        step, tree, note = resume(tmp_path)
    assert (step, note) == (2, {"best": 0.25, "position": {"at": 2}})
    assert_identical(tree, array_of(2))
    (warning,) = [
        r.getMessage() for r in caplog.records if r.name == "prosona_jax.runtime.checkpoint"
    ]
    assert warning.startswith(f"checkpoint {tmp_path}/checkpoints/last/4 cannot be read (")
    assert warning.endswith("); trying the one before")
    assert "\n" not in warning
    assert (tmp_path / "checkpoints" / "unreadable-last-4").is_dir()
    assert steps_in(tmp_path, "last") == [2]


def test_a_step_set_aside_can_be_saved_again(tmp_path):
    save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 4, "removed")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.resume(array_of())
    checkpoints.save("last", 4, array_of(4), {"best": None})
    checkpoints.close()
    step, tree, note = resume(tmp_path)
    assert (step, note) == (4, {"best": None})
    assert_identical(tree, array_of(4))


def test_it_is_an_error_if_no_checkpoint_can_be_read(tmp_path):
    save(tmp_path, "last", 2, 4)
    _damage(tmp_path, 2, "removed")
    _damage(tmp_path, 4, "cut short")
    for _ in range(2):  # the second time too: no checkpoint was renamed
        with pytest.raises(InputError) as fault:
            resume(tmp_path)
        assert str(fault.value) == (
            f"{tmp_path}/checkpoints/last: none of the checkpoints [2, 4] can be read; restore the "
            "folder from a copy, or remove it to start over"
        )
    assert steps_in(tmp_path, "last") == [2, 4]


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
                assert_identical(tree, _large(4))
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
        step, tree, note = resume(tmp_path / "run", _large())
    assert (step, note) == (2, {"best": 0.25, "position": {"at": 2}})
    assert_identical(tree, _large(2))
    assert [
        r.getMessage() for r in caplog.records if r.name == "prosona_jax.runtime.checkpoint"
    ] == [
        f"checkpoint {series}/4 cannot be read (damaged or edited: its checksum differs); trying "
        "the one before"
    ]
    assert (series.parent / "unreadable-last-4").is_dir()
    assert steps_in(tmp_path / "run", "last") == [2]


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
    save(tmp_path, "best", 6)
    note = tmp_path / "checkpoints" / "best" / "6" / "note" / "metadata"
    note.write_text(json.dumps({"best": 0.75}))
    with pytest.raises(InputError) as fault:
        read_best(tmp_path, array_of())
    assert str(fault.value) == (
        f"{note.parents[1]}: cannot be read (no checksum: damaged, or written by an earlier "
        "version); restore the folder from a copy, or train in another workdir"
    )


def test_a_checkpoint_that_one_process_cannot_read_is_used_by_none(tmp_path, monkeypatch):
    save(tmp_path, "best", 6)
    asked = []
    monkeypatch.setattr(parallel, "all_agree", lambda mine: asked.append(mine))
    with pytest.raises(InputError, match=r"cannot be read \(another process cannot read it\); re"):
        read_best(tmp_path, array_of())
    assert asked == [True]


def _files(workdir):
    return {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}


def test_the_best_can_be_read_while_a_training_writes(tmp_path):
    """Reading must not remove a half-written checkpoint of another process."""
    save(tmp_path, "best", 6)
    half = tmp_path / "checkpoints" / "best" / "8.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "d").write_text("half")
    before = _files(tmp_path)
    step, tree, note = read_best(tmp_path, array_of())
    assert (step, note["best"]) == (6, 0.75)
    assert_identical(tree, array_of(6))
    assert _files(tmp_path) == before


def test_a_best_with_another_tree_is_not_renamed(tmp_path):
    """The requested model may be the wrong one, so nothing is changed."""
    save(tmp_path, "best", 6)
    before = _files(tmp_path)
    with pytest.raises(InputError, match=r"best/6: cannot be read \(.+\); restore the folder"):
        read_best(tmp_path, {"kernel": jnp.zeros((4, 5))})
    assert _files(tmp_path) == before
