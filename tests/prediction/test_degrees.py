"""A model that reads degrees: what it understands, draws, refuses and says of it."""

import json
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
import yaml

import prosona_jax as pj
from prosona_jax.experiments import probing, sentences, stages
from prosona_jax.report import figures, language_summary
from prosona_jax.report.figures import Panel
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
    own = described["degree_reader"]
    assert second.text["degree_reader"].shape == (own["members"], own["size"])
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
            *(sys.executable, "-m", "prosona_jax.predict", f"--model={reads_degrees}"),
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


def test_a_probe_scores_what_is_drawn(reads_degrees, tmp_path):
    asked = [
        Sentence(text, degree, "plain", "a")
        for text, degree in zip(RISING, (-2.0, -0.5, 0.0, 0.5, 2.0), strict=True)
    ]
    asked += [Sentence("Segment the heart.", None, "offtopic", "a")]
    measured = probing.measure([str(reads_degrees)], asked)
    plain, offtopic = probing.scores(asked, measured)
    assert plain.spearman.mean == pytest.approx(1)
    assert plain.pairs == 1
    assert offtopic.auroc.mean == 1
    twice = probing.measure([str(reads_degrees)] * 2, asked)
    np.testing.assert_allclose(twice, measured, rtol=1e-6)
    probing.write(str(tmp_path / "probe.csv"), asked, measured)
    first, *_, last = (tmp_path / "probe.csv").read_text().splitlines()[1:]
    assert first == f"plain,{RISING[0]},-2,{measured[0][0]:.6f},{measured[1][0]:.6f}"
    assert last.startswith("offtopic,Segment the heart.,,")


def test_a_report_shows_rising_and_misread_sentences(reads_degrees, trained, tmp_path):
    """Four sentences are right, and the largest of all is labelled as the smallest."""
    right = [(RISING[0], -1.5), (RISING[1], -0.5), (RISING[3], 0.5), (RISING[4], 2.0)]
    wrong = ("Take everything, with a wide margin, as large as it gets.", -2.0)
    rows = [{"text": text, "degree": degree, "author": "a"} for text, degree in [*right, wrong]]
    for category, chosen in (("plain", rows[:4]), ("jargon", rows[4:])):
        content = {"category": category, "sentences": chosen}
        (tmp_path / f"{category}.yaml").write_text(yaml.safe_dump(content))
    run = workdir.read(reads_degrees)
    config = ml_collections.ConfigDict(run.config)
    config.prompts.probe = str(tmp_path)
    _, stage_one, second = stages.read_stages(reads_degrees, run)
    data = trained[1]
    shown = int(data.indices["test"][0])
    language = probing.of_run(reads_degrees, run, config, stage_one, second, data, shown)
    assert sum(score.sentences for score in language.scores) == 5
    assert [each.degree for each in language.rising] == [-1.5, -0.5, 0.5, 2]
    areas = [(each.prob > 0.5).sum() for each in language.rising]
    assert areas == sorted(areas)
    assert language.worst[0].sentence == wrong[0]
    record = data.dataset[shown]
    panel = Panel(
        record_id="r", image=record.image[..., 0], masks=record.masks,
        rater_valid=record.rater_valid, probs=np.zeros((1, 32, 32), np.float32),
        prompted=None, spacing_mm=record.spacing_mm,
    )  # fmt: skip
    section = language_summary.section(language, panel, figures.png)
    text, table, rising, misread = section.blocks
    assert f"on {language.records} images" in text.body
    assert [row[0] for row in table.rows] == [score.category for score in language.scores]
    assert (rising.name, misread.name) == ("rising", "misread")


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
