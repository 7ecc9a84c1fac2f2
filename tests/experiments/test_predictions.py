"""Predictions of trained stages: which of them share a compiled step, and their values."""

import collections
import types

import jax
import numpy as np
import pytest

from configs import lidc
from prosona_jax.evaluation import scoring
from prosona_jax.experiments import build, inputs, predictions
from prosona_jax.training import feature_cache, stage_two
from prosona_jax.types import Batch

INDICES = np.arange(4)
K, E = 3, 5


def _batches(*_, **__):
    image = np.zeros((4, 8, 8, 1), np.float32)
    masks = np.zeros((4, 2, 8, 8), np.uint8)
    valid = np.ones((4, 2), bool)
    yield Batch(image, masks, valid, INDICES.astype(np.int32), np.ones(4, np.float32))


def _scored(*_, **__):
    """Yields six records in two batches; half of the second batch is padding."""
    generator = np.random.default_rng(0)
    for first, real in ((0, 4), (4, 2)):
        rater_valid = np.ones((4, K), bool)
        rater_valid[0, 1] = False
        yield Batch(
            image=generator.normal(size=(4, 8, 8, 1)).astype(np.float32),
            masks=(generator.random((4, K, 8, 8)) > 0.5).astype(np.uint8),
            rater_valid=rater_valid,
            index=np.arange(first, first + 4, dtype=np.int32),
            valid=(np.arange(4) < real).astype(np.float32),
        )


def _config():
    """Returns a config whose second stage reads embeddings of length E."""
    config = lidc.get_config("smoke")
    config.prompts.degree_reader = ""
    return config


def _model(config):
    """Returns random parameters of stage one and a second stage with random prompts."""
    generator, root = np.random.default_rng(1), jax.random.key(0)
    network, image_shape = build.model(config), (8, 8, 1)
    trees = (
        build.initialise(config, network, root, image_shape, K),
        stage_two.initialise(
            build.prompter(config, K), root, network, image_shape=image_shape, styles=K, text_dim=E
        ),
    )
    one, two = jax.tree.map(lambda x: x + generator.normal(0, 0.5, x.shape).astype("f4"), trees)
    text = {
        split: generator.normal(size=(K, count, E)).astype(np.float32)
        for split, count in (("train", 3), ("held_out", 2))
    }
    return one, predictions.StageTwo(0, two, K, text)


def test_folds_and_seeds_share_a_step_but_not_its_random_draws(monkeypatch):
    """Compiling takes longer than scoring a fold. Other sample counts or models need a new step."""
    made = []

    def make(config, *, samples, drawn):
        assert not drawn
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


@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
def test_a_batch_is_encoded_once_for_all_sets_of_prompts(wrapper, monkeypatch):
    """Each prediction equals that of its own step on one device and a separately encoded batch."""
    config = _config()
    config.parallel = wrapper
    one, second = _model(config)
    monkeypatch.setattr(inputs, "eval_batches", _scored)
    compiled, calls = predictions._compiled, collections.Counter()

    def counted(config, make, **options):
        step = compiled(config, make, **options)
        return lambda *args: calls.update([make.__name__]) or step(*args)

    monkeypatch.setattr(predictions, "_compiled", counted)
    names, data = ("mean", "train", "held_out"), inputs.Data(None, {})
    found = list(
        predictions.predict_stage_two(
            config, one, second, data, INDICES, prompts_of=names, drawn=True
        )
    )
    assert calls == {"encode_step_of_evaluation": 2, "eval_step_of_stage_two": 6}
    assert [batch.index.tolist() for batch, _ in found] == [[0, 1, 2, 3], [4, 5]]
    root, encode = jax.random.key(0), jax.jit(build.encode_step_of_evaluation(config))
    for number, name in enumerate(names):
        step = jax.jit(
            build.eval_step_of_stage_two(config, styles=K, together=name == "mean", drawn=True)
        )
        prompted = second.prompted(one, "train" if name == "mean" else name)
        for batch, results in found:
            expected = step(prompted, encode(feature_cache.View(one, 0), batch, root), root)
            np.testing.assert_allclose(results[number].probs, expected.probs, atol=1e-5)
            # No probability is so near to 1/2 that rounding could change its side.
            assert np.abs(expected.probs - 0.5).min() > 1e-5
            jax.tree.map(np.testing.assert_array_equal, results[number].overlaps, expected.overlaps)
            np.testing.assert_array_equal(results[number].text_to_visual, expected.text_to_visual)


def test_a_padded_last_batch_compiles_nothing_new(monkeypatch, caplog):
    dataset = types.SimpleNamespace(drawn=[True] * len(INDICES))
    config, data = _config(), inputs.Data(dataset, {"test": INDICES})
    one, _ = _model(config)
    monkeypatch.setattr(inputs, "eval_batches", _scored)
    batches = iter(predictions.predict_stage_one(config, one, data, INDICES, samples=7))
    whole = scoring.evaluate([next(batches)])
    with jax.log_compiles():
        tail = scoring.evaluate(batches)
    assert "Compiling" not in caplog.text
    assert [row["index"] for row in tail.rows if row["method"] == "samples"] == [4, 5]
    both = predictions.score_stage_one(config, one, data, "test", samples=7)
    assert both.rows == [*whole.rows, *tail.rows]
    np.testing.assert_allclose(
        both.latent_kl, (4 * whole.latent_kl + 2 * tail.latent_kl) / 6, rtol=1e-6
    )
