"""The source `crops` reads DeepMind's tree as published, and names missing files."""

import collections

import numpy as np
import pytest
from PIL import Image

from data_pipelines import sources
from prosona_jax.types import InputError, Record


@pytest.fixture
def save(tmp_path):
    def save(pixels, *path):
        file = tmp_path.joinpath(*path)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        return file

    return save


@pytest.fixture
def tree(save):
    """Writes two crops of one patient: 8 and 16 bits, four raters counted from `first`."""

    def tree(first=0, folder=""):
        ramp = np.arange(64).reshape(8, 8)
        save((ramp * 4).astype(np.uint8), folder, "images", "p1", "z-105.0_c0.png")
        save((ramp * 1000).astype(np.uint16), folder, "images", "p1", "z-99.5_c1.png")
        for stem in ("z-105.0_c0", "z-99.5_c1"):
            for k in range(4):
                mask = np.uint8(255 * (ramp < 10 * k))
                save(mask, folder, "gt", "p1", f"{stem}_l{k + first}.png")
        return ramp

    return tree


@pytest.fixture
def read(tmp_path, make_settings):
    def read():
        settings = make_settings(tmp_path, source="crops")
        return list(sources.records(settings, collections.Counter()))

    return read


@pytest.mark.parametrize("first", [0, 1])
def test_a_tree_is_read_with_raters_from_0_or_1(tree, read, first):
    ramp = tree(first)
    shallow, deep = read()
    assert (shallow.record_id, deep.record_id) == ("p1/z-105.0_c0", "p1/z-99.5_c1")
    assert (shallow.patient_id, shallow.intensity_unit, shallow.split) == ("p1", "unit", "")
    np.testing.assert_allclose(shallow.image[..., 0], ramp * 4 / 255, atol=1e-6)
    np.testing.assert_allclose(deep.image[..., 0], ramp * 1000 / 65535, atol=1e-6)
    np.testing.assert_array_equal(shallow.masks.sum((1, 2)), [0, 10, 20, 30])
    assert shallow.masks.dtype == np.uint8
    assert np.isnan(shallow.spacing_mm).all()


def test_folders_declare_splits(tree, read):
    for folder in ("train", "val", "lidc_crops_test"):
        tree(folder=folder)
    assert {record.split for record in read()} == {"train", "validation", "test"}


def test_colour_and_one_bit_files_are_read_as_grey(tree, read, save):
    tree()
    ramp = np.uint8(np.arange(64).reshape(8, 8))
    save(np.stack([ramp] * 3, -1), "images", "p1", "z-105.0_c0.png")
    save(ramp < 5, "gt", "p1", "z-105.0_c0_l2.png")
    record = read()[0]
    np.testing.assert_allclose(record.image[..., 0], ramp / 255, atol=1e-6)
    assert record.masks[2].sum() == 5


def test_an_empty_folder_is_refused(read, tmp_path):
    message = r"holds no images/<patient>/\*.png beside gt/<patient>/\*_l<k>.png, alone or under tr"
    with pytest.raises(InputError, match=message) as caught:
        read()
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["images/p1/z-105.0_c0.png", "gt/p1/z-105.0_c0_l2.png"])
@pytest.mark.parametrize("share", [0, 0.5, 0.7])
def test_a_truncated_png_is_an_error_of_its_record_only(tree, read, tmp_path, name, share):
    tree()
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    fault, record = read()
    assert isinstance(record, Record)
    with pytest.raises(
        InputError, match=f"{name}: not a readable PNG, JPEG or TIFF, truncated or damaged: it is "
    ):
        raise fault


def test_a_missing_mask_is_named(tree, read, tmp_path):
    tree()
    (tmp_path / "gt/p1/z-105.0_c0_l3.png").unlink()
    fault, record = read()
    assert len(record.masks) == 4
    with pytest.raises(
        InputError, match=r"c0.png: gt/p1 lacks z-105.0_c0_l3.png; add them, or use an npz file"
    ):
        raise fault
    for file in (tmp_path / "gt/p1").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="gt/p1 lacks its masks"):
        raise read()[0]


def test_a_mask_of_another_size_is_named(tree, read, save):
    tree()
    save(np.zeros((7, 8), np.uint8), "gt", "p1", "z-105.0_c0_l1.png")
    with pytest.raises(InputError, match=r"c0_l1.png: is \[7, 8\], its image \[8, 8\]; both must"):
        raise read()[0]


def test_a_link_to_a_patient_is_not_another_patient(tree, read, tmp_path):
    """A link to a split is not another split: its records would be in training and test."""
    tree(folder="train")
    for kind in ("images", "gt"):
        (tmp_path / "train" / kind / "a").symlink_to(tmp_path / "train" / kind / "p1")
    (tmp_path / "test").symlink_to(tmp_path / "train")
    records = read()
    assert [record.record_id for record in records] == ["p1/z-105.0_c0", "p1/z-99.5_c1"]
    assert {(record.patient_id, record.split) for record in records} == {("p1", "train")}


@pytest.mark.parametrize("name", ["z-105.0_c0_l00.png", "z-105.0_c0_l0.PNG"])
def test_two_masks_of_one_rater_are_named(tree, read, save, name):
    tree()
    save(np.zeros((8, 8), np.uint8), "gt", "p1", name)
    fault, record = read()
    assert isinstance(record, Record)
    first, second = sorted([name, "z-105.0_c0_l0.png"])
    with pytest.raises(InputError, match=f"c0.png: {first} and {second} are of one rater; delete"):
        raise fault


def test_an_image_whose_white_is_zero(tree, read, tmp_path):
    ramp = tree()
    path = tmp_path / "images" / "p1" / "z-105.0_c0.png"
    Image.fromarray((ramp * 4).astype(np.uint8)).save(path, format="TIFF", tiffinfo={262: 0})
    np.testing.assert_allclose(read()[0].image[..., 0], ramp * 4 / 255, atol=1e-6)
