"""The front door in Python: equal to the command, computed once, and clear where it refuses."""

import importlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import prosona_jax as pj
from prosona_jax.experiments import build, predictions, stages
from prosona_jax.runtime import workdir
from prosona_jax.training import feature_cache
from prosona_jax.types import Batch
from tests.prediction.conftest import SENTENCES


@pytest.fixture(scope="module")
def model(trained):
    return pj.load(trained[0])


@pytest.fixture
def image(trained):
    return pj.read_image(trained[0].parent / "discs.npz", slice_index=5)


def test_importing_it_is_light_and_knows_its_names():
    script = (
        "import sys, prosona_jax as pj; assert 'jax' not in sys.modules; print(*dir(pj)); pj.score;"
        "import prosona_jax.score; pj.score.__call__; from prosona_jax import score; print(score)"
    )
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert said.splitlines()[0].split() == sorted(pj.__all__)
    assert said.splitlines()[1].startswith("<function score")
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        pj.segment  # noqa: B018
    assert all(hasattr(pj, name) for name in pj.__all__)


def test_commands_and_functions_of_one_name_live_side_by_side():
    for name in ("score", "compare"):
        assert importlib.import_module(f"prosona_jax.{name}").main
        assert callable(getattr(pj, name))
    for name in ("main", "predict", "compare", "score"):  # each with flags of its own
        importlib.import_module(f"prosona_jax.{name}")


def test_one_sentence_or_many_one_image_or_several(model, image):
    both = model.segment(image, list(SENTENCES[:2]))
    one = model.segment(image, SENTENCES[0])
    assert isinstance(one, pj.Segmentation)
    np.testing.assert_allclose(one.probability, both[0].probability, atol=1e-6)
    assert one.mask.shape == one.probability.shape == image.image.shape[:2]
    np.testing.assert_array_equal(one.mask, one.probability > 0.5)
    assert 0 < one.mask.sum() < both[1].mask.sum()
    assert one.caveats[0] == "Research use only, no clinical evidence."
    (again,) = model.segment([image], SENTENCES[0])
    np.testing.assert_array_equal(again.probability, one.probability)


def test_an_area_in_mm2_where_the_pixels_are_known(model, trained):
    path = trained[0].parent / "discs.npz"
    known = pj.read_image(path, slice_index=5, spacing_mm=(0.5, 0.8))
    drawn = model.segment(known, SENTENCES[1])
    assert drawn.area_mm2 == pytest.approx(0.4 * drawn.mask.sum())
    assert model.segment(pj.read_image(path, slice_index=5), SENTENCES[1]).area_mm2 is None


def test_a_style_is_drawn_as_its_mean_query_is_scored(model, image, trained):
    folder, data = trained
    run = workdir.read(folder)
    _, params, second = stages.read_stages(folder, run)
    index = np.array([data.dataset.record_ids.index("p05-nodule")])
    ((_, (scored,)),) = predictions.predict_stage_two(
        model.config, params, second, data, index, prompts_of=("mean",), drawn=True
    )
    assert [style.name for style in model.styles] == ["core", "tight", "full", "margin"]
    for k, style in enumerate(model.styles):
        drawn = model.segment(image, style=style.name).probability[4:36, 4:36]
        np.testing.assert_allclose(drawn, scored.probs[0, 0, k], atol=1e-4)


def test_samples_are_those_of_an_evaluation_and_of_a_seed(model, image, trained):
    folder, data = trained
    _, params, _ = stages.read_stages(folder, workdir.read(folder))
    ((_, scored),) = predictions.predict_stage_one(
        model.config, params, data, np.array([0]), samples=3, drawn=True
    )
    # The data set stores images in 16 bits, the file in 32: hence the tolerance.
    first = pj.read_image(folder.parent / "discs.npz", slice_index=0)
    assert data.dataset.record_ids[0] == "p00-nodule"  # whose draws are those of record 0
    drawn = model.sample(first, 3)
    assert [each.prompt for each in drawn] == ["sample 1", "sample 2", "sample 3"]
    for each, expected in zip(drawn, scored.probs[0], strict=True):
        np.testing.assert_allclose(each.probability[4:36, 4:36], expected, atol=1e-4)
    one, other, same = (model.sample(image, 2, seed=seed)[0] for seed in (1, 2, 1))
    assert (one.probability != other.probability).any()
    np.testing.assert_array_equal(one.probability, same.probability)


def test_strength_walks_along_the_style_and_ends_in_the_prior_mean(model, image):
    start, half, end = (
        model.segment(image, style="core", strength=s).probability for s in (0.0, 0.5, 1.0)
    )
    np.testing.assert_array_equal(end, model.segment(image, style="core").probability)
    assert 0 < np.abs(half - start).max() < np.abs(end - start).max()
    none, other = (model.segment(image, style=s, strength=0.0) for s in ("core", "margin"))
    np.testing.assert_allclose(none.probability, other.probability, atol=1e-6)
    with pytest.raises(pj.InputError, match="strength is nan; give a finite number"):
        model.segment(image, style="core", strength=float("nan"))


def test_a_walk_has_its_ends_and_goes_by_equal_steps(model, image):
    tight, wide = (model.segment(image, each) for each in SENTENCES[:2])
    path = model.interpolate(image, *SENTENCES[:2], steps=5)
    assert len(path) == 5
    np.testing.assert_allclose(path[0].probability, tight.probability, atol=1e-6)
    np.testing.assert_allclose(path[-1].probability, wide.probability, atol=1e-6)
    areas = [each.mask.sum() for each in path]
    assert areas == sorted(areas)
    between = model.interpolate(image, "core", "margin", steps=3)
    np.testing.assert_allclose(
        between[0].probability, model.segment(image, style="core").probability, atol=1e-6
    )
    assert path[1].prompt == f"{SENTENCES[0]} → {SENTENCES[1]}, 25%"


def test_an_image_is_seen_once_and_steps_are_compiled_once(model, image, monkeypatch):
    model.segment(image, SENTENCES[0])
    compiled = dict(model._drawer.compiled)
    sizes = {key: step._cache_size() for key, step in compiled.items()}
    monkeypatch.setattr(
        "data_pipelines.images.to_model", lambda *_: pytest.fail("seen a second time")
    )
    model.segment(image, SENTENCES[1])
    assert model._drawer.compiled == compiled
    assert {key: step._cache_size() for key, step in compiled.items()} == sizes


def test_an_array_that_is_changed_in_its_place_is_seen_anew(model, image):
    before = model.segment(image, SENTENCES[0]).probability
    image.image[...] = image.image[::-1].copy()
    after = model.segment(image, SENTENCES[0]).probability
    assert (before != after).any()


def test_the_same_pixels_from_another_file_keep_their_own_caveats(model, image):
    for said in ((), ("Header disagrees.",)):
        drawn = model.segment(image._replace(caveats=said), SENTENCES[0])
        assert ("Header disagrees." in drawn.caveats) == bool(said)


def test_what_cannot_be_asked_is_one_line(model, image):
    for ask, fault in (
        (lambda: model.segment(image), "nothing or two things are asked"),
        (lambda: model.segment(image, "a", style="core"), "nothing or two things are asked"),
        (lambda: model.segment(image, style="huge"), "has no style 'huge'; choose one of core,"),
        (lambda: model.segment(image, []), "no prompt: say what to draw"),
        (lambda: model.sample(image, 0), "0 samples are asked for"),
        (lambda: model.interpolate(image, "a", "b", steps=1), "1 steps are asked for"),
        (lambda: pj.save([], image, "out"), "there is no contour to save"),
        (lambda: pj.read_image(image.path, slice_index=0, point=(1, 99)), "is outside of the"),
    ):
        with pytest.raises(pj.InputError, match=fault):
            ask()


def test_what_is_saved_is_what_the_command_writes(model, image, tmp_path):
    drawn = model.segment(image, list(SENTENCES))
    record = pj.save(drawn, image, tmp_path / "out", probability=True)
    assert record["files"] == [
        "discs_masks.npz", "discs_probability.npz", "overlay.png", "prediction.json",
    ]  # fmt: skip
    with np.load(tmp_path / "out" / "discs_masks.npz") as stored:
        np.testing.assert_array_equal(stored["masks"], [each.mask for each in drawn])
    with np.load(tmp_path / "out" / "discs_probability.npz") as stored:
        np.testing.assert_array_equal(stored["probability"], [each.probability for each in drawn])
        assert stored["names"].tolist() == list(SENTENCES)


def test_a_model_without_prompts_draws_samples(trained, image, tmp_path):
    folder, _ = trained
    run = workdir.read(folder)
    run.config["stage_two"]["query"] = "none"
    workdir.write(tmp_path, run._replace(prompts=None))
    (tmp_path / "stage_one").symlink_to(folder / "stage_one")
    model = pj.load(tmp_path)
    assert model.styles == []
    np.testing.assert_array_equal(
        model.sample(image, 2)[1].probability, pj.load(folder).sample(image, 2)[1].probability
    )
    with pytest.raises(pj.InputError, match="has no style 'core'; it has none: ask for samples"):
        model.segment(image, style="core")


def test_a_bank_has_no_strength(trained, image, tmp_path):
    folder, _ = trained
    run = workdir.read(folder)
    run.config["stage_two"]["projection"] = "bank"
    workdir.write(tmp_path, run)
    for stage in ("stage_one", "stage_two"):
        (tmp_path / stage).symlink_to(folder / stage)
    model = pj.load(tmp_path)
    assert model.segment(image, style="core").mask.any()
    with pytest.raises(pj.InputError, match="needs the analytic projection, and this model"):
        model.segment(image, style="core", strength=1.5)


def test_parameters_lie_on_one_device(model):
    assert {len(x.devices()) for x in jax.tree.leaves(model._drawer._stage_one)} == {1}


def test_a_latent_is_drawn_as_what_it_is_the_latent_of(model, image):
    asked = model.segment(image, list(SENTENCES))
    latent = model.latent(image, list(SENTENCES))
    assert latent.shape == (3, model.config.model.latent_dim)
    for drawn, expected in zip(model.decode(image, latent), asked, strict=True):
        np.testing.assert_allclose(drawn.probability, expected.probability, atol=1e-5)
    (style,) = model.decode(image, model.latent(image, style="margin"))
    expected = model.segment(image, style="margin").probability
    np.testing.assert_allclose(style.probability, expected, atol=1e-5)
    assert model.decode(image, np.zeros_like(latent[:1]))[0].prompt.startswith("z = (0, 0")


def test_raters_masks_lie_where_the_posterior_puts_them(model, trained):
    """As the encoded data set has them; the model's grid is smaller than the image."""
    folder, data = trained
    _, params, _ = stages.read_stages(folder, workdir.read(folder))
    path, index = folder.parent / "discs.npz", 5
    record = data.dataset[data.dataset.record_ids.index("p05-nodule")]
    with np.load(path) as stored:
        masks = stored["masks"][index]
    masks = masks[np.argsort(masks.sum(axis=(1, 2)), kind="stable")]  # as the styles are
    encode = jax.jit(build.encode_step_of_evaluation(model.config))
    batch = Batch(
        record.image[None], record.masks[None], np.ones((1, 4), bool), np.zeros(1, np.int32),
        np.ones(1, np.float32),
    )  # fmt: skip
    expected = encode(feature_cache.View(params, 0), batch, jax.random.key(0)).latent[0]
    found = model.latent(pj.read_image(path, slice_index=index), masks=masks)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found, axis=0).max() > 0.1


def test_latents_that_cannot_be_drawn_are_one_line(model, image):
    height, width = image.image.shape[:2]
    for ask, fault in (
        (lambda: model.latent(image), "give one of: sentences, a style's name, masks"),
        (lambda: model.latent(image, ["a"], style="core"), "give one of: sentences"),
        (
            lambda: model.latent(image, masks=np.zeros((2, 9, 9))),
            rf"masks are \[2, 9, 9\]; give \[n, {height}, {width}\], as large as the image",
        ),
        (lambda: model.decode(image, np.zeros(6)), r"latent is \[6\]; this model decodes \[n, "),
        (lambda: model.decode(image, np.full((1, 6), np.nan)), "latent holds NaN or infinity"),
    ):
        with pytest.raises(pj.InputError, match=fault):
            ask()
