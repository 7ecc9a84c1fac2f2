"""Prompt files: the content of the published ones, and the errors of faulty ones."""

import difflib
import hashlib
import pathlib

import numpy as np
import pytest
import yaml

from prosona_jax.text import prompts
from prosona_jax.types import InputError

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "configs" / "prompts"


def _file(name):
    return prompts.parse((FOLDER / name).read_text(encoding="utf-8"), name).styles


@pytest.fixture(scope="module")
def lidc():
    return _file("lidc.yaml")


def _small(name="a", train=("Draw little.",), held_out=("Draw less.",)):
    return {"name": name, "train": list(train), "held_out": list(held_out)}


def _large():
    return _small("b", ["Draw much."], ["Draw more."])


def _parse(*styles):
    return prompts.parse(yaml.safe_dump({"styles": list(styles)}), "p.yaml").styles


def _fault(text):
    with pytest.raises(InputError) as fault:
        prompts.parse(text, "p.yaml")
    return str(fault.value)


def test_lidc_has_four_styles_with_held_out_sentences(lidc):
    assert [style.name for style in lidc] == ["core", "tight", "full", "margin"]
    assert [(len(style.train), len(style.held_out)) for style in lidc] == [(228, 37)] * 4
    assert lidc[0].held_out[0] == "Hug the solid core."


def test_cells_has_one_style_for_each_person_with_each_tool():
    styles = _file("cells.yaml")
    names = [f"P{person}-{tool}" for person in range(1, 6) for tool in ("Amira", "ImageJ")]
    assert [style.name for style in styles] == names
    assert {len(style.train) for style in styles} == {27, 29, 30}
    assert {len(style.held_out) for style in styles} == {10}


@pytest.mark.parametrize("name", ["lidc.yaml", "cells.yaml"])
def test_no_held_out_sentence_is_almost_a_training_sentence(name):
    styles = _file(name)
    trained = [s for style in styles for s in style.train]
    held_out = [s for style in styles for s in style.held_out]
    matcher = difflib.SequenceMatcher(autojunk=False)
    for sentence in trained:
        matcher.set_seq2(sentence)  # what it prepares, all comparisons with this sentence share
        for own in held_out:
            matcher.set_seq1(own)
            # The first two are upper bounds of the third, and faster.
            near = (matcher.real_quick_ratio, matcher.quick_ratio, matcher.ratio)
            assert any(bound() < 0.75 for bound in near), (own, sentence)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("lidc.yaml", "e849e9642584970ae419c32b9b951d57458f2f5764124b44b622fd072ac596ad"),
        ("cells.yaml", "52f01fbb6f3529be9f2070c4ea4a30d460f423c4d972f692e76d991d659bd23d"),
    ],
)
def test_the_held_out_sentences_have_never_changed(name, digest):
    """They were written before the first training. A later change could follow known scores."""
    text = "\n".join(sentence for style in _file(name) for sentence in style.held_out)
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_parse_keeps_order_and_folds_white_space():
    small = _small(" a ", ["Draw\n  little.", "Tiny."], ["Draw  less."])
    assert _parse(small, _large()) == (
        prompts.Style("a", ("Draw little.", "Tiny."), ("Draw less.",)),
        prompts.Style("b", ("Draw much.",), ("Draw more.",)),
    )


def test_the_error_of_broken_yaml_is_one_line():
    fault = _fault("styles: [a\nb: {")
    assert fault.startswith("p.yaml: not valid YAML (while parsing a flow ")
    assert fault.endswith("); correct the file")
    assert "\n" not in fault


@pytest.mark.parametrize("text", ["", "- a", "style: [a]", "styles: []", "styles: {a: b}"])
def test_a_file_without_styles_is_refused(text):
    assert _fault(text) == "p.yaml: has no list `styles`; see configs/prompts/lidc.yaml"


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ("b", "p.yaml: style 2: must be a mapping with name, train, held_out"),
        ({"name": "b", "train": ["Big."]}, "p.yaml: style 2: lacks `held_out`"),
        ({"train": ["Big."], "held_out": ["Huge."]}, "p.yaml: style 2: lacks `name`"),
        (_large() | {"weight": 2}, "p.yaml: style 2: has an unknown field `weight`"),
        (_large() | {"name": 2}, "p.yaml: style 2: `name` is 2, not a word"),
        (_large() | {"name": " "}, "p.yaml: style 2: `name` is ' ', not a word"),
        (_large() | {"train": []}, "p.yaml: style 2 (b): `train` must be a list of sentences"),
        (
            _large() | {"held_out": "Huge."},
            "p.yaml: style 2 (b): `held_out` must be a list of sentences",
        ),
        (
            _large() | {"train": ["Big.", " "]},
            "p.yaml: style 2 (b): `train` holds ' ', not a sentence; put it in quotes",
        ),
        (
            _large() | {"train": ["Big.", "\u200b"]},
            "p.yaml: style 2 (b): `train` holds '\\u200b', not a sentence; put it in quotes",
        ),
        (
            _large() | {"train": ["Big \ud800."]},
            "p.yaml: style 2 (b): `train` holds 'Big \\ud800.', not a sentence; put it in quotes",
        ),
        (
            _large() | {"held_out": [4]},
            "p.yaml: style 2 (b): `held_out` holds 4, not a sentence; put it in quotes",
        ),
        (_large() | {"name": "a"}, "p.yaml: the style 'a' occurs twice; keep one"),
        (
            _large() | {"train": ["  draw LESS "]},
            "p.yaml: the sentence 'draw less' occurs twice; keep one",
        ),
        (
            _large() | {"train": ["Big.", "big"]},
            "p.yaml: the sentence 'big' occurs twice; keep one",
        ),
    ],
)
def test_a_faulty_style_is_refused_in_one_line(style, message):
    assert _fault(yaml.safe_dump({"styles": [_small(), style]})) == message


def test_a_style_can_have_the_sentences_of_an_earlier_one():
    first, second, third = _parse(_small(), _large(), {"name": "c", "same_as": "a"})
    assert third == first._replace(name="c", same_as="a")
    assert prompts.distinct([first, second, third]) == [first, second]
    described = [prompts.describe(style) for style in (first, second, third)]
    assert described[2]["train"] == ["Draw little."]
    assert prompts.cards(described) == {"a and c": [0, 2], "b": [1]}


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"name": "c", "same_as": "d"}, "'d'; name an earlier style with sentences of its own"),
        ({"name": "c", "same_as": "c"}, "'c'; name an earlier style with sentences of its own"),
        ({"same_as": "a"}, "lacks `name`"),
        ({"name": "c", "same_as": "a", "train": []}, "so `train` comes from that style; delete it"),
    ],
)
def test_a_faulty_reference_to_a_style_is_refused(style, message):
    fault = _fault(yaml.safe_dump({"styles": [_small(), _large(), style]}))
    assert fault.startswith("p.yaml: style 3: ")
    assert fault.endswith(message)


def test_a_caveat_is_read_with_the_styles():
    text = yaml.safe_dump({"styles": [_small()]})
    assert prompts.parse(text, "p.yaml").caveat is None
    folded = "caveat: >-\n  Known images: a\n  table.\n"
    assert prompts.parse(folded + text, "p.yaml").caveat == "Known images: a table."
    assert _fault("caveat: hm\n" + text).startswith(
        "p.yaml: `caveat` must be a text such as 'Short"
    )


def test_the_number_of_styles_must_be_the_number_of_masks():
    styles = _parse(_small(), _large())
    prompts.check_count(styles, 2, "p.yaml")
    for raters in (1, 3):
        with pytest.raises(InputError) as fault:
            prompts.check_count(styles, raters, "p.yaml")
        assert str(fault.value) == (
            f"p.yaml: 2 styles (a, b) for {raters} masks per image; style k describes mask k, so "
            "there must be as many"
        )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("styles: [{name: a, train: [x], train: [y], held_out: [z]}]", "train"),
        ("styles: []\nstyles: [{name: a, train: [x], held_out: [z]}]", "styles"),
    ],
)
def test_a_key_that_occurs_twice_is_refused(text, key):
    message = _fault(text)
    assert message.startswith(f"p.yaml: not valid YAML (the key '{key}' occurs twice in ")
    assert "line" in message


def test_the_error_of_an_impossible_date_is_one_line():
    message = _fault("styles:\n- 2024-02-30")
    assert message == "p.yaml: not valid YAML (day is out of range for month); correct the file"


def test_the_error_of_deeply_nested_brackets_is_one_line():
    assert _fault("[" * 5000).startswith("p.yaml: not valid YAML (maximum recursion depth exceeded")


def test_a_list_as_a_key_is_refused():
    assert _fault("? [a, b]\n: c").startswith(
        "p.yaml: not valid YAML (while constructing a mapping"
    )


def test_an_unknown_field_beside_the_styles_is_named():
    text = "style: [{name: b}]\nstyles: [{name: a, train: [x], held_out: [z]}]"
    assert _fault(text) == (
        "p.yaml: has an unknown field `style`; the fields are `styles`, `caveat` and `scale`"
    )


def test_the_similarity_is_the_cosine_with_the_nearest_training_sentence():
    at = lambda *degrees: np.stack(  # noqa: E731
        [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1
    )
    trained = at(0.0, 90.0, 90.0)
    index, similarity = prompts.nearest(at(30.0, 80.0, 180.0), trained)
    assert index.tolist() == [0, 1, 1]  # the first of two equal ones
    np.testing.assert_allclose(similarity, [3**0.5 / 2, np.cos(np.radians(10)), 0], atol=1e-12)
    # The nearest training sentence is 30 degrees from 60 degrees, and 135 degrees from 225 degrees.
    # Of 21 sentences, the second farthest is the measure, so that one odd sentence does not count.
    assert prompts.least_familiar(at(*[60.0] * 20, 225.0), trained) == pytest.approx(3**0.5 / 2)
    odd = prompts.least_familiar(at(*[60.0] * 19, 225.0, 225.0), trained)
    assert odd == pytest.approx(-(0.5**0.5))
