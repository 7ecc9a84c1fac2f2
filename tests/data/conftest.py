"""Small files that tests damage, and the settings that read the multi-rater one."""

import numpy as np
import pytest

from data_pipelines.settings import Settings


def arrays(n=12, raters=3, size=20):
    """Discs of growing radius by rater, on noise; two records per patient."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((size, size)) - size // 2
    radius = np.arange(2, 2 + raters)[:, None, None]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return {
        "image": rng.integers(-900, 300, (n, size, size)).astype(np.int16),
        "masks": np.tile(disc, (n, 1, 1, 1)),
        "patient_id": np.array([f"p{i // 2:02d}" for i in range(n)]),
        "record_id": np.array([f"r{i:02d}" for i in range(n)]),
        "spacing_mm": np.full((n, 2), 0.7, np.float32),
        "intensity_unit": np.array("HU"),
    }


@pytest.fixture
def make_npz(tmp_path):
    """Writes the file with keys replaced (an array), or left out (None)."""

    def make(name="data.npz", **changes):
        data = {k: v for k, v in {**arrays(), **changes}.items() if v is not None}
        np.savez(tmp_path / name, **data)
        return tmp_path / name

    return make


@pytest.fixture
def make_settings():
    """Settings that read a file as it is, 20x20, unless told otherwise."""

    def make(path, **changes):
        defaults = {
            "source": "npz",
            "path": str(path),
            "size": 20,
            "spacing_mm": 0.0,
            "slices": "all",
            "window_hu": (-1000.0, 400.0),
            "percentiles": (1.0, 99.0),
            "raters": "stored",
            "on_error": "raise",
        }
        return Settings(**{**defaults, **changes})

    return make


@pytest.fixture
def changed():
    """Returns a copy of one array of the file with one element replaced."""

    def change(key, where, value, dtype=None):
        array = arrays()[key]
        array = array.astype(dtype or array.dtype)
        array[where] = value
        return array

    return change
