"""The encoded outputs of stage one: equal to calling the network; features pooled under masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from prosona_jax.models import encoding
from prosona_jax.training import augment, feature_cache
from prosona_jax.types import Batch
from tests import tiny
from tests.tiny import AUGMENTATION, MODEL, ROOT

POSTERIOR_MASKS = {"single": 1, "all": 3}


def _batch(size: int = 4) -> Batch:
    generator = np.random.default_rng(0)
    rater_valid = np.ones((size, 3), bool)
    rater_valid[0, 1] = False
    masks = generator.random((size, 3, 8, 8)) > 0.6
    masks[1, 2], masks[2, 0] = False, True
    return Batch(
        image=jnp.asarray(generator.normal(size=(size, 8, 8, 1)), jnp.float32),
        masks=jnp.asarray(masks, jnp.uint8),
        rater_valid=jnp.asarray(rater_valid),
        index=jnp.arange(100, 100 + size, dtype=jnp.int32),
        valid=jnp.ones(size),
    )


def _encode(
    batch: Batch, view: int = 0, augmentation: augment.Augmentation | None = AUGMENTATION
) -> encoding.Encoded:
    encode = feature_cache.make_encode(MODEL, "single", augmentation)
    return jax.device_get(jax.jit(encode)(feature_cache.View(tiny.params(), view), batch, ROOT))


def _assert_close(a: object, b: object, atol: float) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=atol), a, b)


@pytest.mark.parametrize("posterior_input", ["single", "all"])
def test_encoded_parts_equal_the_outputs_of_the_network(posterior_input) -> None:
    """Latent offset k comes from a posterior that sees mask k alone, or all masks."""
    params, batch = tiny.params(POSTERIOR_MASKS[posterior_input]), _batch()
    encode = feature_cache.make_encode(MODEL, posterior_input, None)
    encoded = encode(feature_cache.View(params, 0), batch, ROOT)
    features = MODEL.apply(params, batch.image, method="features")
    prior = MODEL.apply(params, batch.image, method="prior")
    np.testing.assert_allclose(encoded.features, features, atol=1e-6)
    _assert_close(encoded.prior, prior, 1e-6)
    for k in range(3):
        seen = batch.masks[:, k : k + 1], jnp.ones((4, 1), bool)
        if posterior_input == "all":
            seen = batch.masks, batch.rater_valid
        posterior = MODEL.apply(params, batch.image, *seen, method="posterior")
        expected = (posterior.mu - prior.mu) / np.exp(prior.log_sigma)
        np.testing.assert_allclose(encoded.latent[:, k], expected, atol=1e-5)
    for name in ("masks", "rater_valid", "index", "valid"):
        np.testing.assert_array_equal(getattr(encoded, name), getattr(batch, name))


def test_features_are_pooled_under_the_mask_its_rim_and_outside() -> None:
    """One mask is empty and one is full; erosion treats pixels beyond the border as inside."""
    encoded = _encode(_batch(), augmentation=None)
    square = np.ones((3, 3), bool)
    for i in range(4):
        for k in range(3):
            mask = encoded.masks[i, k] > 0
            grown = ndimage.binary_dilation(mask, square)
            shrunk = ndimage.binary_erosion(mask, square, border_value=1)
            expected = [
                encoded.features[i][region].mean(axis=0) if region.any() else np.zeros(4)
                for region in (mask, grown & ~shrunk, ~grown)
            ]
            np.testing.assert_allclose(encoded.visual[i, k], np.concatenate(expected), atol=1e-5)
    np.testing.assert_array_equal(encoded.visual[1, 2, :8], 0.0)  # nothing inside, no rim
    np.testing.assert_array_equal(encoded.visual[2, 0, 4:], 0.0)  # no rim, nothing outside


def test_a_view_is_one_draw_of_the_augmentation_for_image_and_masks() -> None:
    """Masks are thresholded images; after flips, which interpolate nothing, they still are."""
    flips = augment.Augmentation(True, 0.0, 0.0, 0.0, 0.0, 0.0)
    batch = _batch()
    batch = batch._replace(masks=jnp.repeat((batch.image[..., 0] > 0)[:, None], 3, 1).astype("u1"))
    for view in range(4):
        encoded = _encode(batch, view, flips)
        image = [_flipped(i, encoded.masks, batch) for i in range(4)]
        expected = MODEL.apply(tiny.params(), jnp.stack(image), method="features")
        np.testing.assert_allclose(encoded.features, expected, atol=1e-5)


def _flipped(i: int, masks: np.ndarray, batch: Batch) -> jax.Array:
    """Returns the image of record i, mirrored by the one of four mirrors that gives its mask."""
    mirrors = [(slice(None, None, a), slice(None, None, b)) for a in (1, -1) for b in (1, -1)]
    (found,) = [at for at in mirrors if np.array_equal(batch.masks[i, 0][at], masks[i, 0])]
    return batch.image[i][found]


def test_views_differ_and_each_comes_back_bit_for_bit() -> None:
    first, again, second = (_encode(_batch(), view) for view in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    for i in range(4):
        assert np.abs(first.features[i] - second.features[i]).max() > 0.01
        assert not np.array_equal(first.masks[i], second.masks[i])


def test_a_view_of_a_record_does_not_depend_on_its_batch() -> None:
    batch = _batch()
    whole = _encode(batch, 3)
    order = np.array([2, 0])
    part = _encode(jax.tree.map(lambda x: x[order], batch), 3)
    _assert_close(part, jax.tree.map(lambda x: x[order], whole), 1e-5)
