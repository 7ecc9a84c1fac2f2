"""Volumes of a prepared data set are scored by a model; one slice scores as it does by itself."""

import functools

import numpy as np
import pytest

from data_pipelines import prepared
from data_pipelines.settings import Settings
from data_pipelines.sources import npz
from prosona_jax.evaluation.volumes import METHODS
from prosona_jax.experiments import inputs, predictions, volumes
from prosona_jax.types import InputError, Record
from tests.data.folder_files import volume_folder
from tests.experiments.test_predictions import K, _config, _model

SIZE = 8


def record(volume, number, *, seed=None, step=2.5, **fields):
    rng = np.random.default_rng(number + len(volume) if seed is None else seed)
    return Record(
        image=rng.normal(0, 100, (SIZE, SIZE, 1)).round().astype(np.float32),
        masks=(rng.random((K, SIZE, SIZE)) > 0.5).astype(np.uint8),
        rater_valid=np.ones(K, bool),
        patient_id=f"patient of {volume}",
        record_id=f"{volume}/{number}",
        site="",
        spacing_mm=np.full(2, 0.5, np.float32),
        intensity_unit="HU",
        volume=volume,
        slice_mm=number * step,
        slice_spacing_mm=step,
    )._replace(**fields)


@pytest.fixture
def load(tmp_path):
    """Returns the data of records, all of them in the test split."""

    def load(records):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
        npz.write(path, records, "", False)
        settings = Settings(
            "npz", str(path), SIZE, 0.0, "all", (-200.0, 200.0), (1.0, 99.0), "stored", "raise"
        )
        dataset = prepared.prepare(settings, str(tmp_path / "cache"))
        return inputs.Data(dataset, {"test": np.arange(len(dataset))})

    return load


def config_of(latent="volume"):
    config = _config()
    config.evaluate.latent, config.evaluate.samples, config.evaluate.batch_size = latent, 6, 4
    return config


@functools.cache
def model():
    """Returns a random model whose logits lie around 0, so that every latent has its own mask."""
    one, two = _model(config_of())
    logit = one["params"]["fcomb"]["logit"]
    logit["bias"] = logit["bias"] - np.float32(0.695)
    return one, two


def rows_of(data, latent="volume"):
    found = volumes.score(config_of(latent), *model(), data, "test", samples=6)
    return {(row["volume"], row["method"]): row for row in found}


def slices_of(data):
    config, (one, two) = config_of(), model()
    found = predictions.score_stage_one(config, one, data, "test", samples=6).rows
    found += predictions.score_prompts(config, one, two, data, "test")
    return {(data.dataset.record_ids[row["index"]], row["method"]): row for row in found}


def test_volumes_of_one_slice_score_as_the_slices(load):
    data = load([record(name, 4) for name in ("a", "bb", "ccc")])
    found, slices = rows_of(data), slices_of(data)
    assert list(found)[:6] == [("a", method) for method in METHODS]
    for (volume, method), row in found.items():
        own = slices[f"{volume}/4", method]
        assert row["patient_id"] == f"patient of {volume}"
        assert row["slices"] == 1
        for name in ("ged", "dice_match", "dice_mean", "loo_dice", "dice_1_3", "style_gain"):
            if name in own:
                assert row[name] == pytest.approx(own[name], abs=1e-6)


def test_equal_slices_are_drawn_equally_if_they_share_a_latent_or_a_draw(load):
    """Then a volume has the overlaps of its first slice, three times each."""
    data = load([record("a", number, seed=0) for number in range(3)])
    slices = slices_of(data)
    for latent in ("volume", "draw"):
        ged = rows_of(data, latent)["a", "samples"]["ged"]
        assert ged == pytest.approx(slices["a/0", "samples"]["ged"], abs=1e-6)
    alone = rows_of(data, "slice")["a", "samples"]["ged"]
    assert alone != pytest.approx(slices["a/0", "samples"]["ged"], abs=1e-3)


def test_what_slices_share_changes_what_is_drawn_on_unequal_slices(load):
    data = load([record("a", number) for number in range(3)])
    found = {latent: rows_of(data, latent) for latent in ("volume", "draw", "slice")}
    geds = [rows["a", "samples"]["ged"] for rows in found.values()]
    assert len({round(ged, 4) for ged in geds}) == 3
    # Queries of sentences look at no image, so without a pooled prior styles are drawn alike.
    styles = {latent: rows["a", "prompts_mean"]["dice_mean"] for latent, rows in found.items()}
    assert styles["draw"] == styles["slice"]


def test_the_order_of_the_records_does_not_matter(load):
    records = [record(name, number) for name in ("a", "bb") for number in range(3)]
    found, moved = (
        rows_of(load([records[i] for i in way])) for way in (range(6), [2, 1, 0, 3, 5, 4])
    )
    for key, row in found.items():
        assert row.keys() == moved[key].keys()
        for name, value in row.items():
            if isinstance(value, float):
                np.testing.assert_allclose(moved[key][name], value, atol=1e-6)


def test_pmap_gives_the_same_scores(load):
    data, config = load([record("a", number) for number in range(3)]), config_of()
    config.parallel = "pmap"
    mapped = volumes.score(config, *model(), data, "test", samples=6)
    for row, other in zip(mapped, rows_of(data).values(), strict=True):
        assert row["method"] == other["method"]
        for name in {"ged", "loo_dice", "dice_mean"} & row.keys():
            assert row[name] == pytest.approx(other[name], abs=1e-6)


def test_how_many_volumes_are_located_together_does_not_matter(load, monkeypatch):
    data = load([record(name, number) for name in ("a", "bb", "ccc") for number in range(2)])
    whole = rows_of(data)
    for records in (1, 3):
        monkeypatch.setattr(volumes, "_RECORDS", records)
        assert str(rows_of(data)) == str(whole)  # NaN differs from itself


def test_images_of_no_volume_are_left_out(load):
    data = load([record("a", 0), record("a", 1), record("b", 0)._replace(volume="")])
    assert {volume for volume, _ in rows_of(data)} == {"a"}
    assert rows_of(load([record("b", 0)._replace(volume="")])) == {}


def test_rows_name_the_site_if_the_data_do(load):
    data = load([record("a", 0, site="here"), record("b", 0)])
    assert {row["volume"]: row["site"] for row in rows_of(data).values()} == {"a": "here", "b": ""}


def test_slices_beyond_the_object_count_in_volumes_alone(tmp_path):
    root = volume_folder(tmp_path / "data", ("a", "b"), ("A", "B", "C"))
    voxels = {}
    for beyond in (0, 2):
        settings = Settings(
            "folder", str(root), SIZE, 0.0, "any", (-200.0, 200.0), (1.0, 99.0), "stored", "raise",
            layout="plain", unit="arbitrary", slices_beyond=beyond,
        )  # fmt: skip
        dataset = prepared.prepare(settings, str(tmp_path / "cache"))
        data = inputs.Data(dataset, {"test": np.arange(len(dataset))})
        assert {name for name, _ in slices_of(data)} == {
            f"{v}/{k}" for v in "ab" for k in (1, 2, 3)
        }
        rows = rows_of(data)
        assert {row["slices"] for row in rows.values()} == {3 if beyond == 0 else 6}
        voxels[beyond] = rows["a", "prompts_mean"]["voxels_1"]
    assert voxels[2] > voxels[0] + 1  # this model draws noise, also where no rater did


def test_slices_are_numbered_by_their_positions(load):
    data = load([record("a", 7), record("a", 3), record("a", 4), record("b", 1)])
    places = volumes.places(data.dataset, [0, 1, 2, 3])
    assert {i: place.number for i, place in places.items()} == {1: 0, 2: 1, 0: 4, 3: 0}
    np.testing.assert_array_equal(places[0].spacing_mm, np.float32([2.5, 0.5, 0.5]))


def test_slices_without_positions_are_numbered_in_their_order(load):
    unknown = {"slice_mm": np.nan, "slice_spacing_mm": np.nan}
    data = load([record("a", 7, **unknown), record("a", 3, **unknown)])
    places = volumes.places(data.dataset, [0, 1])
    assert {i: place.number for i, place in places.items()} == {0: 0, 1: 1}
    assert np.isnan(places[0].spacing_mm[0])


def test_slices_nearer_than_their_distance_are_refused(load):
    data = load([record("a", 7), record("a", 8, slice_mm=7 * 2.5 + 0.4)])
    with pytest.raises(InputError, match="volume 'a': its slices lie nearer than slice_spacing_mm"):
        volumes.places(data.dataset, [0, 1])
