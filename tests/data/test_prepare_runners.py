"""A prepared folder has the same bytes, and a faulty source the same error, under each runner."""

import functools
import importlib.util
import logging
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import prepare, prepared, runners
from prosona_jax.types import InputError
from tests.data.conftest import arrays, folders
from tests.data.folder_files import volume_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = tuple(f"c{n}" for n in range(1, 6))
VOLUMES = {"source": "folder", "layout": "plain", "unit": "arbitrary", "slices": "any"}
RUNNERS = (runners.serial, functools.partial(runners.processes, 2))


def content(cache):
    """Returns the files of the prepared folders with their bytes."""
    return {
        str(file.relative_to(cache)): file.read_bytes()
        for folder in folders(cache)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def spoil(root):
    """Damages the third and the fourth of five cases."""
    for case in CASES[2:4]:
        path = root / "masks" / case / "B.nii.gz"
        path.write_bytes(path.read_bytes()[:60])


def made(settings, tmp_path):
    """Returns the content, or the error, that each runner makes."""
    results = []
    for k, runner in enumerate(RUNNERS):
        cache = tmp_path / f"cache{k}"
        try:
            prepared.prepare(settings, str(cache), runner)
            results.append(content(cache))
        except InputError as fault:
            assert folders(cache) == []
            results.append(str(fault))
    return results


def test_volumes_have_the_same_bytes(make_settings, tmp_path):
    root = volume_folder(tmp_path / "data", CASES)
    one, two = made(make_settings(root, **VOLUMES), tmp_path)
    assert one == two
    assert {pathlib.Path(name).name for name in one} >= {"index.json", "dataset_info.json"}
    dataset = prepared.prepare(make_settings(root, **VOLUMES), str(tmp_path / "cache1"))
    assert dataset.record_ids == [f"{case}/{k}" for case in CASES for k in (1, 2, 3)]


def test_two_npz_files_have_the_same_bytes(make_npz, make_settings, tmp_path):
    more = make_npz("more.npz", record_id=np.array([f"more {i}" for i in range(12)]))
    one, two = made(make_settings(make_npz(), train_path=str(more)), tmp_path)
    assert one == two
    assert one


def test_faults_of_two_cases_are_the_same_lines(make_settings, tmp_path):
    root = volume_folder(tmp_path / "data", CASES)
    spoil(root)
    one, two = made(make_settings(root, **VOLUMES), tmp_path)
    assert one == two
    assert [line.split(":")[0] for line in one.splitlines()] == [
        str(root / "masks" / case / "B.nii.gz") for case in CASES[2:4]
    ]


def test_skipped_cases_are_counted_and_logged_the_same(make_settings, tmp_path, caplog):
    root = volume_folder(tmp_path / "data", CASES)
    spoil(root)
    with caplog.at_level(logging.WARNING):
        one, two = made(make_settings(root, on_error="skip", **VOLUMES), tmp_path)
    assert one == two
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 4
    assert logged[:2] == logged[2:]
    dataset = prepared.prepare(
        make_settings(root, on_error="skip", **VOLUMES), str(tmp_path / "cache1")
    )
    assert dataset.fingerprint["skipped"] == {"corrupt": 2}
    assert set(dataset.volumes) == {"c1", "c2", "c5"}


def test_a_fault_after_an_id_that_occurs_twice_is_not_the_one_reported(
    make_npz, make_settings, tmp_path
):
    """What one process sees of all cases comes before what a worker sees in a later record."""
    image = arrays()["image"].astype(np.float32)
    image[2] = np.nan
    more = make_npz("more.npz", image=image)
    first = make_npz()
    one, two = made(make_settings(first, train_path=str(more)), tmp_path)
    assert one == two
    assert one == f"{first}: record 'r00': the id occurs twice; give each record its own"


def test_an_export_is_the_same(make_settings, tmp_path):
    root = volume_folder(tmp_path / "data", CASES)
    for k, runner in enumerate(RUNNERS):
        prepare.export(make_settings(root, **VOLUMES), str(tmp_path / f"{k}.npz"), runner)
    with np.load(tmp_path / "0.npz") as one, np.load(tmp_path / "1.npz") as two:
        assert one.files == two.files
        for key in one.files:
            np.testing.assert_array_equal(one[key], two[key])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz", "data"]


@pytest.fixture
def command(tmp_path):
    """Runs the command with the Python that has Apache Beam, in a cache of its own."""
    own = sys.executable if importlib.util.find_spec("apache_beam") else ""
    python = os.environ.get("PROSONA_BEAM_PYTHON", own)
    if not python:
        pytest.skip("no apache-beam: set PROSONA_BEAM_PYTHON to the Python of its environment")

    def run(name, *flags, **fields):
        data = {"cache_dir": tmp_path / name, "size": 20, "spacing_mm": 0.0, **fields}
        ended = subprocess.run(
            [
                *(python, "-m", "data_pipelines.prepare", "--config=configs/lidc.py"),
                *(f"--config.data.{field}={value}" for field, value in data.items()),
                *flags,
            ],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = ended.stderr.strip().splitlines()[-1:] if ended.returncode else ended.stdout
        return ended.returncode, said, content(tmp_path / name), ended.stderr

    return run


BEAM = ("--runner=DirectRunner", "--", "--direct_num_workers=2")


def test_beam_makes_the_same_bytes_of_volumes_and_of_npz(command, make_npz, tmp_path):
    root = volume_folder(tmp_path / "data", CASES)
    multi, volumes = "--direct_running_mode=multi_processing", {**VOLUMES, "path": root}
    npz = {"source": "npz", "path": make_npz()}
    for k, (fields, *mode) in enumerate(((volumes, multi), (npz,))):
        status, said, files, error = command(f"serial{k}", "--workers=1", **fields)
        assert (status, bool(files)) == (0, True), error
        assert command(f"beam{k}", *BEAM, *mode, **fields)[:3] == (0, said, files)


def test_beam_reports_the_same_fault_and_the_same_counts(command, tmp_path):
    root = volume_folder(tmp_path / "data", CASES)
    spoil(root)
    fields = {**VOLUMES, "path": root}
    for on_error, expected in (("raise", 2), ("skip", 0)):
        status, said, files, error = command(
            f"serial-{on_error}", "--workers=1", on_error=on_error, **fields
        )
        assert status == expected, error
        again = command(f"beam-{on_error}", *BEAM, on_error=on_error, **fields)
        assert again[:3] == (status, said, files)


def test_an_unknown_runner_is_one_line(command, make_npz):
    status, said, files, _ = command("x", "--runner=Nope", source="npz", path=make_npz())
    assert (status, files) == (2, {})
    assert said[0].startswith("--runner=Nope: Unexpected pipeline runner: Nope. Valid values are ")
