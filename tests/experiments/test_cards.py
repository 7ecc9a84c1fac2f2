"""Style cards of made raters: where they come from, what the file holds, and a run with them."""

import json
import pathlib

import ml_collections
import numpy as np
import pytest

from configs import lidc
from prosona_jax import read_image
from prosona_jax.experiments import cards, inputs, prompt_sets, runs
from prosona_jax.prediction import records
from prosona_jax.prediction.loading import load
from prosona_jax.prediction.request import Request
from prosona_jax.prediction.saving import save
from prosona_jax.text import habit_reader, prompts
from prosona_jax.text.habit_reader import OTHER, TOPICS
from prosona_jax.text.habits import AXES
from prosona_jax.types import InputError
from tests.programs import ROOT, SIZE

OFFSETS = (-2.0, 0.0, 0.0, 2.5)  # margins of the raters in pixels
ENCODER = str(pathlib.Path(ROOT) / "tests" / "golden" / "text" / "bert")


def write_raters(path, *, mirrored=()):
    """Writes discs whose raters keep their margin; in `mirrored` records, the opposite one."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - 20, columns - 20)
    masks = np.array([
        [
            distance <= 8 + (-own if n in mirrored else own) + generator.uniform(-0.5, 0.5)
            for own in OFFSETS
        ]
        for n in range(24)
    ])  # fmt: skip
    patients = [f"p{n:02d}" for n in range(24)]
    image = masks.mean(axis=1) + generator.normal(0, 0.1, (24, SIZE, SIZE))
    np.savez(
        path, image=image[..., None].astype(np.float32), masks=masks.astype(np.uint8),
        patient_id=patients, record_id=patients, intensity_unit="arbitrary",
    )  # fmt: skip


def configure(folder, **changes):
    config = lidc.get_config("smoke")
    config.data.update(source="npz", path=str(folder / "raters.npz"), folds=3, raters="stored")
    config.data.update(cache_dir=str(folder / "cache"), validation_share=0.3)
    config.prompts.update(path="measured", degree_reader="", encoder=ENCODER)
    config.stage_two.query = "habits"
    config.steps = config.stage_two.steps = 2
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def few():
    """Few sentences: what is tested here does not depend on how well words are read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(habit_reader, "_CLAUSES", 40)
        patch.setattr(habit_reader, "_DEGREES", 10)
        patch.setattr(cards, "_SENTENCES", {"train": 4, "held_out": 2})
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, few):
    """The workdir of a short run, and its config."""
    folder = tmp_path_factory.mktemp("cards")
    write_raters(folder / "raters.npz")
    config = configure(folder, **{"prompts.merge": True})
    runs.train(config, folder / "run")
    return folder / "run", config


def measure(folder, **changes):
    config = configure(folder, **changes)
    return cards.measure(config, inputs.load_data(config, needed=("train",)))


def test_made_raters_come_back(tmp_path):
    write_raters(tmp_path / "raters.npz")
    found = measure(tmp_path)
    margin = [own.mean for own in found.certain["margin"].intervals]
    assert margin[0] < -1.5 < margin[1] < margin[3]
    assert margin[3] > 1.5
    assert found.certain["margin"].stable
    assert found.alike == [(1, 2)]
    assert found.names == ["rater 1", "rater 2", "rater 3", "rater 4"]
    styles = found.written.styles
    assert "inside" in " ".join(styles[0].train) or "tight" in " ".join(styles[0].train)
    assert not {s for style in styles for s in style.train} & {
        s for style in styles for s in style.held_out
    }


def test_raters_who_are_alike_can_share_a_card(tmp_path):
    write_raters(tmp_path / "raters.npz")
    apart, found = measure(tmp_path), measure(tmp_path, **{"prompts.merge": True})
    assert (apart.groups, found.groups) == ([[0], [1], [2], [3]], [[0], [1, 2], [3]])
    one, two, three, four = found.written.styles
    assert (two.name, two.same_as) == ("rater 2", "")
    assert three == two._replace(name="rater 3", same_as="rater 2")
    # Both read the same images, so what they do together is the mean of what each does.
    margins = [style.habits["margin"].value for style in apart.written.styles]
    assert two.habits["margin"].value == pytest.approx((margins[1] + margins[2]) / 2, abs=1e-3)
    assert [one.habits, four.habits] == [apart.written.styles[k].habits for k in (0, 3)]
    assert found.facts()[-1] == "alike: no habit tells rater 2 from rater 3; they share a card"
    assert "Raters merged: " in found.written.caveat
    assert "(rater 2 and rater 3)" in found.written.caveat


def test_a_shared_card_stands_once_in_the_file(tmp_path, few):
    write_raters(tmp_path / "raters.npz")
    found, path = measure(tmp_path, **{"prompts.merge": True}), tmp_path / "cards.yaml"
    cards.write(path, found)
    assert "- name: rater 3\n  same_as: rater 2\n" in path.read_text(encoding="utf-8")
    assert prompts.parse(path.read_text(encoding="utf-8"), "x") == found.written
    given = prompt_sets.load(configure(tmp_path, **{"prompts.path": str(path)}), 4)
    np.testing.assert_array_equal(given.train[1], given.train[2])
    merging = configure(tmp_path, **{"prompts.path": str(path), "prompts.merge": True})
    with pytest.raises(InputError, match="prompts.merge is True, but prompts are not measured"):
        prompt_sets.load(merging, 4)


def test_the_cards_know_the_training_records_alone(tmp_path):
    write_raters(tmp_path / "raters.npz")
    config = configure(tmp_path)
    data = inputs.load_data(config, needed=("train",))
    test = data.indices["test"].tolist()
    other = tmp_path / "other"
    other.mkdir()
    write_raters(other / "raters.npz", mirrored=test)
    assert measure(tmp_path).written == measure(other).written
    write_raters(other / "raters.npz", mirrored=data.indices["train"].tolist()[:3])
    assert measure(tmp_path).written != measure(other).written


def test_the_file_holds_the_cards_and_can_be_given_back(tmp_path, few):
    write_raters(tmp_path / "raters.npz")
    found, path = measure(tmp_path), tmp_path / "deep" / "cards.yaml"
    cards.write(path, found)
    assert prompts.parse(path.read_text(encoding="utf-8"), "x") == found.written
    assert "alike: no habit tells rater 2 from rater 3" in path.read_text(encoding="utf-8")
    given = prompt_sets.load(configure(tmp_path, **{"prompts.path": str(path)}), 4)
    measured = prompt_sets.load(configure(tmp_path), 4, found.written)
    assert given.describe() == measured.describe()
    np.testing.assert_array_equal(given.train, measured.train)


def test_what_cannot_be_measured_is_refused(tmp_path):
    write_raters(tmp_path / "raters.npz")
    with pytest.raises(InputError, match="data.raters is 'by_area'.+set data.raters to 'stored'"):
        measure(tmp_path, **{"data.raters": "by_area"})
    with pytest.raises(InputError, match="has no `scale`, but stage_two.query is 'habits'"):
        prompt_sets.load(configure(tmp_path, **{"prompts.path": "tests/prompts.yaml"}), 4)


def test_masks_in_no_order_are_a_caveat(tmp_path):
    write_raters(tmp_path / "raters.npz", mirrored=range(0, 24, 2))
    assert "Raters draw inconsistently" in measure(tmp_path).written.caveat


def test_a_run_measures_reports_and_resumes(run):
    folder, config = run
    written = (folder / "cards.yaml").read_bytes()
    report = json.loads((folder / "report" / "report.json").read_text())
    assert [card["name"] for card in report["cards"]] == [
        "rater 1", "rater 2 and rater 3", "rater 4",
    ]  # fmt: skip
    assert report["cards"][0]["measured"]["margin"]["mean"] < -1
    assert "Style cards" in (folder / "report" / "report.md").read_text()
    assert any(text.startswith("Raters merged") for text in report["caveats"])
    runs.train(ml_collections.ConfigDict(config.to_dict()), folder)
    assert (folder / "cards.yaml").read_bytes() == written


def only_numbers(model):
    """Makes a model's reader take all words for sentences that ask for something else."""
    weights = np.zeros_like(model._second.text["habit_reader"])
    weights[0, len(AXES) + TOPICS.index(OTHER)] = 1.0
    model._second.text["habit_reader"] = weights
    return model


def asked(*sentences, force=False):
    return Request(sentences, None, None, 1.0, 0.0, force, True, True)


def test_a_sentence_that_asks_for_no_habit_is_refused(run, tmp_path):
    model = only_numbers(load(run[0]))
    length, banana = model.read(["2 px inside", "a banana"])
    assert (length.understood, length.style, length.far) == ("margin -2 px", "rater 1", False)
    assert banana.far
    with pytest.raises(InputError, match="'a banana' was not understood: it is not English, or "
                       "asks for nothing .* differ: margin.*; reword it, .* --force"):  # fmt: skip
        asked("2 px inside", "a banana").check_model(model)
    asked("2 px inside", "a banana", force=True).check_model(model)
    image = read_image(run[0].parent / "raters.npz", slice_index=0)
    drawn = model.segment(image, ["2 px inside", "a banana"])
    record = save(drawn, image, tmp_path / "out")
    assert [each["understood"] for each in record["prompts"]] == ["margin -2 px", "as usual"]
    label = records.label("2 px inside", drawn[0].reading, 0.0, "120 px")
    assert "(margin -2 px; 120 px)" in label
    assert not any("hardly understood" in caveat for caveat in drawn[0].caveats)
    assert any("'a banana' was hardly understood" in caveat for caveat in drawn[1].caveats)
