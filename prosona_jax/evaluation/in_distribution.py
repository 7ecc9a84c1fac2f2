"""How far an image is from the training images, as stage one sees both.

A model draws on any image, also where there is no object. Two scores tell such an image from those
of the training (out-of-distribution detection):

    distance      sqrt((v - m)^T P (v - m)), the Mahalanobis distance of v, the mean features U(x)
                  inside the contour at the prior's mean, on its rim and outside it (known: Lee et
                  al. 2018, https://arxiv.org/abs/1807.03888)
    disagreement  mean 1 - IoU over the pairs of samples of the prior; 0 of two empty masks (known:
                  the diversity term of the generalised energy distance, Kohl et al. 2018)

m is the mean of v over the training images, and P the inverse of their covariance. Its correlations
are shrunk by a tenth towards 0, so that P exists for any number of images. A limit lies above the
scores of 95 % of the validation images.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from prosona_jax import rng
from prosona_jax.models import distributions
from prosona_jax.models.encoding import encode_image, pool
from prosona_jax.models.prob_unet import ProbUNet
from prosona_jax.types import Batch, Params

SAMPLES = 16  # of the prior
_PERCENT = 95  # of the validation images that lie below the limits
_SHRINKAGE = 0.1
_SLACK = 1e-3  # of the limits, since an image is rounded otherwise in another batch
_LEAST_SCALE = 1e-3  # of the largest scale: a feature that hardly varies says nothing


class Appearance(NamedTuple):
    """How b images appear to stage one with f features."""

    pooled: Float[jax.Array | np.ndarray, "b v"]  # v of the module, v = 3 f
    disagreement: Float[jax.Array | np.ndarray, " b"]


class InDistribution(NamedTuple):
    """The training images of a model as they appear to its stage one, and the limits."""

    mean: Float[np.ndarray, " v"]
    precision: Float[np.ndarray, "v v"]
    distance_limit: float
    disagreement_limit: float

    @classmethod
    def of(cls, train: Appearance, validation: Appearance) -> "InDistribution":
        """Returns the statistics of training images, with limits from validation images.

        Both limits are raised by one factor, so that 5 % of the validation images at most exceed
        any of them.
        """
        pooled = np.asarray(train.pooled, np.float64)
        scale = pooled.std(axis=0)
        scale = np.maximum(scale, max(_LEAST_SCALE * scale.max(), 1e-6))
        z = (pooled - pooled.mean(axis=0)) / scale
        shrunk = (1 - _SHRINKAGE) * z.T @ z / len(z) + _SHRINKAGE * np.eye(len(scale))
        precision = np.linalg.inv(shrunk) / np.outer(scale, scale)
        found = cls(pooled.mean(axis=0), precision, 1.0, 1.0)
        scores = np.stack([found.distance(validation), np.asarray(validation.disagreement)])
        limits = np.maximum(_quantile(scores), 1e-6)
        factor = (1 + _SLACK) * _quantile(np.max(scores / limits[:, None], axis=0))
        return found._replace(
            distance_limit=float(factor * limits[0]), disagreement_limit=float(factor * limits[1])
        )

    def distance(self, images: Appearance) -> Float[np.ndarray, " b"]:
        """Returns the Mahalanobis distance of each image."""
        away = np.asarray(images.pooled, np.float64) - self.mean
        return np.sqrt(np.einsum("bv,vw,bw->b", away, self.precision, away))


def _quantile(scores: np.ndarray) -> np.ndarray:
    """Returns a score that 5 % at most of the scores [..., n] exceed."""
    return np.asarray(np.percentile(scores, _PERCENT, axis=-1, method="higher"))


def make_appearance_step(model: ProbUNet) -> Callable[..., Appearance]:
    """Returns ``step(params, (features, prior), root) -> Appearance``.

    ``(features, prior)`` is the result of `encode_image`. All images get the same draws.
    """

    def step(
        params: Params, encoded: tuple[jax.Array, distributions.Gaussian], root: jax.Array
    ) -> Appearance:
        features, prior = encoded
        keys = rng.example_keys(root, "evaluate", 0, jnp.zeros(len(features), jnp.int32))
        z = distributions.sample(prior, keys, SAMPLES)
        z = jnp.concatenate([prior.mu[:, None], z], axis=1)  # [b, 1 + s, d]
        masks = model.apply(params, features, z, method="decode") > 0
        return Appearance(
            pool(features, masks[:, :1].astype(jnp.uint8))[:, 0], _disagreement(masks[:, 1:])
        )

    return step


def make_batch_step(model: ProbUNet) -> Callable[[Params, Batch, jax.Array], Appearance]:
    """Returns the same step for a batch that is not yet encoded."""
    appearance = make_appearance_step(model)

    def step(params: Params, batch: Batch, root: jax.Array) -> Appearance:
        return appearance(params, encode_image(model, params, batch.image), root)

    return step


def _disagreement(masks: jax.Array) -> jax.Array:
    """Returns the mean 1 - IoU over the pairs of masks bool [b, s, h, w], [b]."""
    b, s = masks.shape[:2]
    flat = masks.reshape(b, s, -1).astype(jnp.float32)
    shared = jnp.einsum("bip,bjp->bij", flat, flat)
    area = jnp.sum(flat, axis=2)
    union = area[:, :, None] + area[:, None] - shared
    apart = jnp.where(union > 0, 1 - shared / jnp.maximum(union, 1), 0)
    return jnp.sum(apart, axis=(1, 2)) / (s * (s - 1))
