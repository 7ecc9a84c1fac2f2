"""The simulated CT is reproducible per record and plausible in HU, for any masks."""

import numpy as np
import pytest
import scipy.ndimage

from data_pipelines import simulate

SHAPE = (72, 80)


def discs(*radii):
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(rows - 36, columns - 40)
    return np.stack([distance < radius for radius in radii]).astype(np.uint8)


MASKS = discs(6, 7, 8, 11)


def slices(masks, count=60):
    return np.stack(
        [simulate.simulate_ct(masks, 0.7, simulate.generator(str(k))) for k in range(count)]
    )


@pytest.fixture(scope="module")
def images():
    return slices(MASKS)


def test_a_record_depends_only_on_its_id(images):
    again = simulate.simulate_ct(MASKS, 0.7, simulate.generator("7"))
    np.testing.assert_array_equal(again, images[7])
    assert not np.array_equal(images[7], images[8])


def test_the_generator_is_the_same_everywhere():
    assert simulate.generator("LIDC-IDRI-0001_z-117.5_n1").integers(10**9) == 875_834_929


def test_shape_type_and_range(images):
    assert images.shape[1:] == SHAPE
    assert images.dtype == np.float32
    assert images.min() >= -1024
    assert images.max() <= 1300


def test_densities_are_those_of_a_chest(images):
    core = np.median(images[:, MASKS.all(axis=0)].mean(axis=1))
    disputed = np.median(images[:, MASKS.any(axis=0) & ~MASKS.all(axis=0)].mean(axis=1))
    lung = np.median(images)
    assert -120 < core < 120
    assert -700 < disputed < -100
    assert -900 < lung < -750


def test_walls_do_not_cover_masks():
    """If masks differ much, the outer rim of the largest must on average stay dark as lung."""
    masks = discs(5, 5, 5, 16)
    rim = masks[3].astype(bool) & ~scipy.ndimage.binary_erosion(masks[3], iterations=2)
    assert np.median(slices(masks)[:, rim].mean(axis=1)) < -550


def test_the_order_of_raters_does_not_change_the_average():
    """Raters have random weights, so no rater determines the edge."""
    ring = discs(9)[0].astype(bool) & ~discs(7)[0].astype(bool)
    one = slices(discs(6, 6, 11, 11), 200)[:, ring].mean()
    other = slices(discs(11, 11, 6, 6), 200)[:, ring].mean()
    assert abs(one - other) < 60


def test_a_single_rater_or_a_single_pixel_is_simulated():
    point = np.zeros((1, 16, 16), np.uint8)
    point[0, 8, 8] = 1
    assert np.isfinite(simulate.simulate_ct(point, 0.5, simulate.generator("a"))).all()
