"""Percentiles of a volume that is read slice by slice are those of the whole volume."""

import tracemalloc

import numpy as np
import pytest

from data_pipelines import percentiles

RNG = np.random.default_rng(0)
VOLUMES = {
    "noise of two channels": RNG.normal(0, 100, (7, 30, 20, 2)),
    "whole numbers": RNG.integers(0, 900, (7, 30, 20, 1)),
    "two values": RNG.random((3, 8, 8, 1)) < 0.985,
    "halves below zero": -0.5 * RNG.integers(0, 3, (1, 4, 5, 1)),
    "subnormal numbers": RNG.exponential(1e-40, (5, 9, 9, 1)),
    "all magnitudes": 10.0 ** RNG.uniform(-30, 30, (5, 9, 9, 1)) - 10.0 ** RNG.uniform(-30, 30),
    "one voxel": np.full((1, 1, 1, 1), 3.5),
}  # fmt: skip


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("asked", [(1.0, 99.0), (0.0, 100.0), (0.3, 50.0)])
def test_they_are_those_of_numpy(name, asked):
    volume = VOLUMES[name].astype(np.float32)
    found = percentiles.window(lambda: iter(volume))(asked)
    expected = np.percentile(volume.astype(float), asked, axis=(0, 1, 2))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-44)


def test_a_volume_is_read_once_for_each_pair():
    volume, calls = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1), []

    def slices():
        calls.append(1)
        return iter(volume)

    window = percentiles.window(slices)
    first = window((0.0, 100.0))
    assert window((0.0, 100.0)) is first
    assert len(calls) == 2  # passes over the volume
    assert first.ravel().tolist() == [0, 23]
    assert window((50.0, 100.0)).ravel().tolist() == [11.5, 23]


def test_memory_does_not_grow_with_the_volume():
    """A slice has 0.25 MiB, and the counts of a channel 2.5 MiB."""

    def peak(count):
        rng = np.random.default_rng(0)
        slices = [rng.normal(0, 100, (256, 256, 1)).astype(np.float32)] * count
        tracemalloc.start()
        percentiles.window(lambda: (each.copy() for each in slices))((1.0, 99.0))
        found = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        return found

    peak(1)
    few, many = peak(2), peak(40)
    assert many < few + 0.1
    assert many < 6
