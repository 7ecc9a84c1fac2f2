"""Networks that draw the raters' masks directly are compared like all other methods."""

import csv
import json

import pytest

from configs.methods import METHODS
from data_pipelines.sources import npz
from prosona_jax.experiments import build, grid, limits, runs
from prosona_jax.types import InputError
from tests.comparing import FIELDS
from tests.experiments.test_volumes import record
from tests.programs import PATIENTS, configure, write_discs

DIRECT = [name for name, fields in METHODS.items() if "model.network" in fields]


def rows_of(folder):
    with (folder / "report" / "rows.csv").open() as file:
        return list(csv.DictReader(file))


def test_all_direct_networks_are_methods():
    assert {METHODS[name]["model.network"] for name in DIRECT} == {*build.DIRECT}


def test_they_are_trained_once_and_scored_like_styles(tmp_path):
    write_discs(tmp_path / "discs.npz", PATIENTS, seed=0)
    config = configure(tmp_path, FIELDS)
    folder = tmp_path / "compared"
    methods = ["consensus", "pionono"]
    grid.compare(config, folder, methods=methods, folds=(0,))
    rows = rows_of(folder)
    kinds = {name: {row["method"] for row in rows if row["run"] == name} for name in methods}
    assert kinds == {
        "consensus": {"prompts_mean"},
        "pionono": {"prompts_mean", "samples@6", "samples@4"},
    }
    own = [row for row in rows if row["run"] == "consensus"]
    assert len({row["record_id"] for row in own}) == len(own) > 5
    for row in own:  # one mask for all raters: each column of the table is constant
        for rater in range(1, 5):
            assert len({row[f"dice_{style}_{rater}"] for style in range(1, 5)}) == 1
        assert float(row["style_gain"]) == pytest.approx(0, abs=1e-6)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("rows.json")}
    grid.compare(config, folder, methods=methods, folds=(0,))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("rows.json")} == before
    result = json.loads((folder / "report" / "report.json").read_text())
    assert result["methods"]["pionono"]["model.network"] == "pionono"


def test_volumes_are_scored_too(tmp_path):
    records = [
        record(f"v{n}", k, patient_id=f"p{n}", seed=3 * n + k) for n in range(8) for k in range(3)
    ]
    npz.write(tmp_path / "discs.npz", records, "", False)
    changes = {"data.raters": "stored", "data.size": 8, "evaluate.samples": 4}
    config = configure(tmp_path, FIELDS | changes)
    grid.compare(config, tmp_path / "compared", methods=["branches"], folds=(0,))
    (path,) = (tmp_path / "compared").glob("fold0-seed0/branches/rows.json")
    found = [row for row in json.loads(path.read_text())["rows"] if "volume" in row]
    assert len(found) == len({row["patient_id"] for row in found}) > 2
    for row in found:
        assert row["method"] == "prompts_mean"
        assert row["slices"] == 3
        assert row["difference_ml"] >= 0


def test_main_refuses_them(tmp_path):
    write_discs(tmp_path / "discs.npz", PATIENTS, seed=0)
    config = configure(tmp_path, FIELDS | METHODS["branches"])
    with pytest.raises(InputError, match="'branches', a baseline without a prior"):
        runs.train(config, tmp_path / "run")


@pytest.mark.parametrize("field", ["loss.ged", "loss.bound"])
def test_losses_of_a_prior_are_refused(tmp_path, field):
    write_discs(tmp_path / "discs.npz", PATIENTS, seed=0)
    config = configure(tmp_path, FIELDS | METHODS["branches"] | {field: 0.5})
    with pytest.raises(InputError, match="'branches' and has no prior: set"):
        limits.check(config)
