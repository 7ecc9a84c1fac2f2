"""A comparison of methods on volumes and sites: pooled scores, paired differences, the page."""

import csv
import math

import numpy as np
import pytest

from prosona_jax.evaluation import intervals
from prosona_jax.evaluation.catalogue import VOLUME_METRICS
from prosona_jax.report.volume_summary import Volumes
from tests.report.compared import FOLDS, METHODS, NAMES, PERSONAL, headings_in, scored, write

VOLUMES = {"v0": "p1", "v1": "p1", "v2": "p2", "v3": "p3"}  # volume: its patient
SITES = {"p1": "north", "p2": "south", "p3": "north"}
DISTANCES = ("hd95_max_mm", "assd_mm", "difference_ml", "bias_ml")


def in_3d(*, sites=False):
    """Returns rows of volumes with random scores; prosona has no distance in volume v2, seed 1."""
    rng = np.random.default_rng(0)
    rows = []
    for method in METHODS:
        kinds = ["samples@50", "samples@4", *PERSONAL.get(method, ())]
        for kind in kinds:
            for seed in (0, 1):
                for volume, patient in VOLUMES.items():
                    row = {"volume": volume, "patient_id": patient, "slices": 3, "method": kind}
                    row |= {name: rng.random() for name in ("ged", "dice_match", "loo_dice")}
                    if kind.startswith("prompts") or kind == "samples@4":
                        row |= {"dice_mean": rng.random(), "dice_1_1": rng.random()}
                    if kind == "prompts_mean":
                        lost = (method, volume, seed) == ("prosona", "v2", 1)
                        row |= dict.fromkeys(DISTANCES, math.nan if lost else rng.random())
                        row["undefined"] = 2 * lost
                    row |= {"site": SITES[patient]} if sites else {}
                    origin = {"run": method, "fold": FOLDS[patient], "seed": seed, "commit": "abc"}
                    rows.append(row | origin)
    return rows


def column(rows, run, kind, name):
    """Returns the mean over seeds of each volume, NaN where one seed has none."""
    own = [row for row in rows if (row["run"], row["method"]) == (run, kind)]
    return np.array(
        [np.mean([row[name] for row in own if row["volume"] == volume]) for volume in VOLUMES]
    )


def interval(values):
    known = ~np.isnan(values)
    patients = [patient for patient, has in zip(VOLUMES.values(), known, strict=True) if has]
    found = intervals.bootstrap_mean(values[known], patients, resamples=200, seed=0)
    assert found.mean == pytest.approx(np.mean(values[known]))
    return pytest.approx(found._asdict(), abs=1e-12)


def test_scores_are_means_over_seeds_and_volumes_with_intervals_over_patients(tmp_path):
    rows = in_3d()
    content, _ = write(tmp_path, volumes=Volumes(rows, "draw", NAMES))
    found = content["volumes"]
    assert (found["volumes"], found["patients"], found["latent"]) == (4, 3, "draw")
    personal = found["personalised"]
    assert list(personal) == [
        "dpersona", "dpersona_heads", "prosona", "prosona, held-out sentences",
    ]  # fmt: skip
    for method in PERSONAL:
        for name in ("dice_mean", "ged", *DISTANCES):
            assert personal[method][name] == interval(column(rows, method, "prompts_mean", name))
    sentences = personal["prosona, held-out sentences"]
    assert sentences["dice_mean"] == interval(
        column(rows, "prosona", "prompts_held_out", "dice_mean")
    )
    assert not set(DISTANCES) & set(sentences)
    for method in METHODS:
        for samples in (50, 4):
            drawn = found["diversified"][str(samples)][method]
            assert set(drawn) == {"ged", "dice_match", "loo_dice"}
            assert drawn["ged"] == interval(column(rows, method, f"samples@{samples}", "ged"))
    assert found["undefined"] == {"dpersona": 0, "dpersona_heads": 0, "prosona": 1}
    table = found["dice_tables"]["prosona"]
    assert table[0][0] == interval(column(rows, "prosona", "prompts_mean", "dice_1_1"))


def test_differences_are_paired_volume_by_volume(tmp_path):
    rows = in_3d()
    content, _ = write(tmp_path, volumes=Volumes(rows, "draw", NAMES))
    gains = content["volumes"]["differences"]
    assert set(gains) == {"dpersona", "dpersona_heads"}
    for base in gains:
        for name in ("dice_mean", "ged", "assd_mm", "bias_ml"):
            apart = column(rows, "prosona", "prompts_mean", name)
            apart = apart - column(rows, base, "prompts_mean", name)
            assert np.isnan(apart).sum() == (name in DISTANCES)  # v2 is left out in both
            assert gains[base]["prosona"][name] == interval(apart)
    ged = column(rows, "dpersona", "prompts_mean", "ged")
    share = (column(rows, "prosona", "prompts_mean", "ged") - ged).mean() / ged.mean()
    assert gains["dpersona"]["prosona"]["ged_share"]["mean"] == pytest.approx(share)
    drawn = content["volumes"]["diversified_differences"]["dpersona"]["50"]["prob_unet"]["ged"]
    apart = column(rows, "prob_unet", "samples@50", "ged")
    assert drawn == interval(apart - column(rows, "dpersona", "samples@50", "ged"))


def test_scores_of_records_do_not_depend_on_volumes(tmp_path):
    alone, page = write(tmp_path)
    assert alone["volumes"] == {}
    assert "Per volume" not in headings_in(page)
    assert not (tmp_path / "report" / "rows_volumes.csv").exists()
    both, page = write(tmp_path, volumes=Volumes(in_3d(), "volume", NAMES))
    assert "Per volume" in headings_in(page)
    assert {name: x for name, x in both.items() if name != "volumes"} == {
        name: x for name, x in alone.items() if name != "volumes"
    }


def test_the_page_and_the_table_of_rows(tmp_path):
    _, page = write(tmp_path, volumes=Volumes(in_3d(), "slice", NAMES))
    section = page.split("## Per volume\n")[1].split("\n## ")[0].replace("\N{NO-BREAK SPACE}", " ")
    assert "Each slice is drawn by itself" in section
    assert "| Pairs without a distance | 0 | 0 | 1 | – |" in section
    assert "Means over 4 volumes." in section
    assert "method minus `dpersona`, on the same volumes." in section
    assert "| Drawn minus rater's, ml → 0 |" in section
    assert "GED in 3-D, % of the baseline ↓" in section
    for metric in VOLUME_METRICS:
        assert metric.meaning in section
    with (tmp_path / "report" / "rows_volumes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(in_3d())
    (lost,) = (row for row in rows if row["undefined"] == "2")
    assert (lost["run"], lost["volume"], lost["seed"], lost["assd_mm"]) == (
        "prosona",
        "v2",
        "1",
        "",
    )


def test_sites_are_scored_by_themselves(tmp_path):
    _, page = write(tmp_path)
    assert "Per site" not in headings_in(page)
    rows = [row | {"site": SITES[row["patient_id"]]} for row in scored()]
    volumes = in_3d(sites=True)
    _, page = write(tmp_path, rows=rows, volumes=Volumes(volumes, "draw", NAMES))
    section = page.split("## Per site\n")[1].split("\n## ")[0].replace("\N{NO-BREAK SPACE}", " ")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines()]
    north = [line[1:] for line in lines if line[0] == "north"]
    assert [line[:2] for line in north] == [["2", "3"]] * 5  # patients; records or volumes
    assert [line[0] for line in lines].count("Site") == 5
    # Records r0, r1 and r3: base 0.3, plus 0, 0.02 and 0.06, plus 0.05, the mean of the seeds.
    assert north[0][-1].startswith(f"{100 * np.mean([0.35, 0.37, 0.41]):.1f} [")
    at = [i for i, patient in enumerate(VOLUMES.values()) if SITES[patient] == "north"]
    for line, kind, name, scale in (
        (2, "prompts_mean", "dice_mean", 100),
        (3, "prompts_mean", "assd_mm", 1),
        (4, "samples@50", "ged", 1),
    ):
        mean = column(volumes, "prosona", kind, name)[at].mean() * scale
        assert north[line][-1].startswith(f"{mean:.1f} [" if scale == 100 else f"{mean:.3f} [")
