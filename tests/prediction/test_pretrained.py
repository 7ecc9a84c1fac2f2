"""The model that comes with the package, on the real CT that comes with it."""

import pathlib

import numpy as np
import pytest

import prosona_jax as pj
from data_pipelines import npz, splits
from data_pipelines.examples import PATH
from prosona_jax.evaluation import metrics

FOLDER = pathlib.Path(pj.__file__).parent / "pretrained" / "lidc"


@pytest.fixture(scope="module")
def model():
    return pj.load()


def test_it_is_small_and_its_card_has_results():
    size = sum(path.stat().st_size for path in [PATH, *FOLDER.iterdir()])
    assert size < 15e6
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for said in (
        "CC BY 3.0",
        "148 records of 95 patients",
        "Research use only",
        "| negation | 42 |",
    ):
        assert said in card


def test_it_is_found_without_a_name_and_by_its_name(model, tmp_path, monkeypatch):
    assert model.folder == FOLDER
    assert pj.load("lidc").folder == FOLDER
    monkeypatch.chdir(tmp_path)
    pathlib.Path("lidc").mkdir()
    with pytest.raises(pj.InputError, match="lidc/run.json is absent"):
        pj.load("lidc")


def test_no_example_is_of_a_patient_of_its_training(model):
    data = model.config.data
    patients = npz.texts(PATH, "patient_id", npz.read(PATH, ("patient_id",))["patient_id"])
    parts = splits.assign(
        patients.tolist(), [""] * len(patients),
        folds=data.folds, fold=data.fold, validation_share=data.validation_share, needed=(),
    )  # fmt: skip
    np.testing.assert_array_equal(parts["test"], np.arange(12))


def test_its_styles_are_those_of_the_raters(model):
    """Style k against the k-th smallest mask; on its 148 test records the mean Dice is .88."""
    found = []
    for example in pj.examples():
        ranked = sorted(example.masks, key=np.sum)
        drawn = [model.segment(example.image, style=style.name) for style in model.styles]
        found.append([metrics.dice(a.mask, b) for a, b in zip(drawn, ranked, strict=True)])
        areas = [each.mask.sum() for each in drawn]
        assert areas == sorted(areas)
    assert np.mean(found) == pytest.approx(0.899, abs=0.003)


def test_sentences_visibly_work(model):
    """No training sentence is among them."""
    rising = [
        "stay well within the borders, i only want the part nobody would argue about",
        "not quite as roomy as you normally do it",
        "the ordinary outline please",
        "don't be so stingy, take a bit more of the fuzzy edge",
        "give it lots of breathing room all round",
    ]
    ratios = []
    for example in pj.examples():
        areas = [each.area_mm2 for each in model.segment(example.image, rising)]
        assert areas == sorted(areas)
        ratios.append(areas[-1] / areas[0])
    assert min(ratios) > 1.15
    assert np.median(ratios) > 1.35
