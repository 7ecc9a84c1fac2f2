"""Sentences with degrees: the published files, and the errors of faulty ones."""

import collections
import hashlib
import pathlib

import pytest

from prosona_jax.text import degrees, prompts
from prosona_jax.text.degrees import Sentence
from prosona_jax.types import InputError

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "configs" / "prompts"
CATEGORIES = {
    *("plain", "colloquial", "jargon", "negation", "comparative", "quantity", "two_clauses"),
    *("typos", "languages", "contradiction", "offtopic"),
}


def _plain(text):
    return " ".join(text.lower().split()).rstrip(".!?")


@pytest.fixture(scope="module")
def probe():
    return degrees.read(FOLDER / "probe")


@pytest.fixture(scope="module")
def train():
    return degrees.read(FOLDER / "degrees")


def test_the_probe_is_as_it_was_frozen(probe):
    """A changed sentence would make scores of different days incomparable."""
    files = sorted((FOLDER / "probe").glob("*.yaml"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert digest == "6f8c63a9edd6634dafc0cb5aff67d7f70ef9ff06585c72f29861d3728a746445"
    counts = collections.Counter(sentence.category for sentence in probe)
    assert set(counts) == CATEGORIES
    assert min(counts.values()) == 64
    assert len(probe) == 768
    assert {sentence.author for sentence in probe} == set("ABCDEFGH")


def test_both_halves_of_the_probe_have_every_category(probe):
    counts = collections.Counter((s.category, s.half) for s in probe)
    assert len(counts) == 2 * len(CATEGORIES)
    assert min(counts.values()) >= 25


def test_no_training_sentence_is_a_test_sentence(probe, train):
    text = (FOLDER / "lidc.yaml").read_text(encoding="utf-8")
    styles = prompts.parse(text, "lidc.yaml").styles
    own = {_plain(sentence) for style in styles for sentence in style.train}
    tested = {_plain(s.text) for s in probe}
    tested |= {_plain(sentence) for style in styles for sentence in style.held_out}
    assert not tested & ({_plain(s.text) for s in train} | own)


def test_training_sentences_are_many_distinct_and_have_degrees_where_they_can(train):
    assert len(train) > 3000
    assert len({_plain(s.text) for s in train}) == len(train)
    for sentence in train:
        unanswerable = sentence.category in ("languages", "contradiction", "offtopic")
        assert (sentence.degree is None) == unanswerable


def test_degrees_of_lengths_and_shares_are_cut_at_the_limits():
    assert [degrees.of_mm(mm) for mm in (-3.0, -0.25, 0.0, 0.1)] == [-2, -1, 0, pytest.approx(0.4)]
    assert [degrees.of_percent(x) for x in (-50.0, 5.0, 20.0, 21.0)] == [-2, 0.5, 2, 2]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("category: [", "not valid YAML"),
        ("category: plain", "needs `category` and a list `sentences`"),
        ("sentences: [{text: a}]", "sentence 1: needs `text` and `degree`"),
        ("sentences: [{text: ' ', degree: 0}]", "sentence 1: `text` is ' '; put a sentence in"),
        (
            "sentences: [{text: a, degree: 0}, {text: b, degree: 2.5}]",
            "sentence 2: `degree` is 2.5; give a number from -2 to 2, or null",
        ),
        ("sentences: [{text: a, degree: true}]", "sentence 1: `degree` is True"),
    ],
)
def test_a_faulty_file_is_one_line_with_the_sentence(tmp_path, content, fault):
    (tmp_path / "plain.yaml").write_text(content)
    with pytest.raises(InputError) as caught:
        degrees.read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'plain.yaml'}: ")
    assert fault in str(caught.value)


def test_a_folder_without_sentences_is_refused(tmp_path):
    (tmp_path / "grammar.yaml").write_text("thing: [a]")
    with pytest.raises(InputError, match="holds no YAML file of sentences"):
        degrees.read(tmp_path)


def test_blanks_are_single_and_the_category_is_the_files_own(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "category: plain\nsentences: [{text: ' a  b ', degree: null, author: Z}]"
    )
    assert degrees.read(tmp_path) == [Sentence("a b", None, "plain", "Z")]
