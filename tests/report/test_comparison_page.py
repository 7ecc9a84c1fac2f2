"""The page of a comparison: its sections, tables, texts and files, and what is left out."""

import csv
import math

import pytest

from prosona_jax.evaluation.catalogue import CONTOUR_METRICS
from prosona_jax.report import figures
from tests.report.compared import (
    CAVEAT,
    CITATION,
    METHODS,
    headings_in,
    scored,
    table_in,
    write,
)


def test_without_a_baseline_there_are_no_differences(tmp_path):
    content, text = write(tmp_path, rows=scored("prosona"), methods={"prosona": {}})
    assert content["differences"] == {}
    assert headings_in(text) == [
        "One contour per style", "Styles against raters: prosona",
        "50 samples of the first stage", "4 samples of the first stage",
        "What the scores of one contour per style mean", "What the scores of samples mean",
        "The methods", "Provenance", "Data",
    ]  # fmt: skip


def test_a_baseline_alone_has_no_section_of_differences(tmp_path):
    content, text = write(tmp_path, rows=scored("dpersona"), methods={"dpersona": {}})
    assert content["differences"] == {"dpersona": {}}
    assert "Differences to dpersona" not in headings_in(text)


def test_a_method_without_styles_has_only_scores_of_samples(tmp_path):
    content, text = write(
        tmp_path, rows=scored("prob_unet"), methods={"prob_unet": METHODS["prob_unet"]}
    )
    assert content["personalised"] == content["differences"] == {}
    assert content["diversified"]["50"]["prob_unet"]["ged"]["mean"] == pytest.approx(0.38)
    assert headings_in(text) == [
        "50 samples of the first stage", "4 samples of the first stage",
        "What the scores of samples mean", "The methods", "Provenance", "Data",
    ]  # fmt: skip


def test_a_method_without_a_metric_shows_a_dash(tmp_path):
    rows = scored("dpersona", "prosona")
    for row in rows:
        if row["run"] == "prosona" and row["method"] == "prompts_held_out":
            row["ordered"] = math.nan
    table = table_in(write(tmp_path, rows=rows)[1], "One contour per style")
    assert table["Areas in order ↑"][2] == "–"
    assert table["Areas in order ↑"][0].startswith("48.0 [")


def test_one_contour_per_style_has_a_column_per_method_and_a_row_per_metric(tmp_path):
    content, text = write(tmp_path)
    table = table_in(text, "One contour per style")
    assert table["Metric"] == list(content["personalised"])
    assert list(table)[1:] == [
        "Dice, own rater ↑", "Dice, prompts shuffled ↓", "Style gain ↑", "GED@4 ↓",
        "GED@4 (D-Persona) ↓", "Dice, matched ↑", "Dice, best prompt of each rater ↑",
        "Own prompt is the best ↑", "Areas in order ↑", "Rank correlation ↑",
        "Rank correlation with raters ↑", "HD95, mm ↓", "Surface distance, mm ↓", "NSD ↑",
        "Pairs without a distance",
    ]  # fmt: skip
    assert table["Pairs without a distance"] == ["2", "2", "2", "–"]
    assert table["HD95, mm ↓"][3] == "–"
    assert "NSD, the normalised surface Dice, has a tolerance of 1 mm." in text
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
    assert "rater k, the same person" in write(tmp_path, by_area=False)[1]


def test_rows_of_earlier_code_have_no_newer_scores(tmp_path):
    newer = ("undefined", *(metric.name for metric in CONTOUR_METRICS))
    old = [{name: x for name, x in row.items() if name not in newer} for row in scored()]
    content, text = write(tmp_path, rows=old)
    assert content["undefined"] == {}
    table = table_in(text, "One contour per style")
    assert list(table)[-1] == "Rank correlation with raters ↑"
    assert "NSD" not in text
    assert "HD95" not in text


def test_every_figure_shows_the_caveat(tmp_path, monkeypatch):
    footnotes = []
    monkeypatch.setattr(figures, "png", lambda figure, footnote: footnotes.append(footnote) or b"")
    _, text = write(tmp_path)
    assert (
        footnotes == [f"CT simulated. Data: {CITATION}"] * 4
    )  # the intervals, and one figure per method
    assert "![Dice with the own rater and GED of each method, with intervals](" in text


def test_methods_that_share_a_first_stage_share_a_column(tmp_path):
    _, text = write(tmp_path)
    many = table_in(text, "50 samples of the first stage")
    assert many["Metric"] == ["prob_unet, dpersona_heads, prosona", "dpersona"]
    assert [cell.split(" ")[0] for cell in many["GED@50 ↓"]] == ["0.380", "0.430"]
    assert [cell.split(" ")[0] for cell in many["Dice, matched ↑"]] == ["38.0", "43.0"]
    few = table_in(text, "4 samples of the first stage")
    assert few["Metric"] == ["prob_unet, dpersona, dpersona_heads, prosona"]
    assert few["GED@4 ↓"][0].startswith("0.580 [")


def test_samples_have_one_section_if_there_are_as_many_as_raters(tmp_path):
    content, text = write(tmp_path, samples=4)
    assert list(content["diversified"]) == ["4"]
    assert headings_in(text).count("4 samples of the first stage") == 1


def test_the_page_explains_each_score_and_each_method(tmp_path):
    content, text = write(tmp_path, rows=scored(seeds=(0,)))
    assert "the mean over 1 seed." in text
    of_styles = table_in(text, "What the scores of one contour per style mean")
    assert of_styles["GED@4"][0] == "`ged`"
    assert "prompts' masks" in of_styles["GED@4"][1]
    assert "set of samples" in table_in(text, "What the scores of samples mean")["GED@50"][1]
    changes = {name: cells[0] for name, cells in table_in(text, "The methods").items()}
    assert changes["prob_unet"] == "`stage_two.query` = none, `stage_two.latent` = 0"
    assert changes["dpersona"] == "`stage_two.query` = heads, `stage_two.tau` = 0.4082"
    assert changes["prosona"] == "none"
    assert content["methods"] == METHODS


def test_caveats_citation_and_provenance_are_on_the_page(tmp_path):
    content, text = write(tmp_path)
    assert text.startswith("# Methods on 4 records of 3 patients\n")
    assert f"> **Caution:** {CAVEAT}" in text
    assert text.rstrip().endswith(f"## Data\n\n{CITATION}")
    assert table_in(text, "Provenance") == {
        "Item": ["Value"], "seeds": ["0, 1"], "data set, records": ["4"],
    }  # fmt: skip
    assert '"steps": 12' in text
    assert (content["caveats"], content["citation"]) == ([CAVEAT], CITATION)
    assert content["provenance"]["config"] == {"steps": 12}
    assert CITATION in (tmp_path / "report" / "report.html").read_text()


def test_without_caveats_and_citation_their_parts_are_absent(tmp_path):
    _, text = write(tmp_path, caveats=[], citation="")
    assert "**Caution:**" not in text
    assert "Data" not in headings_in(text)


def test_rows_csv_holds_every_row_as_it_was_scored(tmp_path):
    write(tmp_path)
    with (tmp_path / "report" / "rows.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == len(scored())
    first = next(row for row in found if row["method"] == "prompts_held_out" and row["seed"] == "1")
    assert (first["run"], first["record_id"], first["fold"]) == ("prosona", "r0", "0")
    assert float(first["ged"]) == pytest.approx(0.46)
