"""Encoded training records: all views in host memory, sorted by record, without padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines import loader
from prosona_jax.models import encoding
from prosona_jax.runtime import parallel
from prosona_jax.training import feature_cache
from prosona_jax.types import Batch
from tests import tiny
from tests.tiny import AUGMENTATION, MODEL, ROOT

ORDER = [14, 10, 13, 11, 12, 15]  # indices of the records in the data set, in reading order


def _read(positions, valid):
    """Returns the records at these positions of a data set of 20."""
    generator = np.random.default_rng(0)
    image = generator.normal(size=(20, 8, 8, 1)).astype(np.float32)
    masks = (generator.random((20, 2, 8, 8)) > 0.5).astype(np.uint8)
    rater_valid = np.ones((20, 2), bool)
    rater_valid[11, 0] = False
    return Batch(
        image[positions], masks[positions], rater_valid[positions], positions.astype(np.int32),
        valid.astype(np.float32),
    )  # fmt: skip


def _batches():
    """Returns six records in two batches of four; half of the second batch is padding."""
    return loader.eval_batches(
        _read, np.array(ORDER), batch_size=4, process_index=0, process_count=1
    )


class _OneDevice:
    """A wrapper that runs the same steps on one device, without a mesh."""

    shard = staticmethod(lambda batch: jax.tree.map(jnp.asarray, batch))
    gather = staticmethod(jax.device_get)
    eval_step = staticmethod(jax.jit)
    replicate = train_step = staticmethod(lambda x: x)


def _keep(devices):
    step = feature_cache.make_encode(MODEL, "single", AUGMENTATION)
    return feature_cache.keep(
        _batches,
        np.array(ORDER),
        views=2,
        params=tiny.params(),
        encode_step=devices.eval_step(step),
        parallel=devices,
        root=ROOT,
    )


@pytest.fixture(scope="module")
def kept():
    assert jax.device_count() == 4
    return _keep(parallel.create("mesh"))


def test_views_follow_one_another_each_sorted_by_record(kept):
    """There is no padding; arrays are on the host, features as f16."""
    assert kept.index.tolist() == [10, 11, 12, 13, 14, 15] * 2
    assert (kept.valid == 1).all()
    assert kept.features.shape == (12, 8, 8, 4)
    assert kept.features.dtype == np.float16
    assert kept.prior.mu.shape == kept.prior.log_sigma.shape == (12, 3)
    assert kept.latent.shape == (12, 2, 3)
    assert kept.visual.shape == (12, 2, 12)
    assert kept.masks.shape == (12, 2, 8, 8)
    assert kept.rater_valid[:, 0].tolist() == [True, False, True, True, True, True] * 2
    assert {type(x) for x in jax.tree.leaves(kept)} == {np.ndarray}


@pytest.mark.parametrize("view", [0, 1])
def test_each_kept_record_equals_its_encoded_view(kept, view):
    positions = np.arange(10, 16)
    batch = jax.tree.map(jnp.asarray, _read(positions, np.ones(6)))
    step = jax.jit(feature_cache.make_encode(MODEL, "single", AUGMENTATION))
    expected = jax.device_get(step(feature_cache.View(tiny.params(), view), batch, ROOT))
    found = jax.tree.map(lambda x: x[6 * view : 6 * view + 6], kept)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-3, atol=1e-4)
    for a, b in zip(jax.tree.leaves(found[1:]), jax.tree.leaves(expected[1:]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("wrapper", ["pmap", None])
def test_any_parallel_wrapper_keeps_the_same_values(kept, wrapper):
    other = _keep(parallel.create(wrapper) if wrapper else _OneDevice())
    np.testing.assert_allclose(other.features, kept.features, rtol=2e-3, atol=1e-4)
    for a, b in zip(jax.tree.leaves(other[1:]), jax.tree.leaves(kept[1:]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_reader_returns_kept_records_with_the_given_validity(kept):
    read = feature_cache.reader(kept)
    found = read(np.array([7, 0, 7]), np.array([1.0, 1.0, 0.0]))
    assert isinstance(found, encoding.Encoded)
    assert found.index.tolist() == [11, 10, 11]
    assert found.valid.dtype == np.float32
    assert found.valid.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(found.features, kept.features[[7, 0, 7]])
    np.testing.assert_array_equal(found.prior.mu, kept.prior.mu[[7, 0, 7]])
    assert (kept.valid == 1).all()


def test_training_batches_of_an_epoch_hold_every_view_once(kept):
    batches = loader.train_batches(
        feature_cache.reader(kept),
        np.arange(12),
        batch_size=4,
        seed=0,
        process_index=0,
        process_count=1,
    )
    epoch = [next(batches) for _ in range(3)]
    seen = np.concatenate([batch.prior.mu for batch in epoch])
    in_order = lambda x: x[np.lexsort(x.T)]  # noqa: E731
    np.testing.assert_array_equal(in_order(seen), in_order(kept.prior.mu))
