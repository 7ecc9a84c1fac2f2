"""The benchmark of raters whom no training saw: their images, their card, scores and the table."""

import types

import numpy as np
import pytest

from benchmarks import new_rater
from prosona_jax.evaluation import metrics
from prosona_jax.experiments import cards
from prosona_jax.types import Record
from tests.prediction.conftest import loaded

SCALE = {"unit": "px", "spread": {"margin": 1.0}, "area_per_margin": 0.1, "slice_mm": 0.0}
STATED = {"margin": [0.0, -0.1, 0.1]}


@pytest.fixture(scope="module")
def model(trained):
    return loaded(trained[0])


@pytest.fixture(scope="module")
def images(trained, model):
    return new_rater.test_images(model, trained[0].parent / "discs.npz", 0)


def test_the_images_are_those_of_the_test_patients(model, images):
    assert {each.record.patient_id for each in images} == {*model.run.patients["test"]}
    for each in images:  # the model sees the middle, and the run sorts masks by area
        middle = each.case.mask[4:-4, 4:-4]
        assert any(np.array_equal(mask, middle) for mask in each.record.masks)


def test_a_new_rater_is_scored_on_images_that_were_not_fitted(model, images):
    found = images[:4]
    scores, said = new_rater.scores(model, found, 0, images=3, draws=1, seed=0)
    *fitted, last = np.random.default_rng(0).permutation(4).tolist()
    drawn = [found[i].case for i in fitted]
    profile = model.fit_style(
        [each.image for each in drawn], [each.mask for each in drawn], name="new rater"
    )
    assert np.isnan(scores[fitted]).all()
    image, mask = found[last].case
    own, best, mean = (
        metrics.dice(model.segment(image, **way).mask, mask)
        for way in (
            {"style": profile},
            {"style": profile.best_style},
            {"style": profile.best_style, "strength": 0.0},
        )
    )
    advised = own if profile.helped else best
    np.testing.assert_equal(scores[last].tolist(), [own, advised, np.nan, best, mean])
    assert said == []  # this model reads no habits


def described(*habits, encoder=("habit_reader",)):
    """Returns what a model says of its prompts; `habits` are those of each style."""
    styles = [{"name": f"rater {k}", "habits": own} for k, own in enumerate(habits)]
    prompts = {"encoder": dict.fromkeys(encoder), "scale": SCALE, "styles": styles}
    return types.SimpleNamespace(folder="run", run=types.SimpleNamespace(prompts=prompts))


def squares(*reaches, count=5):
    """Returns images on which each rater draws a square of that half width."""
    at = np.maximum(*np.abs(np.mgrid[-20:21, -20:21]))
    masks = np.stack([at <= reach for reach in reaches]).astype(np.uint8)
    record = Record(
        image=at[..., None].astype(np.float32),
        masks=masks,
        rater_valid=np.ones(len(masks), bool),
        patient_id="p",
        record_id="r",
        site="",
        spacing_mm=np.full(2, np.nan, np.float32),
        intensity_unit="arbitrary",
        split="",
    )
    return [
        new_rater.Image(f"r{n}", None, record._replace(patient_id=f"p{n}")) for n in range(count)
    ]


def test_a_card_compares_with_the_raters_whom_the_model_knows(monkeypatch):
    """Raters 0 and 1 are new, and rater 1 draws far outside of all others."""
    seen = {}

    def sentence(measured, rater, scale, *, seed):
        seen.update(measured=measured, rater=rater)
        return "sentence"

    monkeypatch.setattr(cards, "sentence", sentence)
    known = described({}, {}, STATED, STATED, STATED)
    assert new_rater.card(known, squares(10, 18, 8, 8, 8), 0, seed=0) == "sentence"
    margin = seen["measured"].values["margin"]
    assert margin.shape == (5, 4)
    assert seen["rater"] == 3
    np.testing.assert_allclose(margin[:, 3], 2.0, atol=0.35)
    np.testing.assert_allclose(margin[:, :3], 0.0)


def test_a_model_that_reads_no_habits_has_no_card():
    text = described(STATED, STATED, encoder=())
    assert new_rater.card(text, squares(8, 8), 0, seed=0) is None
    none = types.SimpleNamespace(run=types.SimpleNamespace(prompts=None))
    assert new_rater.card(none, squares(8, 8), 0, seed=0) is None


@pytest.mark.parametrize("card", [0.9, np.nan])
def test_the_table_has_a_row_for_each_run_and_paired_differences(card):
    row = np.array([0.8, 0.8, card, 0.7, 0.6])
    tables = {"a:0": {"x": row, "y": row + 0.1}, "b:1": {"x": row - 0.1, "y": row}}
    found = new_rater.lines(tables, 3)
    shown = not np.isnan(card)  # the column is left out if no run has it
    assert found[0].count("|") == 2 + len(new_rater.COLUMNS) - (not shown)
    assert found[2].startswith("| a:0 | 0.850 | 0.850 |")
    assert found[3].startswith("| b:1 | 0.750 | 0.750 |")
    assert found[4].startswith("| mean | 0.800 | 0.800 |")
    assert "Profile minus best style: +0.100 [+0.100, +0.100]" in found
    assert ("Card minus prior's mean: +0.300 [+0.300, +0.300]" in found) == shown
    assert len([line for line in found if " minus " in line]) == (6 if shown else 4)
