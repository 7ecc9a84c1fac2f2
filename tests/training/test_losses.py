"""Loss terms compared with closed forms and with plain loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax.training import losses

CERTAIN = 30.0  # the sigmoid of this logit or its negative is 1 or 0 in float32


def _logits(mask: np.ndarray) -> jax.Array:
    return jnp.asarray(np.where(mask > 0, CERTAIN, -CERTAIN), jnp.float32)


def _masks(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random(shape) > 0.6, jnp.float32)


def test_soft_dice_of_half_overlapping_squares() -> None:
    a, b = np.zeros((1, 8, 8)), np.zeros((1, 8, 8))
    a[0, :4, :4], b[0, 2:6, :4] = 1, 1
    expected = 1 - (8 + losses.SMOOTH) / (16 + losses.SMOOTH)
    value = losses.soft_dice(_logits(a), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(value, [expected], rtol=1e-5)


def test_soft_dice_is_per_image_so_that_large_objects_do_not_hide_small_ones() -> None:
    truth = np.zeros((2, 16, 16), np.float32)
    truth[0, :12, :12], truth[1, :2, :2] = 1, 1
    found = truth.copy()
    found[1] = 0
    value = losses.soft_dice(_logits(found), jnp.asarray(truth))
    np.testing.assert_allclose(value, [0, 1], atol=1e-3)


def test_soft_dice_of_two_empty_masks_is_zero_with_a_finite_gradient() -> None:
    empty = jnp.zeros((1, 4, 4))
    value, gradient = jax.value_and_grad(lambda x: losses.soft_dice(x, empty).sum())(
        jnp.full((1, 4, 4), -CERTAIN)
    )
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient).all()


def test_cross_entropy_of_an_undecided_model_is_log_two() -> None:
    value = losses.cross_entropy(jnp.zeros((2, 5, 5)), _masks(0, 2, 5, 5))
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)


def test_free_bits_apply_to_each_dimension_and_not_to_the_sum() -> None:
    per_dimension = jnp.array([[0.2, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(losses.kl(per_dimension, 0.0), [3.2, 0.0], rtol=1e-6)
    np.testing.assert_allclose(losses.kl(per_dimension, 0.5), [3.5, 1.0], rtol=1e-6)


def test_bound_is_zero_if_the_samples_are_the_raters_masks() -> None:
    masks = _masks(1, 2, 3, 6, 6)
    valid = jnp.ones((2, 3), bool)
    np.testing.assert_allclose(losses.bound(_logits(masks), masks, valid), 0.0, atol=1e-3)
    reordered = _logits(masks[:, ::-1])
    np.testing.assert_allclose(losses.bound(reordered, masks, valid), 0.0, atol=1e-3)


def test_bound_ignores_missing_raters() -> None:
    masks = _masks(2, 1, 3, 6, 6)
    valid = jnp.array([[True, True, False]])
    logits = jnp.asarray(np.random.default_rng(3).normal(size=(1, 4, 6, 6)), jnp.float32)
    np.testing.assert_allclose(
        losses.bound(logits, masks, valid),
        losses.bound(logits, masks[:, :2], valid[:, :2]),
        rtol=1e-6,
    )


def test_soft_distance_is_one_minus_iou_of_binary_masks() -> None:
    a, b = _masks(4, 1, 2, 30), _masks(5, 1, 3, 30)
    found = np.asarray(losses.soft_distance(a, b))
    for i in range(2):
        for j in range(3):
            shared = float((a[0, i] * b[0, j]).sum())
            union = float(jnp.maximum(a[0, i], b[0, j]).sum())
            assert found[0, i, j] == pytest.approx(1 - shared / union, abs=1e-3)


def test_the_distance_of_a_grey_mask_from_itself_is_zero() -> None:
    grey = jnp.full((1, 1, 50), 0.3)
    assert float(losses.soft_distance(grey, grey)[0, 0, 0]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("drawn", [True, False])
def test_ged_of_binary_masks_is_the_plain_double_sum(drawn) -> None:
    """Samples leave out pairs of one with itself; in a whole set, all nine pairs count."""
    samples, masks = _masks(6, 1, 3, 6, 6), _masks(7, 1, 2, 6, 6)
    distance = lambda a, b: 1 - float((a * b).sum() / jnp.maximum(a, b).sum())  # noqa: E731
    to_raters = np.mean([distance(s, y) for s in samples[0] for y in masks[0]])
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j or not drawn]
    among = np.mean([distance(samples[0, i], samples[0, j]) for i, j in pairs])
    found = losses.ged(_logits(samples), masks, jnp.ones((1, 2), bool), drawn=drawn)
    np.testing.assert_allclose(found, [2 * to_raters - among], atol=1e-3)


def test_ged_ignores_missing_raters_and_the_order_of_all() -> None:
    ged = functools.partial(losses.ged, drawn=True)
    logits = jnp.asarray(np.random.default_rng(8).normal(size=(1, 4, 6, 6)), jnp.float32)
    masks = _masks(9, 1, 3, 6, 6)
    valid = jnp.array([[True, False, True]])
    found = ged(logits, masks, valid)
    np.testing.assert_allclose(
        found, ged(logits, masks[:, [0, 2]], jnp.ones((1, 2), bool)), rtol=1e-5
    )
    order = np.array([2, 0, 1])
    np.testing.assert_allclose(
        found, ged(logits[:, ::-1], masks[:, order], valid[:, order]), rtol=1e-5
    )


def test_ged_is_least_when_samples_are_drawn_as_the_raters_are() -> None:
    """A proper score: samples of both masks score better than one mask alone or their mean."""
    raters = jnp.stack([jnp.zeros((6, 6)).at[:3].set(1), jnp.zeros((6, 6)).at[3:].set(1)])[None]
    ged = functools.partial(losses.ged, drawn=True)
    valid = jnp.ones((1, 2), bool)
    as_raters = _logits(np.repeat(np.asarray(raters), 20, axis=1))
    one = _logits(np.repeat(np.asarray(raters[:, :1]), 40, axis=1))
    grey = jnp.zeros((1, 40, 6, 6))
    best = float(ged(as_raters, raters, valid)[0])
    assert best < float(ged(one, raters, valid)[0]) - 0.2
    assert best < float(ged(grey, raters, valid)[0]) - 0.2


def _contrast(seed: int, n: int, m: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Unit vectors of n anchors and m candidates, three styles each, two candidates unusable."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n + m, 4))
    vectors = jnp.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), jnp.float32)
    positive = (np.arange(n) % 3)[:, None] == (np.arange(m) % 3)[None]
    valid = np.ones(m, bool)
    valid[[1, 5]] = False
    return vectors[:n], vectors[n:], jnp.asarray(positive), jnp.asarray(valid)


def test_info_nce_by_loops() -> None:
    anchors, candidates, positive, valid = _contrast(10, 5, 9)
    found = losses.info_nce(anchors, candidates, positive, valid, jnp.float32(0.2))
    for i in range(5):
        usable = [j for j in range(9) if valid[j]]
        score = {j: float(anchors[i] @ candidates[j]) / 0.2 for j in usable}
        total = sum(np.exp(value) for value in score.values())
        own = [-np.log(np.exp(score[j]) / total) for j in usable if positive[i, j]]
        assert float(found[i]) == pytest.approx(np.mean(own), rel=1e-5)


def test_info_nce_of_equal_candidates_is_the_log_of_their_number() -> None:
    anchors, _, positive, valid = _contrast(11, 5, 9)
    same = jnp.broadcast_to(anchors[:1], (9, 4))
    found = losses.info_nce(anchors, same, positive, valid, jnp.float32(0.07))
    np.testing.assert_allclose(found, np.log(7), rtol=1e-5)


def test_info_nce_of_one_candidate_that_is_positive_is_zero() -> None:
    anchors, candidates, positive, _ = _contrast(12, 3, 9)
    alone = jnp.arange(9) == 4
    found = losses.info_nce(anchors, candidates, positive, alone, jnp.float32(0.07))
    np.testing.assert_allclose(found, 0.0, atol=1e-6)  # and anchors 0 and 2 have no positive


def test_unusable_candidates_change_neither_info_nce_nor_its_gradient() -> None:
    anchors, candidates, positive, valid = _contrast(13, 5, 9)
    other = jnp.where(valid[:, None], candidates, 1e4)

    def total(anchors: jax.Array, candidates: jax.Array) -> jax.Array:
        each = losses.info_nce(anchors, candidates, positive, valid, jnp.float32(0.07))
        return jnp.sum(each)

    one, of_one = jax.value_and_grad(total, argnums=(0, 1))(anchors, candidates)
    two, of_two = jax.value_and_grad(total, argnums=(0, 1))(anchors, other)
    assert float(one) == float(two)
    for a, b in zip(of_one, of_two, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    np.testing.assert_array_equal(of_one[1][~valid], 0.0)
    assert np.abs(of_one[1][valid]).max(axis=1).min() > 0


def test_the_loss_of_an_anchor_without_a_positive_is_zero() -> None:
    anchors, candidates, positive, valid = _contrast(14, 5, 9)
    positive = positive.at[2].set(~valid)  # only unusable candidates

    def second(anchors: jax.Array) -> jax.Array:
        return losses.info_nce(anchors, candidates, positive, valid, jnp.float32(0.07))[2]

    value, gradient = jax.value_and_grad(second)(anchors)
    assert float(value) == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_info_nce_does_not_depend_on_the_order_of_candidates() -> None:
    anchors, candidates, positive, valid = _contrast(15, 5, 9)
    order = np.random.default_rng(16).permutation(9)
    np.testing.assert_allclose(
        losses.info_nce(
            anchors, candidates[order], positive[:, order], valid[order], jnp.float32(0.07)
        ),
        losses.info_nce(anchors, candidates, positive, valid, jnp.float32(0.07)),
        rtol=1e-5,
    )
