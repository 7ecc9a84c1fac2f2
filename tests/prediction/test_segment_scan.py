"""A trained model on a scan: a ball of soft edges, as a NIfTI volume."""

import nibabel
import numpy as np
import pytest

from data_pipelines import scans
from prosona_jax.prediction import lesion, presence
from prosona_jax.prediction.loading import load
from prosona_jax.types import ConstantImage, InputError
from tests.prediction.conftest import MIDDLE, loaded

RISING = ["Draw a very small contour.", "Draw a very large contour."]


@pytest.fixture(scope="module")
def model(reads_degrees):
    return loaded(reads_degrees)


@pytest.fixture
def scan(ball_file):
    return scans.read(ball_file, unit="unit")


def _volume(drawn):
    return sum(int(mask.sum()) for mask in drawn.masks.values())


def test_it_draws_through_the_object(model, scan):
    small, large = model.segment_scan(scan, MIDDLE, RISING)
    assert {4, 5, 6} <= set(small.masks)
    assert 4 / 3 * np.pi * 3**3 / 3 < _volume(small) < _volume(large)
    assert large.volume_ml == pytest.approx(_volume(large) * 3 / 1000)
    assert small.reading.degree < 0 < large.reading.degree
    assert (small.prompt, large.prompt) == tuple(RISING)
    assert small.note.startswith("Research use only")
    assert small.source["model"]


def test_it_stops_where_nothing_is_drawn(model, scan, monkeypatch):
    """The tiny model, which has seen discs alone, draws on empty slices too: so they are taken."""
    draw = model._drawer.draw
    empty = {k: model._images.see(scan.picture(k)._replace(point=MIDDLE[1:])) for k in (2, 9)}

    def drawn(encoded, query):
        probs = draw(encoded, query)
        same = [np.array_equal(encoded[0], seen.encoded[0]) for seen in empty.values()]
        return 0 * probs if any(same) else probs

    monkeypatch.setattr(model._drawer, "draw", drawn)
    monkeypatch.setattr(lesion.ndimage, "center_of_mass", lambda mask: MIDDLE[1:])
    assert set(model.segment_scan(scan, MIDDLE, style="core").masks) <= set(range(3, 9))


def test_a_style_is_one_contour_and_a_margin_is_added(model, scan):
    plain = model.segment_scan(scan, MIDDLE, style="core")
    grown = model.segment_scan(scan, MIDDLE, style="core", margin_mm=3.0)
    assert plain.prompt == "core"
    assert grown.added_mm == 3.0
    for k, mask in plain.masks.items():
        assert (grown.masks[k] >= mask).all()
    assert _volume(grown) > 1.5 * _volume(plain)
    assert any("by geometry" in caveat for caveat in grown.caveats)


def test_a_slice_is_drawn_as_an_image(model, scan):
    drawn = model.segment_scan(scan, MIDDLE, RISING[1], one_object=False, fill_holes=False)
    alone = model.segment(scan.picture(5)._replace(point=MIDDLE[1:]), RISING[1])
    np.testing.assert_array_equal(drawn.masks[5], alone.mask)


def test_faults_are_one_line(model, scan):
    with pytest.raises(InputError, match="give either sentences or the name of a style"):
        model.segment_scan(scan, MIDDLE)
    with pytest.raises(InputError, match="has no style 'x'; choose one of core"):
        model.segment_scan(scan, MIDDLE, style="x")


def test_samples_are_shares_of_the_same_draws(model, scan):
    """On the slice of the point they are the samples of an image."""
    plain = {"one_object": False, "fill_holes": False}
    found = model.sample_scan(scan, MIDDLE, 5, seed=3, **plain)
    alone = model.sample(scan.picture(5)._replace(point=MIDDLE[1:]), 5, seed=3)
    share = np.mean([each.mask for each in alone], axis=0)
    np.testing.assert_allclose(found.agreement[5], share, atol=1e-6)
    assert 0 < share[share > 0].min() < 1
    p = np.array([share, 1 - share])
    entropy = -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=0)
    np.testing.assert_allclose(found.entropy[5], entropy, atol=1e-5)
    assert len(found.volumes_ml) == 5
    total = sum(each.sum() for each in found.agreement.values())
    assert np.mean(found.volumes_ml) == pytest.approx(total * 3 / 1000, rel=1e-5)
    for share, counts in ((0.2, 1), (0.5, 3), (1.0, 5)):
        expected = np.round(5 * found.agreement[5]) >= counts
        np.testing.assert_array_equal(found.at_least(share)[5], expected)
    with pytest.raises(InputError, match="the number of samples is 0; it must be at least 1"):
        model.sample_scan(scan, MIDDLE, 0)


def test_padding_ends_the_object_with_a_caveat(model, ball, tmp_path):
    padded = ball.copy()
    padded[7:] = 0.25
    image = nibabel.Nifti1Image(padded.transpose(2, 1, 0), np.diag([1.0, 1.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "padded.nii")
    scan = scans.read(tmp_path / "padded.nii", unit="unit")
    drawn = model.segment_scan(scan, MIDDLE, style="margin")
    assert max(drawn.masks) == 6
    expected = "Slice 7 is constant, as padding is, so the object was taken to end before it."
    assert expected in drawn.caveats
    with pytest.raises(ConstantImage, match="slice 8: channel 0 of the image is constant"):
        model.segment_scan(scan, (8, 18.0, 22.0), style="margin")


def test_an_object_at_the_end_of_the_scan_has_a_caveat(model, ball, tmp_path):
    image = nibabel.Nifti1Image(ball[4:].transpose(2, 1, 0), np.diag([1.0, 1.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "cut.nii")
    scan = scans.read(tmp_path / "cut.nii", unit="unit")
    drawn = model.segment_scan(scan, (1, 18.0, 22.0), style="full")
    expected = "The object reaches slice 0, an end of the scan, and may go on beyond it."
    assert expected in drawn.caveats


def test_only_the_slice_of_the_point_is_judged_for_the_presence_of_an_object(
    reads_degrees, scan, monkeypatch
):
    """The ends of an object are unlike the training images, which are its largest slices."""
    said = lambda known, image: [f"Unlike: {image.pooled.sum():.9f}"]  # noqa: E731
    monkeypatch.setattr(presence, "about_image", said)
    model = load(reads_degrees)
    drawn = model.segment_scan(scan, MIDDLE, style="core")
    (own,) = (caveat for caveat in drawn.caveats if caveat.startswith("Unlike"))
    assert len(drawn.masks) > 1
    assert own in model.segment(scan.picture(5)._replace(point=MIDDLE[1:]), style="core").caveats
    away = model.segment_scan(scan, (5, 3.0, 36.0), style="core")
    beside = [caveat.partition(":")[0] for caveat in away.caveats]
    assert {"Contour beside the point", "Empty contour", "Cut contour"} & set(beside)
