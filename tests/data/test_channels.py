"""Images of several channels in one file: their order, and what is one channel or none."""

import runpy

import numpy as np
import pytest
from PIL import Image

from data_pipelines import inspect, voxels
from prosona_jax.types import InputError
from tests.data.conftest import fault_of
from tests.data.folder_files import VOLUMES, image, mask, metaimage, nifti, nrrd, png

VALUES = np.stack([image((6, 9, 8), seed) for seed in range(3)])  # [channel, slice, row, column]
EDGES = ((0.5, 0, 0), (0, 0.7, 0), (0, 0, 3.0))
NONE = (np.nan,) * 3
GRAY = image((9, 8)).clip(0, 255).astype(np.uint8)
COLOURS = np.stack([image((9, 8), k).clip(0, 255).astype(np.uint8) for k in (1, 2, 3)], axis=-1)


def read(path, key="", count=0, unit="arbitrary"):
    return voxels.read_image(path.parent, path.name + key, unit, count=count)


def array(path, values):
    """Writes an array `x` as npz or HDF5."""
    if path.suffix == ".npz":
        np.savez(path, x=values)
    else:
        h5py = pytest.importorskip("h5py", reason="HDF5 needs the extra [hdf5]")
        with h5py.File(path, "w") as file:
            file["x"] = values
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: nifti(folder / "x.nii.gz", VALUES),
        lambda folder: nifti(folder / "x.nii", VALUES[:, None]),  # vectors of NIfTI
        lambda folder: nrrd(folder / "x.nrrd", VALUES, directions=(*EDGES, NONE)),
        lambda folder: nrrd(
            folder / "x.nrrd", VALUES, directions=(*EDGES, NONE), kinds=["domain"] * 3 + ["list"]
        ),
        lambda folder: nrrd(
            folder / "x.nrrd", np.moveaxis(VALUES, 0, -1), directions=(NONE, *EDGES),
            kinds=["vector"] + ["domain"] * 3,
        ),
        lambda folder: metaimage(folder / "x.mha", VALUES, channels=3),
        lambda folder: metaimage(folder / "x.mha", VALUES, channels=3, packed=True),
    ],
    ids=["nifti", "nifti-5d", "nrrd", "nrrd-list", "nrrd-first", "mha", "mha-packed"],
)  # fmt: skip
@pytest.mark.parametrize("count", [0, 3])
def test_channels_keep_their_order_and_the_geometry(tmp_path, write, count):
    found = read(write(tmp_path), count=count)
    np.testing.assert_array_equal(found.values, VALUES.T)
    assert (found.grid.shape, found.grid.orientation()) == ((8, 9, 6), "LPS")
    np.testing.assert_allclose(found.grid.spacing_mm, [0.5, 0.7, 3.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["x.npz", "x.h5"])
def test_the_last_of_four_axes_of_an_array_are_channels(tmp_path, name):
    path = array(tmp_path / name, np.moveaxis(VALUES, 0, -1))
    np.testing.assert_array_equal(read(path, ":x").values, VALUES.T)


def test_an_array_of_named_channels_may_be_one_image(tmp_path):
    path = array(tmp_path / "x.npz", np.moveaxis(VALUES[:, 0], 0, -1))  # [row, column, channel]
    found = read(path, ":x", count=3)
    np.testing.assert_array_equal(found.values[:, :, 0], VALUES[:, 0].T)
    assert found.grid.shape == (8, 9, 1)
    assert read(path, ":x").grid.shape == (3, 8, 9)  # without names it is a volume
    first = array(tmp_path / "y.npz", VALUES[:, 0])
    np.testing.assert_array_equal(read(first, ":x", count=3).values[:, :, 0], VALUES[:, 0].T)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: nifti(folder / "x.nii", VALUES[:, 0]),
        lambda folder: nrrd(folder / "x.nrrd", VALUES[:, 0]),
        lambda folder: metaimage(folder / "x.mha", VALUES[:, 0]),
    ],
    ids=["nifti", "nrrd", "mha"],
)
def test_three_dimensions_are_a_volume_unless_channels_are_named(tmp_path, write):
    path = write(tmp_path)
    volume = read(path)
    assert (volume.values.shape, volume.grid.axis) == ((8, 9, 3, 1), 2)
    flat = read(path, count=3)
    np.testing.assert_array_equal(flat.values[:, :, 0], VALUES[:, 0].T)
    assert flat.grid.shape == (8, 9, 1)
    np.testing.assert_allclose(flat.grid.spacing_mm, [0.5, 0.7, np.nan], rtol=1e-6)


def test_an_axis_that_is_none_of_space_holds_channels_in_2d(tmp_path):
    path = nrrd(tmp_path / "x.nrrd", VALUES[:, 0], directions=(*EDGES[:2], NONE))
    found = read(path)
    np.testing.assert_array_equal(found.values[:, :, 0], VALUES[:, 0].T)
    assert found.grid.shape == (8, 9, 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours_are_channels_if_three_are_named(tmp_path, suffix):
    path = png(tmp_path / f"x.{suffix}", COLOURS)
    found = read(path, count=3, unit="")
    np.testing.assert_array_equal(found.values[:, :, 0], COLOURS.swapaxes(0, 1) / np.float32(255))
    assert (found.unit, found.coloured) == ("unit", False)
    np.testing.assert_array_equal(read(path, count=3).values[:, :, 0], COLOURS.swapaxes(0, 1))
    gray = read(path)
    assert gray.coloured
    luminance = COLOURS.astype(float) @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(gray.values[..., 0, 0].T, luminance, atol=0.51)


def test_colours_that_are_all_gray_are_no_loss(tmp_path):
    path = png(tmp_path / "x.png", np.stack([GRAY] * 3, axis=-1))
    assert not read(path).coloured
    np.testing.assert_array_equal(read(path, count=3).values[..., 2], read(path).values[..., 0])


def test_a_palette_is_read_as_its_colours_and_transparency_as_black(tmp_path):
    pixels = np.array([[0, 1], [2, 0]], np.uint8)
    drawn = Image.fromarray(pixels, "P")
    drawn.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    drawn.save(tmp_path / "x.png")
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]])
    found = read(tmp_path / "x.png", count=3)
    np.testing.assert_array_equal(found.values[:, :, 0].swapaxes(0, 1), table[pixels])
    clear = np.dstack([COLOURS, np.where(np.eye(9, 8), 255, 0).astype(np.uint8)])
    shown = read(png(tmp_path / "y.png", clear), count=3).values[:, :, 0].swapaxes(0, 1)
    np.testing.assert_array_equal(shown, COLOURS * np.eye(9, 8)[..., None])


def test_the_pages_of_a_coloured_tiff_are_slices(tmp_path):
    pages = [Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    found = read(tmp_path / "x.tif", count=3)
    np.testing.assert_array_equal(found.values[:, :, 1], (255 - COLOURS).swapaxes(0, 1))


@pytest.mark.parametrize(
    ("write", "count", "fault"),
    [
        (lambda f: nifti(f / "x.nii", image((17, 6, 9, 8))), 0, "holds 17 values at each voxel"),
        (lambda f: nrrd(f / "x.nrrd", image((17, 6, 9, 8)), directions=(*EDGES, NONE)), 0,
         "holds 17 values at each voxel"),
        (lambda f: metaimage(f / "x.mha", image((17, 6, 9, 8)), channels=17), 0,
         "holds 17 values at each voxel"),
        (lambda f: nrrd(f / "x.nrrd", VALUES, directions=(*EDGES, NONE),
                        kinds=["domain"] * 3 + ["time"]), 0, "is a series over time"),
        (lambda f: nifti(f / "x.nii", VALUES), 4,
         "has 3 channels and 6 slices, and data.channels asks for 4 channels"),
        (lambda f: nifti(f / "x.nii", VALUES), 1,
         "has 3 channels and 6 slices, and data.channels asks for one channel"),
        (lambda f: png(f / "x.png", GRAY), 3,
         "has 1 channels and 1 slices, and data.channels asks for 3 channels"),
        (lambda f: png(f / "x.png", COLOURS), 2,
         "has 1 channels and 1 slices, and data.channels asks for 2 channels"),
    ],
)  # fmt: skip
def test_another_number_of_values_is_refused(tmp_path, write, count, fault):
    assert fault_of(lambda path: read(path, count=count), write(tmp_path)).startswith(fault)


@pytest.mark.parametrize("suffix", ["nii", "nrrd", "mha"])
def test_a_mask_of_channels_is_refused(tmp_path, suffix):
    drawn = np.stack([[mask((9, 8), 1)] * 6] * 2)
    path = {
        "nii": lambda path: nifti(path, drawn),
        "nrrd": lambda path: nrrd(path, drawn, directions=(*EDGES, NONE)),
        "mha": lambda path: metaimage(path, drawn, channels=2),
    }[suffix](tmp_path / f"m.{suffix}")
    grid = read(nifti(tmp_path / "x.nii", VALUES)).grid
    fault = fault_of(lambda each: voxels.read_mask(tmp_path, each.name, (), grid), path)
    assert fault.startswith("holds 2 values at each voxel, and a mask has one; store each mask")


def test_a_folder_of_volumes_with_channels(read_folder, tmp_path):
    root = tmp_path / "data"
    for case in ("c1", "c2"):
        nifti(root / "images" / f"{case}.nii.gz", VALUES)
        nifti(root / "masks" / case / "A.nii.gz", np.stack([mask((9, 8), 1)] * 6))
    found = read_folder(**VOLUMES)
    assert len(found) == 12
    np.testing.assert_array_equal(found[4].image, np.moveaxis(VALUES[:, 4], 0, -1))
    low, high = np.percentile(VALUES, (1, 99), axis=(1, 2, 3))
    np.testing.assert_allclose(found[4].window, [low, high], rtol=1e-6)
    named = read_folder(**VOLUMES, channels=("t1", "t2", "flair"))
    np.testing.assert_array_equal(named[4].image, found[4].image)
    with pytest.raises(InputError, match="asks for 2 channels in each file"):
        read_folder(**VOLUMES, channels=("t1", "t2"))


def test_brain_tumours_of_qubiq_need_the_names_of_their_channels(read_folder, tmp_path):
    """Their images are [x, y, channel], which looks like a volume, and their masks [x, y]."""
    for n in (1, 2):
        case = tmp_path / "data" / f"case0{n}"
        nifti(case / "image.nii.gz", image((4, 9, 8), n))
        for k in (1, 2):
            nifti(case / f"task01_seg0{k}.nii.gz", mask((9, 8), k))
    with pytest.raises(InputError, match="holds channels, name them in data.channels") as error:
        read_folder(layout="qubiq", slices="any")
    assert len(str(error.value).splitlines()) == 4
    found = read_folder(layout="qubiq", slices="any", channels=("a", "b", "c", "d"))
    assert [record.record_id for record in found] == ["case01", "case02"]
    np.testing.assert_array_equal(found[1].image, np.moveaxis(image((4, 9, 8), 2), 0, -1))
    np.testing.assert_array_equal(found[1].masks[1], mask((9, 8), 2))
    np.testing.assert_allclose(found[1].spacing_mm, [0.7, 0.5])


def test_inspect_shows_the_channels_and_warns_of_lost_colours(tmp_path):
    def lines(root, *channels):
        asked = {"layout": None, "name": "", "labels": (), "unit": ""}
        found = inspect.inspect(root, channels=channels, **asked)
        inspect.write(found, tmp_path / "out", ())
        config = runpy.run_path(str(tmp_path / "out" / "config.py"))["get_config"]()
        described, faults = inspect.lines(found)
        assert not faults
        return described, tuple(config.data.channels)

    for case in ("c1", "c2"):
        nifti(tmp_path / "mri" / "images" / f"{case}.nii.gz", VALUES)
        nifti(tmp_path / "mri" / "masks" / case / "A.nii.gz", np.stack([mask((9, 8), 1)] * 6))
        png(tmp_path / "skin" / "images" / f"{case}.png", COLOURS)
        png(tmp_path / "skin" / "masks" / case / "A.png", mask((9, 8), 1, 255))
    described, named = lines(tmp_path / "mri")
    assert "channels          3 in each file" in described
    assert named == ()
    described, named = lines(tmp_path / "mri", "t1", "t2", "flair")
    assert "channels          t1, t2, flair, in each file" in described
    assert named == ("t1", "t2", "flair")
    described, _ = lines(tmp_path / "skin")
    assert "channels          one" in described
    assert any("has colours, as have 2 images; only their luminance" in line for line in described)
    described, named = lines(tmp_path / "skin", "red", "green", "blue")
    assert not any("colours" in line for line in described)
    assert named == ("red", "green", "blue")
