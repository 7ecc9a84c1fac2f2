"""The report on a comparison: pooled scores, paired differences, and what is left out.

The scores are artificial: each method has a base, to which each further record adds .02 and each
further seed .1. A mean over two seeds and four records is therefore .08 above the base.
"""

import csv
import itertools
import json
import math
import random

import numpy as np
import pytest

from prosona_jax.evaluation import intervals, results
from prosona_jax.evaluation.catalogue import METRICS, STYLE_METRICS
from prosona_jax.report import comparison, figures

RECORDS = {"r0": "p1", "r1": "p1", "r2": "p2", "r3": "p3"}  # record: its patient
FOLDS = {"p1": 0, "p2": 0, "p3": 1}
STYLED = [metric.name for metric in STYLE_METRICS]
SAMPLED = [metric.name for metric in METRICS]
DIVERSE = {"prob_unet": 0.3, "dpersona": 0.35, "dpersona_heads": 0.3, "prosona": 0.3}
PERSONAL = {
    "dpersona": {"prompts_mean": 0.4},
    "dpersona_heads": {"prompts_mean": 0.42},
    "prosona": {"prompts_mean": 0.3, "prompts_held_out": 0.36},
}
METHODS = {
    "prob_unet": {"stage_two.query": "none", "stage_two.latent": 0.0},
    "dpersona": {"stage_two.query": "heads", "stage_two.tau": 6**-0.5},
    "dpersona_heads": {"stage_two.query": "heads"},
    "prosona": {},
}
NAMES = ["core", "snug", "edge", "margin"]
TABLE = {f"dice_{i}_{j}": 0.1 * i + 0.01 * j for i in range(1, 5) for j in range(1, 5)}
CAVEAT = "CT simulated: it is rendered from the contours."
CITATION = "Armato et al. 2011"


def _rows(*methods, seeds=(0, 1)):
    rows = []
    for method in methods or METHODS:
        kinds = {"samples@50": (DIVERSE[method], SAMPLED), "samples@4": (0.5, SAMPLED)}
        kinds |= {kind: (base, STYLED) for kind, base in PERSONAL.get(method, {}).items()}
        rows += [
            {"record_id": record, "patient_id": patient, "method": kind}
            | dict.fromkeys(names, base + 0.02 * i + 0.1 * seed)
            | {name: x + base + 0.02 * i + 0.1 * seed for name, x in TABLE.items()}
            | {"run": method, "fold": FOLDS[patient], "seed": seed, "commit": "abc"}
            for seed in seeds
            for kind, (base, names) in kinds.items()
            for i, (record, patient) in enumerate(RECORDS.items())
        ]
    return rows


@pytest.fixture
def write(tmp_path):
    """Writes a report with some arguments changed, returns report.json's content and report.md."""

    def write(**changes):
        given = {
            "rows": _rows(),
            "methods": METHODS,
            "samples": 50,
            "styles": NAMES,
            "by_area": True,
            "bootstrap": 200,
            "caveats": [CAVEAT],
            "citation": CITATION,
            "provenance": {"seeds": [0, 1], "data_set": {"records": 4}, "config": {"steps": 12}},
        }
        content = comparison.write_report(
            tmp_path / "report", comparison.Compared(**(given | changes))
        )
        assert json.loads((tmp_path / "report" / "report.json").read_text()) == content
        return content, (tmp_path / "report" / "report.md").read_text()

    return write


def _mean(values):
    """Returns what report.json holds for these values of the first records."""
    patients = list(RECORDS.values())[: len(values)]
    interval = intervals.bootstrap_mean(np.array(values), patients, resamples=200, seed=0)
    return pytest.approx(interval._asdict(), abs=1e-12)


def _numbers(content, *path):
    """Returns {("personalised", method, metric, "mean"): value, ...}, in the order of content."""
    if not isinstance(content, dict):
        return {path: content}
    nested = [_numbers(value, *path, key) for key, value in content.items()]
    return {key: value for numbers in nested for key, value in numbers.items()}


def _table(text, heading):
    """Returns a section's first table as {first cell: other cells}, with its header as one row."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    start = next(number for number, line in enumerate(section) if line.startswith("| "))
    lines = itertools.takewhile(lambda line: line.startswith("|"), section[start:])
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells if first != "---"}


def _headings(text):
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_pooling_averages_a_record_over_seeds_and_joins_the_folds():
    row = {"record_id": "r0", "patient_id": "p1", "method": "samples@4", "run": "a"}
    rows = [
        row | {"fold": 0, "seed": 0, "ged": 0.1, "dice_match": 0.8},
        row | {"fold": 0, "seed": 1, "ged": 0.2, "dice_match": 0.6},
        row | {"fold": 0, "seed": 2, "ged": 0.6, "dice_match": 0.4},
        row | {"fold": 0, "seed": 0, "ged": 9.0, "method": "samples@50"},
        row | {"fold": 0, "seed": 0, "ged": 0.7, "dice_match": 0.5, "run": "b"},
        row | {"fold": 1, "seed": 0, "ged": 0.4, "dice_match": 0.3}
        | {"record_id": "r1", "patient_id": "p2"},
    ]  # fmt: skip
    pooled = results.pool(rows, {"samples@4": ", few"})
    found = {
        (row.pop("method"), row.pop("record_id"), row.pop("patient_id")): row for row in pooled
    }
    assert found == {
        ("a, few", "r0", "p1"): pytest.approx({"ged": 0.3, "dice_match": 0.6}),
        ("b, few", "r0", "p1"): {"ged": 0.7, "dice_match": 0.5},
        ("a, few", "r1", "p2"): {"ged": 0.4, "dice_match": 0.3},
    }


def test_pooling_labels_rows_with_the_run_and_the_suffix_of_the_method():
    pooled = results.pool(_rows("prosona"), {"prompts_mean": "", "prompts_held_out": "+"})
    assert [row["method"] for row in pooled] == ["prosona"] * 4 + ["prosona+"] * 4
    assert [row["ged"] for row in pooled] == pytest.approx(
        [0.35, 0.37, 0.39, 0.41, 0.41, 0.43, 0.45, 0.47]
    )


def test_a_score_that_is_nan_in_one_seed_is_nan_after_pooling():
    rows = _rows("prosona")
    rows[0]["ged"] = math.nan
    pooled = results.pool(rows, {"samples@50": ""})
    assert [math.isnan(row["ged"]) for row in pooled] == [True, False, False, False]
    assert pooled[0]["dice_match"] == pytest.approx(0.35)


def test_means_are_over_records_with_patients_intervals(write):
    content, _ = write()
    assert (content["records"], content["patients"], content["raters"]) == (4, 3, 4)
    assert content["seeds"] == [0, 1]
    assert list(content["personalised"]) == [
        "dpersona", "dpersona_heads", "prosona", "prosona, held-out sentences",
    ]  # fmt: skip
    personal = content["personalised"]["prosona"]
    assert list(personal) == STYLED
    assert personal["ged_dpersona"] == _mean([0.35, 0.37, 0.39, 0.41])
    assert personal["ged_dpersona"]["mean"] == pytest.approx(0.38)
    held_out = content["personalised"]["prosona, held-out sentences"]
    assert held_out["dice_mean"]["mean"] == pytest.approx(0.44)
    assert list(content["diversified"]) == ["50", "4"]
    assert list(content["diversified"]["50"]) == list(METHODS)
    assert content["diversified"]["50"]["dpersona"]["ged"] == _mean([0.40, 0.42, 0.44, 0.46])
    assert content["diversified"]["4"]["prob_unet"]["dice_soft"]["mean"] == pytest.approx(0.58)


def test_differences_are_method_minus_baseline_record_by_record(write):
    """The difference is equal in all records but one. The interval shows that they are paired."""
    rows = _rows()
    for row in rows:
        if (row["run"], row["method"], row["record_id"]) == ("prosona", "prompts_mean", "r3"):
            row["ged"] -= 0.2
    content, _ = write(rows=rows)
    by_base = content["differences"]
    assert {base: list(found) for base, found in by_base.items()} == {
        "dpersona": ["dpersona_heads", "prosona", "prosona, held-out sentences"],
        "dpersona_heads": ["dpersona", "prosona", "prosona, held-out sentences"],
    }
    assert by_base["dpersona"]["prosona"]["dice_mean"] == pytest.approx(
        {"mean": -0.1, "low": -0.1, "high": -0.1}
    )
    assert by_base["dpersona"]["prosona"]["ged"] == _mean([-0.1, -0.1, -0.1, -0.3])
    assert by_base["dpersona"]["prosona"]["ged"]["mean"] == pytest.approx(-0.15)
    assert by_base["dpersona_heads"]["prosona"]["ged"]["mean"] == pytest.approx(-0.17)
    assert by_base["dpersona_heads"]["dpersona"]["ged"]["mean"] == pytest.approx(-0.02)
    assert by_base["dpersona"]["dpersona_heads"]["ged"]["mean"] == pytest.approx(0.02)
    assert by_base["dpersona"]["prosona, held-out sentences"]["ged"]["mean"] == pytest.approx(-0.04)


def test_the_share_is_the_difference_divided_by_the_baselines_mean(write):
    """The means of the baselines are .48 and .50."""
    _, text = write()
    label = "GED@4 (D-Persona), % of the baseline ↓"
    to_dpersona = _table(text, "Differences to dpersona")
    assert to_dpersona["Metric"] == ["dpersona_heads", "prosona", "prosona, held-out sentences"]
    assert [cell.split()[0] for cell in to_dpersona[label]] == ["+4.2", "−20.8", "−8.3"]
    assert all(cell.endswith("]") for cell in to_dpersona[label])
    assert to_dpersona["GED@4 (D-Persona) ↓"] == [
        "+0.020 [+0.020, +0.020]", "−0.100 [−0.100, −0.100]", "−0.040 [−0.040, −0.040]",
    ]  # fmt: skip
    assert to_dpersona["Dice, own rater ↑"][1] == "−10.0 [−10.0, −10.0]"
    to_heads = _table(text, "Differences to dpersona_heads")[label]
    assert [cell.split()[0] for cell in to_heads] == ["−4.0", "−24.0", "−12.0"]


def test_a_share_of_a_baseline_that_is_zero_or_nan_is_not_shown(write):
    rows = _rows("dpersona", "dpersona_heads", "prosona")
    for row in rows:
        if row["method"].startswith("prompts"):
            if row["run"] == "dpersona":
                row["ged_dpersona"] = 0.0
            if row["run"] == "dpersona_heads":
                row["ged_dpersona"] = math.nan
    _, text = write(rows=rows)
    both = _table(text, "Differences to dpersona")
    assert both["GED@4, % of the baseline ↓"][1].startswith("−20.8 [")
    label = "GED@4 (D-Persona), % of the baseline ↓"
    assert both[label] == ["–", "–", "–"]
    assert _table(text, "Differences to dpersona_heads")[label] == ["–", "–", "–"]


def test_the_order_of_rows_changes_no_number(write):
    rows = _rows()
    random.Random(0).shuffle(rows)
    parts = ("personalised", "differences", "diversified")
    straight, shuffled = (
        _numbers({part: content[part] for part in parts})
        for content in (write()[0], write(rows=rows)[0])
    )
    assert list(straight) == list(shuffled)
    assert shuffled == pytest.approx(straight, abs=1e-12)


def test_without_a_baseline_there_are_no_differences(write):
    content, text = write(rows=_rows("prosona"), methods={"prosona": {}})
    assert content["differences"] == {}
    assert _headings(text) == [
        "One contour per style", "Styles against raters: prosona",
        "50 samples of the first stage", "4 samples of the first stage",
        "What the scores of one contour per style mean", "What the scores of samples mean",
        "The methods", "Provenance", "Data",
    ]  # fmt: skip


def test_a_baseline_alone_has_no_section_of_differences(write):
    content, text = write(rows=_rows("dpersona"), methods={"dpersona": {}})
    assert content["differences"] == {"dpersona": {}}
    assert "Differences to dpersona" not in _headings(text)


def test_a_method_without_styles_has_only_scores_of_samples(write):
    content, text = write(rows=_rows("prob_unet"), methods={"prob_unet": METHODS["prob_unet"]})
    assert content["personalised"] == content["differences"] == {}
    assert content["diversified"]["50"]["prob_unet"]["ged"]["mean"] == pytest.approx(0.38)
    assert _headings(text) == [
        "50 samples of the first stage", "4 samples of the first stage",
        "What the scores of samples mean", "The methods", "Provenance", "Data",
    ]  # fmt: skip


def test_nan_leaves_out_a_record_and_a_metric_that_is_nan_everywhere_has_no_row(write):
    rows = _rows("dpersona", "prosona")
    for row in rows:
        if row["method"].startswith("prompts"):
            row["rank_correlation"] = math.nan
            if row["record_id"] == "r3" and row["run"] == "prosona":
                row["ged"] = math.nan
    content, text = write(rows=rows)
    personal, gain = content["personalised"], content["differences"]["dpersona"]["prosona"]
    assert "rank_correlation" not in personal["dpersona"]
    assert "rank_correlation" not in gain
    assert "Rank correlation ↑" not in _table(text, "One contour per style")
    assert personal["prosona"]["ged"] == _mean([0.35, 0.37, 0.39])
    assert personal["dpersona"]["ged"]["mean"] == pytest.approx(0.48)
    assert gain["ged"]["mean"] == pytest.approx(-0.1)


def test_a_method_without_a_metric_shows_a_dash(write):
    rows = _rows("dpersona", "prosona")
    for row in rows:
        if row["run"] == "prosona" and row["method"] == "prompts_held_out":
            row["ordered"] = math.nan
    table = _table(write(rows=rows)[1], "One contour per style")
    assert table["Areas in order ↑"][2] == "–"
    assert table["Areas in order ↑"][0].startswith("48.0 [")


def test_one_contour_per_style_has_a_column_per_method_and_a_row_per_metric(write):
    content, text = write()
    table = _table(text, "One contour per style")
    assert table["Metric"] == list(content["personalised"])
    assert list(table)[1:] == [
        "Dice, own rater ↑", "Dice, prompts shuffled ↓", "Style gain ↑", "GED@4 ↓",
        "GED@4 (D-Persona) ↓", "Dice, matched ↑", "Dice, best prompt of each rater ↑",
        "Own prompt is the best ↑", "Areas in order ↑", "Rank correlation ↑",
        "Rank correlation with raters ↑",
    ]  # fmt: skip
    _, low, high = content["personalised"]["prosona"]["dice_mean"].values()
    assert table["Dice, own rater ↑"][2] == f"38.0 [{100 * low:.1f}, {100 * high:.1f}]"
    assert table["GED@4 ↓"][3].startswith("0.440 [")
    assert (
        "*Means over 4 records. Each record was scored by models that did not see its patient in "
        "training, and each score is the mean over 2 seeds. In brackets: 95 % intervals from 200 "
        "bootstrap resamples of the 3 patients." in text
    )
    assert "the held-out sentences, on which it was never trained." in text
    assert "A style can therefore only say how generously to draw." in text
    assert "rater k, the same person" in write(by_area=False)[1]


def test_every_figure_shows_the_caveat(write, tmp_path, monkeypatch):
    footnotes = []
    monkeypatch.setattr(figures, "png", lambda figure, footnote: footnotes.append(footnote) or b"")
    _, text = write()
    assert (
        footnotes == [f"CT simulated. Data: {CITATION}"] * 4
    )  # the intervals, and one figure per method
    assert "![Dice with the own rater and GED of each method, with intervals](" in text


def test_each_method_shows_which_rater_its_styles_draw(write):
    """In every cell, the mean over seeds and records is .08 above the method's base."""
    content, text = write()
    assert list(content["dice_tables"]) == ["dpersona", "dpersona_heads", "prosona"]
    assert content["styles"] == NAMES
    for i, line in enumerate(content["dice_tables"]["prosona"], 1):
        for j, cell in enumerate(line, 1):
            base = 0.1 * i + 0.01 * j
            assert cell == _mean([base + x for x in (0.35, 0.37, 0.39, 0.41)])
    table = _table(text, "Styles against raters: prosona")
    assert table["Style"] == [f"{name}'s rater" for name in NAMES]
    assert [cell.split()[0] for cell in table["edge"]] == ["69.0", "70.0", "71.0", "72.0"]
    assert _table(text, "Styles against raters: dpersona")["edge"][0].startswith("79.0 [")


def test_methods_that_share_a_first_stage_share_a_column(write):
    _, text = write()
    many = _table(text, "50 samples of the first stage")
    assert many["Metric"] == ["prob_unet, dpersona_heads, prosona", "dpersona"]
    assert [cell.split(" ")[0] for cell in many["GED@50 ↓"]] == ["0.380", "0.430"]
    assert [cell.split(" ")[0] for cell in many["Dice, matched ↑"]] == ["38.0", "43.0"]
    few = _table(text, "4 samples of the first stage")
    assert few["Metric"] == ["prob_unet, dpersona, dpersona_heads, prosona"]
    assert few["GED@4 ↓"][0].startswith("0.580 [")


def test_samples_of_other_first_stages_are_compared_with_those_of_dpersona(write):
    content, text = write()
    gains = content["diversified_differences"]["dpersona"]
    assert list(gains["50"]) == ["prob_unet", "dpersona_heads", "prosona"]
    assert gains["50"]["prob_unet"]["ged"] == pytest.approx(
        {"mean": -0.05, "low": -0.05, "high": -0.05}
    )
    assert gains["50"]["prob_unet"]["ged_share"]["mean"] == pytest.approx(-0.05 / 0.43)
    section = text.split("## 50 samples of the first stage")[1].split("\n## ")[0]
    assert "| Metric | prob_unet, dpersona_heads, prosona |\n" in section
    assert "| GED@50 ↓ | −0.050 [−0.050, −0.050] |" in section.replace("\N{NO-BREAK SPACE}", " ")
    assert gains["4"]["prosona"]["ged"]["mean"] == pytest.approx(0.0)
    assert "baseline" not in text.split("## 4 samples of the first stage")[1].split("\n## ")[0]


def test_samples_have_one_section_if_there_are_as_many_as_raters(write):
    content, text = write(samples=4)
    assert list(content["diversified"]) == ["4"]
    assert _headings(text).count("4 samples of the first stage") == 1


def test_the_page_explains_each_score_and_each_method(write):
    content, text = write(rows=_rows(seeds=(0,)))
    assert "the mean over 1 seed." in text
    of_styles = _table(text, "What the scores of one contour per style mean")
    assert of_styles["GED@4"][0] == "`ged`"
    assert "prompts' masks" in of_styles["GED@4"][1]
    assert "set of samples" in _table(text, "What the scores of samples mean")["GED@50"][1]
    changes = {name: cells[0] for name, cells in _table(text, "The methods").items()}
    assert changes["prob_unet"] == "`stage_two.query` = none, `stage_two.latent` = 0"
    assert changes["dpersona"] == "`stage_two.query` = heads, `stage_two.tau` = 0.4082"
    assert changes["prosona"] == "none"
    assert content["methods"] == METHODS


def test_caveats_citation_and_provenance_are_on_the_page(write, tmp_path):
    content, text = write()
    assert text.startswith("# Methods on 4 records of 3 patients\n")
    assert f"> **Caution:** {CAVEAT}" in text
    assert text.rstrip().endswith(f"## Data\n\n{CITATION}")
    assert _table(text, "Provenance") == {
        "Item": ["Value"], "seeds": ["0, 1"], "data set, records": ["4"],
    }  # fmt: skip
    assert '"steps": 12' in text
    assert (content["caveats"], content["citation"]) == ([CAVEAT], CITATION)
    assert content["provenance"]["config"] == {"steps": 12}
    assert CITATION in (tmp_path / "report" / "report.html").read_text()


def test_without_caveats_and_citation_their_parts_are_absent(write):
    _, text = write(caveats=[], citation="")
    assert "**Caution:**" not in text
    assert "Data" not in _headings(text)


def test_rows_csv_holds_every_row_as_it_was_scored(write, tmp_path):
    write()
    with (tmp_path / "report" / "rows.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(_rows())
    first = next(row for row in found if row["method"] == "prompts_held_out" and row["seed"] == "1")
    assert (first["run"], first["record_id"], first["fold"]) == ("prosona", "r0", "0")
    assert float(first["ged"]) == pytest.approx(0.46)
