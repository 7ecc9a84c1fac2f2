"""Does the share of samples that include a pixel say which share of raters does?

The pixels of an image fall into ten bins of equal width by the share p of samples that include
them: [0, .1), [.1, .2), ..., [.9, 1]. With the share y of raters, the expected calibration error is

    ece_10_all   = sum over bins of | sum p - sum y | / number of pixels
    ece_10_union = the same / number of pixels that any sample or rater includes

Both have the same numerator, since a pixel that nobody includes has p = y = 0. Only the first
falls when an image has more background.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

BINS = 10


class Bins(NamedTuple):
    """Sums over the pixels of each bin."""

    pixels: Float[np.ndarray, "*b 10"]  # their number
    union: Float[np.ndarray, "*b 10"]  # the number of those that any sample or rater includes
    samples: Float[np.ndarray, "*b 10"]  # the sum of p
    raters: Float[np.ndarray, "*b 10"]  # the sum of y

    def ece_all(self) -> Float[np.ndarray, "*b"]:
        return np.asarray(self._error() / self.pixels.sum(axis=-1))

    def ece_union(self) -> Float[np.ndarray, "*b"]:
        """Returns the error, 0 where nobody includes any pixel."""
        return np.asarray(self._error() / np.maximum(self.union.sum(axis=-1), 1))

    def _error(self) -> np.ndarray:
        return np.asarray(np.abs(self.samples - self.raters).sum(axis=-1))


def count_votes(
    samples: Bool[Array, "s pixels"], raters: Bool[Array, "r pixels"]
) -> Float[Array, "s1 r1"]:
    """Returns how many pixels k of the S samples and m of the R raters include, at [k, m]."""
    # As a product of ones and zeros, which is exact on every device.
    votes = [
        (x.sum(axis=0)[None] == jnp.arange(len(x) + 1)[:, None]).astype(jnp.float32)
        for x in (samples, raters)
    ]
    return jnp.einsum("kp,mp->km", *votes)


def bins(
    votes: Float[jax.Array | np.ndarray, "b s1 r1"], rater_valid: Bool[np.ndarray, "b r"]
) -> Bins:
    """Returns the bins of each record; a missing rater is no rater of the record."""
    votes = np.asarray(votes, np.float64)
    samples, raters = (np.arange(size) for size in votes.shape[1:])
    seen = votes.copy()
    seen[:, 0, 0] = 0
    present = np.maximum(rater_valid.sum(axis=1), 1)[:, None]
    sums = (
        votes.sum(axis=2),
        seen.sum(axis=2),
        votes.sum(axis=2) * samples / samples[-1],
        votes @ raters / present,
    )  # [b, s1] each
    # In whole numbers, since 10 * 0.3 is not 3 for every way of computing 0.3.
    place = np.minimum(BINS * samples // samples[-1], BINS - 1)
    member = (place[:, None] == np.arange(BINS)).astype(np.float64)  # [s1, 10]
    return Bins(*(each @ member for each in sums))
