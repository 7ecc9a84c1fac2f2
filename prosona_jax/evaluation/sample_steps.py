"""Pure steps that evaluate stage one: they draw samples of the prior and count overlaps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from prosona_jax import rng
from prosona_jax.evaluation.metrics import Overlaps, count_overlaps
from prosona_jax.evaluation.uncertainty import s_ncc
from prosona_jax.models import distributions
from prosona_jax.models.encoding import encode_image, offsets, posterior_masks
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import Batch, Params

EvalStep = Callable[[Params, Batch, jax.Array], "Prediction"]


class Prediction(NamedTuple):
    """Result of one batch, with S samples and d latent dimensions."""

    samples: Overlaps  # of S masks f(x, z), z ~ p(z|x), and the R raters' masks
    prior_mean: Overlaps  # of f(x, mu_p), repeated min(S, R) times, and the raters' masks
    s_ncc: Float[Array, "b 2"]  # see `uncertainty.s_ncc`; of the samples, and of f(x, mu_p)
    kl: Float[Array, "b d"]  # KL(q || p) per dimension, averaged over the record's raters, nats
    probs: Float[Array, "b s h w"] | None  # of the samples; None if `drawn` is False


def make_eval_step(model: ProbUNet, samples: int, posterior_input: str, *, drawn: bool) -> EvalStep:
    """Returns ``eval_step(params, batch, root) -> Prediction``.

    Args:
        model: the network of stage one.
        samples: S, the number of draws from the prior.
        posterior_input: "single" or "all", as in `posterior_masks`.
        drawn: whether to return the samples' probabilities too. The scores need only the counts.
    """

    def divergence(params: Params, batch: Batch, prior: distributions.Gaussian) -> jax.Array:
        """Returns the KL per dimension, averaged over the record's valid raters, [b, d]."""

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
        # Matching then has as many pairs as with S samples. No other score depends on the number
        # of repetitions.
        pairs = min(samples, batch.masks.shape[1])
        prior_mean = jnp.repeat(probs[:, :1], pairs, axis=1)
        seen = batch.masks, batch.rater_valid
        parts = probs[:, 1:], probs[:, :1]
        return Prediction(
            samples=count_overlaps(probs[:, 1:], *seen),
            prior_mean=count_overlaps(prior_mean, *seen),
            s_ncc=jnp.stack([s_ncc(part, *seen) for part in parts], axis=1),
            kl=divergence(params, batch, prior),
            probs=probs[:, 1:] if drawn else None,
        )

    return eval_step


class Explored(NamedTuple):
    """What latents draw on each image of a batch."""

    mean: Bool[Array, "b h w"]  # f(x, mu_p)
    samples: Bool[Array, "b s h w"]  # of the prior
    codes: Float[Array, "b s d"]  # of the samples; these latents are given as (z - mu_p) / sigma_p
    walks: Bool[Array, "b d t h w"]  # along each dimension, the others at 0
    raters: Float[Array, "b r d"]  # the posterior's mean of each rater's mask


def make_explore_step(
    model: ProbUNet, samples: int, posterior_input: str, steps: Sequence[float]
) -> Callable[[Params, Batch, jax.Array], Explored]:
    """Returns ``explore_step(params, batch, root) -> Explored``.

    Args:
        model: the network of stage one.
        samples: S.
        posterior_input: "single" or "all", as in `posterior_masks`.
        steps: the T places of a walk along a dimension, in units of sigma_p.
    """
    d = model.latent_dim
    along = np.einsum("ij,t->itj", np.eye(d), np.array(steps)).reshape(-1, d).astype(np.float32)

    def explore_step(params: Params, batch: Batch, root: jax.Array) -> Explored:
        features, prior = encode_image(model, params, batch.image)
        b = len(batch.index)
        codes = distributions.draws(rng.example_keys(root, "evaluate", 0, batch.index), samples, d)
        fixed = jnp.broadcast_to(np.pad(along, ((1, 0), (0, 0))), (b, 1 + len(along), d))
        z = distributions.unwhiten(prior, jnp.concatenate([fixed, codes], axis=1))
        drawn = model.apply(params, features, z, method="decode") > 0
        walks = drawn[:, 1 : 1 + len(along)]
        return Explored(
            mean=drawn[:, 0],
            samples=drawn[:, 1 + len(along) :],
            codes=codes,
            walks=walks.reshape(b, d, len(steps), *walks.shape[2:]),
            raters=offsets(model, params, batch, prior, posterior_input=posterior_input),
        )

    return explore_step


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

    ``(features, prior)`` is the result of `encode_image`. Record i of the batch gets the same draws
    as record i of a data set.
    """

    def sample_step(
        params: Params, encoded: tuple[jax.Array, distributions.Gaussian], root: jax.Array
    ) -> jax.Array:
        features, prior = encoded
        keys = rng.example_keys(root, "evaluate", 0, jnp.arange(len(features)))
        z = distributions.sample(prior, keys, samples)
        return jax.nn.sigmoid(model.apply(params, features, z, method="decode"))

    return sample_step
