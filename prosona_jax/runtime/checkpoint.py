"""Checkpoints: the last ones to resume from, the best one to use. Written whole or not at all."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp

from prosona_jax import checksum
from prosona_jax.runtime import parallel
from prosona_jax.types import InputError, first_line

Tree = Any
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """Two series under ``<workdir>/checkpoints``: ``last`` (newest two) and ``best`` (one).

    A ``last`` checkpoint is the training state and a JSON note (data position, best value so far);
    a ``best`` one is the parameters to use and a note. Both are written in the background under a
    temporary name and renamed when complete. The checksum of all values lies in the note's file:
    most of what Orbax writes has none, and a flipped bit would change contours in silence.
    """

    def __init__(self, workdir: str | pathlib.Path) -> None:
        """Opens or makes both series to write; what an interruption left half-written goes."""
        self._folder = pathlib.Path(workdir).resolve() / "checkpoints"
        self._series = {"last": self._open("last", keep=2), "best": self._open("best", keep=1)}

    def _open(self, series: str, keep: int) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        return ocp.CheckpointManager(self._folder / series, options=options)

    def save(self, series: str, step: int, tree: Tree, note: dict[str, Any]) -> None:
        """Starts to write ``tree`` and ``note`` (JSON) as that step's checkpoint of a series.

        What was saved before is on disk by then, so a note may speak of it.
        """
        # The series' writers meet at barriers of the same names: with both at work, a process could
        # stand at one series' barrier and another at the other's, for ever.
        self.wait()
        sealed = checksum.seal(note, _arrays(tree))
        args = ocp.args.Composite(tree=ocp.args.StandardSave(tree), note=ocp.args.JsonSave(sealed))
        if not self._series[series].save(step, args=args):  # so Orbax answers an earlier step
            raise ValueError(f"{self._folder / series}: step {step} is not after those it holds")

    def resume(self, like: Tree) -> tuple[int, Tree, dict[str, Any]] | None:
        """Returns (step, tree, note) of the newest readable ``last`` one, None if there is none.

        For an unreadable one, with a warning, the one before is tried, and if that can be read, the
        other is set aside as ``unreadable-last-<step>``. If none can be read, InputError, and all
        stay where they are: the next attempt must not start over in silence. Unreadable is also
        what has another checksum than was saved, or none.

        A ``best`` that is newer, or where there is no ``last``, is removed: it is of an attempt
        that went further before it was interrupted, and no earlier step can be saved beside it.

        Args:
            like: a tree of arrays with the wanted shapes, types and shardings.
        """
        manager = self._series["last"]
        steps = sorted(manager.all_steps(), reverse=True)
        for newer, step in enumerate(steps):
            try:
                restored = _restore(manager, step, like)
            except Exception as error:
                _LOG.warning(
                    "checkpoint %s/last/%d cannot be read (%s); trying the one before",
                    self._folder, step, first_line(error),
                )  # fmt: skip
            else:
                self._set_aside(steps[:newer])
                self._remove_best_after(step)
                _LOG.info("resumed from step %d", step)
                return restored
        if steps:
            raise InputError(
                f"{self._folder / 'last'}: none of the checkpoints {sorted(steps)} can be "
                "read; restore the folder from a copy, or remove it to start over"
            )
        self._remove_best_after(-1)
        return None

    def has_best(self) -> bool:
        """Returns whether there is a ``best`` one."""
        return self._series["best"].latest_step() is not None

    def _remove_best_after(self, step: int) -> None:
        for newer in self._series["best"].all_steps():
            if newer > step:
                self._series["best"].delete(newer)

    def _set_aside(self, steps: list[int]) -> None:
        def rename() -> None:
            for step in steps if jax.process_index() == 0 else ():
                place = self._folder / f"unreadable-last-{step}"
                (self._folder / "last" / str(step)).rename(place)

        parallel.first_process_first(rename)  # before the others look what there is
        self._series["last"].reload()

    def wait(self) -> None:
        """Returns when everything that was saved is on disk."""
        for manager in self._series.values():
            manager.wait_until_finished()

    def close(self) -> None:
        """Waits and frees the writers."""
        for manager in self._series.values():
            manager.close()


def is_saved(workdir: str | pathlib.Path, step: int) -> bool:
    """Returns whether a ``last`` checkpoint of that step is there, complete."""
    return (pathlib.Path(workdir) / "checkpoints" / "last" / str(step)).is_dir()


def read_best(workdir: str | pathlib.Path, like: Tree) -> tuple[int, Tree, dict[str, Any]]:
    """Returns (step, tree, note) of the ``best`` checkpoint and changes nothing in the workdir.

    Args:
        workdir: where it was trained.
        like: as in :meth:`Checkpoints.resume`.

    Raises:
        InputError: there is none, it does not hold such a tree, or other values than were saved.
    """
    folder = pathlib.Path(workdir).resolve() / "checkpoints" / "best"
    none = InputError(
        f"{folder}: no checkpoint here; train first, or restore the folder from a copy"
    )
    if not folder.is_dir():
        raise none
    options = ocp.CheckpointManagerOptions(create=False)
    with contextlib.closing(ocp.CheckpointManager(folder, options=options)) as manager:
        step = manager.latest_step()
        if step is None:
            raise none
        try:
            return _restore(manager, step, like)
        except Exception as error:
            raise InputError(
                f"{folder / str(step)}: cannot be read ({first_line(error)}); restore the folder "
                "from a copy, or train in another workdir"
            ) from error


def _restore(
    manager: ocp.CheckpointManager, step: int, like: Tree
) -> tuple[int, Tree, dict[str, Any]]:
    """Returns step, tree and note; where one process cannot read them, an error on all."""
    template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    args = ocp.args.Composite(tree=ocp.args.StandardRestore(template), note=ocp.args.JsonRestore())
    fault: Exception | None = None
    try:
        restored = manager.restore(step, args=args)
        note = checksum.unseal(restored["note"], _arrays(restored["tree"]))
    except Exception as error:  # Orbax raises many types for a damaged folder.
        fault = error
    if not parallel.all_agree(fault is None):
        raise fault or RuntimeError("another process cannot read it")
    return step, restored["tree"], note


def _arrays(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Yields each array with its place in the tree; they are whole on every process."""
    for place, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(place), leaf
