"""The files of a prediction: masks in each format, a picture, and a record of both."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from prosona_jax.prediction import caveats, records, saving
from prosona_jax.prediction.segmentation import Segmentation
from prosona_jax.report import figures
from prosona_jax.types import InputError
from tests.prediction.conftest import SENTENCES, SIZE


@pytest.fixture
def make_npz_of_two(disc, tmp_path):
    np.savez(tmp_path / "two.npz", image=np.stack([disc, disc[::-1]]), intensity_unit="unit")
    return tmp_path / "two.npz"


def test_png(ask, disc, tmp_path):
    Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "crop.png")
    record, files = ask(image=tmp_path / "crop.png")
    for each, file, sentence in zip(record["prompts"], files, SENTENCES, strict=False):
        with Image.open(file) as png:
            assert png.size == (SIZE, SIZE)
            assert (np.asarray(png) == 255).sum() == each["area_px"] > 0
            assert png.text == {
                "Title": sentence,
                "Description": "Research use only, no clinical evidence. Model trained on "
                f"simulated images. Prompt: {sentence}",
            }
    assert [record[name] for name in ("spacing_mm", "axis", "value_range")] == [None] * 3
    assert record["prompts"][0]["area_mm2"] is None
    assert record["caveats"][2:] == [
        "Other intensities: these images have values from 0 to 1, but the training images had "
        "values in an arbitrary unit; the contrast may be new to the model.",
        "Pixel size unknown: it is unknown for these images and for the training images, and none "
        "are resampled; objects must be about as large in pixels as in the training images.",
    ]
    with Image.open(files[-2]) as picture:
        assert files[-2].name == "overlay.png"
        drawn = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in figures.RATERS[:3]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (drawn == rgb).all(axis=1).sum() > 100


def test_prompts_of_any_script(ask, disc, tmp_path):
    Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "crop.png")
    prompts = ["固い芯をぎりぎりに囲む" * 10, "ठोस कोर \u202e\x07", "حول النواة \U0001f602"]
    record, files = ask(prompts, image=tmp_path / "crop.png")
    assert [each["prompt"] for each in record["prompts"]] == prompts
    assert [file.name for file in files[:3]] == [
        "crop_1_" + "固い芯をぎりぎりに囲む" * 3 + "固い芯をぎりぎ.png",
        "crop_2_ठोस-कोर.png",
        "crop_3_حول-النواة.png",
    ]
    start = (
        "The prompt '" + "固い芯をぎりぎりに囲む" * 6 + "固い芯をぎりぎりに囲 ...' is far from all"
    )
    assert any(caveat.startswith(start) for caveat in record["caveats"])


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes are Linux's")
def test_a_path_that_is_not_utf_8(ask, disc, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray((255 * disc).astype(np.uint8)).save(path)
    record, files = ask(image=path)
    assert json.loads(files[-1].read_text()) == record
    assert record["image"] == str(path)


@pytest.mark.parametrize(
    ("pixel_mm", "shown"), [(0.0125, "0.00609"), (0.7, "19.1"), (30.0, "35100"), (None, "")]
)
def test_areas_in_the_legend_have_three_digits(pixel_mm, shown):
    probability = np.zeros((8, 9), np.float32)
    probability.flat[:39] = 1
    area = pixel_mm and 39 * pixel_mm**2
    drawn = Segmentation(
        "small",
        probability.astype(np.uint8),
        probability,
        0.0,
        area,
        (),
        None,
        {},
        "",
        None,
        probability,
    )
    expected = f"39 px, {shown} mm²" if shown else "39 px"
    assert saving._area(drawn) == expected


def test_another_prediction_on_the_image_removes_the_masks_of_the_last_one(ask, disc, tmp_path):
    """Files that no prediction on the image wrote stay."""
    for name in ("crop.png", "other.png"):
        Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / name)
    other = ask(SENTENCES[:1], image=tmp_path / "other.png")[1]
    first = ask(SENTENCES[:2], image=tmp_path / "crop.png")[1]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    record, second = ask(SENTENCES[1:], image=tmp_path / "crop.png")
    kept = ["notes.txt", *(path.name for path in (*other, *second))]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(kept)
    assert not first[0].exists()
    assert [path.name for path in second[-2:]] == ["overlay_crop.png", "prediction_crop.json"]
    assert records.read(tmp_path / "out")["prediction_crop.json"] == record
    assert json.loads(other[-1].read_text())["files"] == [path.name for path in other]


def test_damaged_records_list_no_files(tmp_path):
    path, image = tmp_path / "prediction.json", {"image": "a.png"}
    path.write_text(json.dumps(image | {"files": [["x"], 1, "y"]}))
    assert records.read(tmp_path) == {"prediction.json": image | {"files": ["y"]}}
    for content in ({"files": {"notes.txt": 1}}, {"files": None}, image, []):
        path.write_text(json.dumps(content))
        assert records.read(tmp_path) == {}
    path.write_bytes(b"\xff{")
    assert records.read(tmp_path) == {}


def test_slices_of_one_volume_lie_in_one_folder(make_npz_of_two, ask):
    """The same sentence on two slices, and on the first one again: no file is lost."""
    first, second, again = (
        ask(SENTENCES[:1], image=make_npz_of_two, slice_index=k) for k in (0, 1, 0)
    )
    assert [path.name for path in first[1]] == [
        "two_slice0_masks.npz", "overlay.png", "prediction.json",
    ]  # fmt: skip
    assert [path.name for path in second[1]] == [
        "two_slice1_masks.npz", "overlay_two_slice1.png", "prediction_two_slice1.json",
    ]  # fmt: skip
    assert again[1] == first[1]
    for (record, files), k in ((first, 0), (second, 1)):
        assert json.loads(files[-1].read_text()) == record
        assert record["slice"] == k


def test_a_file_of_another_prediction_is_not_replaced(ask, disc, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / name / "crop.png")
    _, files = ask(SENTENCES[:1], image=tmp_path / "one" / "crop.png")
    with pytest.raises(InputError) as fault:
        ask(SENTENCES[:1], image=tmp_path / "two" / "crop.png")
    assert str(fault.value) == (
        f"{files[0]}: belongs to the prediction on {tmp_path / 'one' / 'crop.png'} in "
        "prediction.json; choose another folder"
    )
    assert sorted(os.listdir(tmp_path / "out")) == sorted(path.name for path in files)


def test_no_file_starts_with_a_dash(ask, disc, tmp_path):
    Image.fromarray((255 * disc).astype(np.uint8)).save(tmp_path / "-crop.png")
    _, files = ask(["-2 mm"], image=tmp_path / "-crop.png")
    assert files[0].name == "crop_1_2-mm.png"


def test_a_slice_along_another_axis_is_another_image(make_nifti, ask, disc):
    """Masks of slice 3 along one axis stay if slice 3 along another axis is predicted."""
    pytest.importorskip("nibabel", reason="the extra [nifti] is not installed")
    path = make_nifti(np.tile(disc[..., None], 40).astype(np.float32), "ct.nii")
    options = {"image": path, "slice_index": 3, "value_range": (0.0, 1.0)}
    record, first = ask(SENTENCES[:1], axis=0, **options)
    assert (record["slice"], record["axis"], record["value_range"]) == (3, 0, [0, 1])
    record, second = ask(SENTENCES[1:2], axis=2, **options)
    assert record["axis"] == 2
    assert first[0].exists()
    assert ask(SENTENCES[2:], axis=2, **options)[0]["axis"] == 2
    assert first[0].exists()
    assert not second[0].exists()


def test_nifti(make_nifti, ask, disc):
    nibabel = pytest.importorskip("nibabel", reason="the extra [nifti] is not installed")
    voxels = np.stack([np.zeros_like(disc), disc, disc[::-1]], axis=-1)
    path = make_nifti(np.swapaxes(voxels, 0, 1).astype(np.float32), "ct.nii.gz")
    record, files = ask(image=path, slice_index=1, unit="unit")
    source = nibabel.load(path)
    assert files[0].name == "ct_slice1_1_Draw-a-very-small-contour.nii.gz"
    for each, file in zip(record["prompts"], files, strict=False):
        found = nibabel.load(file)
        assert found.shape == source.shape
        np.testing.assert_array_equal(found.affine, source.affine)
        drawn = np.asarray(found.dataobj)
        assert drawn[..., 1].sum() == drawn.sum() == each["area_px"]
        assert each["area_mm2"] == pytest.approx(
            each["area_px"] * np.prod(np.linalg.norm(source.affine[:3, :2], axis=0)), rel=1e-5
        )
        assert found.header["descrip"].item().decode().startswith(caveats.NOTE)
    assert 0 < record["prompts"][0]["area_px"] < record["prompts"][1]["area_px"]
    assert [caveat.partition(":")[0] for caveat in record["caveats"][2:]] == [
        "Other intensities",  # the training images do not have values from 0 to 1
        "Not resampled",  # the pixel size of the training images is unknown
    ]


def test_dicom(make_dicom, ask, disc):
    pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
    pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
    hounsfield = -1000 + 1400 * disc
    path = make_dicom("IM0001", stored=((hounsfield + 1024) / 2).round().astype(np.int16))
    record, files = ask(image=path)
    assert [file.name for file in files] == ["IM0001_masks.dcm", "overlay.png", "prediction.json"]
    found, source = pydicom.dcmread(files[0]), pydicom.dcmread(path)
    assert found.pixel_array.shape == (3, SIZE, SIZE)
    assert found.pixel_array.sum(axis=(1, 2)).tolist() == [e["area_px"] for e in record["prompts"]]
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == list(SENTENCES)
    assert found.FrameOfReferenceUID == source.FrameOfReferenceUID
    (shared,) = found.SharedFunctionalGroupsSequence
    assert shared.PixelMeasuresSequence[0].PixelSpacing == source.PixelSpacing
    assert (record["intensity_unit"], record["spacing_mm"]) == ("HU", [0.5, 0.75])
    first = record["prompts"][0]
    assert first["area_mm2"] == pytest.approx(0.5 * 0.75 * first["area_px"])
