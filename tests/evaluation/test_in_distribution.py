"""Distance and disagreement in closed forms, and the limits on validation images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.evaluation import in_distribution
from prosona_jax.evaluation.in_distribution import Appearance, InDistribution
from prosona_jax.models import encoding
from tests import tiny


def _appearance(pooled, disagreement=None):
    pooled = np.array(pooled, np.float64)
    return Appearance(pooled, np.zeros(len(pooled)) if disagreement is None else disagreement)


def test_the_distance_of_uncorrelated_features_is_that_of_their_z_scores():
    train = _appearance([(8, -2), (8, 2), (12, -2), (12, 2)])  # mean (10, 0), deviation (2, 2)
    found = InDistribution.of(train, train)
    images = _appearance([(10, 0), (12, 0), (16, -8)])
    np.testing.assert_allclose(found.distance(images), [0, 1, 5], atol=1e-9)


def test_correlations_are_shrunk_by_a_tenth():
    """With correlation r, the points (1, 1) and (1, -1) lie at sqrt(2 / (1 + r)) and with 1 - r."""
    train = _appearance([(1, 1), (-1, -1), (1, 1), (-1, -1)])  # r = 1, so shrunk 0.9
    found = InDistribution.of(train, train)
    expected = np.sqrt([2 / 1.9, 2 / 0.1])
    np.testing.assert_allclose(found.distance(_appearance([(1, 1), (1, -1)])), expected)


def test_the_distance_does_not_depend_on_the_scale_of_a_feature():
    rng = np.random.default_rng(0)
    train, images = rng.normal(size=(30, 3)), rng.normal(size=(5, 3))
    scale = np.array([1, 20, 0.1])
    one, two = (InDistribution.of(*[_appearance(train * by)] * 2) for by in (1, scale))
    np.testing.assert_allclose(
        one.distance(_appearance(images)), two.distance(_appearance(images * scale))
    )


def test_a_feature_that_never_varies_leaves_the_distance_finite():
    train = _appearance([(0, 3), (2, 3), (1, 3)])
    found = InDistribution.of(train, train)
    assert np.isfinite(found.distance(_appearance([(1, 3), (1, 4)]))).all()
    same = _appearance([(3, 3), (3, 3)])  # as of a model that has not learned anything
    assert np.isfinite(InDistribution.of(same, same).distance_limit)


@pytest.mark.parametrize("count", [1, 19, 20, 65, 400])
def test_at_most_one_in_twenty_validation_images_exceeds_any_limit(count):
    rng = np.random.default_rng(count)
    train = _appearance(rng.normal(size=(50, 4)))
    validation = Appearance(rng.normal(size=(count, 4)), rng.uniform(size=count))
    found = InDistribution.of(train, validation)
    beyond = found.distance(validation) > found.distance_limit
    beyond |= validation.disagreement > found.disagreement_limit
    assert beyond.mean() <= 0.05
    assert count < 100 or beyond.mean() > 0.04


def test_the_limits_do_not_depend_on_how_the_training_images_disagree():
    rng = np.random.default_rng(0)
    pooled, validation = rng.normal(size=(9, 2)), _appearance(rng.normal(size=(9, 2)))
    ones = (
        InDistribution.of(_appearance(pooled, x), validation) for x in (np.zeros(9), np.ones(9))
    )
    assert len({each.disagreement_limit for each in ones}) == 1


def test_the_disagreement_of_pairs_of_masks():
    masks = np.zeros((2, 3, 2, 2), bool)
    masks[0, 0] = True
    masks[0, 1, 0] = True  # half of the first; the third is empty
    found = in_distribution._disagreement(jnp.asarray(masks))
    np.testing.assert_allclose(found, [(0.5 + 1 + 1) / 3, 0])  # empty masks are alike


def test_the_step_pools_under_the_contour_at_the_prior_mean():
    model, params = tiny.MODEL, tiny.params()
    images = jax.random.normal(jax.random.key(1), (3, *tiny.IMAGE_SHAPE))
    encoded = encoding.encode_image(model, params, images)
    found = in_distribution.make_appearance_step(model)(params, encoded, tiny.ROOT)
    features, prior = encoded
    mask = model.apply(params, features, prior.mu[:, None], method="decode") > 0
    expected = encoding.pool(features, mask.astype(jnp.uint8))[:, 0]
    np.testing.assert_allclose(found.pooled, expected, atol=1e-6)
    assert ((found.disagreement >= 0) & (found.disagreement <= 1)).all()


def test_an_image_appears_the_same_alone_and_anywhere_in_a_batch():
    """All images get the same draws, so their order does not change how they appear."""
    params, step = tiny.params(), in_distribution.make_appearance_step(tiny.MODEL)
    images = jax.random.normal(jax.random.key(1), (3, *tiny.IMAGE_SHAPE))
    see = lambda x: step(params, encoding.encode_image(tiny.MODEL, params, x), tiny.ROOT)  # noqa: E731
    together, last = see(images), see(images[2:])
    for whole, alone in zip(together, last, strict=True):
        np.testing.assert_allclose(whole[2:], alone, atol=1e-5)
