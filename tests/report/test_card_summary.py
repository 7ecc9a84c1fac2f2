"""The section on style cards: both habits of a rater side by side, and what no sentence says."""

from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report import card_summary, figures
from prosona_jax.report.card_summary import Card, Carded


def _section(said):
    measured = {"margin": Interval(-1.5, -2.0, -1.0), "area": Interval(-0.2231, None, None)}
    drawn = {"margin": Interval(-1.25, -1.5, -1.0), "tips": Interval(0.02, 0.01, 0.03)}
    cards = [Card("Anna", 1, ("Draw tight.", "Stay inside."), measured, drawn)]
    return card_summary.section(Carded(cards, "mm", said, "7 scored images"), figures.png)


def test_a_cell_has_the_raters_habit_and_the_drawn_one():
    text, sentences, numbers, figure = _section(("margin", "roughness", "tips")).blocks
    assert "on 7 scored images" in text.body
    assert "No sentence says" not in text.body
    assert sentences.rows == [("Anna", "“Draw tight.” “Stay inside.”")]
    assert numbers.columns[1:] == ("Margin, mm", "Area, %", "Tips, %")
    assert numbers.rows == [("Anna", "-1.50 [-2.00, -1.00]; drawn: -1.25", "-20", "drawn: +2.0")]
    assert figure.png.startswith(b"\x89PNG")


def test_habits_that_no_sentence_says_are_named():
    text = _section(("margin",)).blocks[0].body
    assert "No sentence says tips, because" in text
    assert "slices_beyond" not in text


def test_the_ends_of_volumes_are_shown_where_they_were_measured():
    cards = [
        Card("Anna and Bo", 2, ("a", "b"), {"last": Interval(-5.0, -6.5, -3.0)},
             {"last": Interval(-2.96, -4.0, -2.0)}),
        Card("Cy", 1, ("c", "d"), {"last": Interval(4.0, 3.0, 5.0)}, {}),
    ]  # fmt: skip
    carded = Carded(cards, "mm", ("last",), "2 scored volumes")
    text, _, numbers, figure = card_summary.section(carded, figures.png).blocks
    assert "on 2 scored volumes" in text.body
    assert "(`data.slices_beyond`)" in text.body
    assert "Raters of one row cannot be told apart" in text.body
    assert numbers.columns == ("Style", "Last slice, mm")
    assert numbers.rows == [
        ("Anna and Bo", "-5.0 [-6.5, -3.0]; drawn: -3.0"), ("Cy", "+4.0 [+3.0, +5.0]"),
    ]  # fmt: skip
    assert figure.png.startswith(b"\x89PNG")
