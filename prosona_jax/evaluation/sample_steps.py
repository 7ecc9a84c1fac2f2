"""What evaluation asks of stage one: samples of the prior, counted against the raters."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from prosona_jax import rng
from prosona_jax.evaluation.metrics import Overlaps, count_overlaps
from prosona_jax.models import distributions
from prosona_jax.models.encoding import posterior_masks
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import Batch, Params

EvalStep = Callable[[Params, Batch, jax.Array], "Prediction"]


class Prediction(NamedTuple):
    """What evaluation needs of one batch, S samples of d latent dimensions."""

    samples: Overlaps  # of S masks f(x, z), z ~ p(z|x), and the R raters'
    prior_mean: Overlaps  # of f(x, mu_p), min(S, R) times, and the raters'
    kl: Float[Array, "b d"]  # KL(q || p) per dimension, averaged over the record's raters, nats
    probs: Float[Array, "b s h w"] | None  # of the samples, None unless they are to be drawn


def make_eval_step(model: ProbUNet, samples: int, posterior_input: str, *, drawn: bool) -> EvalStep:
    """Returns ``eval_step(params, batch, root) -> Prediction`` with that many draws.

    Masks are counted where they are made; probabilities are asked for as `drawn`.
    """

    def divergence(params: Params, batch: Batch, prior: distributions.Gaussian) -> jax.Array:
        """KL per dimension, the mean over the raters who read the record, [b, d]."""

        def of_rater(rater: jax.Array) -> jax.Array:
            chosen = jnp.full(len(batch.index), rater)
            seen = posterior_masks(batch, chosen, posterior_input)
            posterior = model.apply(params, batch.image, *seen, method="posterior")
            return distributions.kl_divergence(posterior, prior)

        per_rater = jax.lax.map(of_rater, jnp.arange(batch.masks.shape[1]))  # [r, b, d]
        weight = batch.rater_valid / jnp.sum(batch.rater_valid, axis=1, keepdims=True)
        return jnp.einsum("rbd,br->bd", per_rater, weight)

    def eval_step(params: Params, batch: Batch, root: jax.Array) -> Prediction:
        features = model.apply(params, batch.image, method="features")
        prior = model.apply(params, batch.image, method="prior")
        z = distributions.sample(prior, rng.example_keys(root, "evaluate", 0, batch.index), samples)
        z = jnp.concatenate([prior.mu[:, None], z], axis=1)  # [b, 1 + s, d]
        probs = jax.nn.sigmoid(model.apply(params, features, z, method="decode"))
        # Matched as often as S samples are; no other score changes by how often it is repeated.
        pairs = min(samples, batch.masks.shape[1])
        prior_mean = jnp.repeat(probs[:, :1], pairs, axis=1)
        count = lambda masks: count_overlaps(masks, batch.masks, batch.rater_valid)  # noqa: E731
        return Prediction(
            samples=count(probs[:, 1:]),
            prior_mean=count(prior_mean),
            kl=divergence(params, batch, prior),
            probs=probs[:, 1:] if drawn else None,
        )

    return eval_step


def make_decode_step(model: ProbUNet) -> Callable[..., Float[Array, "b s h w"]]:
    """Returns ``decode_step(params, (features, prior), latent) -> probs``.

    The second is what `encode_image` returns, ``latent`` f32 [b, s, d] is (z - mu) / sigma.
    """

    def decode_step(
        params: Params, encoded: tuple[jax.Array, distributions.Gaussian], latent: jax.Array
    ) -> jax.Array:
        features, prior = encoded
        z = distributions.unwhiten(prior, latent)
        return jax.nn.sigmoid(model.apply(params, features, z, method="decode"))

    return decode_step


def make_sample_step(model: ProbUNet, samples: int) -> Callable[..., Float[Array, "b s h w"]]:
    """Returns ``sample_step(params, (features, prior), root) -> probs`` of samples of p(z|x).

    The second is what `encode_image` returns. Record i of the batch has the draws of record i of a
    data set.
    """

    def sample_step(
        params: Params, encoded: tuple[jax.Array, distributions.Gaussian], root: jax.Array
    ) -> jax.Array:
        features, prior = encoded
        keys = rng.example_keys(root, "evaluate", 0, jnp.arange(len(features)))
        z = distributions.sample(prior, keys, samples)
        return jax.nn.sigmoid(model.apply(params, features, z, method="decode"))

    return sample_step
