"""The loss of stage two: terms computed by hand, one device against four, and that it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prosona_jax import rng
from prosona_jax.evaluation import metrics, style_steps
from prosona_jax.models import distributions, encoding
from prosona_jax.models.projection import Projector, project
from prosona_jax.models.query import HeadsQuery, IdQuery, Prompter, TextQuery
from prosona_jax.runtime import parallel
from prosona_jax.training import augment, feature_cache, losses, stage_one, stage_two, step
from prosona_jax.types import Batch, Params
from tests import tiny
from tests.tiny import MODEL, ROOT, D

K, E = 3, 5
OBJECTIVE = stage_two.Objective(dice=1.0, cross_entropy=0.7, latent=0.5, visual=0.3, text_noise=0.0)
ANALYTIC = Projector("analytic", 0.8, 7)
BANK = Projector("bank", 0.8, 7)
QUERIES = {"text": TextQuery(D, 6), "id": IdQuery(K, D), "heads": HeadsQuery(K, D)}


def _prompter(query: str) -> Prompter:
    return Prompter(QUERIES[query], 6)


def _objective(query: str) -> stage_two.Objective:
    return OBJECTIVE if query == "text" else OBJECTIVE._replace(latent=0.0, visual=0.0)


def _params(query: str) -> Params:
    return stage_two.initialise(
        _prompter(query),
        ROOT,
        MODEL,
        image_shape=tiny.IMAGE_SHAPE,
        styles=K,
        text_dim=E if query == "text" else None,
    )


def _text(prompts: int) -> jax.Array:
    text = np.random.default_rng(3).normal(size=(K, prompts, E))
    return jnp.asarray(text / np.linalg.norm(text, axis=-1, keepdims=True), jnp.float32)


def _encoded(size: int = 8, padding: int = 0) -> encoding.Encoded:
    """Random values in place of the outputs of stage one; two masks are missing."""
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.normal(size=shape).astype(np.float32)  # noqa: E731
    rater_valid = np.ones((size, K), bool)
    rater_valid[0, 1] = rater_valid[2, 0] = False
    return encoding.Encoded(
        features=draw(size, 8, 8, 4).astype(np.float16),
        prior=distributions.Gaussian(draw(size, D), 0.3 * draw(size, D)),
        latent=draw(size, K, D),
        visual=draw(size, K, 12),
        masks=(generator.random((size, K, 8, 8)) > 0.5).astype(np.uint8),
        rater_valid=rater_valid,
        index=np.arange(100, 100 + size, dtype=np.int32),
        valid=np.array([1.0] * (size - padding) + [0.0] * padding, np.float32),
    )


def _loss_terms(
    query: str, projector: Projector, prompts: int, objective: stage_two.Objective
) -> step.LossTerms:
    return stage_two.make_loss_terms(
        MODEL,
        tiny.params(),
        _prompter(query),
        projector,
        objective,
        _text(prompts) if query == "text" else None,
    )


def _terms(encoded: encoding.Encoded, projector: Projector = ANALYTIC) -> dict[str, np.ndarray]:
    terms = jax.jit(_loss_terms("text", projector, 1, OBJECTIVE), static_argnums=4)
    return jax.device_get(terms(_params("text"), encoded, ROOT, jnp.int32(0), None))


def _decode_by_hand(
    encoded: encoding.Encoded, projector: Projector
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns each style's logits by its only prompt, and the vectors of the contrastive loss."""
    encoded = jax.tree.map(jnp.asarray, encoded)
    encoded = encoded._replace(features=encoded.features.astype(jnp.float32))
    text = jnp.broadcast_to(_text(1)[None, :, 0], (len(encoded.index), K, E))
    query, aligned = _prompter("text").apply(_params("text"), text, encoded)
    keys = rng.example_keys(ROOT, "codes", 0, encoded.index)
    z = project(projector, encoded.prior, query.query, keys)
    return MODEL.apply(tiny.params(), encoded.features, z, method="decode"), aligned


@pytest.mark.parametrize("projector", [ANALYTIC, BANK])
def test_overlap_terms_are_means_over_the_styles_that_have_a_rater(projector) -> None:
    encoded = _encoded()
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


@pytest.mark.parametrize("level", ["latent", "visual"])
def test_contrast_treats_the_same_style_in_any_image_as_positive(level) -> None:
    """Both directions, by loops over pairs; neither padding nor a missing mask is a candidate."""
    encoded = _encoded(padding=3)
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
    alone = stage_two.Objective(dice=0.0, cross_entropy=0.0, latent=0.0, visual=1.0, text_noise=0.0)
    terms = functools.partial(_loss_terms("text", ANALYTIC, 1, alone), axis_name=None)
    found = jax.eval_shape(terms, _params("text"), _encoded(), ROOT, jnp.int32(0))
    assert set(found) == {"visual"}


def test_masks_of_missing_raters_do_not_change_the_terms() -> None:
    encoded = _encoded()
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


def _run(
    encoded: encoding.Encoded,
    query: str,
    wrapper: str | None = None,
    projector: Projector = ANALYTIC,
) -> tuple[Params, dict[str, float]]:
    """Runs one step of plain SGD at rate 0.1: parameters change by 0.1 of the gradient."""
    tx, objective = optax.sgd(0.1), _objective(query)
    terms = _loss_terms(query, projector, 2, objective)
    train_step = step.make_train_step(terms, stage_two.make_weights(objective), tx, 0.9)
    state = step.create_state(_params(query), tx)
    if wrapper is None:
        state, metrics = jax.jit(train_step)(state, encoded, ROOT)
    else:
        devices = parallel.create(wrapper)
        state, metrics = devices.train_step(train_step)(
            devices.replicate(state), devices.shard(encoded), ROOT
        )
    metrics = {name: float(value) for name, value in metrics.items()}
    return jax.device_get(state.params), metrics


def test_only_terms_have_weights() -> None:
    weights = stage_two.make_weights(OBJECTIVE._replace(text_noise=0.4))(jnp.array(2))
    assert weights == {"dice": 1.0, "cross_entropy": 0.7, "latent": 0.5, "visual": 0.3}


def _assert_close(a: object, b: object, atol: float) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=atol), a, b)


@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
@pytest.mark.parametrize(
    ("query", "projector"), [("text", ANALYTIC), ("text", BANK), ("heads", ANALYTIC)]
)
def test_four_devices_give_the_gradients_of_one(query, projector, wrapper) -> None:
    """Parameters equal within 1e-6 mean gradients within 1e-5; the last device has only padding.

    Contrastive candidates come from all devices, and each record has its own dropout and codes.
    """
    assert jax.device_count() == 4
    one, one_metrics = _run(_encoded(padding=3), query, None, projector)
    many, many_metrics = _run(_encoded(padding=3), query, wrapper, projector)
    _assert_close(many, one, 1e-6)
    assert many_metrics == pytest.approx(one_metrics, rel=1e-5)


@pytest.mark.parametrize("query", ["text", "heads"])
def test_padding_changes_nothing(query) -> None:
    padded = _encoded(padding=3)
    exact = jax.tree.map(lambda x: x[:5], padded)
    garbage = jax.tree.map(lambda x: np.concatenate([x[:5], np.full_like(x[5:], 7)]), padded)
    garbage = garbage._replace(valid=padded.valid)
    alone, alone_metrics = _run(exact, query)
    for encoded in (padded, garbage):
        params, metrics = _run(encoded, query)
        _assert_close(params, alone, 1e-6)
        assert metrics == pytest.approx(alone_metrics, rel=1e-5)


@pytest.mark.parametrize("query", ["text", "id", "heads"])
def test_the_order_of_records_changes_nothing(query) -> None:
    encoded = _encoded()
    one, one_metrics = _run(encoded, query)
    other, other_metrics = _run(jax.tree.map(lambda x: x[::-1].copy(), encoded), query)
    _assert_close(other, one, 1e-6)
    assert other_metrics == pytest.approx(one_metrics, rel=1e-5)


def test_only_the_prompter_learns() -> None:
    """The state holds nothing of stage one."""
    start = _params("text")
    params, _ = _run(_encoded(), "text")
    assert set(params["params"]) == {"query", "alignment"}
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, start)
    assert min(jax.tree.leaves(moved)) > 1e-6


def test_without_contrast_the_alignment_stays_as_it_was() -> None:
    objective = OBJECTIVE._replace(latent=0.0, visual=0.0)
    terms = _loss_terms("text", ANALYTIC, 1, objective)

    def loss(params, encoded):
        return sum(jnp.sum(x) for x in terms(params, encoded, ROOT, jnp.int32(0), None).values())

    gradient = jax.jit(jax.grad(loss))(_params("text"), _encoded())["params"]
    assert all(not np.any(x) for x in jax.tree.leaves(gradient["alignment"]))
    assert np.any(gradient["query"]["Dense_1"]["kernel"])  # the last layer, which starts from zero


def _discs() -> Batch:
    """Four images of a blurred disc; the first rater draws its core, the second all of it."""
    rows, columns = np.indices((8, 8))
    masks = np.zeros((4, 2, 8, 8), np.uint8)
    image = np.zeros((4, 8, 8, 1), np.float32)
    for i, centre in enumerate([(3, 3), (3, 4), (4, 3), (4, 4)]):
        distance = np.hypot(rows - centre[0], columns - centre[1])
        masks[i] = distance <= 1.5, distance <= 3.2
        image[i, ..., 0] = 1.0 - distance / 2.5
    return Batch(
        image=image, masks=masks, rater_valid=np.ones((4, 2), bool),
        index=np.arange(4, dtype=np.int32), valid=np.ones(4, np.float32),
    )  # fmt: skip


def _train(terms, weights, params, batch, rate: float, steps: int) -> Params:
    tx = optax.adam(rate)
    train_step = jax.jit(step.make_train_step(terms, weights, tx, 0.0))
    state = step.create_state(params, tx)
    for _ in range(steps):
        state, _ = train_step(state, batch, ROOT)
    return state.params


def test_training_both_stages_makes_prompts_choose_the_size() -> None:
    """Prompt k draws the disc of rater k, and neither another rater's disc nor the mean."""
    batch = jax.tree.map(jnp.asarray, _discs())
    first = stage_one.Objective(
        dice=1.0, cross_entropy=1.0, kl=0.02, kl_warmup_steps=0, free_bits=0.0, bound=0.0, ged=1.0,
        samples=4, posterior_input="single",
    )  # fmt: skip
    still = augment.Augmentation(False, 0.0, 0.0, 0.0, 0.0, 0.0)
    terms = stage_one.make_loss_terms(MODEL, first, still)
    trained = _train(terms, stage_one.make_weights(first), tiny.params(), batch, 5e-3, 300)
    encoded = jax.jit(feature_cache.make_encode(MODEL, "single", None))(
        feature_cache.View(trained, 0), batch, ROOT
    )

    prompter, text = _prompter("text"), _text(2)[:2]
    params = stage_two.initialise(
        prompter, ROOT, MODEL, image_shape=tiny.IMAGE_SHAPE, styles=2, text_dim=E
    )
    args = MODEL, trained, prompter, ANALYTIC, OBJECTIVE, text
    terms, weights = stage_two.make_loss_terms(*args), stage_two.make_weights(OBJECTIVE)
    params = _train(terms, weights, params, encoded, 1e-2, 200)
    modules = MODEL, prompter, ANALYTIC
    evaluate = jax.jit(style_steps.make_eval_step(*modules, together=False, drawn=False))
    found = evaluate(style_steps.Prompted(trained, params, jnp.moveaxis(text, 1, 0)), encoded, ROOT)
    for prompts in range(2):
        overlaps = metrics.Overlaps(*(counts[:, prompts] for counts in found.overlaps))
        scores = metrics.style_scores(overlaps, batch.rater_valid)
        assert (scores["ordered"] == 1).all()
        assert (np.diagonal(scores["dice_table"], axis1=1, axis2=2) > 0.9).all()
    assert np.all(np.array([found.text_to_visual, found.visual_to_text]) == 1)
