"""Sentences of habits: what they say, what is read from them, and that splits share no phrase."""

import importlib.metadata
import pathlib

import numpy as np
import pytest

from prosona_jax.text import encoder, habit_reader, habit_sentences, quantities
from prosona_jax.text.habit_grammar import SPLITS, HabitGrammar, phrases
from prosona_jax.text.habit_reader import TOPICS, UNDERSTOOD, HabitReader
from prosona_jax.text.habits import AXES, Scale, Stated, parse_scale, parse_stated
from prosona_jax.types import InputError

TEXT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "text"
SCALE = Scale("px", {"margin": 1.2, "roughness": 0.2, "tips": 0.03}, 0.08, 0.0)
WHOLE = Scale("mm", {"margin": 1.45, "roughness": 0.02, "tips": 0.006, "last": 12.0}, 0.18, 3.3)
VOLUMES = Scale("mm", {"margin": 0.6, "first": 2.0, "last": 2.0}, 0.1, 2.5)
TIGHT = {
    "margin": Stated(-1.5, -2.0, -1.0),
    "area": Stated(-0.12, -0.16, -0.08),
    "roughness": Stated(0.01, -0.1, 0.1),
}


def test_no_phrase_is_in_both_splits():
    found = phrases()
    assert found["train"]
    assert found["held_out"]
    assert found["train"].isdisjoint(found["held_out"])


@pytest.mark.parametrize("split", SPLITS)
def test_a_sentence_says_numbers_of_the_interval(split):
    taken: set[str] = set()
    sentences = HabitGrammar(split, seed=0).write("Anna", TIGHT, SCALE, 30, taken)
    assert len(set(sentences)) == 30
    numbers = [a.value for s in sentences for a in quantities.find(s).amounts if a.unit == "px"]
    assert len(set(numbers)) > 3  # not one number
    assert min(numbers) >= 0.95
    assert max(numbers) <= 2.05
    percents = [a.value for s in sentences for a in quantities.find(s).amounts if a.unit == "%"]
    assert all(7 <= value <= 15 for value in percents)


def test_habits_that_are_not_known_to_differ_are_usual():
    """The roughness has an interval around 0, so no sentence says that the line is rough."""
    text = " ".join(HabitGrammar("train", seed=0).write("Anna", TIGHT, SCALE, 60, set())).lower()
    for word in ("jagged", "ragged", "rougher", "smoother", "spiky"):
        assert word not in text


def test_raters_who_are_alike_still_have_sentences_of_their_own():
    usual = {"margin": Stated(0.0, -0.1, 0.1)}
    grammar, taken = HabitGrammar("held_out", seed=0), set()
    scale = SCALE._replace(spread={"margin": 1.0})
    written = [grammar.write(f"rater {k}", usual, scale, 5, taken) for k in range(12)]
    assert all(written)
    assert len({s.lower() for own in written for s in own}) == sum(map(len, written))
    assert written[-1][0].startswith("rater 11: ")


@pytest.mark.parametrize(
    ("clause", "amounts"),
    [
        ("draws about 1.5 px inside the others", [(1.5, "px")]),
        ("one and a half pixels, 8 % smaller", [(1.5, "px"), (8.0, "%")]),
        ("half a millimetre beyond", [(0.5, "mm")]),
        ("ends two slices later", [(2.0, "slices")]),
        ("start on the first slice", []),
        ("not more than 2 px outside", []),
        ("an area of 4 mm2", []),
        ("tight", []),
    ],
)
def test_amounts_are_found(clause, amounts):
    assert [(a.value, a.unit) for a in quantities.find(clause).amounts] == amounts
    assert quantities.states_amount(clause) == bool(amounts or "not" in clause)


def silent(scale):
    bert = encoder.load(str(TEXT / "bert"))
    return HabitReader(bert, scale, np.zeros((bert.dim + 1, len(AXES) + len(TOPICS))))


@pytest.fixture(scope="module")
def reader():
    """A reader whose words say nothing, so only rules speak."""
    return silent(SCALE)


def margin(reader, *sentences):
    return reader.embed(sentences)[:, -len(AXES)] * reader.scale.spread["margin"]


def test_numbers_are_read_in_order_also_beyond_all_raters(reader):
    asked = np.arange(1, 9) / 2
    outside = margin(reader, *(f"Draw {n} px outside the others." for n in asked))
    inside = margin(reader, *(f"Smooth line, {n} px inside the others." for n in asked))
    np.testing.assert_allclose(outside, asked, rtol=1e-5)
    np.testing.assert_allclose(inside, -asked, rtol=1e-5)


def test_percents_become_margins_and_other_units_nothing(reader):
    found = margin(reader, "8 % larger", "3 mm larger", "no number")
    np.testing.assert_allclose(found, [np.log(1.08) / 0.08, 0, 0], rtol=1e-5)


def test_slices_belong_to_an_end():
    volumes = silent(VOLUMES)
    habits = volumes.embed(["It ends 2 slices later, and it starts 5 mm earlier."])[0, -len(AXES) :]
    np.testing.assert_allclose(habits, [0, 0, 0, 2.5, 2.5])


@pytest.mark.parametrize(
    ("habits", "words"),
    [
        ([0, 0, 0, 0, 0], "as usual"),
        ([2.5, 0, 0, -1, 0], "margin +1.5 mm, first slice 2 mm later"),
        (
            [0, 0, 0, 1.25, 2.5],
            "first slice 2.5 mm earlier, last slice 5 mm later",
        ),
        (
            [0, -0.46, 0, 0, -1],
            "roughness -0.5 spreads, last slice 2 mm earlier",
        ),
    ],
)
def test_habits_in_words(habits, words):
    assert silent(VOLUMES).in_words(np.array(habits, float)) == words


@pytest.mark.parametrize(
    ("sentence", "first", "last"),
    [
        ("one slice less at both ends", -1, -1),
        ("Add two slices at each end.", 2, 2),
        ("Start two slices later.", -2, 0),
        ("Begin 2 slices before the others' first one.", 2, 0),
        ("Finish 5 mm earlier.", 0, -2),
        ("Go on for three slices after the others' last slice.", 0, 3),
        ("Stay on for 2 slices past the end.", 0, 2),
        ("Skip two slices at the start and skip three slices at the end.", -2, -3),
        ("Draw one slice more at the end.", 0, 1),
    ],
)
def test_amounts_at_an_end_have_the_direction_of_their_words(sentence, first, last):
    """In slices; the reader's words say nothing, so only rules speak."""
    found = silent(VOLUMES).read([sentence]).habits[0] * 2.0 / 2.5
    np.testing.assert_allclose(found[-2:], [first, last], atol=1e-6)


@pytest.mark.parametrize(
    ("sentence", "axis"),
    [
        ("Stay 2 mm outside the consensus.", "margin"),
        ("Go 2 mm beyond what the others draw.", "margin"),
        ("Stay on for 2 mm longer.", "last"),
        ("Open 2 mm earlier than the consensus.", "first"),
        ("Stay on for 2 slices past the end.", "last"),
    ],
)
def test_staying_outside_is_a_margin_and_staying_longer_an_end(sentence, axis):
    volumes = silent(VOLUMES)
    habits = volumes.embed([sentence])[0, -len(AXES) :]
    assert np.flatnonzero(habits).tolist() == [AXES.index(axis)]


@pytest.fixture(scope="module")
def trained():
    """The default encoder, fitted as in a run."""
    try:
        importlib.metadata.distribution(encoder.WHEEL)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the wheel of MiniLM is not installed (requirements-nodeps.txt)")
    # No first slice: raters do not differ in it.
    return habit_reader.fit(encoder.load(encoder.DEFAULT), WHOLE)


def test_words_are_learned_from_the_grammar(trained):
    sentences, asked = habit_reader.write(WHOLE, "train", 50, most=1, seed=1)
    read = trained.embed(sentences)[:, -len(AXES) :]
    said = np.isfinite(asked) & (asked != 0)
    assert np.corrcoef(read[said], asked[said])[0, 1] > 0.5
    assert (read[np.isnan(asked)] != 0).mean() < 0.1
    bert = encoder.load(encoder.DEFAULT)
    np.testing.assert_allclose(trained.embed(sentences)[:, : bert.dim], bert.embed(sentences))


def test_the_usual_outline_is_the_zero_of_all_habits(trained):
    """Nearly always: the sentences were written before the grammar's were read."""
    sentences = [
        "as usual", "draw as you always do", "nothing special", "the average",
        "Just an ordinary contour, please.", "Like everybody else would.", "The typical outline.",
        "Do it the standard way.", "No particular wishes.",
        "Outline it the way you normally would.", "Keep to the mean of the raters.", "default",
        "the common contour", "Neither large nor small, just regular.",
    ]  # fmt: skip
    read = trained.read(sentences)
    usual = ~read.habits.any(axis=1) & (read.answerable > UNDERSTOOD)
    assert usual.sum() >= 13
    assert {trained.in_words(habits) for habits in read.habits[usual]} == {"as usual"}


def test_sentences_of_other_authors_are_read_in_the_right_direction(trained):
    """Those on which settings were chosen; `benchmarks.habit_reading` has the published ones."""
    own = [s for s in habit_sentences.read(habit_sentences.PROBE) if s.author == "choose"]
    own = [s for s in own if "first" not in s.asks and s.asks]
    habits = trained.read([sentence.text for sentence in own]).habits
    pairs = [
        (np.sign(read[AXES.index(axis)]), np.sign(value))
        for sentence, read in zip(own, habits, strict=True)
        for axis, value in sentence.asks.items()
    ]
    assert np.mean([read == asked for read, asked in pairs]) > 0.65
    assert np.mean([read == -asked for read, asked in pairs]) < 0.12


@pytest.mark.parametrize(
    ("sentence", "axis", "sign"),
    [
        ("larger than usual", "margin", 1),
        ("rougher than the average", "roughness", 1),
        ("an unusually wide margin", "margin", 1),
        ("tight, otherwise as usual", "margin", -1),
        ("as usual, but two slices further at the end", "last", 1),
        ("A more generous contour than you normally draw.", "margin", 1),
    ],
)
def test_a_word_for_usual_does_not_hide_what_is_asked(trained, sentence, axis, sign):
    habits = trained.read([sentence]).habits[0]
    assert np.sign(habits[AXES.index(axis)]) == sign


def test_what_asks_for_no_habit_of_the_raters_is_not_understood(trained):
    asked = ["a banana", "please call the patient's mother", "begin earlier than the others"]
    read = trained.read([*asked, "begin earlier than the others, and stay 2 mm outside"])
    assert (read.answerable[:3] < UNDERSTOOD).all()
    assert not read.habits[:3].any()
    assert read.answerable[3] == 1  # of two clauses, one is understood
    np.testing.assert_allclose(read.habits[3], [2 / 1.45, 0, 0, 0, 0])


def test_faulty_cards_are_refused():
    assert parse_scale(SCALE.describe(), "x") == SCALE
    for entry in (None, {}, {"unit": "cm", "spread": {}, "area_per_margin": 1},
                  {"unit": "px", "spread": {"hue": 1}, "area_per_margin": 1},
                  {"unit": "px", "spread": {"margin": 0}, "area_per_margin": 1}):  # fmt: skip
        with pytest.raises(InputError, match="^x: `scale` must have"):
            parse_scale(entry, "x")
    with pytest.raises(InputError, match=r"^x: `margin` is \[1, 2, 3\]; give"):
        parse_stated({"margin": [1, 2, 3]}, "x")
    with pytest.raises(InputError, match="^x: `habits` is None; give"):
        parse_stated(7, "x")
