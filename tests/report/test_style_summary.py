"""The report's sections on styles: their numbers, their texts, and what they leave out."""

import math

import numpy as np
import pytest

from prosona_jax.evaluation import catalogue, intervals, results
from prosona_jax.report import charts, document, figures, style_summary

NAMES = ("core", "full", "margin")
PATIENTS = ["p1", "p1", "p2", "p3"]
STYLE = [metric.name for metric in catalogue.STYLE_METRICS]
CONTOURS = catalogue.CONTOUR_METRICS
OF_SENTENCES = STYLE[: -len(CONTOURS)]  # only styles' own contours are measured in mm
RETRIEVAL = [metric.name for metric in catalogue.RETRIEVAL]
NOTE = "Means over 4 records."


def _rows(*methods, retrieval=True):
    """Scores that differ by record, metric and method. Sentences lose 0.01, held-out ones 0.03."""
    rows = []
    losses = {"prompts_mean": 0.0, "prompts_train": 0.01, "prompts_held_out": 0.03}
    for method in methods or losses:
        loss = losses[method]
        for i, patient in enumerate(PATIENTS):
            row = {"record_id": f"r{i}", "patient_id": patient, "method": method}
            names = STYLE if method == "prompts_mean" else OF_SENTENCES
            row |= {name: 0.6 + 0.01 * i + 0.001 * n - loss for n, name in enumerate(names)}
            found = 0.5 + 0.1 * i if retrieval else math.nan
            row |= dict.fromkeys(RETRIEVAL, found - loss)
            k = range(1, 4)
            row |= {f"dice_{a}_{b}": 0.9 - 0.1 * abs(a - b) - 0.01 * a - loss for a in k for b in k}
            if method == "prompts_mean":
                row |= {f"{m.name}_{a}": row[m.name] + a for m in CONTOURS for a in k}
                row["undefined"] = int(i == 2)
            rows.append(row | {f"area_{a}": 10.0 * a + i for a in k})
    return rows


def _collect(rows):
    return results.collect_styles(rows, styles=3, bootstrap=100)


def _styled(**changes):
    latent = np.random.default_rng(0).normal(size=(3, 4))
    styled = style_summary.Styled(
        names=NAMES,
        sentences=("Hug the core.", "Take all.", "Leave room."),
        by_area=True,
        tolerance_mm=1.5,
        order=(0, 1, 2),
        walked=None,
        walk=np.zeros((5, 24, 24), np.float32),
        path=np.zeros((5, 4)),
        at_styles=latent,
        at_raters=latent,
        samples=np.zeros((9, 4)),
    )
    return styled._replace(**changes)


def _panel(record_id):
    masks = np.zeros((3, 24, 24), np.uint8)
    masks[:, 8:15, 9:14] = 1
    drawn = masks.astype(np.float32)
    return figures.Panel(
        record_id, np.zeros((24, 24), np.float32), masks, np.ones(3, bool), drawn, drawn,
        np.array([0.7, 0.7], np.float32),
    )  # fmt: skip


def _sections(rows, styled, panels=()):
    """Returns the blocks by heading, of the sections that have blocks."""
    sections = style_summary.sections(
        _collect(rows), styled, panels, NOTE, lambda figure: figures.png(figure)[:8]
    )
    return {section.title: list(section.blocks) for section in sections if section.blocks}


def _mean(values):
    return intervals.bootstrap_mean(np.array(values), PATIENTS, resamples=100, seed=0)


def test_collected_numbers_are_the_rows_means_with_patient_intervals():
    found = _collect(_rows())
    assert list(found.styles) == STYLE + RETRIEVAL
    for intervals_of in (found.trained, found.held_out):
        assert list(intervals_of) == OF_SENTENCES + RETRIEVAL
    assert found.styles["dice_mean"] == _mean([0.60, 0.61, 0.62, 0.63])
    assert found.styles["dice_others"].mean == pytest.approx(0.616)
    assert found.trained["dice_mean"].mean == pytest.approx(0.605)
    assert found.held_out["dice_mean"].mean == pytest.approx(0.585)
    assert found.styles[RETRIEVAL[0]] == _mean([0.5, 0.6, 0.7, 0.8])
    assert list(found.difference) == OF_SENTENCES + RETRIEVAL
    assert found.difference["ged"] == pytest.approx((-0.02, -0.02, -0.02))
    expected = [[0.89, 0.79, 0.69], [0.78, 0.88, 0.78], [0.67, 0.77, 0.87]]
    np.testing.assert_allclose([[x.mean for x in line] for line in found.table], expected)
    assert [interval.mean for interval in found.areas] == pytest.approx([11.5, 21.5, 31.5])
    assert found.areas[0] == _mean([10.0, 11.0, 12.0, 13.0])
    values = [row["assd_mm_2"] for row in _rows("prompts_mean")]
    assert found.contours[1]["assd_mm"] == _mean(values)
    assert found.undefined == 1


def test_the_difference_leaves_out_records_without_a_pair():
    rows = [row for row in _rows() if (row["method"], row["record_id"]) != ("prompts_train", "r3")]
    rows[-1]["dice_mean"] = 99.0  # r3 has no row of prompts_train
    found = _collect(rows[::-1])
    assert found.difference["dice_mean"].mean == pytest.approx(-0.02)


def test_a_rater_who_is_missing_in_one_record_counts_in_the_others():
    rows = _rows("prompts_mean")
    rows[0] |= {f"dice_{a}_2": math.nan for a in (1, 2, 3)}
    rows[1]["dice_1_2"] = 0.0
    found = _collect(rows)
    assert found.table[0][1] == intervals.bootstrap_mean(
        np.array([0.0, 0.79, 0.79]), PATIENTS[1:], resamples=100, seed=0
    )
    assert found.table[1][1].mean == pytest.approx(0.88)
    assert (found.trained, found.held_out, found.difference) == ({}, {}, {})


def test_facts_are_the_scores_of_single_new_sentences_where_text_is_read():
    found = style_summary.facts(_collect(_rows()), 3)
    assert [fact[0] for fact in found] == ["Dice, own rater", "GED@3", "Areas in order"]
    assert [fact[1] for fact in found] == ["58.5", "0.588", "59.3"]
    for (_, _, text), own in zip(found, ("61.5", "0.618", "62.3"), strict=True):
        assert text.endswith(
            f". One new sentence per style; {own} by the mean query of a style's training sentences"
        )
    assert "; lower is better. One" in found[1][2]
    baseline = [row for row in _rows() if row["method"] == "prompts_mean"]
    found = style_summary.facts(_collect(baseline), 3)
    assert [fact[1] for fact in found] == ["61.5", "0.618", "62.3"]
    assert found[0][2].endswith("; higher is better")
    rows = [
        row | {"ordered": math.nan} for row in _rows()
    ]  # styles are raters, without an order by area
    assert style_summary.facts(_collect(rows), 3)[2][0] == "Own prompt is the best"


def test_styles_show_sentence_dice_area_and_the_table_of_all_raters():
    text, own, table, picture = _sections(_rows(), _styled())["Styles"]
    assert own.columns == (
        "Style", "One of its sentences", "Dice with its rater",
        "HD95, mm", "Surface distance, mm", "NSD", "Area, pixels",
    )  # fmt: skip
    assert own.caption == NOTE
    area, apart = _collect(_rows()).areas[1], _collect(_rows()).contours[1]
    assert list(own.rows[1]) == [
        "full", "“Take all.”", "88.0 [88.0, 88.0]",
        *(metric.cell(apart[metric.name]) for metric in CONTOURS),
        f"22 [{area.low:.0f}, {area.high:.0f}]",
    ]  # fmt: skip
    assert table.columns == ("Style", "core's rater", "full's rater", "margin's rater")
    assert [[cell.split(" ")[0] for cell in row] for row in table.rows] == [
        ["core", "89.0", "79.0", "69.0"],
        ["full", "78.0", "88.0", "78.0"],
        ["margin", "67.0", "77.0", "87.0"],
    ]
    assert "is the mean over its training sentences. Style k" in text.body
    assert picture.name == "whose"


def test_areas_are_in_mm2_only_if_the_pixels_of_all_records_have_a_size():
    sized = [row | {f"area_mm2_{a}": row[f"area_{a}"] / 4 for a in (1, 2, 3)} for row in _rows()]
    own = _sections(sized, _styled())["Styles"][1]
    assert own.columns[-1] == "Area, mm²"
    assert own.rows[1][-1].startswith("5.4 [")  # a quarter of 21.5
    assert _collect(sized).areas == _collect(_rows()).areas
    sized[2]["area_mm2_1"] = math.nan
    own = _sections(sized, _styled())["Styles"][1]
    assert own.columns[-1] == "Area, pixels"
    assert own.rows[1][-1].startswith("22 [")


def test_the_text_says_whether_masks_are_sorted_by_area():
    by_area_text = "Style k is the k-th smallest of an image's masks"
    by_area, by_rater = (
        _sections(_rows(), _styled(by_area=by_area))["Styles"][0].body for by_area in (True, False)
    )
    assert by_area_text in by_area
    assert "the same person or tool in every image" not in by_area
    assert by_area_text not in by_rater
    assert "Style k is rater k, the same person or tool in every image." in by_rater


def test_scores_of_held_out_and_training_sentences_and_their_difference():
    text, table, _ = _sections(_rows(), _styled())["Scores of the styles"]
    assert list(table.columns) == [
        "Metric", "Better", "Styles", "Training sentences", "Held-out sentences",
        "Held-out minus training",
    ]  # fmt: skip
    assert len(table.rows) == len(STYLE)
    first, ged = list(table.rows[0]), list(table.rows[STYLE.index("ged")])
    assert first[:2] == ["Dice, own rater", "higher"]
    assert [cell.partition(" ")[0] for cell in first[2:]] == ["61.5", "60.5", "58.5", "−2.0"]
    assert first[5] == "−2.0 [−2.0, −2.0]"
    assert ged[0] == "GED@3"
    assert [cell.partition(" ")[0] for cell in ged[2:]] == ["0.618", "0.608", "0.588", "−0.020"]
    assert "never trained on" in text.body
    assert "GED compares 3 masks with 3 raters" in text.body


def test_contours_are_measured_for_styles_and_the_text_says_what_is_left_out():
    text, table, _ = _sections(_rows(), _styled())["Scores of the styles"]
    cells = {row[0]: list(row[2:]) for row in table.rows}
    found = _collect(_rows()).styles
    for metric in CONTOURS:
        assert cells[metric.title] == [metric.cell(found[metric.name]), "–", "–", "–"]
    assert "has a tolerance of 1.5 mm" in text.body
    assert text.body.endswith("Here this concerns 1 pairs.")
    unknown = [
        row | {name: math.nan for name in row if "_mm" in name or "nsd" in name} for row in _rows()
    ]
    text, table, _ = _sections(unknown, _styled())["Scores of the styles"]
    assert not {metric.title for metric in CONTOURS} & {row[0] for row in table.rows}
    assert "has no distance and no NSD if" in text.body


def test_rows_that_were_scored_before_contours_were_measured_have_no_such_columns():
    names = ("undefined", *(metric.name for metric in CONTOURS))
    old = [{k: x for k, x in row.items() if not k.startswith(names)} for row in _rows()]
    found = _collect(old)
    assert (found.contours, found.undefined) == ([{}, {}, {}], 0)
    sections = _sections(old, _styled())
    assert sections["Styles"][1].columns[2:] == ("Dice with its rater", "Area, pixels")
    assert "NSD" not in sections["Scores of the styles"][0].body


def test_retrieval_is_shown_with_chance():
    _, table = _sections(_rows(), _styled())["Retrieval"]
    assert [row[0] for row in table.rows] == [metric.title for metric in catalogue.RETRIEVAL]
    assert list(table.columns) == [
        "Metric", "Chance", "Styles", "Training sentences", "Held-out sentences",
        "Held-out minus training", "Meaning",
    ]  # fmt: skip
    for row in table.rows:
        assert row[1] == "33.3"
        assert [cell.partition(" ")[0] for cell in row[2:6]] == ["65.0", "64.0", "62.0", "−2.0"]


def test_a_baseline_without_text_has_no_sentences_and_no_retrieval():
    sections = _sections(
        _rows("prompts_mean", retrieval=False), _styled(sentences=()), [_panel("r1")]
    )
    assert list(sections) == ["Styles", "What each style draws", "Scores of the styles"]
    text, own, *_ = sections["Styles"]
    assert "this run is a baseline that knows a style by its number" in text.body
    assert own.columns[:2] == ("Style", "Dice with its rater")
    assert [len(row) for row in own.rows] == [6, 6, 6]
    scores, table, _ = sections["Scores of the styles"]
    assert list(table.columns) == ["Metric", "Better", "Styles"]
    assert scores.body.startswith("GED compares 3 masks")
    assert "sentence" not in sections["What each style draws"][0].body


def test_pictures_and_walk_are_shown_if_they_are_given():
    bare = _sections(_rows(), _styled())
    assert list(bare) == ["Styles", "Scores of the styles", "Retrieval"]
    at_styles = np.zeros((3, 4))
    at_styles[:, 3], at_styles[:, 1] = [-2, 0, 2], [0, 1, 0]
    walked = _styled(walked=_panel("r2"), at_styles=at_styles)
    full = _sections(_rows(), walked, [_panel("r0"), _panel("r2")])
    drawn = [block for block in full["What each style draws"] if isinstance(block, document.Figure)]
    assert [(figure.name, figure.caption) for figure in drawn] == [
        ("styles-01", "`r0`"), ("styles-02", "`r2`"),
    ]  # fmt: skip
    way = [block for block in full["From core to margin"] if isinstance(block, document.Figure)]
    assert [figure.name for figure in way] == ["walk", "latent-plane"]
    assert all(figure.png == b"\x89PNG\r\n\x1a\n" for figure in (*drawn, *way))


def test_the_plane_has_the_dimensions_along_which_styles_lie_furthest_apart(monkeypatch):
    shown = {}
    plane = charts.latent_plane
    monkeypatch.setattr(
        charts, "latent_plane", lambda **given: shown.update(given) or plane(**given)
    )
    at_styles = np.array([[0, 0, 5, -2], [0.1, 1, 5, 0], [0, 0, 5, 2]], np.float64)
    _sections(_rows(), _styled(walked=_panel("r2"), at_styles=at_styles))
    assert shown["axes"] == ("z3", "z1")
    np.testing.assert_array_equal(shown["styles"], at_styles[:, [3, 1]])


def test_the_walk_goes_from_the_tightest_style_to_the_most_generous(monkeypatch):
    shown, names = [], []
    walk, plane = figures.walk, charts.latent_plane
    monkeypatch.setattr(figures, "walk", lambda *given: shown.extend(given) or walk(*given))
    monkeypatch.setattr(
        charts, "latent_plane", lambda **given: names.extend(given["names"]) or plane(**given)
    )
    panel = _panel("r2")._replace(rater_valid=np.array([True, False, True]))
    panel.masks[2, 0, 0] = 1
    sections = _sections(_rows(), _styled(order=(2, 0, 1), walked=panel))
    first, second, third = (NAMES[k] for k in (2, 0, 1))
    assert f"From {first} to {third}" in sections
    assert shown[2] == names == [first, second, third]
    np.testing.assert_array_equal(shown[0].masks, panel.masks[[2, 0, 1]])
    assert shown[0].rater_valid.tolist() == [True, True, False]


def test_the_plane_is_drawn_even_if_a_rater_is_missing():
    """The rater's latent is NaN, and its ring is left out."""
    at_raters = np.ones((3, 4))
    at_raters[1] = np.nan
    walked = _panel("r2")._replace(rater_valid=np.array([True, False, True]))
    blocks = _sections(_rows(), _styled(walked=walked, at_raters=at_raters))
    drawn = [block for block in blocks["From core to margin"] if isinstance(block, document.Figure)]
    assert [figure.name for figure in drawn] == ["walk", "latent-plane"]


def test_with_one_latent_dimension_there_is_a_walk_but_no_plane():
    one = np.zeros((3, 1))
    styled = _styled(walked=_panel("r2"), path=np.zeros((5, 1)), at_styles=one, at_raters=one)
    blocks = _sections(_rows(), styled)["From core to margin"]
    assert [block.name for block in blocks if isinstance(block, document.Figure)] == ["walk"]
