"""The window of a volume: a slice of unit "arbitrary" becomes the same input as in training."""

import collections

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from data_pipelines import images, prepared, scans, volumes
from data_pipelines.sources import npz
from data_pipelines.volumes import Volume
from tests.data import conftest

SPACING = (4.0, 0.5, 0.7)
ASKED = (2.0, 97.0)
LEVEL = 2 / 65535  # of stored images
AIR = 3.0


def volume(depth=7, height=48, width=40):
    """Returns an organ on a gradient whose slices differ in brightness; the first is constant."""
    rng = np.random.default_rng(0)
    image = rng.gamma(2, 50, (depth, height, width)) + np.arange(width)
    image *= np.linspace(0.5, 1.5, depth)[:, None, None]
    image[0] = AIR
    masks = np.zeros((2, depth, height, width), np.uint8)
    masks[0, 2:5, 15:30, 12:25] = 1
    masks[1, 2:5, 18:33, 14:23] = 1
    return Volume(
        image=image[..., None].astype(np.float32),
        masks=masks,
        rater_valid=np.ones(2, bool),
        patient_id="p",
        volume="v",
        site="",
        spacing_mm=np.float32(SPACING),
        intensity_unit="arbitrary",
    )


def save(path, image, **header):
    """Writes [D, H, W, 1] as NIfTI, whose axes are column, row, slice."""
    nifti = nibabel.Nifti1Image(image[..., 0].transpose(2, 1, 0), np.diag([*SPACING[::-1], 1]))
    nibabel.save(nifti, path)
    return path


def whole(image, asked=ASKED):
    return np.percentile(image, asked, axis=(0, 1, 2)).astype(np.float32)


@pytest.mark.parametrize("spacing_mm", [0.0, 0.9])
@pytest.mark.parametrize("crop", ["middle", "organ"])
def test_a_slice_of_a_scan_is_the_prepared_record(make_settings, cache, tmp_path, spacing_mm, crop):
    given = volume()
    settings = make_settings(
        tmp_path / "v.npz", size=20, spacing_mm=spacing_mm, percentiles=ASKED, crop=crop
    )
    records = list(volumes.slices(given, settings, collections.Counter()))
    npz.write(tmp_path / "v.npz", records, "", False)
    dataset = prepared.prepare(settings, cache)
    assert dataset.windowed_by_volume
    assert dataset.record_ids == ["v/2", "v/3", "v/4"]
    scan = scans.read(save(tmp_path / "v.nii.gz", given.image), unit="arbitrary")
    drawn = np.argwhere(given.masks.any(axis=(0, 1)))
    middle = tuple(((drawn.min(axis=0) + drawn.max(axis=0)) // 2).tolist())
    point = middle if crop == "organ" else None
    for record, k in zip(dataset, (2, 3, 4), strict=True):
        picture = scan.picture(k)._replace(point=point)
        _, found, _ = images.to_model(picture, settings, picture.window(ASKED))
        np.testing.assert_allclose(found, record.image, atol=LEVEL / 2 + 1e-6)
        _, alone, _ = images.to_model(picture, settings)
        assert np.abs(alone - record.image).max() > 0.1


def test_single_images_are_not_windowed_by_volume(make_settings, make_npz, cache):
    path = make_npz(intensity_unit=np.array("arbitrary"))
    assert not prepared.prepare(make_settings(path), cache).windowed_by_volume


def test_a_bright_artefact_in_one_slice_changes_no_slice(make_settings, tmp_path):
    """It fills a twelfth of its slice, and a hundredth of the volume."""
    tissues = np.random.default_rng(0).choice(
        [20.0, 90.0, 200.0], (7, 48, 40, 1), p=(0.5, 0.4, 0.1)
    )
    artefact = tissues.astype(np.float32)
    artefact[3, :4] = 4000
    before, after = (
        scans.read(save(tmp_path / f"{k}.nii", each.astype(np.float32)), unit="arbitrary")
        for k, each in enumerate((tissues, artefact))
    )
    settings = make_settings("x", size=48, percentiles=ASKED)

    def seen(scan, k, *window):
        return images.to_model(scan.picture(k), settings, *window)[0]

    for k in range(7):
        rows = slice(4, None) if k == 3 else slice(None)
        by_volume = [seen(scan, k, scan.window(ASKED))[rows] for scan in (before, after)]
        np.testing.assert_array_equal(*by_volume)
        assert len(np.unique(by_volume[0])) == 3
        alone = [seen(scan, k)[rows] for scan in (before, after)]
        assert np.array_equal(*alone) == (k != 3)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_slice_of_a_nifti_file_has_the_window_of_the_file(tmp_path, name, axis):
    image = volume().image
    path = save(tmp_path / name, image)
    picture = images.read(path, slice_index=3, axis=axis, unit="arbitrary")
    np.testing.assert_allclose(picture.window(ASKED), whole(image), rtol=1e-6)
    scan = scans.read(path, axis=axis, unit="arbitrary")
    np.testing.assert_array_equal(scan.picture(3).window(ASKED), picture.window(ASKED))


def test_an_image_alone_has_no_window(tmp_path):
    image = volume().image[3]
    nibabel.save(nibabel.Nifti1Image(image[..., 0], np.eye(4)), tmp_path / "one.nii")
    np.savez(tmp_path / "one.npz", image=image[..., 0])
    Image.fromarray(image[..., 0].astype(np.uint8)).save(tmp_path / "one.png")
    for name in ("one.nii", "one.npz", "one.png"):
        assert images.read(tmp_path / name, unit="arbitrary").window is None


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_frame_of_mr_has_the_window_of_its_file(make_enhanced, kind):
    """Also where high values are dark, so that the signs of all frames change."""
    path = make_enhanced("MR")
    dataset = pydicom.dcmread(path)
    for own in dataset.PerFrameFunctionalGroupsSequence:
        del own.PixelValueTransformationSequence
    dataset.PhotometricInterpretation = kind
    dataset.save_as(path)
    pictures = [images.read(path, slice_index=k) for k in range(3)]
    assert {picture.intensity_unit for picture in pictures} == {"arbitrary"}
    image = np.stack([picture.image for picture in pictures])
    assert (image.mean() < 0) == (kind == "MONOCHROME1")
    for window in (pictures[1].window, scans.read(path).window):
        np.testing.assert_allclose(window(ASKED), whole(image), rtol=1e-6)


def test_a_dicom_file_of_one_frame_has_no_window(make_dicom):
    assert pydicom.dcmread(make_dicom()).get("NumberOfFrames", 1) == 1
    assert images.read(make_dicom()).window is None


def test_a_folder_of_images_has_the_window_of_all(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 5)).astype(np.uint8)
    pixels[2] = 7  # padding counts too
    for k, each in enumerate(pixels):
        Image.fromarray(each).save(tmp_path / f"{k}.png")
    scan = scans.read(tmp_path, unit="arbitrary")
    np.testing.assert_allclose(scan.window(ASKED), whole(pixels[..., None]), rtol=1e-6)


def test_an_image_of_a_data_set_has_the_window_that_is_stored(make_npz):
    window = np.full((12, 2, 1), np.nan, np.float32)
    window[4] = [[-500], [250]]
    path = make_npz(window=window, intensity_unit=np.array("arbitrary"))
    np.testing.assert_array_equal(images.read(path, slice_index=4).window(ASKED), window[4])
    assert images.read(path, slice_index=5).window is None
    path = make_npz(window=window[:3])
    assert conftest.fault_of(images.read, path, slice_index=0) == (
        "window is float32 [3, 2, 1]; store low and high as [12, 2, 1], NaN if there is none"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_slice_that_is_not_finite_is_named(tmp_path, value):
    image = volume().image
    image[5, 2, 3] = value
    scan = scans.read(save(tmp_path / "v.nii", image), unit="arbitrary")
    picture = scan.picture(3)
    said = f"{scan.path}: slice 5: the image holds NaN or infinite values; fix it or leave it out"
    assert conftest.refusal(lambda _: picture.window(ASKED), None) == said
