"""The Python interface: equal to the command, encodes an image once, and refuses clearly."""

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


def test_importing_the_package_is_light_and_lists_its_names():
    script = (
        "import sys, prosona_jax as pj; assert 'jax' not in sys.modules; print(*dir(pj)); pj.score;"
        "import prosona_jax.score; pj.score.__call__; from prosona_jax import score; print(score)"
    )
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines()[0].split() == sorted(pj.__all__)
    assert printed.splitlines()[1].startswith("<function score")
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        pj.segment  # noqa: B018
    assert all(hasattr(pj, name) for name in pj.__all__)


def test_a_command_and_a_function_may_have_the_same_name():
    for name in ("score", "compare", "export"):
        assert importlib.import_module(f"prosona_jax.{name}").main
        assert callable(getattr(pj, name))
    for name in ("main", "predict", "compare", "export", "score"):  # each with flags of its own
        importlib.import_module(f"prosona_jax.{name}")


def test_one_sentence_or_many_one_image_or_several(model, image):
    both = model.segment(image, list(SENTENCES[:2]))
    one = model.segment(image, SENTENCES[0])
    assert isinstance(one, pj.Segmentation)
    np.testing.assert_allclose(one.probability, both[0].probability, atol=1e-5)
    assert one.mask.shape == one.probability.shape == image.image.shape[:2]
    np.testing.assert_array_equal(one.mask, one.probability > 0.5)
    assert 0 < one.mask.sum() < both[1].mask.sum()
    assert one.caveats[0] == "Research use only, no clinical evidence."
    (again,) = model.segment([image], SENTENCES[0])
    np.testing.assert_array_equal(again.probability, one.probability)


def test_an_area_in_mm2_if_the_pixel_size_is_known(model, trained):
    path = trained[0].parent / "discs.npz"
    image = pj.read_image(path, slice_index=5, spacing_mm=(0.5, 0.8))
    drawn = model.segment(image, SENTENCES[1])
    assert drawn.area_mm2 == pytest.approx(0.4 * drawn.mask.sum())
    assert model.segment(pj.read_image(path, slice_index=5), SENTENCES[1]).area_mm2 is None


def test_a_style_draws_the_contour_of_its_mean_query_in_scoring(model, image, trained):
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


def test_samples_equal_those_of_the_evaluation_or_depend_on_the_seed(model, image, trained):
    folder, data = trained
    _, params, _ = stages.read_stages(folder, workdir.read(folder))
    ((_, scored),) = predictions.predict_stage_one(
        model.config, params, data, np.array([0]), samples=3, drawn=True
    )
    # The tolerance is needed because the data set stores images in 16 bits and the file in 32.
    first = pj.read_image(folder.parent / "discs.npz", slice_index=0)
    assert data.dataset.record_ids[0] == "p00-nodule"  # the samples are drawn as for record 0
    drawn = model.sample(first, 3)
    assert [each.prompt for each in drawn] == ["sample 1", "sample 2", "sample 3"]
    for each, expected in zip(drawn, scored.probs[0], strict=True):
        np.testing.assert_allclose(each.probability[4:36, 4:36], expected, atol=1e-4)
    one, other, same = (model.sample(image, 2, seed=seed)[0] for seed in (1, 2, 1))
    assert (one.probability != other.probability).any()
    np.testing.assert_array_equal(one.probability, same.probability)


def test_strength_goes_from_the_prior_mean_at_0_to_the_style_at_1(model, image):
    start, half, end = (
        model.segment(image, style="core", strength=s).probability for s in (0.0, 0.5, 1.0)
    )
    np.testing.assert_array_equal(end, model.segment(image, style="core").probability)
    assert 0 < np.abs(half - start).max() < np.abs(end - start).max()
    none, other = (model.segment(image, style=s, strength=0.0) for s in ("core", "margin"))
    np.testing.assert_allclose(none.probability, other.probability, atol=1e-6)
    with pytest.raises(pj.InputError, match="strength is nan; give a finite number"):
        model.segment(image, style="core", strength=float("nan"))


def test_a_walk_includes_its_ends_and_has_equal_steps(model, image):
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


def test_an_image_is_encoded_once_and_steps_are_compiled_once(model, image, monkeypatch):
    model.segment(image, SENTENCES[0])
    compiled = dict(model._drawer.compiled)
    sizes = {key: step._cache_size() for key, step in compiled.items()}
    monkeypatch.setattr(
        "data_pipelines.images.to_model", lambda *_: pytest.fail("encoded a second time")
    )
    model.segment(image, SENTENCES[1])
    assert model._drawer.compiled == compiled
    assert {key: step._cache_size() for key, step in compiled.items()} == sizes


def test_an_array_that_is_changed_in_place_is_encoded_again(model, image):
    before = model.segment(image, SENTENCES[0]).probability
    image.image[...] = image.image[::-1].copy()
    after = model.segment(image, SENTENCES[0]).probability
    assert (before != after).any()


def test_the_same_pixels_from_another_file_keep_their_own_caveats(model, image):
    for caveats in ((), ("Header disagrees.",)):
        drawn = model.segment(image._replace(caveats=caveats), SENTENCES[0])
        assert ("Header disagrees." in drawn.caveats) == bool(caveats)


def test_invalid_arguments_raise_an_error_of_one_line(model, image):
    for call, fault in (
        (lambda: model.segment(image), "give either sentences or the name of a style"),
        (lambda: model.segment(image, "a", style="core"), "give either sentences or the name"),
        (lambda: model.segment(image, style="huge"), "has no style 'huge'; choose one of core,"),
        (lambda: model.segment(image, []), "no prompt: say what to draw"),
        (lambda: model.sample(image, 0), "the number of samples is 0; it must be at least 1"),
        (lambda: model.interpolate(image, "a", "b", steps=1), "the number of steps is 1; it must"),
        (lambda: pj.save([], image, "out"), "there is no contour to save"),
        (lambda: pj.read_image(image.path, slice_index=0, point=(1, 99)), "is outside of the"),
    ):
        with pytest.raises(pj.InputError, match=fault):
            call()


def test_saving_writes_the_files_of_the_command(model, image, tmp_path):
    drawn = model.segment(image, list(SENTENCES))
    record = pj.save(drawn, image, tmp_path / "out", probability=True)
    assert record["files"] == [
        "discs_slice5_masks.npz", "discs_slice5_probability.npz", "overlay.png", "prediction.json",
    ]  # fmt: skip
    with np.load(tmp_path / "out" / "discs_slice5_masks.npz") as stored:
        np.testing.assert_array_equal(stored["masks"], [each.mask for each in drawn])
    with np.load(tmp_path / "out" / "discs_slice5_probability.npz") as stored:
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
    with pytest.raises(pj.InputError, match="has no style 'core'; it has no styles, draw samples"):
        model.segment(image, style="core")


def test_strength_needs_the_analytic_projection(trained, image, tmp_path):
    folder, _ = trained
    run = workdir.read(folder)
    run.config["stage_two"]["projection"] = "bank"
    workdir.write(tmp_path, run)
    for stage in ("stage_one", "stage_two"):
        (tmp_path / stage).symlink_to(folder / stage)
    model = pj.load(tmp_path)
    assert model.segment(image, style="core").mask.any()
    with pytest.raises(pj.InputError, match="needs the analytic projection, but this model"):
        model.segment(image, style="core", strength=1.5)


def test_parameters_lie_on_one_device(model):
    assert {len(x.devices()) for x in jax.tree.leaves(model._drawer._stage_one)} == {1}


def test_a_decoded_latent_equals_the_contour_of_its_sentence_or_style(model, image):
    segmented = model.segment(image, list(SENTENCES))
    latent = model.latent(image, list(SENTENCES))
    assert latent.shape == (3, model.config.model.latent_dim)
    for drawn, expected in zip(model.decode(image, latent), segmented, strict=True):
        np.testing.assert_allclose(drawn.probability, expected.probability, atol=1e-5)
    (style,) = model.decode(image, model.latent(image, style="margin"))
    expected = model.segment(image, style="margin").probability
    np.testing.assert_allclose(style.probability, expected, atol=1e-5)
    assert model.decode(image, np.zeros_like(latent[:1]))[0].prompt.startswith("z = (0, 0")


def test_the_latents_of_masks_are_the_means_of_the_posterior(model, trained):
    """They equal those of the encoded data set; the model's grid is smaller than the image."""
    folder, data = trained
    _, params, _ = stages.read_stages(folder, workdir.read(folder))
    path, index = folder.parent / "discs.npz", 5
    record = data.dataset[data.dataset.record_ids.index("p05-nodule")]
    with np.load(path) as stored:
        masks = stored["masks"][index]
    masks = masks[np.argsort(masks.sum(axis=(1, 2)), kind="stable")]  # in the order of the styles
    encode = jax.jit(build.encode_step_of_evaluation(model.config))
    batch = Batch(
        record.image[None], record.masks[None], np.ones((1, 4), bool), np.zeros(1, np.int32),
        np.ones(1, np.float32),
    )  # fmt: skip
    expected = encode(feature_cache.View(params, 0), batch, jax.random.key(0)).latent[0]
    found = model.latent(pj.read_image(path, slice_index=index), masks=masks)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(found, axis=0).max() > 0.1


def test_invalid_latents_raise_an_error_of_one_line(model, image):
    height, width = image.image.shape[:2]
    for call, fault in (
        (lambda: model.latent(image), "give one of: sentences, the name of a style, masks"),
        (lambda: model.latent(image, ["a"], style="core"), "give one of: sentences"),
        (
            lambda: model.latent(image, masks=np.zeros((2, 9, 9))),
            rf"masks are \[2, 9, 9\]; give \[n, {height}, {width}\], as large as the image",
        ),
        (lambda: model.decode(image, np.zeros(6)), r"latent is \[6\]; this model decodes \[n, "),
        (lambda: model.decode(image, np.full((1, 6), np.nan)), "latent holds NaN or infinity"),
    ):
        with pytest.raises(pj.InputError, match=fault):
            call()
