"""Caveats where there may be no object: of an image, of a contour, of a model that cannot know."""

import json
import shutil

import numpy as np
import pytest

import prosona_jax as pj
from data_pipelines import cases
from data_pipelines.transforms import Placement
from prosona_jax.evaluation.in_distribution import Appearance, InDistribution
from prosona_jax.experiments import training_images
from prosona_jax.prediction import presence
from prosona_jax.types import InputError
from tests.prediction.conftest import SENTENCES, loaded

PLACEMENT = Placement((8, 8), (40, 30), np.array([10.0, 6.0]), np.array([2.0, 1.0]))
CLAIMS = ("Out of distribution", "Samples disagree", "Empty", "Cut", "Contour beside", "Presence")


def _claims(caveats):
    return [each.partition(":")[0] for each in caveats if each.startswith(CLAIMS)]


def _contour(*pixels):
    """The model's input covers rows 9 to 25 and columns 6 to 13; its middle is (18, 10)."""
    mask = np.zeros((40, 30), np.uint8)
    for pixel in pixels:
        mask[pixel] = 1
    return mask


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        ([(18, 10)], []),
        ([(18, 10), (18, 12)], []),
        ([(25, 10), (18, 10)], ["Cut contour"]),
        ([(24, 10)], []),  # three pixels of the model's grid below the middle
        ([(18, 7)], []),
        ([(16, 7)], ["Contour beside the point"]),  # sqrt(10) pixels away
        ([(18, 6)], ["Cut contour", "Contour beside the point"]),
        ([(12, 12), (12, 11)], ["Contour beside the point"]),
        ([], ["Empty contour"]),
    ],
)
def test_a_contour_is_empty_cut_or_beside_the_point(pixels, found):
    said = presence.about_contour(_contour(*pixels), PLACEMENT)
    assert [each.partition(":")[0] for each in said] == found


def test_the_nearest_pixel_is_named():
    (said,) = presence.about_contour(_contour((12, 12), (11, 12)), PLACEMENT)
    assert said.endswith("the contour's nearest pixel is (12, 12).")


def test_an_image_beyond_a_limit():
    known = InDistribution(np.zeros(2), np.eye(2), distance_limit=5.0, disagreement_limit=0.5)
    at = lambda *pooled, apart: Appearance(np.array([pooled], float), np.array([apart]))  # noqa: E731
    assert presence.about_image(known, at(3.0, 4.0, apart=0.5)) == []
    (far,) = presence.about_image(known, at(6.0, 8.0, apart=0.5))
    assert far.startswith("Out of distribution: ")
    assert far.endswith("its Mahalanobis distance is 10, and the limit is 5.")
    (apart,) = presence.about_image(known, at(0.0, 0.0, apart=0.75))
    assert apart.endswith("their mean 1 - IoU is 0.75, and the limit is 0.50.")
    assert len(presence.about_image(known, at(6.0, 8.0, apart=0.75))) == 2


@pytest.fixture(scope="module")
def model(trained):
    return loaded(trained[0])


def test_one_in_twenty_validation_images_has_a_caveat_at_most(model, trained):
    folder, data = trained
    kept = training_images.read(folder / "stage_one")
    found = cases.read(folder.parent / "discs.npz", rater=0)
    said = {
        split: [
            bool(_claims(model.segment(found[i].image, style="full").caveats))
            for i in data.indices[split].tolist()
        ]
        for split in ("train", "validation")
    }
    assert isinstance(kept, InDistribution)
    assert np.mean(said["validation"]) <= 0.05
    assert np.mean(said["train"]) < 0.2  # the tiny model has few images


def test_an_image_without_an_object_gets_a_caveat(model, trained):
    image = pj.read_image(trained[0].parent / "discs.npz", slice_index=5)
    noise = np.random.default_rng(0).uniform(size=image.image.shape).astype(np.float32)
    assert _claims(model.segment(image, SENTENCES[0]).caveats) == []
    assert "Out of distribution" in _claims(
        model.segment(image._replace(image=noise), SENTENCES[0]).caveats
    )
    assert "Out of distribution" in _claims(model.sample(image._replace(image=noise), 2)[1].caveats)


def test_a_model_folder_knows_its_training_images(model, trained, tmp_path):
    folder = pj.export(trained[0], tmp_path / "model")
    measured = training_images.read(trained[0] / "stage_one")
    assert (folder / training_images.FILE).read_bytes() == training_images.encode(measured)
    image = pj.read_image(trained[0].parent / "discs.npz", slice_index=5)
    noise = image._replace(
        image=np.random.default_rng(0).normal(size=image.image.shape).astype("f4")
    )
    for each in (image, noise):
        drawn = [one.segment(each, SENTENCES[0]) for one in (pj.load(folder), model)]
        assert _claims(drawn[0].caveats) == _claims(drawn[1].caveats)


def test_an_older_run_says_that_it_cannot_know(model, trained, tmp_path):
    """Also as a model folder, which then holds no such file."""
    older = shutil.copytree(trained[0], tmp_path / "run")
    (older / "stage_one" / training_images.FILE).unlink()
    folder = pj.export(older, tmp_path / "model")
    assert not (folder / training_images.FILE).exists()
    image = pj.read_image(trained[0].parent / "discs.npz", slice_index=5)
    expected = model.segment(image, SENTENCES[0])
    for name in (older, folder):
        drawn = pj.load(name).segment(image, SENTENCES[0])
        assert (drawn.mask != expected.mask).sum() <= 1
        assert [x for x in drawn.caveats if x.startswith(CLAIMS)] == [presence.NOT_MEASURED]


def test_a_damaged_file_is_refused(trained, tmp_path):
    older = shutil.copytree(trained[0], tmp_path / "run")
    path = older / "stage_one" / training_images.FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"distance_limit": 99.0}))
    with pytest.raises(InputError, match=r"in_distribution.json: cannot be used \(damaged or edit"):
        pj.load(older)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"in_distribution.json: cannot be used .* remove it and"):
        pj.load(older)
