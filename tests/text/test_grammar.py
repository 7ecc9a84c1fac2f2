"""The grammar: what its sentences ask for, read here by other rules than those that wrote them."""

import pathlib
import re
from difflib import SequenceMatcher

import numpy as np
import pytest
import yaml

from prosona_jax.text import typing_errors
from prosona_jax.text.degrees import Sentence
from prosona_jax.text.grammar import Grammar

WORDS = yaml.safe_load(
    (
        pathlib.Path(__file__).resolve().parents[2] / "configs/prompts/degrees/grammar.yaml"
    ).read_text(encoding="utf-8")
)
CLAUSES = [
    Sentence("Hug the core.", -1.75, "plain", "a"),
    Sentence("take everything", 2.0, "colloquial", "a"),
    Sentence("No such clause", 1.0, "negation", "a"),
]
ONE = {  # a single choice each, so that a sentence's degree follows from its words
    "thing": ["outline"], "act": ["draw"], "noun_act": ["draw"], "strength": [["a bit", 0.5]],
    "more": [["smaller", -1]], "than": ["than usual"], "adjective": [["tight", -1.5]],
    "outer": [["the rim", 1]], "include": ["include"], "exclude": ["omit"],
    "failing_small": ["be stingy"], "failing_large": ["overdo it"], "unit": [["mm", 1]],
    "anchor": ["the edge"],
}  # fmt: skip


def _write(words, seed=0, count=300):
    return Grammar(words, CLAUSES, seed).write(count)


@pytest.fixture(scope="module")
def written():
    return _write(WORDS)


def test_each_category_has_as_many_different_sentences(written):
    assert len({s.text for s in written}) == len(written) == 5 * 300
    for category in ("comparative", "negation", "quantity", "two_clauses"):
        own = [s.degree for s in written if s.category == category]
        assert len(own) == 300
        assert min(own) == -2
        assert max(own) == 2
        assert abs(np.mean(own)) < 0.25  # as many small as large requests


def test_a_seed_writes_the_same_sentences_and_another_one_others():
    first, again, other = (_write(WORDS, seed, 20) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("pattern", "degree"),
    [
        (r"^do not include the rim", -1),
        (r"^do not omit the rim", 1),
        (r"^without the rim", -1),
        (r"^not without the rim", 1),
        (r"^everything but the rim", -1),
        (r"^don.t be stingy\W*$", 1),
        (r"^don.t overdo it\W*$", -1),
        (r"^don.t hesitate to overdo it", 1.25),
        (r"^anything but tight", 1.5),
        (r"^it cannot be tight enough", -2),
        (r"^far from tight", 1.25),
        (r"^no smaller than usual", 0),
        (r"^neither loose nor tight", 0),
    ],
)
def test_negations_by_hand(pattern, degree):
    grammar = Grammar(ONE, CLAUSES, 0)
    drawn = [grammar._negation() for _ in range(4000)]
    found = {s.degree for s in drawn if re.search(pattern, s.text, re.IGNORECASE)}
    assert found == {degree}


def test_comparatives_by_hand():
    found = [Grammar(ONE, CLAUSES, seed)._comparative() for seed in range(50)]
    assert all("a bit smaller than usual" in s.text.lower() for s in found)
    assert {s.degree for s in found} == {-0.5}


def test_quantities_are_inside_or_outside_as_their_words_say():
    grammar, seen = Grammar(ONE, CLAUSES, 0), set()
    for _ in range(3000):
        sentence = grammar._quantity()
        text = sentence.text.lower()
        inside = re.search(r"inside|shrink|erode|trim|negative|minus|smaller|reduce|less", text)
        outside = re.search(r"outside|beyond|grow|dilate|add|pad|plus|larger|increase|bigger", text)
        if bool(inside) == bool(outside):
            continue
        assert (sentence.degree < 0) == bool(inside), text
        seen.add(bool(inside))
    assert seen == {True, False}


def test_the_second_clause_decides():
    grammar = Grammar(ONE, CLAUSES, 0)
    for _ in range(2000):
        sentence = grammar._two_clauses()
        text = sentence.text.lower()
        if re.search(r"but this time take everything|scrap that: .* take everything", text):
            assert sentence.degree == 2
        if re.search(r"but this time hug the core", text):
            assert sentence.degree == -1.75
        assert "no such clause" not in text


def test_typing_errors_leave_a_sentence_recognisable():
    """First letters, digits and word order stay; errors grow with the length."""
    generator = np.random.default_rng(0)
    text = "Do not cut off the fuzzy rim, keep 2 mm of it."
    found = [typing_errors.add(text, generator) for _ in range(200)]
    assert sum(each != text for each in found) > 190
    for each in found:
        words = each.split()
        assert [word[0].lower() for word in words] == [w[0].lower() for w in text.split()]
        assert "2" in words
        assert SequenceMatcher(None, each.lower(), text.lower()).ratio() > 0.75
    long = [typing_errors.add(3 * text, generator) for _ in range(50)]
    lost = [
        np.mean([1 - SequenceMatcher(None, each, base).ratio() for each in several]) * len(base)
        for several, base in ((found, text), (long, 3 * text))
    ]
    assert lost[1] > 1.5 * lost[0]


def test_misspelled_sentences_keep_the_degree_of_their_author(written):
    own = {s.degree for s in CLAUSES}
    misspelled = [s for s in written if s.category == "typos"]
    assert len(misspelled) == 300
    assert {s.degree for s in misspelled} == own
