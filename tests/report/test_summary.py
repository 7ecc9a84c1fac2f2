"""The report on stage one: its numbers are means over the rows, and its texts fit the numbers."""

import json
import math

import numpy as np
import pytest

from prosona_jax.evaluation import catalogue, intervals
from prosona_jax.evaluation.calibration import Bins
from prosona_jax.report import figures, summary

NAMES = [metric.name for metric in catalogue.METRICS]
LOO = [metric.name for metric in catalogue.LEAVE_ONE_OUT]
HISTORY = [
    {"step": 10, "split": "train", "kl": 0.5},
    {"step": 20, "split": "validation", "kl": 0.4, "ged": 0.3},
]
PATIENTS = ["p1", "p1", "p2", "p3"]
BINS = Bins(
    pixels=np.array([90.0, 0, 0, 0, 0, 4, 0, 0, 0, 6]),
    union=np.array([10.0, 0, 0, 0, 0, 4, 0, 0, 0, 6]),
    samples=np.array([0.0, 0, 0, 0, 0, 2, 0, 0, 0, 6]),
    raters=np.array([1.0, 0, 0, 0, 0, 3, 0, 0, 0, 4]),
)
CITATION = "Armato et al. 2011"
CAVEAT = "The CT is simulated: it is rendered from the contours."


def _rows(*, gain=0.1, patients=PATIENTS):
    """Scores that differ by record; the samples' GED is lower by `gain` than the prior mean's."""
    rows = []
    for i, patient in enumerate(patients):
        base = {"record_id": f"r{i}", "patient_id": patient}
        samples = {name: 0.5 + 0.01 * i + 0.001 * k for k, name in enumerate(NAMES + LOO)}
        others = samples | {"ged": samples["ged"] + gain * (1 + 0.1 * i)}
        rows.append(base | {"method": "samples"} | samples)
        rows.append(base | {"method": "prior_mean"} | others)
        rows.append(base | {"method": "raters"} | dict.fromkeys(LOO, 0.8 + 0.01 * i))
    return rows


def _panel(record_id="r2"):
    masks = np.zeros((4, 24, 24), np.uint8)
    masks[:, 8:15, 9:14] = 1
    return figures.Panel(
        record_id=record_id,
        image=np.zeros((24, 24), np.float32),
        masks=masks,
        rater_valid=np.ones(4, bool),
        probs=masks.astype(np.float32),
        prompted=masks.astype(np.float32),
        spacing_mm=np.array([0.7, 0.7], np.float32),
    )


@pytest.fixture
def write(tmp_path):
    """Writes a report with some arguments changed, returns report.json's content and report.md."""

    def write(**changes):
        given = {
            "title": "A run",
            "rows": _rows(),
            "history": {"stage one": []},
            "latent_kl": np.array([0.5, 0.01, 0.02, 0.0]),
            "bins": BINS,
            "panels": [],
            "provenance": {"seed": 7, "versions": {"jax": "1.2"}, "config": {"batch_size": 12}},
            "data": {"split": "test", "data_set": {"mask_area_px": [23, 84, 587]}},
            "described": {"split": "test", "whole data set, mask area": "23 / 84 / 587 pixels"},
            "caveats": [CAVEAT],
            "citation": CITATION,
            "raters": 4,
            "samples": 50,
            "styled": None,
            "language": None,
            "carded": None,
            "by_area": True,
            "bootstrap": 200,
        }
        content = summary.write_report(tmp_path / "report", summary.Evaluated(**(given | changes)))
        assert json.loads((tmp_path / "report" / "report.json").read_text()) == content
        return content, (tmp_path / "report" / "report.md").read_text()

    return write


def _interval(values, patients=PATIENTS):
    return intervals.bootstrap_mean(np.array(values), patients, resamples=200, seed=0)._asdict()


def test_json_has_the_keys_of_score_and_the_means_over_rows(write):
    content, _ = write()
    assert {k: content[k] for k in ("records", "patients", "raters", "samples")} == {
        "records": 4, "patients": 3, "raters": 4, "samples": 50,
    }  # fmt: skip
    assert list(content["metrics"]) == NAMES
    assert content["metrics"]["ged"] == _interval([0.50, 0.51, 0.52, 0.53])
    assert content["metrics"]["ged"]["mean"] == pytest.approx(0.515)
    assert content["difference"]["ged"]["mean"] == pytest.approx(-0.115)
    assert content["difference"]["dice_soft"] == {"mean": 0, "low": 0, "high": 0}
    assert content["leave_one_out"]["raters"]["loo_ged"] == pytest.approx(
        _interval([0.80, 0.81, 0.82, 0.83])
    )
    assert list(content["leave_one_out"]) == ["raters", "samples", "prior_mean"]
    assert content["latent"] == {"kl": [0.5, 0.01, 0.02, 0.0], "threshold": 0.01, "active": 2}
    assert content["calibration"] == {name: x.tolist() for name, x in BINS._asdict().items()}
    assert content["provenance"]["config"] == {"batch_size": 12}
    assert content["data"] == {"split": "test", "data_set": {"mask_area_px": [23, 84, 587]}}
    assert (content["caveats"], content["citation"]) == ([CAVEAT], CITATION)


def test_tables_show_the_rounded_means_and_bounds(write):
    content, text = write(panels=[_panel()])
    ged, gain = content["metrics"]["ged"], content["difference"]["ged"]
    match = content["metrics"]["dice_match"]
    prior = content["prior_mean"]["ged"]
    assert (
        f"| GED@50 | lower | 0.515 [{ged['low']:.3f}, {ged['high']:.3f}] "
        f"| {prior['mean']:.3f} [{prior['low']:.3f}, {prior['high']:.3f}] "
        f"| −0.115 [−{-gain['low']:.3f}, −{-gain['high']:.3f}] |"
    ) in text
    cell = f"51.7 [{100 * match['low']:.1f}, {100 * match['high']:.1f}]"
    assert f"| Dice, matched | higher | {cell} | {cell} | +0.0 [+0.0, +0.0] |" in text
    raters = content["leave_one_out"]["raters"]["loo_dice"]
    assert (
        f"| Dice, all others | higher | 81.5 [{100 * raters['low']:.1f}, "
        f"{100 * raters['high']:.1f}] | {100 * (0.515 + 0.001 * len(NAMES)):.1f}"
    ) in text
    for line in (
        "| split | test |",
        "| whole data set, mask area | 23 / 84 / 587 pixels |",
        "| seed | 7 |",
        "| versions | jax 1.2 |",
    ):
        assert line in text
    assert "area px" not in text
    assert "`r2`: GED@50 0.520; Dice, matched 52.2" in text
    assert "In brackets: 95 % intervals from 200 bootstrap resamples of the 3 patients." in text


@pytest.mark.parametrize(
    ("gain", "patients", "verdict"),
    [
        (
            0.1,
            PATIENTS,
            "). The whole interval is below zero: the model uses z, and its samples gain from it.",
        ),
        (
            -0.1,
            PATIENTS,
            "). The whole interval is above zero: the samples are worse than `f(x, mu_p)` alone.",
        ),
        (
            0.0,
            PATIENTS,
            "). The interval includes zero: these records do not show that the model uses z.",
        ),
        (
            0.1,
            ["p1"] * 4,
            "0.115 lower than the GED of `f(x, mu_p)` alone. One patient gives no interval",
        ),
    ],
)
def test_the_verdict_depends_on_the_paired_interval(write, gain, patients, verdict):
    _, text = write(rows=_rows(gain=gain, patients=patients))
    assert verdict in text


def test_one_patient_has_means_without_bounds(write):
    content, text = write(rows=_rows(patients=["p1", "p1"]))
    assert content["metrics"]["ged"] == {"mean": pytest.approx(0.505), "low": None, "high": None}
    assert "| GED@50 | lower | 0.505 |" in text


def test_absent_and_nan_values_are_left_out(write):
    rows = [row for row in _rows() if row["method"] == "samples"]
    rows[1]["ged"] = math.nan
    del rows[2]["ged"]
    for row in rows:
        row["dice_soft"] = math.nan
    content, text = write(rows=rows)
    assert content["metrics"]["ged"] == _interval([0.50, 0.53], ["p1", "p3"])
    assert "dice_soft" not in content["metrics"]
    assert content["prior_mean"] == content["difference"] == {}
    assert "Does the model use its latent variable z?" not in text
    assert "Comparison with the raters themselves" not in text


def test_differences_are_paired_by_record_in_any_order_of_rows(write):
    content, _ = write()
    assert write(rows=_rows()[::-1])[0]["difference"]["ged"]["mean"] == pytest.approx(
        content["difference"]["ged"]["mean"]
    )
    alone = [row for row in _rows() if (row["method"], row["record_id"]) != ("prior_mean", "r3")]
    difference = write(rows=alone)[0]["difference"]["ged"]
    assert difference["mean"] == pytest.approx(-0.11)  # r0..r2


def test_caveats_and_citation_are_on_the_page_and_on_every_figure(write, monkeypatch):
    footnotes = []
    png = figures.png
    monkeypatch.setattr(
        figures, "png", lambda figure, *, footnote: footnotes.append(footnote) or png(figure)
    )
    _, text = write(panels=[_panel(), _panel("r1")], history={"stage one": HISTORY})
    assert f"> **Caution:** {CAVEAT}" in text
    drawn = 5  # two panels, calibration, latent and curves
    assert footnotes == [f"The CT is simulated. Data: {CITATION}"] * drawn


def test_the_calibration_of_all_records_together_is_shown(write):
    """The bins differ by 1, 1 and 2 of 100 pixels, or of 20."""
    _, text = write()
    section = text.split("## Calibration of the samples")[1].split("\n## ")[0]
    assert "error is 0.0400, or 0.200 over the pixels that any" in section
    assert "](figures/calibration.png)" in section


def test_optional_parts_are_absent_without_their_input(write):
    _, text = write(caveats=[], citation="", described={})
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## In short", "## The model and the scored data", "## Scores",
        "## Calibration of the samples",
        "## Comparison with the raters themselves", "## Use of the latent dimensions",
        "## Provenance",
    ]  # fmt: skip
    assert "**Caution:**" not in text


def test_same_results_give_the_same_files(write, tmp_path):
    def contents():
        return {p: p.read_bytes() for p in (tmp_path / "report").rglob("*") if p.is_file()}

    write(panels=[_panel()], history={"stage one": HISTORY})
    before = contents()
    write(panels=[_panel()], history={"stage one": HISTORY})
    assert contents() == before
    assert {path.name for path in before} >= {"panel-01.png", "latent.png", "curves-stage-one.png"}
