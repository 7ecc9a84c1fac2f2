"""The command that looks into a folder: what it recognises, says, refuses and writes."""

import runpy
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from configs import base
from data_pipelines import inspect, prepared
from data_pipelines.layouts import guessing
from data_pipelines.layouts.identity import identity
from data_pipelines.settings import Settings
from prosona_jax import cli
from prosona_jax.types import InputError
from tests.data.folder_files import AFFINE, image, mask, nifti, picture_folder, png, volume_folder


@pytest.fixture
def run(monkeypatch, capsys):
    """Returns the status and the text of a call; flags keep their defaults afterwards."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["inspect", *map(str, arguments)])
        try:
            cli.launch(inspect.main, inspect._FLAGS, manual=inspect.__doc__, positional=True)
            status = 0
        except SystemExit as end:
            status = end.code
        finally:
            inspect._FLAGS.unparse_flags()
            for name in inspect._FLAGS:
                inspect._FLAGS[name].unparse()
        written = capsys.readouterr()
        return status, written.out, written.err

    return call


def files(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content is not read")
    return root


CASES = [f"p{k:02d}" for k in range(5)]
R = ("ann", "bo")


@pytest.mark.parametrize(
    ("images", "masks", "name", "patterns", "raters"),
    [
        (
            [f"{c}/image.nii.gz" for c in CASES],
            [f"{c}/task01_seg0{k}.nii.gz" for c in CASES for k in (1, 2)],
            "qubiq",
            ("{case}/image.nii.gz", "{case}/task01_seg{rater}.nii.gz"),
            ["01", "02"],
        ),
        (
            [f"site1-{c}-image.nii.gz" for c in CASES],
            [f"site1-{c}-mask-r{k}.nii.gz" for c in CASES for k in (1, 2)],
            "scgm",
            ("{site}-{case}-image.nii.gz", "{site}-{case}-mask-r{rater}.nii.gz"),
            ["1", "2"],
        ),
        (
            [f"images/{c}.nrrd" for c in CASES],
            [f"masks/{c}/{r}.nrrd" for c in CASES for r in R],
            "plain",
            ("images/{case}.*", "masks/{case}/{rater}.*"),
            ["ann", "bo"],
        ),
        (
            [f"img/{c}.png" for c in CASES],
            [f"seg/{r}/{c}.png" for c in CASES for r in R],
            "",
            ("img/{case}.png", "seg/{rater}/{case}.png"),
            ["ann", "bo"],
        ),
        (
            [f"{c}_t1.nii.gz" for c in CASES],
            [f"{c}_seg_r{k}.nii.gz" for c in CASES for k in (1, 2, 3)],
            "",
            ("{case}_t1.nii.gz", "{case}_seg_r{rater}.nii.gz"),
            ["1", "2", "3"],
        ),
        (
            [f"sub-{c}/sub-{c}_T2w.nii" for c in CASES],
            [f"sub-{c}/sub-{c}_rater-{r}.nii" for c in CASES for r in R],
            "",
            ("{case}/{case}_T2w.nii", "{case}/{case}_rater-{rater}.nii"),
            ["ann", "bo"],
        ),
        (
            [f"x/{k}.jpg" for k in range(30)],
            [f"y/{k}_{r}.png" for k in range(30) for r in range(4)],
            "",
            ("x/{case}.jpg", "y/{case}_{rater}.png"),
            ["0", "1", "2", "3"],
        ),
        (
            [f"{c}/CT/{k}.dcm" for c in CASES for k in range(20)],
            [f"{c}/RS_{r}.dcm" for c in CASES for r in R],
            "",
            ("{case}/CT", "{case}/RS_{rater}.dcm"),
            ["ann", "bo"],
        ),
    ],
)
def test_a_layout_is_recognised(tmp_path, images, masks, name, patterns, raters):
    known, found = guessing.recognise(files(tmp_path, images + masks))
    assert (known, (found.layout.images, found.layout.masks)) == (name, patterns)
    assert found.raters == raters
    assert not found.faults
    assert not found.unused


def test_files_without_pairs_are_not_recognised(tmp_path):
    with pytest.raises(InputError, match="no image and masks of one case were recognised"):
        guessing.recognise(files(tmp_path, ["a.png", "b.txt"]))


def test_arrays_that_cannot_be_listed_are_named(tmp_path):
    files(tmp_path, ["c1.h5", "c2.npz"])
    with pytest.raises(InputError, match=r"c1.h5: is plain text, and no HDF5 or npz file"):
        guessing.recognise(tmp_path)


def test_the_command_does_without_jax():
    code = "import data_pipelines.inspect, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_is_in_a_folder(run, tmp_path):
    root = volume_folder(tmp_path / "data", [f"c{k}" for k in range(8)], ("Ann", "Bo"))
    (root / "masks" / "c3" / "Bo.nii.gz").unlink()
    lines = [f"c{k},p{k // 2},{'north' if k < 4 else 'south'}," for k in range(8)]
    (root / "cases.csv").write_text("\n".join(["case,patient_id,site,split", *lines]))
    status, out, err = run(root)
    assert status == 0, err
    for line in (
        "layout            plain",
        "cases             8 of 4 patients",
        "sites             north, south",
        "raters            2: Ann, Bo",
        "sizes             6 x 9 x 8 (slices x rows x columns)",
        "voxels            3 x 0.7 x 0.5 mm",
        "inter-rater Dice  0.720 (mean of the cases)",  # 2 * 9 / (9 + 16)
        # 3 slices of 9 pixels of 0.35 mm2; 9 and 16 of their mean 12.5, but 1 for c3 of Ann
        "Ann        8           9.45           0.72    0.00",
        "Bo         7           16.8           1.28    0.00",
        "Bo did not read 1: c3",
    ):
        assert line in out.splitlines(), (line, out)
    assert "raters of one name draw alike" in out
    assert "warning: the files do not state the unit of their values; 'arbitrary' is a guess" in out


def test_the_config_that_is_written_reads_the_same_folder(run, tmp_path, cache):
    root = volume_folder(tmp_path / "data", [f"c{k}" for k in range(3)], ("Ann", "Bo"))
    status, _, err = run(root, f"--output={tmp_path / 'out'}", "--label=1", "--unit=arbitrary")
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.py", "sheet.png"]
    config = runpy.run_path(str(tmp_path / "out" / "config.py"))["get_config"]()
    assert config.is_locked
    assert set(config.data) == set(base.get_config().data)
    assert config.data.size == 16  # the largest side is 9 pixels, a multiple of 16 covers it
    dataset = prepared.prepare(Settings.from_config(config.data), cache)
    assert dataset.rater_names == ["Ann", "Bo"]
    assert dataset.drawn == [s in (1, 2, 3) for _ in range(3) for s in range(6)]
    assert dataset.record_ids == [f"c{k}/{s}" for k in range(3) for s in range(6)]
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width == 2000
        colours = {tuple(each) for each in np.asarray(sheet.convert("RGB")).reshape(-1, 3)}
    assert {(0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9)} <= colours  # both raters' contours


@pytest.mark.parametrize(("column", "size"), [(50, 16), (63, 48), (99, 112)])
def test_the_config_has_a_size_that_cuts_no_mask(run, tmp_path, column, size):
    root, drawn = tmp_path / "data", np.zeros((80, 100), np.uint8)
    drawn[38:44, column - 2 : column + 1] = 255
    png(root / "images" / "a.png", image((80, 100)).clip(0, 255).astype(np.uint8))
    png(root / "masks" / "a" / "A.png", drawn)
    run(root, f"--output={tmp_path / 'out'}")
    config = runpy.run_path(str(tmp_path / "out" / "config.py"))["get_config"]()
    assert config.data.size == size
    record = prepared.prepare(Settings.from_config(config.data), str(tmp_path / "cache"))
    assert record.fingerprint["masks_cut_by_crop"] == 0


def test_a_folder_that_holds_other_files_is_not_replaced(run, tmp_path):
    root = picture_folder(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    status, _, err = run(root, f"--output={tmp_path / 'out'}")
    assert status == 2
    assert "'mine.txt' is not part of" in err


def test_every_fault_and_every_doubt_is_named_with_its_file(run, tmp_path):
    root = volume_folder(tmp_path / "data", [f"c{k}" for k in range(8)], ("Ann", "Bo"))
    (root / "images" / "c0.nii.gz").write_bytes(b"nothing")
    far = AFFINE.copy()
    far[2, 3] = 900
    nifti(root / "images" / "c1.nii.gz", image((6, 9, 8)), far)
    labels = np.zeros((6, 9, 8), np.uint8)
    labels[2, 3, 2:5] = 1, 2, 255
    nifti(root / "masks" / "c2" / "Ann.nii.gz", labels)
    for rater in ("Ann", "Bo"):
        nifti(root / "masks" / "c3" / f"{rater}.nii.gz", 0 * labels)
    half = AFFINE @ np.diag([0.5, 1, 1, 1])
    nifti(root / "masks" / "c4" / "Bo.nii.gz", np.ones((6, 9, 16), np.uint8), half)
    turned = AFFINE @ np.diag([-1.0, 1, 1, 1])
    turned[0, 3] = 36.5
    nifti(root / "images" / "c5.nii.gz", image((6, 9, 8)), turned)
    nifti(root / "elsewhere" / "c6.nii.gz", labels)
    status, out, err = run(root)
    assert status == 2
    assert f"{root}: " in err
    faults = [line for line in out.splitlines() if line.startswith("fault: ")]
    named = ("images/c0.nii.gz", "masks/c1/Ann.nii.gz", "masks/c1/Bo.nii.gz")
    assert [line.split(": ")[1] for line in faults] == [str(root / name) for name in named]
    doubts = [line for line in out.splitlines() if line.startswith("warning: ")]
    for words in (
        f"{root / 'masks/c2/Ann.nii.gz'}: holds the labels 1, 2, 255",
        f"{root / 'images/c5.nii.gz'}: columns, rows and slices run to RPS, in 1 cases",
        f"{root / 'masks/c4/Bo.nii.gz'}: lies on another grid than its image",
        "in 1 cases no rater drew anything (c3)",
        "1 files fit no pattern and are not read (elsewhere/c6.nii.gz)",
    ):
        assert any(words in line for line in doubts), (words, doubts)


def test_one_case_and_a_doubtful_unit_are_warned_of(run, tmp_path):
    root = tmp_path / "data"
    dark = image((9, 8)).clip(0, 255).astype(np.uint16)  # 8 bits of 16
    png(root / "images" / "only.png", dark)
    png(root / "masks" / "only" / "A.png", mask((9, 8), 1, 255))
    status, out, _ = run(root)
    assert status == 0
    assert "holds one patient, 'only', so that nothing is left to test on" in out
    assert "Nearly no contrast: in 1 of 1 cases, such as only" in out
    assert "0 cases with two raters are too few" in out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "name one folder"),
        (["absent"], "is no folder"),
        (["data", "--images={case}.png"], "give both --images and --masks"),
        (["data", "--layout=mine"], "layout"),
        (["data", "--label=one"], "--label=one: give whole numbers"),
    ],
)
def test_a_wrong_call_is_refused(run, tmp_path, monkeypatch, arguments, fault):
    picture_folder(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*arguments)
    assert status == 2
    assert fault in err


def test_raters_who_always_differ_are_known_by_their_names():
    size = np.random.default_rng(1).uniform(50, 5000, (20, 1))
    found = identity(size * [0.8, 1.0, 1.2])
    np.testing.assert_allclose(found.mean, [0.8, 1.0, 1.2])
    np.testing.assert_allclose(found.spread, 0, atol=1e-12)
    assert (found.cases, found.chance) == (20, 1 / 1000)
    assert found.share == pytest.approx(1)
    assert not found.is_doubtful


def test_shuffled_names_carry_no_identity():
    rng = np.random.default_rng(2)
    areas = rng.permuted(rng.uniform(50, 5000, (40, 1)) * [0.8, 1.0, 1.2], axis=1)
    assert identity(areas).chance > 0.05
    assert identity(areas).is_doubtful


def test_chance_is_uniform_if_names_mean_nothing():
    rng = np.random.default_rng(3)
    found = [identity(rng.lognormal(0, 0.3, (12, 4))).chance for _ in range(30)]
    assert 0.35 < np.mean(found) < 0.65


def test_missing_masks_and_empty_cases_are_left_out():
    areas = np.array(
        [[80, 120, np.nan]] * 4 + [[np.nan, 150, 50]] * 4 + [[0, 0, 0], [5, np.nan, np.nan]]
    )
    found = identity(areas)
    assert found.cases == 8
    np.testing.assert_allclose(found.mean, [0.8, 1.35, 0.5])
    np.testing.assert_allclose(found.spread, [0, 0.15 * np.sqrt(8 / 7), 0], atol=1e-12)
    assert found.chance < 0.05


def test_names_that_explain_little_are_doubtful_however_many_cases_there_are():
    rng = np.random.default_rng(4)
    found = identity(rng.lognormal([0.05, 0, 0], 0.3, (4000, 3)))
    assert found.chance < 0.05
    assert found.is_doubtful


def test_few_cases_tell_nothing():
    few = identity(np.array([[1.0, 2.0]] * 5))
    assert np.isnan(few.chance)
    assert not few.is_doubtful
    assert identity(np.full((3, 2), np.nan)).cases == 0


def test_real_raters_are_known_and_anonymous_ones_are_not(real_data):
    """Ten persons and tools, and four readers of LIDC-IDRI whose order means nothing."""
    with np.load(real_data / "cells_10_raters.npz") as cells:
        found = identity(cells["masks"].sum(axis=(2, 3)))
    assert found.chance == 1 / 1000
    np.testing.assert_allclose(found.mean[[1, 8]], [0.81, 1.18], atol=0.005)
    with np.load(real_data / "lidc_crops.npz") as lidc:
        anonymous = identity(lidc["masks"].sum(axis=(2, 3)))
    assert (found.is_doubtful, anonymous.is_doubtful) == (False, True)
    assert found.share > 0.4 > 0.01 > anonymous.share
