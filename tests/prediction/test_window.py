"""A model whose training images were windowed by volume sees the slices of a scan in this way."""

import json

import nibabel
import numpy as np
import pytest

from data_pipelines import images, scans
from prosona_jax import checksum
from prosona_jax.experiments import unseen
from prosona_jax.prediction import loading, model_card, package
from prosona_jax.prediction.model import Model
from prosona_jax.runtime import workdir

PERCENTILES = (1.0, 99.0)
POINT = (3, 30.0, 34.0)
ALONE, OF_VOLUME = "Window of a slice alone:", "Window of the whole volume:"


@pytest.fixture(scope="module")
def trained():
    """The package's model, as if it had been trained on images of unit "arbitrary"."""
    found = package.read(loading._find(None))
    return found._replace(run=found.run._replace(intensity_unit="arbitrary"))


def model_of(trained, by_volume, monkeypatch):
    """Returns the model, and the list of the inputs that it encodes."""
    run = trained.run._replace(windowed_by_volume=by_volume)
    model, crops = Model(loading._find(None), trained._replace(run=run)), []
    encode = model._drawer.encode
    monkeypatch.setattr(model._drawer, "encode", lambda crop: crops.append(crop) or encode(crop))
    return model, crops


@pytest.fixture(scope="module")
def values():
    """A ball in slices of different brightness, f32 [slice, row, column]."""
    grid = np.moveaxis(np.indices((7, 60, 70)), 0, -1).astype(float)
    apart = np.linalg.norm((grid - POINT) * (2, 0.6, 0.6), axis=-1)
    noise = np.random.default_rng(0).gamma(2, 20, apart.shape)
    volume = (noise + 300 * (apart < 5)) * np.linspace(0.4, 1.6, 7)[:, None, None]
    return volume.astype(np.float32)


@pytest.fixture
def path(values, tmp_path):
    volume = nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([0.6, 0.6, 2.0, 1.0]))
    nibabel.save(volume, tmp_path / "mr.nii.gz")
    return tmp_path / "mr.nii.gz"


def clipped(values, limits):
    low, high = limits
    return -1 + 2 * (np.clip(values, low, high) - low) / (high - low)


@pytest.mark.parametrize("by_volume", [True, False])
def test_each_slice_of_a_scan_is_windowed_as_in_training(
    trained, monkeypatch, path, values, by_volume
):
    model, crops = model_of(trained, by_volume, monkeypatch)
    drawn = model.segment_scan(scans.read(path, unit="arbitrary"), POINT, style="core")
    assert len(drawn.shown) > 2
    for k, shown in drawn.shown.items():
        limits = np.percentile(values if by_volume else values[k], PERCENTILES)
        np.testing.assert_allclose(shown, clipped(values[k], limits), atol=1e-5)
    seen = model._images.see(images.read(path, unit="arbitrary", slice_index=3, point=POINT[1:]))
    np.testing.assert_array_equal(seen.crop, crops[0])
    assert not any(caveat.startswith((ALONE, OF_VOLUME)) for caveat in drawn.caveats)


def test_an_image_whose_volume_is_unknown_has_a_caveat(trained, monkeypatch, values, path):
    model, crops = model_of(trained, True, monkeypatch)
    np.savez(path.parent / "one.npz", image=values[5])
    picture = images.read(path.parent / "one.npz", unit="arbitrary", spacing_mm=(0.6, 0.6))
    (caveat,) = (
        each for each in model.segment(picture, style="core").caveats if each.startswith(ALONE)
    )
    assert caveat.endswith("give the slices as parts of their volumes.")
    other = images.read(path, unit="arbitrary", slice_index=5)
    model.segment(other, style="core")
    assert len(crops) == 2  # equal pixels with another window are another image
    assert np.abs(crops[0] - crops[1]).max() > 0.05
    single, _ = model_of(trained, False, monkeypatch)
    assert not any(ALONE in each for each in single.segment(picture, style="core").caveats)


def test_images_in_hounsfield_units_have_no_window_of_a_volume(trained, monkeypatch, path):
    model, _ = model_of(trained, True, monkeypatch)
    picture = images.read(path, unit="HU", slice_index=3)._replace(window=pytest.fail)
    caveats = model.segment(picture, style="core").caveats
    assert any(each.startswith("Other intensities:") for each in caveats)
    assert not any(each.startswith((ALONE, OF_VOLUME)) for each in caveats)


def test_other_data_with_other_windows_have_a_caveat(trained):
    def said(run, unit, by_volume):
        found = unseen.about_window(run, unit, by_volume=by_volume)
        return [each.partition(":")[0] + ":" for each in found]

    single, of_volume = (trained.run._replace(windowed_by_volume=x) for x in (False, True))
    assert said(single, "arbitrary", True) == [OF_VOLUME]
    assert said(of_volume, "arbitrary", False) == [ALONE]
    assert said(single, "arbitrary", False) == said(of_volume, "arbitrary", True) == []
    assert said(of_volume, "HU", False) == said(single, "HU", True) == []


def test_a_model_folder_and_a_workdir_say_how_images_were_windowed(trained, tmp_path):
    patients = {split: [] for split in trained.run.records}
    run = trained.run._replace(windowed_by_volume=True, patients=patients)
    own = trained._replace(run=run)
    card = model_card.write(own, None, license="", data_license="")
    assert "arbitrary, clipped at the percentiles 1 and 99 of the whole volume" in card
    package.write(tmp_path / "model", own, card)
    assert package.read(tmp_path / "model").run.windowed_by_volume
    workdir.write(tmp_path / "run", run)
    assert workdir.read(tmp_path / "run").windowed_by_volume


def test_older_workdirs_and_models_were_windowed_by_image(trained, tmp_path):
    assert "windowed_by_volume" not in (loading._find(None) / package.CONFIG).read_text()
    assert not trained.run.windowed_by_volume
    older = trained.run._asdict()
    del older["windowed_by_volume"]
    (tmp_path / "run.json").write_text(json.dumps(checksum.seal(older)))
    assert not workdir.read(tmp_path).windowed_by_volume
