"""The numbers of a comparison: means, paired differences, and what does not change them."""

import math
import random

import pytest

from tests.report.compared import (
    METHODS,
    NAMES,
    OF_SENTENCES,
    STYLED,
    mean_of,
    scored,
    table_in,
    write,
)


def _numbers(content, *path):
    """Returns {("personalised", method, metric, "mean"): value, ...}, in the order of content."""
    if not isinstance(content, dict):
        return {path: content}
    nested = [_numbers(value, *path, key) for key, value in content.items()]
    return {key: value for numbers in nested for key, value in numbers.items()}


def test_means_are_over_records_with_patients_intervals(tmp_path):
    content, _ = write(tmp_path)
    assert (content["records"], content["patients"], content["raters"]) == (4, 3, 4)
    assert content["seeds"] == [0, 1]
    assert list(content["personalised"]) == [
        "dpersona", "dpersona_heads", "prosona", "prosona, held-out sentences",
    ]  # fmt: skip
    personal = content["personalised"]["prosona"]
    assert list(personal) == STYLED
    assert personal["assd_mm"]["mean"] == pytest.approx(0.38)
    assert content["undefined"] == {"dpersona": 2, "dpersona_heads": 2, "prosona": 2}
    assert personal["ged_dpersona"] == mean_of([0.35, 0.37, 0.39, 0.41])
    assert personal["ged_dpersona"]["mean"] == pytest.approx(0.38)
    held_out = content["personalised"]["prosona, held-out sentences"]
    assert list(held_out) == OF_SENTENCES
    assert held_out["dice_mean"]["mean"] == pytest.approx(0.44)
    assert list(content["diversified"]) == ["50", "4"]
    assert list(content["diversified"]["50"]) == list(METHODS)
    assert content["diversified"]["50"]["dpersona"]["ged"] == mean_of([0.40, 0.42, 0.44, 0.46])
    assert content["diversified"]["4"]["prob_unet"]["dice_soft"]["mean"] == pytest.approx(0.58)


def test_differences_are_method_minus_baseline_record_by_record(tmp_path):
    """The difference is equal in all records but one. The interval shows that they are paired."""
    rows = scored()
    for row in rows:
        if (row["run"], row["method"], row["record_id"]) == ("prosona", "prompts_mean", "r3"):
            row["ged"] -= 0.2
    content, _ = write(tmp_path, rows=rows)
    by_base = content["differences"]
    assert {base: list(found) for base, found in by_base.items()} == {
        "dpersona": ["dpersona_heads", "prosona", "prosona, held-out sentences"],
        "dpersona_heads": ["dpersona", "prosona", "prosona, held-out sentences"],
    }
    assert by_base["dpersona"]["prosona"]["dice_mean"] == pytest.approx(
        {"mean": -0.1, "low": -0.1, "high": -0.1}
    )
    assert by_base["dpersona"]["prosona"]["ged"] == mean_of([-0.1, -0.1, -0.1, -0.3])
    assert by_base["dpersona"]["prosona"]["ged"]["mean"] == pytest.approx(-0.15)
    assert by_base["dpersona_heads"]["prosona"]["ged"]["mean"] == pytest.approx(-0.17)
    assert by_base["dpersona_heads"]["dpersona"]["ged"]["mean"] == pytest.approx(-0.02)
    assert by_base["dpersona"]["dpersona_heads"]["ged"]["mean"] == pytest.approx(0.02)
    assert by_base["dpersona"]["prosona, held-out sentences"]["ged"]["mean"] == pytest.approx(-0.04)


def test_the_share_is_the_difference_divided_by_the_baselines_mean(tmp_path):
    """The means of the baselines are .48 and .50."""
    _, text = write(tmp_path)
    label = "GED@4 (D-Persona), % of the baseline ↓"
    to_dpersona = table_in(text, "Differences to dpersona")
    assert to_dpersona["Metric"] == ["dpersona_heads", "prosona", "prosona, held-out sentences"]
    assert [cell.split()[0] for cell in to_dpersona[label]] == ["+4.2", "−20.8", "−8.3"]
    assert all(cell.endswith("]") for cell in to_dpersona[label])
    assert to_dpersona["GED@4 (D-Persona) ↓"] == [
        "+0.020 [+0.020, +0.020]", "−0.100 [−0.100, −0.100]", "−0.040 [−0.040, −0.040]",
    ]  # fmt: skip
    assert to_dpersona["Dice, own rater ↑"][1] == "−10.0 [−10.0, −10.0]"
    to_heads = table_in(text, "Differences to dpersona_heads")[label]
    assert [cell.split()[0] for cell in to_heads] == ["−4.0", "−24.0", "−12.0"]


def test_a_share_of_a_baseline_that_is_zero_or_nan_is_not_shown(tmp_path):
    rows = scored("dpersona", "dpersona_heads", "prosona")
    for row in rows:
        if row["method"].startswith("prompts"):
            if row["run"] == "dpersona":
                row["ged_dpersona"] = 0.0
            if row["run"] == "dpersona_heads":
                row["ged_dpersona"] = math.nan
    _, text = write(tmp_path, rows=rows)
    both = table_in(text, "Differences to dpersona")
    assert both["GED@4, % of the baseline ↓"][1].startswith("−20.8 [")
    label = "GED@4 (D-Persona), % of the baseline ↓"
    assert both[label] == ["–", "–", "–"]
    assert table_in(text, "Differences to dpersona_heads")[label] == ["–", "–", "–"]


def test_the_order_of_rows_changes_no_number(tmp_path):
    rows = scored()
    random.Random(0).shuffle(rows)
    parts = ("personalised", "differences", "diversified")
    straight, shuffled = (
        _numbers({part: content[part] for part in parts})
        for content in (write(tmp_path)[0], write(tmp_path, rows=rows)[0])
    )
    assert list(straight) == list(shuffled)
    assert shuffled == pytest.approx(straight, abs=1e-12)


def test_nan_leaves_out_a_record_and_a_metric_that_is_nan_everywhere_has_no_row(tmp_path):
    rows = scored("dpersona", "prosona")
    for row in rows:
        if row["method"].startswith("prompts"):
            row["rank_correlation"] = math.nan
            if row["record_id"] == "r3" and row["run"] == "prosona":
                row["ged"] = math.nan
    content, text = write(tmp_path, rows=rows)
    personal, gain = content["personalised"], content["differences"]["dpersona"]["prosona"]
    assert "rank_correlation" not in personal["dpersona"]
    assert "rank_correlation" not in gain
    assert "Rank correlation ↑" not in table_in(text, "One contour per style")
    assert personal["prosona"]["ged"] == mean_of([0.35, 0.37, 0.39])
    assert personal["dpersona"]["ged"]["mean"] == pytest.approx(0.48)
    assert gain["ged"]["mean"] == pytest.approx(-0.1)


def test_each_method_shows_which_rater_its_styles_draw(tmp_path):
    """In every cell, the mean over seeds and records is .08 above the method's base."""
    content, text = write(tmp_path)
    assert list(content["dice_tables"]) == ["dpersona", "dpersona_heads", "prosona"]
    assert content["styles"] == NAMES
    for i, line in enumerate(content["dice_tables"]["prosona"], 1):
        for j, cell in enumerate(line, 1):
            base = 0.1 * i + 0.01 * j
            assert cell == mean_of([base + x for x in (0.35, 0.37, 0.39, 0.41)])
    table = table_in(text, "Styles against raters: prosona")
    assert table["Style"] == [f"{name}'s rater" for name in NAMES]
    assert [cell.split()[0] for cell in table["edge"]] == ["69.0", "70.0", "71.0", "72.0"]
    assert table_in(text, "Styles against raters: dpersona")["edge"][0].startswith("79.0 [")


def test_samples_of_other_first_stages_are_compared_with_those_of_dpersona(tmp_path):
    content, text = write(tmp_path)
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
