"""Scores of each record: how well S samples represent R raters. Missing raters count nowhere.

Pixels are read only to count overlaps. The counting is jitted and works on whole batches. Counts
are integers below 2^24, so they are exact in float32. The scores are computed from the counts in
float64 on the host.

    Dice(a, b) = (2 |a & b| + e) / (|a| + |b| + e), e = 1e-8: 1 if both are empty, 0 if one is
    IoU(a, b)  = |a & b| / |a | b|,  d = 1 - IoU

A sample's foreground is where its probability is > 0.5. A record without a valid rater scores NaN.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from scipy.stats import rankdata

from prosona_jax.evaluation import calibration, matching

EPSILON = 1e-8  # pixels; D-Persona's smoothing of Dice and of its IoU
SOFT_TENTHS = (1, 3, 5, 7, 9)  # thresholds of dice_soft

Scores = dict[str, np.ndarray]  # f64 [b] each, unless a docstring gives another shape


class Overlaps(NamedTuple):
    """Number of pixels that masks of a record share; the diagonals of pairs are masks' areas."""

    pairs: Float[Array | np.ndarray, "b m m"]  # the S samples, then the R raters: m = S + R
    soft: Float[Array | np.ndarray, "b t 2 2"]  # mean sample and mean rater, thresholded
    votes: Float[Array | np.ndarray, "b s1 r1"]  # pixels that k samples and m raters include


@jax.jit
def count_overlaps(
    probs: Float[Array | np.ndarray, "b s h w"],
    labels: UInt8[Array | np.ndarray, "b r h w"],
    rater_valid: Bool[Array | np.ndarray, "b r"],
) -> Overlaps:
    """Returns the pixel counts for all scores, as matrix products M M^T of flattened masks M.

    Args:
        probs: foreground probabilities of S samples; S may be 0.
        labels: {0, 1} masks of R raters.
        rater_valid: False where a rater has no mask of the image; that mask counts as empty.
    """
    # One record at a time: its masks fit into a CPU's cache. A whole batch as float32 would take
    # several times the memory and the time.
    return jax.lax.map(lambda record: _count_record(*record), (probs, labels, rater_valid))


def _count_record(probs: jax.Array, labels: jax.Array, rater_valid: jax.Array) -> Overlaps:
    pixels = labels.shape[1] * labels.shape[2]
    samples = probs.reshape(len(probs), pixels)
    raters = labels.reshape(len(labels), pixels) * rater_valid[:, None]
    # 10 sum > 10 t n instead of mean > t: exact for binary maps, whose rounded mean could equal t.
    tenths = jnp.array(SOFT_TENTHS)[:, None]
    sample_mean = 10 * jnp.sum(samples, axis=0)[None] > tenths * len(samples)  # [t, p]
    rater_mean = 10 * jnp.sum(raters, axis=0, dtype=jnp.int32)[None] > tenths * jnp.sum(rater_valid)
    drawn, rated = samples > 0.5, raters > 0
    return Overlaps(
        pairs=_shared_pixels(jnp.concatenate([drawn, rated])),
        votes=calibration.count_votes(drawn, rated),
        soft=_shared_pixels(jnp.stack([sample_mean, rater_mean], axis=1)),
    )


def _shared_pixels(masks: jax.Array) -> jax.Array:
    """Returns |a_i & a_j| of masks [..., m, p] as f32 [..., m, m]."""
    # An accelerator may round the inputs of a product, which does not change 0 and 1. It sums in
    # float32.
    masks = masks.astype(jnp.float32)
    return jnp.einsum("...ip,...jp->...ij", masks, masks)


def dice(
    a: Bool[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"],
    b: Bool[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"],
) -> float:
    """Returns the Dice of two masks {0, 1}, as at the top of this module."""
    shared = np.count_nonzero(np.logical_and(a, b))
    return (2 * shared + EPSILON) / (np.count_nonzero(a) + np.count_nonzero(b) + EPSILON)


def score_batch(overlaps: Overlaps, rater_valid: Bool[Array | np.ndarray, "b r"]) -> Scores:
    """Returns every score of the samples against the raters. R is the number of valid raters.

    ged                         2 E d(s,y) - E d(s,s') - E d(y,y'), self pairs included, d = 0 for
                                two empty masks (Kohl et al. 2018)
    ged_dpersona                the same with IoU = I / (U + e): d = 1 for two empty masks
    dice_match                  mean Dice of the best one-to-one assignment, min(S, R) pairs
    iou_match                   mean IoU of the best assignment of all samples to all raters, see
                                `matching.of_all` (Kohl et al. 2019)
    dice_soft                   mean over t = .1, .3, .5, .7, .9 of
                                Dice(mean sample > t, mean rater > t)
    dice_max_samples_per_rater  mean over raters of the best sample's Dice
    dice_max_raters_per_sample  mean over samples of the best rater's Dice
    ece_10_all, ece_10_union    calibration of the share of samples, see `calibration`
    dice_style [b, r]           where S = R: Dice of sample k with rater k, NaN for a missing rater
    dice_mean                   its mean over raters

    All Dice and ``ged_dpersona`` are as in D-Persona (CVPR 2024). GED falls with S and R, so
    compare it only at equal S and equal R.

    Args:
        overlaps: the pixel counts of samples and raters.
        rater_valid: the same array that :func:`count_overlaps` had.
    """
    pairs, soft = _on_host(overlaps)
    rater_valid = np.asarray(rater_valid)
    samples = pairs.shape[1] - rater_valid.shape[1]
    dice = _dice(pairs)[:, :samples, samples:]  # [b, s, r]
    iou = _iou(pairs)
    rated = np.where(rater_valid[:, None, :], dice, 0.0)
    share = _shares(rater_valid)  # [b, r]
    scores = {
        "ged": _ged(iou, share),
        "ged_dpersona": _ged(_iou_dpersona(pairs), share),
        "dice_match": _matched(matching.of_fewest, dice, rater_valid),
        "iou_match": _matched(matching.of_all, iou[:, :samples, samples:], rater_valid),
        "dice_soft": _dice(soft)[..., 0, 1].mean(axis=1),
        "dice_max_samples_per_rater": np.sum(share * dice.max(axis=1), axis=1),
        "dice_max_raters_per_sample": rated.max(axis=2).mean(axis=1),
    }
    bins = calibration.bins(overlaps.votes, rater_valid)
    scores |= {"ece_10_all": bins.ece_all(), "ece_10_union": bins.ece_union()}
    if samples == rater_valid.shape[1]:
        style = np.diagonal(dice, axis1=1, axis2=2)  # [b, r]
        scores["dice_style"] = np.where(rater_valid, style, np.nan)
        scores["dice_mean"] = np.sum(share * style, axis=1)
    return _blank(scores, rater_valid, fewest=1)


def style_scores(overlaps: Overlaps, rater_valid: Bool[Array | np.ndarray, "b k"]) -> Scores:
    """Returns scores of how well mask k, drawn from prompt k, fits rater k and no other rater.

    dice_table [b, k, k]  Dice of mask i (row) with rater j, NaN for a missing rater
    dice_others           mean Dice of mask i with raters j != i. It equals dice_mean after the
                          prompts are shuffled so that none keeps its style, averaged over all
                          such shuffles
    style_gain            mean over raters j of table[j, j] - mean_{i != j} table[i, j]
    own_best              share of raters j for whom mask j has the highest Dice of all K masks. If
                          n masks tie for the highest Dice, each counts 1/n. Chance is 1/K
    area [b, k]           pixels of mask i
    ordered               1 if area_1 <= ... <= area_K and area_1 < area_K, else 0
    rank_correlation      Spearman's correlation of area and k, 0 if all areas are equal
    rater_correlation     Spearman's correlation of area and the raters' areas, 0 if all areas are
                          equal, NaN if all raters' areas are equal

    The arguments are as in :func:`score_batch`, with S = R = K >= 2.
    """
    pairs, _ = _on_host(overlaps)
    rater_valid = np.asarray(rater_valid)
    k = rater_valid.shape[1]
    table = _dice(pairs)[:, :k, k:]  # [b, i, j]
    own = np.diagonal(table, axis1=1, axis2=2)
    others = (table.sum(axis=1) - own) / (k - 1)  # [b, j]
    best = table == table.max(axis=1, keepdims=True)  # [b, i, j]; ties are exact
    own_best = np.diagonal(best, axis1=1, axis2=2) / best.sum(axis=1)
    share = _shares(rater_valid)
    drawn = np.diagonal(pairs, axis1=1, axis2=2)  # [b, 2 k]: prompts' areas, then raters'
    area = drawn[:, :k]
    ordered = (np.diff(area, axis=1) >= 0).all(axis=1) & (area[:, 0] < area[:, -1])
    scores = {
        "dice_table": np.where(rater_valid[:, None, :], table, np.nan),
        "dice_others": np.sum(share * others, axis=1),
        "style_gain": np.sum(share * (own - others), axis=1),
        "own_best": np.sum(share * own_best, axis=1),
        "area": area.copy(),
        "ordered": ordered.astype(np.float64),
        "rank_correlation": _rank_correlation(area, np.broadcast_to(np.arange(k), area.shape)),
        "rater_correlation": _rank_correlation(
            np.where(rater_valid, area, np.nan), np.where(rater_valid, drawn[:, k:], np.nan)
        ),
    }
    return _blank(scores, rater_valid, fewest=1)


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns Spearman's correlation of each row of `one` with that of `other`, both [b, k].

    Ties share their rank. Both arrays have NaN in the same cells, which are left out. If all values
    of a row of `one` are equal, the correlation is 0. If all values of a row of `other` are equal,
    it is NaN, because there is no order to follow.
    """
    a, b = (rankdata(x, axis=1, nan_policy="omit") for x in (one, other))
    count = np.maximum(np.sum(~np.isnan(a), axis=1, keepdims=True), 1)
    a, b = (np.nan_to_num(x - np.nansum(x, axis=1, keepdims=True) / count) for x in (a, b))
    size = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    nothing = np.where((b == 0).all(axis=1), np.nan, 0.0)
    return np.divide(np.sum(a * b, axis=1), size, out=nothing, where=size > 0)


def raters_leave_one_out(
    overlaps: Overlaps, rater_valid: Bool[Array | np.ndarray, "b r"]
) -> Scores:
    """Returns the raters' own scores: each rater in turn is scored as a sample against the others.

    O_r are the valid raters without r. The means are over the valid raters r:

    ged       mean_r [ 2 E_{y in O_r} d(y_r, y) - E_{y,y' in O_r} d(y, y') ]
    dice      mean_r E_{y in O_r} Dice(y_r, y)
    dice_max  mean_r max_{y in O_r} Dice(y_r, y)

    A record with fewer than two valid raters scores NaN. Compare these scores only with those of
    :func:`samples_leave_one_out`, never with scores for other numbers of samples or raters.

    The arguments are as in :func:`score_batch`; the samples are not used.
    """
    raters = rater_valid.shape[1]
    among = _on_host(overlaps)[0][:, -raters:, -raters:]
    return _leave_one_out(among, np.asarray(rater_valid), author=np.eye(raters))


def samples_leave_one_out(
    overlaps: Overlaps, rater_valid: Bool[Array | np.ndarray, "b r"]
) -> Scores:
    """Returns the mean score of one sample that replaces rater r in :func:`raters_leave_one_out`.

    The formulas are the same, but with the mean E_s over the S single samples instead of y_r. For
    example, ged = mean_r [ 2 E_s E_{y in O_r} d(s, y) - E_{y,y' in O_r} d(y, y') ].

    The arguments are as in :func:`score_batch`.
    """
    pairs, _ = _on_host(overlaps)
    raters = rater_valid.shape[1]
    samples = pairs.shape[1] - raters
    author = np.zeros((raters, samples + raters))
    author[:, :samples] = 1 / samples
    return _leave_one_out(pairs, np.asarray(rater_valid), author=author)


def _leave_one_out(pairs: np.ndarray, rater_valid: np.ndarray, *, author: np.ndarray) -> Scores:
    """Returns the scores if mask m replaces rater r with probability ``author`` [r, m]."""
    raters = rater_valid.shape[1]
    others = rater_valid[:, None, :] & ~np.eye(raters, dtype=bool)  # [b, r, r]
    share = _shares(others)
    distance = 1 - _iou(pairs)[:, :, -raters:]  # [b, m, r]
    dice = _dice(pairs)[:, :, -raters:]
    among = np.einsum("brj,bjk,brk->br", share, distance[:, -raters:], share)
    best = np.where(others[:, :, None, :], dice[:, None], 0.0).max(axis=3)  # [b, r, m]
    by_rater = {
        "ged": 2 * np.einsum("rm,bmk,brk->br", author, distance, share) - among,
        "dice": np.einsum("rm,bmk,brk->br", author, dice, share),
        "dice_max": np.einsum("rm,brm->br", author, best),
    }
    scores = {
        name: np.sum(_shares(rater_valid) * value, axis=1) for name, value in by_rater.items()
    }
    return _blank(scores, rater_valid, fewest=2)


def _on_host(overlaps: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``pairs`` and ``soft`` in float64."""
    return np.asarray(overlaps.pairs, np.float64), np.asarray(overlaps.soft, np.float64)


def _dice(shared: np.ndarray) -> np.ndarray:
    return (2 * shared + EPSILON) / (_total(shared) + EPSILON)


def _iou(shared: np.ndarray) -> np.ndarray:
    union = _total(shared) - shared
    return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def _iou_dpersona(shared: np.ndarray) -> np.ndarray:
    return shared / (_total(shared) - shared + EPSILON)


def _total(shared: np.ndarray) -> np.ndarray:
    """Returns |a_i| + |a_j| for shared pixels [..., m, m]."""
    area = np.diagonal(shared, axis1=-2, axis2=-1)
    return area[..., :, None] + area[..., None, :]


def _ged(iou: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Returns w' IoU w, with weights w = 1/S for the samples and -``share`` [b, r] for the raters.

    This equals the usual sum over d = 1 - IoU: the ones cancel because the weights sum to 0. Both
    kinds of IoU are positive definite kernels, so the result is below 0 only by rounding.
    """
    samples = iou.shape[1] - share.shape[1]
    weight = np.concatenate([np.full((len(share), samples), 1 / samples), -share], axis=1)
    return np.maximum(np.einsum("bi,bij,bj->b", weight, iou, weight), 0.0)


def _matched(
    best: Callable[[np.ndarray], float], table: np.ndarray, rater_valid: np.ndarray
) -> np.ndarray:
    """Returns the best assignment's score in each [s, r] of ``table``, among valid raters."""
    return np.array([best(own[:, v]) for own, v in zip(table, rater_valid, strict=True)])


def _shares(valid: np.ndarray) -> np.ndarray:
    """Returns 1/n for each of the n valid raters in [..., r], 0 for the others."""
    return valid / np.maximum(valid.sum(axis=-1, keepdims=True), 1)


def _blank(scores: Scores, rater_valid: np.ndarray, *, fewest: int) -> Scores:
    """Sets records with fewer than ``fewest`` valid raters to NaN, in place."""
    for value in scores.values():
        value[rater_valid.sum(axis=1) < fewest] = np.nan
    return scores
