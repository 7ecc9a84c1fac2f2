"""The step that draws along each latent dimension draws what the other steps draw."""

import jax
import jax.numpy as jnp
import numpy as np

from prosona_jax.evaluation import sample_steps
from prosona_jax.models import encoding
from prosona_jax.types import Batch
from tests import tiny
from tests.tiny import MODEL, ROOT, D

STEPS = (-2.0, 0.0, 1.0)
SAMPLES = 4


def batch():
    rng = np.random.default_rng(0)
    return jax.tree.map(
        jnp.asarray,
        Batch(
            image=rng.normal(size=(2, 8, 8, 1)).astype(np.float32),
            masks=(rng.random((2, 3, 8, 8)) > 0.5).astype(np.uint8),
            rater_valid=np.ones((2, 3), bool),
            index=np.array([4, 9], np.int32),
            valid=np.ones(2, np.float32),
        ),
    )


def explored():
    step = sample_steps.make_explore_step(MODEL, SAMPLES, "single", STEPS)
    return step(tiny.params(), batch(), ROOT)


def test_samples_are_those_of_the_evaluation():
    step = sample_steps.make_eval_step(MODEL, SAMPLES, "single", drawn=True)
    expected = step(tiny.params(), batch(), ROOT).probs > 0.5
    np.testing.assert_array_equal(explored().samples, expected)


def test_latents_decode_to_what_is_drawn():
    found, encoded = explored(), encoding.encode_image(MODEL, tiny.params(), batch().image)
    decode = sample_steps.make_decode_step(MODEL)

    def drawn(codes):
        return np.asarray(decode(tiny.params(), encoded, codes) > 0.5)

    np.testing.assert_array_equal(drawn(found.codes), found.samples)
    np.testing.assert_array_equal(drawn(jnp.zeros((2, 1, D)))[:, 0], found.mean)
    for i in range(D):
        along = np.zeros((2, len(STEPS), D), np.float32)
        along[:, :, i] = STEPS
        np.testing.assert_array_equal(drawn(jnp.asarray(along)), found.walks[:, i])


def test_raters_lie_at_the_mean_of_their_posterior():
    expected = encoding.encode(MODEL, tiny.params(), batch(), "single").latent
    np.testing.assert_allclose(explored().raters, expected, atol=1e-5)
