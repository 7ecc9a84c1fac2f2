"""Writes the progress of a training run: JSON lines, TensorBoard and a progress bar."""

import json
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import tensorboardX
import tqdm

from prosona_jax import checksum, files
from prosona_jax.types import InputError, first_line

HISTORY = "history.jsonl"


def read_history(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows that were written so far: {"step", "split", name: value, ..., "seconds"}.

    "seconds" is the time since the previous row. A last line that an interruption cut short is left
    out.

    Raises:
        InputError: a line is damaged or was edited.
    """
    path = pathlib.Path(workdir) / HISTORY
    *lines, cut = path.read_bytes().split(b"\n") if path.exists() else [b""]
    if b"}" in cut[:-1]:  # values have no braces: the line is complete, but its end is damaged
        lines.append(cut)
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(checksum.unseal(json.loads(line)))
        except ValueError as error:
            raise InputError(
                f"{path}: line {number} cannot be used ({first_line(error)}); restore the file "
                "from a copy, or delete the line"
            ) from None
    return rows


def _line(row: dict[str, Any]) -> str:
    return json.dumps(checksum.seal(row)) + "\n"


def training_seconds(workdir: str | pathlib.Path) -> float:
    """Returns the duration of training with its validations, summed over all restarts."""
    return sum((row.get("seconds", 0.0) for row in read_history(workdir)), start=0.0)


class Monitor:
    """Writes scalars, on process 0 only.

    Rows after ``step`` are dropped, because the resumed training writes them again.
    """

    def __init__(self, workdir: str | pathlib.Path, *, step: int, steps: int) -> None:
        folder = pathlib.Path(workdir)
        # Every process reads the history, so that all of them stop if it is damaged. If process 0
        # stopped alone, the others would wait for it.
        kept = [row for row in read_history(folder) if row["step"] <= step]
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        files.write_whole(folder / HISTORY, "".join(map(_line, kept)).encode())
        self._since = time.monotonic()
        self._file = (folder / HISTORY).open("a")
        self._board = tensorboardX.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        self._bar = tqdm.tqdm(
            total=steps, initial=step, unit="step", smoothing=0.1, mininterval=1.0
        )

    def advance(self) -> None:
        """Moves the progress bar by one step."""
        if self._writes:
            self._bar.update()

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Writes one row of named scalars; `split` is "train" or "validation"."""
        if not self._writes:
            return
        now = time.monotonic()
        row = {"step": step, "split": split, **values, "seconds": round(now - self._since, 3)}
        self._since = now
        self._file.write(_line(row))
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(f"{split}/{name}", value, step)
        self._bar.set_postfix_str(
            " ".join(f"{name}={value:.3g}" for name, value in list(values.items())[:3])
        )

    def close(self) -> None:
        """Closes the progress bar, the history and TensorBoard."""
        if self._writes:
            self._bar.close()
            self._file.close()
            self._board.close()
