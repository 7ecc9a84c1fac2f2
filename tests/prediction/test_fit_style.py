"""A profile draws as its user, and is scored on images left out; faults are refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import prosona_jax as pj
from data_pipelines import cases
from prosona_jax import cli, fit_style, predict
from prosona_jax.evaluation import metrics
from prosona_jax.prediction import likeness
from prosona_jax.runtime import workdir
from tests.prediction.conftest import loaded


@pytest.fixture(scope="module")
def model(trained):
    return loaded(trained[0])


@pytest.fixture(scope="module")
def drawn(trained, model):
    """Eight images, and what a user draws on them who lies between two styles."""
    path = trained[0].parent / "discs.npz"
    images = [pj.read_image(path, slice_index=i) for i in range(8)]
    return images, [draw(model, image) for image in images]


def draw(model, image):
    """Returns the mask of the middle of the way between two styles."""
    return model.interpolate(image, "tight", "full", steps=3)[1].mask


def dice_of(model, image, mask, style, **options):
    return metrics.dice(model.segment(image, style=style, **options).mask, mask)


@pytest.fixture(scope="module")
def profile(model, drawn):
    images, masks = drawn
    return model.fit_style(images[:5], masks[:5], name="anna")


def test_masks_that_the_model_drew_are_drawn_again(model, drawn, profile):
    """Also on the last three images, which are not in the fit. tests/training has an exact one."""
    images, masks = drawn
    scores = [dice_of(model, *each, profile) for each in zip(images, masks, strict=True)]
    assert np.mean(scores[:5]) > 0.95
    assert np.mean(scores[5:]) > 0.95
    assert profile.helped
    assert np.mean(profile.dice) > max(
        np.mean(profile.dice_best_style), np.mean(profile.dice_prior_mean)
    )


def test_each_score_is_that_of_a_fit_that_never_saw_the_image(model, drawn):
    images, masks = drawn
    changed = [*masks[:3], np.roll(masks[3], 9, axis=0)]
    for given in (masks[:4], changed):
        found = model.fit_style(images[:4], given, name="anna")
        others = model.fit_style(images[:3], given[:3], name="others")
        last = (images[3], given[3])
        assert found.dice[3] == dice_of(model, *last, others)
        assert found.dice_best_style[3] == dice_of(model, *last, others.best_style)
        assert found.dice_prior_mean[3] == dice_of(model, *last, "core", strength=0.0)
    assert found.dice[3] < 0.5  # the changed mask, which no other image explains


def test_the_best_style_has_the_highest_dice_on_all_images(model, drawn, profile):
    images, masks = (each[:5] for each in drawn)
    mean = {
        style.name: np.mean(
            [dice_of(model, *each, style.name) for each in zip(images, masks, strict=True)]
        )
        for style in model.styles
    }
    assert profile.best_style == max(mean, key=mean.get)


def test_the_order_of_the_images_does_not_matter_and_nothing_is_drawn_at_random(
    trained, drawn, profile
):
    images, masks = drawn
    order = [3, 0, 4, 2, 1]
    again = pj.load(trained[0])  # with an empty cache of images
    other = again.fit_style([images[i] for i in order], [masks[i] for i in order], name="anna")
    assert other.query == profile.query
    assert other.dice == tuple(profile.dice[i] for i in order)
    same = again.fit_style(images[:5], masks[:5], name="anna")
    assert same == profile


def test_a_profile_on_disk_draws_the_same_to_the_last_digit(model, drawn, profile, tmp_path):
    image = drawn[0][6]
    profile.save(tmp_path / "anna.json")
    read = pj.Profile.load(tmp_path / "anna.json")
    assert read == profile
    for options in ({}, {"strength": 1.5}):
        here, there = (model.segment(image, style=p, **options) for p in (profile, read))
        np.testing.assert_array_equal(here.probability, there.probability)
        assert there.prompt == "anna"
    profile._replace(name="Änne").save(tmp_path / "anna.json")  # a profile may be replaced
    assert pj.Profile.load(tmp_path / "anna.json").name == "Änne"
    assert os.listdir(tmp_path) == ["anna.json"]


def test_a_profile_is_used_wherever_a_style_is(model, drawn, profile):
    image = drawn[0][6]
    alone = model.segment(image, style=profile).probability
    path = model.interpolate(image, profile, "core", steps=3)
    assert path[1].prompt == "anna → core, 50%"
    np.testing.assert_allclose(path[0].probability, alone, atol=1e-6)
    (decoded,) = model.decode(image, model.latent(image, style=profile))
    np.testing.assert_allclose(decoded.probability, alone, atol=1e-5)


def test_a_profile_that_does_not_help_says_so(model, drawn, profile):
    low = profile._replace(
        dice=(0.5, 0.7), dice_best_style=(0.6, 0.8), dice_prior_mean=(0.1, 0.2), best_style="core"
    )
    assert not low.helped
    assert low.verdict == (
        "the profile 'anna' did not help: on 2 images, each left out of the fit, its Dice is "
        "0.600, and that of the best style, chosen likewise, is 0.700; use style 'core' instead"
    )
    assert f"Profile without gain: {low.verdict}." in model.segment(drawn[0][0], style=low).caveats
    mean = low._replace(dice_prior_mean=(0.7, 0.9))
    assert mean.verdict.endswith(
        "that of the prior's mean is 0.800; use any style at strength 0 instead"
    )
    equal = low._replace(dice=low.dice_best_style)
    assert not equal.helped
    high = low._replace(dice=(0.9, 0.9))
    assert high.helped
    assert high.verdict.startswith("the profile 'anna' helped: on 2 images, each left out of")
    assert not any("gain" in caveat for caveat in model.segment(drawn[0][0], style=high).caveats)


def test_a_model_that_reads_degrees_names_the_nearest(reads_degrees, trained):
    own, path = loaded(reads_degrees), trained[0].parent / "discs.npz"
    images = [pj.read_image(path, slice_index=i) for i in range(4)]
    for asked in ("core", "margin"):
        masks = [own.segment(image, style=asked).mask for image in images]
        found = own.fit_style(images, masks, name="anna")
        assert found.best_style == asked
        assert found.degree is not None
        assert np.sign(found.degree) == (1 if asked == "margin" else -1)
        assert f"degree {found.degree:+.1f} of -2 to 2" in found.understood
        assert found.sentence is None


def test_a_model_that_reads_embeddings_names_the_nearest_sentence(model, profile):
    sentences = {sentence for style in model.styles for sentence in style.sentences}
    assert profile.degree is None
    assert profile.sentence in sentences
    assert profile.understood == f"{profile.like}, as in {profile.sentence!r}"


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((0.0, 0.0), "like 'core'"),
        ((0.2, 0.0), "like 'core'"),
        ((-0.9, 0.0), "like 'core'"),
        ((-1.1, 0.0), "nearest to 'core'"),
        ((0.8, 0.5), "between 'core' and 'tight'"),
        ((1.8, 0.0), "like 'tight'"),
        ((4.0, 0.0), "between 'tight' and 'full'"),
        ((2.0, 1.2), "nearest to 'tight'"),
    ],
)
def test_between_which_styles_a_point_lies(point, words):
    line = np.array([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    assert likeness.between(np.array(point), line, ["core", "tight", "full"]) == words
    twice = np.concatenate([line, line[:1]])  # styles may be equal
    assert likeness.between(np.array(point), twice, ["core", "tight", "full", "again"]) == words


def test_faulty_cases_are_refused_in_one_line(model, drawn, trained):
    images, masks = (each[:3] for each in drawn)
    empty, grey = np.zeros_like(masks[0]), masks[0] * 7
    far = np.zeros_like(masks[0])
    far[0, 0] = 1
    where = r"discs\.npz: image 0: "
    for given, drawings, name, fault in (
        (images[:2], masks[:2], "anna", "2 images with a contour are too few; a style needs 3"),
        (images, masks[:2], "anna", "3 images and 2 masks; give one mask per image"),
        (images, [masks[0][1:], *masks[1:]], "anna", where + r"its mask is \[39, 40\] and the im"),
        (images, [empty, *masks[1:]], "anna", where + "its mask is empty; leave the image out"),
        (images, [grey, *masks[1:]], "anna", where + ".*is not binary"),
        (images, [far, *masks[1:]], "anna", where + "the model's input shows no part of the con"),
        ([images[1], *images[1:]], masks, "anna", "image 1: the same image is given twice"),
        (images, masks, "core", "name 'core': is a style of the model; choose another name"),
        (images, masks, "../anna", "name '../anna': cannot name a file"),
        (images, masks, "", "name '': cannot name a file"),
        (images, masks, ".anna", "name '.anna': cannot name a file"),
    ):
        with pytest.raises(pj.InputError, match=fault) as error:
            model.fit_style(given, drawings, name=name)
        assert "\n" not in str(error.value)


def test_a_contour_beyond_the_models_input_is_a_caveat(model, drawn, profile):
    images, masks = (list(each[:3]) for each in drawn)
    masks[0] = masks[0].copy()
    masks[0][0, 0] = 1  # the model sees the middle 32 of 40 pixels
    found = model.fit_style(images, masks, name="anna")
    (caveat,) = set(found.caveats) - set(profile.caveats)
    assert caveat.startswith("Contours cut: 1 of 3 reach beyond the model's input")


def test_a_profile_of_another_model_is_refused(reads_degrees, drawn, profile):
    with pytest.raises(pj.InputError, match="the profile 'anna' was fitted with another model; na"):
        loaded(reads_degrees).segment(drawn[0][0], style=profile)


def test_an_exported_model_takes_the_profiles_of_its_workdir(trained, drawn, profile, tmp_path):
    pj.export(trained[0], tmp_path / "exported")
    drawn_here = pj.load(tmp_path / "exported").segment(drawn[0][6], style=profile)
    there = loaded(trained[0]).segment(drawn[0][6], style=profile)
    np.testing.assert_allclose(drawn_here.probability, there.probability, atol=5e-3)


def test_a_model_without_styles_is_refused(trained, drawn, tmp_path):
    run = workdir.read(trained[0])
    run.config["stage_two"]["query"] = "none"
    workdir.write(tmp_path, run._replace(prompts=None))
    (tmp_path / "stage_one").symlink_to(trained[0] / "stage_one")
    images, masks = (each[:3] for each in drawn)
    with pytest.raises(pj.InputError, match="has no styles to start a fit from; name a run with"):
        pj.load(tmp_path).fit_style(images, masks, name="anna")


def test_files_that_are_no_profile_are_refused_and_kept(profile, trained, tmp_path):
    path = tmp_path / "anna.json"
    profile.save(path)
    edited = path.read_text().replace('"anna"', '"eve"')
    foreign = (trained[0] / "run.json").read_text()
    for content, fault in (
        (edited, "not a readable profile .damaged or edited: its checksum differs"),
        ("{}", "not a readable profile .no checksum"),
        ("anna", "not a readable profile"),
        (foreign, "is not a profile; name a file that fit_style wrote"),
    ):
        path.write_text(content)
        for call in (pj.Profile.load, profile.save):
            with pytest.raises(pj.InputError, match=fault):
                call(path)
        assert path.read_text() == content
    with pytest.raises(pj.InputError, match=r"no.json: no such file; fit a profile with python -m"):
        pj.Profile.load(tmp_path / "no.json")
    with pytest.raises(pj.InputError, match="its folder does not exist; create it first"):
        profile.save(tmp_path / "absent" / "anna.json")


def command(module, *arguments):
    """Runs a command in this process, with the ends that a user sees."""
    for name in module._FLAGS:
        module._FLAGS[name].unparse()
    module._FLAGS(["x", *arguments])
    with cli.ending():
        module.main()


def test_the_commands(model, trained, drawn, tmp_path, monkeypatch, capsys):
    """A folder of pairs becomes a profile, with which the other command draws."""
    monkeypatch.chdir(tmp_path)
    images, masks = drawn
    (tmp_path / "mine").mkdir()
    for n, (image, mask) in enumerate(zip(images[:4], masks[:4], strict=True)):
        grey = (255 * np.clip(image.image[..., 0] / 2 + 0.25, 0, 1)).astype(np.uint8)
        Image.fromarray(grey).save(f"mine/{n}.png")
        Image.fromarray(255 * mask).save(f"mine/{n}_mask.png")
    common = (f"--model={trained[0]}", "--cases=mine", "--name=anna", "--force")
    command(fit_style, *common)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["Dice", "fit", "to", "others", "best", "style", "prior's", "mean"]
    assert [line.split()[0] for line in printed[1:6]] == [
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "mean",
    ]
    found = pj.Profile.load("anna.json")
    for line, score in zip(printed[1:5], found.dice, strict=True):
        assert line.split()[1] == f"{score:.3f}"
    assert printed[6:] == [f"You draw {found.understood}.", f"{found.verdict}."]
    read = cases.read("mine")
    assert found == model.fit_style([c.image for c in read], [c.mask for c in read], name="anna")
    command(
        predict, f"--model={trained[0]}", "--image=mine/0.png", "--output=out",
        "--style=anna.json",
    )  # fmt: skip
    assert (
        json.loads((tmp_path / "out/prediction.json").read_text())["prompts"][0]["prompt"] == "anna"
    )


def test_the_command_writes_a_profile_without_gain_only_if_it_is_forced(
    trained, tmp_path, monkeypatch, capsys
):
    """The raters of the discs draw at random; no style can help."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pj.Profile, "helped", False)
    with np.load(trained[0].parent / "discs.npz") as stored:
        few = {name: x if x.ndim == 0 else x[:3] for name, x in stored.items()}
    np.savez("few.npz", **few)
    common = (f"--model={trained[0]}", "--cases=few.npz", "--rater=2", "--name=bob")
    with pytest.raises(SystemExit) as end:
        command(fit_style, *common)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith("the profile 'bob' did not help: on 3 images, each left out of the")
    assert said.err.endswith("instead; or write the profile anyway with --force\n")
    assert [line.split()[0] for line in said.out.splitlines()[1:4]] == ["image"] * 3
    assert os.listdir(tmp_path) == ["few.npz"]
    command(fit_style, *common, "--force")
    assert pj.Profile.load("bob.json").name == "bob"
