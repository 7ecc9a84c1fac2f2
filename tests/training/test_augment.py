"""Random geometry: flips are exact, image and masks move together, and records seed the draws."""

import jax
import jax.numpy as jnp
import numpy as np

from prosona_jax import rng
from prosona_jax.training.augment import Augmentation, augment

NONE = Augmentation(flip=False, rotate_degrees=0.0, scale=0.0, shift_px=0.0, gain=0.0, offset=0.0)


def _keys(count: int) -> jax.Array:
    return rng.example_keys(jax.random.key(0), "augment", 3, jnp.arange(count))


def _blob(count: int, size: int = 32) -> tuple[jax.Array, jax.Array]:
    """An off-centre ellipse, as image and as mask."""
    rows, columns = np.mgrid[:size, :size]
    inside = ((rows - 13) / 7) ** 2 + ((columns - 18) / 4) ** 2 <= 1
    image = jnp.asarray(np.tile(inside[None, :, :, None], (count, 1, 1, 1)), jnp.float32)
    return image, jnp.asarray(np.tile(inside[None, None], (count, 1, 1, 1)), jnp.uint8)


def test_ranges_of_zero_change_nothing() -> None:
    image, masks = _blob(2)
    found_image, found_masks = augment(_keys(2), image, masks, NONE)
    np.testing.assert_allclose(found_image, image, atol=1e-6)
    np.testing.assert_array_equal(found_masks, masks)


def test_flips_are_exact_and_all_four_occur() -> None:
    image, masks = _blob(64)
    _, found = augment(_keys(64), image, masks, NONE._replace(flip=True))
    flips = [masks[0, 0, ::a, ::b] for a in (1, -1) for b in (1, -1)]
    which = [[bool((mask[0] == flip).all()) for flip in flips] for mask in found]
    np.testing.assert_array_equal(np.sum(which, axis=1), 1)
    assert np.sum(which, axis=0).min() > 5


def test_image_and_mask_move_together() -> None:
    image, masks = _blob(8)
    how = Augmentation(True, 180.0, 0.2, 2.0, 0.0, 0.0)
    found_image, found_masks = augment(_keys(8), image, masks, how)
    np.testing.assert_array_equal(found_image[..., 0] >= 0.5, found_masks[:, 0] == 1)


def test_rotation_keeps_areas_and_scaling_changes_them_by_the_square_of_the_scale() -> None:
    image, masks = _blob(16)
    area = float(masks[0].sum())
    _, turned = augment(_keys(16), image, masks, NONE._replace(rotate_degrees=180.0))
    np.testing.assert_allclose(turned.sum(axis=(1, 2, 3)), area, rtol=0.08)
    _, scaled = augment(_keys(16), image, masks, NONE._replace(scale=0.2))
    ratio = np.asarray(scaled.sum(axis=(1, 2, 3))) / area
    assert np.exp(-0.45) < ratio.min() < 0.9 < 1.1 < ratio.max() < np.exp(0.45)


def test_contrast_and_brightness_change_the_image_and_not_the_masks() -> None:
    image, masks = _blob(16)
    how = NONE._replace(gain=0.3, offset=0.2)
    found_image, found_masks = augment(_keys(16), image, masks, how)
    np.testing.assert_array_equal(found_masks, masks)
    low, high = found_image.min(axis=(1, 2, 3)), found_image.max(axis=(1, 2, 3))
    assert float(jnp.abs(low).max()) <= 0.2
    assert np.exp(-0.3) <= float((high - low).min()) < float((high - low).max()) <= np.exp(0.3)


def test_a_record_is_augmented_in_the_same_way_in_any_batch() -> None:
    image, masks = _blob(4)
    how = Augmentation(True, 180.0, 0.2, 2.0, 0.1, 0.1)
    whole = augment(_keys(4), image, masks, how)
    part = augment(_keys(4)[2:], image[2:], masks[2:], how)
    np.testing.assert_allclose(whole[0][2:], part[0], atol=1e-6)
    np.testing.assert_array_equal(whole[1][2:], part[1])
