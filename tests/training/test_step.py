"""The training step: its sums, its random draws, and its learning, on one device and on four."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prosona_jax import rng
from prosona_jax.evaluation import metrics, sample_steps, uncertainty
from prosona_jax.models import distributions, encoding
from prosona_jax.runtime import parallel
from prosona_jax.training import augment, stage_one, step
from prosona_jax.types import Batch, InputError
from tests import tiny
from tests.tiny import AUGMENTATION, MODEL, ROOT

OBJECTIVE = stage_one.Objective(
    dice=1.0, cross_entropy=1.0, kl=0.1, kl_warmup_steps=0, free_bits=0.0, bound=0.5, ged=0.5,
    samples=3, posterior_input="single",
)  # fmt: skip


def _batch(size: int = 8, padding: int = 0, seed: int = 0) -> Batch:
    generator = np.random.default_rng(seed)
    rater_valid = np.ones((size, 3), bool)
    rater_valid[0, 1] = False
    return Batch(
        image=generator.normal(size=(size, 8, 8, 1)).astype(np.float32),
        masks=(generator.random((size, 3, 8, 8)) > 0.5).astype(np.uint8),
        rater_valid=rater_valid,
        index=np.arange(100, 100 + size, dtype=np.int32),
        valid=np.array([1.0] * (size - padding) + [0.0] * padding, np.float32),
    )


def _state(tx: optax.GradientTransformation) -> step.TrainState:
    return step.create_state(tiny.params(), tx)


def _train_step(
    tx: optax.GradientTransformation,
    objective: stage_one.Objective,
    augmentation: augment.Augmentation = AUGMENTATION,
    ema_decay: float = 0.9,
) -> step.TrainStep:
    terms = stage_one.make_loss_terms(MODEL, objective, augmentation)
    return step.make_train_step(terms, stage_one.make_weights(objective), tx, ema_decay)


def _run(
    batch: Batch, wrapper: str | None, steps: int = 1, objective: stage_one.Objective = OBJECTIVE
) -> tuple[step.TrainState, dict[str, float]]:
    """Trains by plain SGD, so that parameters differ only if gradients differ."""
    tx = optax.sgd(0.1)
    train_step = _train_step(tx, objective)
    state = _state(tx)
    if wrapper is None:
        shard, compiled = lambda x: x, jax.jit(train_step)
    else:
        devices = parallel.create(wrapper)
        state, shard = devices.replicate(state), devices.shard
        compiled = devices.train_step(train_step)
    for _ in range(steps):
        state, metrics = compiled(state, shard(batch), ROOT)
    return jax.device_get(state), {name: float(value) for name, value in metrics.items()}


def _assert_close(a: object, b: object, atol: float) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=atol), a, b)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
def test_four_devices_give_the_gradients_of_one(wrapper: str, padding: int) -> None:
    """An SGD step at rate 0.1 adds -0.1 g: parameters within 1e-6 mean gradients within 1e-5."""
    assert jax.device_count() == 4
    one, one_metrics = _run(_batch(padding=padding), None)
    many, many_metrics = _run(_batch(padding=padding), wrapper)
    _assert_close(many.params, one.params, 1e-6)
    assert many_metrics == pytest.approx(one_metrics, rel=1e-5)


@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
def test_four_devices_end_with_the_parameters_of_one(wrapper: str) -> None:
    one, _ = _run(_batch(padding=3), None, steps=4)
    many, _ = _run(_batch(padding=3), wrapper, steps=4)
    assert one.step == many.step == 4
    _assert_close(many.params, one.params, 1e-5)
    _assert_close(many.average, one.average, 1e-5)


@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
def test_only_the_first_step_compiles(wrapper: str, caplog: pytest.LogCaptureFixture) -> None:
    tx, devices = optax.sgd(0.1), parallel.create(wrapper)
    batch, state = devices.shard(_batch()), devices.replicate(_state(tx))
    train_step = devices.train_step(_train_step(tx, OBJECTIVE))
    compiled = []
    for _ in range(3):
        caplog.clear()
        with jax.log_compiles():
            state, _ = train_step(state, batch, ROOT)
        compiled.append("Compiling" in caplog.text)
    assert compiled == [True, False, False]


def test_padding_changes_nothing() -> None:
    padded = _batch(padding=3)
    other = padded._replace(
        image=np.where(padded.valid[:, None, None, None] > 0, padded.image, 9.0).astype(np.float32),
        masks=np.where(padded.valid[:, None, None, None] > 0, padded.masks, 1).astype(np.uint8),
    )
    exact = Batch(*(x[:5] for x in padded))
    alone, alone_metrics = _run(exact, None)
    for batch in (padded, other):
        state, metrics = _run(batch, None)
        _assert_close(state.params, alone.params, 1e-6)
        assert metrics == pytest.approx(alone_metrics, rel=1e-5)


def test_the_order_of_records_changes_nothing() -> None:
    batch = _batch()
    state, _ = _run(Batch(*(x[::-1].copy() for x in batch)), None)
    _assert_close(state.params, _run(batch, None)[0].params, 1e-6)


def test_a_batch_that_cannot_be_split_over_the_devices_is_an_error() -> None:
    for wrapper in ("mesh", "pmap"):
        with pytest.raises(InputError, match="6 records cannot be split over 4 devices"):
            parallel.create(wrapper).shard(_batch(6))


def test_an_unknown_wrapper_is_an_error() -> None:
    with pytest.raises(InputError, match=r"config.parallel is 'tmap'; choose from"):
        parallel.create("tmap")


@pytest.mark.parametrize("wrapper", ["mesh", "pmap"])
def test_evaluation_on_four_devices_equals_one_in_batch_order(wrapper: str) -> None:
    eval_step = sample_steps.make_eval_step(MODEL, 5, "single", drawn=True)
    params, devices = _state(optax.sgd(0.1)).params, parallel.create(wrapper)
    one = jax.jit(eval_step)(params, _batch(), ROOT)
    many = devices.eval_step(eval_step)(devices.replicate(params), devices.shard(_batch()), ROOT)
    _assert_close(devices.gather(many), jax.device_get(one), 1e-5)


@pytest.mark.parametrize("count", [2, 5])
def test_evaluation_counts_the_overlaps_of_samples_and_of_the_repeated_prior_mean(count) -> None:
    batch, params = jax.tree.map(jnp.asarray, _batch()), _state(optax.sgd(0.1)).params
    prior = MODEL.apply(params, batch.image, method="prior")
    features = MODEL.apply(params, batch.image, method="features")
    drawn = distributions.sample(prior, rng.example_keys(ROOT, "evaluate", 0, batch.index), count)
    middle = jnp.stack([prior.mu] * min(count, 3), axis=1)  # there are three raters
    for samples in (True, False):
        eval_step = jax.jit(sample_steps.make_eval_step(MODEL, count, "single", drawn=samples))
        found = eval_step(params, batch, ROOT)
        drawings = ((drawn, found.samples), (middle, found.prior_mean))
        for (z, counts), correlated in zip(drawings, found.s_ncc.T, strict=True):
            probs = jax.nn.sigmoid(MODEL.apply(params, features, z, method="decode"))
            # If all units are off, it is exactly 1/2. All others are far enough from 1/2.
            assert np.all((probs == 0.5) | (np.abs(probs - 0.5) > 1e-6))
            expected = metrics.count_overlaps(probs, batch.masks, batch.rater_valid)
            jax.tree.map(np.testing.assert_array_equal, counts, expected)
            own = uncertainty.s_ncc(probs, batch.masks, batch.rater_valid)
            np.testing.assert_allclose(correlated, own, atol=1e-4)
            if samples and counts is found.samples:
                np.testing.assert_allclose(found.probs, probs, atol=1e-6)
    assert found.probs is None


def test_on_a_mesh_no_device_counts_the_records_of_another() -> None:
    """Without sharding constraints, the compiler counts all eight records on each device."""
    devices, batch = parallel.create("mesh"), _batch()
    count = lambda _, b, root: metrics.count_overlaps(b.image[..., 0][:, None], *b[1:3])  # noqa: E731
    compiled = devices.eval_step(count).lower((), batch, ROOT).compile().as_text()
    assert "all-gather" not in compiled
    assert re.findall(r'known_trip_count":{"n":"(\d+)"', compiled) == ["2"]


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    _, metrics = _run(_batch(), None)
    terms = {name: metrics[name] for name in ("dice", "cross_entropy", "kl", "bound", "ged")}
    weights = OBJECTIVE._asdict()
    assert metrics["loss"] == pytest.approx(
        sum(weights[name] * value for name, value in terms.items()), rel=1e-5
    )


def test_only_terms_have_weights() -> None:
    weights = stage_one.make_weights(OBJECTIVE._replace(kl_warmup_steps=8))(jnp.array(2))
    assert weights == {"dice": 1.0, "cross_entropy": 1.0, "kl": 0.025, "bound": 0.5, "ged": 0.5}


def test_the_weight_of_the_kl_rises_linearly() -> None:
    kl_alone = OBJECTIVE._replace(
        dice=0.0, cross_entropy=0.0, bound=0.0, ged=0.0, kl=0.5, kl_warmup_steps=4
    )
    for steps, share in ((1, 0.0), (2, 0.25)):
        _, metrics = _run(_batch(), None, steps=steps, objective=kl_alone)
        assert set(metrics) == {"loss", "grad_norm", "kl"}
        assert metrics["loss"] == pytest.approx(0.5 * share * metrics["kl"], rel=1e-5)


def test_average_after_the_first_step_keeps_a_tenth_of_the_initial_parameters() -> None:
    """decay = min(0.9, 1/10) at step 0."""
    state, _ = _run(_batch(), None)
    start = _state(optax.sgd(0.1)).params
    expected = jax.tree.map(lambda old, new: 0.1 * old + 0.9 * new, start, state.params)
    _assert_close(state.average, expected, 1e-6)


def test_raters_are_drawn_evenly_from_those_who_drew_a_mask() -> None:
    valid = jnp.tile(jnp.array([[True, False, True, True]]), (6000, 1))
    keys = jax.random.split(ROOT, 6000)
    share = np.bincount(stage_one.draw_rater(keys, valid), minlength=4) / 6000
    np.testing.assert_allclose(share, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.03)


def test_the_posterior_sees_the_target_mask() -> None:
    """If "single", it sees the mask of the drawn rater alone; if "all", it sees every mask."""
    batch = jax.tree.map(jnp.asarray, _batch(2))
    chosen, valid = encoding.posterior_masks(batch, jnp.array([2, 0]), "single")
    np.testing.assert_array_equal(chosen[:, 0], jnp.stack([batch.masks[0, 2], batch.masks[1, 0]]))
    assert valid.all()
    everyone, valid = encoding.posterior_masks(batch, jnp.array([2, 0]), "all")
    np.testing.assert_array_equal(everyone, batch.masks)
    np.testing.assert_array_equal(valid, batch.rater_valid)


def _two_opinions() -> Batch:
    """Returns four copies of an image with two halves; each of two raters draws one half."""
    masks = np.zeros((4, 2, 8, 8), np.uint8)
    masks[:, 0, :4], masks[:, 1, 4:] = 1, 1
    image = np.where(masks[:, 0, :, :, None] > 0, 1.0, -1.0).astype(np.float32)
    return Batch(
        image=image, masks=masks, rater_valid=np.ones((4, 2), bool),
        index=np.arange(4, dtype=np.int32), valid=np.ones(4, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("term", ["bound", "ged"])
def test_training_learns_two_opinions(term: str) -> None:
    """Samples of the prior are one rater's half or the other's, each at least 30 % of the time."""
    objective = OBJECTIVE._replace(**{"bound": 0.0, "ged": 0.0, "samples": 8, term: 1.0})
    still = augment.Augmentation(False, 0.0, 0.0, 0.0, 0.0, 0.0)
    tx = optax.adam(5e-3)
    train_step = jax.jit(_train_step(tx, objective, still, 0.0))
    state, batch = _state(tx), _two_opinions()
    for _ in range(300):
        state, metrics = train_step(state, batch, ROOT)
    eval_step = jax.jit(sample_steps.make_eval_step(MODEL, 64, "single", drawn=True))
    samples = np.asarray(eval_step(state.params, batch, ROOT).probs)
    upper, lower = samples[:, :, :4].mean(axis=(2, 3)), samples[:, :, 4:].mean(axis=(2, 3))
    assert np.mean((upper > 0.8) & (lower < 0.2)) > 0.3
    assert np.mean((upper < 0.2) & (lower > 0.8)) > 0.3
    assert float(metrics["dice"]) < 0.05  # the posterior knows which half is the target
