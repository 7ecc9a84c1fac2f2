"""From a query to a latent: where a style's query q moves the prior p(z|x) = N(mu, diag sigma^2).

Both are means of the prior tilted by exp(q . z / (tau sqrt d)): `bank` estimates it from samples,
`analytic` knows it, since tilting a Gaussian shifts its mean.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from prosona_jax.models import distributions
from prosona_jax.models.distributions import Gaussian


def analytic(prior: Gaussian, query: Float[Array, "b k d"], tau: float) -> Float[Array, "b k d"]:
    """Returns z_k = mu + sigma^2 q_k / (tau sqrt d), deterministic and linear in the query."""
    variance = jnp.exp(2.0 * prior.log_sigma)[:, None]  # [b, 1, d]
    return prior.mu[:, None] + variance * query / _scale(query, tau)


def bank(
    samples: Float[Array, "b n d"], query: Float[Array, "b k d"], tau: float
) -> Float[Array, "b k d"]:
    """Returns z_k = sum_i a_ki z_i with a_k = softmax_i(q_k . z_i / (tau sqrt d)).

    z_i ~ p(z|x) are the codes; for n to infinity z_k becomes :func:`analytic`'s, with an error of
    order n^-1/2 that grows fast with the shift: beyond two sigma a hundred codes do not reach it.
    """
    scores = jnp.einsum("bkd,bnd->bkn", query, samples) / _scale(query, tau)
    return jnp.einsum("bkn,bnd->bkd", jax.nn.softmax(scores, axis=-1), samples)


def _scale(query: jax.Array, tau: float) -> float:
    return tau * query.shape[-1] ** 0.5


class Projector(NamedTuple):
    """How a query becomes a latent."""

    kind: str  # "analytic" | "bank"
    tau: float
    codes: int  # samples of the bank


def project(
    projector: Projector, prior: Gaussian, query: Float[Array, "b k d"], keys: Key[Array, " b"]
) -> Float[Array, "b k d"]:
    """Returns z_k; the keys draw the bank's codes, one key per record."""
    if projector.kind == "analytic":
        return analytic(prior, query, projector.tau)
    codes = distributions.sample(prior, keys, projector.codes)
    return bank(codes, query, projector.tau)
