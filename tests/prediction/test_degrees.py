"""A model that reads degrees: what it understands, draws, refuses and says of it."""

import json
import subprocess
import sys

import numpy as np
import pytest

import prosona_jax as pj
from prosona_jax.experiments import probing, sentences, stages
from prosona_jax.runtime import workdir
from prosona_jax.text.degrees import Sentence
from tests.prediction.conftest import loaded
from tests.programs import ROOT

RISING = [
    "Draw the smallest contour you can justify.",
    "Make it slightly tighter than usual.",
    "Draw the usual outline.",
    "Make it slightly larger than usual.",
    "Draw the largest contour that anyone might draw.",
]


@pytest.fixture(scope="module")
def model(reads_degrees):
    return loaded(reads_degrees)


@pytest.fixture
def image(trained):
    return pj.read_image(trained[0].parent / "discs.npz", slice_index=5)


def test_a_sentence_is_read_as_a_degree_without_any_image(model):
    readings = model.read(RISING)
    degrees = [reading.degree for reading in readings]
    assert degrees == sorted(degrees)
    assert degrees[0] < -1.5
    assert degrees[-1] > 1.5
    assert [reading.style for reading in readings[::4]] == ["core", "margin"]
    assert not any(reading.far for reading in readings)
    assert readings[0].understood.startswith("far inside the usual outline, degree -")
    assert readings[0].nearest is readings[0].similarity is None


def test_more_generous_sentences_draw_more(model, image):
    areas = [drawn.mask.sum() for drawn in model.segment(image, RISING)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_the_checkpoint_carries_the_reader(reads_degrees):
    run = workdir.read(reads_degrees)
    *_, second = stages.read_stages(reads_degrees, run)
    described = run.prompts["encoder"]
    assert described["dim"] == 1
    assert second.text["degree_reader"].shape == (described["degree_reader"]["size"],)
    mean = second.text["train"][..., 0].mean(axis=1)
    np.testing.assert_allclose(mean, [-2, -1, 1, 2], atol=0.35)


def test_what_was_understood_stands_in_record_and_caveats(model, image, tmp_path):
    asked = [RISING[0], "Segment the heart."]
    record = pj.save(model.segment(image, asked), image, tmp_path / "out")
    core, heart = record["prompts"]
    assert core["understood"].startswith("far inside the usual outline")
    assert (core["far"], heart["far"]) == (False, True)
    assert core["degree"] == model.read(asked)[0].degree
    assert json.loads((tmp_path / "out" / "prediction.json").read_text()) == record
    (caveat,) = (c for c in record["caveats"] if "hardly understood" in c)
    assert caveat.startswith("The prompt 'Segment the heart.' was hardly understood: the model ")


@pytest.mark.parametrize("force", [False, True])
def test_the_command_refuses_what_it_does_not_understand(reads_degrees, image, tmp_path, force):
    out = tmp_path / "out"
    said = subprocess.run(
        [
            *(sys.executable, "-m", "prosona_jax.predict", f"--workdir={reads_degrees}"),
            *(f"--image={image.path}", "--slice=5", f"--output={out}"),
            *("--prompt=Segment the heart.", *(["--force"] if force else [])),
        ],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert said.returncode == (0 if force else 2), said.stderr
    assert out.exists() == force
    if not force:
        assert said.stderr.splitlines()[-1] == (
            "the prompt 'Segment the heart.' was not understood: it contradicts itself, is not "
            "English, or does not say how generous the outline shall be; reword it, or draw it "
            "anyway with --force"
        )


def test_a_probe_scores_what_is_drawn(reads_degrees):
    asked = [
        Sentence(text, degree, "plain", "a")
        for text, degree in zip(RISING, (-2.0, -0.5, 0.0, 0.5, 2.0), strict=True)
    ]
    asked += [Sentence("Segment the heart.", None, "offtopic", "a")]
    plain, offtopic = probing.scores(reads_degrees, asked)
    assert plain.spearman == pytest.approx(1)
    assert plain.pairs == 1
    assert offtopic.auroc == 1


@pytest.mark.parametrize(
    ("degree", "words"),
    [
        (-1.75, "far inside the usual outline"),
        (-1.2, "clearly inside the usual outline"),
        (-0.6, "somewhat inside the usual outline"),
        (-0.2, "slightly inside the usual outline"),
        (0.19, "the usual outline"),
        (0.2, "slightly outside the usual outline"),
        (2.2, "far outside the usual outline"),
    ],
)
def test_a_degree_in_words(degree, words):
    assert sentences.in_words(degree) == words
