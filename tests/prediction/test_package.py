"""A model folder draws as its workdir does, holds nothing private, and is written as a whole."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys

import ml_collections
import numpy as np
import pytest
import safetensors.numpy
import yaml

import prosona_jax as pj
from prosona_jax.evaluation.intervals import Interval
from prosona_jax.evaluation.probe import Score
from prosona_jax.experiments import runs
from prosona_jax.prediction import model_card, package
from prosona_jax.prediction.trained import read
from prosona_jax.report import document
from prosona_jax.runtime import workdir
from tests.prediction.conftest import SENTENCES, loaded, refusal
from tests.programs import ROOT

IDS = [f"LIDC-IDRI-{number:04d}" for number in range(48)]
LICENCE = "Discs, CC BY 4.0, https://example.org/discs"


@pytest.fixture(scope="module")
def evaluated(reads_degrees, trained, tmp_path_factory):
    """A workdir with a report, whose patients have ids that other bytes cannot be by chance."""
    folder = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(reads_degrees, folder)
    run = workdir.read(folder)
    runs._report(ml_collections.ConfigDict(run.config), folder, folder / "report", trained[1])
    ids = iter(IDS)
    patients = {split: [next(ids) for _ in own] for split, own in run.patients.items()}
    workdir.write(folder, run._replace(patients=patients))
    path = folder / "report" / "report.json"
    report = json.loads(path.read_text())
    report["caveats"].append(f"One patient weighs most: {IDS[0]!r} holds 9 of 9 records.")
    path.write_text(json.dumps(report))
    return folder


@pytest.fixture(scope="module")
def exported(evaluated, tmp_path_factory):
    """Its model folder. The tiny model has no large arrays, so smaller ones are rounded."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(package, "LARGE", 200)
        return pj.export(evaluated, folder, license="cc-by-4.0", data_license=LICENCE)


@pytest.fixture
def image(trained):
    return pj.read_image(trained[0].parent / "discs.npz", slice_index=5, spacing_mm=(0.7, 0.7))


def contours(model, image):
    sentences, styles = list(SENTENCES), [style.name for style in model.styles]
    drawn = [model.segment(image, style=style) for style in styles]
    return [*model.segment(image, sentences), *drawn, *model.sample(image, 4)]


def assert_draws_as(model, other, image):
    """Probabilities differ by less than 1e-3, and masks in no more than 2 pixels of 17600."""
    drawn, expected = contours(model, image), contours(other, image)
    assert len(drawn) == 11
    for one, two in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(one.probability, two.probability, atol=1e-3, rtol=0)
    pairs = zip(drawn, expected, strict=True)
    assert sum((one.mask != two.mask).sum() for one, two in pairs) <= 2
    masks = np.stack([each.mask for each in expected[:1]])
    both = (each.latent(image, masks=masks) for each in (model, other))
    np.testing.assert_allclose(*both, atol=1e-2)


def test_an_exported_model_draws_and_reads_as_its_workdir(exported, reads_degrees, image):
    model, other = pj.load(exported), loaded(reads_degrees)
    stored = safetensors.numpy.load_file(exported / "model.safetensors")
    large = {name: x.size >= 200 for name, x in stored.items()}
    assert {x.dtype for name, x in stored.items() if large[name]} == {np.dtype(np.float16)}
    assert {x.dtype for name, x in stored.items() if not large[name]} == {np.dtype(np.float32)}
    assert_draws_as(model, other, image)
    asked = [*SENTENCES, "Go 9 mm outside of the edge.", "Segment the heart."]
    assert model.read(asked) == other.read(asked)
    assert model.styles == other.styles
    assert model.caveats == other.caveats


def test_a_model_that_reads_embeddings(trained, image, tmp_path):
    folder = pj.export(trained[0], tmp_path / "model")
    model, other = pj.load(folder), loaded(trained[0])
    assert_draws_as(model, other, image)
    held_out = other.run.prompts["styles"][2]["held_out"][:5]
    assert model.read([*SENTENCES, *held_out]) == other.read([*SENTENCES, *held_out])
    stored = safetensors.numpy.load_file(folder / "prompts.safetensors")
    assert {name: x.dtype for name, x in stored.items()} == dict.fromkeys(
        ("train", "held_out"), np.float32
    )


def test_the_folder_has_the_layout_of_the_hub_and_sums_as_sha256sum_writes_them(
    exported, evaluated
):
    assert {path.name for path in exported.iterdir()} == set(package.FILES)
    lines = (exported / "SHA256SUMS").read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((exported / name).read_bytes()).hexdigest()}  {name}"
        for name in (
            *("config.json", "model.safetensors", "prompts.safetensors"),
            *("in_distribution.json", "README.md"),
        )
    ]
    described = json.loads((exported / "config.json").read_text())
    assert (described["format"], described["format_version"]) == ("prosona_jax", 1)
    assert described["steps"] == {"stage_one": 300, "stage_two": 300}
    run = workdir.read(evaluated)
    assert described["patients"] == {split: len(ids) for split, ids in run.patients.items()}
    assert run.records == {"train": 11, "validation": 4, "test": 9, "all": 24}
    assert described["run"]["records"] == run.records
    assert pj.load(exported).run == run._replace(patients={}, config=described["run"]["config"])
    names = safetensors.numpy.load_file(exported / "model.safetensors")
    assert "stage_one/fcomb/features/kernel" in names
    assert names["stage_two/query/Dense_0/kernel"].shape == (4, 6)
    text = safetensors.numpy.load_file(exported / "prompts.safetensors")
    assert text["degree_reader"].dtype == np.float16
    assert text["train"].shape == (4, 40, 1)


def test_no_patient_and_no_path_of_the_machine_is_in_any_file(exported, evaluated, trained):
    content = b"".join(path.read_bytes() for path in exported.iterdir())
    assert IDS[0].encode() in (evaluated / "run.json").read_bytes()
    assert str(trained[0].parent).encode() in (evaluated / "run.json").read_bytes()
    unwanted = [*IDS, str(trained[0].parent), str(evaluated), "discs.npz", "prosona_jax/configs"]
    assert [each for each in unwanted if each.encode() in content] == []
    assert not any(f'"p{number:02d}' in content.decode(errors="replace") for number in range(24))


def test_the_folder_of_a_text_encoder_becomes_its_name(evaluated, tmp_path):
    run = workdir.read(evaluated)
    (tmp_path / "encoders" / "own").mkdir(parents=True)
    run.prompts["encoder"]["name"] = str(tmp_path / "encoders" / "own")
    moved = with_run(evaluated, tmp_path / "run", run)
    folder = pj.export(moved, tmp_path / "model")
    described = json.loads((folder / "config.json").read_text())
    assert described["run"]["prompts"]["encoder"]["name"] == "own"
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in folder.iterdir())


def with_run(folder, copy, run):
    """Makes a workdir with the stages of another one, and a run.json of its own."""
    workdir.write(copy, run)
    for stage in ("stage_one", "stage_two"):
        (copy / stage).symlink_to(folder / stage)
    return copy


def test_the_model_card_says_what_the_model_is(exported, evaluated):
    card = (exported / "README.md").read_text()
    _, front, page = card.replace("\N{NO-BREAK SPACE}", " ").split("---\n", 2)
    assert yaml.safe_load(front) == {
        "library_name": "prosona_jax",
        "pipeline_tag": "image-segmentation",
        "tags": [
            "jax", "medical", "image-segmentation", "uncertainty", "inter-rater-variability",
        ],
        "license": "cc-by-4.0",
    }  # fmt: skip
    run = workdir.read(evaluated)
    report = json.loads((evaluated / "report" / "report.json").read_text())
    for style in run.prompts["styles"]:
        quoted = " ".join(f"“{sentence}”" for sentence in style["train"][:3])
        assert f"| {style['name']} | {quoted} |\n" in page
        assert style["train"][3] not in page
    dice = report["styles"]["prompts_held_out"]["dice_mean"]
    mean, low, high = (f"{100 * dice[name]:.1f}" for name in ("mean", "low", "high"))
    assert f"{mean} [{low}, {high}] |\n" in page
    ged = report["metrics"]["ged"]
    mean, low, high = (f"{ged[name]:.3f}" for name in ("mean", "low", "high"))
    assert f"| GED@6 | lower | {mean} [{low}, {high}] |" in page
    for line in (
        "# ProSona: outlines in 4 styles",
        "> **Caution:** Research use only, no clinical evidence.",
        "> **Caution:** Model trained on simulated images.",
        "> **Caution:** One patient weighs most.",
        "| train | 11 patients, 11 records |",
        "| validation | 4 patients, 4 records |",
        "| test | 9 patients, 9 records |",
        "| images | simulated: rendered from known shapes |",
        "| unit of the values | arbitrary |",
        "| size of a pixel | unknown |",
        f"| SHA-256 of the prepared data | {run.data_digest} |",
        "| stage one | 300 steps; the best, 300, is used |",
        "| stage two | 300 steps; the best, 300, is used |",
        "| seed | 0 |",
        f"| commit at the evaluation | {report['provenance']['commit'] or 'unknown'} |",
        "| model | cc-by-4.0 |",
        f"| training data | {LICENCE} |",
    ):
        assert line in page.splitlines()


def test_the_card_without_report_and_licence_says_so(trained, tmp_path):
    card = (pj.export(trained[0], tmp_path / "model") / "README.md").read_text()
    assert "This model was not evaluated: its workdir has no report." in card
    assert "license" not in card.split("---\n", 2)[1]
    assert "| model | not stated |" in card
    assert (
        "| training data | not stated: who publishes this model must add the licence and the "
        "citation of the data |"
    ) in card


def test_the_card_has_the_scores_of_test_sentences(evaluated):
    path = evaluated / "report" / "report.json"
    none = Interval(np.nan, None, None)
    scores = [
        Score("two_clauses", 9, Interval(0.987, 0.9, 0.996), 0.75, none),
        Score("offtopic", 3, none, np.nan, Interval(0.5, 0.25, 1.0)),
    ]
    stored = json.loads(document._json({"language": [score._asdict() for score in scores]}))
    report = json.loads(path.read_text()) | stored
    card = model_card.write(read(evaluated), report, license="", data_license="")
    assert "| two clauses | 9 | 0.99 [0.90, 1.00] | 0.75 |  |\n" in card
    assert "| offtopic | 3 |  |  | 0.50 [0.25, 1.00] |\n" in card


def test_a_report_of_other_checkpoints_or_a_damaged_one_is_refused(evaluated, tmp_path):
    (tmp_path / "run").mkdir()
    moved = with_run(evaluated, tmp_path / "run", workdir.read(evaluated))
    path = moved / "report" / "report.json"
    path.parent.mkdir()
    for content, fault in (
        ('{"provenance": {"checkpoint": "stage one: step 7"}}', "scores other checkpoints (stage "),
        ("{}", "is damaged ('provenance')"),
        ("{", "is damaged (Expecting property name"),
    ):
        path.write_text(content)
        said = refusal(pj.export, moved, tmp_path / "model")
        assert said.startswith(f"{path}: {fault}")
        assert said.endswith("; start the training again, which writes the report anew")
        assert not (tmp_path / "model").exists()


def test_what_was_left_unfinished_is_said_without_the_workdir(evaluated, tmp_path):
    run = workdir.read(evaluated)
    run.config["stage_two"]["steps"] = 900
    model = pj.load(pj.export(with_run(evaluated, tmp_path / "run", run), tmp_path / "model"))
    caveat = (
        "Training unfinished: stage two was trained for 300 of 900 steps, and its best checkpoint "
        "so far is used."
    )
    assert model.caveats[-1] == caveat
    assert f"> **Caution:** {caveat}\n" in (tmp_path / "model" / "README.md").read_text()


def test_a_model_without_a_second_stage(evaluated, image, tmp_path):
    run = workdir.read(evaluated)
    run.config["stage_two"]["query"] = "none"
    folder = with_run(evaluated, tmp_path / "run", run._replace(prompts=None))
    model = pj.load(pj.export(folder, tmp_path / "model"))
    assert not (tmp_path / "model" / "prompts.safetensors").exists()
    assert model.styles == []
    one, other = (each.sample(image, 2)[1] for each in (model, pj.load(folder)))
    np.testing.assert_array_equal(one.probability, other.probability)
    assert "The model has no styles." in (tmp_path / "model" / "README.md").read_text()


def test_an_export_is_complete_or_changes_nothing(trained, exported, tmp_path, monkeypatch):
    copy = shutil.copytree(exported, tmp_path / "copy")
    before = {path: path.read_bytes() for path in copy.iterdir()}
    write_bytes = pathlib.Path.write_bytes

    def fail_late(path, content):
        if path.name == "SHA256SUMS":
            raise OSError("disk full")
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", fail_late)
        for folder in (copy, tmp_path / "new"):
            said = refusal(pj.export, trained[0], folder)
            assert said == f"{folder}: cannot be written (disk full); choose another folder"
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert {path: path.read_bytes() for path in copy.iterdir()} == before
    pj.export(trained[0], copy)  # an earlier model is replaced
    assert "not evaluated" in (copy / "README.md").read_text()


def test_the_command(evaluated, tmp_path):
    def run(output):
        return subprocess.run(
            [
                *(sys.executable, "-m", "prosona_jax.export"),
                *(f"--workdir={evaluated}", f"--output={output}"),
            ],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip

    folder = tmp_path / "model"
    said = run(folder)
    assert said.returncode == 0, said.stderr
    assert f"{folder}/model.safetensors: " in said.stderr
    assert {path.name for path in folder.iterdir()} == set(package.FILES)
    refused = run(evaluated)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert (evaluated / "run.json").exists()
