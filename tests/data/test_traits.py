"""Traits of masks whose shapes are known."""

import numpy as np
import pytest

from data_pipelines import traits
from data_pipelines.traits import TRAITS

AREA, ELONGATION, ROUGHNESS, RIGHT, DOWN = range(len(TRAITS))


def ellipse(a=10.0, b=10.0, x=0.0, y=0.0, size=64):
    rows, columns = np.mgrid[:size, :size] - size / 2
    return ((columns - x) / a) ** 2 + ((rows - y) / b) ** 2 < 1


def test_an_equal_mask_has_no_traits():
    np.testing.assert_allclose(traits.of(ellipse()[None], ellipse()), np.zeros((1, 5)), atol=1e-12)


def test_traits_of_ellipses_are_those_of_their_axes():
    found = traits.of(np.stack([ellipse(16, 8), ellipse(8, 16), ellipse(20, 20)]), ellipse())
    np.testing.assert_allclose(found[:, AREA], [np.log(1.28), np.log(1.28), np.log(4)], atol=0.03)
    np.testing.assert_allclose(found[:, ELONGATION], [np.log(2), np.log(2), 0], atol=0.02)


def test_the_shift_is_in_units_of_the_size():
    (found,) = traits.of(ellipse(x=3.0, y=-2.0)[None], ellipse())
    size = np.sqrt(ellipse().sum())
    np.testing.assert_allclose(found[[RIGHT, DOWN]], np.array([3.0, -2.0]) / size, atol=1e-9)


def test_a_ragged_edge_is_rough():
    ragged = ellipse().copy()
    ragged[::4] |= np.roll(ellipse(), 2, axis=1)[::4]
    assert traits.of(ragged[None], ellipse())[0, ROUGHNESS] > 0.005


def test_a_larger_mask_of_the_same_shape_is_as_rough():
    small, large = ellipse(8, 6), ellipse(24, 18)
    found = traits.of(np.stack([small, large]), ellipse())[:, ROUGHNESS]
    assert found[1] - found[0] == pytest.approx(0, abs=0.005)


def test_masks_without_a_shape_are_unknown():
    nothing = np.zeros((64, 64), bool)
    assert np.isnan(traits.of(nothing[None], ellipse())).all()
    assert np.isnan(traits.of(ellipse()[None], nothing)).all()
