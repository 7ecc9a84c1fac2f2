"""The source `folder`: pairs files by patterns, and reads volumes one by one."""

import collections
import tracemalloc

import numpy as np
import pytest

from data_pipelines import prepared, sources
from data_pipelines.sources import npz
from data_pipelines.voxels.grid import Grid, Voxels
from prosona_jax.types import InputError
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


def test_every_record_is_the_image_and_the_masks_of_its_case(read_folder, tmp_path):
    root = picture_folder(tmp_path / "data", raters=("B", "A"))  # A draws more
    (root / "masks" / "c2" / "B.png").unlink()
    first, second, _ = read_folder(**PICTURES)
    np.testing.assert_array_equal(first.masks, [mask((9, 8), 2), mask((9, 8), 1)])
    assert first.rater_valid.tolist() == [True, True]
    assert second.rater_valid.tolist() == [True, False]
    np.testing.assert_array_equal(second.masks, [mask((9, 8), 2), np.zeros((9, 8))])
    assert (second.record_id, second.patient_id, second.site, second.volume) == ("c2", "c2", "", "")


def test_volumes_become_slices_at_their_positions(read_folder, tmp_path):
    volume_folder(tmp_path / "data")
    records = read_folder(**VOLUMES)
    assert [record.record_id for record in records[:3]] == ["c1/1", "c1/2", "c1/3"]
    assert [record.slice_mm for record in records[:3]] == [3.0, 6.0, 9.0]
    np.testing.assert_array_equal(records[4].image[..., 0], image((6, 9, 8), 1)[2])
    np.testing.assert_allclose(records[0].spacing_mm, [0.7, 0.5])
    low, high = np.percentile(image((6, 9, 8)), (1, 99))
    np.testing.assert_allclose(records[0].window, [[low], [high]], rtol=1e-6)


def test_cases_csv_gives_patients_sites_and_splits(read_folder, tmp_path):
    root = picture_folder(tmp_path / "data")
    lines = ["Case;patient_id;site;split;note", "c2;p1;north;train;", "c1;p1;north;train;x", ""]
    (root / "cases.csv").write_text("\n".join([*lines, "c3;p2;;test;"]))
    found = [
        (each.record_id, each.patient_id, each.site, each.split) for each in read_folder(**PICTURES)
    ]
    assert found == [
        ("c1", "p1", "north", "train"), ("c2", "p1", "north", "train"), ("c3", "p2", "", "test")
    ]  # fmt: skip


def test_a_known_case_decides_where_a_name_ends(read_folder, make_settings, tmp_path):
    root = tmp_path / "data"
    for case in ("a", "a_b", "p"):
        png(root / "images" / f"{case}.png", image((9, 8)).clip(0, 255).astype(np.uint8))
    for name in ("a_d", "a_b_d", "p_q_r"):
        png(root / "masks" / f"{name}.png", mask((9, 8), 1, 255))
    patterns = {"images": "images/{case}.png", "masks": "masks/{case}_{rater}.png"}
    valid = {record.record_id: record.rater_valid.tolist() for record in read_folder(**patterns)}
    assert valid == {"a": [True, False], "a_b": [True, False], "p": [False, True]}
    settings = make_settings(root, source="folder", **patterns)
    assert sources.rater_names(settings) == ["d", "q_r"]


def test_images_and_masks_may_lie_in_one_folder(read_folder, tmp_path):
    root = tmp_path / "data"
    for case in ("x1", "x2"):
        png(root / f"{case}.png", image((9, 8)).clip(0, 255).astype(np.uint8))
        for rater in ("A", "B"):
            png(root / f"{case}_{rater}.png", mask((9, 8), 1, 255))
    records = read_folder(images="{case}.png", masks="{case}_{rater}.png")
    assert [record.record_id for record in records] == ["x1", "x2"]
    assert records[0].masks.shape == (2, 9, 8)


def test_two_channels_must_share_a_grid(read_folder, tmp_path):
    root = tmp_path / "data"
    for k, channel in enumerate(("t1", "t2")):
        nifti(root / "c1" / f"{channel}.nii", image((3, 9, 8), k))
    nifti(root / "c1" / "seg_A.nii", np.stack([mask((9, 8), 1)] * 3))
    asked = {
        **VOLUMES, "layout": "", "images": "{case}/{channel}.nii", "masks": "{case}/seg_{rater}.nii"
    }  # fmt: skip
    records = read_folder(**asked, channels=("t2", "t1"))
    np.testing.assert_array_equal(records[1].image[..., 0], image((3, 9, 8), 1)[1])
    nifti(root / "c1" / "t2.nii", image((3, 8, 8), 1))
    (line,) = listed(read_folder, **asked, channels=("t1", "t2"))
    assert line.startswith(f"{root / 'c1' / 't2.nii'}: it has 8 x 8 x 3 voxels")
    (line,) = listed(read_folder, **asked, channels=("t1", "t2", "t3"))
    assert "its case has no channel t3" in line


def test_memory_does_not_grow_with_the_number_of_volumes(make_settings, tmp_path, monkeypatch):
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
    settings = make_settings(root, source="folder", **VOLUMES)
    peaks = []
    tracemalloc.start()
    records = sources.records(settings, collections.Counter())
    for n, _ in enumerate(records):
        if n in (4 * 20 - 1, 4 * 200 - 1):  # 20 volumes of 4 slices, then all
            peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert n == 4 * 200 - 1
    assert peaks[1] < peaks[0] + 2 * made.values.nbytes  # and not 180 times
    assert peaks[1] < 20 * made.values.nbytes


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


def test_empty_masks_are_an_opinion_and_counted(make_settings, cache, tmp_path):
    root = picture_folder(tmp_path / "data")
    for rater in "AB":
        png(root / "masks" / "c2" / f"{rater}.png", np.zeros((9, 8), np.uint8))
    dataset = prepared.prepare(make_settings(root, source="folder", layout="plain"), cache)
    assert dataset.record_ids == ["c1", "c3"]
    assert dataset.fingerprint["skipped"] == {"empty for all raters": 1}
