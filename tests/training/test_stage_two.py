"""The loss of stage two: terms computed by hand, what they leave out, which sentence is drawn."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prosona_jax import rng
from prosona_jax.models import encoding
from prosona_jax.models.projection import Projector, project
from prosona_jax.training import losses, stage_two
from tests import tiny
from tests.tiny import MODEL, ROOT
from tests.training.tiny_stage_two import (
    ANALYTIC,
    BANK,
    OBJECTIVE,
    E,
    K,
    make_encoded,
    make_loss_terms,
    make_params,
    make_prompter,
    make_text,
)


def _terms(encoded: encoding.Encoded, projector: Projector = ANALYTIC) -> dict[str, np.ndarray]:
    terms = jax.jit(make_loss_terms("text", projector, 1, OBJECTIVE), static_argnums=4)
    return jax.device_get(terms(make_params("text"), encoded, ROOT, jnp.int32(0), None))


def _decode_by_hand(
    encoded: encoding.Encoded, projector: Projector
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns each style's logits by its only prompt, and the vectors of the contrastive loss."""
    encoded = jax.tree.map(jnp.asarray, encoded)
    encoded = encoded._replace(features=encoded.features.astype(jnp.float32))
    text = jnp.broadcast_to(make_text(1)[None, :, 0], (len(encoded.index), K, E))
    query, aligned = make_prompter("text").apply(make_params("text"), text, encoded)
    keys = rng.example_keys(ROOT, "codes", 0, encoded.index)
    z = project(projector, encoded.prior, query.query, keys)
    return MODEL.apply(tiny.params(), encoded.features, z, method="decode"), aligned


@pytest.mark.parametrize("projector", [ANALYTIC, BANK])
def test_overlap_terms_are_means_over_the_styles_that_have_a_rater(projector) -> None:
    encoded = make_encoded()
    logits, _ = _decode_by_hand(encoded, projector)
    found = _terms(encoded, projector)
    for i in range(8):
        own = [
            (logits[i, k][None], jnp.asarray(encoded.masks[i, k][None], jnp.float32))
            for k in np.flatnonzero(encoded.rater_valid[i])
        ]
        dice = np.mean([losses.soft_dice(*pair)[0] for pair in own])
        entropy = np.mean([losses.cross_entropy(*pair)[0] for pair in own])
        assert found["dice"][i] == pytest.approx(dice, abs=1e-5)
        assert found["cross_entropy"][i] == pytest.approx(entropy, abs=1e-5)


def test_the_styles_of_an_image_are_one_set_against_its_raters() -> None:
    """All pairs of styles count, also of a style whose rater is missing; raters that are there."""
    encoded = make_encoded()
    probs = np.asarray(jax.nn.sigmoid(_decode_by_hand(encoded, ANALYTIC)[0]), np.float64)
    distance = lambda a, b: 1 - np.minimum(a, b).sum() / np.maximum(a, b).sum()  # noqa: E731
    for i, found in enumerate(_terms(encoded)["ged"]):
        raters = encoded.masks[i][encoded.rater_valid[i]]
        to_raters = np.mean([distance(s, y) for s in probs[i] for y in raters])
        among = np.mean([distance(s, other) for s in probs[i] for other in probs[i]])
        assert found == pytest.approx(2 * to_raters - among, abs=1e-3)


@pytest.mark.parametrize("level", ["latent", "visual"])
def test_contrast_treats_the_same_style_in_any_image_as_positive(level) -> None:
    """Both directions, by loops over pairs; neither padding nor a missing mask is a candidate."""
    encoded = make_encoded(padding=3)
    _, aligned = _decode_by_hand(encoded, ANALYTIC)
    found = _terms(encoded)[level]
    sides = [np.asarray(aligned[name], np.float64) for name in (f"text_{level}", level)]
    usable = [(i, k) for i in range(5) for k in range(K) if encoded.rater_valid[i, k]]

    def info_nce(anchor, others, style):
        score = {pair: anchor @ others[pair] / 0.07 for pair in usable}
        total = np.log(np.sum(np.exp(list(score.values()))))
        return -np.mean([score[pair] - total for pair in usable if pair[1] == style])

    for i in range(5):
        pairs = [(i, k) for k in range(K) if encoded.rater_valid[i, k]]
        expected = np.mean(
            [
                0.5
                * (info_nce(sides[0][p], sides[1], p[1]) + info_nce(sides[1][p], sides[0], p[1]))
                for p in pairs
            ]
        )
        assert found[i] == pytest.approx(expected, rel=1e-4)


def test_terms_without_weight_are_left_out() -> None:
    alone = OBJECTIVE._replace(dice=0.0, cross_entropy=0.0, ged=0.0, latent=0.0)
    terms = functools.partial(make_loss_terms("text", ANALYTIC, 1, alone), axis_name=None)
    found = jax.eval_shape(terms, make_params("text"), make_encoded(), ROOT, jnp.int32(0))
    assert set(found) == {"visual"}


def test_masks_of_missing_raters_do_not_change_the_terms() -> None:
    encoded = make_encoded()
    missing = ~encoded.rater_valid
    other = encoded._replace(
        masks=np.where(missing[..., None, None], 1 - encoded.masks, encoded.masks),
        latent=np.where(missing[..., None], np.float32(9), encoded.latent),
        visual=np.where(missing[..., None], np.float32(-9), encoded.visual),
    )
    for name, value in _terms(encoded).items():
        np.testing.assert_allclose(_terms(other)[name], value, rtol=1e-6, err_msg=name)


def test_a_prompt_is_drawn_for_each_image_style_and_step() -> None:
    """A random point between two of the style's sentences; half of the time both are the same."""
    text = jnp.arange(K * 2, dtype=jnp.float32).reshape(K, 2, 1)  # style k: 2 k and 2 k + 1
    index = jnp.arange(3000)
    positions = [
        np.asarray(stage_two._draw(rng.example_keys(ROOT, "prompt", n, index), text, 0.0))[..., 0]
        - 2.0 * np.arange(K)
        for n in (0, 1)
    ]
    for position in positions:
        assert ((position >= 0) & (position <= 1)).all()
        for end in (0, 1):
            np.testing.assert_allclose((position == end).mean(axis=0), 0.25, atol=0.03)
        between = np.sort(position[(position > 0) & (position < 1)])
        np.testing.assert_allclose(between, np.linspace(0, 1, len(between)), atol=0.03)
    both = np.corrcoef(np.concatenate(positions, axis=1), rowvar=False)
    np.testing.assert_allclose(both, np.eye(2 * K), atol=0.08)


def test_only_terms_have_weights() -> None:
    weights = stage_two.make_weights(OBJECTIVE._replace(text_noise=0.4))(jnp.array(2))
    assert weights == {"dice": 1.0, "cross_entropy": 0.7, "ged": 0.4, "latent": 0.5, "visual": 0.3}


def test_without_contrast_the_alignment_stays_as_it_was() -> None:
    objective = OBJECTIVE._replace(latent=0.0, visual=0.0)
    terms = make_loss_terms("text", ANALYTIC, 1, objective)

    def loss(params, encoded):
        return sum(jnp.sum(x) for x in terms(params, encoded, ROOT, jnp.int32(0), None).values())

    gradient = jax.jit(jax.grad(loss))(make_params("text"), make_encoded())["params"]
    assert all(not np.any(x) for x in jax.tree.leaves(gradient["alignment"]))
    assert np.any(gradient["query"]["Dense_1"]["kernel"])  # the last layer, which starts from zero
