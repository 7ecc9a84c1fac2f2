"""One contour per sentence on one image: equal to scoring, with its record and its caveats."""

import json
import logging
import math
import os
import shutil

import jax
import ml_collections
import numpy as np
import pytest
from PIL import Image

from configs import lidc
from prosona_jax.evaluation import style_steps
from prosona_jax.experiments import build, inputs, predictions, stages
from prosona_jax.prediction import caveats
from prosona_jax.runtime import workdir
from prosona_jax.training import feature_cache, stage_two
from tests.prediction.conftest import SENTENCES, SIZE, draw

FAR = "Apple pie with cinnamon."


def masks_of(files):
    with np.load(files[0]) as stored:
        return stored["masks"]


def scored(trained, index, split="train"):
    """Returns scoring's probabilities for every prompt of a split, f32 [p, k, 32, 32]."""
    folder, data = trained
    run = workdir.read(folder)
    config = ml_collections.ConfigDict(run.config)
    shape = {"channels": 1, "raters": 4}
    _, params = stages.read_stage_one(config, folder / "stage_one", **shape)
    second = stages.read_stage_two(config, folder / "stage_two", run.prompts, **shape)
    ((_, (found,)),) = predictions.predict_stage_two(
        config, params, second, data, np.array([index]), prompts_of=(split,), drawn=True
    )
    return found.probs[0]


def sentences_of(trained, split="train"):
    """Returns the sentences of a split, [style][number]."""
    return [style[split] for style in workdir.read(trained[0]).prompts["styles"]]


def test_a_prediction_draws_the_masks_of_scoring(trained, ask):
    """Scoring has a data set, a mesh and a posterior; prediction has one file and one device."""
    sentences = [own[:20] for own in sentences_of(trained)]
    position = trained[1].dataset.record_ids.index("p05-nodule")
    probs = scored(trained, position)[:20].reshape(-1, 32, 32)
    flat = [sentence for same in zip(*sentences, strict=True) for sentence in same]
    _, files = ask(flat, slice_index=5)
    drawn = masks_of(files)
    assert drawn.shape == (len(flat), SIZE, SIZE)
    inside = drawn[:, 4:36, 4:36]
    clear = np.abs(probs - 0.5) > 1e-5  # rounding may put 1/2 on either side
    np.testing.assert_array_equal(inside[clear], (probs > 0.5)[clear])
    assert clear.mean() > 0.999
    assert drawn.sum() == inside.sum()  # nothing outside of the crop
    areas = drawn.sum(axis=(1, 2)).reshape(-1, 4).mean(axis=0)
    assert 0 < areas[0] < areas[1] < areas[2] < areas[3]  # the styles are learned


def test_one_sentence_alone_twice_and_in_another_order(ask):
    _, files = ask()
    drawn = dict(zip(SENTENCES, masks_of(files), strict=True))
    assert len({mask.tobytes() for mask in drawn.values()}) == len(SENTENCES)
    for number, sentence in enumerate(SENTENCES):
        _, files = ask([sentence], name=f"{number}")
        np.testing.assert_array_equal(masks_of(files), [drawn[sentence]])
    mixed = [SENTENCES[i] for i in (2, 0, 2, 1)]
    record, files = ask(mixed, name="mixed")
    np.testing.assert_array_equal(masks_of(files), [drawn[sentence] for sentence in mixed])
    assert [each["prompt"] for each in record["prompts"]] == mixed
    with np.load(files[0]) as stored:
        assert stored["names"].tolist() == mixed


@pytest.mark.parametrize("projection", ["analytic", "bank"])
def test_any_number_of_sentences_on_any_number_of_images(projection):
    """With random parameters, the drawing step equals the scoring step; it needs no posterior."""
    config = lidc.get_config("smoke")
    config.stage_two.projection, config.prompts.degree_reader = projection, ""
    rng, root = np.random.default_rng(0), jax.random.key(3)
    image = rng.normal(size=(2, 32, 32, 1)).astype(np.float32)
    text = rng.normal(size=(2, 4, 5)).astype(np.float32)  # [p, k, e]
    batch = inputs.Batch(
        image, np.zeros((2, 4, 32, 32), np.uint8), np.ones((2, 4), bool),
        np.arange(2, dtype=np.int32), np.ones(2, np.float32),
    )  # fmt: skip
    shapes = jax.eval_shape(
        lambda: (
            build.initialise(config, build.model(config), root, (32, 32, 1), 4),
            stage_two.initialise(
                build.prompter(config, 4), root, build.model(config),
                image_shape=(32, 32, 1), styles=4, text_dim=5,
            ),
        )
    )  # fmt: skip
    draw = lambda x: 0.3 * rng.normal(size=x.shape).astype(x.dtype)  # noqa: E731
    one, params = jax.tree.map(draw, shapes)
    scoring = jax.jit(build.eval_step_of_stage_two(config, styles=4, together=False, drawn=True))
    seen = jax.jit(build.encode_step_of_evaluation(config))(feature_cache.View(one, 0), batch, root)
    scored = scoring(style_steps.Prompted(one, params, text), seen, root)
    encoded = jax.jit(build.encode_image_step(config))(one, image)
    for sentences in (text.reshape(8, 5), text[0, :1]):
        query = jax.jit(build.query_step(config, 4))(params, sentences, encoded[0])
        probs = jax.jit(build.draw_step(config))(one, encoded, query, root)
        assert probs.shape == (2, len(sentences), 32, 32)
        expected = scored.probs.reshape(2, 8, 32, 32)[:, : len(sentences)]
        np.testing.assert_allclose(probs, expected, atol=1e-6)
        assert np.std(expected, axis=1).max() > 1e-4 or len(sentences) == 1


def test_a_crop_around_a_point_is_the_crop_alone(ask, disc, tmp_path):
    """The pixels of the crop give the same mask in a larger image, at their position."""
    wide = np.zeros((90, 120))
    wide[30 : 30 + SIZE, 50 : 50 + SIZE] = disc
    np.savez(tmp_path / "wide.npz", image=wide, intensity_unit="unit")
    np.savez(tmp_path / "crop.npz", image=disc, intensity_unit="unit")
    record, files = ask(image=tmp_path / "wide.npz", point=(50.0, 70.0))
    expected = np.zeros((3, 90, 120), np.uint8)
    _, alone = ask(image=tmp_path / "crop.npz", name="alone")
    expected[:, 30 : 30 + SIZE, 50 : 50 + SIZE] = masks_of(alone)
    np.testing.assert_array_equal(masks_of(files), expected)
    assert expected.any()
    assert record["point"] == [50, 70]


def test_the_record_names_the_prompts_the_image_and_the_model(trained, ask):
    record, files = ask()
    assert json.loads(files[-1].read_text()) == record
    folder, data = trained
    assert sorted(file.name for file in files) == sorted(os.listdir(files[0].parent))
    assert record["model"] == str(folder)
    assert record["checkpoint_steps"] == {"stage_one": 300, "stage_two": 300}
    assert record["training_data_sha256"] == data.dataset.fingerprint["sha256"]
    assert record["encoder"] == workdir.read(folder).prompts["encoder"]
    assert (record["slice"], record["point"]) == (0, [20, 20])
    assert record["caveats"][:2] == [caveats.NOTE, caveats.TRAINED_ON_SIMULATED]
    drawn = masks_of(files)
    assert [each["area_px"] for each in record["prompts"]] == drawn.sum(axis=(1, 2)).tolist()
    assert {"command", "commit", "versions", "hardware"} <= record.keys()


def test_the_nearest_sentence_of_a_training_sentence_is_itself(trained, ask):
    record, _ = ask([sentences[3] for sentences in sentences_of(trained)])
    for each, style in zip(record["prompts"], ("core", "tight", "full", "margin"), strict=True):
        assert (each["nearest"], each["style"]) == (each["prompt"], style)
        assert each["similarity"] == pytest.approx(1, abs=1e-3)
        assert each["understood"].startswith(f"like {each['prompt']!r} (similarity 1.00)")
        assert each["far"] is False


def test_an_amount_that_embeddings_do_not_tell_is_a_caveat(ask):
    asked = ["Stay 2 mm outside the edge.", "Stay far outside.", "Not more than 10 % larger."]
    record, _ = ask(asked)
    found = [text for text in record["caveats"] if "states an amount" in text]
    assert [text.split(" states")[0] for text in found] == [
        "The prompt 'Stay 2 mm outside the edge.'", "The prompt 'Not more than 10 % larger.'",
    ]  # fmt: skip


def test_a_sentence_far_from_all_training_is_marked(trained, ask):
    """The limit comes from the held-out sentences: one in twenty of them is marked, too."""
    held_out = [sentence for style in sentences_of(trained, "held_out") for sentence in style]
    record, _ = ask([*held_out, FAR])
    far = [each["prompt"] for each in record["prompts"] if each["far"]]
    assert far[-1] == FAR
    assert len(far) - 1 == math.floor(0.05 * (len(held_out) - 1)) + 1
    similarity = [each["similarity"] for each in record["prompts"]]
    assert similarity[-1] < min(similarity[:-1]) < 0.5
    warning = record["caveats"][-1]
    assert warning.startswith(f"The prompt {FAR!r} is far from all training sentences: its ")


def test_repeated_blanks_are_ignored(ask):
    record, files = ask([f"  {SENTENCES[2]}\n", SENTENCES[2].replace(" ", "  ")])
    assert [each["prompt"] for each in record["prompts"]] == [SENTENCES[2]] * 2
    one, other = masks_of(files)
    np.testing.assert_array_equal(one, other)


def test_a_sentence_longer_than_the_encoder_reads_is_cut_with_a_warning(ask, caplog):
    with caplog.at_level(logging.WARNING):
        record, _ = ask(["outline the core " * 100, "outline the core"])
    assert "reads 256 tokens at most" in caplog.text
    assert [each["cut"] for each in record["prompts"]] == [True, False]
    assert (
        "The prompt 'outline the core outline the core outline the core outline the core outline "
        "...' was cut after 256 tokens, because the text encoder reads no more."
    ) in record["caveats"]


def _copy_run(folder, copy, change):
    """Copies a workdir; `change` edits its run.json."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("last"))
    run = workdir.read(folder)._asdict()
    change(run)
    workdir.write(copy, workdir.Run(**run))


@pytest.mark.parametrize(
    ("spacing", "caveat"),
    [
        ((np.nan, np.nan), ["Pixel size unknown: "]),
        ((1.2, 0.9), ["Other pixel size: these images have pixels of 0.9 to 1.2 mm, but "]),
        ((0.5, 0.98), []),  # a tenth beyond the training images is accepted
    ],
)
def test_caveats_about_pixel_sizes_of_a_model_without_resampling(
    trained, disc, tmp_path, spacing, caveat
):
    def change(run):
        run["config"]["data"]["spacing_mm"] = 0.0
        run["native_spacing_mm"] = [[0.5, 0.5], [0.9, 0.9]]

    _copy_run(trained[0], tmp_path / "run", change)
    np.savez(tmp_path / "a.npz", image=disc.astype("f4"), spacing_mm=np.array(spacing, "f4"))
    record = draw(
        tmp_path / "run", str(tmp_path / "a.npz"), ["small"], str(tmp_path / "out"),
        unit="arbitrary",
    )  # fmt: skip
    end = "the model was trained on images with pixels of 0.5 to 0.9 mm, without resampling."
    assert [c for c in record["caveats"] if "ixel size" in c] == [start + end for start in caveat]


@pytest.mark.parametrize(("native", "kept"), [(None, True), ([[0.5, 0.5], [0.9, 0.9]], False)])
def test_images_are_resampled_only_if_training_resampled(
    trained, ask, disc, tmp_path, native, kept
):
    """The model's config sets 1.5 mm, but training images of unknown pixel size keep theirs."""
    _copy_run(trained[0], tmp_path / "run", lambda run: run.update(native_spacing_mm=native))
    crop = {"image": disc.astype("f4"), "intensity_unit": "arbitrary"}
    np.savez(tmp_path / "a.npz", **crop, spacing_mm=np.array([0.7, 0.7], "f4"))
    np.savez(tmp_path / "b.npz", **crop)
    record = draw(tmp_path / "run", str(tmp_path / "a.npz"), SENTENCES, str(tmp_path / "o"))
    starts = [caveat[:30] for caveat in record["caveats"][2:3]]
    # The image covers 28 x 28 of 48 x 48 mm.
    assert starts == [
        "Not resampled: the pixel size " if kept else "The image fills 35% of the mod"
    ]
    assert 0 < record["prompts"][0]["area_px"] < record["prompts"][1]["area_px"]
    _, unknown = ask(image=tmp_path / "b.npz")
    same = np.array_equal(masks_of([tmp_path / "o" / "a_masks.npz"]), masks_of(unknown))
    assert same is kept


SOFT = "have the HU of air or lung (-1200 to -300), which CT shows unless all of it is soft tissue"
IN_HU = "give the image in HU, or name its unit (--unit, or in the file)."


@pytest.mark.parametrize(
    ("make", "unit", "caveat"),
    [
        (lambda disc: 1400 * disc - 1000, "HU", None),
        (
            lambda disc: disc,
            "HU",
            "Not in HU: 99.8 % of the pixels lie within 0 to 1, and the noise of CT alone spreads "
            f"wider in HU; {IN_HU}",
        ),
        (
            lambda disc: np.round(255 * disc),
            "HU",
            f"Perhaps not in HU: 99.8 % of the pixels lie within 0 to 255, and 0.0 % {SOFT}; "
            f"{IN_HU}",
        ),
        (
            lambda disc: 1400 * disc + 24,
            "HU",
            f"Perhaps not in HU: 99.8 % of the pixels lie within 24 to 1424, and 0.0 % {SOFT}; "
            f"{IN_HU}",
        ),
        (lambda disc: disc, "unit", None),
        (
            lambda disc: disc * 4095 / 65535,
            "unit",
            "Nearly no contrast: 99.8 % of the pixels lie within 0 to 0.06249, a small part of 0 "
            "to 1, as if a 16-bit file stored 12-bit values; name the raw values that become 0 "
            "and 1 by --range=LOW,HIGH.",
        ),
        (lambda disc: disc / 1000, "arbitrary", None),
    ],
)
@pytest.mark.parametrize("named_by", ["file", "user"])
def test_caveats_about_values_that_hardly_fit_the_named_unit(
    ask, disc, tmp_path, make, unit, caveat, named_by
):
    stretched = np.clip(2 * disc - 0.4, 0, 1)  # with pixels at 0 and at 1
    image = {"image": make(stretched).astype("f4")}
    in_file = {"intensity_unit": unit} if named_by == "file" else {}
    np.savez(tmp_path / "a.npz", **image, **in_file)
    record, _ = ask(image=tmp_path / "a.npz", unit=unit)
    claims = ("Not in HU", "Perhaps not in HU", "Nearly no contrast")
    found = [each for each in record["caveats"] if each.startswith(claims)]
    assert found == ([caveat] if caveat else [])


def test_an_image_that_fills_little_of_the_input(ask, disc, tmp_path):
    Image.fromarray((255 * disc[8:28, 12:32]).astype(np.uint8)).save(tmp_path / "small.png")
    record, _ = ask(image=tmp_path / "small.png")
    assert (  # 20 x 20 of 32 x 32 pixels
        "The image fills 39% of the model's input; the rest is filled with background."
    ) in record["caveats"]


def test_a_workdir_trained_under_pmap_draws_the_same_masks(trained, ask, tmp_path):
    folder, _ = trained
    _copy_run(folder, tmp_path / "run", lambda run: run["config"].update(parallel="pmap"))
    image = str(folder.parent / "discs.npz")
    draw(tmp_path / "run", image, SENTENCES, str(tmp_path / "pmap"), slice_index=0)
    expected = masks_of(ask()[1])
    np.testing.assert_array_equal(
        masks_of([tmp_path / "pmap" / "discs_slice0_masks.npz"]), expected
    )
