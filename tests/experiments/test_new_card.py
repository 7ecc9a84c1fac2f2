"""Cards of a rater who drew nothing in training, and of one who is new to a trained model."""

import numpy as np
import pytest

from data_pipelines import habits
from prosona_jax.experiments import cards
from prosona_jax.text import prompts
from prosona_jax.text.habits import Scale
from prosona_jax.types import InputError, Record

SCALE = Scale("px", {"margin": 1.0, "tips": 0.05}, 0.1, 0.0)
NAMES = ["Ann", "Bo", "Cy", "Di"]


def discs(offsets, *, count=12, spacing=np.nan, absent=()):
    """Returns records of discs; rater r draws them larger by `offsets[r]` pixels."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:40, :40]
    distance = np.hypot(rows - 20, columns - 20)
    valid = np.array([r not in absent for r in range(len(offsets))])
    for n in range(count):
        reach = 8 + np.array(offsets) + rng.uniform(-0.4, 0.4, len(offsets))
        masks = (distance <= reach[:, None, None]) & valid[:, None, None]
        yield Record(
            image=distance[..., None].astype(np.float32),
            masks=masks.astype(np.uint8),
            rater_valid=valid,
            patient_id=f"p{n}",
            record_id=f"r{n}",
            site="",
            spacing_mm=np.full(2, spacing, np.float32),
            intensity_unit="arbitrary",
            split="",
        )


@pytest.fixture
def said(monkeypatch):
    """Gives the habits that a sentence is asked to say, in place of the sentence."""

    class Grammar:
        def __init__(self, split, seed):
            assert split == "train"

        def sentence(self, habits, scale):
            return ", ".join(f"{axis} {value:.4f}" for axis, value in habits.items())

    monkeypatch.setattr(cards, "HabitGrammar", Grammar)


def test_a_rater_who_drew_nothing_is_unknown_and_asks_for_the_usual_outline(tmp_path):
    measured = habits.measure(discs((-2.0, 0.0, 0.0, 2.5), absent=(1,)))
    found = cards.of_habits(measured, NAMES)
    assert found.unknown == ["Bo"]
    assert found.alike == []
    assert "Raters unknown: Bo outlined no training image that others did." in found.caveats()[0]
    whole = cards.of_habits(habits.measure(discs((-2.0, 0.0, 2.5))), ["Ann", "Cy", "Di"])
    spread = {axis: pytest.approx(own, abs=0.1) for axis, own in whole.written.scale.spread.items()}
    assert found.written.scale.spread == spread
    ann, bo, *_ = found.written.styles
    assert bo.habits == {}
    assert len(bo.train) == 40
    assert not any(word in " ".join(bo.train) for word in ("px", "%", "tips", "smooth"))
    assert "px" in " ".join(ann.train)
    cards.write(tmp_path / "cards.yaml", found)
    text = (tmp_path / "cards.yaml").read_text(encoding="utf-8")
    assert prompts.parse(text, "x") == found.written
    assert "unknown: Bo outlined nothing" in text


def test_a_sentence_says_the_means_that_differ(said):
    measured = habits.measure(discs((0.0, 0.0, 0.0, 3.0), count=5))
    mean = measured.values["margin"][:, 3].mean()
    assert 2 < mean < 3.5
    assert cards.sentence(measured, 3, SCALE, seed=0) == f"margin {mean:.4f}"
    no_margin = SCALE._replace(spread={"tips": 0.05})
    assert cards.sentence(measured, 3, no_margin, seed=0) == "margin 0.0000"


def test_one_contour_tells_too_little_for_a_habit(said):
    measured = habits.measure(discs((0.0, 0.0, 0.0, 3.0), count=1))
    assert cards.sentence(measured, 3, SCALE, seed=0) == "margin 0.0000"


def test_lengths_must_be_in_the_unit_of_the_model():
    measured = habits.measure(discs((0.0, 0.0, 0.0, 3.0), count=5, spacing=0.5))
    with pytest.raises(InputError, match="are measured in mm, and the model's sentences are in px"):
        cards.sentence(measured, 3, SCALE, seed=0)
