"""An unreadable file, or masks that cannot be written, give an error of one line."""

import bz2
import functools
import gzip
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from data_pipelines import images
from data_pipelines.images import output
from prosona_jax.types import InputError
from tests.data import conftest

NOISE = np.random.default_rng(0).integers(-1000, 400, (9, 12, 5)).astype(np.int16)

fault_of = functools.partial(conftest.fault_of, images.read)


@pytest.fixture
def make_png(tmp_path):
    def make(pixels, name="crop.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def picture(make_dicom):
    return images.read(make_dicom())


def write(picture, folder, stem="case"):
    masks = np.ones((1, *picture.image.shape[:2]), np.uint8)
    files = images.encode_masks(stem, masks, picture, names=["wide"], notes=["note"])
    return output.write(folder, files, [picture.path])


def test_no_file_and_a_folder(tmp_path):
    assert fault_of(tmp_path / "absent.png") == "no such file; give the path of an image"
    assert fault_of(tmp_path) == "is a folder; give one image"
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    assert fault_of(tmp_path) == f"is a folder; give one image, such as {tmp_path / 'b.png'}"


def test_an_unknown_format(tmp_path):
    for content, is_a in {
        b"%PDF-1.7": "a PDF document",
        b"GIF89a": "a GIF image",
        b"NRRD0004": "an NRRD image",
        b"BM" + struct.pack("<IIII", 58, 0, 54, 40): "a BMP image",
        b"BMI,age\n21,50\n": "plain text",
        b"BZhou, 2024": "plain text",
        bz2.compress(b"x"): "a bzip2 file",
        "löwe".encode("utf-16"): "text in UTF-16",
        "löwe".encode(): "plain text",
        bytes(range(256)): "of an unknown format",
        b"": "an empty file",
    }.items():
        (tmp_path / "crop").write_bytes(content)
        assert fault_of(tmp_path / "crop") == (
            f"is {is_a}; convert it to PNG, JPEG, TIFF, npz, NIfTI or DICOM"
        )
    (tmp_path / "crop.png").write_bytes(b"%PDF-1.7")  # a wrong name
    assert fault_of(tmp_path / "crop.png").startswith("is a PDF document; convert it to ")


def test_the_remedy_for_a_gzip_file_is_to_unpack_it(make_png, make_npz, make_dicom, tmp_path):
    for path, is_a in (
        (make_png(NOISE[..., 0].astype(np.uint8)), "a PNG image"),
        (make_npz(), "a zip archive"),
        (make_dicom(), "a DICOM file"),
    ):
        packed = tmp_path / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert fault_of(packed) == f"is {is_a} that gzip packed; unpack it"


@pytest.mark.parametrize("name", ["png", "npz", "nii", "nii.gz", "dcm"])
@pytest.mark.parametrize("share", [0, 0.1, 0.4, 0.9])
def test_a_truncated_file(make_png, make_npz, make_nifti, make_dicom, name, share):
    path = {
        "png": lambda: make_png(np.tile(NOISE[..., 0], (9, 9)).astype(np.uint8)),
        "npz": make_npz,
        "nii": lambda: make_nifti(NOISE, "ct.nii"),
        "nii.gz": lambda: make_nifti(NOISE, "ct.nii.gz"),
        "dcm": make_dicom,
    }[name]()
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    several = name in ("npz", "nii", "nii.gz")
    assert "truncated" in fault_of(path, slice_index=4 if several else None, unit="HU")


def test_a_missing_or_wrong_slice(make_png, make_npz, make_nifti, make_dicom):
    channels = ", or store one image of C channels as [1,H,W,C]"
    several = make_npz("several.npz", image=np.zeros((12, 4, 4, 3)))
    for path, count, along, hint in (
        (make_nifti(NOISE), 5, " along the third axis of [9, 12, 5]", ""),
        (make_npz(), 12, "", channels),
        (several, 12, "", ""),
    ):
        assert fault_of(path, unit="HU") == (
            f"holds {count} slices{along}; choose one of 0..{count - 1}{hint}"
        )
        for index in (-1, count):
            assert fault_of(path, unit="HU", slice_index=index) == (
                f"has no slice {index}; it holds {count}{along}, counted from 0: choose another"
            )
    flat = make_nifti(NOISE[..., 0], "flat.nii")
    png = make_png(NOISE[..., 0].astype(np.uint8))
    for path, unit in ((png, "unit"), (flat, "HU"), (make_dicom(), "HU")):
        assert fault_of(path, unit=unit, slice_index=1).startswith("has no slice 1; it holds 1,")
        images.read(path, unit=unit, slice_index=0)


def test_a_missing_or_wrong_unit(make_npz, make_nifti):
    assert fault_of(make_nifti(NOISE), slice_index=0) == (
        "NIfTI does not state the unit of its values; give the unit, one of ('HU', 'unit', "
        "'arbitrary'): HU for CT"
    )
    assert fault_of(make_npz(intensity_unit=None), slice_index=0) == (
        "intensity_unit is None; give the unit, one of ('HU', 'unit', 'arbitrary')"
    )
    assert fault_of(make_npz(), slice_index=0, unit="arbitrary") == (
        "the file states the unit 'HU' for its values; leave the unit 'arbitrary' out"
    )
    assert fault_of(make_npz(), slice_index=0, unit="hu") == (
        "unit is 'hu'; choose one of ('HU', 'unit', 'arbitrary')"
    )
    assert fault_of(make_nifti(NOISE), slice_index=0, unit="unit").startswith("the image spans -")


def test_constant_images_and_nan(make_png, make_nifti, make_dicom):
    constant = "channel 0 of the image is constant (%s); fix it or leave it out"
    assert fault_of(make_png(np.full((8, 8), 51, np.uint8))) == constant % "0.2"
    assert fault_of(make_dicom(stored=np.zeros((4, 4), np.int16))) == constant % "-1024"
    values = NOISE.astype(np.float32)
    values[2, 3, 1] = np.nan
    path = make_nifti(values)
    assert fault_of(path, slice_index=1, unit="HU") == (
        "the image holds NaN or infinite values; fix it or leave it out"
    )
    images.read(path, slice_index=0, unit="HU")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"image": None}, "has no image; store it as [H,W], or several as [N,H,W]"),
        ({"image": np.zeros(3)}, "image is float64 [3]; store real numbers [H,W], or several"),
        ({"image": np.zeros((1, 0, 4))}, "image is float64 [1, 0, 4]; store real numbers"),
        ({"image": np.full((4, 4), "x")}, "image is <U1 [4, 4]; store real numbers"),
        ({"spacing_mm": np.ones(3)}, "spacing_mm is float64 [3]; store (row, column) in mm as [2]"),
        ({"spacing_mm": np.array([1, -1.0])}, "spacing_mm is [1.0, -1.0]; give two sizes in mm"),
    ],
)
def test_npz_of_another_kind(make_npz, changes, fault):
    assert fault_of(make_npz(**changes), slice_index=0).startswith(fault)


def test_nifti_of_another_kind(make_nifti, tmp_path):
    path = make_nifti(np.stack([NOISE, NOISE], axis=-1))
    assert fault_of(path, unit="HU", slice_index=0) == (
        "is int16 [9, 12, 5, 2]; store real numbers in 2-D or 3-D"
    )
    colour = np.zeros((4, 4, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert fault_of(make_nifti(colour), unit="HU").endswith("store real numbers in 2-D or 3-D")


def test_dicom_of_another_kind(make_dicom):
    for colour in ("RGB", "PALETTE COLOR", "YBR_FULL"):
        assert fault_of(make_dicom(PhotometricInterpretation=colour)) == (
            f"is in colour ({colour}); convert it to gray values (MONOCHROME2)"
        )
    assert fault_of(make_dicom(RescaleSlope=None)) == (
        "has no RescaleSlope, needed to make HU of a CT's stored values; export the slice again "
        "with both slope and intercept, or as PNG"
    )
    assert fault_of(make_dicom(RescaleSlope=None, RescaleIntercept=None)).startswith(
        "has no RescaleSlope and no RescaleIntercept, needed"
    )
    images.read(make_dicom(RescaleIntercept=0))
    path = make_dicom()
    path.write_bytes(path.read_bytes()[132:])
    assert fault_of(path) == (
        "truncated, or without a DICOM file's preamble of 128 bytes and DICM; copy it again, or "
        "export it as a DICOM file"
    )


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dicom_with_more_pixels_than_its_header_says(make_dicom, modality):
    assert fault_of(make_dicom(Rows=6, Modality=modality)) == (
        "unreadable or truncated (216 bytes of pixels, but its header asks for 108: 6 rows, 9 "
        "columns, frames: 1); copy it again, or export it as a DICOM file"
    )


def test_a_header_that_cannot_be_used_for_a_segmentation(make_dicom, tmp_path):
    path = make_dicom(PatientSex="X")
    with pytest.raises(InputError) as error:
        write(images.read(path), tmp_path / "out")
    assert str(error.value).startswith(f"{path}: its header cannot be used for a DICOM-SEG (")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("module", "part"), [("pydicom", "dicom"), ("highdicom", "dicom"), ("nibabel", "nifti")]
)
def test_without_its_extra_a_reader_names_it(make_dicom, make_nifti, monkeypatch, module, part):
    path = make_dicom() if part == "dicom" else make_nifti(NOISE)
    monkeypatch.setitem(sys.modules, module, None)
    assert fault_of(path, unit="HU") == (
        f"needs {module}, which is missing; run: pip install -e .[{part}]"
    )


def test_masks_never_replace_the_image(make_dicom, tmp_path):
    path = make_dicom("case_masks.dcm")
    before = path.read_bytes()
    with pytest.raises(InputError) as error:
        write(images.read(path), tmp_path)
    assert str(error.value) == f"{path}: would be replaced; choose another folder for the masks"
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file(picture, tmp_path):
    (tmp_path / "out").write_text("taken")
    with pytest.raises(InputError, match=r"out: cannot be written \(.*\); choose another$"):
        write(picture, tmp_path / "out")


def test_a_file_that_would_replace_a_folder(make_png, tmp_path):
    picture, out = images.read(make_png(NOISE[..., 0].astype(np.uint8))), tmp_path / "out"
    (out / "overlay.png").mkdir(parents=True)
    (out / "mask.png").write_bytes(b"earlier")
    files = {"mask.png": b"new", "overlay.png": b"new"}
    with pytest.raises(InputError) as error:
        output.write(out, files, [picture.path], earlier=["mask.png"])
    assert str(error.value) == (
        f"{out / 'overlay.png'}: is a folder; move it, or choose another folder for the masks"
    )
    assert sorted(path.name for path in out.iterdir()) == ["mask.png", "overlay.png"]
    assert (out / "mask.png").read_bytes() == b"earlier"


def test_a_failed_write_leaves_no_files(make_png, tmp_path, monkeypatch):
    picture = images.read(make_png(NOISE[..., 0].astype(np.uint8)))
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(InputError, match=r"cannot be written \(disk full\)"):
        write(picture, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
