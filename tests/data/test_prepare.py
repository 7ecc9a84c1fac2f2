"""The command describes the data, exports them, and reports bad input in one line."""

import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import prepare, prepared
from prosona_jax.types import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPLITS = {
    "folds": 4, "fold": 0, "validation_share": 0.5, "leave_out": (), "split": "test",
    "test_site": "",
    "spacing_mm": 0.0,
}  # fmt: skip


def command(*flags):
    return subprocess.run(
        [sys.executable, "-m", "data_pipelines.prepare", "--config=configs/lidc.py", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prepares_and_prints(make_npz, tmp_path):
    ended = command(
        "--config.data.source=npz",
        f"--config.data.path={make_npz()}",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
        "--config.data.size=16",
        "--config.data.spacing_mm=0",
    )
    assert ended.returncode == 0, ended.stderr
    assert "records            12 of 6 patients" in ended.stdout
    assert "image              16x16x1, from 20x20 to 20x20 pixels" in ended.stdout
    assert "preparing" in ended.stderr  # the progress bar


def test_bad_input_is_one_line_and_status_2(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    ended = command("--config.data.source=npz", f"--config.data.path={tmp_path / 'bad.npz'}")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{tmp_path / 'bad.npz'}: not a readable npz file")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("field", "misspelt"), [("data.sauce", "sauce"), ("dta.source", "dta"), ("data.sourc", "sourc")]
)
def test_a_misspelt_field_is_named(field, misspelt):
    ended = command(f"--config.{field}=npz")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"--config has no field '{misspelt}'; ")
    assert ended.stderr.endswith("configs/base.py lists all fields\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--config=configs/lidc.py:demoo"],
            "configs/lidc.py has no variant 'demoo'; choose from ['crops64', 'demo', 'full', "
            "'smoke']",
        ),
        (
            ["--config=configs/cells.py:demo"],
            "--config: this file has no variants; leave out the colon and what follows it",
        ),
        (
            ["--config=configs/nope.py"],
            "[Errno 2] No such file or directory: 'configs/nope.py'",
        ),
        (
            ["--config=configs/nope.py", "--config.data.size=3"],
            "[Errno 2] No such file or directory: 'configs/nope.py'",
        ),
        (
            ["--config.data.size.foo=3"],
            "--config has no field data.size.foo; configs/base.py lists all fields",
        ),
        (
            ["--config.data.split.foo=3"],
            "--config has no such field in a text or a tuple; configs/base.py lists all fields",
        ),
        (
            ["--config.data.percentiles[7]=3"],
            "--config has no such field in a text or a tuple; configs/base.py lists all fields",
        ),
        (
            ["--config.data.size=big"],
            "flag --config.data.size=big: invalid literal for int() with base 10: 'big'",
        ),
        (["--exprot=x.npz"], "Unknown command line flag 'exprot'. Did you mean: export ?"),
    ],
)
def test_flags_that_cannot_be_read_are_one_line(flags, line):
    ended = command(*flags)
    assert (ended.returncode, ended.stderr) == (2, f"{line}\n")


TERMINATED = """
import os, signal
from data_pipelines import prepare, validation
from prosona_jax import cli
seen = []
check = validation.Checker.__call__
def terminated_at_the_seventh(self, record):
    seen.append(record)
    if len(seen) == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    check(self, record)
validation.Checker.__call__ = terminated_at_the_seventh
cli.launch(prepare.main, prepare._FLAGS, manual="")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_leaves_no_partial_folder(make_npz, tmp_path, workers):
    ids = np.array([f"more {i}" for i in range(12)])
    fields = {
        "source": "npz",
        "path": make_npz(),
        "train_path": make_npz("more.npz", record_id=ids),  # a second case, for a second worker
        "cache_dir": tmp_path / "cache",
    }
    flags = [f"--config.data.{name}={value}" for name, value in fields.items()]
    flags += [f"--workers={workers}"]
    ended = subprocess.run(
        [sys.executable, "-c", TERMINATED, "--config=configs/lidc.py", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 128 + signal.SIGTERM, ended.stderr
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_the_description_counts_patients_by_split(make_npz, make_settings, tmp_path):
    path = make_npz("simulated.npz", citation=np.array("Someone 2024"), simulated=np.array(True))
    dataset = prepared.prepare(make_settings(path), str(tmp_path / "cache"))
    text = "\n".join(prepare.describe(dataset, SPLITS))
    counts = [
        line.split()[1]
        for line in text.splitlines()
        if line.split()[0] in ("train", "validation", "test")
    ]
    assert sum(map(int, counts)) == 12
    assert "cite               Someone 2024" in text
    assert "the images are simulated: no clinical evidence" in text
    assert [line.split(": ")[:2] for line in text.splitlines()[-3:]] == [
        ["warning", "Few patients scored"],
        ["warning", "Few validation patients"],
        ["warning", "Unequal folds"],
    ]


def test_an_export_holds_the_records_of_the_source(make_npz, make_settings, tmp_path, monkeypatch):
    path = make_npz()
    monkeypatch.setenv("HOME", str(tmp_path))
    said = prepare.export(make_settings(path), "~/crops.npz")
    assert said == [f"wrote 12 records to {tmp_path / 'crops.npz'}; skipped: none"]
    with np.load(path) as before, np.load(tmp_path / "crops.npz") as after:
        for key in before:
            np.testing.assert_array_equal(after[key], before[key])
            assert after[key].dtype == before[key].dtype


def test_an_export_warns_as_a_preparation_does(make_npz, make_settings, tmp_path):
    _, warning = prepare.export(make_settings(make_npz(), size=7), str(tmp_path / "crops.npz"))
    assert warning == (
        "warning: Masks cut: in 12 of 12 records masks reach beyond the crop, and their parts "
        "outside are neither learned nor scored; raise data.size."
    )


def test_an_export_of_nothing_is_refused(make_npz, make_settings, changed, tmp_path):
    path = make_npz(masks=changed("masks", ..., 0))
    with pytest.raises(InputError, match="no record is left"):
        prepare.export(make_settings(path), str(tmp_path / "crops.npz"))
    assert not (tmp_path / "crops.npz").exists()
