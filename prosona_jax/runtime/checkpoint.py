"""Checkpoints: the last ones to resume from, and the best one to use.

A checkpoint is written completely or not at all.
"""

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

    A ``last`` checkpoint has the training state and a JSON note (data position, best value so far).
    A ``best`` checkpoint has the parameters to use and a note. Both are written in the background
    under a temporary name, and are renamed when they are complete. The note's file has a checksum
    of all values, because most files of Orbax have none. Without it, a flipped bit would change
    contours and raise no error.
    """

    def __init__(self, workdir: str | pathlib.Path) -> None:
        """Opens or creates both series for writing, and removes incomplete checkpoints."""
        self._folder = pathlib.Path(workdir).resolve() / "checkpoints"
        self._series = {"last": self._open("last", keep=2), "best": self._open("best", keep=1)}

    def _open(self, series: str, keep: int) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        return ocp.CheckpointManager(self._folder / series, options=options)

    def save(self, series: str, step: int, tree: Tree, note: dict[str, Any]) -> None:
        """Starts to write ``tree`` and ``note`` (JSON) as a checkpoint of a series.

        Earlier checkpoints are complete on disk before, so a note may refer to them.

        Raises:
            ValueError: the series has a checkpoint of this step or of a later one.
        """
        # The writers of both series use barriers with the same names. If both wrote at once, two
        # processes could wait for ever at barriers of different series.
        self.wait()
        sealed = checksum.seal(note, _arrays(tree))
        args = ocp.args.Composite(tree=ocp.args.StandardSave(tree), note=ocp.args.JsonSave(sealed))
        if not self._series[series].save(step, args=args):  # Orbax refuses an old step
            raise ValueError(f"{self._folder / series}: step {step} is not after the saved steps")

    def resume(self, like: Tree) -> tuple[int, Tree, dict[str, Any]] | None:
        """Returns (step, tree, note) of the newest readable ``last`` checkpoint, None without one.

        If a checkpoint cannot be read, a warning is logged and the one before it is tried. If that
        one can be read, the unreadable one is renamed to ``unreadable-last-<step>``. A checkpoint
        with a wrong checksum or without a checksum counts as unreadable.

        A ``best`` checkpoint that is newer than the returned step is removed. If there is no
        ``last`` checkpoint, any ``best`` checkpoint is removed. It belongs to an attempt that went
        further before it was interrupted, and Orbax would not save an earlier step beside it.

        Args:
            like: a tree of arrays with the wanted shapes, types and shardings.

        Raises:
            InputError: there are ``last`` checkpoints, but none can be read. They are not renamed,
                so that the next attempt does not start over unnoticed.
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
        """Returns whether there is a ``best`` checkpoint."""
        return self._series["best"].latest_step() is not None

    def _remove_best_after(self, step: int) -> None:
        for newer in self._series["best"].all_steps():
            if newer > step:
                self._series["best"].delete(newer)

    def _set_aside(self, steps: list[int]) -> None:
        def rename() -> None:
            for step in steps if jax.process_index() == 0 else ():
                (self._folder / "last" / str(step)).rename(self._folder / f"unreadable-last-{step}")

        parallel.first_process_first(rename)  # before the other processes list the folder
        self._series["last"].reload()

    def wait(self) -> None:
        """Waits until all checkpoints are complete on disk."""
        for manager in self._series.values():
            manager.wait_until_finished()

    def close(self) -> None:
        """Waits as in :meth:`wait`, and frees the writers."""
        for manager in self._series.values():
            manager.close()


def is_saved(workdir: str | pathlib.Path, step: int) -> bool:
    """Returns whether there is a complete ``last`` checkpoint of this step."""
    return (pathlib.Path(workdir) / "checkpoints" / "last" / str(step)).is_dir()


def read_best(workdir: str | pathlib.Path, like: Tree) -> tuple[int, Tree, dict[str, Any]]:
    """Returns (step, tree, note) of the ``best`` checkpoint, without any change to the workdir.

    Args:
        workdir: the folder of the training run.
        like: as in :meth:`Checkpoints.resume`.

    Raises:
        InputError: there is no checkpoint, its tree differs from `like`, or its values differ from
            the saved ones.
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
    """Returns step, tree and note; raises on every process if one process cannot read them."""
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
    """Yields (path in the tree, array); every process has the complete arrays."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path), leaf
