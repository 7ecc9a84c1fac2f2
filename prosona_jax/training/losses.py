"""Loss terms with one value per record, or per anchor of the contrastive loss.

Each stage computes a weighted sum of its terms.

Masks are float {0, 1}. Soft Dice follows optax with both smoothing constants at :data:`SMOOTH`.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

# Large enough for a finite gradient on an empty mask, and far below one pixel.
SMOOTH = 1e-3


def soft_dice(logits: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Returns 1 - (I + e) / ((|p| + |y|) / 2 + e) with I = sum p y, per image, not pooled."""
    return optax.losses.dice_loss(logits[..., None], mask[..., None], smooth=SMOOTH)


def cross_entropy(logits: Float[Array, "b h w"], mask: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Returns the mean binary cross-entropy over the pixels of each image, nats."""
    return jnp.mean(optax.losses.sigmoid_binary_cross_entropy(logits, mask), axis=(1, 2))


def kl(per_dimension: Float[Array, "b d"], free_bits: float) -> Float[Array, " b"]:
    """Returns sum_d max(KL_d, free_bits): no gain below ``free_bits`` nats (Kingma et al. 2016)."""
    return jnp.sum(jnp.maximum(per_dimension, free_bits), axis=-1)


def bound(
    logits: Float[Array, "b s h w"],
    masks: Float[Array, "b r h w"],
    rater_valid: Bool[Array, "b r"],
) -> Float[Array, " b"]:
    """Returns the soft Dice of the samples' envelope against the raters' (D-Persona, CVPR 2024).

    Dice(max_s p_s, union of the raters) + Dice(min_s p_s, intersection of the raters). Missing
    raters are ignored.
    """
    valid = rater_valid[:, :, None, None]
    union = jnp.max(jnp.where(valid, masks, 0.0), axis=1)
    intersection = jnp.min(jnp.where(valid, masks, 1.0), axis=1)
    # The sigmoid is monotone: the extreme logit is the extreme probability.
    return soft_dice(jnp.max(logits, axis=1), union) + soft_dice(
        jnp.min(logits, axis=1), intersection
    )


def soft_distance(a: Float[Array, "b m p"], b: Float[Array, "b n p"]) -> Float[Array, "b m n"]:
    """Returns d = 1 - sum min(a, b) / sum max(a, b), 0 for two empty masks.

    With sum max = |a| + |b| - sum min, this is the Jaccard distance of fuzzy sets. d(a, a) = 0
    holds for a grey mask too; it does not hold for the product form of soft IoU.
    """

    def against(one: jax.Array) -> jax.Array:  # [b, p] -> [b, n]
        return jnp.sum(jnp.minimum(one[:, None], b), axis=-1)

    # One sample at a time, because [b, m, n, p] would not fit in memory. The gradient recomputes
    # the maps, which is cheap.
    shared = jnp.moveaxis(jax.lax.map(jax.checkpoint(against), jnp.moveaxis(a, 1, 0)), 0, 1)
    total = jnp.sum(a, axis=-1)[:, :, None] + jnp.sum(b, axis=-1)[:, None, :]
    return 1.0 - (shared + SMOOTH) / (total - shared + SMOOTH)


def ged(
    logits: Float[Array, "b s h w"],
    masks: Float[Array, "b r h w"],
    rater_valid: Bool[Array, "b r"],
    *,
    drawn: bool,
) -> Float[Array, " b"]:
    """Returns 2 E d(s, y) - E d(s, s') with the soft distance, an energy score.

    The term between raters is constant and left out.

    Args:
        logits: of S masks per image.
        masks: of the raters.
        rater_valid: False for missing raters, which are ignored.
        drawn: True: the masks are samples, so pairs of one with itself are left out. The estimate
            is then unbiased for any S, and few samples do not reward a more concentrated prior.
            False: the S masks are the whole set, and all S^2 pairs count, as in GED@S.
    """
    samples = jax.nn.sigmoid(logits).reshape(*logits.shape[:2], -1)
    raters = masks.reshape(*masks.shape[:2], -1)
    weight = rater_valid / jnp.sum(rater_valid, axis=1, keepdims=True)  # [b, r]
    to_raters = jnp.mean(jnp.einsum("bsr,br->bs", soft_distance(samples, raters), weight), axis=1)
    count = samples.shape[1]
    pairs = count * (count - 1 if drawn else count)
    among = jnp.sum(soft_distance(samples, samples), axis=(1, 2)) / pairs
    return 2.0 * to_raters - among


def info_nce(
    anchors: Float[Array, "n q"],
    candidates: Float[Array, "m q"],
    positive: Bool[Array, "n m"],
    valid: Bool[Array, " m"],
    temperature: Float[Array, ""],
) -> Float[Array, " n"]:
    """Returns -mean_{j positive} log softmax_j(a_i . c_j / temperature), nats (Khosla et al. 2020).

    Args:
        anchors: unit vectors.
        candidates: unit vectors.
        positive: which candidates belong to each anchor; an anchor without any gives 0.
        valid: False for vectors that are no candidates.
        temperature: > 0.
    """
    logits = anchors @ candidates.T / temperature
    log_share = jax.nn.log_softmax(jnp.where(valid[None], logits, -jnp.inf), axis=1)
    belongs = positive & valid[None]
    count = jnp.maximum(jnp.sum(belongs, axis=1), 1)
    return -jnp.sum(jnp.where(belongs, log_share, 0.0), axis=1) / count
