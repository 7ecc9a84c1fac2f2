"""The check of a prompt file: copies, unread words, missing kinds, separability."""

import subprocess
import sys

import pytest

from prosona_jax.experiments import prompt_check
from prosona_jax.text import encoder
from prosona_jax.text.prompts import Style
from tests.programs import ROOT

SMALL = ("Draw a very small contour.", "Keep only the solid core.")
LARGE = ("Draw a very large contour.", "Leave a wide safety margin.")


@pytest.fixture(scope="module")
def bert():
    return encoder.load(encoder.DEFAULT)


def _lines(styles, bert):
    return list(prompt_check.lines(styles, bert))


def test_copies_between_styles_and_unread_words_are_named(bert):
    styles = [
        Style("core", (*SMALL, "Draw a contour 𒀀𒀀."), ("Draw a tiny contour.",), -2.0),
        Style("margin", (*LARGE, "Draw a very small contour.."), ("Draw a huge one.",)),
    ]
    found = _lines(styles, bert)
    assert found[0] == "style core: 3 training and 1 held-out sentences, degree -2"
    copies = [line for line in found if line.startswith("near copies")]
    assert len(copies) == 1
    assert copies[0].startswith(
        "near copies: core: 'Draw a very small contour.' and margin: 'Draw a very small "
        "contour..' (similarity "
    )
    assert "unread: core, train: the encoder does not know 𒀀𒀀." in found


def test_a_kind_that_hardly_occurs_is_missing():
    many = ["Do not leave out the rim, but go 2 mm wider than usual."] * 60
    assert prompt_check.missing_kinds(many) == [
        *("a question", "at most four words", "more than twenty words")
    ]
    assert "a question" in prompt_check.missing_kinds([*many, "Wide?"])
    assert "a question" not in prompt_check.missing_kinds([*many, "Wide?", "A bit wider?"])


def test_a_sentence_with_a_length_has_one_number():
    """Two of 60 sentences are needed: one is not enough, whatever form its number has."""
    plain = ["Keep close."] * 59
    for text in ("Go 2 mm wider.", "An eighth of an inch wider."):
        assert "a number" in prompt_check.missing_kinds([*plain, text])
        assert "a number" not in prompt_check.missing_kinds([*plain, text, text])


def test_held_out_sentences_are_taken_for_the_style_of_the_nearest_sentence(bert):
    core = Style("core", SMALL, ("Draw a small contour.", "Only the solid core, please."))
    margin = Style("margin", LARGE, ("Draw a large contour.", "Keep the solid core only."))
    texts = [*SMALL, *LARGE, *core.held_out, *margin.held_out]
    read = dict(zip(texts, bert.embed(texts), strict=True))
    first, second = prompt_check.separability([core, margin], read)
    assert first == ("core", 1.0, "")
    assert second == ("margin", 0.5, "core")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("styles: [{name: a, train: [x y], held_out: [z]}]", 0),
        ("styles: [{name: a, train: [x y]}]", 2),
    ],
)
def test_a_broken_file_ends_with_one_line_and_status_2(tmp_path, content, status):
    path = tmp_path / "own.yaml"
    path.write_text(content)
    said = subprocess.run(
        [sys.executable, "-m", "prosona_jax.prompts", str(path)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert said.returncode == status, said.stderr
    if status:
        assert said.stderr == f"{path}: style 1: lacks `held_out`\n"
    else:
        assert said.stdout.startswith("style a: 1 training and 1 held-out sentences\n")
