"""Source `phantom`: slices of simulated volumes, prepared as any data; its tables in the docs."""

import collections
import pathlib

import numpy as np
import pytest

from configs import prostate
from data_pipelines import phantom, prepare, prepared, sources
from data_pipelines.settings import Settings
from data_pipelines.sources import phantom as source
from prosona_jax.types import InputError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def settings(make_settings):
    return make_settings(
        "",
        source="phantom",
        size=48,
        spacing_mm=2.0,
        slices="any",
        crop="organ",
        phantom_cases=2,
    )


def test_records_are_the_slices_that_an_observer_drew_on(settings):
    found = list(sources.records(settings, collections.Counter()))
    expected = []
    for index in range(2):
        case = phantom.case(index)
        drawn = np.flatnonzero(case.masks.any(axis=(0, 2, 3))).tolist()
        expected += [f"{case.patient_id}/{k}" for k in drawn]
    assert [record.record_id for record in found] == expected
    assert {record.site for record in found} == {"institution 1", "institution 2"}
    assert {record.volume for record in found} == {"phantom000", "phantom001"}
    assert len({record.window.tobytes() for record in found}) == 2


def test_a_case_does_not_depend_on_those_before_it(settings):
    *_, last = sources.records(settings, collections.Counter())
    index = int(last.record_id.split("/")[1])
    case = phantom.case(1)
    masks = case.masks[:, index]
    assert masks.sum() == last.masks.sum()
    rows, columns = np.nonzero(masks.any(axis=0))
    ours = np.nonzero(last.masks.any(axis=0))
    image = last.image[..., 0]
    np.testing.assert_array_equal(image[ours], case.image[index][rows, columns])


def test_the_prepared_data_are_called_a_phantom(settings, cache):
    dataset = prepared.prepare(settings, cache)
    counts = {volume: dataset.volumes.count(volume) for volume in dict.fromkeys(dataset.volumes)}
    assert set(counts) == {"phantom000", "phantom001"}
    assert all(15 <= count <= 22 for count in counts.values())
    assert dataset[0].image.shape == (48, 48, 1)
    assert dataset[0].masks.shape == (5, 48, 48)
    assert dataset.simulated
    assert dataset.citation == source.CITATION
    assert dataset.citation.startswith("phantom of prostate MRI: ")
    assert dataset.fingerprint["masks_cut_by_crop"] == 0
    assert dataset.fingerprint["skipped"] == {}
    said = prepare.describe(dataset, prostate.get_config("smoke").data)
    assert "the images are simulated: no clinical evidence" in said


def test_observers_have_names(settings):
    assert source.rater_names(settings) == [f"observer {letter}" for letter in "ABCDE"]


def test_a_path_is_refused(make_settings):
    with pytest.raises(InputError) as error:
        next(sources.records(make_settings("x.npz", source="phantom"), collections.Counter()))
    assert str(error.value) == (
        "data.path=x.npz: source 'phantom' needs no file; leave data.path empty"
    )


def test_no_cases_are_refused(make_settings):
    with pytest.raises(InputError, match=r"^data.phantom_cases=0: give a number of patients, abo"):
        make_settings("", source="phantom", phantom_cases=0)


def test_workdirs_without_the_field_have_the_default():
    assert Settings.__dataclass_fields__["phantom_cases"].default == 50


def test_the_docs_have_the_tables_of_the_code():
    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for o in phantom.OBSERVERS:
        numbers = [
            f"{value:+g}" if value else "0" for value in (o.margin_mm, o.apex_slices, o.base_slices)
        ]
        margin, apex, base = numbers
        vesicles = "yes" if o.vesicles else "no"
        row = f"| {o.name} | {margin} | {o.smooth_mm:g} | {apex} | {base} | {vesicles} |"
        assert row in page
    for s in phantom.SITES:
        row = (
            f"| {s.name} | {s.tesla:g} T | {s.coil} | {s.spacing_mm:g} | {s.slice_mm:g} | "
            f"{s.noise:g} | {s.gamma:g} | {s.gain:g} |"
        )
        assert row in page
