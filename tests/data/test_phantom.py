"""The phantom: reproducible, and its masks show the observers' habits as the table states them."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from data_pipelines import distances, phantom
from data_pipelines.phantom import anatomy, observers
from data_pipelines.phantom.shapes import Field, Grid, ellipse, star

CASES = 10  # two of each site


@pytest.fixture(scope="module")
def cases():
    return [phantom.case(index) for index in range(CASES)]


def digest(case):
    arrays = (case.image, case.masks, case.rater_valid, case.prostate, case.vesicles)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_a_case_depends_only_on_its_index_and_the_seed(cases):
    code = (
        "from tests.data.test_phantom import digest; from data_pipelines import phantom; "
        "print(digest(phantom.case(3)), digest(phantom.case(3, seed=1)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    same, other = ended.stdout.split()
    assert same == digest(cases[3]) == digest(phantom.case(3))
    assert other != same


def test_the_scanner_changes_the_image_alone(cases, monkeypatch):
    ours = cases[0].site
    brighter = ours._replace(name="other", gain=3 * ours.gain, noise=0.1, gamma=0.7)
    monkeypatch.setattr(phantom, "SITES", (brighter,))
    other = phantom.case(0)
    assert np.median(other.image) > 2.5 * np.median(cases[0].image)
    for field in ("masks", "rater_valid", "prostate", "vesicles"):
        np.testing.assert_array_equal(getattr(other, field), getattr(cases[0], field))


def test_sites_differ_in_intensity_and_geometry(cases):
    medians = np.array([np.median(case.image) for case in cases]).reshape(2, 5)
    levels = np.sort(medians.mean(axis=0))
    assert (levels[1:] > 1.1 * levels[:-1]).all()
    assert levels[-1] > 30 * levels[0]
    for case in cases:
        assert case.image.dtype == np.float32
        assert case.image.min() >= case.site.offset
        slice_mm, row_mm, column_mm = case.spacing_mm
        assert (slice_mm, row_mm, column_mm) == (case.site.slice_mm, *2 * (case.site.spacing_mm,))
        assert abs(case.image.shape[1] * row_mm - phantom.FIELD_MM) <= row_mm


def test_patients_do_not_differ_between_sites():
    """The volume of an ellipsoid, over 40 patients of each of five sites."""
    drawn = [anatomy.draw(np.random.default_rng((0, index, 0))) for index in range(200)]
    volumes = np.array([a.half_width * a.half_depth * a.half_height for a in drawn]).reshape(40, 5)
    volumes *= 4 / 3 * np.pi / 1000
    error = volumes.std() / np.sqrt(40)
    assert 35 < volumes.mean() < 55
    assert (abs(volumes.mean(axis=0) - volumes.mean()) < 2.5 * error).all()


def along(case, mask, low, high):
    """Returns the mean distance [mm] of a mask's contours from the true ones, in some slices."""
    spacing = case.spacing_mm[1:]
    found = []
    for drawn, true in zip(mask[low:high], case.prostate[low:high], strict=True):
        if drawn.any() and true.any():
            edge = np.abs(distances.signed(drawn, spacing)) <= 0.75 * spacing[0]
            found.append(distances.signed(true, spacing)[edge].mean())
    return np.mean(found)


def ends(mask):
    drawn = np.flatnonzero(mask.any(axis=(1, 2)))
    return int(drawn[0]), int(drawn[-1])


def measured(cases, measure):
    """Returns the mean over the cases of what is measured on each observer, [R, ...]."""
    found = [[] for _ in phantom.OBSERVERS]
    for case in cases:
        for rater in np.flatnonzero(case.rater_valid):
            found[rater].append(measure(case, case.masks[rater]))
    return [np.mean(each, axis=0) for each in found]


def test_margins_are_those_of_the_table(cases):
    def margin(case, mask):
        low, high = ends(case.prostate)
        return along(case, mask, low + 2, high - 2)  # seminal vesicles begin above

    for observer, found in zip(phantom.OBSERVERS, measured(cases, margin), strict=True):
        assert found == pytest.approx(observer.margin_mm, abs=0.3), observer.name


def test_slices_at_the_ends_are_those_of_the_table(cases):
    def beyond(case, mask):
        (low, high), (first, last) = ends(case.prostate), ends(mask)
        return low - first, last - high

    for observer, found in zip(phantom.OBSERVERS, measured(cases, beyond), strict=True):
        # One end of a case differs by a slice with a chance of 0.3: 0.17 is the standard error.
        assert found[0] == pytest.approx(observer.apex_slices, abs=0.4), observer.name
        if not observer.vesicles:
            assert found[1] == pytest.approx(observer.base_slices, abs=0.4), observer.name


def test_vesicles_are_included_by_habit(cases):
    def share(case, mask):
        return (mask & case.vesicles).sum() / case.vesicles.sum()

    for observer, found in zip(phantom.OBSERVERS, measured(cases, share), strict=True):
        assert (found > 0.7) if observer.vesicles else (found < 0.15), observer.name


def test_smooth_observers_draw_smooth_contours(cases):
    """Roughness: the area between a contour and the same one smoothed, per mm of contour."""

    def roughness(case, mask):
        low, high = ends(case.prostate)
        pixel = case.site.spacing_mm
        changed = length = 0.0
        for drawn in mask[low + 3 : high - 3]:
            smooth = ndimage.gaussian_filter(drawn.astype(np.float32), 3 / pixel) > 0.5
            edge = np.abs(distances.signed(drawn, case.spacing_mm[1:])) <= 0.75 * pixel
            changed += (smooth != drawn).sum() * pixel**2
            length += edge.sum() / 2 * pixel
        return changed / length

    found = measured(cases, roughness)
    rough = np.mean([r for r, o in zip(found, phantom.OBSERVERS, strict=True) if o.smooth_mm <= 2])
    smooth = [r for r, o in zip(found, phantom.OBSERVERS, strict=True) if o.smooth_mm >= 6]
    assert max(smooth) < 0.9 * rough


def test_every_mask_is_one_object(cases):
    for case in cases:
        for mask in (case.prostate, *case.masks[case.rater_valid]):
            assert ndimage.label(mask)[1] == 1
            for plane in mask:
                np.testing.assert_array_equal(ndimage.binary_fill_holes(plane), plane)


def test_masks_do_not_reach_the_border(cases):
    for case in cases:
        drawn = case.masks.any(axis=0)
        assert not drawn[0].any()
        assert not drawn[-1].any()
        inner = drawn[:, 5:-5, 5:-5]
        assert inner.sum() == drawn.sum()


def test_one_observer_at_most_misses_a_case(cases):
    for case in cases:
        assert not case.masks[~case.rater_valid].any()
        assert case.masks[case.rater_valid].any(axis=(1, 2, 3)).all()
    read = np.array([observers.readers(np.random.default_rng(seed)) for seed in range(800)])
    missing = (~read).sum(axis=1)
    assert missing.max() == 1
    assert missing.mean() == pytest.approx(observers.MISSING_SHARE, abs=0.035)  # three errors
    assert (~read).any(axis=0).all()


def test_zones_have_their_contrast(cases):
    """At the upper third: the peripheral zone is brighter than the transition zone, urine most."""
    ratios = []
    for case in cases:
        low, high = ends(case.prostate)
        at = low + round(0.6 * (high - low))
        image, inside = case.image[at] - case.site.offset, case.prostate[at]
        depth = distances.signed(inside, case.spacing_mm[1:])
        row, column = np.argwhere(inside).mean(axis=0)
        y, x = (np.indices(inside.shape) - np.array([row, column])[:, None, None]) * (
            case.site.spacing_mm
        )
        transition = np.median(image[np.hypot(abs(x) - 8, y + 3) < 3])
        peripheral = np.median(image[(depth > -5) & (depth < -2) & (y > 0)])
        ratios.append(peripheral / transition)
        assert np.percentile(case.image[-2:], 98) > case.site.offset + 0.9 * peripheral
    assert min(ratios) > 1
    assert np.mean(ratios) > 1.4


def test_a_field_is_the_same_on_every_grid_and_has_unit_variance():
    values = []
    for size, spacing in ((41, 2.0), (161, 0.5)):
        grid = Grid.of(np.arange(-30.0, 31.0, 3.0), size, spacing, np.zeros(2))
        values.append(Field(np.random.default_rng(5), 4.0).on(grid))
    np.testing.assert_allclose(values[0], values[1][:, ::4, ::4], atol=1e-5)
    assert values[1].std() == pytest.approx(1.0, abs=0.1)
    assert values[1].mean() == pytest.approx(0.0, abs=0.1)


def test_distances_of_circles():
    y, x = np.mgrid[-20:20:0.5, -20:20:0.5].astype(np.float32)
    expected = np.hypot(x, y) - 12
    near = abs(expected) < 3
    np.testing.assert_allclose(ellipse(x, y, 12.0, 12.0)[near], expected[near], atol=0.02)
    radius = np.full((1, 360), 12, np.float32)
    (found,) = star(x[None], y[None], radius, 0.5)
    np.testing.assert_allclose(found[near], expected[near], atol=0.02)
