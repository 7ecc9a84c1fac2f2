"""Diagonal Gaussians over the latent: sampling, divergence, whitening."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

# Outside these bounds exp overflows or the variance vanishes, and the divergence turns NaN.
LOG_SIGMA_RANGE = (-10.0, 10.0)


class Gaussian(NamedTuple):
    """N(mu, diag sigma^2) for each record of a batch, in float32 for any dtype of the model."""

    mu: Float[Array, "b d"]
    log_sigma: Float[Array, "b d"]


def gaussian(mu: Float[Array, "b d"], log_sigma: Float[Array, "b d"]) -> Gaussian:
    """Returns a Gaussian in float32 with log sigma clamped to :data:`LOG_SIGMA_RANGE`."""
    return Gaussian(
        mu.astype(jnp.float32), jnp.clip(log_sigma.astype(jnp.float32), *LOG_SIGMA_RANGE)
    )


def draws(keys: Key[Array, " b"], count: int, dim: int) -> Float[Array, "b count dim"]:
    """Returns standard normal draws, ``count`` per record, with the record's key."""
    return jax.vmap(lambda key: jax.random.normal(key, (count, dim)))(keys)


def sample(p: Gaussian, keys: Key[Array, " b"], count: int) -> Float[Array, "b count d"]:
    """Returns z = mu + sigma * eps: ``count`` samples per record, drawn with the record's key."""
    return unwhiten(p, draws(keys, count, p.mu.shape[-1]))


def kl_divergence(q: Gaussian, p: Gaussian) -> Float[Array, "b d"]:
    """Returns KL(q || p) per latent dimension, in nats; their sum over d is the divergence.

    KL = log(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2
    """
    variance_ratio = jnp.exp(2.0 * (q.log_sigma - p.log_sigma))
    offset = (q.mu - p.mu) * jnp.exp(-p.log_sigma)
    return p.log_sigma - q.log_sigma + 0.5 * (variance_ratio + jnp.square(offset) - 1.0)


def whiten(p: Gaussian, z: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
    """Returns (z - mu) / sigma, which is standard normal for samples z of p."""
    return (z - p.mu[:, None]) * jnp.exp(-p.log_sigma)[:, None]


def unwhiten(p: Gaussian, offsets: Float[Array, "b s d"]) -> Float[Array, "b s d"]:
    """Returns z = mu + sigma offsets, the inverse of :func:`whiten`."""
    return p.mu[:, None] + jnp.exp(p.log_sigma)[:, None] * offsets
