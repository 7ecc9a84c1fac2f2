"""Scans of NIfTI and of folders of images: values, places in the patient, masks, memory."""

import gzip
import tracemalloc

import nibabel
import numpy as np
import pytest
from PIL import Image

from data_pipelines import images, scans
from prosona_jax.types import InputError

VOXELS = np.random.default_rng(0).integers(-1000, 400, (9, 12, 5)).astype(np.int16)
PLACED = np.diag([0.7, 0.9, 2.5, 1.0])
PLACED[:3, 3] = 90, -120, 33
TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
ORIENTATIONS = [
    (axes, flips)
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for flips in np.ndindex(2, 2, 2)
]
LPS_OF_RAS = np.array([-1, -1, 1])


def save(path, voxels, affine, kind=nibabel.Nifti1Image, **header):
    image = kind(voxels, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def turned(axes, flips, affine):
    """Returns the same voxels at the same places, stored with other axes, and their affine."""
    stored, step = VOXELS, affine.copy()
    for axis in np.flatnonzero(flips):
        stored = np.flip(stored, axis)
        step[:3, 3] += step[:3, axis] * (VOXELS.shape[axis] - 1)
        step[:3, axis] *= -1
    return stored.transpose(axes), step[:, [*axes, 3]]


def fault_of(path, **asked):
    with pytest.raises(InputError) as error:
        scans.read(path, **asked)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(f"{path}: ")


def assert_same(picture, expected):
    np.testing.assert_array_equal(picture.image, expected.image)
    np.testing.assert_array_equal(picture.spacing_mm, expected.spacing_mm)
    for name in ("intensity_unit", "path", "format", "caveats", "slice_index", "axis", "inverted"):
        assert getattr(picture, name) == getattr(expected, name), name
    assert (picture.value_range, picture.point) == (expected.value_range, None)
    assert picture.image.dtype == np.float32


# Values.


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_a_slice_is_what_images_read(tmp_path, name, axis):
    scaled = {"scl_slope": 2.5, "scl_inter": -1024}
    for voxels, kind, header in (
        (VOXELS, nibabel.Nifti1Image, {}),
        (VOXELS.astype(np.float32) / 7, nibabel.Nifti2Image, {}),
        (VOXELS[..., None], nibabel.Nifti1Image, {}),
        ((VOXELS % 256).astype(np.uint8), nibabel.Nifti1Image, scaled),
        (VOXELS.astype(">i2"), nibabel.Nifti1Image, {}),
    ):
        path = tmp_path / name
        image = kind(voxels, PLACED)
        if header:
            image.header.set_slope_inter(2.5, -1024)
        nibabel.save(image, path)
        scan = scans.read(path, axis=axis, unit="HU")
        counted = 2 if axis is None else axis
        assert (scan.format, scan.count) == ("nifti", VOXELS.shape[counted])
        for k in reversed(range(scan.count)):
            expected = images.read(path, axis=axis, unit="HU", slice_index=k)
            assert_same(scan.picture(k), expected)
            assert expected.image.shape[:2] == scan.shape
            np.testing.assert_allclose(scan.spacing_mm[1:], expected.spacing_mm, rtol=1e-6)


def test_a_range_applies_to_each_slice(tmp_path):
    path = save(tmp_path / "ct.nii", VOXELS, PLACED)
    scan = scans.read(path, value_range=(-1000, 0))
    expected = images.read(path, value_range=(-1000, 0), slice_index=3)
    assert_same(scan.picture(3), expected)
    assert expected.value_range == (-1000, 0)


def test_a_slice_that_cannot_be_used_is_named(tmp_path):
    voxels = VOXELS.copy()
    voxels[..., 2] = -1024
    scan = scans.read(save(tmp_path / "ct.nii", voxels, PLACED), unit="HU")
    scan.picture(1)
    with pytest.raises(InputError) as error:
        scan.picture(2)
    assert str(error.value) == (
        f"{scan.path}: slice 2: channel 0 of the image is constant (-1024); fix it or leave it out"
    )
    with pytest.raises(IndexError):
        scan.picture(5)


# Places.


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
@pytest.mark.parametrize("oblique", [False, True])
def test_a_structure_keeps_its_place_in_all_48_orientations(tmp_path, axes, flips, oblique):
    affine = PLACED.copy()
    if oblique:
        affine[:3, :3] = TURN @ affine[:3, :3]
    stored, step = turned(axes, flips, affine)
    path = save(tmp_path / "ct.nii.gz", stored, step)
    scan = scans.read(path, unit="HU")
    voxel = (2, 7, 3)
    ras = affine[:3, :3] @ voxel + affine[:3, 3]
    k, row, column = scans.locate(scan, ras.tolist(), "RAS")
    assert scans.locate(scan, (ras * LPS_OF_RAS).tolist(), "LPS")[0] == k
    picture = scan.picture(k)
    assert picture.image[round(row), round(column), 0] == VOXELS[voxel]
    np.testing.assert_allclose([row, column], np.round([row, column]), atol=1e-4)
    place = scan.geometry.place(k, row, column)
    np.testing.assert_allclose(place, ras * LPS_OF_RAS, atol=1e-4)
    np.testing.assert_allclose((scan.affine @ [k, row, column, 1])[:3], place, atol=1e-4)
    np.testing.assert_allclose(scan.positions[k], scan.geometry.place(k, 0, 0))
    np.testing.assert_allclose(sorted(scan.spacing_mm), [0.7, 0.9, 2.5], rtol=1e-5)

    # A block that is drawn there lies there when nibabel reads it back.
    mask = np.zeros((1, *scan.shape), np.uint8)
    mask[0, round(row), round(column)] = 1
    (content,) = scans.encode(scan, "x", {k: mask}, names=["a"], notes=["b"]).values()
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    source = nibabel.load(path)
    np.testing.assert_array_equal(written.affine, source.affine)
    for name in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[name] == source.header[name]
    (found,) = np.argwhere(np.asarray(written.dataobj))
    np.testing.assert_allclose(written.affine[:3] @ [*found, 1], ras, atol=1e-4)


def test_sheared_slices_are_found_along_their_normal(tmp_path):
    """As of a tilted gantry: each slice lies 1 mm further along the columns than the one before."""
    sheared = PLACED.copy()
    sheared[1, 2] = 1
    scan = scans.read(save(tmp_path / "ct.nii", VOXELS, sheared), unit="HU", axis=2)
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    place = scan.geometry.place(3, 7, 2)
    np.testing.assert_allclose(place, [-91.4, 110.7, 40.5], rtol=1e-5)
    np.testing.assert_allclose(scans.locate(scan, place.tolist(), "LPS"), (3, 7, 2), atol=1e-5)


def test_micrometres(tmp_path):
    affine = PLACED * [[1e3], [1e3], [1e3], [1]]
    scan = scans.read(save(tmp_path / "ct.nii", VOXELS, affine, xyzt_units=3), unit="HU")
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    np.testing.assert_allclose(scan.positions[0], [-90, 120, 33], rtol=1e-6)


@pytest.fixture
def scan(tmp_path):
    return scans.read(save(tmp_path / "ct.nii", VOXELS, PLACED), unit="HU")


def test_the_frames_of_a_point(scan):
    """Slice 3, row 7, column 2."""
    assert scans.locate(scan, "3,7,2") == (3, 7.0, 2.0)
    assert scans.locate(scan, " 2, 7, 3", "xyz") == (3, 7.0, 2.0)
    ras = [90 + 2 * 0.7, -120 + 7 * 0.9, 33 + 3 * 2.5]
    np.testing.assert_allclose(scans.locate(scan, ras, "RAS"), (3, 7, 2), atol=1e-5)
    text = f"{-ras[0]},{-ras[1]},{ras[2]}"
    np.testing.assert_allclose(scans.locate(scan, text, "LPS"), (3, 7, 2), atol=1e-5)


def test_a_pixel_reaches_half_its_size_around_its_middle(scan):
    assert scans.locate(scan, (2.4, -0.4, 8.4)) == (2, 0.0, 8.0)
    assert scans.locate(scan, (4.4, 11.2, 3.25)) == (4, 11.0, 3.25)
    for point in ((4.6, 1, 1), (-0.6, 1, 1), (0, 11.6, 0), (0, 0, -0.6)):
        with pytest.raises(InputError):
            scans.locate(scan, point)


@pytest.mark.parametrize(
    ("point", "frame", "fault"),
    [
        ("1,2", "index", "the point is '1,2'; give three numbers, such as 57,210,143"),
        ("1,2,x", "index", "the point is '1,2,x'; give three numbers, such as 57,210,143"),
        ((1, 2, np.inf), "LPS", "the point is (1, 2, inf); give three numbers"),
        ("1,2,3", "lps", "the frame of a point is 'lps'; choose one of ('index', 'xyz', 'LPS', "),
        (
            "5,0,0",
            "index",
            "the point 5,0,0 is outside of the scan; give slice 0..4, row 0..11, column 0..8",
        ),
        (
            "9,0,0",
            "xyz",
            "the point 9,0,0 is outside of the scan; give column 0..8, row 0..11, slice 0..4",
        ),
        (
            "90,-120,50",
            "RAS",
            "the point 90,-120,50 in mm of RAS is outside of the scan: it is 7 mm from the "
            "nearest slice, 4, at its row 0 of 12 and column 0 of 9; the scan spans x 90 to 95.6, "
            "y -120 to -110.1, z 33 to 43",
        ),
    ],
)
def test_points_that_are_not_in_the_scan(scan, point, frame, fault):
    with pytest.raises(InputError) as error:
        scans.locate(scan, point, frame)
    message = str(error.value).replace("row -0 ", "row 0 ").replace("column -0 ", "column 0 ")
    assert message.startswith(f"{scan.path}: {fault}")


def test_a_place_that_the_header_does_not_state(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((0.7, 0.9, 2.5))
    nibabel.save(image, tmp_path / "x.nii")
    scan = scans.read(tmp_path / "x.nii", unit="HU")
    assert (scan.affine, scan.positions) == (None, None)
    np.testing.assert_allclose(scan.spacing_mm, [2.5, 0.9, 0.7], rtol=1e-6)
    assert scan.caveats == (
        "Place in the patient unknown: the header has neither sform nor qform.",
    )
    assert scans.locate(scan, "3,7,2") == (3, 7.0, 2.0)
    with pytest.raises(InputError, match="does not state where its slices lie in the patient"):
        scans.locate(scan, "3,7,2", "RAS")


# Masks.


def test_masks_of_several_slices_and_prompts(scan):
    masks = {k: np.zeros((2, *scan.shape), np.uint8) for k in (1, 3)}
    masks[1][0, 2:5, 3:4] = masks[3][1, 6, 7] = 1
    files = scans.encode(scan, "x", masks, names=["tight", "wide"], notes=["one", "two"])
    assert list(files) == ["x_1_tight.nii.gz", "x_2_wide.nii.gz"]
    for number, content in enumerate(files.values()):
        written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
        expected = np.zeros(VOXELS.shape, np.uint8)
        for k, each in masks.items():
            expected[..., k] = each[number].T
        np.testing.assert_array_equal(np.asarray(written.dataobj), expected)
        assert written.get_data_dtype() == np.uint8
        assert written.header["descrip"].item() == (b"one", b"two")[number]
    (empty,) = scans.encode(scan, "x", {}, names=["none"], notes=[""]).values()
    assert not np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(empty)).dataobj).any()


def test_masks_that_do_not_fit_are_an_error_of_the_program(scan):
    mask = np.zeros((1, *scan.shape), np.uint8)
    for masks in ({5: mask}, {0: mask[:, 1:]}, {0: np.concatenate([mask, mask])}):
        with pytest.raises(ValueError, match="fit|in a scan of 5"):
            scans.encode(scan, "x", masks, names=["a"], notes=["b"])
    with pytest.raises(InputError, match="an RT Structure Set needs DICOM with the"):
        scans.encode(scan, "x", {0: mask}, names=["a"], notes=["b"], rtstruct=True)


def test_the_start_of_the_names_of_files(tmp_path, scan):
    assert scans.stem(scan) == "ct"
    packed = save(tmp_path / "ct.01.nii.gz", VOXELS, PLACED)
    assert scans.stem(scans.read(packed, unit="HU")) == "ct.01"


# Memory.


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("axis", [0, 2])
def test_one_slice_of_a_large_volume_is_in_memory_at_a_time(tmp_path, packed, axis):
    shape = (256, 256, 256)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_sform(PLACED, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "ct.nii"
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        for k in range(shape[2]):
            plane = np.full(shape[:2], k, np.int16)
            plane[3, 4] = 300
            file.write(plane.tobytes("F"))
    images.read(path, axis=axis, unit="HU", slice_index=3)  # imports are not counted
    tracemalloc.start()
    try:
        scan = scans.read(path, axis=axis, unit="HU")
        picture = scan.picture(3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert picture.image[4, 3, 0] == (300 if axis == 2 else 4)
    assert peak < 2 * np.prod(shape) / 5  # bytes; they are 128 times a slice of floats


def test_the_temporary_file_is_gone_and_the_source_may_go(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = save(tmp_path / "ct.nii.gz", VOXELS, PLACED)
    scan = scans.read(path, unit="HU")
    assert list((tmp_path / "temporary").iterdir()) == []
    expected = images.read(path, unit="HU", slice_index=2).image
    path.unlink()
    np.testing.assert_array_equal(scan.picture(2).image, expected)


# Folders of images.


@pytest.fixture
def folder(tmp_path):
    """Holds slices 8 to 11, whose gray value is their number."""
    folder = tmp_path / "scan.1"
    folder.mkdir()
    for k in range(8, 12):
        pixels = np.full((6, 5), k, np.uint8)
        pixels[2, 3] = 255
        Image.fromarray(pixels).save(folder / f"slice {k}.png")
    return folder


def test_slices_of_a_folder_are_in_the_order_of_their_numbers(folder):
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


def test_a_spacing_and_a_range_of_a_folder(folder):
    scan = scans.read(folder, spacing_mm=(2.5, 0.7, 0.8), value_range=(0, 510))
    np.testing.assert_array_equal(scan.spacing_mm, [2.5, 0.7, 0.8])
    assert len(scan.caveats) == 1
    expected = images.read(scan.files[1], spacing_mm=(0.7, 0.8), value_range=(0, 510))
    assert_same(scan.picture(1), expected)
    np.testing.assert_array_equal(expected.spacing_mm, np.float32([0.7, 0.8]))
    for spacing in ((0, 1, 1), (np.nan, 1, 1)):
        assert fault_of(folder, spacing_mm=spacing).endswith("give three sizes in mm above 0")


def test_masks_of_a_folder_are_named_after_their_slices(folder):
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


def test_slices_that_do_not_fit_together(folder):
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


# Faults.


def test_what_is_no_scan(tmp_path, make_npz, folder):
    assert fault_of(tmp_path / "absent") == "no such file or folder; give the path of a scan"
    assert fault_of(make_npz()) == (
        "is a zip archive, and no scan; give a folder of slices or a NIfTI file, or read it as an "
        "image"
    )
    assert fault_of(folder / "slice 8.png").startswith("is a PNG image, and no scan; give a")
    (tmp_path / "x").write_text("x")
    assert fault_of(tmp_path / "x").startswith("is plain text; convert it to PNG, JPEG, TIFF, npz")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fault_of(empty) == "holds no DICOM, PNG or TIFF files; give a folder of slices"
    save(empty / "ct.nii", VOXELS, PLACED)
    assert fault_of(empty) == (
        "holds no DICOM, PNG or TIFF files; give a folder of slices; for a volume give its file, "
        f"such as {empty / 'ct.nii'}"
    )


def test_one_slice_is_no_scan(tmp_path, folder):
    fault = "holds one slice; give the folder of the whole scan, or read it as an image"
    for voxels in (VOXELS[..., 0], VOXELS[..., :1]):
        assert fault_of(save(tmp_path / "ct.nii", voxels, PLACED), unit="HU") == fault
    for k in (9, 10, 11):
        (folder / f"slice {k}.png").unlink()
    assert fault_of(folder) == fault


def test_arguments_of_another_format(tmp_path, folder):
    path = save(tmp_path / "ct.nii", VOXELS, PLACED)
    assert fault_of(folder, axis=1) == (
        "only a NIfTI file has axes to choose from; leave the axis 1 out"
    )
    assert fault_of(path, unit="HU", series="1.2") == (
        "only DICOM has series to choose from; leave the series '1.2' out"
    )
    assert fault_of(path, unit="HU", spacing_mm=(1, 1, 1)) == (
        "only PNG and TIFF do not state their spacing; leave the spacing (1, 1, 1) out"
    )
    assert fault_of(path).startswith("NIfTI does not state the unit of its values; give the unit")
    assert fault_of(path, unit="hu").startswith("unit is 'hu'; choose one of")
    assert fault_of(path, unit="HU", axis=3) == "has no axis 3; choose one of 0, 1 and 2"


@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_volume(tmp_path, packed):
    content = save(tmp_path / "ct.nii", VOXELS, PLACED).read_bytes()[:-1]
    (tmp_path / "ct.nii").write_bytes(gzip.compress(content) if packed else content)
    assert "unreadable, truncated or damaged" in fault_of(tmp_path / "ct.nii", unit="HU")
