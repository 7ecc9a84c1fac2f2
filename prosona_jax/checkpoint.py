"""Checkpoints: the last ones to resume from, the best one to use. Written whole or not at all."""

import logging
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from prosona_jax.types import InputError

Tree = Any
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """Two series under ``<workdir>/checkpoints``: ``last`` (newest two) and ``best`` (one).

    A ``last`` checkpoint is the training state and a JSON note (data position, best value so far);
    a ``best`` one is the parameters to use and a note. Both are written in the background under a
    temporary name and renamed when complete.
    """

    def __init__(self, workdir: str | pathlib.Path) -> None:
        self._folder = pathlib.Path(workdir).resolve() / "checkpoints"
        self._series = {"last": self._open("last", keep=2), "best": self._open("best", keep=1)}

    def _open(self, series: str, keep: int) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
        return ocp.CheckpointManager(self._folder / series, options=options)

    def save(self, series: str, step: int, tree: Tree, note: dict[str, Any]) -> None:
        """Starts to write ``tree`` and ``note`` (JSON) as that step's checkpoint of a series."""
        manager = self._series[series]
        if step in manager.all_steps():  # Written just before an interruption: the same content.
            return
        manager.save(
            step,
            args=ocp.args.Composite(tree=ocp.args.StandardSave(tree), note=ocp.args.JsonSave(note)),
        )

    def restore(self, series: str, like: Tree) -> tuple[int, Tree, dict[str, Any]] | None:
        """Returns (step, tree, note) of the newest readable checkpoint, None if there is none.

        An unreadable one is set aside as ``unreadable-<series>-<step>``, with a warning, and the
        one before is tried; if none can be read, InputError.

        Args:
            series: "last" or "best".
            like: a tree of arrays with the wanted shapes, types and shardings.
        """
        manager = self._series[series]
        steps = sorted(manager.all_steps(), reverse=True)
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        args = ocp.args.Composite(
            tree=ocp.args.StandardRestore(template), note=ocp.args.JsonRestore()
        )
        for step in steps:
            try:
                restored = manager.restore(step, args=args)
            except Exception as error:  # Orbax raises many types for a damaged folder.
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                _LOG.warning(
                    "checkpoint %s/%s/%d cannot be read (%s); set aside, trying the one before",
                    self._folder, series, step, reason,
                )  # fmt: skip
                self._set_aside(series, step)
            else:
                return step, restored["tree"], restored["note"]
        if steps:
            raise InputError(
                f"{self._folder / series}: none of the checkpoints {sorted(steps)} can be "
                "read; restore the folder from a copy, or remove it to start over"
            )
        return None

    def _set_aside(self, series: str, step: int) -> None:
        if jax.process_index() == 0:
            place = self._folder / f"unreadable-{series}-{step}"
            (self._folder / series / str(step)).rename(place)
        self._series[series].reload()

    def wait(self) -> None:
        """Returns when everything that was saved is on disk."""
        for manager in self._series.values():
            manager.wait_until_finished()

    def close(self) -> None:
        """Waits and frees the writers."""
        for manager in self._series.values():
            manager.close()
