"""Methods compared on volumes: made discs, two slices of each volume, two sites, two folds."""

import csv
import json

import ml_collections
import numpy as np
import pytest

from prosona_jax import checksum
from prosona_jax.evaluation import intervals
from prosona_jax.experiments import grid, inputs, stages, volumes
from prosona_jax.runtime import workdir
from prosona_jax.types import InputError
from tests.comparing import FIELDS
from tests.programs import configure, write_discs

VOLUMES = [f"v{i}" for i in range(12)]
METHODS = ["dpersona_heads", "expert_id"]
MEASURES = ("dice_mean", "ged", "assd_mm", "hd95_max_mm", "bias_ml")


def write_volumes(path):
    """Writes two slices of each volume; each patient has one volume at one of two sites."""
    slices = [f"{volume}/{k}" for volume in VOLUMES for k in (0, 1)]
    own = np.array([name.split("/")[0] for name in slices])
    write_discs(
        path, slices, seed=0, volume=own, slice_mm=[3.0 * int(name[-1]) for name in slices],
        slice_spacing_mm=np.full(len(slices), 3.0), spacing_mm=np.full((len(slices), 2), 0.5),
        site=["north" if int(volume[1:]) % 2 else "south" for volume in own],
    )  # fmt: skip
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"patient_id": own, "record_id": np.array(slices)}))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A finished comparison: its config and its folder."""
    folder = tmp_path_factory.mktemp("volumes")
    write_volumes(folder / "discs.npz")
    config = configure(folder, FIELDS | {"data.spacing_mm": 0.0, "evaluate.bootstrap": 50})
    grid.compare(config, folder / "whole", methods=METHODS)
    return config, folder / "whole"


def stored(folder):
    """Returns the rows of each cell, {(fold, method): rows}."""
    return {
        (fold, method): json.loads(
            (folder / f"fold{fold}-seed0" / method / "rows.json").read_text()
        )["rows"]
        for fold in (0, 1)
        for method in METHODS
    }


def test_each_volume_has_a_row_beside_those_of_its_slices(compared):
    _, folder = compared
    every = stored(folder)
    for (fold, method), rows in every.items():
        of_volumes = [row for row in rows if "volume" in row]
        patients = workdir.read(folder / f"fold{fold}-seed0" / method).patients["test"]
        for kind in ("samples@6", "samples@4", "prompts_mean"):
            assert sorted(row["volume"] for row in of_volumes if row["method"] == kind) == patients
            slices = [row for row in rows if row["method"] == kind and "volume" not in row]
            assert len(slices) == 2 * len(patients)
        for row in of_volumes:
            assert (row["slices"], row["patient_id"]) == (2, row["volume"])
            assert row["site"] == ("north" if int(row["volume"][1:]) % 2 else "south")
            assert "commit" in row
    for fold in (0, 1):  # both methods have the same first stage
        sampled = [
            [row for row in every[fold, method] if row["method"].startswith("samples")]
            for method in METHODS
        ]
        assert sampled[0] == sampled[1]
    with (folder / "report" / "rows_volumes.csv").open() as file:
        written = list(csv.DictReader(file))
    assert len(written) == len(VOLUMES) * 3 * len(METHODS)
    assert {row["run"] for row in written} == set(METHODS)


def test_a_volume_is_scored_as_in_a_run(compared):
    config, folder = compared
    place = folder / "fold0-seed0" / "expert_id"
    run = workdir.read(place)
    own = ml_collections.ConfigDict(run.config)
    data = inputs.load_data(own, needed=("test",))
    _, one, two = stages.read_stages(place, run)
    found = volumes.score(own, one, two, data, "test", samples=config.evaluate.samples)
    again = {(row["volume"], row["method"]): row for row in found}
    kinds = {"samples@6": "samples", "prompts_mean": "prompts_mean"}
    rows = [row for row in stored(folder)[0, "expert_id"] if "volume" in row]
    rows = [row for row in rows if row["method"] in kinds]
    assert len(rows) == 2 * len(run.patients["test"])
    for row in rows:
        expected = again[row["volume"], kinds[row["method"]]]
        for name in set(MEASURES) & expected.keys():
            np.testing.assert_allclose(row[name], expected[name], atol=1e-6)


def test_the_report_pools_volumes_over_folds(compared):
    _, folder = compared
    content = json.loads((folder / "report" / "report.json").read_text())
    assert (content["records"], content["patients"]) == (24, 12)
    found = content["volumes"]
    assert (found["volumes"], found["patients"], found["latent"]) == (12, 12, "draw")
    by_method = {}
    for (_, method), own in stored(folder).items():
        for row in own:
            if row["method"] == "prompts_mean" and "volume" in row:
                by_method.setdefault(method, {})[row["volume"]] = row
    for method, own in by_method.items():
        for name in MEASURES:
            values = np.array([own[volume][name] for volume in VOLUMES], float)
            mean = found["personalised"][method].get(name, {"mean": np.nan})["mean"]
            np.testing.assert_allclose(mean, np.mean(values[~np.isnan(values)]), atol=1e-9)
        assert found["undefined"][method] == sum(row["undefined"] for row in own.values())
    base, other = (by_method[method] for method in METHODS)
    apart = np.array([other[v]["dice_mean"] - base[v]["dice_mean"] for v in other])
    expected = intervals.bootstrap_mean(apart, list(other), resamples=50, seed=0)
    gain = found["differences"]["dpersona_heads"]["expert_id"]["dice_mean"]
    assert gain == pytest.approx(expected._asdict(), abs=1e-9)
    headings = (folder / "report" / "report.md").read_text().splitlines()
    assert {"## Per volume", "## Per site"} <= set(headings)


def test_a_second_call_scores_nothing_again_and_rows_without_volumes_are_refused(compared):
    config, folder = compared
    paths = sorted(folder.glob("fold*/*/rows.json"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    report = (folder / "report" / "report.md").read_text().split("## Where")[0]
    grid.compare(config, folder, methods=METHODS)
    assert {path: path.stat().st_mtime_ns for path in paths} == before
    assert (folder / "report" / "report.md").read_text().split("## Where")[0] == report
    path = folder / "fold1-seed0" / "expert_id" / "rows.json"
    kept = path.read_text()
    older = [row for row in json.loads(kept)["rows"] if "volume" not in row]
    path.write_text(json.dumps(checksum.seal({"rows": older})))
    with pytest.raises(InputError) as fault:
        grid.compare(config, folder, methods=METHODS)
    path.write_text(kept)
    (one,) = (folder / "fold1-seed0").glob("stage_one-*")
    assert str(fault.value) == (
        f"{path}: was scored by code that knew no volumes, since it has no volume of "
        f"'prompts_mean'; delete it and {one / 'rows.json'} to score again"
    )
