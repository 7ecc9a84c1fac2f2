"""The loss of networks that draw the raters' masks directly."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prosona_jax.models.direct import Heads, Pionono
from prosona_jax.training import augment, losses, step
from prosona_jax.training.direct_loss import majority, make_loss_terms
from prosona_jax.types import Batch
from tests.tiny import ROOT

BODY = {"channels": (4, 8), "convs_per_scale": 1, "norm": "none", "layers": 3}
STILL = augment.Augmentation(False, 0.0, 0.0, 0.0, 0.0, 0.0)
D = 2


def batch(raters=3):
    rng = np.random.default_rng(0)
    valid = np.ones((4, raters), bool)
    valid[0, 1] = False
    masks = (rng.random((4, raters, 8, 8)) > 0.5).astype(np.uint8)
    return Batch(
        image=jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.float32),
        masks=masks * valid[:, :, None, None].astype(np.uint8),
        rater_valid=valid,
        index=np.arange(4, dtype=np.int32),
        valid=np.ones(4, np.float32),
    )


def initialised(network):
    return network.init(jax.random.key(0), batch().image, jnp.zeros((4, network.masks, D)))


def terms(network, params):
    seen = jax.tree.map(jnp.asarray, batch())
    return make_loss_terms(network, D, STILL)(params, seen, ROOT, jnp.int32(0), None)


def test_the_majority_counts_those_who_read_the_image_and_takes_ties():
    votes = np.float32([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]).T  # [r, pixels]
    masks = np.broadcast_to(votes[None, :, None], (2, 4, 1, 4))
    valid = np.array([[True] * 4, [True, False, False, False]])
    found = majority(jnp.asarray(masks), jnp.asarray(valid))
    np.testing.assert_array_equal(found[:, 0], [[1, 1, 0, 0], [1, 1, 1, 0]])


def test_each_mask_learns_its_rater_and_missing_raters_do_not_count():
    network = Heads(3, True, **BODY)
    params, seen = initialised(network), batch()
    logits = network.apply(params, seen.image, None)
    found = terms(network, params)
    for name, loss in (("dice", losses.soft_dice), ("cross_entropy", losses.cross_entropy)):
        each = np.stack(
            [loss(logits[:, r], jnp.float32(seen.masks[:, r])) for r in range(3)], axis=1
        )
        expected = (each * seen.rater_valid).sum(axis=1) / seen.rater_valid.sum(axis=1)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5)
    np.testing.assert_array_equal(found["kl"], np.zeros(4))


def test_one_mask_learns_the_majority():
    network = Heads(1, True, **BODY)
    params, seen = initialised(network), batch()
    logits = network.apply(params, seen.image, None)[:, 0]
    target = majority(jnp.float32(seen.masks), jnp.asarray(seen.rater_valid))
    np.testing.assert_allclose(
        terms(network, params)["dice"], losses.soft_dice(logits, target), rtol=1e-5
    )


def test_the_divergence_is_the_mean_over_raters_in_every_record():
    network = Pionono(3, D, **BODY)
    params = initialised(network)
    expected = np.mean(network.apply(params, method="divergence"))
    np.testing.assert_allclose(terms(network, params)["kl"], np.full(4, expected), rtol=1e-5)


@pytest.mark.parametrize("network", [Heads(3, False, **BODY), Pionono(3, D, **BODY)])
def test_training_lowers_the_loss(network):
    tx, seen = optax.adam(1e-2), batch()
    levels = np.array([-0.5, 0.0, 0.5])[:, None, None]
    masks = np.asarray(seen.image)[:, None, :, :, 0] > levels  # each rater has a threshold
    seen = seen._replace(masks=masks.astype(np.uint8))
    weights = {"dice": 1.0, "cross_entropy": 1.0, "kl": 1e-3}
    train_step = jax.jit(
        step.make_train_step(make_loss_terms(network, D, STILL), lambda step: weights, tx, 0.9)
    )
    state, losses_seen = step.create_state(initialised(network), tx), []
    for _ in range(60):
        state, metrics = train_step(state, seen, ROOT)
        losses_seen.append(float(metrics["loss"]))
    assert losses_seen[-1] < 0.8 * losses_seen[0]
