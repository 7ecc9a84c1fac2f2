"""Measures what each latent dimension does to a contour, and how well the dimensions are separated.

The contour is described by traits (`data_pipelines/traits.py`). Codes and traits are compared
within an image: the mean over its samples is subtracted from both. A linear regression then gives
the traits y = B^T c of a code c:

    effect of dimension i on trait j      B_ij sd(c_i) / sd(y_j), the importance |.| in P_ij
    explained_j                           R^2 of the regression of trait j

*Disentanglement* and *completeness* are those of Eastwood and Williams (ICLR 2018, "DCI"), with the
linear regression in place of their lasso. They suit codes that are continuous and traits that are
measured and not set: other measures need images in which one true factor is changed by hand.

    D_i = 1 - H_J(P_i. / sum_j P_ij),  D = sum_i w_i D_i,  w_i = sum_j P_ij / sum P
    C_j = 1 - H_d(P_.j / sum_i P_ij),  C = sum_j v_j C_j,  v_j = sum_i P_ij / sum P

H_n is the entropy to the base n. D = 1: each dimension changes one trait at most. C = 1: each trait
is changed by one dimension alone. C is weighted like D, so that a trait which nothing changes does
not count.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

_RIDGE = 1e-6


class Separation(NamedTuple):
    """What d latent dimensions do to T traits."""

    effects: Float[np.ndarray, "d t"]  # in standard deviations of the trait
    explained: Float[np.ndarray, " t"]  # R^2, 0 to 1
    disentanglement: float
    completeness: float


def within(
    values: Float[np.ndarray, "n f"], image: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n f"]:
    """Returns values minus the mean of their image."""
    _, place, count = np.unique(image, return_inverse=True, return_counts=True)
    total = np.zeros((len(count), values.shape[1]))
    np.add.at(total, place, values)
    return values - (total / count[:, None])[place]


def separate(
    codes: Float[np.ndarray, "n d"],
    found: Float[np.ndarray, "n t"],
    image: Int[np.ndarray, " n"],
) -> Separation:
    """Returns what the dimensions of the codes do to the traits.

    Args:
        codes: latents as (z - mu) / sigma.
        found: the traits of the masks that they draw; rows with NaN are left out.
        image: of each row.
    """
    known = np.isfinite(found).all(axis=1)
    c, y = (within(x[known], image[known]) for x in (codes, found))
    slopes = np.linalg.solve(c.T @ c + _RIDGE * len(c) * np.eye(c.shape[1]), c.T @ y)
    scale = y.std(axis=0)
    varies = scale > 0
    effects = np.zeros(slopes.shape)
    effects[:, varies] = (c.std(axis=0)[:, None] * slopes)[:, varies] / scale[varies]
    residual = (y - c @ slopes).var(axis=0)
    explained = np.zeros(len(scale))
    explained[varies] = 1 - residual[varies] / scale[varies] ** 2
    return Separation(effects, explained, *dci(np.abs(effects)))


def shares(
    codes: Float[np.ndarray, "n d"],
    found: Float[np.ndarray, "n t"],
    image: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "d t"]:
    """Returns the squared correlation of each dimension with each trait within an image.

    For the raters' latents and masks: the share of the raters' variance that a dimension explains.
    The shares of dimensions that vary together overlap.
    """
    known = np.isfinite(found).all(axis=1)
    c, y = (within(x[known], image[known]) for x in (codes, found))
    norms = np.sqrt(np.outer((c**2).sum(axis=0), (y**2).sum(axis=0)))
    return np.divide(c.T @ y, norms, out=np.zeros(norms.shape), where=norms > 0) ** 2


def dci(importance: Float[np.ndarray, "d t"]) -> tuple[float, float]:
    """Returns disentanglement and completeness of an importance matrix; 0 if it is all 0.

    >>> dci(np.eye(3))
    (1.0, 1.0)
    >>> dci(np.ones((3, 3)))
    (0.0, 0.0)
    """
    total = importance.sum()
    if not total > 0:
        return 0.0, 0.0
    of_dimensions, of_traits = (importance.sum(axis=axis) / total for axis in (1, 0))
    return float(of_dimensions @ _peaked(importance)), float(of_traits @ _peaked(importance.T))


def _peaked(rows: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    """Returns 1 - entropy of each row, to the base of its length; 0 for a row of zeros."""
    total = rows.sum(axis=1, keepdims=True)
    p = np.divide(rows, total, out=np.full(rows.shape, 1 / rows.shape[1]), where=total > 0)
    logs = np.log(p, out=np.zeros(p.shape), where=p > 0)
    entropy = -(p * logs).sum(axis=1) / max(np.log(rows.shape[1]), 1e-12)
    return np.round(1 - entropy, 12)
