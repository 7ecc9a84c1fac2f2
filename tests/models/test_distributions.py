"""Closed forms of diagonal Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from prosona_jax import rng
from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian


def _gaussian(seed: int, records: int = 3, dimensions: int = 4) -> Gaussian:
    values = np.random.default_rng(seed).normal(size=(2, records, dimensions)).astype(np.float32)
    return Gaussian(jnp.asarray(values[0]), jnp.asarray(0.5 * values[1]))


def test_divergence_of_equal_gaussians_is_zero() -> None:
    p = _gaussian(0)
    np.testing.assert_allclose(distributions.kl_divergence(p, p), 0.0, atol=1e-7)


def test_divergence_equals_its_integral() -> None:
    q, p = _gaussian(1, 1, 1), _gaussian(2, 1, 1)
    density_q = scipy.stats.norm(float(q.mu[0, 0]), float(np.exp(q.log_sigma[0, 0])))
    density_p = scipy.stats.norm(float(p.mu[0, 0]), float(np.exp(p.log_sigma[0, 0])))
    integral, _ = scipy.integrate.quad(
        lambda z: density_q.pdf(z) * (density_q.logpdf(z) - density_p.logpdf(z)), -20, 20
    )
    assert float(distributions.kl_divergence(q, p)[0, 0]) == pytest.approx(integral, rel=1e-5)


def test_divergence_is_not_symmetric_in_its_arguments() -> None:
    wide = Gaussian(jnp.zeros((1, 1)), jnp.log(2.0) * jnp.ones((1, 1)))
    narrow = Gaussian(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    assert float(distributions.kl_divergence(narrow, wide)[0, 0]) == pytest.approx(
        np.log(2) - 3 / 8, rel=1e-6
    )
    assert float(distributions.kl_divergence(wide, narrow)[0, 0]) == pytest.approx(
        1.5 - np.log(2), rel=1e-6
    )


@pytest.mark.parametrize("extreme", [-1e6, 1e6])
def test_divergence_stays_finite_for_an_extreme_log_sigma(extreme: float) -> None:
    p = distributions.gaussian(jnp.zeros((1, 1)), jnp.full((1, 1), extreme))
    q = distributions.gaussian(jnp.ones((1, 1)), jnp.zeros((1, 1)))
    assert np.isfinite(distributions.kl_divergence(q, p)).all()


def test_gaussian_is_float32_for_a_network_in_bfloat16() -> None:
    p = distributions.gaussian(jnp.ones((1, 2), jnp.bfloat16), jnp.ones((1, 2), jnp.bfloat16))
    assert p.mu.dtype == p.log_sigma.dtype == jnp.float32


def test_samples_have_the_moments_of_their_gaussian() -> None:
    p = _gaussian(3)
    keys = rng.example_keys(jax.random.key(0), "prior", 0, jnp.arange(3))
    z = np.asarray(distributions.sample(p, keys, 20_000))
    np.testing.assert_allclose(z.mean(axis=1), p.mu, atol=0.05)
    np.testing.assert_allclose(z.std(axis=1), np.exp(p.log_sigma), rtol=0.05)


def test_samples_depend_on_the_record_and_not_on_its_position_in_the_batch() -> None:
    p = _gaussian(4)
    order = jnp.array([2, 0, 1])
    keys = rng.example_keys(jax.random.key(0), "prior", 7, jnp.arange(3))
    moved = distributions.sample(Gaussian(*(x[order] for x in p)), keys[order], 5)
    np.testing.assert_array_equal(moved, distributions.sample(p, keys, 5)[order])
