"""The caveats about data and run, the description of both, and which data fit a run."""

import pathlib

import numpy as np
import pytest

from configs import lidc
from data_pipelines import fingerprint, prepared
from data_pipelines.validation import Intensities
from prosona_jax.experiments import inputs, prompt_sets
from prosona_jax.types import InputError, Record

NO_TEXT = {"stage_two.query": "none", "stage_two.latent": 0.0, "stage_two.visual": 0.0}
PATIENTS = ["p1", "p1", "p2", "p3", "p4"]
INDICES = {"train": [0, 1], "validation": [2], "test": [3, 4], "all": range(5)}


class Dataset(list, prepared.Dataset):
    """A list of records with the attributes of a prepared data set that these tests need."""

    patient_ids = PATIENTS
    drawn = (True,) * len(PATIENTS)
    windowed_by_volume = False


def _config(changes):
    config = lidc.get_config("smoke")
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


def _data(*, raters=4, channels=1, simulated=False, changes=None):
    generator = np.random.default_rng(raters + channels)
    summary, dataset = fingerprint.Fingerprint(), Dataset()
    tally = fingerprint.Tally(
        native_sizes={(71, 71)},
        native_spacings={(0.5, 0.5), (0.8, 0.8)},
        unit="HU",
        intensities=[Intensities(-1000, -800, 300, 0.7)],
    )
    for index, patient in enumerate(PATIENTS):
        masks = np.zeros((raters, 8, 8), np.uint8)
        masks[:, :2, :2] = 1
        record = Record(
            record_id=f"r{index}", patient_id=patient, site="", split="", intensity_unit="HU",
            image=generator.normal(size=(8, 8, channels)).astype(np.float32),
            masks=masks, rater_valid=np.ones(raters, bool),
            spacing_mm=np.array([0.5, 0.5], np.float32),
        )  # fmt: skip
        dataset.append(record)
        summary.add(record)
    dataset.fingerprint = summary.summary(tally) | (changes or {})
    dataset.simulated, dataset.intensity_unit = simulated, "HU"
    return inputs.Data(dataset, {k: np.array(v, np.int64) for k, v in INDICES.items()})


def _run(data, **changes):
    return inputs.run_of(_config({}), data, None)._replace(**changes)


def test_a_description_counts_the_scored_records_and_the_training_patients():
    data = _data()
    described = inputs.describe(_config({}), data, _run(data))
    assert list(described.items())[:6] == [
        ("split", "test; test fold 0 of 4 patient folds"),
        ("records scored", "2 of 2 patients"),
        ("records of training", "2 of 1 patients"),
        ("records of validation", "1 of 1 patients"),
        ("whole data set, records", "5 of 4 patients"),
        ("whole data set, raters", "4 (0 masks declared missing)"),
    ]
    assert described["whole data set, image"] == "8x8x1, from 71x71 to 71x71 pixels"
    assert described["whole data set, spacing"] == "0.5x0.5 to 0.8x0.8 mm"
    assert described["whole data set, mask area"] == (
        "4 / 4 / 4 pixels or 9.0 / 9.0 / 9.0 mm² (5 / 50 / 95 %)"
    )


def test_a_description_names_the_training_patients_of_other_data():
    """The training patients are those of the run, for any fold that is scored."""
    data = _data()
    other = inputs.describe(_config({"data.split": "all"}), data, _run(data, data_digest="0"))
    assert (other["split"], other["records scored"]) == ("all", "5 of 4 patients")
    assert other["records of training"] == "1 patients of other data"
    run = _run(data, patients={"train": ["p2", "p3", "p4"], "validation": ["p1"]})
    same = inputs.describe(_config({}), data, run)
    assert same["records of training"] == "3 of 3 patients"
    assert same["records of validation"] == "2 of 1 patients"


@pytest.mark.parametrize(
    ("trained", "scored", "claims"),
    [
        (False, False, []),
        (True, True, ["Images simulated"]),
        (False, True, ["Images simulated"]),
        (True, False, ["Trained on simulated images"]),
    ],
)
def test_simulated_images_are_named_if_it_was_scored_or_trained_on(trained, scored, claims):
    data = _data(simulated=scored)
    assert _images(_config({}), data, _run(data, simulated=trained)) == claims


def test_images_of_other_data_are_compared_with_the_training_images():
    """The model's own data need no such caveat. The config may resample other data differently."""
    data, config = _data(changes={"native_spacing_mm": [[0.9, 0.9]]}), _config({"data.folds": 1})
    data.dataset.intensity_unit = "unit"
    run = _run(data, native_spacing_mm=[[0.5, 0.5], [0.8, 0.8]], intensity_unit="HU")
    assert _images(config, data, run) == []
    run = run._replace(data_digest="0")
    assert _images(config, data, run) == ["Other intensities"]
    config.data.spacing_mm = 0.0
    assert _images(config, data, run) == ["Other intensities", "Other pixel size"]
    assert _images(config, data, run._replace(native_spacing_mm=None)) == [
        "Other intensities",
        "Not resampled",
    ]


@pytest.mark.parametrize(
    ("sizes", "unknown", "claims"),
    [
        ([[0.9, 0.9]], 0, []),
        (None, 5, ["Pixel size unknown"]),
        ([[0.9, 0.9]], 2, ["Pixel sizes mixed", "Pixel size unknown"]),
    ],
)
def test_data_with_pixels_of_known_and_unknown_size(sizes, unknown, claims):
    data = _data(changes={"native_spacing_mm": sizes, "spacings_unknown": unknown})
    run = _run(_data(), data_digest="0")
    assert _images(_config({}), data, run) == claims
    own = [claim for claim in claims if claim == "Pixel sizes mixed"]
    assert _images(_config({}), data, _run(data)) == own


def _images(config, data, run):
    """Returns the claims of the caveats about pixels and intensities."""
    claims = [caveat.partition(": ")[0] for caveat in inputs.caveats(config, data, run)]
    return [claim for claim in claims if "atient" not in claim and "folds" not in claim]


@pytest.mark.parametrize("caveats", [[], ["Prompts know the images: they describe them."]])
def test_the_caveat_of_a_prompt_file_is_repeated(caveats):
    nothing = np.zeros((0, 0, 0), np.float32)
    prompts = prompt_sets.Prompts((), *(caveats or [None]), {}, nothing, nothing, None)
    run = _run(_data(), prompts=prompts.describe())
    assert inputs.caveats(_config({}), _data(), run)[3:] == caveats
    assert inputs.about_prompts(run.prompts) == caveats
    assert inputs.about_prompts(None) == []


@pytest.mark.parametrize(
    ("reader", "claims"),
    [({}, ["Numbers not read"]), ({"habit_reader": {}}, []), ({"degree_reader": {}}, [])],
)
def test_cards_whose_numbers_are_not_read_are_a_caveat(reader, claims):
    """Cards have a scale; only a reader of habits or degrees knows what 2 mm are."""
    described = {"encoder": {"name": "x", **reader}, "styles": [], "scale": {}}
    found = inputs.about_prompts(described)
    assert [text.partition(": ")[0] for text in found] == claims
    assert inputs.about_prompts({**described, "caveat": "Raters drawn alike: so."}) == [
        "Raters drawn alike: so.", *found,
    ]  # fmt: skip
    del described["scale"]
    assert inputs.about_prompts(described) == []


FEW = "Few patients scored: 2 (2 records), and an interval over so few is too narrow; use more "


def test_known_patients_lost_records_and_small_splits_are_named():
    """Caveats about the splits are left out if the model was trained on other data."""
    data, config = _data(changes={"skipped": {"corrupt": 2}}), _config({"data.split": "all"})
    run = _run(data)
    lost, few, validation, folds, used = inputs.caveats(config, data, run)
    assert lost == (
        "Incomplete data: 2 of 7 records were corrupt and left out (data.on_error=skip); fix "
        "them; the log names each."
    )
    assert few.startswith("Few patients scored: 4 (5 records), ")
    assert validation.startswith("Few validation patients: fold 0 of 4 has 1 (1 record), so ")
    assert folds.startswith("Unequal folds: of 5 records the smallest of 4 folds holds 0 and ")
    assert used.startswith("Known patients: 2 of the scored patients were used to train or select")
    others = inputs.caveats(config, data, run._replace(data_digest="0"))
    assert others == [lost, few, used]


def test_the_caveats_that_are_logged_are_also_in_the_report(caplog):
    data = _data(simulated=True, changes={"masks_cut_by_crop": 1})
    config = _config({})
    simulated, cut = inputs.about_data(config, data.dataset)
    assert simulated == inputs.SIMULATED
    assert cut.startswith("Masks cut: in 1 of 5 records masks reach beyond the crop, ")
    assert cut.endswith("; raise data.size or data.spacing_mm.")
    splits = inputs.about_splits(config, {0: data}, trained=True)
    assert splits[0] == f"{FEW}patients, or pool all folds (prosona_jax.compare)."
    assert inputs.caveats(config, data, _run(data)) == [simulated, cut, *splits]
    inputs.warn([simulated, cut])
    assert caplog.messages == [simulated, cut]


@pytest.mark.parametrize(
    ("changes", "depends"),
    [
        ({}, True),
        (NO_TEXT, False),
        (NO_TEXT | {"model.posterior_input": "all"}, True),
    ],
)
def test_another_number_of_raters_fits_unless_the_model_depends_on_it(changes, depends):
    run = _run(_data())
    config = _config(changes)
    inputs.check_fits(config, _data(), run)
    with pytest.raises(InputError, match="the data have 3 channels, but the model was trained on"):
        inputs.check_fits(config, _data(channels=3), run)
    if depends:
        with pytest.raises(InputError, match="the data have 2 raters, but the model was trained "):
            inputs.check_fits(config, _data(raters=2), run)
    else:
        inputs.check_fits(config, _data(raters=2), run)


def test_prompts_are_found_from_any_directory(tmp_path, monkeypatch):
    """A file in the working directory comes first; an error names the path as it was given."""
    monkeypatch.chdir(tmp_path)
    config = _config({"prompts.path": "tests/prompts.yaml"})
    assert len(prompt_sets.load(config, 4).styles) == 4
    path = pathlib.Path(config.prompts.path)
    path.parent.mkdir(parents=True)
    path.write_text("nothing")
    with pytest.raises(InputError, match=f"^{path}"):
        prompt_sets.load(config, 4)
    path.write_bytes("größer".encode("latin-1"))
    with pytest.raises(InputError, match=rf"^{path}: line 1: the byte 0xF6 is not UTF-8; the file"):
        prompt_sets.load(config, 4)
    with pytest.raises(InputError, match=r"^no/such.yaml: cannot be read \(.+\); set prompts.path"):
        prompt_sets.load(_config({"prompts.path": "no/such.yaml"}), 4)


def test_a_tested_site_is_described_and_patients_of_two_sites_are_a_caveat():
    data, config = _data(), _config({"data.test_site": "south"})
    data.dataset.sites = ["north", "south", "south", "north", "south"]  # of p1, p1, p2, p3, p4
    described = inputs.describe(config, data, _run(data))
    assert described["split"] == "test; site south is tested, and the model learns from the others"
    [caveat] = [x for x in inputs.about_splits(config, {0: data}, trained=True) if "sites" in x]
    assert caveat.startswith("Patients of two sites: 1 records of patients of site 'south' are of")
    data.dataset.sites[0] = "south"
    assert not [x for x in inputs.about_splits(config, {0: data}, trained=True) if "sites" in x]


def test_rows_name_the_site_only_where_the_data_name_any():
    data = _data()
    data.dataset.record_ids, data.dataset.sites = [f"r{i}" for i in range(5)], [""] * 5
    row = {"index": 2, "method": "samples", "ged": 0.5}
    expected = {"record_id": "r2", "patient_id": "p2", "method": "samples", "ged": 0.5}
    assert inputs.with_ids(row, data.dataset) == expected
    data.dataset.sites = ["", "", "", "north", ""]
    assert inputs.with_ids(row, data.dataset) == expected | {"site": ""}
