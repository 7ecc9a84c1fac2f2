"""Scores of where the samples disagree: does the model know where the raters do?"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

_LEAST = 1e-8  # probabilities below it count as this much, so that their logarithm is finite


@jax.jit
def s_ncc(
    probs: Float[Array | np.ndarray, "b s h w"],
    labels: UInt8[Array | np.ndarray, "b r h w"],
    rater_valid: Bool[Array | np.ndarray, "b r"],
) -> Float[Array, " b"]:
    """Returns the correlation of the samples' spread and their error over pixels, "S_NCC".

    With p_s the probabilities of sample s, which are not thresholded, m their mean, y_r the mask of
    rater r, and CE(a, p) = -a log(p) - (1 - a) log(1 - p), in which p and 1 - p are at least 1e-8:

        s_ncc = mean_r Pearson( mean_s CE(m, p_s), mean_s CE(y_r, p_s) )     over all pixels

    as in PHiSeg (Baumgartner et al. 2019), whose normalised cross-correlation is Pearson's, and
    whose code adds 1e-8 to each probability. For binary p_s the two maps are proportional to
    m (1 - m) and |y_r - m|. It is NaN if one of the two maps is constant, such as the first for
    samples that are binary and all equal.

    Args:
        probs: foreground probabilities of S samples.
        labels: {0, 1} masks of R raters.
        rater_valid: False where a rater has no mask of the image; that rater counts nowhere.
    """
    # One record at a time, as in `metrics.count_overlaps`.
    return jax.lax.map(lambda record: _of_record(*record), (probs, labels, rater_valid))


def _of_record(probs: jax.Array, labels: jax.Array, rater_valid: jax.Array) -> jax.Array:
    p = probs.reshape(len(probs), -1)
    inside, outside = (-jnp.mean(jnp.log(jnp.maximum(x, _LEAST)), axis=0) for x in (p, 1 - p))
    mean = jnp.mean(p, axis=0)
    spread = mean * inside + (1 - mean) * outside
    error = jnp.where(labels.reshape(len(labels), -1) > 0, inside, outside)  # [r, pixels]
    found = jax.vmap(lambda own: _pearson(spread, own))(error)
    return jnp.sum(jnp.where(rater_valid, found, 0.0)) / jnp.sum(rater_valid)


def _pearson(a: jax.Array, b: jax.Array) -> jax.Array:
    constant = (jnp.max(a) == jnp.min(a)) | (jnp.max(b) == jnp.min(b))
    a, b = a - jnp.mean(a), b - jnp.mean(b)
    size = jnp.sqrt(jnp.sum(a * a)) * jnp.sqrt(jnp.sum(b * b))
    return jnp.where(constant, jnp.nan, jnp.sum(a * b) / jnp.where(constant, 1.0, size))
