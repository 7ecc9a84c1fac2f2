"""Settings come from the fields of a config, and invalid values are refused."""

import math

import pytest

from data_pipelines.settings import Settings
from prosona_jax.types import InputError


def test_settings_come_from_the_fields_of_a_config(make_settings):
    settings = make_settings("some.npz")
    data = {**vars(settings), "folds": 4, "cache_dir": "elsewhere"}
    assert Settings.from_config(data) == settings


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "source",
            "nifti",
            r"data.source='nifti' is unknown; choose one of \('crops', 'dicom', 'folder', 'npz'",
        ),
        ("slices", "some", r"data.slices='some' is unknown; choose one of \('all', 'any', 'lar"),
        ("on_error", "warn", r"data.on_error='warn' is unknown; choose one of \('raise', 'skip'\)"),
        ("size", 0, "data.size=0: give the input's height in pixels, above 0"),
        ("spacing_mm", -1.0, "data.spacing_mm=-1.0: give a pixel size in mm, or 0"),
        ("spacing_mm", math.nan, "data.spacing_mm=nan: give a pixel size in mm, or 0"),
        ("window_hu", (400.0, -1000.0), "give .low, high. with low < high"),
        ("percentiles", (1.0, 101.0), "with 0 <= low < high <= 100"),
        ("percentiles", ("a", 99.0), "data.percentiles=.*: give two numbers, .low, high."),
    ],
)
def test_a_value_out_of_range_is_named(make_settings, field, value, message):
    with pytest.raises(InputError, match=message):
        make_settings("some.npz", **{field: value})


def test_a_missing_path_is_named(make_settings, tmp_path):
    with pytest.raises(InputError, match=r"data.path is empty; the source 'npz' needs a file"):
        make_settings("").location()
    with pytest.raises(InputError, match=r"absent.npz: no such file or folder; set data.path"):
        make_settings(tmp_path / "absent.npz").location()


def test_native_size_covers_the_input(make_settings):
    assert make_settings("x", size=64, spacing_mm=0.5).native_size(0.8) == 40
    assert make_settings("x", size=64, spacing_mm=0.0).native_size(0.8) == 64
    assert make_settings("x", size=64, spacing_mm=0.5).native_size(math.nan) == 64
