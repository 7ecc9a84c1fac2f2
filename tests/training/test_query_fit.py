"""The fit of one query: its loss is stage two's, on what a prediction draws; it ends flat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from prosona_jax.evaluation import metrics, style_steps
from prosona_jax.models.distributions import Gaussian
from prosona_jax.models.projection import Projector
from prosona_jax.training import query_fit
from prosona_jax.training.query_fit import Contours, Objective
from tests.tiny import MODEL, ROOT, D, params

PROJECTORS = {kind: Projector(kind, tau=0.3, codes=20) for kind in ("analytic", "bank")}
STARTS = jnp.stack([jnp.zeros(D), jnp.array([0.5, -0.5, 0.2])])


@pytest.fixture(scope="module")
def trained():
    """Parameters unlike the initial ones, whose zero biases put all kinks in one place."""
    return moved_params()


def moved_params():
    leaves, tree = jax.tree.flatten(params())
    keys = jax.random.split(jax.random.key(3), len(leaves))
    moved = [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


@pytest.fixture(scope="module")
def contours(trained):
    """Four images of a disc, each with a smaller disc drawn on it."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :8]
    centres = rng.uniform(3, 5, (4, 2, 1, 1))
    distance = np.hypot(rows - centres[:, 0], columns - centres[:, 1])
    image = jnp.asarray((distance < 3)[..., None] + rng.normal(0, 0.2, (4, 8, 8, 1)), jnp.float32)
    prior = Gaussian(*jnp.asarray(rng.normal(0, 0.2, (2, 4, D)), jnp.float32))
    features = MODEL.apply(trained, image, method="features")
    return Contours(features, prior, jnp.asarray(distance < 2.5, jnp.uint8))


def one(contours, i):
    """Returns the image i alone."""
    return jax.tree.map(lambda x: x[i : i + 1], contours)


@pytest.mark.parametrize("kind", PROJECTORS)
def test_the_loss_is_that_of_the_probabilities_that_a_prediction_draws(trained, contours, kind):
    projector, query = PROJECTORS[kind], jnp.array([0.4, -0.3, 0.2])
    draw = style_steps.make_draw_step(MODEL, projector)
    expected = []
    for i in range(4):
        features, prior, masks = one(contours, i)
        p = np.asarray(draw(trained, (features, prior), query[None, None], ROOT), float)[0, 0]
        y = np.asarray(masks, float)[0]
        cross_entropy = -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))
        dice = 1 - ((p * y).sum() + 1e-3) / ((p + y).sum() / 2 + 1e-3)
        expected.append(2 * dice + 3 * cross_entropy)
    loss = query_fit.make_loss(MODEL, projector, Objective(2.0, 3.0, 0.0))
    found = float(loss(query, trained, contours, ROOT))
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_the_prior_weighs_the_shift_in_standard_deviations(trained, contours):
    query = jnp.array([0.4, -0.3, 0.2])
    loss = query_fit.make_loss(MODEL, PROJECTORS["analytic"], Objective(0.0, 0.0, 0.01))
    sigma = np.exp(np.asarray(contours.prior.log_sigma, float))
    shift = sigma * np.asarray(query) / (0.3 * D**0.5)
    expected = 0.01 * np.mean(np.sum(shift**2, axis=1)) / 2
    assert float(loss(query, trained, contours, ROOT)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", PROJECTORS)
def test_the_fit_ends_where_the_gradient_is_0(trained, contours, kind):
    loss = query_fit.make_loss(MODEL, PROJECTORS[kind], Objective(1.0, 1.0, 0.01))
    query = jax.jit(query_fit.make_fit(loss))(trained, contours, STARTS, ROOT)
    slope = jax.grad(loss)(query, trained, contours, ROOT)
    at_start = jax.grad(loss)(STARTS[0], trained, contours, ROOT)
    # Not 0: the loss has a kink wherever a ReLU of any pixel has one.
    assert jnp.linalg.norm(slope) < 0.01 * jnp.linalg.norm(at_start)
    assert loss(query, trained, contours, ROOT) < min(
        loss(start, trained, contours, ROOT) for start in STARTS
    )


def test_the_fit_starts_at_the_best_start(trained, contours, monkeypatch):
    monkeypatch.setattr(query_fit, "FLAT", jnp.inf)
    monkeypatch.setattr(query_fit, "STEPS", 0)
    loss = query_fit.make_loss(MODEL, PROJECTORS["analytic"], Objective(1.0, 1.0, 0.0))
    heights = [loss(start, trained, contours, ROOT) for start in STARTS]
    fit = query_fit.make_fit(loss)
    for starts in (STARTS, STARTS[::-1]):
        query = fit(trained, contours, starts, ROOT)
        assert loss(query, trained, contours, ROOT) <= min(heights)


def test_without_contours_to_draw_the_fit_ends_at_the_priors_mean(trained, contours):
    loss = query_fit.make_loss(MODEL, PROJECTORS["analytic"], Objective(0.0, 0.0, 1.0))
    query = query_fit.make_fit(loss)(trained, contours, STARTS[1:], ROOT)
    np.testing.assert_allclose(query, 0, atol=1e-3)


def test_the_query_of_masks_that_the_model_drew_is_found():
    """Its logits are so steep that a mask says as much as the probabilities."""
    steep = jax.tree.map(lambda x: x, moved_params())
    logit = steep["params"]["fcomb"]["logit"]
    steep["params"]["fcomb"]["logit"] = jax.tree.map(lambda x: 200 * x, logit)
    rng = np.random.default_rng(3)
    image = 5 * ndimage.gaussian_filter(rng.normal(size=(6, 24, 24, 1)), 2, axes=(1, 2))
    features = MODEL.apply(steep, jnp.asarray(image, jnp.float32), method="features")
    prior = Gaussian(*jnp.asarray(rng.normal(0, 0.2, (2, 6, D)), jnp.float32))
    projector, known = PROJECTORS["analytic"], jnp.array([-0.6, 0.2, 0.1])
    draw = style_steps.make_draw_step(MODEL, projector)

    def masks(query):
        each = jnp.broadcast_to(query, (6, 1, D))
        return np.asarray(draw(steep, (features, prior), each, ROOT)[:, 0] > 0.5)

    asked = masks(known)
    four = jax.tree.map(lambda x: x[:4], Contours(features, prior, jnp.asarray(asked, jnp.uint8)))
    loss = query_fit.make_loss(MODEL, projector, Objective(1.0, 1.0, 1e-5))
    found = jax.jit(query_fit.make_fit(loss))(steep, four, STARTS[:1], ROOT)
    np.testing.assert_allclose(found, known, atol=0.03)
    for at, least in ((known, 1.0), (found, 0.99)):  # the last two images are not in the fit
        assert min(map(metrics.dice, masks(at), asked)) >= least
    assert np.mean([*map(metrics.dice, masks(STARTS[0]), asked)]) < 0.9
