"""Scans that are folders of images: order, spacing, names of masks, slices that do not fit."""

import functools

import numpy as np
import pytest
from PIL import Image

from data_pipelines import images, scans
from prosona_jax.types import InputError
from tests.data import conftest
from tests.data.scan_files import assert_same, slices

fault_of = functools.partial(conftest.fault_of, scans.read)


def test_slices_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    folder = slices(tmp_path)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    scan = scans.read(folder)
    assert [file.name for file in scan.files] == [f"slice {k}.png" for k in (8, 9, 10, 11)]
    for k, file in enumerate(scan.files):
        assert_same(scan.picture(k), images.read(file))
    assert (scan.count, scan.shape, scan.affine) == (4, (6, 5), None)
    assert np.isnan(scan.spacing_mm).all()
    assert scan.caveats == (
        "Order of slices assumed: by the numbers in their names, slice 8.png to slice 11.png; PNG "
        "and TIFF do not state it.",
        "Spacing unknown: PNG and TIFF do not state sizes in mm.",
    )
    assert scans.stem(scan) == "scan.1"
    with pytest.raises(InputError, match="does not state where its slices lie"):
        scans.locate(scan, "0,0,0", "LPS")


def test_a_spacing_and_a_range_of_a_folder(tmp_path):
    folder = slices(tmp_path)
    scan = scans.read(folder, spacing_mm=(2.5, 0.7, 0.8), value_range=(0, 510))
    np.testing.assert_array_equal(scan.spacing_mm, [2.5, 0.7, 0.8])
    assert len(scan.caveats) == 1
    expected = images.read(scan.files[1], spacing_mm=(0.7, 0.8), value_range=(0, 510))
    assert_same(scan.picture(1), expected)
    np.testing.assert_array_equal(expected.spacing_mm, np.float32([0.7, 0.8]))
    for spacing in ((0, 1, 1), (np.nan, 1, 1)):
        assert fault_of(folder, spacing_mm=spacing).endswith("give three sizes in mm above 0")


def test_masks_of_a_folder_are_named_after_their_slices(tmp_path):
    folder = slices(tmp_path)
    scan = scans.read(folder)
    masks = {k: np.zeros((2, 6, 5), np.uint8) for k in (2, 1)}
    masks[1][0, 1, 2] = masks[2][1, 3, 4] = 1
    files = scans.encode(scan, "ignored", masks, names=["tight", "wide"], notes=["n", "m"])
    assert list(files) == [
        f"slice {k}_{name}.png" for k in (9, 10) for name in ("1_tight", "2_wide")
    ]
    for k, file in ((1, "slice 9_1_tight.png"), (2, "slice 10_2_wide.png")):
        (folder / file).write_bytes(files[file])
        with Image.open(folder / file) as png:
            np.testing.assert_array_equal(np.asarray(png), 255 * masks[k][k - 1])


def test_slices_that_do_not_fit_together(tmp_path):
    folder = slices(tmp_path)
    extra = folder / "slice 9.tif"
    Image.fromarray(np.zeros((6, 5), np.uint8)).save(extra)
    with pytest.raises(InputError) as error:
        scans.read(folder)
    assert str(error.value) == f"{extra}: has the name of slice 9.png; keep one of the two files"
    extra.unlink()
    page = Image.fromarray(np.zeros((6, 5), np.uint8))
    page.save(folder / "slice 12.tif", save_all=True, append_images=[page])
    with pytest.raises(InputError, match=r"slice 12.tif: holds 2 images; save each slice as a"):
        scans.read(folder)
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(folder / "slice 12.tif")
    with pytest.raises(InputError) as error:
        scans.read(folder)
    assert str(error.value) == (
        f"{folder / 'slice 12.tif'}: has 5 x 6 pixels, and slice 8.png has 6 x 5; leave only "
        "slices of one size in the folder"
    )
