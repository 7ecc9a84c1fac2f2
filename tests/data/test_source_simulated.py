"""Source `simulated`: real contours, simulated CT, each record reproducible by itself."""

import collections
import itertools

import numpy as np
import pytest

from data_pipelines import lidc, sources
from data_pipelines.settings import Settings
from prosona_jax.types import InputError


def settings(**changes):
    defaults = {
        "source": "simulated",
        "path": "",
        "size": 32,
        "spacing_mm": 1.5,
        "slices": "largest",
        "window_hu": (-1000.0, 400.0),
        "percentiles": (1.0, 99.0),
        "raters": "stored",
        "on_error": "raise",
    }
    return Settings(**{**defaults, **changes})


def test_one_record_per_nodule_with_the_largest_slice():
    skipped = collections.Counter()
    records = list(sources.records(settings(size=16, spacing_mm=0.0), skipped))
    assert (len(records), skipped) == (895, {lidc.NO_SHARED_SLICE: 1})
    assert len({record.patient_id for record in records}) == 554
    assert all(np.isfinite(record.image).all() for record in records)


def test_a_record_has_all_fields():
    record = next(sources.records(settings(), collections.Counter()))
    size = 69  # 32 pixels of 1.5 mm, at 0.703125 mm
    assert record.image.shape == (size, size, 1)
    assert record.image.dtype == np.float32
    assert record.masks.shape == (4, size, size)
    assert record.masks.dtype == np.uint8
    assert record.rater_valid.tolist() == [True] * 4
    assert record.record_id == "LIDC-IDRI-0001_z-117.5_n1"
    assert record.patient_id == "LIDC-IDRI-0001"
    assert record.intensity_unit == "HU"
    np.testing.assert_array_equal(record.spacing_mm, np.float32([0.703125, 0.703125]))


def test_a_record_does_not_depend_on_those_before_it():
    """The largest slice is not the nodule's first, but the only one with slices="largest"."""
    alone = next(sources.records(settings(), collections.Counter()))
    every = itertools.islice(sources.records(settings(slices="all"), collections.Counter()), 8)
    (same,) = (record for record in every if record.record_id == alone.record_id)
    np.testing.assert_array_equal(same.image, alone.image)
    np.testing.assert_array_equal(same.masks, alone.masks)


def test_a_path_is_refused():
    with pytest.raises(InputError) as error:
        next(sources.records(settings(path="x.npz"), collections.Counter()))
    assert str(error.value) == (
        "data.path=x.npz: source 'simulated' needs no file; leave data.path empty"
    )
