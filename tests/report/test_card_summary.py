"""The section on style cards: both habits of a rater side by side, and what no sentence says."""

from prosona_jax.evaluation.intervals import Interval
from prosona_jax.report import card_summary, figures
from prosona_jax.report.card_summary import Card, Carded


def _section(said):
    measured = {"margin": Interval(-1.5, -2.0, -1.0), "area": Interval(-0.2231, None, None)}
    drawn = {"margin": Interval(-1.25, -1.5, -1.0), "tips": Interval(0.02, 0.01, 0.03)}
    cards = [Card("Anna", 1, ("Draw tight.", "Stay inside."), measured, drawn)]
    return card_summary.section(Carded(cards, "mm", said, 7), figures.png)


def test_a_cell_has_the_raters_habit_and_the_drawn_one():
    text, sentences, numbers, figure = _section(("margin", "roughness", "tips")).blocks
    assert "on 7 scored images" in text.body
    assert "No sentence says" not in text.body
    assert sentences.rows == [("Anna", "“Draw tight.” “Stay inside.”")]
    assert numbers.columns[1:] == ("Margin, mm", "Area, %", "Roughness, mm", "Tips, %")
    assert numbers.rows == [
        ("Anna", "-1.50 [-2.00, -1.00]; drawn: -1.25", "-20", "", "drawn: +2.0")
    ]
    assert figure.png.startswith(b"\x89PNG")


def test_habits_that_no_sentence_says_are_named():
    text = _section(("margin", "tips")).blocks[0].body
    assert "No sentence says roughness, because" in text
