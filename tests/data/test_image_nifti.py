"""NIfTI files in practice: contradicting headers, other axes, gzip under a wrong name."""

import gzip
import struct

import nibabel
import numpy as np
import pytest

from data_pipelines import images
from prosona_jax.types import InputError

VOXELS = np.random.default_rng(0).integers(-1000, 400, (9, 12, 5)).astype(np.int16)
ORIENTATIONS = [
    (axes, flips)
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for flips in np.ndindex(2, 2, 2)
]


@pytest.fixture
def save(tmp_path):
    def save(voxels, affine, *, zooms=None, qform=None, name="ct.nii"):
        image = nibabel.Nifti1Image(voxels, affine)
        if qform is not None:
            image.set_qform(qform, code=1)
        if zooms:
            image.header.set_zooms(zooms)
            image.header["sform_code"] = 1
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return save


def read(path, **asked):
    return images.read(path, unit="HU", **asked)


def test_the_affine_gives_the_pixel_size(save):
    affine = np.diag([0.7, 0.7, 2.5, 1])
    path = save(VOXELS, affine, zooms=(1.4, 1.4, 2.5))
    picture = read(path, slice_index=0)
    np.testing.assert_allclose(picture.spacing_mm, [0.7, 0.7], rtol=1e-6)
    assert picture.caveats == (
        "Header disagrees: by its sform voxels are 0.7 x 0.7 x 2.5 mm, and by pixdim 1.4 x 1.4 x "
        "2.5 mm; the sform was used, as viewers do.",
    )
    assert read(save(VOXELS, affine), slice_index=0).caveats == ()


def test_a_rotated_affine_has_the_same_pixels(save):
    turn = np.eye(4)
    turn[:2, :2] = [[0.6, -0.8], [0.8, 0.6]]
    picture = read(save(VOXELS, turn @ np.diag([0.7, 0.9, 2.5, 1])), slice_index=0)
    np.testing.assert_allclose(picture.spacing_mm, [0.9, 0.7], rtol=1e-6)
    assert picture.caveats == ()


def test_two_forms_that_disagree_give_a_caveat(save):
    affine = np.diag([0.7, 0.7, 2.5, 1])
    moved = affine.copy()
    moved[0, 3] = 50
    expected = (
        "Header disagrees: its sform and its qform place the image differently; the sform was "
        "used, as viewers do.",
    )
    assert read(save(VOXELS, affine, qform=moved), slice_index=0).caveats == expected
    assert read(save(VOXELS, affine, qform=affine), slice_index=0).caveats == ()


def test_without_qform_and_sform_pixdim_is_used(tmp_path):
    image = nibabel.Nifti1Image(VOXELS, None)
    image.header.set_zooms((0.7, 0.9, 2.5))
    nibabel.save(image, tmp_path / "x.nii")
    picture = read(tmp_path / "x.nii", slice_index=0)
    np.testing.assert_allclose(picture.spacing_mm, [0.9, 0.7], rtol=1e-6)
    assert picture.caveats == ()


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_slices_have_the_finest_pixels_in_all_48_orientations(save, axes, flips):
    """A volume with its axes in any order gives the same slices, up to that order."""
    affine = np.diag([0.7, 0.9, 2.5, 1])
    signs = np.array([-1 if flip else 1 for flip in flips])
    stored = np.flip(VOXELS, [k for k in range(3) if flips[k]]).transpose(axes)
    turned = np.eye(4)
    turned[:3, :3] = (affine[:3, :3] * signs)[:, axes]
    path = save(stored, turned)
    axis = axes.index(2)
    index = 1 if not flips[2] else 3
    picture = read(path, slice_index=index)
    plane = np.flip(VOXELS[..., 1], [k for k in range(2) if flips[k]])
    transposed = axes.index(0) > axes.index(1)  # then rows are the first axis of the original
    np.testing.assert_array_equal(picture.image[..., 0], plane if transposed else plane.T)
    expected = [0.7, 0.9] if transposed else [0.9, 0.7]
    np.testing.assert_allclose(picture.spacing_mm, expected, rtol=1e-6)
    assert len(picture.caveats) == (axis != 2)
    mask = np.zeros(picture.image.shape[:2], np.uint8)
    mask[1:4, 2:4] = 1
    (content,) = images.encode_masks("x", mask[None], picture, names=["a"], notes=["b"]).values()
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
    found = np.moveaxis(np.asarray(written.dataobj), axis, 2)
    np.testing.assert_array_equal(found[..., index].T, mask)
    assert found.sum() == mask.sum()


def test_a_first_axis_of_slices_without_any_geometry(save):
    """So are arrays [slice, row, column] saved without an affine of their own."""
    voxels = np.moveaxis(np.tile(VOXELS[:, :9], (1, 1, 1)), 2, 0)  # [5, 9, 9]
    picture = read(save(voxels, np.eye(4)), slice_index=4)
    np.testing.assert_array_equal(picture.image[..., 0], voxels[4].T)
    assert picture.caveats == (
        "Slices are counted along the first axis of [5, 9, 9] voxels, so that they have the "
        "finest pixels; --axis chooses another axis.",
    )


@pytest.mark.parametrize("affine", [None, np.diag([-1.0, -1, 1, 1])])
def test_other_headers_without_voxel_sizes(save, affine):
    """One has neither qform nor sform; ITK writes the other for unknown sizes."""
    picture = read(save(np.moveaxis(VOXELS[:, :9], 2, 0), affine), slice_index=4)
    np.testing.assert_array_equal(picture.image[..., 0], VOXELS[:, :9, 4].T)
    assert picture.axis == 0
    placed = np.diag([-1.0, -1, 1, 1])
    placed[:3, 3] = 90, 120, -70  # this header states voxels of 1 mm
    assert read(save(np.moveaxis(VOXELS[:, :9], 2, 0), placed), slice_index=4).axis == 2


def test_voxels_of_one_size_are_cut_across_the_body(save):
    affine = np.zeros((4, 4))
    affine[[2, 0, 1, 3], [0, 1, 2, 3]] = 1  # the first axis leads to the head
    affine[0, 3] = 10
    assert read(save(VOXELS, affine), slice_index=8).image.shape == (5, 12, 1)
    assert read(save(VOXELS, np.diag([1, 1, 1, 1]) + affine * 0), slice_index=4).caveats == ()


def test_an_axis_may_be_chosen(save):
    path = save(VOXELS, np.diag([0.7, 0.9, 2.5, 1]))
    picture = read(path, axis=0, slice_index=8)
    np.testing.assert_array_equal(picture.image[..., 0], VOXELS[8].T)
    np.testing.assert_allclose(picture.spacing_mm, [2.5, 0.9], rtol=1e-6)
    assert (picture.caveats, picture.axis) == ((), 0)
    for axis, fault in (
        (1, "holds 12 slices along the second axis of [9, 12, 5]; choose one of 0..11"),
        (3, "has no axis 3; choose one of 0, 1 and 2"),
        (-1, "has no axis -1; choose one of 0, 1 and 2"),
    ):
        with pytest.raises(InputError) as error:
            read(path, axis=axis)
        assert str(error.value) == f"{path}: {fault}"
    flat = save(VOXELS[..., 0], np.eye(4), name="flat.nii")
    with pytest.raises(InputError, match="is one slice, without an axis to choose; leave"):
        read(flat, axis=0)


def test_a_volume_with_one_time_point_is_a_volume(save):
    path = save(VOXELS[..., None, None], np.diag([0.7, 0.9, 2.5, 1]))
    picture = read(path, slice_index=3)
    np.testing.assert_array_equal(picture.image[..., 0], VOXELS[..., 3].T)
    mask = np.ones((1, 12, 9), np.uint8)
    (content,) = images.encode_masks("x", mask, picture, names=["a"], notes=["b"]).values()
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    assert written.shape == (9, 12, 5, 1, 1)
    assert np.asarray(written.dataobj)[..., 3, 0, 0].sum() == 108


def test_one_slice_of_any_axis_needs_no_choice(save):
    for axis in range(3):
        voxels = np.expand_dims(VOXELS[..., 0], axis)
        picture = read(save(voxels, np.diag([0.7, 0.9, 2.5, 1])))
        np.testing.assert_array_equal(picture.image[..., 0], VOXELS[..., 0].T)
        assert picture.caveats == ()


@pytest.mark.parametrize("second", [False, True])
def test_the_content_decides_whether_it_is_decompressed(save, tmp_path, second):
    path = save(VOXELS, np.diag([0.7, 0.9, 2.5, 1]))
    if second:
        nibabel.save(nibabel.Nifti2Image(VOXELS, np.diag([0.7, 0.9, 2.5, 1])), path)
    expected = read(path, slice_index=3)
    unpacked = tmp_path / "unpacked.nii.gz"
    unpacked.write_bytes(path.read_bytes())
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    nameless = tmp_path / "scan"
    nameless.write_bytes(packed.read_bytes())
    for other in (unpacked, packed, nameless):
        picture = read(other, slice_index=3)
        np.testing.assert_array_equal(picture.image, expected.image)
        np.testing.assert_array_equal(picture.spacing_mm, expected.spacing_mm)


def test_a_gzip_file_without_nifti_is_named(tmp_path):
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(np.random.default_rng(0).bytes(5000)))
    with pytest.raises(InputError, match="is a gzip file of something else than NIfTI; unpack"):
        read(tmp_path / "x.nii.gz")
    pair = tmp_path / "x.nii"
    pair.write_bytes(bytes(344) + b"ni1\0" + bytes(100))
    with pytest.raises(InputError, match=r"is the .hdr or .img file of a NIfTI pair; convert"):
        read(pair)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_asks_for_more_than_the_file_holds(save, packed):
    path = save(VOXELS, np.diag([0.7, 0.9, 2.5, 1]))
    content = bytearray(path.read_bytes())
    content[46:48] = (9000).to_bytes(2, "little")  # slices: each mask would have as many
    path.write_bytes(gzip.compress(content) if packed else content)
    end = 352 + 9 * 12 * 9000 * 2
    with pytest.raises(InputError, match=rf"damaged \(its header asks for {end} bytes\); copy it"):
        read(path, slice_index=0)


@pytest.fixture
def patched(save):
    """Writes a volume with bytes of its header replaced."""

    def patched(offset, content):
        affine = np.diag([0.7, 0.9, 2.5, 1])
        path = save(VOXELS, affine, qform=affine)
        stored = bytearray(path.read_bytes())
        stored[offset : offset + len(content)] = content
        path.write_bytes(stored)
        return path

    return patched


@pytest.mark.parametrize(
    ("offset", "content", "fault"),
    [
        (108, struct.pack("<f", 0), "its vox_offset is 0, within the header of 352 bytes; export"),
        (108, struct.pack("<f", 336), "unreadable, truncated or damaged (vox offset 336 too low"),
        (123, bytes([5]), "its unit of length 5 does not exist; export it in mm"),
        (
            280,
            struct.pack("<12f", *[np.nan] * 12),
            "by its sform voxels are nan x nan x nan mm; all sizes must be above 0: export it",
        ),
        (
            280,
            struct.pack("<12f", 0, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 2.5, 0),
            "by its sform voxels are 0 x 0.9 x 2.5 mm; all sizes must be above 0: export it again",
        ),
    ],
)
def test_an_impossible_header(patched, offset, content, fault):
    path = patched(offset, content)
    with pytest.raises(InputError) as error:
        read(path, slice_index=1)
    assert str(error.value).startswith(f"{path}: {fault}")


def test_a_second_version_whose_voxels_start_in_the_header(tmp_path):
    path = tmp_path / "x.nii"
    stored = bytearray(nibabel.Nifti2Image(VOXELS, np.diag([0.7, 0.9, 2.5, 1])).to_bytes())
    stored[168:176] = bytes(8)
    path.write_bytes(stored)
    with pytest.raises(InputError, match="its vox_offset is 0, within the header of 544 bytes"):
        read(path, slice_index=1)


def test_a_damaged_qform_beside_a_sform_gives_a_caveat(patched):
    path = patched(256, struct.pack("<3f", 0.9, 0.9, 0.9))
    picture = read(path, slice_index=3)
    np.testing.assert_array_equal(picture.image[..., 0], VOXELS[..., 3].T)
    np.testing.assert_allclose(picture.spacing_mm, [0.9, 0.7], rtol=1e-6)
    assert picture.caveats == ("Header damaged: its qform is not a rotation; the sform was used.",)
    mask = np.ones((1, 12, 9), np.uint8)
    (content,) = images.encode_masks("x", mask, picture, names=["a"], notes=["b"]).values()
    written = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    np.testing.assert_allclose(written.affine, np.diag([0.7, 0.9, 2.5, 1]), rtol=1e-6)


def test_a_range_that_clips_gives_a_caveat(save):
    path = save(VOXELS, np.diag([0.7, 0.9, 2.5, 1]))
    picture = images.read(path, slice_index=3, value_range=(-1000, -500))
    share = np.mean(VOXELS[..., 3] > -500)
    assert picture.caveats == (
        f"Clipped: {share:.0%} of the pixels lie beyond the range -1000 to -500 and became 0 or 1.",
    )
    assert images.read(path, slice_index=3, value_range=(-1000, 400)).caveats == ()
