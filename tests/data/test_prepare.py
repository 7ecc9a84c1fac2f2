"""The command prints what the data are, exports them, and tells bad input in one line."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import prepare, prepared
from prosona_jax.types import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPLITS = {"folds": 4, "fold": 0, "validation_share": 0.5}


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
    assert "the CT is simulated: no clinical evidence" in text


def test_an_export_holds_what_the_source_has(make_npz, make_settings, tmp_path):
    path = make_npz()
    line = prepare.export(make_settings(path), str(tmp_path / "crops.npz"))
    assert line == f"wrote 12 records to {tmp_path / 'crops.npz'}; skipped: none"
    with np.load(path) as before, np.load(tmp_path / "crops.npz") as after:
        for key in before:
            np.testing.assert_array_equal(after[key], before[key])
            assert after[key].dtype == before[key].dtype


def test_an_export_of_nothing_is_refused(make_npz, make_settings, changed, tmp_path):
    path = make_npz(masks=changed("masks", ..., 0))
    with pytest.raises(InputError, match="no record is left"):
        prepare.export(make_settings(path), str(tmp_path / "crops.npz"))
    assert not (tmp_path / "crops.npz").exists()
