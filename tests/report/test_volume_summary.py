"""The report on volumes and on sites: their numbers are means over rows, resampled by patient."""

import csv
import json

import numpy as np
import pytest

from prosona_jax.evaluation import catalogue, intervals, volume_results
from prosona_jax.report import site_summary, summary, volume_summary
from prosona_jax.report.volume_summary import Volumes
from tests.report.test_summary import BINS, _rows

PATIENTS = {"v1": "p1", "v2": "p1", "v3": "p2", "v4": "p3"}
SITES = {"p1": "north", "p2": "south", "p3": "north"}
METRICS = [metric.name for metric in catalogue.VOLUME_METRICS]
MM = ("hd95_max_mm", "assd_mm", "difference_ml", "bias_ml")


def volume_rows(*, sites=False):
    """Scores that differ by volume; the second volume's distances are unknown."""
    rows = []
    for i, (volume, patient) in enumerate(PATIENTS.items()):
        base = {"volume": volume, "patient_id": patient, "slices": 3}
        base |= {"site": SITES[patient]} if sites else {}
        known = {name: 0.1 * k + 0.01 * i for k, name in enumerate(METRICS)}
        if volume == "v2":
            known |= dict.fromkeys(MM, np.nan)
        own = {f"{name}_{k}": known[name] + k for name in MM for k in (1, 2)}
        own |= {f"dice_{k}_{k}": known["dice_mean"] + 0.001 * k for k in (1, 2)}
        undefined = {"undefined": 2 * (volume == "v2")}
        samples = {name: known[name] for name in ("ged", "dice_match", "loo_dice")}
        rows.append(base | {"method": "samples"} | samples)
        rows.append(base | {"method": "prior_mean"} | known | undefined)
        rows.append(base | {"method": "raters", "loo_dice": 0.8, "assd_mm": 1.0, "undefined": 0})
        rows.append(base | {"method": "prompts_mean"} | known | own | undefined)
    return rows


def mean_of(name, method="prompts_mean"):
    values = [row[name] for row in volume_rows() if row["method"] == method]
    return intervals.bootstrap_mean(
        np.array(values), list(PATIENTS.values()), resamples=200, seed=0
    )


@pytest.fixture
def write(tmp_path):
    """Writes a report, returns report.json's content, report.md and rows_volumes.csv."""

    def write(volumes, rows):
        folder = tmp_path / "report"
        evaluated = summary.Evaluated(
            title="A run", rows=rows, history={}, latent_kl=np.zeros(2), bins=BINS, panels=[],
            provenance={}, data={}, described={}, caveats=[], citation="", raters=4, samples=50,
            styled=None, language=None, by_area=False, bootstrap=200, volumes=volumes, carded=None,
        )  # fmt: skip
        summary.write_report(folder, evaluated)
        table = folder / "rows_volumes.csv"
        return (
            json.loads((folder / "report.json").read_text()),
            (folder / "report.md").read_text(),
            list(csv.DictReader(table.read_text().splitlines())) if table.exists() else None,
        )

    return write


def test_the_numbers_are_means_over_volumes_with_intervals_over_patients(write):
    given = Volumes(volume_rows(), "draw", ["tight", "wide"])
    content, page, table = write(given, _rows())
    found = content["volumes"]
    assert (found["volumes"], found["patients"], found["latent"]) == (4, 3, "draw")
    for name in METRICS:
        assert found["prompts_mean"][name] == mean_of(name)._asdict()
    assert found["samples"]["ged"] == mean_of("ged", "samples")._asdict()
    assert set(found["raters"]) == {"loo_dice", "assd_mm"}
    for k in (1, 2):
        assert found["styles"][k - 1]["dice_mean"] == mean_of(f"dice_{k}_{k}")._asdict()
        for name in MM:
            assert found["styles"][k - 1][name] == mean_of(f"{name}_{k}")._asdict()
    assert [row["volume"] for row in table if row["method"] == "samples"] == list(PATIENTS)
    section = page.split("## Per volume")[1].split("\n## ")[0]
    assert "| tight | 1.6 [" in section.replace("\xa0", " ")
    assert "Means over 4 volumes" in section
    assert "of the 3 patients" in section


def test_the_section_says_what_is_shared_and_which_slices_are_seen(write):
    for latent, words in (
        ("volume", "with one latent"),
        ("draw", "share one"),
        ("slice", "itself"),
    ):
        _, page, _ = write(Volumes(volume_rows(), latent, ["a", "b"]), _rows())
        section = page.split("## Per volume")[1].split("\n## ")[0]
        assert words in section
        assert "Only the prepared slices are seen. These are slices on which raters drew" in section
        assert "2 pairs of a drawn and a rater's volume have no distance" in section


def test_without_volumes_there_is_no_section_and_no_file(write):
    content, page, table = write(None, _rows())
    assert content["volumes"] == {}
    assert "Per volume" not in page
    assert "Per site" not in page
    assert table is None


def test_a_first_stage_alone_has_no_styles():
    rows = [row for row in volume_rows() if row["method"] != "prompts_mean"]
    found = volume_results.collect_volumes(rows, styles=0, bootstrap=50)
    assert found.styles == []
    assert found.undefined == 2  # of the prior's mean
    section = volume_summary.section(Volumes(rows, "volume", []), found, 50, 50)
    header = section.blocks[-2].columns
    assert header == ("Metric", "Better", "50 samples", "Prior mean", "Raters")


def test_sites_are_scored_by_themselves():
    site_of = {"p1": "north", "p2": "", "p3": "north"}
    rows = [row | {"site": site_of[row["patient_id"]]} for row in _rows()]
    section = site_summary.section(rows, volume_rows(sites=True), 50, 200)
    records, volumes = section.blocks[1:]
    assert records.columns[:4] == ("Site", "Patients", "Records", "GED@50")
    assert [row[:3] for row in records.rows] == [("unknown", "1", "1"), ("north", "2", "3")]
    north = [row for row in rows if row["site"] == "north" and row["method"] == "samples"]
    assert records.rows[1][3].startswith(f"{np.mean([row['ged'] for row in north]):.3f}")
    assert [row[:3] for row in volumes.rows] == [("north", "2", "3"), ("south", "1", "1")]
    assert volumes.rows[1][-1] == "0.520"  # one patient gives no interval
