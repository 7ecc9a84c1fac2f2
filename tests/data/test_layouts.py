"""The known layouts of folders: what each becomes, and who its raters are."""

import collections

import numpy as np
import pytest

from data_pipelines import sources
from data_pipelines.layouts.presets import LAYOUTS
from prosona_jax.types import InputError
from tests.data.folder_files import AFFINE, image, mask, nifti, nrrd, png


@pytest.fixture
def folder(make_settings, tmp_path):
    """Returns records and raters' names of a folder, which tests write to `tmp_path / "data"`."""

    def read(**changes):
        changes = {"source": "folder", "slices": "any", **changes}
        settings = make_settings(tmp_path / "data", **changes)
        skipped = collections.Counter()
        records = list(sources.records(settings, skipped))
        faults = [record for record in records if isinstance(record, InputError)]
        assert not faults
        assert not skipped
        return records, sources.rater_names(settings)

    return read


def test_qubiq(folder, tmp_path):
    for n in (1, 2):
        case = tmp_path / "data" / f"case0{n}"
        nifti(case / "image.nii.gz", image((9, 8), n))
        for k in (1, 2, 3):
            nifti(case / f"task01_seg0{k}.nii.gz", mask((9, 8), k))
        nifti(case / "task01_seg_majority.nii.gz", mask((9, 8), 1))
        nifti(case / "task02_seg01.nii.gz", mask((9, 8), 0))
    records, raters = folder(layout="qubiq")
    assert raters == ["01", "02", "03"]
    assert [record.record_id for record in records] == ["case01", "case02"]
    np.testing.assert_array_equal(records[0].image[..., 0], image((9, 8), 1))
    np.testing.assert_array_equal(records[0].masks[2], mask((9, 8), 3))
    np.testing.assert_allclose(records[0].spacing_mm, [0.7, 0.5])
    assert {record.intensity_unit for record in records} == {"arbitrary"}
    second, _ = folder(layout="qubiq", masks="{case}/task02_seg{rater}.nii.gz")
    assert second[0].masks.shape == (1, 9, 8)
    assert second[0].masks.sum() == 4


def test_prostate158_takes_the_reader_who_is_missing_for_missing(folder, tmp_path):
    for n in (20, 21):
        case = tmp_path / "data" / f"0{n}"
        nifti(case / "t2.nii.gz", image((4, 9, 8), n))
        nifti(case / "adc.nii.gz", image((4, 9, 8), n + 5))
        zones = np.stack([mask((9, 8), 3)] * 4)
        zones[:, 2:4, 1:3] = 2
        nifti(case / "t2_anatomy_reader1.nii.gz", zones)
        if n == 21:
            nifti(case / "t2_anatomy_reader2.nii.gz", zones)
    records, raters = folder(layout="prostate158")
    assert raters == ["1", "2"]
    assert [record.record_id for record in records] == [
        f"0{n}/{k}" for n in (20, 21) for k in range(4)
    ]
    assert [record.volume for record in records[::4]] == ["020", "021"]
    assert records[0].rater_valid.tolist() == [True, False]
    assert records[4].rater_valid.tolist() == [True, True]
    assert records[0].masks[0].sum() == 25
    inner, _ = folder(layout="prostate158", label=(2,))
    assert inner[0].masks[0].sum() == 4
    two, _ = folder(layout="prostate158", images="{case}/{channel}.nii.gz", channels=("t2", "adc"))
    np.testing.assert_array_equal(two[1].image[..., 0], image((4, 9, 8), 20)[1])
    np.testing.assert_array_equal(two[1].image[..., 1], image((4, 9, 8), 25)[1])


def test_prostatezones_reads_a_series_beside_masks_in_nrrd(folder, make_series, tmp_path):
    root = tmp_path / "data"
    for case in ("0004", "0007"):
        (root / "images").mkdir(parents=True, exist_ok=True)
        make_series(count=4, uid=f"1.2.{int(case)}", Modality="MR")
        make_series(count=4, uid=f"1.3.{int(case)}", Modality="MR", PixelSpacing=[2, 2])  # ADC
        sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
        make_series(count=4, uid=f"1.4.{int(case)}", Modality="MR", axes=sagittal)
        make_series(count=1, uid=f"1.5.{int(case)}", Modality="MR")  # a localizer
        (tmp_path / "scan").rename(root / "images" / case)
        for reader, label in ((1, 3), (2, 4)):
            zones = np.stack([mask((12, 9), reader, label)] * 4)
            zones[0] = 0
            steps = ((0.75, 0, 0), (0, 0.5, 0), (0, 0, 2.5))
            origin = np.array([10.0, 20, 30])
            path = root / "masks" / f"Seg-{case}_R{reader}.nrrd"
            nrrd(path, zones, directions=steps, **{"space origin": origin})
    records, raters = folder(layout="prostatezones")
    assert raters == ["1", "2"]
    assert [record.record_id for record in records[:3]] == ["0004/1", "0004/2", "0004/3"]
    np.testing.assert_array_equal(records[0].masks[1], mask((12, 9), 2))
    np.testing.assert_allclose(records[0].spacing_mm, [0.5, 0.75])
    # MR: stored values times the slope 2, minus 1024; the ramp of slice 1 starts at -299
    assert records[0].image[0, :3, 0].tolist() == [2 * v - 1024 for v in (-299, -292, -285)]
    only, _ = folder(layout="prostatezones", label=(3,))
    assert only[0].masks.sum(axis=(1, 2)).tolist() == [9, 0]


def test_the_grey_matter_challenge_has_its_sites_in_the_names(folder, tmp_path):
    for site in (1, 4):
        for case in ("sc01", "sc02"):
            start = tmp_path / "data" / f"site{site}-{case}"
            nifti(start.with_name(f"{start.name}-image.nii.gz"), image((3, 9, 8), site))
            start.with_name(f"{start.name}-levels.txt").write_text("C3,0\n")
            for k in range(1, 5):
                cord = np.stack([mask((9, 8), k, 2)] * 3)
                cord[:, 2:4, 1:3] = 1
                nifti(start.with_name(f"{start.name}-mask-r{k}.nii.gz"), cord)
    records, raters = folder(layout="scgm", label=(1,), slices="all")
    assert raters == ["1", "2", "3", "4"]
    assert len(records) == 12
    assert {(record.patient_id, record.site) for record in records} == {
        (f"site{site}-{case}", f"site{site}") for site in (1, 4) for case in ("sc01", "sc02")
    }
    assert records[0].masks.sum(axis=(1, 2)).tolist() == [4] * 4


@pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8)])
def test_npc_is_one_hdf5_file_for_each_case(folder, tmp_path, shape):
    h5py = pytest.importorskip("h5py", reason="HDF5 needs the extra [hdf5]")
    (tmp_path / "data").mkdir()
    for n in range(2):
        with h5py.File(tmp_path / "data" / f"NPC_{n}.h5", "w") as file:
            for k, channel in enumerate(("t1", "t1c", "t2")):
                file[channel] = image(shape, 10 * n + k).astype(np.float32)
            for k in range(1, 5):
                file[f"label_a{k}"] = np.broadcast_to(mask((9, 8), k), shape)
    records, raters = folder(layout="npc")
    assert raters == ["a1", "a2", "a3", "a4"]
    assert len(records) == 2 * (shape[0] if len(shape) == 3 else 1)
    assert records[0].image.shape == (9, 8, 3)
    expected = image(shape, 1)
    np.testing.assert_array_equal(
        records[0].image[..., 1], expected[0] if expected.ndim == 3 else expected
    )
    np.testing.assert_array_equal(records[0].masks[3], mask((9, 8), 4))
    assert np.isnan(records[0].spacing_mm).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_the_plain_layout_has_any_format(folder, tmp_path, suffix):
    root = tmp_path / "data"
    for n, case in enumerate(("a_1", "b_2")):
        gray = image((9, 8), n).clip(0, 255).astype(np.uint8)
        png(root / "images" / f"{case}.{suffix}", gray)
        for k, rater in enumerate(("Ann Lee", "Bo")):
            png(root / "masks" / case / f"{rater}.png", mask((9, 8), k, 255))
    records, raters = folder(layout="plain")
    assert raters == ["Ann Lee", "Bo"]
    assert [record.record_id for record in records] == ["a_1", "b_2"]
    assert records[0].intensity_unit == "unit"
    if suffix != "jpg":
        exact = image((9, 8)).clip(0, 255) / np.float32(255)
        np.testing.assert_array_equal(records[0].image[..., 0], exact.astype(np.float32))
    assert records[1].masks.sum(axis=(1, 2)).tolist() == [4, 9]


@pytest.mark.parametrize("kind", ["segmentation", "structures"])
def test_dicom_has_a_segmentation_or_contours_of_each_rater(folder, make_series, tmp_path, kind):
    from data_pipelines import scans

    root = tmp_path / "data"
    expected = {}
    for case in ("p1", "p2"):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "masks" / case).mkdir(parents=True)
        make_series(count=5, uid=f"1.2.{case[1]}", axes=(0.36, 0.48, -0.8, -0.8, 0.6, 0.0))
        make_series(count=5, uid=f"1.3.{case[1]}", axes=(0.36, 0.48, -0.8, -0.8, 0.6, 0.0))
        scan = scans.read(tmp_path / "scan", series=f"1.2.{case[1]}")
        for k, rater in enumerate(("north", "south")):
            ring = mask((12, 9), 4)
            ring[4:6, 3:5] = 0  # a hole
            ring[10, 1 + k] = 1  # an island
            drawn = {
                1: np.stack([ring, 0 * ring]),
                3: np.stack([mask((12, 9), k), mask((12, 9), 2)]),
            }
            files = scans.encode(
                scan, "x", drawn, names=["1", "2"], notes=["", ""], rtstruct=kind == "structures"
            )
            name = "x_contours.dcm" if kind == "structures" else "x_masks.dcm"
            (root / "masks" / case / f"{rater}.dcm").write_bytes(files[name])
            expected[case, rater] = drawn
        (tmp_path / "scan").rename(root / "images" / case)
    records, raters = folder(layout="dicom")
    assert raters == ["north", "south"]
    assert [record.record_id for record in records] == ["p1/1", "p1/3", "p2/1", "p2/3"]
    assert records[0].intensity_unit == "HU"
    for record in records:
        case, at = record.record_id.split("/")
        for k, rater in enumerate(raters):
            union = expected[case, rater][int(at)].max(axis=0)
            np.testing.assert_array_equal(record.masks[k], union)
    first, _ = folder(layout="dicom", label=(1,))
    np.testing.assert_array_equal(first[1].masks[1], expected["p1", "south"][3][0])


def test_a_mask_that_fits_no_series_or_two_is_refused(folder, make_series, tmp_path):
    root = tmp_path / "data"
    for uid in ("1.2.1", "1.2.2"):
        make_series(count=4, uid=uid)
    (root / "images").mkdir(parents=True)
    (tmp_path / "scan").rename(root / "images" / "p1")
    zones = np.stack([mask((12, 9), 1)] * 4)
    for origin, count in (((10.0, 20, 30), 2), ((11.0, 20, 30), 0)):
        nrrd(
            root / "masks" / "Seg-p1_R1.nrrd",
            zones,
            directions=((0.75, 0, 0), (0, 0.5, 0), (0, 0, 2.5)),
            **{"space origin": np.array(origin)},
        )
        with pytest.raises(InputError, match=f"holds 2 series, of which {count} fit the mask"):
            folder(layout="prostatezones")


def test_every_known_layout_is_tested():
    tested = {"qubiq", "prostate158", "prostatezones", "scgm", "npc", "plain", "dicom"}
    assert set(LAYOUTS) == tested
    assert AFFINE.shape == (4, 4)
