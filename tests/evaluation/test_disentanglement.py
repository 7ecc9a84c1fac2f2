"""What latent dimensions do, where the separation is known in advance."""

import numpy as np
import pytest

from data_pipelines.traits import TRAITS
from prosona_jax.evaluation.disentanglement import dci, separate, shares, within

AREA, ELONGATION, _, RIGHT, _ = range(len(TRAITS))


def test_images_are_compared_within_themselves():
    values = np.array([[1.0], [3.0], [10.0], [20.0]])
    found = within(values, np.array([7, 7, 2, 2]))
    np.testing.assert_allclose(found.ravel(), [-1, 1, -5, 5])


def made(slopes, noise=0.0, seed=0, n=4000):
    """Returns codes, traits that depend linearly on them, and images with means of their own."""
    rng = np.random.default_rng(seed)
    codes, image = rng.normal(size=(n, 3)), rng.integers(0, 50, n)
    found = codes @ slopes + noise * rng.normal(size=(n, 5)) + rng.normal(size=(50, 5))[image]
    return codes, found, image


def test_one_dimension_per_trait_is_fully_separated():
    slopes = np.zeros((3, 5))
    slopes[0, AREA], slopes[1, ELONGATION], slopes[2, RIGHT] = 2.0, -0.5, 0.1
    found = separate(*made(slopes))
    np.testing.assert_allclose(found.effects, np.sign(slopes), atol=1e-3)
    np.testing.assert_allclose(found.explained[[AREA, ELONGATION, RIGHT]], 1, atol=1e-5)
    assert found.disentanglement == pytest.approx(1, abs=0.02)
    assert found.completeness == pytest.approx(1, abs=0.02)


def test_a_rotated_latent_is_not_separated():
    slopes = np.zeros((3, 5))
    slopes[:, :3] = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turned, straight = separate(*made(slopes)), separate(*made(np.eye(3, 5)))
    np.testing.assert_allclose(turned.explained[:3], 1, atol=1e-5)
    assert turned.disentanglement < 0.5 < 0.95 < straight.disentanglement
    assert turned.completeness < 0.5 < 0.95 < straight.completeness


def test_noise_lowers_what_is_explained():
    slopes = np.zeros((3, 5))
    slopes[0, AREA] = 1.0
    found = separate(*made(slopes, noise=1.0))
    assert found.explained[AREA] == pytest.approx(0.5, abs=0.05)
    assert found.effects[0, AREA] == pytest.approx(np.sqrt(0.5), abs=0.05)


def test_rows_without_traits_are_left_out():
    codes, found, image = made(np.eye(3, 5))
    expected = separate(codes[:-1], found[:-1], image[:-1])
    found[-1] = np.nan
    np.testing.assert_allclose(separate(codes, found, image).effects, expected.effects)


def test_shares_are_squared_correlations():
    slopes = np.zeros((3, 5))
    slopes[0, AREA] = slopes[1, AREA] = 1.0
    found = shares(*made(slopes))
    np.testing.assert_allclose(found[:, AREA], [0.5, 0.5, 0], atol=0.05)


@pytest.mark.parametrize(
    ("importance", "d", "c"),
    [
        (np.eye(2), 1, 1),
        (np.ones((2, 2)), 0, 0),
        (np.zeros((2, 2)), 0, 0),
        ([[1, 0], [1, 0]], 1, 0),  # two dimensions for one trait
        ([[1, 1], [0, 0]], 0, 1),  # one dimension for two traits
        ([[3, 1], [0, 4]], 0.5 * (1 - 0.811278) + 0.5, 3 / 8 + 5 / 8 * (1 - 0.721928)),
    ],
)
def test_dci_of_small_matrices(importance, d, c):
    found = dci(np.array(importance, float))
    assert found == (pytest.approx(d, abs=1e-5), pytest.approx(c, abs=1e-5))
