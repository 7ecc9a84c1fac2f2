"""The projection from a style's query q to a latent z, given the prior N(mu, diag sigma^2).

`bank` and `analytic` compute the mean of the prior tilted by exp(q . z / (tau sqrt d)). `bank`
estimates it from samples. `analytic` is exact, because tilting a Gaussian only shifts its mean.
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

    z_i ~ p(z|x) are the codes. As n goes to infinity, z_k converges to that of :func:`analytic`.
    The error is of order n^-1/2 and grows fast with the shift: a hundred codes do not reach a shift
    beyond two sigma.
    """
    scores = jnp.einsum("bkd,bnd->bkn", query, samples) / _scale(query, tau)
    return jnp.einsum("bkn,bnd->bkd", jax.nn.softmax(scores, axis=-1), samples)


def _scale(query: jax.Array, tau: float) -> float:
    return tau * query.shape[-1] ** 0.5


class Projector(NamedTuple):
    """How a query becomes a latent."""

    kind: str  # "analytic" | "bank"
    tau: float
    codes: int  # number of samples in the bank


def project(
    projector: Projector, prior: Gaussian, query: Float[Array, "b k d"], keys: Key[Array, " b"]
) -> Float[Array, "b k d"]:
    """Returns z_k; `keys`, one per record, draw the codes of the bank."""
    if projector.kind == "analytic":
        return analytic(prior, query, projector.tau)
    codes = distributions.sample(prior, keys, projector.codes)
    return bank(codes, query, projector.tau)
