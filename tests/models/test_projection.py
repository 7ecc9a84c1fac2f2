"""From query to latent: closed forms, and how fast the bank converges to the analytic shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.models import distributions, projection
from prosona_jax.models.distributions import Gaussian


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _prior(b: int = 2, d: int = 3) -> Gaussian:
    return Gaussian(_normal(0, b, d), 0.5 * _normal(1, b, d))


def test_analytic_shifts_each_dimension_by_its_variance() -> None:
    """mu + sigma^2 q / (tau sqrt d), with sigma = 1, 2, 3 and tau sqrt d = 0.5 * 2."""
    prior = Gaussian(jnp.array([[1.0, -1.0, 0.0, 5.0]]), jnp.log(jnp.array([[1.0, 2.0, 3.0, 1.0]])))
    query = jnp.array([[[1.0, 1.0, 1.0, 0.0], [0.0, -2.0, 0.5, 0.0]]])
    expected = [[[2.0, 3.0, 9.0, 5.0], [1.0, -9.0, 4.5, 5.0]]]
    np.testing.assert_allclose(projection.analytic(prior, query, 0.5), expected, rtol=1e-6)


def test_analytic_is_linear_in_the_query() -> None:
    prior, a, b = _prior(), _normal(2, 2, 4, 3), _normal(3, 2, 4, 3)
    move = lambda query: projection.analytic(prior, query, 0.7) - prior.mu[:, None]  # noqa: E731
    np.testing.assert_allclose(move(2.0 * a - 3.0 * b), 2.0 * move(a) - 3.0 * move(b), atol=1e-4)
    np.testing.assert_array_equal(move(jnp.zeros_like(a)), 0.0)


def test_bank_by_loops() -> None:
    samples, query, tau = _normal(4, 2, 6, 3), _normal(5, 2, 4, 3), 0.3
    found = projection.bank(samples, query, tau)
    for i in range(2):
        for k in range(4):
            weight = [
                np.exp(np.dot(query[i, k], z) / (tau * np.sqrt(3))) for z in np.asarray(samples[i])
            ]
            expected = np.average(samples[i], axis=0, weights=weight)
            np.testing.assert_allclose(found[i, k], expected, atol=1e-5)


def test_bank_converges_to_analytic_as_one_over_the_root_of_its_size() -> None:
    """The error is a root mean square over many banks, each at a shift of one sigma.

    Such a shift has |q| sigma / (tau sqrt d) = 1.
    """
    d, tau, repeats = 3, 0.5, 400
    direction = np.random.default_rng(6).normal(size=(repeats, 1, d))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    prior = Gaussian(_normal(7, repeats, d), jnp.full((repeats, d), jnp.log(2.0)))
    query = jnp.asarray(direction * tau * np.sqrt(d) / 2.0, jnp.float32)
    shifted = projection.analytic(prior, query, tau)
    np.testing.assert_allclose(
        jnp.linalg.norm((shifted - prior.mu[:, None]) / 2.0, axis=-1), 1.0, rtol=1e-5
    )

    def error(size: int) -> float:
        keys = jax.random.split(jax.random.key(size), repeats)
        found = projection.bank(distributions.sample(prior, keys, size), query, tau)
        return float(jnp.sqrt(jnp.mean(jnp.square((found - shifted) / 2.0))))

    sizes = (100, 1000, 10000)
    errors = np.array([error(size) for size in sizes])
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.05)
    assert errors[-1] < 0.03  # sigma


def test_a_bank_of_one_sample_returns_it_for_any_query() -> None:
    samples = _normal(8, 2, 1, 3)
    found = projection.bank(samples, 100.0 * _normal(9, 2, 4, 3), 0.1)
    np.testing.assert_array_equal(found, jnp.broadcast_to(samples, (2, 4, 3)))


def test_a_large_tau_gives_the_mean_of_the_bank_and_a_small_one_its_best_sample() -> None:
    samples, query = _normal(10, 2, 20, 3), _normal(11, 2, 4, 3)
    mean = jnp.broadcast_to(jnp.mean(samples, axis=1)[:, None], (2, 4, 3))
    np.testing.assert_allclose(projection.bank(samples, query, 1e6), mean, atol=1e-5)
    best = np.einsum("bkd,bnd->bkn", query, samples).argmax(axis=-1)
    expected = np.take_along_axis(np.asarray(samples), best[..., None], axis=1)
    np.testing.assert_allclose(projection.bank(samples, query, 1e-4), expected, atol=1e-5)


def test_the_order_of_the_bank_changes_nothing() -> None:
    samples, query = _normal(12, 2, 20, 3), _normal(13, 2, 4, 3)
    order = np.random.default_rng(14).permutation(20)
    np.testing.assert_allclose(
        projection.bank(samples[:, order], query, 0.5),
        projection.bank(samples, query, 0.5),
        atol=1e-5,
    )
