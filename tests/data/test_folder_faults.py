"""Every fault of a folder is found, listed with its file and a remedy, or left out and counted."""

import numpy as np
import pytest
from PIL import Image

from data_pipelines import prepared
from tests.data.folder_files import (
    AFFINE,
    PICTURES,
    VOLUMES,
    image,
    listed,
    mask,
    nifti,
    picture_folder,
    png,
    volume_folder,
)

# Each breaks a sound folder of pictures or volumes, and returns the file that must be named, and
# words of the fault.


def _missing_image(root):
    (root / "images" / "c2.png").unlink()
    return "masks/c2/A.png", "which has no image"


def _missing_masks(root):
    for file in (root / "masks" / "c2").iterdir():
        file.unlink()
    return "images/c2.png", "no rater has a mask of it"


def _other_names(root):
    (root / "masks" / "c2").rename(root / "masks" / "k2")
    return "masks/k2/A.png", "mask of case 'k2', which has no image"


def _unreadable(root):
    path = root / "images" / "c2.png"
    path.write_bytes(path.read_bytes()[:60])
    return "images/c2.png", "truncated or damaged"


def _text(root):
    (root / "images" / "c2.png").write_text("see the other folder")
    return "images/c2.png", "is plain text"


def _two_of_one_rater(root):
    Image.fromarray(mask((9, 8), 1, 255)).save(root / "masks" / "c2" / "A.tif")
    return "masks/c2/A.tif", "by rater 'A' as is masks/c2/A.png; keep one"


def _two_images(root):
    Image.fromarray(mask((9, 8), 1, 255)).save(root / "images" / "c2.tif")
    return "images/c2.tif", "an image of case 'c2' as is images/c2.png; keep one"


def _other_shape(root):
    png(root / "masks" / "c2" / "B.png", mask((8, 9), 1, 255))
    return "masks/c2/B.png", "both must have the same size"


def _constant(root):
    png(root / "images" / "c2.png", np.full((9, 8), 7, np.uint8))
    return "images/c2.png", "is constant"


def _jpeg_mask(root):
    (root / "masks" / "c2" / "B.png").unlink()
    png(root / "masks" / "c2" / "B.jpg", mask((9, 8), 1, 255))
    return "masks/c2/B.jpg", "JPEG changes the pixels"


def _table(*lines):
    def write(root):
        (root / "cases.csv").write_text("\n".join(["case,patient_id,split", *lines]))

    return write


def _twice(root):
    _table("c1,p1,train", "c2,p2,test", "c3,p3,test", "c2,p2,test")(root)
    return "cases.csv", "line 5: case 'c2' occurs twice"


def _unknown_case(root):
    _table("c1,p1,train", "c2,p2,test", "c3,p3,test", "c9,p9,test")(root)
    return "cases.csv", "line 5: case 'c9' has no files"


def _unknown_split(root):
    _table("c1,p1,train", "c2,p2,dev", "c3,p3,test")(root)
    return "cases.csv", "line 3: split 'dev' is unknown"


def _two_splits(root):
    _table("c1,p1,train", "c2,p1,test", "c3,p3,test")(root)
    return "cases.csv", "line 3: patient 'p1' is in two splits, 'train' by case 'c1'"


def _unlisted_case(root):
    _table("c1,p1,train", "c3,p3,test")(root)
    return "cases.csv", "has no line of case 'c2'"


def _no_column(root):
    (root / "cases.csv").write_text("case,patient\nc1,p1\n")
    return "cases.csv", "its first line is 'case,patient'"


def _series_over_time(root):
    nifti(root / "images" / "c2.nii.gz", image((17, 6, 9, 8)))
    return "images/c2.nii.gz", "holds 17 values at each voxel, as a series over time does"


def _other_channels(root):
    nifti(root / "images" / "c2.nii.gz", image((2, 6, 9, 8)))
    return "images/c2.nii.gz", "has 2 channels, and images/c1.nii.gz has 1"


def _mask_with_channels(root):
    nifti(root / "masks" / "c2" / "B.nii.gz", np.ones((2, 6, 9, 8), np.uint8))
    return "masks/c2/B.nii.gz", "holds 2 values at each voxel, and a mask has one"


def _flat_mask(root):
    nifti(root / "masks" / "c2" / "B.nii.gz", mask((9, 8), 1))
    return "masks/c2/B.nii.gz", "is 2-D and its image is not"


def _singular(root):
    flat = AFFINE.copy()
    flat[:3, 1] = flat[:3, 0]
    nifti(root / "images" / "c2.nii.gz", image((6, 9, 8)), flat)
    return "images/c2.nii.gz", "its affine is singular"


def _nan(root):
    values = image((6, 9, 8)).astype(np.float32)
    values[2, 3, 4] = np.nan
    nifti(root / "images" / "c2.nii.gz", values)
    return "images/c2.nii.gz", "holds NaN"


def _other_patient(root):
    far = AFFINE.copy()
    far[0, 3] += 300
    nifti(root / "images" / "c2.nii.gz", image((6, 9, 8)), far)
    return "masks/c2/A.nii.gz", "as if it were of another patient"


def _other_shape_nowhere(root):
    nifti(root / "masks" / "c2" / "B.nii.gz", np.ones((6, 9, 7), np.uint8), None)
    return "masks/c2/B.nii.gz", "both must have the same size"


def _fractions(root):
    nifti(root / "masks" / "c2" / "B.nii.gz", np.full((6, 9, 8), 0.5, np.float32))
    return "masks/c2/B.nii.gz", "holds fractions"


OF_PICTURES = [
    *(_missing_image, _missing_masks, _other_names, _unreadable, _text, _two_of_one_rater),
    *(_two_images, _other_shape, _constant, _jpeg_mask, _twice, _unknown_case, _unknown_split),
    *(_two_splits, _unlisted_case, _no_column),
]


OF_VOLUMES = [
    *(_series_over_time, _other_channels, _mask_with_channels, _flat_mask, _singular, _nan),
    *(_other_patient, _other_shape_nowhere, _fractions),
]


@pytest.mark.parametrize("damage", OF_PICTURES + OF_VOLUMES)
def test_a_fault_names_its_file(read_folder, tmp_path, damage):
    make, asked = (picture_folder, PICTURES) if damage in OF_PICTURES else (volume_folder, VOLUMES)
    root = make(tmp_path / "data")
    assert read_folder(**asked)
    file, words = damage(root)
    lines = listed(read_folder, **asked)
    named = [line for line in lines if line.startswith(f"{root / file}: ")]
    assert any(words in line for line in named), lines
    assert all(";" in line for line in lines)  # each has a remedy


def test_all_faults_are_listed_at_once(read_folder, tmp_path):
    cases = [f"c{k}" for k in range(1, len(OF_VOLUMES) + 3)]
    root = volume_folder(tmp_path / "data", cases)
    expected = []
    for k, damage in enumerate(OF_VOLUMES, start=2):
        part = volume_folder(tmp_path / f"part{k}")
        expected.append([words.replace("c2", f"c{k}") for words in damage(part)])
        (part / "images" / "c2.nii.gz").replace(root / "images" / f"c{k}.nii.gz")
        for rater in "AB":
            name = f"{rater}.nii.gz"
            (part / "masks" / "c2" / name).replace(root / "masks" / f"c{k}" / name)
    (root / "images" / f"{cases[-1]}.nii.gz").unlink()
    _table("c1,p1,dev")(root)
    lines = listed(read_folder, **VOLUMES)
    for file, words in [
        *expected, (f"masks/{cases[-1]}/A.nii.gz", "no image"), ("cases.csv", "'dev' is unknown"),
    ]:  # fmt: skip
        found = [line for line in lines if line.startswith(f"{root / file}: ") and words in line]
        found += [line for line in lines if file == "cases.csv" and words in line]
        assert found, (file, words, lines)


def test_faulty_cases_can_be_left_out_and_are_counted(make_settings, cache, tmp_path):
    root = picture_folder(tmp_path / "data", [f"c{k}" for k in range(1, 7)])
    _constant(root)
    png(root / "masks" / "c3" / "B.png", mask((8, 9), 1, 255))
    (root / "images" / "c4.png").unlink()  # leaves two masks without an image
    Image.fromarray(mask((9, 8), 1, 255)).save(root / "masks" / "c6" / "A.tif")
    settings = make_settings(root, source="folder", layout="plain", on_error="skip")
    dataset = prepared.prepare(settings, cache)
    assert dataset.record_ids == ["c1", "c5"]
    assert dataset.fingerprint["skipped"] == {"corrupt": 4}


def test_faults_of_the_table_are_never_left_out(read_folder, tmp_path):
    root = picture_folder(tmp_path / "data")
    _, words = _two_splits(root)
    (line,) = listed(read_folder, **PICTURES, on_error="skip")
    assert words in line


def test_a_rater_without_a_mask_is_named(read_folder, tmp_path):
    root = tmp_path / "data"
    png(root / "images" / "c1.png", image((9, 8)).clip(0, 255).astype(np.uint8))
    png(root / "masks" / "Ann" / "c1.png", mask((9, 8), 1, 255))
    (root / "masks" / "Bo").mkdir()
    (line,) = listed(read_folder, images="images/{case}.png", masks="masks/{rater}/{case}.png")
    assert line.startswith(f"{root / 'masks' / 'Bo'}: rater 'Bo' has a folder and no mask")
