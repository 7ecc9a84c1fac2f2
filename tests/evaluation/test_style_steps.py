"""Steps of a trained second stage: masks of prompts, retrieval, and the path between styles."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax import rng
from prosona_jax.evaluation import style_steps
from prosona_jax.models import distributions
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import HeadsQuery, IdQuery, Prompter, TextQuery
from prosona_jax.training import feature_cache, stage_two
from prosona_jax.types import Batch
from tests import tiny
from tests.tiny import MODEL, ROOT, D

K, E = 3, 5
PROMPTERS = {
    "text": Prompter(TextQuery(D, 6), 6),
    "id": Prompter(IdQuery(K, D), 6),
    "heads": Prompter(HeadsQuery(K, D), 6),
}
PROJECTORS = {kind: Projector(kind, 0.3, 9) for kind in ("analytic", "bank")}


def _batch() -> Batch:
    generator = np.random.default_rng(0)
    rater_valid = np.ones((4, K), bool)
    rater_valid[0, 1] = rater_valid[2, 0] = False
    return Batch(
        image=jnp.asarray(generator.normal(size=(4, 8, 8, 1)), jnp.float32),
        masks=jnp.asarray(generator.random((4, K, 8, 8)) > 0.5, jnp.uint8),
        rater_valid=jnp.asarray(rater_valid),
        index=jnp.arange(100, 104, dtype=jnp.int32),
        valid=jnp.ones(4),
    )


@functools.cache
def _params(query):
    """Returns random parameters, because with the initial ones all queries are zero."""
    params = stage_two.initialise(
        PROMPTERS[query],
        ROOT,
        MODEL,
        image_shape=tiny.IMAGE_SHAPE,
        styles=K,
        text_dim=E if query == "text" else None,
    )
    generator = np.random.default_rng(5)
    return jax.tree.map(lambda x: x + generator.normal(0, 0.5, x.shape).astype(x.dtype), params)


def _text(prompts: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(3).normal(size=(prompts, K, E)), jnp.float32)


def _eval_step(query, projector, together=False):
    modules = MODEL, PROMPTERS[query], PROJECTORS[projector]
    return style_steps.make_eval_step(*modules, together=together, drawn=True)


@functools.cache
def _frozen():
    freeze = jax.jit(feature_cache.make_encode(MODEL, "single", None))
    return freeze(feature_cache.View(tiny.params(), 0), _batch(), ROOT)


def _personalised(query, projector, text, together=False):
    step = jax.jit(_eval_step(query, projector, together))
    prompted = style_steps.Prompted(tiny.params(), _params(query), text)
    return jax.device_get(step(prompted, _frozen(), ROOT))


def _asked(text):
    """Returns the encoded batch and the prompter's result for one set of prompts."""
    each = jnp.broadcast_to(text[None], (4, K, E))
    return _frozen(), *PROMPTERS["text"].apply(_params("text"), each, _frozen())


def test_each_mask_is_drawn_at_its_prompts_latent():
    """sigmoid f(U, mu + sigma^2 q / (tau sqrt d)), for each set of prompts."""
    text = _text(2)
    found = _personalised("text", "analytic", text)
    for p in range(2):
        encoded, query, _ = _asked(text[p])
        prior = encoded.prior
        scale = 0.3 * np.sqrt(D)
        z = prior.mu[:, None] + jnp.exp(2 * prior.log_sigma)[:, None] * query.query / scale
        logits = MODEL.apply(tiny.params(), encoded.features, z, method="decode")
        np.testing.assert_allclose(found.probs[:, p], jax.nn.sigmoid(logits), atol=1e-5)


@pytest.mark.parametrize("projector", ["analytic", "bank"])
def test_a_set_of_prompts_does_not_change_the_masks_of_another(projector):
    text = _text(3)
    together = _personalised("text", projector, text)
    assert together.probs.shape == (4, 3, K, 8, 8)
    for p in range(3):
        alone = _personalised("text", projector, text[p : p + 1])
        np.testing.assert_allclose(together.probs[:, p], alone.probs[:, 0], atol=1e-6)
    assert np.abs(together.probs[:, 0] - together.probs[:, 1]).max() > 1e-3


@pytest.mark.parametrize("projector", ["analytic", "bank"])
def test_together_prompts_draw_at_the_mean_of_their_queries(projector):
    text = _text(3)
    found = _personalised("text", projector, text, together=True)
    assert found.probs.shape == (4, 1, K, 8, 8)
    asked = [_asked(prompts) for prompts in text]
    query = jnp.mean(jnp.stack([query.query for _, query, _ in asked]), axis=0)
    encoded = asked[0][0]
    keys = rng.example_keys(ROOT, "evaluate", 0, encoded.index)
    z = project(PROJECTORS[projector], encoded.prior, query, keys)
    logits = MODEL.apply(tiny.params(), encoded.features, z, method="decode")
    np.testing.assert_allclose(found.probs[:, 0], jax.nn.sigmoid(logits), atol=1e-5)


def test_a_bank_is_drawn_from_the_records_own_key():
    """A record has the same codes in another order and in a smaller batch."""
    text = _text(1)
    whole = _personalised("text", "bank", text)
    step = _eval_step("text", "bank")
    part = jax.tree.map(lambda x: x[::-1][:2], _frozen())
    prompted = style_steps.Prompted(tiny.params(), _params("text"), text)
    found = jax.jit(step)(prompted, part, ROOT)
    np.testing.assert_allclose(found.probs, whole.probs[::-1][:2], atol=1e-5)


@pytest.mark.parametrize("query", ["id", "heads"])
def test_without_text_nothing_is_retrieved(query):
    found = _personalised(query, "analytic", None)
    for share in (found.text_to_visual, found.visual_to_text):
        assert share.shape == (4, 1, 2, K)
        assert np.isnan(share).all()
    assert np.isfinite(found.probs).all()


@pytest.mark.parametrize("together", [False, True])
def test_retrieval_uses_each_prompt_or_with_together_their_mean_direction(together):
    text = _text(3)
    found = _personalised("text", "analytic", text, together=together)
    aligned = [_asked(prompts)[2] for prompts in text]
    valid = np.asarray(_batch().rater_valid)
    for level, name in enumerate(stage_two.LEVELS):
        raters = np.asarray(aligned[0][name])
        sets = np.stack([vectors[f"text_{name}"] for vectors in aligned])  # [p, b, k, q]
        if together:
            sets = np.mean(sets, axis=0, keepdims=True)
            sets /= np.linalg.norm(sets, axis=-1, keepdims=True)
        assert found.text_to_visual.shape == (4, len(sets), 2, K)
        for (p, i), k in itertools.product(np.ndindex(len(sets), 4), range(K)):
            present, texts = np.flatnonzero(valid[i]), sets[p, i]
            hits = found.text_to_visual[i, p, level, k], found.visual_to_text[i, p, level, k]
            if k not in present:
                assert np.isnan(hits).all()
                continue
            assert hits[0] == (present[np.argmax(raters[i, present] @ texts[k])] == k)
            assert hits[1] == (np.argmax(texts @ raters[i, k]) == k)


def _retrieved(raters, valid):
    """Retrieves in one image, where the texts are the unit vectors e1, e2, e3 at both levels."""
    aligned = {f"text_{level}": jnp.eye(K)[None] for level in stage_two.LEVELS}
    aligned |= {level: jnp.asarray(raters, jnp.float32)[None] for level in stage_two.LEVELS}
    encoded = _asked(_text(1)[0])[0]._replace(rater_valid=jnp.asarray([valid]))
    found = style_steps._retrieve(aligned, encoded)
    for share in found:
        np.testing.assert_array_equal(share[0, 0], share[0, 1])
    return [np.asarray(share)[0, 0].tolist() for share in found]


def test_retrieval_by_hand():
    perfect = np.eye(K)
    assert _retrieved(perfect, [True] * 3) == [[1, 1, 1], [1, 1, 1]]
    assert _retrieved(perfect[[1, 2, 0]], [True] * 3) == [[0, 0, 0], [0, 0, 0]]
    assert _retrieved(perfect[[1, 0, 2]], [True] * 3) == [[0, 0, 1], [0, 0, 1]]
    # Text 1 is the nearest text of all raters. Each text still has its own rater as the nearest.
    drawn = [[0.9, 0.1, 0.1], [0.8, 0.6, 0.1], [0.9, 0.1, 0.4]]
    assert _retrieved(drawn, [True] * 3) == [[1, 1, 1], [1, 0, 0]]


def test_a_missing_rater_neither_retrieves_nor_is_retrieved():
    nan = pytest.approx(np.nan, nan_ok=True)
    drawn = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.1, 0.0, 0.9]])
    assert _retrieved(drawn, [True, False, True]) == [[0, nan, 1], [0, nan, 1]]
    drawn[0] = [0.6, 0.8, 0.0]
    drawn[1] = [1.0, 0.0, 0.0]  # nearest to text 1, but missing
    assert _retrieved(drawn, [True, False, True]) == [[1, nan, 1], [0, nan, 1]]


@functools.cache
def _walk(projector, order=(0, 1, 2)):
    step = style_steps.make_walk_step(
        MODEL, PROMPTERS["text"], PROJECTORS[projector], order=order, points=9, samples=2000
    )
    prompted = style_steps.Prompted(tiny.params(), _params("text"), _text(1))
    return jax.device_get(jax.jit(step)(prompted, _frozen(), ROOT))


@pytest.mark.parametrize(
    ("projector", "order"), [("analytic", (0, 1, 2)), ("analytic", (2, 0, 1)), ("bank", (0, 1, 2))]
)
def test_the_walk_passes_every_style_in_order_and_ends_at_the_last(projector, order):
    """Style n, counted from 0, is at point n (T - 1) / (K - 1): points 0, 4 and 8."""
    walk, stored = _walk(projector, order), _walk(projector)
    styles = _personalised("text", projector, _text(1)).probs[:, 0]
    for n, (k, point) in enumerate(zip(order, (0, 4, 8), strict=True)):
        np.testing.assert_allclose(walk.probs[:, point], styles[:, k], atol=1e-5)
        np.testing.assert_allclose(walk.path[:, point], walk.styles[:, n], atol=1e-4)
        np.testing.assert_array_equal(walk.raters[:, n], stored.raters[:, k])


def test_the_analytic_path_is_straight_between_styles():
    walk = _walk("analytic")
    for k in range(2):
        for part in range(5):
            expected = (1 - part / 4) * walk.styles[:, k] + part / 4 * walk.styles[:, k + 1]
            np.testing.assert_allclose(walk.path[:, 4 * k + part], expected, atol=1e-4)


def test_latents_of_a_walk_are_in_sigmas_of_the_prior():
    """A style is at sigma q / (tau sqrt d), and a rater at its offset. Samples are standard normal.

    Two raters are missing and have no latent.
    """
    walk, (encoded, query, _) = _walk("analytic"), _asked(_text(1)[0])
    sigma = np.exp(encoded.prior.log_sigma)[:, None]
    expected = sigma * query.query / (0.3 * np.sqrt(D))
    np.testing.assert_allclose(walk.styles, expected, atol=1e-4)
    valid = np.asarray(encoded.rater_valid)
    np.testing.assert_allclose(walk.raters[valid], encoded.latent[valid], atol=1e-5)
    assert np.isnan(walk.raters[~valid]).all()
    assert walk.raters[~valid].shape == (2, D)
    keys = rng.example_keys(ROOT, "evaluate", 1, _batch().index)
    standard = distributions.Gaussian(jnp.zeros((4, D)), jnp.zeros((4, D)))
    np.testing.assert_allclose(walk.samples, distributions.sample(standard, keys, 2000), atol=1e-4)
