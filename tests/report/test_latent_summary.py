"""The section on the latent dimensions: its tables, its words and its picture."""

import io

import numpy as np
import pytest
from PIL import Image

from data_pipelines.traits import TRAITS
from prosona_jax.evaluation.disentanglement import Separation
from prosona_jax.report import figures, latent_summary
from prosona_jax.report.figures import Panel
from prosona_jax.report.latent_summary import Explored

STEPS = (-1.0, 0.0, 1.0)


def explored(**changes):
    rows, columns = np.mgrid[:24, :24] - 12
    radii = np.array([[4, 6, 8], [6, 6, 6]])[:, :, None, None]
    walks = np.hypot(rows, columns) < radii
    shown = Panel(
        "r",
        np.zeros((24, 24), np.float32),
        walks[0].astype(np.uint8),
        np.ones(3, bool),
        walks[0].astype(np.float32),
        None,
        np.full(2, 0.5, np.float32),
    )
    effects = np.array([[0.9, -0.35, 0.1, 0.0, 0.0], [0.0, 0.2, 0.0, -0.3, 0.0]])
    separation = Separation(effects, np.array([0.81, 0.2, 0.05, 0.1, 0.0]), 0.62, 0.7)
    shares = np.array([[0.5, 0, 0, 0, 0], [0.25, 0, 0, 0, 0]])
    given = {"traits": TRAITS, "samples": separation, "shares": shares, "records": 5}
    return Explored(**(given | {"steps": STEPS, "walks": walks, "shown": shown} | changes))


def test_dimensions_are_in_the_order_of_their_use():
    text, effects, scores, figure, _, shares = latent_summary.section(
        explored(), np.array([0.1, 2.0]), figures.png
    ).blocks
    assert "on 5 images" in text.body
    assert effects.columns == ("Dimension", "Area", "Elongation", "Roughness", "Right", "Down")
    assert [row[:3] for row in effects.rows] == [
        ("z1", "+0.00", "+0.20"),
        ("z0", "+0.90", "-0.35"),
        ("explained, %", "81", "20"),
    ]
    assert "Disentanglement is 0.62" in scores.body
    assert "Completeness is 0.70" in scores.body
    assert [row[:2] for row in shares.rows] == [("z1", "25"), ("z0", "50")]
    assert figure.name == "latent-walk"


def test_without_latents_of_raters_there_is_no_table_of_them():
    blocks = latent_summary.section(explored(shares=None), np.zeros(2), figures.png).blocks
    assert len(blocks) == 4
    assert latent_summary.numbers(explored(shares=None))["rater_shares"] is None


def test_the_walk_has_a_row_for_each_dimension():
    blocks = latent_summary.section(explored(), np.zeros(2), figures.png).blocks
    with Image.open(io.BytesIO(blocks[3].png)) as picture:
        assert picture.width == 1500
        colours = {tuple(each) for each in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(0xFF, 0x4F, 0xD8), (255, 255, 255)} <= colours


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([0.9, -0.35, 0.1, 0, 0], "larger, rounder"),
        ([-0.4, 0, 0, -0.5, 0], "to the left, smaller"),
        ([0.1, 0, 0, 0, -0.29], "little"),
    ],
)
def test_strong_effects_are_named(effects, said):
    assert latent_summary.words(np.array(effects), TRAITS) == said
