"""The command on whole scans and on folders of them: points, files, records, failures."""

import json
import logging
import os

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from data_pipelines import scans
from prosona_jax import predict
from prosona_jax.report import figures
from prosona_jax.types import InputError
from tests.prediction.conftest import MIDDLE, SENTENCES, SIZE, SLICES, loaded

POINT = "5,18,22"
DRAWN = SENTENCES[:2]


@pytest.fixture
def command(trained, tmp_path, monkeypatch):
    """Runs the command in this process; returns the record of a folder."""
    monkeypatch.setattr(predict, "load", loaded)

    def run(*arguments, output="out", folder=""):
        for flag in predict._FLAGS:
            predict._FLAGS[flag].unparse()
        predict._FLAGS(
            ["predict", f"--model={trained[0]}", f"--output={tmp_path / output}", *arguments]
        )
        predict.main()
        path = tmp_path / output / folder / "prediction.json"
        return json.loads(path.read_text()) if path.exists() else None

    return run


def prompts(*sentences):
    return [f"--prompt={sentence}" for sentence in sentences or DRAWN]


def voxels(path):
    return np.asarray(nibabel.load(path).dataobj)


def test_nifti(command, ball_file, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join([DRAWN[0], "", DRAWN[1]]))
    record = command(
        f"--image={ball_file}", f"--point={POINT}", "--unit=unit",
        f"--prompts={tmp_path / 'prompts.txt'}",
    )  # fmt: skip
    assert record["index"] == list(MIDDLE)
    assert record["ras_mm"] == [10 + 22, 20 + 18, 30 + 3 * 5]
    assert record["request"]["prompts"] == list(DRAWN)
    assert (record["request"]["point"], record["request"]["point_in"]) == (POINT, "index")
    small, large = record["prompts"]
    assert small["files"] == ["ball_1_Draw-a-very-small-contour.nii.gz"]
    assert 0 < small["volume_ml"] < large["volume_ml"]
    for each in (small, large):
        (file,) = each["files"]
        drawn = voxels(tmp_path / "out" / file)
        np.testing.assert_array_equal(
            nibabel.load(tmp_path / "out" / file).affine, nibabel.load(ball_file).affine
        )
        assert drawn.shape == (SIZE, SIZE, SLICES)
        assert drawn.sum() == each["voxels"] == pytest.approx(each["volume_ml"] * 1000 / 3)
        ends = np.flatnonzero(drawn.any(axis=(0, 1)))
        assert each["slices"] == [ends[0], ends[-1]]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(record["files"])
    with Image.open(tmp_path / "out" / "overlay.png") as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in figures.RATERS[:2]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (shown == rgb).all(axis=1).sum() > 100


def test_a_point_in_any_frame_is_the_same_point(command, ball_file):
    common = (f"--image={ball_file}", "--unit=unit", *prompts())
    expected = command(*common, f"--point={POINT}")
    for frame, point in (("xyz", "22,18,5"), ("RAS", "32,38,45"), ("LPS", "-32,-38,45")):
        record = command(*common, f"--point={point}", f"--point_in={frame}", output=frame)
        assert record["index"] == expected["index"]
        assert record["prompts"] == expected["prompts"]
        assert record["request"]["point"] == point


def write_series(make_dicom, ball, folder, tmp_path):
    """Writes the ball as a DICOM series."""
    (tmp_path / folder).mkdir()
    for k, plane in enumerate(ball):
        stored = ((1400 * plane - 1000 + 1024) / 2).round().astype(np.int16)
        make_dicom(
            f"{folder}/{k:02d}.dcm", stored, SOPInstanceUID=f"1.2.3.4.{k}",
            ImagePositionPatient=[10.0, 20.0, 30.0 + 3 * k], PixelSpacing=[1.0, 1.0],
            SliceThickness=3.0,
        )  # fmt: skip
    return tmp_path / folder


def test_dicom(command, make_dicom, ball, tmp_path):
    folder = write_series(make_dicom, ball, "series", tmp_path)
    record = command(f"--image={folder}", f"--point={POINT}", *prompts())
    assert record["files"] == [
        "series_masks.dcm", "series_contours.dcm", "overlay.png", "prediction.json",
    ]  # fmt: skip
    assert [each["segment"] for each in record["prompts"]] == [1, 2]
    found = pydicom.dcmread(tmp_path / "out" / "series_masks.dcm")
    assert found.SeriesDescription.startswith("prosona_jax: Draw a very small contour.; Draw")
    assert [each.SegmentLabel for each in found.SegmentSequence] == list(DRAWN)
    assert found.pixel_array.sum() == sum(each["voxels"] for each in record["prompts"])
    structures = pydicom.dcmread(tmp_path / "out" / "series_contours.dcm")
    assert [each.ROIName for each in structures.StructureSetROISequence] == list(DRAWN)


def test_one_slice_of_a_folder(command, make_dicom, ball, tmp_path):
    """Two slices of a series in one output folder, with the sentence of both."""
    folder = write_series(make_dicom, ball, "series", tmp_path)
    first = command(f"--image={folder}", "--slice=5", "--point=18,22", *prompts(DRAWN[1]))
    assert (first["slice"], first["point"]) == (5, [18, 22])
    assert first["files"][0] == "05_slice5_masks.dcm"
    command(f"--image={folder}", "--slice=6", "--point=18,22", *prompts(DRAWN[1]))
    other = json.loads((tmp_path / "out" / "prediction_06_slice6.json").read_text())
    assert other["slice"] == 6
    assert json.loads((tmp_path / "out" / "prediction.json").read_text()) == first
    with pytest.raises(InputError, match="is a folder; give --point=SLICE,ROW,COL to draw"):
        command(f"--image={folder}", *prompts())
    with pytest.raises(InputError, match="outside of the scan; give slice 0..10, row 0..39"):
        command(f"--image={folder}", "--slice=11", *prompts())


def test_samples(command, ball_file, tmp_path):
    record = command(f"--image={ball_file}", f"--point={POINT}", "--unit=unit", "--samples=4")
    agreement, entropy = (voxels(tmp_path / "out" / name) for name in record["files"][:2])
    assert record["files"][:2] == ["ball_1_agreement.nii.gz", "ball_2_entropy.nii.gz"]
    assert (agreement.shape, agreement.dtype) == ((SIZE, SIZE, SLICES), np.float32)
    assert set(np.unique(agreement)) <= {0, 0.25, 0.5, 0.75, 1}
    np.testing.assert_allclose(entropy[agreement == 0.5], 1)
    np.testing.assert_allclose(entropy[(agreement == 0) | (agreement == 1)], 0)
    volume = record["samples"]["volume_ml"]
    assert volume["lowest"] < volume["median"] < volume["highest"]
    assert np.mean(record["samples"]["volumes_ml"]) == pytest.approx(agreement.sum() * 3 / 1000)


def write_cases(folder, ball_file, points):
    folder.mkdir()
    (folder / "a.nii").write_bytes(ball_file.read_bytes())
    (folder / "b.nii").write_bytes(b"damaged")
    (folder.parent / "points.csv").write_text("\ufeffcase,slice,row,column\n" + points)
    return (
        f"--image={folder}", f"--points={folder.parent / 'points.csv'}", "--unit=unit",
        *prompts(DRAWN[1]),
    )  # fmt: skip


def test_a_folder_of_cases(command, ball_file, tmp_path, caplog):
    """A bad case has one line, and the others go on; a rerun draws only what asks for more."""
    caplog.set_level(logging.INFO, "prosona_jax.predict")
    common = write_cases(
        tmp_path / "cases", ball_file, "b,1,2,3\na,5,18,22\nnone,1,2,3\na.nii,99,0,0\na,4,18,22\n"
    )
    with pytest.raises(InputError) as fault:
        command(*common)
    assert str(fault.value) == "3 of 5 points failed; each has its line above"
    failures = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    starts = ("b, lesion 1: failed: ", "none, lesion 1: failed: ", "a.nii, lesion 1: failed: ")
    assert [each.startswith(start) for each, start in zip(failures, starts, strict=True)]
    assert all("\n" not in each for each in failures)
    record = tmp_path / "out" / "a" / "lesion_1" / "prediction.json"
    written = record.stat().st_mtime_ns
    assert json.loads(record.read_text())["index"] == [5, 18, 22]
    second = tmp_path / "out" / "a" / "lesion_2" / "prediction.json"
    assert json.loads(second.read_text())["index"] == [4, 18, 22]
    assert sorted(os.listdir(tmp_path / "out")) == ["a"]

    caplog.clear()
    second.unlink()
    with pytest.raises(InputError, match="3 of 5 points failed"):
        command(*common)
    assert "skipped 1 of 5 points: their folders hold the same request" in caplog.text
    assert record.stat().st_mtime_ns == written
    assert second.exists()
    with pytest.raises(InputError):
        command(*common, "--nofill_holes")
    assert record.stat().st_mtime_ns > written


def test_a_source_of_a_scan_is_not_replaced(command, ball, tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    for k, plane in enumerate(ball):
        name = "overlay.png" if k == 8 else f"{k}.png"
        Image.fromarray((255 * plane).astype(np.uint8)).save(folder / name)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match=r"overlay.png: would be replaced; choose another folder"):
        command(f"--image={folder}", f"--point={POINT}", *prompts(), output="slices")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    record = command(f"--image={folder}", f"--point={POINT}", *prompts())
    assert record["prompts"][0]["volume_ml"] is None
    assert (record["lps_mm"], record["spacing_mm"]) == (None, None)
    first, last = record["prompts"][1]["slices"]
    assert len(record["prompts"][1]["files"]) >= last - first + 1


def test_flags_that_do_not_fit(command, ball_file, tmp_path):
    scan = (f"--image={ball_file}", f"--point={POINT}", "--unit=unit")
    for arguments, fault in (
        ((*scan, *prompts(), "--slice=3"), "--slice is of one image; leave it out"),
        ((*scan, *prompts(), "--probability"), "--probability is of one image; leave it out"),
        ((*scan,), "give exactly one of --prompt="),
        ((*scan, *prompts(), "--samples=3"), "give exactly one of --prompt="),
        ((*scan, "--style=huge"), "has no style 'huge'; choose one of core"),
        ((*scan, *prompts(), "--spacing=1,1"), "--spacing=1,1: give slice,row,col in mm, such as"),
        ((*scan, "--prompts=no.txt"), "no.txt: cannot be read"),
        ((*scan[:1], "--point_in=xyz", *prompts()), "--point_in is of a whole scan; leave it out"),
        ((*scan, *prompts(), "--points=x.csv"), "--point is of one scan; leave it out"),
    ):
        with pytest.raises(InputError) as error:
            command(*arguments)
        assert fault in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_python_interface_saves_a_scan(trained, ball_file, tmp_path):
    import prosona_jax as pj

    scan = scans.read(ball_file, unit="unit")
    model = loaded(trained[0])
    record = pj.save(model.segment_scan(scan, MIDDLE, style="full"), scan, tmp_path / "out")
    assert [each["prompt"] for each in record["prompts"]] == ["full"]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(record["files"])
    with pytest.raises(InputError, match="there is no contour to save"):
        pj.save([], scan, tmp_path / "other")
