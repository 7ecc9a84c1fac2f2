"""A trained model on a scan: a ball of soft edges, as a NIfTI volume."""

import nibabel
import numpy as np
import pytest

from data_pipelines import scans
from prosona_jax.types import InputError
from tests.prediction.conftest import loaded
from tests.programs import SIZE

SLICES, MIDDLE = 11, (5, 18.0, 22.0)
RISING = ["Draw a very small contour.", "Draw a very large contour."]


@pytest.fixture(scope="module")
def model(reads_degrees):
    return loaded(reads_degrees)


def _write(path, place=MIDDLE, second=None):
    """A ball whose radius differs by rater, 3 mm between slices, pixels of 1 mm, and a second."""
    grid = np.moveaxis(np.indices((SLICES, SIZE, SIZE)), 0, -1).astype(float)
    volume = np.random.default_rng(1).normal(0.1, 0.03, grid.shape[:-1])
    for middle, radii in ((place, (4, 6, 8, 10)), (second, (3,))):
        if middle is not None:
            apart = np.linalg.norm((grid - middle) * (3, 1, 1), axis=-1)
            volume += 0.7 * np.mean([apart < radius for radius in radii], axis=0)
    voxels = np.clip(volume, 0, 1).astype(np.float32).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return scans.read(path, unit="unit")


@pytest.fixture
def scan(tmp_path):
    return _write(tmp_path / "ball.nii")


def _volume(drawn):
    return sum(int(mask.sum()) for mask in drawn.masks.values())


def test_it_draws_the_object_and_ends_with_it(model, scan):
    small, large = model.segment_scan(scan, MIDDLE, RISING)
    assert 5 in small.masks
    assert {0, 10}.isdisjoint(large.masks)
    assert 4 / 3 * np.pi * 3**3 / 3 < _volume(small) < _volume(large) < 4 / 3 * np.pi * 12**3 / 3
    assert large.volume_ml == pytest.approx(_volume(large) * 3 / 1000)
    assert small.reading.degree < 0 < large.reading.degree
    assert (small.prompt, large.prompt) == tuple(RISING)
    assert small.note.startswith("Research use only")
    assert small.source["model"]


def test_a_style_is_one_contour_and_a_margin_is_added(model, scan):
    plain = model.segment_scan(scan, MIDDLE, style="core")
    grown = model.segment_scan(scan, MIDDLE, style="core", margin_mm=3.0)
    assert plain.prompt == "core"
    assert grown.added_mm == 3.0
    for k, mask in plain.masks.items():
        assert (grown.masks[k] >= mask).all()
    assert _volume(grown) > 1.5 * _volume(plain)
    assert any("by geometry" in caveat for caveat in grown.caveats)


def test_slices_drawn_with_one_latent_differ_from_single_slices_but_little(model, scan):
    """The prior is pooled, so a contour may move, but stays that of the slice's image."""
    drawn = model.segment_scan(scan, MIDDLE, RISING[1])
    alone = model.segment(scan.picture(5)._replace(point=MIDDLE[1:]), RISING[1]).mask
    together = drawn.masks[5]
    assert 2 * (alone * together).sum() / (alone.sum() + together.sum()) > 0.8


def test_a_shifted_object_gives_the_shifted_contour(model, scan, tmp_path):
    moved = _write(tmp_path / "moved.nii", (4, 20.0, 21.0))
    first, second = (
        model.segment_scan(each, point, style="margin")
        for each, point in ((scan, MIDDLE), (moved, (4, 20.0, 21.0)))
    )
    shifted = {k - 1: np.roll(mask, (2, -1), (0, 1)) for k, mask in first.masks.items()}
    overlap = sum((shifted[k] * second.masks[k]).sum() for k in shifted.keys() & second.masks)
    assert 2 * overlap / (_volume(first) + _volume(second)) > 0.85


def test_faults_are_one_line(model, scan):
    with pytest.raises(InputError, match="give either sentences or the name of a style"):
        model.segment_scan(scan, MIDDLE)
    with pytest.raises(InputError, match="has no style 'x'; choose one of core"):
        model.segment_scan(scan, MIDDLE, style="x")
