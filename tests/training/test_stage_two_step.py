"""Steps of stage two: four devices against one, padding, the order of records, what it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prosona_jax.evaluation import metrics, style_steps
from prosona_jax.models import encoding
from prosona_jax.models.projection import Projector
from prosona_jax.runtime import parallel
from prosona_jax.training import augment, feature_cache, stage_one, stage_two, step
from prosona_jax.types import Batch, Params
from tests import tiny
from tests.tiny import MODEL, ROOT
from tests.training.tiny_stage_two import (
    ANALYTIC,
    BANK,
    OBJECTIVE,
    E,
    make_encoded,
    make_loss_terms,
    make_objective,
    make_params,
    make_prompter,
    make_text,
)


def _run(
    encoded: encoding.Encoded,
    query: str,
    wrapper: str | None = None,
    projector: Projector = ANALYTIC,
) -> tuple[Params, dict[str, float]]:
    """Runs one step of plain SGD at rate 0.1: parameters change by 0.1 of the gradient."""
    tx, objective = optax.sgd(0.1), make_objective(query)
    terms = make_loss_terms(query, projector, 2, objective)
    train_step = step.make_train_step(terms, stage_two.make_weights(objective), tx, 0.9)
    state = step.create_state(make_params(query), tx)
    if wrapper is None:
        state, metrics = jax.jit(train_step)(state, encoded, ROOT)
    else:
        devices = parallel.create(wrapper)
        state, metrics = devices.train_step(train_step)(
            devices.replicate(state), devices.shard(encoded), ROOT
        )
    metrics = {name: float(value) for name, value in metrics.items()}
    return jax.device_get(state.params), metrics


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
    one, one_metrics = _run(make_encoded(padding=3), query, None, projector)
    many, many_metrics = _run(make_encoded(padding=3), query, wrapper, projector)
    _assert_close(many, one, 1e-6)
    assert many_metrics == pytest.approx(one_metrics, rel=1e-5)


@pytest.mark.parametrize("query", ["text", "heads"])
def test_padding_changes_nothing(query) -> None:
    padded = make_encoded(padding=3)
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
    encoded = make_encoded()
    one, one_metrics = _run(encoded, query)
    other, other_metrics = _run(jax.tree.map(lambda x: x[::-1].copy(), encoded), query)
    _assert_close(other, one, 1e-6)
    assert other_metrics == pytest.approx(one_metrics, rel=1e-5)


def test_only_the_prompter_learns() -> None:
    """The state holds nothing of stage one."""
    start = make_params("text")
    params, _ = _run(make_encoded(), "text")
    assert set(params["params"]) == {"query", "alignment"}
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, start)
    assert min(jax.tree.leaves(moved)) > 1e-6


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

    prompter, text = make_prompter("text"), make_text(2)[:2]
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
