"""The history of a run: its rows, and what a restart or an interruption does to them."""

import json

import jax
import pytest

from prosona_jax import checksum
from prosona_jax.runtime.monitor import Monitor, read_history, training_seconds
from prosona_jax.types import InputError


def _write(workdir, *rows, step=0):
    monitor = Monitor(workdir, step=step, steps=8)
    for row_step, split, values in rows:
        monitor.advance()
        monitor.write(row_step, split, values)
    monitor.close()


def _values(workdir):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_history(workdir)]


def test_rows_come_back_as_written(tmp_path):
    _write(tmp_path, (1, "train", {"loss": 0.5, "kl": 1.25}), (1, "validation", {"ged": 0.125}))
    assert _values(tmp_path) == [
        {"step": 1, "split": "train", "loss": 0.5, "kl": 1.25},
        {"step": 1, "split": "validation", "ged": 0.125},
    ]
    assert all(row["seconds"] >= 0 for row in read_history(tmp_path))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_restart_drops_the_rows_that_will_be_written_again(tmp_path):
    _write(tmp_path, *((step, "train", {"loss": float(step)}) for step in (1, 2, 3, 4)))
    _write(tmp_path, (3, "train", {"loss": 30.0}), step=2)
    assert [(row["step"], row["loss"]) for row in read_history(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
    ]
    assert sorted(each.name for each in tmp_path.glob(".*")) == []


def test_a_line_cut_short_is_left_out(tmp_path):
    _write(tmp_path, (1, "train", {"loss": 1.0}), (2, "train", {"loss": 2.0}))
    history = tmp_path / "history.jsonl"
    history.write_text(history.read_text() + '{"step": 3, "spl')
    assert [row["step"] for row in read_history(tmp_path)] == [1, 2]
    _write(tmp_path, (3, "train", {"loss": 3.0}), step=2)
    assert [json.loads(line)["step"] for line in history.read_text().splitlines()] == [1, 2, 3]


def test_training_time_is_summed_over_restarts(tmp_path):
    assert training_seconds(tmp_path) == 0.0
    rows = [{"step": 1, "seconds": 1.5}, {"step": 2, "seconds": 0.25}, {"step": 3}]
    lines = [json.dumps(checksum.seal(row)) + "\n" for row in rows]
    (tmp_path / "history.jsonl").write_text("".join(lines))
    assert training_seconds(tmp_path) == 1.75


def test_a_flipped_bit_never_changes_a_history_that_is_read(tmp_path):
    """Bits of line ends are flipped too. A last line without an end counts as cut short."""
    _write(tmp_path, (1, "train", {"loss": 0.5}), (2, "train", {"loss": 0.25}))
    path, rows = tmp_path / "history.jsonl", read_history(tmp_path)
    content, messages = path.read_bytes(), []
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            assert read_history(tmp_path) == rows
        except InputError as fault:
            messages.append((1 + (bit // 8 > content.index(b"\n")), str(fault)))
    assert len(messages) > 7 * len(content)
    for line, message in messages:
        assert message.startswith(f"{path}: line {line} cannot be used (")


@pytest.mark.parametrize("process", [0, 1])
def test_every_process_refuses_a_damaged_row_and_none_changes_the_file(
    tmp_path, monkeypatch, process
):
    _write(tmp_path, (1, "train", {"loss": 0.5}), (2, "train", {"loss": 0.25}))
    path = tmp_path / "history.jsonl"
    damaged = path.read_text().replace("0.25", "0.24")
    path.write_text(damaged)
    monkeypatch.setattr(jax, "process_index", lambda: process)
    with pytest.raises(InputError) as fault:
        _write(tmp_path, step=2)
    assert str(fault.value) == (
        f"{path}: line 2 cannot be used (damaged or edited: its checksum differs); restore the "
        "file from a copy, or delete the line"
    )
    assert path.read_text() == damaged


def test_the_bar_names_the_first_three_scores(tmp_path, capsys):
    _write(tmp_path, (1, "train", {"loss": 0.12345, "kl": 2.0, "dice": 0.5, "ged": 9.0}))
    bar = capsys.readouterr().err
    assert "1/8" in bar
    assert "loss=0.123 kl=2 dice=0.5" in bar
    assert "ged" not in bar


def test_only_the_first_process_writes(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    _write(tmp_path, (1, "train", {"loss": 1.0}))
    assert not list(tmp_path.iterdir())
