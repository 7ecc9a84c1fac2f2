"""Predictions of trained stages: which share a compiled step, and what differs all the same."""

import jax
import numpy as np

from configs import lidc
from prosona_jax import build, inputs, predictions
from prosona_jax.types import Batch

INDICES = np.arange(4)


def _batches(*_, **__):
    image = np.zeros((4, 8, 8, 1), np.float32)
    masks = np.zeros((4, 2, 8, 8), np.uint8)
    valid = np.ones((4, 2), bool)
    yield Batch(image, masks, valid, INDICES.astype(np.int32), np.ones(4, np.float32))


def test_folds_and_seeds_share_a_step_but_not_its_draws(monkeypatch):
    """Compiling takes longer than scoring a fold; what the step is made of still makes it anew."""
    made = []

    def make(config, *, samples):
        made.append(config.model.latent_dim)
        return lambda shift, batch, root: batch.index * samples + shift + jax.random.uniform(root)

    monkeypatch.setattr(build, "eval_step", make)
    monkeypatch.setattr(inputs, "eval_batches", _batches)

    def predict(samples=5, **changes):
        config = lidc.get_config("smoke")
        config.update_from_flattened_dict(changes)
        data = inputs.Data(None, {})
        [(_, found)] = predictions.predict_stage_one(
            config, np.float32(100), data, INDICES, samples=samples
        )
        return found

    first = predict()
    drawn = float(jax.random.uniform(jax.random.key(0)))
    np.testing.assert_allclose(first, INDICES * 5 + 100 + drawn, rtol=1e-6)
    other = predict(**{"seed": 1, "data.fold": 1, "steps": 7, "optimizer.learning_rate": 1.0})
    assert not np.allclose(other, first)
    assert made == [lidc.get_config("smoke").model.latent_dim]
    np.testing.assert_allclose(predict(samples=2), INDICES * 2 + 100 + drawn, rtol=1e-6)
    predict(**{"model.latent_dim": 3})
    assert made[2:] == [3]
