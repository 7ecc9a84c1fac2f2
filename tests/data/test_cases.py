"""Pairs of an image and a mask, and one rater's masks of a data set; every fault is one line."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines import cases
from prosona_jax.types import InputError
from tests.data.conftest import arrays

GREY = np.random.default_rng(0).integers(0, 255, (12, 20)).astype(np.uint8)
MASK = np.zeros((12, 20), np.uint8)
MASK[2:6, 9:16] = 1
VOXELS = np.random.default_rng(1).integers(-900, 300, (12, 9, 6)).astype(np.int16)


@pytest.fixture
def save(tmp_path):
    """Writes a PNG; a mask is written as 0 and 255."""

    def save(name, pixels=GREY):
        Image.fromarray(pixels * 255 if pixels.max() <= 1 else pixels).save(tmp_path / name)

    return save


def test_pairs_are_sorted_and_cropped_around_the_middle_of_the_mask(save, tmp_path):
    for name in ("b", "a.1"):
        save(f"{name}.png")
        save(f"{name}_mask.png", MASK)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".DS_Store").write_text("")
    one, other = cases.read(tmp_path, spacing_mm=(0.5, 0.8))
    assert [case.image.path.name for case in (one, other)] == ["a.1.png", "b.png"]
    np.testing.assert_array_equal(one.mask, MASK)
    np.testing.assert_allclose(one.image.image[..., 0], GREY / 255, atol=1e-6)
    assert one.image.point == (3.5, 12.0)
    np.testing.assert_allclose(one.image.spacing_mm, [0.5, 0.8])
    save("b_mask.png", 0 * MASK)
    assert cases.read(tmp_path)[1].image.point is None  # who uses the mask says that it is empty


def test_of_a_volume_the_slice_is_read_where_the_mask_is_largest(make_nifti, tmp_path):
    drawn = np.zeros(VOXELS.shape, np.uint8)
    drawn[3:5, 2:4, 1] = 1
    drawn[2:8, 3:6, 4] = 5  # a mask may have any one label
    drawn[..., 1] *= 5
    make_nifti(VOXELS, "ct.nii.gz")
    make_nifti(drawn, "ct_mask.nii.gz")
    (case,) = cases.read(tmp_path, unit="HU")
    assert (case.image.slice_index, case.image.axis) == (4, 2)
    np.testing.assert_array_equal(case.image.image[..., 0], VOXELS[..., 4].T)
    np.testing.assert_array_equal(case.mask, drawn[..., 4].T // 5)
    assert case.image.point == (4.0, 4.5)


def test_a_mask_of_an_image_of_another_format(make_dicom, tmp_path):
    pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
    make_dicom("1.dcm")
    mask = np.zeros((12, 9), np.uint8)
    mask[3, 4] = 255
    Image.fromarray(mask).save(tmp_path / "1_mask.png")
    (case,) = cases.read(tmp_path)
    assert (case.image.intensity_unit, case.image.point) == ("HU", (3.0, 4.0))


def test_the_masks_of_one_rater(make_npz):
    valid = np.ones((12, 3), bool)
    valid[1, 2] = False
    path = make_npz(rater_valid=valid)
    found = cases.read(path, rater=2)
    assert [case.image.slice_index for case in found] == [0, *range(2, 12)]
    for case in found:
        np.testing.assert_array_equal(case.mask, arrays()["masks"][0, 2])
        assert case.image.intensity_unit == "HU"
        assert case.image.point is None  # a data set has its objects in the middle
    assert len(cases.read(path, rater=0)) == 12


def refusal(path, **options):
    with pytest.raises(InputError) as error:
        cases.read(path, **options)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "F")


def test_faulty_folders(save, make_nifti, tmp_path):
    assert refusal(tmp_path / "no").startswith("F: no such folder; name a folder with NAME.png and")
    assert refusal(tmp_path) == "F: holds no image NAME.png with a mask NAME_mask.png; add them"
    assert refusal(tmp_path, rater=1) == (
        "F: is a folder, which has no raters to choose from; leave it out"
    )
    save("a_mask.png", MASK)
    assert refusal(tmp_path).startswith("F/a_mask.png: has no image of the same name without '_ma")
    save("a.png")
    save("b.png")
    assert refusal(tmp_path) == (
        "F/b.png: has no mask b_mask.png or b_mask.nii.gz; add it, or move the image away"
    )
    save("b.tif")
    assert refusal(tmp_path) == "F/b.tif: b.png has the same name; rename one of them"
    for name in ("b.png", "b.tif"):
        (tmp_path / name).unlink()
    assert "the file states the unit" not in refusal(tmp_path, unit="metres")
    assert len(cases.read(tmp_path)) == 1


def test_faulty_volumes(make_nifti, tmp_path):
    make_nifti(VOXELS, "ct.nii.gz")
    drawn = (VOXELS > 200).astype(np.uint8)
    make_nifti(drawn * (1 + (np.arange(6) % 2)).astype(np.uint8), "ct_mask.nii.gz")
    assert len(cases.read(tmp_path, unit="HU")) == 1  # other slices may have other labels
    labels = drawn.copy()
    labels[:6] *= 2
    make_nifti(labels, "ct_mask.nii.gz")
    assert refusal(tmp_path, unit="HU") == "F/ct_mask.nii.gz: holds several labels; store 0 and 1"
    import nibabel

    volume = nibabel.load(make_nifti(drawn, "ct_mask.nii.gz"))
    moved = volume.affine @ np.diag([-1, 1, 1, 1])  # what a viewer shows mirrored
    nibabel.save(nibabel.Nifti1Image(drawn, moved), tmp_path / "ct_mask.nii.gz")
    assert refusal(tmp_path, unit="HU") == (
        "F/ct_mask.nii.gz: lies on other voxels than ct.nii.gz; export both on the same grid"
    )


@pytest.mark.parametrize(
    ("changes", "rater", "fault"),
    [
        ({}, None, "F: whose masks? choose one of its 3 raters, 0..2"),
        ({}, 3, "F: has no rater 3: choose one of its 3 raters, 0..2"),
        ({}, -1, "F: has no rater -1: choose one of its 3 raters, 0..2"),
        ({"masks": None}, 0, "F: image is [12, 20, 20], masks are [0]; they must be [N,H,W] or"),
        ({"masks": arrays()["masks"][:5]}, 0, "F: image is [12, 20, 20], masks are [5, 3, 20, 20]"),
        ({"rater_valid": np.ones(12, bool)}, 0, "F: rater_valid is [12]; it must be [12, 3]"),
        ({"masks": 3 * arrays()["masks"]}, 0, "F: record 0: rater 0's mask is not binary (values "),
    ],
)
def test_faulty_data_sets(make_npz, changes, rater, fault):
    assert refusal(make_npz(**changes), rater=rater).startswith(fault)
