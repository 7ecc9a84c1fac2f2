"""Training a degree reader on a tiny encoder: it learns, repeats itself, and takes shares."""

import pathlib

import numpy as np
import pytest

from prosona_jax.text import encoder
from prosona_jax.text.degree_reader import DegreeReader
from prosona_jax.text.degrees import Sentence
from prosona_jax.training import degrees

TEXT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "text"
SETTINGS = degrees.Settings(
    rank=4, steps=150, batch_size=8, learning_rate=1e-2, weight_decay=0.0, ema_decay=0.9
)
SENTENCES = [
    Sentence("a small core", -2.0, "plain", "a"),
    Sentence("the core", -1.5, "plain", "a"),
    Sentence("a wide margin", 2.0, "plain", "a"),
    Sentence("a margin", 1.5, "plain", "a"),
    Sentence("good morning", None, "offtopic", "a"),
    Sentence("who are you", None, "offtopic", "a"),
]


@pytest.fixture(scope="module")
def bert():
    return encoder.load(str(TEXT / "bert"))


def _fit(bert, groups, settings=SETTINGS):
    losses = []
    flat = degrees.fit(bert, groups, settings, log=lambda step, loss: losses.append(loss))
    return flat, losses


def test_it_learns_degrees_and_what_cannot_be_answered(bert):
    flat, losses = _fit(bert, [(1.0, SENTENCES)], SETTINGS._replace(steps=300))
    found = DegreeReader(bert, SETTINGS.rank, flat[None]).read([s.text for s in SENTENCES])
    np.testing.assert_allclose(found.degree[:4], [-2, -1.5, 2, 1.5], atol=0.3)
    assert found.answerable[:4].min() > 0.8 > 0.2 > found.answerable[4:].max()
    assert losses[-1] < losses[0] / 2
    # A reader is what its file holds.
    np.testing.assert_array_equal(flat, flat.astype(np.float16))


def test_the_same_seed_gives_the_same_reader(bert):
    short = SETTINGS._replace(steps=5)
    first, again, other = (
        _fit(bert, [(1.0, SENTENCES)], short._replace(seed=seed))[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


def test_a_groups_share_does_not_depend_on_its_size(bert):
    """One sentence of weight 1 among a hundred of weight 1 is in half of the batches' rows."""
    many = [Sentence(f"the core {n}", 1.0, "plain", "a") for n in range(100)]
    one = [Sentence("a wide margin", -1.0, "plain", "a")]
    draw = degrees._batches(bert, [(1.0, many), (1.0, one)], SETTINGS)
    degree = np.concatenate([draw().degree for _ in range(300)])
    assert np.mean(degree < 0) == pytest.approx(0.5, abs=0.06)
