"""A data set is written completely or not at all, and a damaged one is refused."""

import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from data_pipelines import prepared
from prosona_jax.types import InputError
from tests.data.conftest import folders

ROOT = pathlib.Path(__file__).resolve().parents[2]


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [truncate, pathlib.Path.unlink])
@pytest.mark.parametrize("pattern", ["index.json", "*.array_record*", "dataset_info.json"])
def test_a_damaged_folder_is_named(make_npz, make_settings, cache, pattern, spoil):
    settings = make_settings(make_npz())
    prepared.prepare(settings, cache)
    (folder,) = folders(cache)
    (file,) = folder.rglob(pattern)
    spoil(file)
    with pytest.raises(InputError) as caught:
        prepared.prepare(settings, cache)[11]
    fault = re.sub(r"\(\w+\)", "(...)", str(caught.value))
    assert (
        fault == f"{folder}: damaged (...); delete this folder, and the next run prepares it again"
    )
    shutil.rmtree(folder)
    assert prepared.prepare(settings, cache)[11].record_id == "r11"


def everything(dataset):
    """Returns the whole content of a data set, as text and bytes."""
    told = {name: x for name, x in vars(dataset).items() if name not in {"_data", "_folder"}}
    return told, [[np.asarray(x).tobytes() for x in dataset[i]] for i in range(len(dataset))]


@pytest.mark.parametrize(
    "pattern", ["index.json", "*.array_record*", "dataset_info.json", "features.json"]
)
def test_a_flipped_bit_is_an_error_or_changes_nothing(make_npz, make_settings, cache, pattern):
    settings = make_settings(make_npz())
    before = everything(prepared.prepare(settings, cache))
    (folder,) = folders(cache)
    (file,) = folder.rglob(pattern)
    written, refused = file.read_bytes(), 0
    bits = np.random.default_rng(0).integers(8 * len(written), size=100)
    for bit in bits.tolist():
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            assert everything(prepared.prepare(settings, cache)) == before
        except InputError as fault:
            refused += str(fault).startswith(f"{folder}: damaged (")
    assert refused > 0


def test_another_patient_in_the_index_is_refused(make_npz, make_settings, cache):
    """Another patient would move a record to another fold."""
    settings = make_settings(make_npz())
    prepared.prepare(settings, cache)
    (folder,) = folders(cache)
    index = folder / "index.json"
    index.write_text(index.read_text().replace('"p01"', '"p11"', 1))
    with pytest.raises(InputError) as caught:
        prepared.prepare(settings, cache)
    assert str(caught.value) == (
        f"{folder}: damaged (ChecksumError); delete this folder, and the next run prepares it again"
    )


def test_a_cache_that_cannot_be_written_is_named(make_npz, make_settings, cache, monkeypatch):
    settings = make_settings(make_npz())

    def read_only(path, *_, **__):
        raise OSError(30, "Read-only file system", path.suffix)

    pathlib.Path(cache).mkdir()
    monkeypatch.setattr(prepared, "_key", lambda _: "0")
    monkeypatch.setattr(pathlib.Path, "open", read_only)
    with pytest.raises(InputError) as caught:
        prepared.prepare(settings, cache)
    assert str(caught.value) == (
        f"{cache}: cannot be written ([Errno 30] Read-only file system: '.lock'); choose another "
        "data.cache_dir"
    )


KILLED = """
import os, signal, sys
from data_pipelines import prepared, validation
from data_pipelines.settings import Settings
seen = []
check = validation.Checker.__call__
def killed_at_the_seventh(self, record):
    seen.append(record)
    if len(seen) == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    check(self, record)
validation.Checker.__call__ = killed_at_the_seventh
prepared.prepare(Settings(**{settings!r}), {cache!r})
"""


def test_a_killed_prepare_leaves_nothing_that_looks_finished(make_npz, make_settings, cache):
    settings = make_settings(make_npz())
    code = KILLED.format(settings=vars(settings), cache=cache)
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [path.suffix for path in folders(cache)] == [".part"]
    assert len(prepared.prepare(settings, cache)) == 12
    assert [path.suffix for path in folders(cache)] == [""]


def test_of_two_processes_that_prepare_at_once_one_writes(
    make_npz, make_settings, cache, monkeypatch
):
    settings = make_settings(make_npz())
    write, calls, meet = prepared._write, [], threading.Barrier(2)

    def slow_write(*arguments):
        calls.append(arguments)
        write(*arguments)

    def run():
        meet.wait()
        prepared.prepare(settings, cache)

    monkeypatch.setattr(prepared, "_write", slow_write)
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
