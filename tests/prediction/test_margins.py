"""Margins in mm: which part of a length the model draws, and which part geometry adds."""

import numpy as np
import pytest

import prosona_jax as pj
from data_pipelines import distances
from prosona_jax.experiments.length_scale import Scale, scale_of
from prosona_jax.runtime import workdir
from prosona_jax.types import InputError
from tests.prediction.conftest import loaded


@pytest.fixture(scope="module")
def model(reads_degrees):
    return loaded(reads_degrees)


@pytest.fixture
def image(trained):
    path = trained[0].parent / "discs.npz"
    return pj.read_image(path, slice_index=5, spacing_mm=(0.7, 0.7))


def test_a_length_within_the_scale_is_a_degree_and_beyond_it_a_margin():
    scale = Scale((-2.0, -1.0, 0.0, 2.0), (-0.5, -0.1, 0.0, 0.4))
    assert scale.read(-0.3) == pytest.approx((-1.5, 0))
    assert scale.read(0.1) == pytest.approx((0.5, 0))
    assert scale.read(3.4) == pytest.approx((2, 3))
    assert scale.read(-2.5) == pytest.approx((-2, -2))


def test_a_scale_that_does_not_ascend_is_not_used(reads_degrees, model):
    run = workdir.read(reads_degrees)
    usual = Scale((-2.0, 0.0, 2.0), (-0.5, 0.0, 0.5))
    assert scale_of(run._replace(style_mm=None), model._second) == usual
    assert scale_of(run._replace(style_mm=[0.4, -0.1, 0.2, 0.5]), model._second) == usual
    own = scale_of(run._replace(style_mm=[-0.4, -0.1, 0.2, 0.5]), model._second)
    assert own.mm == (-0.4, -0.1, 0, 0.2, 0.5)
    np.testing.assert_allclose(own.degree, [-2, -1, 0, 1, 2], atol=0.35)


def test_geometry_adds_what_no_rater_drew(model, image, tmp_path):
    drawn = model.segment(image, "Go 9 mm outside of the edge.")
    assert drawn.reading.length_mm == 9
    assert drawn.reading.beyond_mm == drawn.added_mm == pytest.approx(8.5)
    assert drawn.reading.understood == "9 mm outside the usual outline, degree +2.0 of -2 to 2"
    of_model = drawn.probability > 0.5
    expected = distances.add_margin(of_model, drawn.added_mm, image.spacing_mm)
    np.testing.assert_array_equal(drawn.mask, expected)
    assert drawn.mask.sum() > of_model.sum()
    record = pj.save(drawn, image, tmp_path)
    assert record["prompts"][0]["added_mm"] == drawn.added_mm
    assert any("added to the model's contour by geometry" in said for said in record["caveats"])


def test_a_length_that_raters_differ_by_is_drawn_by_the_model_alone(model, image):
    inside, outside = model.segment(image, ["Stay 0.4 mm inside.", "Go 0.4 mm outside."])
    assert inside.added_mm == outside.added_mm == 0
    assert inside.reading.degree < 0 < outside.reading.degree
    assert inside.mask.sum() < outside.mask.sum()


def test_a_length_of_zero_is_the_usual_outline(model):
    (reading,) = model.read(["Stay 0 mm inside of the edge."])
    assert reading.understood.startswith("the usual outline, degree ")


def test_a_users_margin_is_added_to_a_style(model, image):
    plain, grown = (model.segment(image, style="core", margin_mm=mm) for mm in (0.0, 2.8))
    np.testing.assert_array_equal(
        grown.mask, distances.add_margin(plain.mask, 2.8, image.spacing_mm)
    )
    np.testing.assert_array_equal(grown.probability, plain.probability)


def test_a_margin_needs_the_pixel_size(model, image):
    unknown = image._replace(spacing_mm=np.full(2, np.nan, np.float32))
    with pytest.raises(InputError, match="needs the size of a pixel"):
        model.segment(unknown, style="core", margin_mm=1.0)
    with pytest.raises(InputError, match="finite"):
        model.segment(image, style="core", margin_mm=np.inf)
    drawn = model.segment(unknown, "Go 9 mm outside of the edge.")
    assert drawn.added_mm == 0
    assert any("The rest was not added" in said for said in drawn.caveats)
