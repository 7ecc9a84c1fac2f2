"""The source `folder`: pairs files by patterns, reads volumes one by one, and lists all faults."""

import collections
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from data_pipelines import prepared, sources
from data_pipelines.sources import npz
from data_pipelines.voxels.grid import Grid, Voxels
from prosona_jax.types import InputError
from tests.data.folder_files import AFFINE, image, mask, nifti, picture_folder, png, volume_folder

VOLUMES = {"layout": "plain", "unit": "arbitrary", "slices": "any"}
PICTURES = {"layout": "plain"}


@pytest.fixture
def read(make_settings, tmp_path):
    """Returns what the source yields of `tmp_path / "data"`."""

    def read(**changes):
        skipped = collections.Counter()
        settings = make_settings(tmp_path / "data", **{"source": "folder", **changes})
        return list(sources.records(settings, skipped))

    return read


def listed(read, **changes):
    """Returns the lines of the error with which a folder is refused."""
    with pytest.raises(InputError) as error:
        read(**changes)
    return str(error.value).splitlines()


def test_every_record_is_the_image_and_the_masks_of_its_case(read, tmp_path):
    root = picture_folder(tmp_path / "data", raters=("B", "A"))  # A draws more
    (root / "masks" / "c2" / "B.png").unlink()
    first, second, _ = read(**PICTURES)
    np.testing.assert_array_equal(first.masks, [mask((9, 8), 2), mask((9, 8), 1)])
    assert first.rater_valid.tolist() == [True, True]
    assert second.rater_valid.tolist() == [True, False]
    np.testing.assert_array_equal(second.masks, [mask((9, 8), 2), np.zeros((9, 8))])
    assert (second.record_id, second.patient_id, second.site, second.volume) == ("c2", "c2", "", "")


def test_volumes_become_slices_at_their_positions(read, tmp_path):
    volume_folder(tmp_path / "data")
    records = read(**VOLUMES)
    assert [record.record_id for record in records[:3]] == ["c1/1", "c1/2", "c1/3"]
    assert [record.slice_mm for record in records[:3]] == [3.0, 6.0, 9.0]
    np.testing.assert_array_equal(records[4].image[..., 0], image((6, 9, 8), 1)[2])
    np.testing.assert_allclose(records[0].spacing_mm, [0.7, 0.5])
    low, high = np.percentile(image((6, 9, 8)), (1, 99))
    np.testing.assert_allclose(records[0].window, [[low], [high]], rtol=1e-6)


def test_cases_csv_gives_patients_sites_and_splits(read, tmp_path):
    root = picture_folder(tmp_path / "data")
    lines = ["Case;patient_id;site;split;note", "c2;p1;north;train;", "c1;p1;north;train;x", ""]
    (root / "cases.csv").write_text("\n".join([*lines, "c3;p2;;test;"]))
    found = [(each.record_id, each.patient_id, each.site, each.split) for each in read(**PICTURES)]
    assert found == [
        ("c1", "p1", "north", "train"), ("c2", "p1", "north", "train"), ("c3", "p2", "", "test")
    ]  # fmt: skip


def test_a_known_case_decides_where_a_name_ends(read, make_settings, tmp_path):
    root = tmp_path / "data"
    for case in ("a", "a_b", "p"):
        png(root / "images" / f"{case}.png", image((9, 8)).clip(0, 255).astype(np.uint8))
    for name in ("a_d", "a_b_d", "p_q_r"):
        png(root / "masks" / f"{name}.png", mask((9, 8), 1, 255))
    patterns = {"images": "images/{case}.png", "masks": "masks/{case}_{rater}.png"}
    valid = {record.record_id: record.rater_valid.tolist() for record in read(**patterns)}
    assert valid == {"a": [True, False], "a_b": [True, False], "p": [False, True]}
    settings = make_settings(root, source="folder", **patterns)
    assert sources.rater_names(settings) == ["d", "q_r"]


def test_images_and_masks_may_lie_in_one_folder(read, tmp_path):
    root = tmp_path / "data"
    for case in ("x1", "x2"):
        png(root / f"{case}.png", image((9, 8)).clip(0, 255).astype(np.uint8))
        for rater in ("A", "B"):
            png(root / f"{case}_{rater}.png", mask((9, 8), 1, 255))
    records = read(images="{case}.png", masks="{case}_{rater}.png")
    assert [record.record_id for record in records] == ["x1", "x2"]
    assert records[0].masks.shape == (2, 9, 8)


def test_two_channels_must_share_a_grid(read, tmp_path):
    root = tmp_path / "data"
    for k, channel in enumerate(("t1", "t2")):
        nifti(root / "c1" / f"{channel}.nii", image((3, 9, 8), k))
    nifti(root / "c1" / "seg_A.nii", np.stack([mask((9, 8), 1)] * 3))
    asked = {
        **VOLUMES, "layout": "", "images": "{case}/{channel}.nii", "masks": "{case}/seg_{rater}.nii"
    }  # fmt: skip
    records = read(**asked, channels=("t2", "t1"))
    np.testing.assert_array_equal(records[1].image[..., 0], image((3, 9, 8), 1)[1])
    nifti(root / "c1" / "t2.nii", image((3, 8, 8), 1))
    (line,) = listed(read, **asked, channels=("t1", "t2"))
    assert line.startswith(f"{root / 'c1' / 't2.nii'}: it has 8 x 8 x 3 voxels")
    (line,) = listed(read, **asked, channels=("t1", "t2", "t3"))
    assert "its case has no channel t3" in line


def test_memory_does_not_grow_with_the_number_of_volumes(read, tmp_path, monkeypatch):
    """Neither while the folder is checked nor while its 200 volumes are read."""
    root, shape = tmp_path / "data", (8, 64, 64)
    for k in range(200):
        for name in (f"images/c{k:03d}.nii", f"masks/c{k:03d}/A.nii"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
    box = np.zeros((*shape[::-1], 1), np.float32)
    box[20:40, 20:40, 2:6] = 1
    placed = Grid(shape[::-1], AFFINE, np.array([0.5, 0.7, 3.0]))
    values = np.random.default_rng(0).normal(size=(*shape[::-1], 1)).astype(np.float32)
    made = Voxels(values, placed)
    monkeypatch.setattr("data_pipelines.voxels._kind", lambda path: "nifti")
    monkeypatch.setattr(
        "data_pipelines.voxels.nifti.read",
        lambda path: made._replace(values=box.copy() if "masks" in str(path) else made.values + 1),
    )
    settings = {"source": "folder", "path": str(root), **VOLUMES}
    peaks = []
    tracemalloc.start()
    records = iter_records(settings)
    for n, _ in enumerate(records):
        if n in (4 * 20 - 1, 4 * 200 - 1):  # 20 volumes of 4 slices, then all
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert n == 4 * 200 - 1
    assert peaks[1] < peaks[0] + 2 * made.values.nbytes  # and not 180 times
    assert peaks[1] < 20 * made.values.nbytes


def iter_records(changes):
    from data_pipelines.settings import Settings

    defaults = {
        "size": 20, "spacing_mm": 0.0, "window_hu": (-1000.0, 400.0), "percentiles": (1.0, 99.0),
        "raters": "stored", "on_error": "raise",
    }  # fmt: skip
    return sources.records(Settings(**{**defaults, **changes}), collections.Counter())


def test_real_cells_are_the_same_through_a_folder(real_data, make_settings, cache, tmp_path):
    """Ten raters' masks of 46 images of 12 bits, as 16-bit PNG and as npz."""
    path = real_data / "cells_10_raters.npz"
    with np.load(path) as stored:
        data = {key: stored[key] for key in ("image", "masks", "record_id", "rater_id")}
    root = tmp_path / "data"
    for k, case in enumerate(data["record_id"]):
        png(root / "images" / f"{case}.png", data["image"][k])
        for r, rater in enumerate(data["rater_id"]):
            png(root / "masks" / str(case) / f"{rater}.png", data["masks"][k, r] * np.uint8(255))
    expected = prepared.prepare(make_settings(path, size=128), cache)
    found = prepared.prepare(
        make_settings(root, source="folder", layout="plain", unit="arbitrary", size=128), cache
    )
    assert found.rater_names == expected.rater_names == data["rater_id"].tolist()
    assert found.record_ids == expected.record_ids
    assert found.patient_ids == expected.patient_ids
    assert found.fingerprint == expected.fingerprint
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.rater_valid, other.rater_valid)


def test_the_names_of_raters_go_through_preparing_and_exporting(make_settings, cache, tmp_path):
    root = picture_folder(tmp_path / "data", cases=("c1", "c2"), raters=("Bo", "Ann"))
    settings = make_settings(root, source="folder", layout="plain")
    dataset = prepared.prepare(settings, cache)
    assert dataset.rater_names == dataset.fingerprint["rater_names"] == ["Ann", "Bo"]
    by_area = make_settings(root, source="folder", layout="plain", raters="by_area")
    assert sources.rater_names(by_area) == []
    npz.write(tmp_path / "x.npz", list(dataset), "", simulated=False, rater_names=["Ann", "Bo"])
    assert sources.rater_names(make_settings(tmp_path / "x.npz")) == ["Ann", "Bo"]
    picture_folder(tmp_path / "more", cases=("c7",), raters=("Ann", "Cy"))
    both = make_settings(root, source="folder", layout="plain", train_path=str(tmp_path / "more"))
    with pytest.raises(InputError, match="its raters are Ann, Cy, those of .* are Ann, Bo"):
        sources.rater_names(both)


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
def test_a_fault_names_its_file(read, tmp_path, damage):
    make, asked = (picture_folder, PICTURES) if damage in OF_PICTURES else (volume_folder, VOLUMES)
    root = make(tmp_path / "data")
    assert read(**asked)
    file, words = damage(root)
    lines = listed(read, **asked)
    named = [line for line in lines if line.startswith(f"{root / file}: ")]
    assert any(words in line for line in named), lines
    assert all(";" in line for line in lines)  # each has a remedy


def test_all_faults_are_listed_at_once(read, tmp_path):
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
    lines = listed(read, **VOLUMES)
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


def test_faults_of_the_table_are_never_left_out(read, tmp_path):
    root = picture_folder(tmp_path / "data")
    _, words = _two_splits(root)
    (line,) = listed(read, **PICTURES, on_error="skip")
    assert words in line


def test_a_rater_without_a_mask_is_named(read, tmp_path):
    root = tmp_path / "data"
    png(root / "images" / "c1.png", image((9, 8)).clip(0, 255).astype(np.uint8))
    png(root / "masks" / "Ann" / "c1.png", mask((9, 8), 1, 255))
    (root / "masks" / "Bo").mkdir()
    (line,) = listed(read, images="images/{case}.png", masks="masks/{rater}/{case}.png")
    assert line.startswith(f"{root / 'masks' / 'Bo'}: rater 'Bo' has a folder and no mask")


def test_the_unit_is_asked_for_once(read, tmp_path):
    root = volume_folder(tmp_path / "data")
    (line,) = listed(read, layout="plain")
    assert line.startswith(f"{root / 'images' / 'c1.nii.gz'}: states no unit of its values; set")
    assert line.endswith("(2 others state none)")
    (line,) = listed(read, layout="plain", on_error="skip")
    assert "case 'c1' states no unit of its values; set data.unit" in line


def test_a_label_that_no_mask_holds_is_a_fault(read, tmp_path):
    volume_folder(tmp_path / "data")
    (line,) = listed(read, **VOLUMES, label=(3,))
    assert "no mask holds one of data.label=(3,); the masks hold 1" in line


def test_empty_masks_are_an_opinion_and_counted(make_settings, cache, tmp_path):
    root = picture_folder(tmp_path / "data")
    for rater in "AB":
        png(root / "masks" / "c2" / f"{rater}.png", np.zeros((9, 8), np.uint8))
    dataset = prepared.prepare(make_settings(root, source="folder", layout="plain"), cache)
    assert dataset.record_ids == ["c1", "c3"]
    assert dataset.fingerprint["skipped"] == {"empty for all raters": 1}


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({}, "give data.images and data.masks"),
        ({"images": "{case}.png"}, "give data.images and data.masks"),
        ({"images": "a.png", "masks": "{case}/{rater}.png"}, r"has no \{case\}"),
        ({"images": "{case}.png", "masks": "{case}.png"}, r"has no \{rater\}"),
        ({"images": "{case}{ward}.png", "masks": "{case}/{rater}.png"}, r"\{ward\} is unknown"),
        ({"images": "{case}.png", "masks": "m/{case}/{rater}.png"}, "no image fits the pattern"),
        ({"images": "images/{case}.png", "masks": "m/{case}/{rater}.png"}, "no mask fits the"),
        (
            {"layout": "scgm", "masks": "{site}-{case}-mask-r{rater}.txt"},
            "masks in text files are not read; .* gives its masks also as .nii.gz: use data.layout",
        ),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(read, tmp_path, asked, fault):
    picture_folder(tmp_path / "data")
    with pytest.raises(InputError, match=fault):
        read(**asked)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"layout": "quibq"}, "data.layout='quibq' is unknown"),
        ({"unit": "hu"}, "data.unit='hu' is unknown"),
        ({"label": (0,)}, r"data.label=\(0,\): give the values"),
    ],
)
def test_a_wrong_field_is_refused(make_settings, changes, fault):
    with pytest.raises(InputError, match=fault):
        make_settings("x", source="folder", **changes)
